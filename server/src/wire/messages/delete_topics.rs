//! DeleteTopics: by name, or from version 6 by name or id (KIP-516).

use crate::wire::schema::schema;
use crate::wire::uuid::Uuid;

schema! {
    message DeleteTopicsRequest 1-6 flexible 4+ {
        topics: Vec<DeleteTopicState>, 6+;
        topic_names: Vec<String>, 0-5;
        timeout_ms: i32, 0+;
    }

    part DeleteTopicState {
        name: Option<String>, 6+;
        topic_id: Uuid, 6+;
    }

    message DeleteTopicsResponse 1-6 flexible 4+ {
        throttle_time_ms: i32, 1+;
        responses: Vec<DeletableTopicResult>, 0+;
    }

    part DeletableTopicResult {
        name: Option<String>, 0+ null 6+;
        topic_id: Uuid, 6+;
        error_code: i16, 0+;
        error_message: Option<String>, 5+;
    }
}
