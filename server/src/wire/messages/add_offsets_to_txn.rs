//! AddOffsetsToTxn: a transaction will commit offsets of a group.

use crate::wire::schema::schema;

schema! {
    message AddOffsetsToTxnRequest 0-4 flexible 3+ {
        transactional_id: String, 0+;
        producer_id: i64, 0+;
        producer_epoch: i16, 0+;
        group_id: String, 0+;
    }

    message AddOffsetsToTxnResponse 0-4 flexible 3+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
    }
}
