//! One member's way to its target: it gives back first, then gets what is free (KIP-848, "reconciliation").
//!
//! ```text
//!             nothing to give back                     all that it shall have is free
//! any state ──────────────────────▶ target epoch ─┬────────────────────────────────────▶ Stable
//!     │                                           └─ some is not ─▶ UnreleasedPartitions ─ tried again at each heartbeat
//!     └─ something ─▶ UnrevokedPartitions, in the epoch it has, until the member no longer says that it has it
//! ```

use std::collections::BTreeMap;

use super::index::Index;
use super::member::{Member, MemberState};
use super::partitions::{self, Owned};
use crate::groups::assignor::Partitions;
use crate::metadata::MetadataImage;
use crate::wire::consumer_group_heartbeat::TopicPartitions;
use crate::wire::uuid::Uuid;

/// What a member's next step depends on.
pub(super) struct Reconciliation<'a> {
    pub member: &'a Member,
    pub target_epoch: i32,
    pub target: &'a Partitions,
    /// Whether the member has just changed what it wants: topics it no longer wants are taken from it at once.
    pub subscription_changed: bool,
    pub index: &'a Index,
    pub image: &'a MetadataImage,
    /// What the member says it has; `None` when it says nothing new.
    pub said: Option<&'a [TopicPartitions]>,
}

impl Reconciliation<'_> {
    /// The member after its next step, which may be as it was. One in a state of a later version has nothing: it begins at the target.
    pub(super) fn next(&self) -> Member {
        let member = self.member;
        match member.state {
            MemberState::Stable if member.epoch == self.target_epoch => self.unwanted_taken(),
            MemberState::UnrevokedPartitions
                if partitions::may_have_any(self.said, &member.pending_revocation) =>
            {
                self.unwanted_taken()
            }
            MemberState::Unknown(_) => self.towards_target(self.target_epoch),
            _ => self.towards_target(member.epoch),
        }
    }

    /// Takes from the member the topics that it no longer wants, and nothing else.
    fn unwanted_taken(&self) -> Member {
        let mut member = self.member.clone();
        if !self.subscription_changed {
            return member;
        }
        let (kept, unwanted): (Owned, Owned) = std::mem::take(&mut member.assigned)
            .into_iter()
            .partition(|(topic, _)| self.wants(*topic));
        member.assigned = kept;
        if unwanted.is_empty() {
            return member;
        }
        let mut pending = member.pending_revocation.clone();
        for (topic, partitions) in unwanted {
            pending.entry(topic).or_default().extend(partitions);
        }
        member.advance(member.epoch);
        if partitions::may_have_any(self.said, &pending) {
            member.state = MemberState::UnrevokedPartitions;
            member.pending_revocation = pending;
        }
        member
    }

    fn towards_target(&self, epoch: i32) -> Member {
        let mut member = self.member.clone();
        let (mut kept, mut to_revoke) = (Owned::new(), Owned::new());
        for (topic, partitions) in &self.member.assigned {
            let target = self.target.get(topic).filter(|_| self.wants(*topic));
            for (partition, since) in partitions {
                let stays = target.is_some_and(|target| target.contains(partition));
                let to = if stays { &mut kept } else { &mut to_revoke };
                to.entry(*topic).or_default().insert(*partition, *since);
            }
        }
        if !to_revoke.is_empty() && partitions::may_have_any(self.said, &to_revoke) {
            member.state = MemberState::UnrevokedPartitions;
            member.advance(epoch);
            member.assigned = kept;
            member.pending_revocation = to_revoke;
            return member;
        }
        let unreleased = self.take_what_is_free(&mut kept);
        member.state = if unreleased {
            MemberState::UnreleasedPartitions
        } else {
            MemberState::Stable
        };
        member.advance(self.target_epoch);
        member.assigned = kept;
        member.pending_revocation = BTreeMap::new();
        member
    }

    /// Whether others still have something of the target.
    fn take_what_is_free(&self, kept: &mut Owned) -> bool {
        let mut unreleased = false;
        for (topic, target) in self.target.iter().filter(|(topic, _)| self.wants(**topic)) {
            let own = self.member.pending_revocation.get(topic);
            let had = kept.get(topic).cloned().unwrap_or_default();
            for partition in target.iter().filter(|partition| !had.contains_key(partition)) {
                // What it was giving back itself it may have again: nobody else can have got it.
                let own = own.is_some_and(|own| own.contains_key(partition));
                if own || !self.is_owned(*topic, *partition) {
                    kept.entry(*topic)
                        .or_default()
                        .insert(*partition, self.target_epoch);
                } else {
                    unreleased = true;
                }
            }
        }
        unreleased
    }

    fn is_owned(&self, topic: Uuid, partition: i32) -> bool {
        self.index.is_owned(topic, partition)
    }

    /// Whether the member wants a topic, by its name or by a regular expression that is known to match it.
    fn wants(&self, topic: Uuid) -> bool {
        let Some(topic) = self.image.topic_by_id(topic) else {
            return false;
        };
        let resolved = self
            .member
            .regex()
            .and_then(|regex| self.index.resolved.get(regex));
        self.member.topic_names.contains(topic.name.as_ref())
            || resolved.is_some_and(|resolved| resolved.topics.contains(topic.name.as_ref()))
    }
}
