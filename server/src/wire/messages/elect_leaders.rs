//! ElectLeaders: preferred or unclean leader election for partitions (KIP-183, KIP-460).

use crate::wire::schema::schema;

schema! {
    message ElectLeadersRequest 0-2 flexible 2+ {
        election_type: i8, 1+;
        topic_partitions: Option<Vec<TopicPartitions>>, 0+;
        timeout_ms: i32 = 60000, 0+;
    }

    part TopicPartitions {
        topic: String, 0+;
        partitions: Vec<i32>, 0+;
    }

    message ElectLeadersResponse 0-2 flexible 2+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 1+;
        replica_election_results: Vec<ReplicaElectionResult>, 0+;
    }

    part ReplicaElectionResult {
        topic: String, 0+;
        partition_result: Vec<PartitionResult>, 0+;
    }

    part PartitionResult {
        partition_id: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
    }
}
