//! From one generation to the next: who is asked to join, how long that may take, and what ends it.

use std::sync::Arc;

use crate::wire::ErrorCode;
use crate::wire::join_group::{JoinGroupResponse, JoinGroupResponseMember};

use crate::groups::GroupResponse;
use crate::groups::rebalances::{Cause, Rebalance, Why};
use crate::groups::timers::Timer;
use crate::groups::work::Work;

use super::{ClassicGroup, State, refused_sync};

/// How long a rebalance that nobody has joined goes on at least, whatever its members allow: without a pause it would keep a core busy.
const LEAST_PAUSE_MS: i32 = 1_000;

/// The first rebalance of a group that was empty: it waits for others as long as somebody comes, but no longer than a member may take to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstRebalance {
    /// How long the wait under way is.
    delay_ms: i32,
    /// How much longer it may become.
    left_ms: i32,
    /// Whether somebody came during the wait.
    grew: bool,
}

impl<T> ClassicGroup<T> {
    /// A member came, went, or said something new: a rebalance begins, or goes on.
    pub(super) fn rebalance(&mut self, work: &mut Work<'_, '_, T>, why: Why<'_>) {
        if self.state == State::PreparingRebalance {
            self.complete_join_if_all_are_there(work);
        } else {
            self.prepare_rebalance(work, why);
        }
    }

    /// Members are asked to join again: by the answers to their heartbeats, and to the SyncGroups that wait.
    pub(super) fn prepare_rebalance(&mut self, work: &mut Work<'_, '_, T>, why: Why<'_>) {
        let begun = Rebalance::new(self.id.clone(), self.generation, self.state, why);
        work.step.tell(begun);
        if self.state == State::CompletingRebalance {
            self.refuse_assignments(work, ErrorCode::RebalanceInProgress);
        }
        self.pending_sync.clear();
        work.timers.cancel(&Timer::Sync(self.id.clone()));
        let longest_ms = self.members.rebalance_timeout_ms();
        let first = self.state == State::Empty;
        self.enter(State::PreparingRebalance, work.ctx.wall_ms);
        if first {
            let delay_ms = work.ctx.settings.initial_rebalance_delay_ms;
            self.first = Some(FirstRebalance {
                delay_ms,
                left_ms: longest_ms.saturating_sub(delay_ms).max(0),
                grew: false,
            });
            work.set(Timer::Join(self.id.clone()), delay_ms);
        } else if self.all_have_joined() {
            self.complete_join(work);
        } else {
            work.set(Timer::Join(self.id.clone()), longest_ms);
        }
    }

    /// The first rebalance has grown: it may wait for more.
    pub(super) fn note_new_member(&mut self) {
        if let Some(first) = &mut self.first {
            first.grew = true;
        }
    }

    /// Ends the rebalance if nobody is missing. The first one of an empty group ends by time alone.
    pub(super) fn complete_join_if_all_are_there(&mut self, work: &mut Work<'_, '_, T>) {
        if self.state == State::PreparingRebalance && self.first.is_none() && self.all_have_joined() {
            self.complete_join(work);
        }
    }

    /// The time to join is over, or the first rebalance may be.
    pub fn on_join_timer(&mut self, work: &mut Work<'_, '_, T>) {
        if self.state != State::PreparingRebalance {
            return;
        }
        match &mut self.first {
            Some(first) if first.grew && first.left_ms != 0 => {
                let delay_ms = work.ctx.settings.initial_rebalance_delay_ms.min(first.left_ms);
                *first = FirstRebalance {
                    delay_ms,
                    left_ms: first.left_ms.saturating_sub(first.delay_ms).max(0),
                    grew: false,
                };
                work.set(Timer::Join(self.id.clone()), delay_ms);
            }
            _ => self.complete_join(work),
        }
    }

    /// Members that did not ask for their assignment in time are left out.
    pub fn on_sync_timer(&mut self, work: &mut Work<'_, '_, T>) {
        let has_begun = matches!(self.state, State::CompletingRebalance | State::Stable);
        if has_begun && !self.pending_sync.is_empty() {
            for id in std::mem::take(&mut self.pending_sync) {
                self.remove(work, &id);
            }
            self.prepare_rebalance(work, Why::only(Cause::NotSynced));
        }
    }

    /// A member was not heard of in time, or an id was not used.
    pub fn on_session_timer(&mut self, work: &mut Work<'_, '_, T>, member_id: &str) {
        if self.pending_join.contains(member_id) {
            self.remove(work, member_id);
            if self.state == State::PreparingRebalance && self.all_have_joined() {
                self.complete_join(work);
            }
            return;
        }
        if self
            .members
            .get(member_id)
            .is_none_or(|member| member.is_excused())
        {
            return;
        }
        self.remove(work, member_id);
        match self.state {
            State::Stable | State::CompletingRebalance => {
                let why = Why {
                    cause: Cause::SessionEnded,
                    member_id: Some(member_id),
                    reason: None,
                };
                self.rebalance(work, why);
            }
            State::PreparingRebalance if self.all_have_joined() => self.complete_join(work),
            _ => {}
        }
    }

    fn all_have_joined(&self) -> bool {
        self.members.len() == self.members.awaiting_join() && self.pending_join.is_empty()
    }

    /// Begins the next generation with those that have joined. Static members stay until their session ends: they may be restarting.
    fn complete_join(&mut self, work: &mut Work<'_, '_, T>) {
        work.timers.cancel(&Timer::Join(self.id.clone()));
        let missing =
            |member: &&super::members::Member<T>| !member.awaits_join() && member.instance_id.is_none();
        let missing: Vec<_> = self
            .members
            .iter()
            .filter(missing)
            .map(|member| member.id.clone())
            .collect();
        for id in missing {
            self.remove(work, &id);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Nobody has joined, and all are static: their sessions decide.
            let pause_ms = self.members.rebalance_timeout_ms().max(LEAST_PAUSE_MS);
            work.set(Timer::Join(self.id.clone()), pause_ms);
            return;
        }
        self.first = None;
        self.generation = self.generation.wrapping_add(1);
        self.pending_sync.clear();
        self.protocol = self.members.elect_protocol();
        self.subscribed_topics = self.find_subscribed_topics();
        if self.members.is_empty() {
            self.enter(State::Empty, work.ctx.wall_ms);
            work.append(self.record());
        } else {
            self.enter(State::CompletingRebalance, work.ctx.wall_ms);
            self.announce_generation(work);
        }
    }

    /// Tells everybody of the generation; the leader also who is in it.
    fn announce_generation(&mut self, work: &mut Work<'_, '_, T>) {
        for id in self.members.ids() {
            if let Some(to) = self.members.take_join(&id) {
                work.reply(to, self.joined(&id, self.is_leader(&id)));
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.renew_session(work, &id);
            self.pending_sync.insert(id);
        }
        work.set(Timer::Sync(self.id.clone()), self.members.rebalance_timeout_ms());
    }

    /// The answer to a JoinGroup of a member of this generation.
    pub(super) fn joined(&self, member_id: &str, with_members: bool) -> GroupResponse {
        let mut members = Vec::new();
        if with_members {
            let protocol = self.protocol.as_deref().unwrap_or_default();
            members.extend(self.members.iter().map(|member| JoinGroupResponseMember {
                member_id: member.id.to_string(),
                group_instance_id: member.instance_id.clone(),
                metadata: member.metadata(protocol),
            }));
        }
        GroupResponse::Join(JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            // An empty name is null on the wire, and null is empty in versions that have no null.
            protocol_name: self.protocol.clone().filter(|name| !name.is_empty()),
            leader: self.leader.as_deref().unwrap_or_default().to_owned(),
            member_id: member_id.to_owned(),
            members,
            ..Default::default()
        })
    }

    /// The leader leads on if it has joined; otherwise anybody who has. Whether there is one.
    fn elect_leader(&mut self) -> bool {
        let Some(leader) = self.leader.clone() else {
            return false;
        };
        if self
            .members
            .get(&leader)
            .is_some_and(|member| member.awaits_join())
        {
            return true;
        }
        let joined = self.members.iter().find(|member| member.awaits_join());
        let joined: Option<Arc<str>> = joined.map(|member| member.id.clone());
        let found = joined.is_some();
        if found {
            self.leader = joined;
        }
        found
    }

    /// What was assigned in this generation is void.
    pub(super) fn refuse_assignments(&mut self, work: &mut Work<'_, '_, T>, error: ErrorCode) {
        for id in self.members.ids() {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = bytes::Bytes::new();
            }
            if let Some(to) = self.members.take_sync(&id) {
                work.reply(to, refused_sync(error));
                self.renew_session(work, &id);
            }
        }
    }
}
