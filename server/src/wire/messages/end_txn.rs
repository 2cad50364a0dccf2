//! EndTxn: commits or aborts a transaction. From version 5 on the answer brings the producer's next epoch (KIP-890).

use crate::wire::schema::schema;

schema! {
    message EndTxnRequest 0-5 flexible 3+ {
        transactional_id: String, 0+;
        producer_id: i64, 0+;
        producer_epoch: i16, 0+;
        committed: bool, 0+;
    }

    message EndTxnResponse 0-5 flexible 3+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        producer_id: i64 = -1, 5+;
        producer_epoch: i16 = -1, 5+;
    }
}
