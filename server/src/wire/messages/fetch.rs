//! Fetch: batches from offsets on, long-polled.
//!
//! Version 13 names topics by id (KIP-516); sessions are KIP-227, the leader tags KIP-951.

use bytes::Bytes;

use crate::wire::schema::schema;
use crate::wire::uuid::Uuid;

schema! {
    message FetchRequest 4-18 flexible 12+ {
        replica_id: i32 = -1, 0-14;
        max_wait_ms: i32, 0+;
        min_bytes: i32, 0+;
        max_bytes: i32 = i32::MAX, 3+;
        isolation_level: i8, 4+;
        session_id: i32, 7+;
        session_epoch: i32 = -1, 7+;
        topics: Vec<FetchTopic>, 0+;
        forgotten_topics_data: Vec<ForgottenTopic>, 7+;
        rack_id: String, 11+;
        cluster_id: Option<String>, 12+ tag 0;
        replica_state: ReplicaState, 15+ tag 1;
    }

    part ReplicaState {
        replica_id: i32 = -1, 15+;
        replica_epoch: i64 = -1, 15+;
    }

    part FetchTopic {
        topic: String, 0-12;
        topic_id: Uuid, 13+;
        partitions: Vec<FetchPartition>, 0+;
    }

    part ForgottenTopic {
        topic: String, 7-12;
        topic_id: Uuid, 13+;
        partitions: Vec<i32>, 7+;
    }

    part FetchPartition {
        partition: i32, 0+;
        current_leader_epoch: i32 = -1, 9+;
        fetch_offset: i64, 0+;
        last_fetched_epoch: i32 = -1, 12+;
        log_start_offset: i64 = -1, 5+;
        partition_max_bytes: i32, 0+;
        replica_directory_id: Uuid, 17+ tag 0;
        high_watermark: i64 = i64::MAX, 18+ tag 1;
    }

    message FetchResponse 4-18 flexible 12+ {
        throttle_time_ms: i32, 1+;
        error_code: i16, 7+;
        session_id: i32, 7+;
        responses: Vec<FetchableTopicResponse>, 0+;
        node_endpoints: Vec<NodeEndpoint>, 16+ tag 0;
    }

    part FetchableTopicResponse {
        topic: String, 0-12;
        topic_id: Uuid, 13+;
        partitions: Vec<PartitionData>, 0+;
    }

    part NodeEndpoint {
        node_id: i32, 16+;
        host: String, 16+;
        port: i32, 16+;
        rack: Option<String>, 16+;
    }

    part PartitionData {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        high_watermark: i64, 0+;
        last_stable_offset: i64 = -1, 4+;
        log_start_offset: i64 = -1, 5+;
        aborted_transactions: Option<Vec<AbortedTransaction>>, 4+;
        preferred_read_replica: i32 = -1, 11+;
        records: Option<Bytes>, 0+;
        diverging_epoch: EpochEndOffset, 12+ tag 0;
        current_leader: LeaderIdAndEpoch, 12+ tag 1;
        snapshot_id: SnapshotId, 12+ tag 2;
    }

    part EpochEndOffset {
        epoch: i32 = -1, 12+;
        end_offset: i64 = -1, 12+;
    }

    part LeaderIdAndEpoch {
        leader_id: i32 = -1, 12+;
        leader_epoch: i32 = -1, 12+;
    }

    part SnapshotId {
        end_offset: i64 = -1, 0+;
        epoch: i32 = -1, 0+;
    }

    part AbortedTransaction {
        producer_id: i64, 4+;
        first_offset: i64, 4+;
    }
}
