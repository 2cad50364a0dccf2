//! DescribeQuorum: voters and observers of the metadata log (KIP-595).

use crate::wire::schema::schema;
use crate::wire::uuid::Uuid;

schema! {
    message DescribeQuorumRequest 0-2 flexible 0+ {
        topics: Vec<AskedTopic>, 0+;
    }

    part AskedTopic {
        topic_name: String, 0+;
        partitions: Vec<AskedPartition>, 0+;
    }

    part AskedPartition {
        partition_index: i32, 0+;
    }

    message DescribeQuorumResponse 0-2 flexible 0+ {
        error_code: i16, 0+;
        error_message: Option<String>, 2+;
        topics: Vec<TopicData>, 0+;
        nodes: Vec<Node>, 2+;
    }

    part TopicData {
        topic_name: String, 0+;
        partitions: Vec<PartitionData>, 0+;
    }

    part PartitionData {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 2+;
        leader_id: i32, 0+;
        leader_epoch: i32, 0+;
        high_watermark: i64, 0+;
        current_voters: Vec<ReplicaState>, 0+;
        observers: Vec<ReplicaState>, 0+;
    }

    part ReplicaState {
        replica_id: i32, 0+;
        replica_directory_id: Uuid, 2+;
        log_end_offset: i64, 0+;
        last_fetch_timestamp: i64 = -1, 1+;
        last_caught_up_timestamp: i64 = -1, 1+;
    }

    part Node {
        node_id: i32, 2+;
        listeners: Vec<Listener>, 2+;
    }

    part Listener {
        name: String, 2+;
        host: String, 2+;
        port: u16, 2+;
    }
}
