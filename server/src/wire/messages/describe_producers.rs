//! DescribeProducers: idempotent and transactional producers that a partition remembers (KIP-664).

use crate::wire::schema::schema;

schema! {
    message DescribeProducersRequest 0-0 flexible 0+ {
        topics: Vec<TopicRequest>, 0+;
    }

    part TopicRequest {
        name: String, 0+;
        partition_indexes: Vec<i32>, 0+;
    }

    message DescribeProducersResponse 0-0 flexible 0+ {
        throttle_time_ms: i32, 0+;
        topics: Vec<TopicResponse>, 0+;
    }

    part TopicResponse {
        name: String, 0+;
        partitions: Vec<PartitionResponse>, 0+;
    }

    part PartitionResponse {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        active_producers: Vec<ProducerState>, 0+;
    }

    part ProducerState {
        producer_id: i64, 0+;
        producer_epoch: i32, 0+;
        last_sequence: i32 = -1, 0+;
        last_timestamp: i64 = -1, 0+;
        coordinator_epoch: i32, 0+;
        current_txn_start_offset: i64 = -1, 0+;
    }
}
