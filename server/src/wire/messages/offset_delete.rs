//! OffsetDelete: offsets of single partitions that no member is subscribed to (KIP-496).

use crate::wire::schema::schema;

schema! {
    message OffsetDeleteRequest 0-0 flexible 32767+ {
        group_id: String, 0+;
        topics: Vec<OffsetDeleteRequestTopic>, 0+;
    }

    part OffsetDeleteRequestTopic {
        name: String, 0+;
        partitions: Vec<OffsetDeleteRequestPartition>, 0+;
    }

    part OffsetDeleteRequestPartition {
        partition_index: i32, 0+;
    }

    message OffsetDeleteResponse 0-0 flexible 32767+ {
        error_code: i16, 0+;
        throttle_time_ms: i32, 0+;
        topics: Vec<OffsetDeleteResponseTopic>, 0+;
    }

    part OffsetDeleteResponseTopic {
        name: String, 0+;
        partitions: Vec<OffsetDeleteResponsePartition>, 0+;
    }

    part OffsetDeleteResponsePartition {
        partition_index: i32, 0+;
        error_code: i16, 0+;
    }
}
