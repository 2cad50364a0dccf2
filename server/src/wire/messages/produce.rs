//! Produce: record batches for partitions.
//!
//! The records of a decoded request are slices of its frame; nobody looks inside them here. Version 13 names
//! topics by id (KIP-516). The leader tags are KIP-951.

use bytes::Bytes;

use crate::wire::schema::schema;
use crate::wire::uuid::Uuid;

schema! {
    message ProduceRequest 3-13 flexible 9+ {
        transactional_id: Option<String>, 3+;
        acks: i16, 0+;
        timeout_ms: i32, 0+;
        topic_data: Vec<TopicProduceData>, 0+;
    }

    part TopicProduceData {
        name: String, 0-12;
        topic_id: Uuid, 13+;
        partition_data: Vec<PartitionProduceData>, 0+;
    }

    part PartitionProduceData {
        index: i32, 0+;
        records: Option<Bytes>, 0+;
    }

    message ProduceResponse 3-13 flexible 9+ {
        responses: Vec<TopicProduceResponse>, 0+;
        throttle_time_ms: i32, 1+;
        node_endpoints: Vec<NodeEndpoint>, 10+ tag 0;
    }

    part TopicProduceResponse {
        name: String, 0-12;
        topic_id: Uuid, 13+;
        partition_responses: Vec<PartitionProduceResponse>, 0+;
    }

    part NodeEndpoint {
        node_id: i32, 10+;
        host: String, 10+;
        port: i32, 10+;
        rack: Option<String>, 10+;
    }

    part PartitionProduceResponse {
        index: i32, 0+;
        error_code: i16, 0+;
        base_offset: i64, 0+;
        log_append_time_ms: i64 = -1, 2+;
        log_start_offset: i64 = -1, 5+;
        record_errors: Vec<BatchIndexAndErrorMessage>, 8+;
        error_message: Option<String>, 8+;
        current_leader: LeaderIdAndEpoch, 10+ tag 0;
    }

    part BatchIndexAndErrorMessage {
        batch_index: i32, 8+;
        batch_index_error_message: Option<String>, 8+;
    }

    part LeaderIdAndEpoch {
        leader_id: i32 = -1, 10+;
        leader_epoch: i32 = -1, 10+;
    }
}
