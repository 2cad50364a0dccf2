//! CreateTopics: new topics with partition counts or assignments, and configs.
//!
//! A count or replication factor of -1 asks for the broker's default (KIP-464). The answer lists all configs
//! (KIP-525).

use crate::wire::schema::schema;
use crate::wire::uuid::Uuid;

schema! {
    message CreateTopicsRequest 2-7 flexible 5+ {
        topics: Vec<CreatableTopic>, 0+;
        timeout_ms: i32 = 60000, 0+;
        validate_only: bool, 1+;
    }

    part CreatableTopic {
        name: String, 0+;
        num_partitions: i32, 0+;
        replication_factor: i16, 0+;
        assignments: Vec<CreatableReplicaAssignment>, 0+;
        configs: Vec<CreatableTopicConfig>, 0+;
    }

    part CreatableReplicaAssignment {
        partition_index: i32, 0+;
        broker_ids: Vec<i32>, 0+;
    }

    part CreatableTopicConfig {
        name: String, 0+;
        value: Option<String>, 0+;
    }

    message CreateTopicsResponse 2-7 flexible 5+ {
        throttle_time_ms: i32, 2+;
        topics: Vec<CreatableTopicResult>, 0+;
    }

    part CreatableTopicResult {
        name: String, 0+;
        topic_id: Uuid, 7+;
        error_code: i16, 0+;
        error_message: Option<String>, 1+;
        num_partitions: i32 = -1, 5+;
        replication_factor: i16 = -1, 5+;
        configs: Option<Vec<CreatableTopicConfigs>>, 5+;
        topic_config_error_code: i16, 5+ tag 0;
    }

    part CreatableTopicConfigs {
        name: String, 5+;
        value: Option<String>, 5+;
        read_only: bool, 5+;
        config_source: i8 = -1, 5+;
        is_sensitive: bool, 5+;
    }
}
