//! One member: what it wants, and how far it has come.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::partitions::Owned;
use crate::wire::group_records::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataValue,
};

/// How a member stands to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberState {
    /// It has what it shall have, as of its epoch.
    Stable,
    /// It still has partitions that it must give back.
    UnrevokedPartitions,
    /// Others have not given back yet what it shall have.
    UnreleasedPartitions,
    /// Written by a later version of the protocol.
    Unknown(i8),
}

impl MemberState {
    /// Kafka's number, as it stands in records.
    pub(super) fn number(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown(number) => number,
        }
    }

    pub(super) fn from_number(number: i8) -> MemberState {
        match number {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            number => MemberState::Unknown(number),
        }
    }
}

/// A member of either protocol.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub id: Arc<str>,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    /// The topics it names.
    pub topic_names: BTreeSet<String>,
    /// The regular expression of topics it wants; an empty one is none.
    pub topic_regex: Option<String>,
    pub rebalance_timeout_ms: i32,
    pub server_assignor: Option<String>,
    /// What a member of the classic protocol joined with.
    pub classic: Option<ClassicMemberMetadata>,
    pub epoch: i32,
    /// The one before: a member that missed the answer which raised its epoch comes with it.
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: Owned,
    pub pending_revocation: Owned,
}

impl Member {
    pub(super) fn new(id: Arc<str>) -> Member {
        Member {
            id,
            instance_id: None,
            rack_id: None,
            client_id: String::new(),
            client_host: String::new(),
            topic_names: BTreeSet::new(),
            topic_regex: Some(String::new()),
            rebalance_timeout_ms: -1,
            server_assignor: None,
            classic: None,
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Owned::new(),
            pending_revocation: Owned::new(),
        }
    }

    /// A static member that comes back under another id has what it had.
    pub(super) fn heir(&self, id: Arc<str>) -> Member {
        Member {
            id,
            epoch: 0,
            previous_epoch: 0,
            ..self.clone()
        }
    }

    /// The regular expression, if there is one.
    pub(super) fn regex(&self) -> Option<&str> {
        self.topic_regex.as_deref().filter(|regex| !regex.is_empty())
    }

    pub(super) fn uses_classic_protocol(&self) -> bool {
        self.classic.is_some()
    }

    /// Whether it has all it shall have by that target.
    pub(super) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// Comes to an epoch, which may be the one it had.
    pub(super) fn advance(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// Takes over what a record says of it.
    pub(super) fn describe(&mut self, value: &ConsumerGroupMemberMetadataValue) {
        self.instance_id.clone_from(&value.instance_id);
        self.rack_id.clone_from(&value.rack_id);
        self.client_id.clone_from(&value.client_id);
        self.client_host.clone_from(&value.client_host);
        self.topic_names = value.subscribed_topic_names.iter().cloned().collect();
        self.topic_regex.clone_from(&value.subscribed_topic_regex);
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.server_assignor.clone_from(&value.server_assignor);
        self.classic = value.classic_member_metadata.as_ref().map(detached);
    }

    /// Takes over what a record says of its progress.
    pub(super) fn progress(&mut self, value: &ConsumerGroupCurrentMemberAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = MemberState::from_number(value.state);
        self.assigned = super::partitions::from_record(&value.assigned_partitions, value.member_epoch);
        self.pending_revocation =
            super::partitions::from_record(&value.partitions_pending_revocation, value.member_epoch);
    }
}

/// With bytes of its own: a record's and a request's are pieces of something larger, which they would keep in memory.
fn detached(classic: &ClassicMemberMetadata) -> ClassicMemberMetadata {
    let protocols = classic
        .supported_protocols
        .iter()
        .map(|protocol| ClassicProtocol {
            name: protocol.name.clone(),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        });
    ClassicMemberMetadata {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: protocols.collect(),
    }
}
