//! OffsetFetch: how far a group has read; from version 8 for many groups at once (KIP-709), from version 10 by topic id.

use crate::wire::schema::schema;
use crate::wire::uuid::Uuid;

schema! {
    message OffsetFetchRequest 1-10 flexible 6+ {
        group_id: String, 0-7;
        topics: Option<Vec<OffsetFetchRequestTopic>>, 0-7 null 2+;
        groups: Vec<OffsetFetchRequestGroup>, 8+;
        require_stable: bool, 7+;
    }

    part OffsetFetchRequestTopic {
        name: String, 0-7;
        partition_indexes: Vec<i32>, 0-7;
    }

    part OffsetFetchRequestGroup {
        group_id: String, 8+;
        member_id: Option<String>, 9+;
        member_epoch: i32 = -1, 9+;
        topics: Option<Vec<OffsetFetchRequestTopics>>, 8+;
    }

    part OffsetFetchRequestTopics {
        name: String, 8-9;
        topic_id: Uuid, 10+;
        partition_indexes: Vec<i32>, 8+;
    }

    message OffsetFetchResponse 1-10 flexible 6+ {
        throttle_time_ms: i32, 3+;
        topics: Vec<OffsetFetchResponseTopic>, 0-7;
        error_code: i16, 2-7;
        groups: Vec<OffsetFetchResponseGroup>, 8+;
    }

    part OffsetFetchResponseTopic {
        name: String, 0-7;
        partitions: Vec<OffsetFetchResponsePartition>, 0-7;
    }

    part OffsetFetchResponsePartition {
        partition_index: i32, 0-7;
        committed_offset: i64, 0-7;
        committed_leader_epoch: i32 = -1, 5-7;
        metadata: Option<String>, 0-7;
        error_code: i16, 0-7;
    }

    part OffsetFetchResponseGroup {
        group_id: String, 8+;
        topics: Vec<OffsetFetchResponseTopics>, 8+;
        error_code: i16, 8+;
    }

    part OffsetFetchResponseTopics {
        name: String, 8-9;
        topic_id: Uuid, 10+;
        partitions: Vec<OffsetFetchResponsePartitions>, 8+;
    }

    part OffsetFetchResponsePartitions {
        partition_index: i32, 8+;
        committed_offset: i64, 8+;
        committed_leader_epoch: i32 = -1, 8+;
        metadata: Option<String>, 8+;
        error_code: i16, 8+;
    }
}
