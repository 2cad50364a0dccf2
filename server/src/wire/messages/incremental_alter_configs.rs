//! IncrementalAlterConfigs: set, delete, append to or subtract from single configs (KIP-339).

use crate::wire::schema::schema;

schema! {
    message IncrementalAlterConfigsRequest 0-1 flexible 1+ {
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
        config_operation: i8, 0+;
        value: Option<String>, 0+;
    }

    message IncrementalAlterConfigsResponse 0-1 flexible 1+ {
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
