//! The state of a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::index::Index;
use super::member::Member;
use super::migration::Downgrade;
use super::{Refusal, metadata_hash};
use crate::groups::assignor::Partitions;
use crate::groups::{Ctx, GroupSettings};
use crate::wire::code::ErrorCode;
use crate::wire::group_records::GroupRecord;

/// What a member says of itself has to fit into a batch of the default `max.message.bytes`, with room for its header.
const MAX_MEMBER_BYTES: usize = 1_000_000;

/// A group whose partitions the broker assigns.
#[derive(Debug)]
pub struct ConsumerGroup {
    pub(super) id: Arc<str>,
    /// The epoch of the group; `None` while it is not in the log.
    pub(super) epoch: Option<i32>,
    /// Stands for all that the assignment depends on in the topics that are wanted (KIP-1101).
    pub(super) metadata_hash: i64,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    pub(super) index: Index,
    pub(super) target: Target,
    /// Whether the log has a record of topics, as Kafka wrote them before 4.1, that has to go.
    pub(super) has_partition_metadata: bool,
    pub(super) soft: Soft,
}

/// The epoch of a group that nobody has joined; the first member with a subscription raises it. That is one since Kafka 4.3, and was zero before.
const FIRST_EPOCH: i32 = 1;

/// Who shall have which partition.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Target {
    /// The group epoch it was computed for.
    pub epoch: i32,
    /// When, in milliseconds since 1970; 0 if unknown.
    pub timestamp_ms: i64,
    pub members: BTreeMap<Arc<str>, Partitions>,
}

/// What is not in any record.
#[derive(Debug)]
pub(super) struct Soft {
    /// Whether topics may have changed since the metadata hash was computed.
    pub topics_may_differ: bool,
    /// The offset of the metadata with which topics came or went last.
    pub topics_version: i64,
    /// The group was turned into a classic one by the last step.
    pub downgrade: Option<Downgrade>,
}

impl ConsumerGroup {
    /// A group that nobody has joined.
    pub fn new(group_id: Arc<str>) -> ConsumerGroup {
        ConsumerGroup {
            id: group_id,
            epoch: None,
            metadata_hash: 0,
            members: BTreeMap::new(),
            index: Index::default(),
            target: Target::default(),
            has_partition_metadata: false,
            soft: Soft {
                topics_may_differ: true,
                topics_version: -1,
                downgrade: None,
            },
        }
    }

    /// Its id.
    pub fn group_id(&self) -> &Arc<str> {
        &self.id
    }

    /// Whether it is in the log: not so before the first member has joined, and after its tombstones.
    pub fn exists(&self) -> bool {
        self.epoch.is_some() || !self.members.is_empty()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a member wants the topic, by its name or by a regular expression.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.index.topics.contains_key(topic)
    }

    /// `Empty`, `Assigning`, `Reconciling` or `Stable`, and `Dead` after its tombstones.
    pub fn state_name(&self) -> &'static str {
        match self.group_epoch() {
            _ if self.members.is_empty() && self.target.epoch < 0 => "Dead",
            _ if self.members.is_empty() => "Empty",
            epoch if epoch > self.target.epoch => "Assigning",
            _ if self
                .members
                .values()
                .any(|member| !member.is_reconciled_to(self.target.epoch)) =>
            {
                "Reconciling"
            }
            _ => "Stable",
        }
    }

    /// Topics were created, deleted or got more partitions. What follows is done when a member is heard of next, as Kafka does it.
    pub fn on_topics_changed(&mut self, ctx: &mut Ctx<'_>) {
        self.soft.topics_may_differ = true;
        self.soft.topics_version = image_version(ctx);
    }

    /// What the last step turned the group into, if it did.
    pub fn take_downgrade(&mut self) -> Option<Downgrade> {
        self.soft.downgrade.take()
    }

    pub(super) fn group_epoch(&self) -> i32 {
        self.epoch.unwrap_or(FIRST_EPOCH)
    }

    pub(super) fn member(&self, member_id: &str) -> Result<&Member, Refusal> {
        self.members
            .get(member_id)
            .ok_or_else(|| Refusal::unknown_member(member_id, &self.id))
    }

    pub(super) fn known_or_new(&self, member_id: &str) -> Member {
        self.members
            .get(member_id)
            .cloned()
            .unwrap_or_else(|| Member::new(member_id.into()))
    }

    pub(super) fn static_member(&self, instance_id: &str) -> Option<&Member> {
        self.members.get(self.index.static_members.get(instance_id)?)
    }

    /// Replays a record and keeps it to be appended: the only way in which a step changes what must survive.
    pub(super) fn write(&mut self, records: &mut Vec<GroupRecord>, record: GroupRecord) {
        self.replay(&record);
        records.push(record);
    }

    /// Raises the group's epoch if it has to be, or if the topics that are wanted are not what they were.
    pub(super) fn update_epoch(&mut self, ctx: &Ctx<'_>, records: &mut Vec<GroupRecord>, must: bool) {
        let hash = metadata_hash::of_group(self.index.topics.keys(), ctx.image);
        if must || hash != self.metadata_hash {
            let record = self.epoch_record(self.group_epoch().saturating_add(1), hash);
            self.write(records, record);
        } else if self.epoch.is_none() {
            // Of a member that wants no topic, or whose expression was not looked up yet.
            let record = self.epoch_record(FIRST_EPOCH, hash);
            self.write(records, record);
        }
        self.soft.topics_may_differ = false;
    }

    /// A member that says more than fits into a record is refused before anything has changed.
    pub(super) fn refuse_if_too_large(&self, member: &Member) -> Result<(), Refusal> {
        let (key, value) = self.member_record(member).encode();
        if key.len() + value.map_or(0, |value| value.len()) <= MAX_MEMBER_BYTES {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::UnknownServerError,
            format!("The member's record is larger than {MAX_MEMBER_BYTES} bytes."),
        ))
    }

    pub(super) fn refuse_if_full(&self, settings: &GroupSettings, member_id: &str) -> Result<(), Refusal> {
        let max = usize::try_from(settings.consumer_max_size).unwrap_or(0);
        if self.members.len() >= max && !self.members.contains_key(member_id) {
            return Err(Refusal::new(
                ErrorCode::GroupMaxSizeReached,
                format!("The consumer group has reached its maximum capacity of {max} members."),
            ));
        }
        Ok(())
    }

    pub(super) fn session_timeout_ms(&self, ctx: &Ctx<'_>) -> i64 {
        ctx.settings.session_timeout_of(ctx.image, &self.id).into()
    }

    pub(super) fn heartbeat_interval_ms(&self, ctx: &Ctx<'_>) -> i32 {
        ctx.settings.heartbeat_interval_of(ctx.image, &self.id)
    }

    pub(super) fn assignment_interval_ms(&self, ctx: &Ctx<'_>) -> i64 {
        ctx.settings.assignment_interval_of(ctx.image, &self.id).into()
    }
}

/// The offset of the metadata.
pub(super) fn image_version(ctx: &Ctx<'_>) -> i64 {
    ctx.image.applied().map_or(-1, |(offset, _)| offset)
}
