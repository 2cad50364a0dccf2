//! AlterPartitionReassignments: give partitions other replicas, or stop doing so (KIP-455).

use crate::wire::schema::schema;

schema! {
    message AlterPartitionReassignmentsRequest 0-1 flexible 0+ {
        timeout_ms: i32 = 60000, 0+;
        allow_replication_factor_change: bool = true, 1+;
        topics: Vec<ReassignableTopic>, 0+;
    }

    part ReassignableTopic {
        name: String, 0+;
        partitions: Vec<ReassignablePartition>, 0+;
    }

    part ReassignablePartition {
        partition_index: i32, 0+;
        replicas: Option<Vec<i32>>, 0+;
    }

    message AlterPartitionReassignmentsResponse 0-1 flexible 0+ {
        throttle_time_ms: i32, 0+;
        allow_replication_factor_change: bool = true, 1+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        responses: Vec<ReassignableTopicResponse>, 0+;
    }

    part ReassignableTopicResponse {
        name: String, 0+;
        partitions: Vec<ReassignablePartitionResponse>, 0+;
    }

    part ReassignablePartitionResponse {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
    }
}
