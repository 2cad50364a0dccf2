//! ListOffsets: offsets by timestamp, -1 latest, -2 earliest, -3 largest timestamp, and the tiered ones
//! below.

use crate::wire::schema::schema;

schema! {
    message ListOffsetsRequest 1-11 flexible 6+ {
        replica_id: i32, 0+;
        isolation_level: i8, 2+;
        topics: Vec<ListOffsetsTopic>, 0+;
        timeout_ms: i32, 10+;
    }

    part ListOffsetsTopic {
        name: String, 0+;
        partitions: Vec<ListOffsetsPartition>, 0+;
    }

    part ListOffsetsPartition {
        partition_index: i32, 0+;
        current_leader_epoch: i32 = -1, 4+;
        timestamp: i64, 0+;
    }

    message ListOffsetsResponse 1-11 flexible 6+ {
        throttle_time_ms: i32, 2+;
        topics: Vec<ListOffsetsTopicResponse>, 0+;
    }

    part ListOffsetsTopicResponse {
        name: String, 0+;
        partitions: Vec<ListOffsetsPartitionResponse>, 0+;
    }

    part ListOffsetsPartitionResponse {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        timestamp: i64 = -1, 1+;
        offset: i64 = -1, 1+;
        leader_epoch: i32 = -1, 4+;
    }
}
