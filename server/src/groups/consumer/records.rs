//! The records of a group, made of its state.

use super::group::ConsumerGroup;
use super::index::Resolved;
use super::member::Member;
use super::partitions;
use crate::groups::assignor::Partitions;
use crate::wire::group_records::*;

impl ConsumerGroup {
    /// Everything that must be written to delete the group, in order.
    pub fn tombstones(&self) -> Vec<GroupRecord> {
        let members = || self.members.keys().map(AsRef::as_ref);
        let mut records: Vec<GroupRecord> = members()
            .map(|member| self.progress_record(member, None))
            .collect();
        records.extend(
            self.target
                .members
                .keys()
                .map(|member| self.target_record(member, None)),
        );
        records.push(self.target_epoch_record(None));
        records.extend(members().map(|member| self.member_tombstone(member)));
        records.extend(
            self.index
                .resolved
                .keys()
                .map(|regex| self.regex_record(regex, None)),
        );
        records.push(self.partition_metadata_tombstone());
        records.push(GroupRecord::ConsumerGroupMetadata(self.epoch_key(), None));
        records
    }

    pub(super) fn epoch_record(&self, epoch: i32, metadata_hash: i64) -> GroupRecord {
        let value = ConsumerGroupMetadataValue { epoch, metadata_hash };
        GroupRecord::ConsumerGroupMetadata(self.epoch_key(), Some(value))
    }

    pub(super) fn partition_metadata_tombstone(&self) -> GroupRecord {
        let key = ConsumerGroupPartitionMetadataKey {
            group_id: self.id.as_ref().to_owned(),
        };
        GroupRecord::ConsumerGroupPartitionMetadata(key, None)
    }

    pub(super) fn member_record(&self, member: &Member) -> GroupRecord {
        let value = ConsumerGroupMemberMetadataValue {
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.topic_names.iter().cloned().collect(),
            subscribed_topic_regex: member.topic_regex.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            server_assignor: member.server_assignor.clone(),
            classic_member_metadata: member.classic.clone(),
        };
        GroupRecord::ConsumerGroupMemberMetadata(self.member_key(&member.id), Some(value))
    }

    pub(super) fn member_tombstone(&self, member_id: &str) -> GroupRecord {
        GroupRecord::ConsumerGroupMemberMetadata(self.member_key(member_id), None)
    }

    /// The epoch of the target and when it was computed; `None` when there is no target.
    pub(super) fn target_epoch_record(&self, target: Option<(i32, i64)>) -> GroupRecord {
        let key = ConsumerGroupTargetAssignmentMetadataKey {
            group_id: self.id.as_ref().to_owned(),
        };
        let value = target.map(|(assignment_epoch, assignment_timestamp)| {
            ConsumerGroupTargetAssignmentMetadataValue {
                assignment_epoch,
                assignment_timestamp,
            }
        });
        GroupRecord::ConsumerGroupTargetAssignmentMetadata(key, value)
    }

    pub(super) fn target_record(&self, member_id: &str, target: Option<&Partitions>) -> GroupRecord {
        let key = ConsumerGroupTargetAssignmentMemberKey {
            group_id: self.id.as_ref().to_owned(),
            member_id: member_id.to_owned(),
        };
        let value = target.map(|target| ConsumerGroupTargetAssignmentMemberValue {
            topic_partitions: partitions::target_to_record(target),
        });
        GroupRecord::ConsumerGroupTargetAssignmentMember(key, value)
    }

    pub(super) fn progress_record(&self, member_id: &str, member: Option<&Member>) -> GroupRecord {
        let key = ConsumerGroupCurrentMemberAssignmentKey {
            group_id: self.id.as_ref().to_owned(),
            member_id: member_id.to_owned(),
        };
        let value = member.map(|member| ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: member.epoch,
            previous_member_epoch: member.previous_epoch,
            state: member.state.number(),
            assigned_partitions: partitions::to_record(&member.assigned),
            partitions_pending_revocation: partitions::to_record(&member.pending_revocation),
        });
        GroupRecord::ConsumerGroupCurrentMemberAssignment(key, value)
    }

    pub(super) fn regex_record(&self, regex: &str, resolved: Option<&Resolved>) -> GroupRecord {
        let key = ConsumerGroupRegularExpressionKey {
            group_id: self.id.as_ref().to_owned(),
            regular_expression: regex.to_owned(),
        };
        let value = resolved.map(|resolved| ConsumerGroupRegularExpressionValue {
            topics: resolved.topics.iter().cloned().collect(),
            version: resolved.version,
            timestamp: resolved.timestamp_ms,
        });
        GroupRecord::ConsumerGroupRegularExpression(key, value)
    }

    fn epoch_key(&self) -> ConsumerGroupMetadataKey {
        ConsumerGroupMetadataKey {
            group_id: self.id.as_ref().to_owned(),
        }
    }

    fn member_key(&self, member_id: &str) -> ConsumerGroupMemberMetadataKey {
        ConsumerGroupMemberMetadataKey {
            group_id: self.id.as_ref().to_owned(),
            member_id: member_id.to_owned(),
        }
    }
}
