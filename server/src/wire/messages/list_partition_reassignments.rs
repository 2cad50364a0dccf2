//! ListPartitionReassignments: partitions whose replicas are changing (KIP-455).

use crate::wire::schema::schema;

schema! {
    message ListPartitionReassignmentsRequest 0-0 flexible 0+ {
        timeout_ms: i32 = 60000, 0+;
        topics: Option<Vec<ListPartitionReassignmentsTopics>>, 0+;
    }

    part ListPartitionReassignmentsTopics {
        name: String, 0+;
        partition_indexes: Vec<i32>, 0+;
    }

    message ListPartitionReassignmentsResponse 0-0 flexible 0+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        topics: Vec<OngoingTopicReassignment>, 0+;
    }

    part OngoingTopicReassignment {
        name: String, 0+;
        partitions: Vec<OngoingPartitionReassignment>, 0+;
    }

    part OngoingPartitionReassignment {
        partition_index: i32, 0+;
        replicas: Vec<i32>, 0+;
        adding_replicas: Vec<i32>, 0+;
        removing_replicas: Vec<i32>, 0+;
    }
}
