//! OffsetForLeaderEpoch: where a leader epoch ended, which tells a consumer whether its log was truncated
//! (KIP-320).

use crate::wire::schema::schema;

schema! {
    message OffsetForLeaderEpochRequest 2-4 flexible 4+ {
        replica_id: i32 = -2, 3+;
        topics: Vec<OffsetForLeaderTopic>, 0+;
    }

    part OffsetForLeaderTopic {
        topic: String, 0+;
        partitions: Vec<OffsetForLeaderPartition>, 0+;
    }

    part OffsetForLeaderPartition {
        partition: i32, 0+;
        current_leader_epoch: i32 = -1, 2+;
        leader_epoch: i32, 0+;
    }

    message OffsetForLeaderEpochResponse 2-4 flexible 4+ {
        throttle_time_ms: i32, 2+;
        topics: Vec<OffsetForLeaderTopicResult>, 0+;
    }

    part OffsetForLeaderTopicResult {
        topic: String, 0+;
        partitions: Vec<EpochEndOffset>, 0+;
    }

    part EpochEndOffset {
        error_code: i16, 0+;
        partition: i32, 0+;
        leader_epoch: i32 = -1, 1+;
        end_offset: i64 = -1, 0+;
    }
}
