//! DescribeConfigs: configs of topics and brokers with their sources and synonyms (KIP-133, KIP-226).

use crate::wire::schema::schema;

schema! {
    message DescribeConfigsRequest 1-4 flexible 4+ {
        resources: Vec<DescribeConfigsResource>, 0+;
        include_synonyms: bool, 1+;
        include_documentation: bool, 3+;
    }

    part DescribeConfigsResource {
        resource_type: i8, 0+;
        resource_name: String, 0+;
        configuration_keys: Option<Vec<String>>, 0+;
    }

    message DescribeConfigsResponse 1-4 flexible 4+ {
        throttle_time_ms: i32, 0+;
        results: Vec<DescribeConfigsResult>, 0+;
    }

    part DescribeConfigsResult {
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        resource_type: i8, 0+;
        resource_name: String, 0+;
        configs: Vec<DescribeConfigsResourceResult>, 0+;
    }

    part DescribeConfigsResourceResult {
        name: String, 0+;
        value: Option<String>, 0+;
        read_only: bool, 0+;
        config_source: i8 = -1, 1+;
        is_sensitive: bool, 0+;
        synonyms: Vec<DescribeConfigsSynonym>, 1+;
        config_type: i8, 3+;
        documentation: Option<String>, 3+;
    }

    part DescribeConfigsSynonym {
        name: String, 1+;
        value: Option<String>, 1+;
        source: i8, 1+;
    }
}
