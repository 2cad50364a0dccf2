//! JoinGroup: a member of a classic group asks to take part in its next generation.

use bytes::Bytes;

use crate::wire::schema::schema;

schema! {
    message JoinGroupRequest 0-9 flexible 6+ {
        group_id: String, 0+;
        session_timeout_ms: i32, 0+;
        rebalance_timeout_ms: i32 = -1, 1+;
        member_id: String, 0+;
        group_instance_id: Option<String>, 5+;
        protocol_type: String, 0+;
        protocols: Vec<JoinGroupRequestProtocol>, 0+;
        reason: Option<String>, 8+;
    }

    part JoinGroupRequestProtocol {
        name: String, 0+;
        metadata: Bytes, 0+;
    }

    message JoinGroupResponse 0-9 flexible 6+ {
        throttle_time_ms: i32, 2+;
        error_code: i16, 0+;
        generation_id: i32 = -1, 0+;
        protocol_type: Option<String>, 7+;
        protocol_name: Option<String>, 0+ null 7+;
        leader: String, 0+;
        skip_assignment: bool, 9+;
        member_id: String, 0+;
        members: Vec<JoinGroupResponseMember>, 0+;
    }

    part JoinGroupResponseMember {
        member_id: String, 0+;
        group_instance_id: Option<String>, 5+;
        metadata: Bytes, 0+;
    }
}
