//! TxnOffsetCommit (KIP-98, KIP-447).

use crate::groups::group::Group;
use crate::groups::{Caller, Coordinator, Ctx, GroupResponse, Step};
use crate::wire::ErrorCode;
use crate::wire::group_records::GroupRecord;
use crate::wire::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponseTopic,
};
use crate::wire::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};

use super::commit::{self, Answer, Commit, DEFAULT_RETENTION};

/// A version of OffsetCommit that knows topics by their names, as every version of TxnOffsetCommit does.
const BY_NAME: i16 = 9;

impl<T> Coordinator<T> {
    /// TxnOffsetCommit. The offsets are pending until [`Coordinator::end_transaction`]. Partitions that do not exist are answered so even if the group
    /// would refuse.
    ///
    /// The records have the topic's id, where Kafka's have none: an offset of a topic that is deleted is never one of the next topic of that name.
    pub(in crate::groups) fn txn_commit(
        &mut self,
        ctx: &Ctx<'_>,
        caller: Caller<T>,
        mut request: TxnOffsetCommitRequest,
    ) -> Step<T> {
        let mut answer = Answer::default();
        let mut commits = Vec::new();
        for topic in std::mem::take(&mut request.topics) {
            commit::sort_out(ctx, BY_NAME, plain(topic), &mut commits, &mut answer);
        }
        let refused = match commits.is_empty() {
            true => None,
            false => self.check_txn_commits(ctx, &request, &commits).err(),
        };
        let mut records = Vec::new();
        for commit in commits {
            let error = refused.unwrap_or_else(|| commit::check_metadata(ctx, &commit));
            answer.add_commit(&commit, error);
            if error.is_none() {
                records.push(commit::record(ctx, &request.group_id, DEFAULT_RETENTION, commit));
            }
        }
        let topics = answer.response.topics.into_iter().map(transactional);
        let response = TxnOffsetCommitResponse {
            topics: topics.collect(),
            ..Default::default()
        };
        let mut step = Step::reply(caller.to, GroupResponse::TxnCommit(response));
        self.apply_transactional(records, (request.producer_id, request.producer_epoch), &mut step);
        step
    }

    /// Appends the records of a producer's transaction, and does what they say.
    fn apply_transactional(&mut self, records: Vec<GroupRecord>, producer: (i64, i16), step: &mut Step<T>) {
        for record in &records {
            self.replay(record.clone(), Some(producer.0));
        }
        step.and(Step {
            producer: Some(producer).filter(|_| !records.is_empty()),
            records,
            replies: Vec::new(),
            ..Step::default()
        });
    }

    /// Whether the group takes the commits. A group that does not exist takes what names no generation: it becomes a simple group, with the first offset.
    fn check_txn_commits(
        &self,
        ctx: &Ctx<'_>,
        request: &TxnOffsetCommitRequest,
        commits: &[Commit],
    ) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let (member_id, generation) = (&request.member_id, request.generation_id);
        let instance_id = request.group_instance_id.as_deref();
        let checked = match self.groups.get(request.group_id.as_str()) {
            None if generation < 0 => Ok(()),
            None => Err(ErrorCode::IllegalGeneration),
            Some(Group::Classic(group)) => group.check_txn_commit(member_id, instance_id, generation),
            Some(Group::Consumer(group)) => group
                .check_txn_commit(member_id, instance_id, generation)
                .and_then(|check| {
                    // As in Kafka one partition that may not be committed is enough to commit none.
                    let mut right = commits
                        .iter()
                        .filter(|commit| commit::check_metadata(ctx, commit).is_none());
                    right.try_for_each(|commit| {
                        check.partition(commit.topic_id, commit.offset.partition_index)
                    })
                }),
        };
        checked.map_err(|error| match error {
            // Producers know of no epochs.
            ErrorCode::StaleMemberEpoch => ErrorCode::IllegalGeneration,
            error => error,
        })
    }
}

fn plain(topic: TxnOffsetCommitRequestTopic) -> OffsetCommitRequestTopic {
    let partition = |partition: TxnOffsetCommitRequestPartition| OffsetCommitRequestPartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        committed_metadata: partition.committed_metadata,
    };
    OffsetCommitRequestTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Default::default()
    }
}

fn transactional(topic: OffsetCommitResponseTopic) -> TxnOffsetCommitResponseTopic {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| TxnOffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: partition.error_code,
        });
    TxnOffsetCommitResponseTopic {
        name: topic.name,
        partitions: partitions.collect(),
    }
}
