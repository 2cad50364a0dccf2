//! A group of either protocol.

use crate::wire::ErrorCode;
use crate::wire::group_records::GroupRecord;

use super::classic::{CONSUMER, ClassicGroup};
use super::consumer::ConsumerGroup;

/// A group.
#[derive(Debug)]
pub enum Group<T> {
    /// Of the classic protocol, or of none: one that only holds offsets.
    Classic(ClassicGroup<T>),
    /// Of the protocol in which the broker assigns partitions (KIP-848).
    Consumer(ConsumerGroup),
}

impl<T> Group<T> {
    /// `classic` or `consumer`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Group::Classic(_) => "classic",
            Group::Consumer(_) => "consumer",
        }
    }

    /// Its state, as ListGroups shows it.
    pub fn state_name(&self) -> &'static str {
        match self {
            Group::Classic(group) => group.state().name(),
            Group::Consumer(group) => group.state_name(),
        }
    }

    /// What its members speak.
    pub fn protocol_type(&self) -> &str {
        match self {
            Group::Classic(group) => group.protocol_type().unwrap_or_default(),
            Group::Consumer(_) => CONSUMER,
        }
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Group::Classic(group) => group.is_empty(),
            Group::Consumer(group) => group.is_empty(),
        }
    }

    /// Whether a member is, or may be, subscribed to a topic.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        match self {
            Group::Classic(group) => group.is_subscribed(topic),
            Group::Consumer(group) => group.is_subscribed(topic),
        }
    }

    /// From when on an offset committed at `committed_ms` ages; `None` while offsets do not expire.
    pub fn ages_from_ms(&self, committed_ms: i64) -> Option<i64> {
        match self {
            Group::Classic(group) => group.ages_from_ms(committed_ms),
            Group::Consumer(_) => Some(committed_ms),
        }
    }

    /// What removes the group, its offsets excepted.
    pub fn tombstones(&self) -> Vec<GroupRecord> {
        match self {
            Group::Classic(group) => vec![group.tombstone()],
            Group::Consumer(group) => group.tombstones(),
        }
    }

    /// Whether the group may be deleted.
    ///
    /// # Errors
    /// [`ErrorCode::NonEmptyGroup`].
    pub fn check_delete(&self) -> Result<(), ErrorCode> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(ErrorCode::NonEmptyGroup)
        }
    }
}
