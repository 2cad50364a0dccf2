//! DeleteGroups: groups without members, with their offsets.

use crate::wire::schema::schema;

schema! {
    message DeleteGroupsRequest 0-2 flexible 2+ {
        groups_names: Vec<String>, 0+;
    }

    message DeleteGroupsResponse 0-2 flexible 2+ {
        throttle_time_ms: i32, 0+;
        results: Vec<DeletableGroupResult>, 0+;
    }

    part DeletableGroupResult {
        group_id: String, 0+;
        error_code: i16, 0+;
    }
}
