//! DescribeTopicPartitions: topics page by page, with the eligible leader replicas (KIP-966).

use crate::wire::schema::schema;
use crate::wire::uuid::Uuid;

schema! {
    message DescribeTopicPartitionsRequest 0-0 flexible 0+ {
        topics: Vec<TopicRequest>, 0+;
        response_partition_limit: i32 = 2000, 0+;
        cursor: Option<Cursor>, 0+;
    }

    part TopicRequest {
        name: String, 0+;
    }

    nullable Cursor {
        topic_name: String, 0+;
        partition_index: i32, 0+;
    }

    message DescribeTopicPartitionsResponse 0-0 flexible 0+ {
        throttle_time_ms: i32, 0+;
        topics: Vec<DescribeTopicPartitionsResponseTopic>, 0+;
        next_cursor: Option<Cursor>, 0+;
    }

    part DescribeTopicPartitionsResponseTopic {
        error_code: i16, 0+;
        name: Option<String>, 0+;
        topic_id: Uuid, 0+;
        is_internal: bool, 0+;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>, 0+;
        topic_authorized_operations: i32 = i32::MIN, 0+;
    }

    part DescribeTopicPartitionsResponsePartition {
        error_code: i16, 0+;
        partition_index: i32, 0+;
        leader_id: i32, 0+;
        leader_epoch: i32 = -1, 0+;
        replica_nodes: Vec<i32>, 0+;
        isr_nodes: Vec<i32>, 0+;
        eligible_leader_replicas: Option<Vec<i32>>, 0+;
        last_known_elr: Option<Vec<i32>>, 0+;
        offline_replicas: Vec<i32>, 0+;
    }
}
