//! InitProducerId: an id and epoch for an idempotent or transactional producer (KIP-98, KIP-360).
//!
//! Version 6 exists in Kafka 4.3's schema but is not stable there, and is not served.

use crate::wire::schema::schema;

schema! {
    message InitProducerIdRequest 0-5 flexible 2+ {
        transactional_id: Option<String>, 0+;
        transaction_timeout_ms: i32, 0+;
        producer_id: i64 = -1, 3+;
        producer_epoch: i16 = -1, 3+;
    }

    message InitProducerIdResponse 0-5 flexible 2+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        producer_id: i64 = -1, 0+;
        producer_epoch: i16, 0+;
    }
}
