//! TxnOffsetCommit: offsets of a group that count once a transaction is committed (KIP-98, KIP-447).

use crate::wire::schema::schema;

schema! {
    message TxnOffsetCommitRequest 0-5 flexible 3+ {
        transactional_id: String, 0+;
        group_id: String, 0+;
        producer_id: i64, 0+;
        producer_epoch: i16, 0+;
        generation_id: i32 = -1, 3+;
        member_id: String, 3+;
        group_instance_id: Option<String>, 3+;
        topics: Vec<TxnOffsetCommitRequestTopic>, 0+;
    }

    part TxnOffsetCommitRequestTopic {
        name: String, 0+;
        partitions: Vec<TxnOffsetCommitRequestPartition>, 0+;
    }

    part TxnOffsetCommitRequestPartition {
        partition_index: i32, 0+;
        committed_offset: i64, 0+;
        committed_leader_epoch: i32 = -1, 2+;
        committed_metadata: Option<String>, 0+;
    }

    message TxnOffsetCommitResponse 0-5 flexible 3+ {
        throttle_time_ms: i32, 0+;
        topics: Vec<TxnOffsetCommitResponseTopic>, 0+;
    }

    part TxnOffsetCommitResponseTopic {
        name: String, 0+;
        partitions: Vec<TxnOffsetCommitResponsePartition>, 0+;
    }

    part TxnOffsetCommitResponsePartition {
        partition_index: i32, 0+;
        error_code: i16, 0+;
    }
}
