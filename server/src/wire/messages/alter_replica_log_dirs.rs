//! AlterReplicaLogDirs: move replicas to another of a broker's log directories (KIP-113).

use crate::wire::schema::schema;

schema! {
    message AlterReplicaLogDirsRequest 1-2 flexible 2+ {
        dirs: Vec<AlterReplicaLogDir>, 0+;
    }

    part AlterReplicaLogDir {
        path: String, 0+;
        topics: Vec<AlterReplicaLogDirTopic>, 0+;
    }

    part AlterReplicaLogDirTopic {
        name: String, 0+;
        partitions: Vec<i32>, 0+;
    }

    message AlterReplicaLogDirsResponse 1-2 flexible 2+ {
        throttle_time_ms: i32, 0+;
        results: Vec<AlterReplicaLogDirTopicResult>, 0+;
    }

    part AlterReplicaLogDirTopicResult {
        topic_name: String, 0+;
        partitions: Vec<AlterReplicaLogDirPartitionResult>, 0+;
    }

    part AlterReplicaLogDirPartitionResult {
        partition_index: i32, 0+;
        error_code: i16, 0+;
    }
}
