//! OffsetFetch of one group.

use crate::groups::group::Group;
use crate::groups::{Coordinator, Ctx};
use crate::wire::group_records::OffsetCommitValue;
use crate::wire::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use crate::wire::{ErrorCode, Uuid};

use super::GroupOffsets;
use super::pending::GroupPending;

/// The version from which topics are known by their ids.
const TOPIC_IDS_FROM: i16 = 10;

/// The version from which a whole group can be answered with an error.
const GROUP_ERROR_FROM: i16 = 2;

/// There is no offset.
const NO_OFFSET: i64 = -1;

impl<T> Coordinator<T> {
    /// OffsetFetch. Offsets of transactions that have not ended are not seen; who requires stable ones is told of partitions that have such (KIP-447).
    pub(in crate::groups) fn fetch(
        &self,
        ctx: &Ctx<'_>,
        version: i16,
        group: OffsetFetchRequestGroup,
        require_stable: bool,
    ) -> OffsetFetchResponseGroup {
        let by_id = version >= TOPIC_IDS_FROM;
        let checked = self.check_fetch(&group);
        let offsets = self
            .offsets
            .of_group(&group.group_id)
            .filter(|_| checked == Ok(true));
        let pending = self
            .offsets
            .pending_of_group(&group.group_id)
            .filter(|_| require_stable);
        let offsets = Readable { offsets, pending };
        let mut answer = OffsetFetchResponseGroup {
            group_id: group.group_id,
            ..Default::default()
        };
        match (checked, group.topics) {
            (Err(error), _) if version >= GROUP_ERROR_FROM => answer.error_code = error.code(),
            (Err(error), topics) => {
                let topics = topics.unwrap_or_default().into_iter();
                answer.topics = topics.map(|topic| failed(topic, error)).collect();
            }
            (Ok(_), None) => answer.topics = offsets.all(ctx, by_id),
            (Ok(_), Some(topics)) => {
                let (mut found, mut unknown) = (Vec::new(), Vec::new());
                for mut topic in topics {
                    if by_id {
                        match ctx.image.topic_by_id(topic.topic_id) {
                            Some(known) => topic.name = known.name.to_string(),
                            None => {
                                unknown.push(failed(topic, ErrorCode::UnknownTopicId));
                                continue;
                            }
                        }
                    }
                    found.push(offsets.read(topic));
                }
                found.append(&mut unknown);
                answer.topics = found;
            }
        }
        answer
    }

    /// Whether there is such a group, and the member, if one is named, may read its offsets.
    fn check_fetch(&self, group: &OffsetFetchRequestGroup) -> Result<bool, ErrorCode> {
        match self.groups.get(group.group_id.as_str()) {
            None => Ok(false),
            Some(Group::Classic(_)) => Ok(true),
            Some(Group::Consumer(found)) => found
                .check_fetch(group.member_id.as_deref(), group.member_epoch)
                .map(|()| true),
        }
    }
}

/// What of a group's offsets may be read.
struct Readable<'a> {
    /// Those that count.
    offsets: Option<&'a GroupOffsets>,
    /// Those that a transaction may still change, if they are an error.
    pending: Option<&'a GroupPending>,
}

impl Readable<'_> {
    /// All offsets of the group. By id those of topics that are no more cannot be named.
    fn all(&self, ctx: &Ctx<'_>, by_id: bool) -> Vec<OffsetFetchResponseTopics> {
        let mut topics = Vec::new();
        for (name, partitions) in self.offsets.into_iter().flatten() {
            let topic_id = match by_id {
                true => ctx.image.topic(name).map_or(Uuid::ZERO, |topic| topic.id),
                false => Uuid::ZERO,
            };
            if by_id && topic_id.is_zero() {
                continue;
            }
            let partitions = partitions
                .iter()
                .map(|(index, value)| self.stable(name, *index, Some(value)));
            topics.push(OffsetFetchResponseTopics {
                name: name.to_string(),
                topic_id,
                partitions: partitions.collect(),
            });
        }
        topics
    }

    /// The offsets of a topic; one that was committed to another topic of this name is none.
    fn read(&self, topic: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
        let partitions = self.offsets.and_then(|offsets| offsets.get(topic.name.as_str()));
        let is_same = |value: &&OffsetCommitValue| {
            value.topic_id.is_zero() || topic.topic_id.is_zero() || value.topic_id == topic.topic_id
        };
        let of = |index: &i32| {
            let value = partitions.and_then(|all| all.get(index)).filter(is_same);
            self.stable(&topic.name, *index, value)
        };
        OffsetFetchResponseTopics {
            partitions: topic.partition_indexes.iter().map(of).collect(),
            topic_id: topic.topic_id,
            name: topic.name,
        }
    }

    /// What counts for a partition, unless it may still change.
    fn stable(
        &self,
        topic: &str,
        index: i32,
        value: Option<&OffsetCommitValue>,
    ) -> OffsetFetchResponsePartitions {
        let partitions = self.pending.and_then(|pending| pending.get(topic));
        match partitions.is_some_and(|partitions| partitions.contains_key(&index)) {
            true => OffsetFetchResponsePartitions {
                error_code: ErrorCode::UnstableOffsetCommit.code(),
                ..found(index, None)
            },
            false => found(index, value),
        }
    }
}

fn found(partition_index: i32, value: Option<&OffsetCommitValue>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: value.map_or(NO_OFFSET, |value| value.offset),
        committed_leader_epoch: value.map_or(-1, |value| value.leader_epoch),
        metadata: Some(value.map(|value| value.metadata.clone()).unwrap_or_default()),
        error_code: ErrorCode::None.code(),
    }
}

fn failed(topic: OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    let partition = |index: &i32| OffsetFetchResponsePartitions {
        error_code: error.code(),
        ..found(*index, None)
    };
    OffsetFetchResponseTopics {
        partitions: topic.partition_indexes.iter().map(partition).collect(),
        name: topic.name,
        topic_id: topic.topic_id,
    }
}
