//! Records into state.

use super::group::{ConsumerGroup, Target};
use super::index::Resolved;
use super::member::Member;
use super::partitions;
use crate::wire::group_records::GroupRecord;

impl ConsumerGroup {
    /// Applies a record of this group. One of another kind changes nothing.
    ///
    /// A compacted log may have lost any older record, so none relies on one before it.
    pub fn replay(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::ConsumerGroupMetadata(_, value) => {
                self.epoch = value.as_ref().map(|value| value.epoch);
                self.metadata_hash = value.as_ref().map_or(0, |value| value.metadata_hash);
            }
            GroupRecord::ConsumerGroupPartitionMetadata(_, value) => {
                self.has_partition_metadata = value.is_some()
            }
            GroupRecord::ConsumerGroupMemberMetadata(key, Some(value)) => {
                self.change_member(&key.member_id, |member| member.describe(value));
            }
            GroupRecord::ConsumerGroupMemberMetadata(key, None) => {
                if let Some(member) = self.members.remove(key.member_id.as_str()) {
                    self.index.remove(&member);
                }
            }
            GroupRecord::ConsumerGroupTargetAssignmentMetadata(_, value) => {
                let (epoch, timestamp_ms) = value.as_ref().map_or((-1, 0), |value| {
                    (value.assignment_epoch, value.assignment_timestamp)
                });
                self.target = Target {
                    epoch,
                    timestamp_ms,
                    members: std::mem::take(&mut self.target.members),
                };
            }
            GroupRecord::ConsumerGroupTargetAssignmentMember(key, Some(value)) => {
                let target = partitions::target_from_record(&value.topic_partitions);
                self.target.members.insert(key.member_id.as_str().into(), target);
            }
            GroupRecord::ConsumerGroupTargetAssignmentMember(key, None) => {
                self.target.members.remove(key.member_id.as_str());
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment(key, Some(value)) => {
                self.change_member(&key.member_id, |member| member.progress(value));
            }
            GroupRecord::ConsumerGroupCurrentMemberAssignment(key, None)
                if self.members.contains_key(key.member_id.as_str()) =>
            {
                self.change_member(&key.member_id, |member| {
                    member.epoch = super::LEAVE_EPOCH;
                    member.previous_epoch = super::LEAVE_EPOCH;
                    member.assigned.clear();
                    member.pending_revocation.clear();
                });
            }
            GroupRecord::ConsumerGroupRegularExpression(key, value) => {
                let resolved = value.as_ref().map(|value| Resolved {
                    topics: value.topics.iter().cloned().collect(),
                    version: value.version,
                    timestamp_ms: value.timestamp,
                });
                self.index.resolve(&key.regular_expression, resolved);
            }
            _ => {}
        }
    }

    /// Changes a member, which is new if it is not known, and what the group counts of it.
    fn change_member(&mut self, member_id: &str, change: impl FnOnce(&mut Member)) {
        let mut member = match self.members.remove(member_id) {
            Some(member) => {
                self.index.remove(&member);
                member
            }
            None => Member::new(member_id.into()),
        };
        change(&mut member);
        self.index.add(&member);
        self.members.insert(member.id.clone(), member);
    }
}
