//! SyncGroup: the leader of a generation hands in the assignment, every member takes its own.

use bytes::Bytes;

use crate::wire::schema::schema;

schema! {
    message SyncGroupRequest 0-5 flexible 4+ {
        group_id: String, 0+;
        generation_id: i32, 0+;
        member_id: String, 0+;
        group_instance_id: Option<String>, 3+;
        protocol_type: Option<String>, 5+;
        protocol_name: Option<String>, 5+;
        assignments: Vec<SyncGroupRequestAssignment>, 0+;
    }

    part SyncGroupRequestAssignment {
        member_id: String, 0+;
        assignment: Bytes, 0+;
    }

    message SyncGroupResponse 0-5 flexible 4+ {
        throttle_time_ms: i32, 1+;
        error_code: i16, 0+;
        protocol_type: Option<String>, 5+;
        protocol_name: Option<String>, 5+;
        assignment: Bytes, 0+;
    }
}
