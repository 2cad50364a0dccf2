//! RinglogDescribeCores: what each core has done since it started, and where the time of its requests went. Ringlog's own; its
//! counters and stages are named, so that more of them are no new version. Whoever names a topic is told of its partitions only.

use crate::wire::schema::schema;

schema! {
    message RinglogDescribeCoresRequest 0-0 flexible 0+ {
        max_partitions: i32, 0+;
        topic: Option<String>, 0+ tag 0;
    }

    message RinglogDescribeCoresResponse 0-0 flexible 0+ {
        error_code: i16, 0+;
        error_message: Option<String>, 0+ null 0+;
        cores: Vec<CoreDescription>, 0+;
    }

    part CoreDescription {
        core: i32, 0+;
        uptime_ns: i64, 0+;
        cpu_ns: i64, 0+;
        connections: i32, 0+;
        partitions: i32, 0+;
        counters: Vec<CoreCounter>, 0+;
        stages: Vec<CoreStage>, 0+;
        busiest: Vec<PartitionLoad>, 0+;
    }

    part CoreCounter {
        name: String, 0+;
        value: i64, 0+;
    }

    part CoreStage {
        name: String, 0+;
        sum_ns: i64, 0+;
        buckets: Vec<StageBucket>, 0+;
    }

    part StageBucket {
        largest_ns: i64, 0+;
        count: i64, 0+;
    }

    part PartitionLoad {
        topic: String, 0+;
        partition_index: i32, 0+;
        log_end_offset: i64, 0+;
        size_bytes: i64, 0+;
        batches_in: i64, 0+;
        bytes_in: i64, 0+;
        bytes_out: i64, 0+;
    }
}
