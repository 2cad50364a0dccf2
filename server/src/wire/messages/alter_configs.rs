//! AlterConfigs: replaces all dynamic configs of a resource; IncrementalAlterConfigs is its successor.

use crate::wire::schema::schema;

schema! {
    message AlterConfigsRequest 0-2 flexible 2+ {
        resources: Vec<AlterConfigsResource>, 0+;
        validate_only: bool, 0+;
    }

    part AlterConfigsResource {
        resource_type: i8, 0+;
        resource_name: String, 0+;
        configs: Vec<AlterableConfig>, 0+;
    }

    part AlterableConfig {
        name: String, 0+;
        value: Option<String>, 0+;
    }

    message AlterConfigsResponse 0-2 flexible 2+ {
        throttle_time_ms: i32, 0+;
        responses: Vec<AlterConfigsResourceResponse>, 0+;
    }

    part AlterConfigsResourceResponse {
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        resource_type: i8, 0+;
        resource_name: String, 0+;
    }
}
