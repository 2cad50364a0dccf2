//! How far groups have read: the offsets they have committed.

use std::collections::BTreeMap;

use crate::cli::client::{GroupAnswer, GroupQuestion, GroupRefusal};
use crate::wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
};

/// Committed offsets by topic and partition.
pub(super) type Committed = BTreeMap<String, BTreeMap<i32, i64>>;

/// Asks for all that groups have committed.
pub(super) struct AllCommitted;

impl GroupQuestion for AllCommitted {
    type Asked = OffsetFetchRequest;
    type Answer = Committed;
    /// The last version that names topics by name: offsets of topics that are gone have no id any more.
    const NEWEST: i16 = 9;
    const MANY_FROM: i16 = 8;

    fn request(&self, groups: &[String]) -> OffsetFetchRequest {
        let group = |group: &String| OffsetFetchRequestGroup {
            group_id: group.clone(),
            ..Default::default()
        };
        OffsetFetchRequest {
            group_id: groups.first().cloned().unwrap_or_default(),
            groups: groups.iter().map(group).collect(),
            ..Default::default()
        }
    }

    fn answers(&self, groups: &[String], response: OffsetFetchResponse) -> Vec<GroupAnswer<Committed>> {
        if !response.groups.is_empty() {
            return response.groups.into_iter().map(of_group).collect();
        }
        let mut committed = Committed::new();
        for topic in response.topics {
            let partitions = topic.partitions.iter();
            let partitions = partitions.map(|p| (p.partition_index, p.committed_offset, p.error_code));
            insert(&mut committed, topic.name, partitions);
        }
        let group = groups.first().cloned().unwrap_or_default();
        vec![(group, GroupRefusal::or(response.error_code, None, committed))]
    }
}

fn of_group(group: OffsetFetchResponseGroup) -> GroupAnswer<Committed> {
    let mut committed = Committed::new();
    for topic in group.topics {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|p| (p.partition_index, p.committed_offset, p.error_code));
        insert(&mut committed, topic.name, partitions);
    }
    (
        group.group_id,
        GroupRefusal::or(group.error_code, None, committed),
    )
}

/// Offset -1 is none.
fn insert(committed: &mut Committed, topic: String, partitions: impl Iterator<Item = (i32, i64, i16)>) {
    let sound = partitions.filter(|(_, offset, error_code)| *offset >= 0 && *error_code == 0);
    let sound: BTreeMap<i32, i64> = sound.map(|(partition, offset, _)| (partition, offset)).collect();
    if !sound.is_empty() {
        committed.entry(topic).or_default().extend(sound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::offset_fetch::{
        OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
        OffsetFetchResponseTopics,
    };

    fn expected() -> Committed {
        Committed::from([("t".to_owned(), BTreeMap::from([(0, 5)]))])
    }

    #[test]
    fn offsets_are_read_from_old_and_new_versions_and_none_is_none() {
        let old = OffsetFetchResponse {
            topics: vec![OffsetFetchResponseTopic {
                name: "t".to_owned(),
                partitions: [(0, 5), (1, -1)]
                    .map(
                        |(partition_index, committed_offset)| OffsetFetchResponsePartition {
                            partition_index,
                            committed_offset,
                            ..Default::default()
                        },
                    )
                    .to_vec(),
            }],
            ..Default::default()
        };
        let new = OffsetFetchResponse {
            groups: vec![OffsetFetchResponseGroup {
                group_id: "g".to_owned(),
                topics: vec![OffsetFetchResponseTopics {
                    name: "t".to_owned(),
                    partitions: [(0, 5), (1, -1)]
                        .map(
                            |(partition_index, committed_offset)| OffsetFetchResponsePartitions {
                                partition_index,
                                committed_offset,
                                ..Default::default()
                            },
                        )
                        .to_vec(),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        for response in [old, new] {
            let answers = AllCommitted.answers(&["g".to_owned()], response);
            assert_eq!(answers, [("g".to_owned(), Ok(expected()))]);
        }
    }

    #[test]
    fn a_group_s_error_is_its_refusal() {
        let response = OffsetFetchResponse {
            groups: vec![OffsetFetchResponseGroup {
                group_id: "g".to_owned(),
                error_code: 30,
                ..Default::default()
            }],
            ..Default::default()
        };
        let answers = AllCommitted.answers(&["g".to_owned()], response);
        assert_eq!(answers[0].1.as_ref().map_err(|refusal| refusal.code), Err(30));
    }
}
