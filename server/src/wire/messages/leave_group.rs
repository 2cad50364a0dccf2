//! LeaveGroup: members leave a group; from version 3 many at once (KIP-345).

use crate::wire::schema::schema;

schema! {
    message LeaveGroupRequest 0-5 flexible 4+ {
        group_id: String, 0+;
        member_id: String, 0-2;
        members: Vec<MemberIdentity>, 3+;
    }

    part MemberIdentity {
        member_id: String, 3+;
        group_instance_id: Option<String>, 3+;
        reason: Option<String>, 5+;
    }

    message LeaveGroupResponse 0-5 flexible 4+ {
        throttle_time_ms: i32, 1+;
        error_code: i16, 0+;
        members: Vec<MemberResponse>, 3+;
    }

    part MemberResponse {
        member_id: String, 3+;
        group_instance_id: Option<String>, 3+;
        error_code: i16, 3+;
    }
}
