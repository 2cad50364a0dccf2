//! ListConfigResources: what has settings of its own; version 0 knows client metrics only (KIP-1142).

use crate::wire::schema::schema;

schema! {
    message ListConfigResourcesRequest 0-1 flexible 0+ {
        resource_types: Vec<i8>, 1+;
    }

    message ListConfigResourcesResponse 0-1 flexible 0+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        config_resources: Vec<ConfigResource>, 0+;
    }

    part ConfigResource {
        resource_name: String, 0+;
        resource_type: i8 = 16, 1+;
    }
}
