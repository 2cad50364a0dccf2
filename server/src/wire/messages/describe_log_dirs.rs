//! DescribeLogDirs: data directories, their space, and the sizes of the partitions in them (KIP-113,
//! KIP-827).

use crate::wire::schema::schema;

schema! {
    message DescribeLogDirsRequest 1-5 flexible 2+ {
        topics: Option<Vec<DescribableLogDirTopic>>, 0+;
    }

    part DescribableLogDirTopic {
        topic: String, 0+;
        partitions: Vec<i32>, 0+;
    }

    message DescribeLogDirsResponse 1-5 flexible 2+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 3+;
        results: Vec<DescribeLogDirsResult>, 0+;
    }

    part DescribeLogDirsResult {
        error_code: i16, 0+;
        log_dir: String, 0+;
        topics: Vec<DescribeLogDirsTopic>, 0+;
        total_bytes: i64 = -1, 4+;
        usable_bytes: i64 = -1, 4+;
        is_cordoned: bool, 5+;
    }

    part DescribeLogDirsTopic {
        name: String, 0+;
        partitions: Vec<DescribeLogDirsPartition>, 0+;
    }

    part DescribeLogDirsPartition {
        partition_index: i32, 0+;
        partition_size: i64, 0+;
        offset_lag: i64, 0+;
        is_future_key: bool, 0+;
    }
}
