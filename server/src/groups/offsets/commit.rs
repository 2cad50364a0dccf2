//! OffsetCommit.

use std::collections::HashMap;

use crate::groups::group::Group;
use crate::groups::{Caller, Coordinator, Ctx, GroupResponse, Step};
use crate::metadata::image::Topic;
use crate::wire::group_records::{GroupRecord, OffsetCommitValue};
use crate::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::wire::{ErrorCode, Uuid};

use super::key;

/// The version from which topics are known by their ids.
const TOPIC_IDS_FROM: i16 = 10;

/// The version from which a group that does not exist is called so (KIP-848).
const NO_GROUP_FROM: i16 = 9;

/// No retention was asked for.
pub(super) const DEFAULT_RETENTION: i64 = -1;

/// A partition that exists, and what is committed for it.
pub(super) struct Commit {
    pub topic: String,
    pub topic_id: Uuid,
    pub offset: OffsetCommitRequestPartition,
}

impl<T> Coordinator<T> {
    /// OffsetCommit. Partitions that do not exist are answered so even if the group would refuse.
    pub(in crate::groups) fn commit(
        &mut self,
        ctx: &mut Ctx<'_>,
        caller: Caller<T>,
        mut request: OffsetCommitRequest,
    ) -> Step<T> {
        let mut answer = Answer::default();
        let mut commits = Vec::new();
        for topic in std::mem::take(&mut request.topics) {
            sort_out(ctx, caller.version, topic, &mut commits, &mut answer);
        }
        let mut step = Step::default();
        let refused = match commits.is_empty() {
            true => None,
            false => self
                .check_commits(ctx, caller.version, &request, &commits, &mut step)
                .err(),
        };
        for commit in commits {
            let error = refused.unwrap_or_else(|| check_metadata(ctx, &commit));
            answer.add_commit(&commit, error);
            if error.is_none() {
                self.apply(
                    record(ctx, &request.group_id, request.retention_time_ms, commit),
                    &mut step,
                );
            }
        }
        step.replies
            .push((caller.to, GroupResponse::Commit(answer.response)));
        step
    }

    /// Whether the group takes the commits. A group that does not exist takes what asks for no member: it becomes a simple group, with the first offset.
    fn check_commits(
        &mut self,
        ctx: &mut Ctx<'_>,
        version: i16,
        request: &OffsetCommitRequest,
        commits: &[Commit],
        step: &mut Step<T>,
    ) -> Result<(), ErrorCode> {
        let epoch = request.generation_id_or_member_epoch;
        let instance_id = request.group_instance_id.as_deref();
        let (group, mut work) = self.work_on(&request.group_id, ctx, step);
        match group {
            None if epoch < 0 => Ok(()),
            None if version >= NO_GROUP_FROM => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
            Some(Group::Consumer(group)) => {
                match group.check_commit(&request.member_id, instance_id, epoch, version) {
                    // As in Kafka one partition that may not be committed is enough to commit none.
                    Ok(check) => {
                        let mut right = commits
                            .iter()
                            .filter(|commit| check_metadata(work.ctx, commit).is_none());
                        right.try_for_each(|commit| {
                            check.partition(commit.topic_id, commit.offset.partition_index)
                        })
                    }
                    Err(error) => Err(error),
                }
            }
            Some(Group::Classic(group)) => {
                group.check_commit(&request.member_id, instance_id, epoch)?;
                group.committed(&mut work, &request.member_id);
                Ok(())
            }
        }
    }
}

/// Partitions that exist, and those that do not.
pub(super) fn sort_out(
    ctx: &Ctx<'_>,
    version: i16,
    topic: OffsetCommitRequestTopic,
    commits: &mut Vec<Commit>,
    answer: &mut Answer,
) {
    let by_id = version >= TOPIC_IDS_FROM;
    let found: Option<&Topic> = match by_id {
        true => ctx.image.topic_by_id(topic.topic_id),
        false => ctx.image.topic(&topic.name),
    };
    let unknown = match (&found, by_id) {
        (None, true) => ErrorCode::UnknownTopicId,
        _ => ErrorCode::UnknownTopicOrPartition,
    };
    let (name, topic_id) = match found {
        Some(found) => (found.name.to_string(), found.id),
        None => (topic.name, topic.topic_id),
    };
    for offset in topic.partitions {
        let exists = found.is_some_and(|found| ctx.image.partition(found, offset.partition_index).is_some());
        if exists {
            commits.push(Commit {
                topic: name.clone(),
                topic_id,
                offset,
            });
        } else {
            answer.add(&name, topic_id, offset.partition_index, unknown);
        }
    }
}

/// Kafka counts UTF-16 units, as Java does.
pub(super) fn check_metadata(ctx: &Ctx<'_>, commit: &Commit) -> ErrorCode {
    let most = usize::try_from(ctx.settings.offset_metadata_max_bytes).unwrap_or(0);
    let metadata = commit.offset.committed_metadata.as_deref().unwrap_or_default();
    if metadata.len() > most && metadata.encode_utf16().count() > most {
        ErrorCode::OffsetMetadataTooLarge
    } else {
        ErrorCode::None
    }
}

/// The record of a commit; `retention_ms` is what the client asked for.
pub(super) fn record(ctx: &Ctx<'_>, group_id: &str, retention_ms: i64, commit: Commit) -> GroupRecord {
    let expire_timestamp = match retention_ms {
        DEFAULT_RETENTION => -1,
        retention_ms => ctx.wall_ms.saturating_add(retention_ms),
    };
    let value = OffsetCommitValue {
        offset: commit.offset.committed_offset,
        leader_epoch: commit.offset.committed_leader_epoch,
        metadata: commit.offset.committed_metadata.unwrap_or_default(),
        commit_timestamp: ctx.wall_ms,
        expire_timestamp,
        topic_id: commit.topic_id,
    };
    let key = key(group_id, &commit.topic, commit.offset.partition_index);
    GroupRecord::OffsetCommit(key, Some(value))
}

/// The answer, each topic in it once.
#[derive(Default)]
pub(super) struct Answer {
    pub response: OffsetCommitResponse,
    places: HashMap<(String, Uuid), usize>,
}

impl Answer {
    /// What became of a commit.
    pub fn add_commit(&mut self, commit: &Commit, error: ErrorCode) {
        self.add(
            &commit.topic,
            commit.topic_id,
            commit.offset.partition_index,
            error,
        );
    }

    pub fn add(&mut self, topic: &str, topic_id: Uuid, partition_index: i32, error: ErrorCode) {
        let topics = &mut self.response.topics;
        let last = topics.len().wrapping_sub(1);
        let is_last = topics
            .last()
            .is_some_and(|last| last.topic_id == topic_id && last.name == topic);
        let place = match is_last {
            true => last,
            false => *self
                .places
                .entry((topic.to_owned(), topic_id))
                .or_insert(topics.len()),
        };
        if place == topics.len() {
            topics.push(OffsetCommitResponseTopic {
                name: topic.to_owned(),
                topic_id,
                partitions: Vec::new(),
            });
        }
        topics[place].partitions.push(OffsetCommitResponsePartition {
            partition_index,
            error_code: error.code(),
        });
    }
}
