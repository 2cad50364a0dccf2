//! FindCoordinator: which broker coordinates a group (0), a transaction (1) or a share group (2).
//!
//! From version 4 a request carries many keys (KIP-699), and each answer its own error.

use crate::wire::schema::schema;

schema! {
    message FindCoordinatorRequest 0-6 flexible 3+ {
        key: String, 0-3;
        key_type: i8, 1+;
        coordinator_keys: Vec<String>, 4+;
    }

    message FindCoordinatorResponse 0-6 flexible 3+ {
        throttle_time_ms: i32, 1+;
        error_code: i16, 0-3;
        error_message: Option<String>, 1-3;
        node_id: i32, 0-3;
        host: String, 0-3;
        port: i32, 0-3;
        coordinators: Vec<Coordinator>, 4+;
    }

    part Coordinator {
        key: String, 4+;
        node_id: i32, 4+;
        host: String, 4+;
        port: i32, 4+;
        error_code: i16, 4+;
        error_message: Option<String>, 4+;
    }
}
