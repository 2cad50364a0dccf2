//! OffsetCommit: how far a group has read. Topics are named up to version 9 and known by id from version 10.

use crate::wire::schema::schema;
use crate::wire::uuid::Uuid;

schema! {
    message OffsetCommitRequest 2-10 flexible 8+ {
        group_id: String, 0+;
        generation_id_or_member_epoch: i32 = -1, 1+;
        member_id: String, 1+;
        group_instance_id: Option<String>, 7+;
        retention_time_ms: i64 = -1, 2-4;
        topics: Vec<OffsetCommitRequestTopic>, 0+;
    }

    part OffsetCommitRequestTopic {
        name: String, 0-9;
        topic_id: Uuid, 10+;
        partitions: Vec<OffsetCommitRequestPartition>, 0+;
    }

    part OffsetCommitRequestPartition {
        partition_index: i32, 0+;
        committed_offset: i64, 0+;
        committed_leader_epoch: i32 = -1, 6+;
        committed_metadata: Option<String>, 0+;
    }

    message OffsetCommitResponse 2-10 flexible 8+ {
        throttle_time_ms: i32, 3+;
        topics: Vec<OffsetCommitResponseTopic>, 0+;
    }

    part OffsetCommitResponseTopic {
        name: String, 0-9;
        topic_id: Uuid, 10+;
        partitions: Vec<OffsetCommitResponsePartition>, 0+;
    }

    part OffsetCommitResponsePartition {
        partition_index: i32, 0+;
        error_code: i16, 0+;
    }
}
