//! Classic groups: members agree on a protocol, one of them assigns partitions, the coordinator passes the assignments on.
//!
//! ```text
//!            JoinGroup            all have joined            the leader's SyncGroup
//!   Empty ──────────▶ Preparing ──────────────▶ Completing ─────────────────────▶ Stable
//!     ▲                Rebalance                 Rebalance                          │
//!     └─── nobody is left ─┘ ▲◀──── a member comes, goes, or says something new ────┘
//! ```
//! A record is written when a generation has its assignments, when the group falls empty, and when it is new. What happens between is
//! lost with the coordinator: members join again.

mod describe;
mod join;
mod leave;
mod members;
mod migration;
mod rebalance;
mod record;
mod state;
mod statics;
mod sync;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::wire::consumer_protocol;
use crate::wire::join_group::JoinGroupResponse;
use crate::wire::sync_group::SyncGroupResponse;
use crate::wire::{ErrorCode, Uuid};

use super::rebalances::{Cause, Why};
use super::timers::Timer;
use super::work::Work;
use super::{GroupResponse, Step};

use members::Members;
use rebalance::FirstRebalance;
pub use state::{DEAD, State};

/// The protocol type of Kafka's own consumers.
pub const CONSUMER: &str = "consumer";

/// Ids that may be handed out in one group and not used yet. Beyond, whoever asks for one is told that the group is full: each costs memory until its session ends.
pub const MAX_PENDING_MEMBERS: usize = 10_000;

/// What of its client's name a member's id has at most.
const MAX_ID_PREFIX_BYTES: usize = 249;

/// A classic group.
#[derive(Debug)]
pub struct ClassicGroup<T> {
    id: Arc<str>,
    state: State,
    /// Since when it is in its state, in milliseconds since 1970; records that Kafka wrote long ago lack it.
    state_since_ms: Option<i64>,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<Arc<str>>,
    members: Members<T>,
    /// Members that were given an id and have not joined with it.
    pending_join: BTreeSet<Arc<str>>,
    /// Members of this generation that have not asked for their assignment.
    pending_sync: BTreeSet<Arc<str>>,
    /// What members are subscribed to, if that is known.
    subscribed_topics: Option<BTreeSet<String>>,
    /// While members join a group that was empty.
    first: Option<FirstRebalance>,
}

impl<T> ClassicGroup<T> {
    /// A group nobody is in.
    pub fn new(id: Arc<str>, now_ms: i64) -> Self {
        ClassicGroup {
            id,
            state: State::Empty,
            state_since_ms: Some(now_ms),
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Members::default(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            subscribed_topics: None,
            first: None,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// What its members speak; `None` if there never were any.
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// Whether nobody is in it. Some may have been given an id.
    pub fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Whether it only holds offsets: nobody is in it, or ever was, and no record speaks of it.
    pub fn is_simple(&self) -> bool {
        self.protocol_type.is_none() && self.is_empty() && self.pending_join.is_empty()
    }

    /// Whether its members are consumers, whose subscriptions can be read.
    pub fn has_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether a member may be subscribed to a topic: consumers whose subscription cannot be read may be subscribed to anything.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.has_consumers(),
        }
    }

    /// From when on an offset committed at `committed_ms` ages; `None` while offsets do not expire.
    pub fn ages_from_ms(&self, committed_ms: i64) -> Option<i64> {
        if self.protocol_type.is_none() {
            return Some(committed_ms);
        }
        match self.state {
            State::Empty => Some(self.state_since_ms.unwrap_or(committed_ms)),
            State::Stable if self.has_consumers() && self.subscribed_topics.is_some() => Some(committed_ms),
            _ => None,
        }
    }

    /// Whether a commit with this member, instance and generation is in order.
    ///
    /// # Errors
    /// What the partitions are answered.
    pub fn check_commit(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        let names_nobody = generation < 0 && member_id.is_empty() && instance_id.is_none();
        if names_nobody {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_txn_commit(member_id, instance_id, generation)?;
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Whether a commit of a transaction is in order (KIP-447). Who names nobody is not asked who it is, as old producers cannot say; and a rebalance
    /// under way is no obstacle.
    ///
    /// # Errors
    /// What the partitions are answered.
    pub fn check_txn_commit(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        let names_nobody = generation < 0 && member_id.is_empty() && instance_id.is_none();
        if names_nobody || (generation < 0 && self.is_empty()) {
            return Ok(());
        }
        self.check_member(member_id, instance_id)?;
        if generation == self.generation {
            Ok(())
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    /// A commit keeps its member's session alive, unless the member has to ask for its assignment first.
    pub fn committed(&mut self, work: &mut Work<'_, '_, T>, member_id: &str) {
        if matches!(self.state, State::Stable | State::PreparingRebalance) {
            self.renew_session(work, member_id);
        }
    }

    /// Whether offsets may be deleted one by one: consumers say what they are subscribed to, others do not.
    ///
    /// # Errors
    /// [`ErrorCode::NonEmptyGroup`].
    pub fn check_delete_offsets(&self) -> Result<(), ErrorCode> {
        if self.is_empty() || self.has_consumers() {
            Ok(())
        } else {
            Err(ErrorCode::NonEmptyGroup)
        }
    }

    /// Sessions begin, after the records were replayed.
    pub fn loaded(&mut self, work: &mut Work<'_, '_, T>) {
        for id in self.members.ids() {
            self.renew_session(work, &id);
        }
        // The maximum was lowered: who joins last again has no place. Until then everybody can commit.
        if self.members.len() > usize::try_from(work.ctx.settings.max_size).unwrap_or(0) {
            self.prepare_rebalance(work, Why::only(Cause::TooLarge));
        }
    }

    /// Everybody that waits is answered.
    pub fn answer_all(&mut self, work: &mut Work<'_, '_, T>, error: ErrorCode) {
        for id in self.members.ids() {
            self.answer_member(work, &id, &id, error);
        }
    }

    /// Everybody that waits has to ask another coordinator.
    pub fn resign(&mut self, step: &mut Step<T>) {
        let error = ErrorCode::NotCoordinator;
        for id in self.members.ids() {
            let (join, sync) = (self.members.take_join(&id), self.members.take_sync(&id));
            step.replies.extend(join.map(|to| (to, refused_join(&id, error))));
            step.replies.extend(sync.map(|to| (to, refused_sync(error))));
        }
    }

    /// No deadline of the group holds any longer.
    pub fn cancel_timers(&self, work: &mut Work<'_, '_, T>) {
        work.timers.cancel(&Timer::Join(self.id.clone()));
        work.timers.cancel(&Timer::Sync(self.id.clone()));
        for id in self
            .members
            .iter()
            .map(|member| &member.id)
            .chain(&self.pending_join)
        {
            work.timers.cancel(&self.session_of(id));
        }
    }

    /// Whether there is such a member, and its instance id is its own.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.members.instance(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(id) if id.as_ref() != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn session_of(&self, member_id: &Arc<str>) -> Timer {
        Timer::Session(self.id.clone(), member_id.clone())
    }

    /// The member was heard of.
    fn renew_session(&self, work: &mut Work<'_, '_, T>, member_id: &str) {
        if let Some(member) = self.members.get(member_id) {
            work.set(self.session_of(&member.id), member.session_timeout_ms);
        }
    }

    /// Takes a member out, or the id of one that has not joined. Whatever it waited for is answered: it may be there still.
    fn remove(&mut self, work: &mut Work<'_, '_, T>, member_id: &str) {
        self.answer_member(work, member_id, "", ErrorCode::UnknownMemberId);
        let pending = self.pending_join.take(member_id);
        self.pending_sync.remove(member_id);
        let removed = self.members.remove(member_id).map(|member| member.id);
        if let Some(id) = removed.or(pending) {
            work.timers.cancel(&self.session_of(&id));
        }
        if self.is_leader(member_id) {
            self.leader = self.members.iter().next().map(|member| member.id.clone());
        }
    }

    /// Answers what a member waits for with an error. A JoinGroup's answer names `named`.
    fn answer_member(&mut self, work: &mut Work<'_, '_, T>, member_id: &str, named: &str, error: ErrorCode) {
        if let Some(to) = self.members.take_join(member_id) {
            work.reply(to, refused_join(named, error));
        }
        if let Some(to) = self.members.take_sync(member_id) {
            work.reply(to, refused_sync(error));
        }
    }

    fn enter(&mut self, state: State, now_ms: i64) {
        self.state = state;
        self.state_since_ms = Some(now_ms);
    }

    /// What consumers of this generation are subscribed to; `None` if that is not known.
    fn find_subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if !self.has_consumers() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.iter() {
            topics.extend(consumer_protocol::subscribed_topics(&member.metadata(protocol)).ok()?);
        }
        Some(topics)
    }
}

/// An id nobody has, that tells whose it is, as Kafka makes them. A client may call itself something very long.
fn new_member_id(prefix: &str, id: Uuid) -> String {
    let mut end = prefix.len().min(MAX_ID_PREFIX_BYTES);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let hex = format!("{:032x}", u128::from_be_bytes(id.0));
    let [a, b, c, d, e] = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("{}-{a}-{b}-{c}-{d}-{e}", &prefix[..end])
}

/// A JoinGroup that failed.
pub(super) fn refused_join(member_id: &str, error: ErrorCode) -> GroupResponse {
    GroupResponse::Join(JoinGroupResponse {
        error_code: error.code(),
        member_id: member_id.to_owned(),
        ..Default::default()
    })
}

/// A SyncGroup that failed.
pub(super) fn refused_sync(error: ErrorCode) -> GroupResponse {
    GroupResponse::Sync(SyncGroupResponse {
        error_code: error.code(),
        ..Default::default()
    })
}
