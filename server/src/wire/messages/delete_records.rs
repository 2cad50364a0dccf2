//! DeleteRecords: everything before an offset (KIP-107); -1 is the high watermark.

use crate::wire::schema::schema;

schema! {
    message DeleteRecordsRequest 0-2 flexible 2+ {
        topics: Vec<DeleteRecordsTopic>, 0+;
        timeout_ms: i32, 0+;
    }

    part DeleteRecordsTopic {
        name: String, 0+;
        partitions: Vec<DeleteRecordsPartition>, 0+;
    }

    part DeleteRecordsPartition {
        partition_index: i32, 0+;
        offset: i64, 0+;
    }

    message DeleteRecordsResponse 0-2 flexible 2+ {
        throttle_time_ms: i32, 0+;
        topics: Vec<DeleteRecordsTopicResult>, 0+;
    }

    part DeleteRecordsTopicResult {
        name: String, 0+;
        partitions: Vec<DeleteRecordsPartitionResult>, 0+;
    }

    part DeleteRecordsPartitionResult {
        partition_index: i32, 0+;
        low_watermark: i64, 0+;
        error_code: i16, 0+;
    }
}
