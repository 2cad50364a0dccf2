//! Heartbeat: a member of a classic group is alive, and learns whether the group is being put together anew.

use crate::wire::schema::schema;

schema! {
    message HeartbeatRequest 0-4 flexible 4+ {
        group_id: String, 0+;
        generation_id: i32, 0+;
        member_id: String, 0+;
        group_instance_id: Option<String>, 3+;
    }

    message HeartbeatResponse 0-4 flexible 4+ {
        throttle_time_ms: i32, 1+;
        error_code: i16, 0+;
    }
}
