//! ListGroups: all groups of a broker, by state (KIP-518) and type (KIP-848) if asked.

use crate::wire::schema::schema;

schema! {
    message ListGroupsRequest 0-5 flexible 3+ {
        states_filter: Vec<String>, 4+;
        types_filter: Vec<String>, 5+;
    }

    message ListGroupsResponse 0-5 flexible 3+ {
        throttle_time_ms: i32, 1+;
        error_code: i16, 0+;
        groups: Vec<ListedGroup>, 0+;
    }

    part ListedGroup {
        group_id: String, 0+;
        protocol_type: String, 0+;
        group_state: String, 4+;
        group_type: String, 5+;
    }
}
