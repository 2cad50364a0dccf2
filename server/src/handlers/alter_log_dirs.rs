//! AlterReplicaLogDirs: there is one log directory, and every replica lies in it (KIP-113).

use std::collections::{BTreeMap, BTreeSet};

use super::context::Context;
use crate::wire::ErrorCode;
use crate::wire::alter_replica_log_dirs::*;

/// What Kafka puts behind `<topic>-<index>` while a replica moves: a dot, an id of 32 digits, and `-future`.
const MOVING_SUFFIX_BYTES: usize = 1 + 32 + "-future".len();
/// The longest name of a folder.
const MAX_NAME_BYTES: usize = 255;

/// Decides about every partition by itself: one that is to lie where it lies is there already. Of several directories for one partition
/// the last counts.
pub fn handle(
    ctx: &Context<'_>,
    request: &AlterReplicaLogDirsRequest,
    directory: &str,
) -> AlterReplicaLogDirsResponse {
    let mut wanted: BTreeMap<(&str, i32), &str> = BTreeMap::new();
    let mut topics: BTreeSet<&str> = BTreeSet::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            for index in &topic.partitions {
                topics.insert(&topic.name);
                wanted.insert((&topic.name, *index), &dir.path);
            }
        }
    }
    let row = |((topic, index), path): (&(&str, i32), &&str)| AlterReplicaLogDirPartitionResult {
        partition_index: *index,
        error_code: decide(ctx, topic, *index, *path == directory).into(),
    };
    let result = |topic: &str| AlterReplicaLogDirTopicResult {
        topic_name: topic.to_owned(),
        partitions: wanted
            .range((topic, i32::MIN)..=(topic, i32::MAX))
            .map(row)
            .collect(),
    };
    AlterReplicaLogDirsResponse {
        results: topics.into_iter().map(result).collect(),
        ..Default::default()
    }
}

fn decide(ctx: &Context<'_>, topic: &str, index: i32, is_ours: bool) -> ErrorCode {
    if format!("{topic}-{index}").len() + MOVING_SUFFIX_BYTES > MAX_NAME_BYTES {
        return ErrorCode::InvalidTopicException;
    }
    if !is_ours {
        return ErrorCode::LogDirNotFound;
    }
    match ctx
        .image
        .topic(topic)
        .and_then(|topic| topic.partitions.get(&index))
    {
        None => ErrorCode::UnknownTopicOrPartition,
        Some(partition) if !partition.replicas.contains(&ctx.node.id) => ErrorCode::ReplicaNotAvailable,
        Some(_) => ErrorCode::None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::{id_of, topic};
    use crate::wire::metadata_records::PartitionChangeRecord;

    #[test]
    fn a_replica_stays_where_it_is() {
        let long = "x".repeat(249);
        let elsewhere = PartitionChangeRecord {
            partition_id: 1,
            topic_id: id_of("t"),
            replicas: Some(vec![2]),
            ..Default::default()
        };
        let world = World::new(
            &[topic("t", 2), topic(&long, 1), vec![elsewhere.into()]].concat(),
            &[],
        );
        let dir = |path: &str, name: &str, partitions: &[i32]| AlterReplicaLogDir {
            path: path.into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: name.into(),
                partitions: partitions.to_vec(),
            }],
        };
        for (dirs, want) in [
            (vec![dir("/data", "t", &[0])], vec![("t", 0, 0)]),
            (vec![dir("/other", "t", &[0])], vec![("t", 0, 57)]),
            (vec![dir("/data/", "t", &[0])], vec![("t", 0, 57)]),
            (
                vec![dir("/other", "t", &[0]), dir("/data", "t", &[0])],
                vec![("t", 0, 0)],
            ),
            (vec![dir("/data", "t", &[7, 1])], vec![("t", 1, 9), ("t", 7, 3)]),
            (
                vec![dir("/data", "u", &[0]), dir("/data", "t", &[0])],
                vec![("t", 0, 0), ("u", 0, 3)],
            ),
            (vec![dir("/data", &long, &[0])], vec![(&long, 0, 17)]),
            (vec![], vec![]),
        ] {
            let request = AlterReplicaLogDirsRequest { dirs };
            let response = handle(&world.context(), &request, "/data");
            let rows = response.results.iter().flat_map(|topic| {
                let row = |one: &AlterReplicaLogDirPartitionResult| (one.partition_index, one.error_code);
                topic
                    .partitions
                    .iter()
                    .map(move |one| (topic.topic_name.as_str(), row(one)))
            });
            let rows: Vec<_> = rows.map(|(name, (index, code))| (name, index, code)).collect();
            assert_eq!(rows, want, "{request:?}");
        }
    }
}
