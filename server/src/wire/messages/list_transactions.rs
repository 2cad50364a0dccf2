//! ListTransactions: the transactional ids of a coordinator (KIP-664, KIP-994, KIP-1152).

use crate::wire::schema::schema;

schema! {
    message ListTransactionsRequest 0-2 flexible 0+ {
        state_filters: Vec<String>, 0+;
        producer_id_filters: Vec<i64>, 0+;
        duration_filter: i64 = -1, 1+;
        transactional_id_pattern: Option<String>, 2+;
    }

    message ListTransactionsResponse 0-2 flexible 0+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        unknown_state_filters: Vec<String>, 0+;
        transaction_states: Vec<TransactionState>, 0+;
    }

    part TransactionState {
        transactional_id: String, 0+;
        producer_id: i64, 0+;
        transaction_state: String, 0+;
    }
}
