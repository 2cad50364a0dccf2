//! A classic group as a record, and back.

use std::sync::Arc;

use crate::wire::ErrorCode;
use crate::wire::group_records::{GroupMetadataKey, GroupMetadataValue, GroupRecord, MemberMetadata};
use crate::wire::join_group::JoinGroupRequestProtocol;

use super::members::{About, Member};
use super::{ClassicGroup, State};

/// A record has to fit into a batch of the default `max.message.bytes`, with room for its header.
const MAX_RECORD_BYTES: usize = 1_000_000;

impl<T> ClassicGroup<T> {
    /// The record of the generation, if it fits into a batch.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownServerError`]: members said too much, or were given too much.
    pub(super) fn checked_record(&self) -> Result<GroupRecord, ErrorCode> {
        let record = self.record();
        let (key, value) = record.encode();
        let bytes = key.len() + value.map_or(0, |value| value.len());
        if bytes > MAX_RECORD_BYTES {
            return Err(ErrorCode::UnknownServerError);
        }
        Ok(record)
    }

    /// The generation, its members and their assignments.
    pub(super) fn record(&self) -> GroupRecord {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter().map(|member| MemberMetadata {
            member_id: member.id.to_string(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: member.assignment.clone(),
        });
        self.record_of(GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.as_deref().map(str::to_owned),
            current_state_timestamp: self.state_since_ms.unwrap_or(-1),
            members: members.collect(),
        })
    }

    /// The group before its first generation, whoever joins it at this moment. It says that the group is there.
    pub fn new_group_record(&self) -> GroupRecord {
        self.record_of(GroupMetadataValue {
            current_state_timestamp: self.state_since_ms.unwrap_or(-1),
            ..Default::default()
        })
    }

    /// The group is no more.
    pub fn tombstone(&self) -> GroupRecord {
        GroupRecord::GroupMetadata(self.key(), None)
    }

    /// The group as a record left it: whoever was in it has yet to be heard of.
    pub fn from_record(id: Arc<str>, value: &GroupMetadataValue) -> Self {
        let mut group = ClassicGroup::new(id, value.current_state_timestamp);
        group.state_since_ms = Some(value.current_state_timestamp).filter(|since_ms| *since_ms != -1);
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type.clone()).filter(|name| !name.is_empty());
        group.protocol = value.protocol.clone();
        group.leader = value.leader.as_deref().map(Arc::from);
        for member in &value.members {
            group.members.insert(replayed(member, value.protocol.as_deref()));
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
        }
        group.subscribed_topics = group.find_subscribed_topics();
        group
    }

    fn record_of(&self, value: GroupMetadataValue) -> GroupRecord {
        GroupRecord::GroupMetadata(self.key(), Some(value))
    }

    fn key(&self) -> GroupMetadataKey {
        GroupMetadataKey {
            group: self.id.to_string(),
        }
    }
}

/// Of what a member can speak only what the group speaks is known.
fn replayed<T>(member: &MemberMetadata, protocol: Option<&str>) -> Member<T> {
    let spoken = JoinGroupRequestProtocol {
        name: protocol.unwrap_or_default().to_owned(),
        metadata: member.subscription.clone(),
    };
    // Records older than the rebalance timeout lack it.
    let rebalance_timeout_ms = match member.rebalance_timeout {
        -1 => member.session_timeout,
        timeout_ms => timeout_ms,
    };
    let about = About {
        id: member.member_id.as_str().into(),
        instance_id: member.group_instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout,
    };
    Member::new(about, &[spoken], &member.assignment)
}
