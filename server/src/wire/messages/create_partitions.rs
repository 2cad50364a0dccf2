//! CreatePartitions: more partitions for a topic (KIP-195); `count` is the new total.

use crate::wire::schema::schema;

schema! {
    message CreatePartitionsRequest 0-3 flexible 2+ {
        topics: Vec<CreatePartitionsTopic>, 0+;
        timeout_ms: i32, 0+;
        validate_only: bool, 0+;
    }

    part CreatePartitionsTopic {
        name: String, 0+;
        count: i32, 0+;
        assignments: Option<Vec<CreatePartitionsAssignment>>, 0+;
    }

    part CreatePartitionsAssignment {
        broker_ids: Vec<i32>, 0+;
    }

    message CreatePartitionsResponse 0-3 flexible 2+ {
        throttle_time_ms: i32, 0+;
        results: Vec<CreatePartitionsTopicResult>, 0+;
    }

    part CreatePartitionsTopicResult {
        name: String, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
    }
}
