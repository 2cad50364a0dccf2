//! JoinGroup: a member comes, or comes again.
//!
//! A client that has no id is given one first and joins with that (KIP-394), so that a client whose answer is lost does not leave a member behind
//! for as long as a session lasts. Static members (KIP-345) are in [`super::statics`].

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::ErrorCode;
use crate::wire::join_group::JoinGroupRequest;

use crate::groups::Caller;
use crate::groups::rebalances::{Cause, Why};
use crate::groups::work::Work;

use super::members::{About, Member};
use super::{ClassicGroup, MAX_PENDING_MEMBERS, State, new_member_id, refused_join};

/// The version from which a client has to join with an id that it was given.
const KNOWN_MEMBER_FROM: i16 = 4;

/// How long a JoinGroup of a new member may wait. Its client cannot send heartbeats and may be gone: then it joins once more, as another member.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 300_000;

impl<T> ClassicGroup<T> {
    /// JoinGroup. The answer may come with a later step.
    pub fn join(&mut self, work: &mut Work<'_, '_, T>, caller: Caller<T>, mut request: JoinGroupRequest) {
        if caller.version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        if !self.has_place_for(&request.member_id, work.ctx.settings.max_size) {
            self.remove(work, &request.member_id);
            return work.reply(caller.to, refused_join("", ErrorCode::GroupMaxSizeReached));
        }
        if !self.can_speak_with(&request) {
            let refused = refused_join(&request.member_id, ErrorCode::InconsistentGroupProtocol);
            return work.reply(caller.to, refused);
        }
        if request.member_id.is_empty() {
            self.join_new(work, caller, request);
        } else {
            self.join_again(work, caller, request);
        }
    }

    /// Members over the maximum lose their place when they join again, the last ones first: while members join, those count that have.
    fn has_place_for(&self, member_id: &str, max_size: i32) -> bool {
        let max_size = usize::try_from(max_size).unwrap_or(0);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let waits = self.members.get(member_id).is_some_and(Member::awaits_join);
                waits || self.members.awaiting_join() < max_size
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains(member_id) || self.members.len() < max_size
            }
        }
    }

    fn can_speak_with(&self, request: &JoinGroupRequest) -> bool {
        if self.is_empty() {
            !request.protocol_type.is_empty() && !request.protocols.is_empty()
        } else {
            self.protocol_type.as_deref() == Some(&request.protocol_type)
                && self.members.share(&request.protocols)
        }
    }

    fn join_new(&mut self, work: &mut Work<'_, '_, T>, caller: Caller<T>, request: JoinGroupRequest) {
        let prefix = request.group_instance_id.as_deref().unwrap_or(&caller.client_id);
        let id: Arc<str> = new_member_id(prefix, (work.ctx.new_id)()).into();
        let known = request.group_instance_id.as_deref();
        if let Some(old) = known
            .and_then(|instance_id| self.members.instance(instance_id))
            .cloned()
        {
            self.replace_static(work, caller, &request, &old, id);
        } else if known.is_some() || caller.version < KNOWN_MEMBER_FROM {
            self.add(work, caller, &request, id);
        } else if self.pending_join.len() >= MAX_PENDING_MEMBERS {
            work.reply(caller.to, refused_join("", ErrorCode::GroupMaxSizeReached));
        } else {
            work.set(self.session_of(&id), request.session_timeout_ms);
            work.reply(caller.to, refused_join(&id, ErrorCode::MemberIdRequired));
            self.pending_join.insert(id);
        }
    }

    fn join_again(&mut self, work: &mut Work<'_, '_, T>, caller: Caller<T>, request: JoinGroupRequest) {
        let id = request.member_id.as_str();
        if let Some(id) = self.pending_join.get(id).cloned() {
            if request.group_instance_id.is_some() {
                // Static members are never given an id to join with, so this one was not the client's.
                return work.reply(caller.to, refused_join("", ErrorCode::UnknownServerError));
            }
            return self.add(work, caller, &request, id);
        }
        if let Err(error) = self.check_member(id, request.group_instance_id.as_deref()) {
            return work.reply(caller.to, refused_join(id, error));
        }
        let is_same = self
            .members
            .get(id)
            .is_some_and(|member| member.says(&request.protocols));
        let is_informed = match self.state {
            // It missed the answer to its last JoinGroup.
            State::CompletingRebalance => is_same,
            // A leader that joins wants a rebalance: partitions of topics have changed, say.
            State::Stable => is_same && !self.is_leader(id),
            State::PreparingRebalance | State::Empty => false,
        };
        if is_informed {
            let answer = self.joined(id, self.is_leader(id));
            work.reply(caller.to, answer);
        } else {
            self.update(&request, id);
            self.await_join(work, id, caller.to);
            let cause = match self.state == State::Stable && self.is_leader(id) {
                true => Cause::LeaderJoinedAgain,
                false => Cause::JoinedAgain,
            };
            self.rebalance(work, why(cause, id, &request));
        }
    }

    /// A new member waits for the next generation.
    fn add(
        &mut self,
        work: &mut Work<'_, '_, T>,
        caller: Caller<T>,
        request: &JoinGroupRequest,
        id: Arc<str>,
    ) {
        self.note_new_member();
        self.pending_join.remove(&id);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        let about = About {
            id: id.clone(),
            instance_id: request.group_instance_id.clone(),
            client_id: caller.client_id,
            client_host: caller.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
        };
        let mut member = Member::new(about, &request.protocols, &Bytes::new());
        member.is_new = true;
        self.members.insert(member);
        self.await_join(work, &id, caller.to);
        work.set(self.session_of(&id), NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.rebalance(work, why(Cause::Joined, &id, request));
    }

    /// Takes up what a member says of itself now.
    pub(super) fn update(&mut self, request: &JoinGroupRequest, id: &str) {
        self.members.set_protocols(id, &request.protocols);
        if let Some(member) = self.members.get_mut(id) {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
        }
    }

    /// The member waits. An earlier JoinGroup of it that waits too comes from a connection its client has given up: it is sent back, so that nothing waits for ever.
    pub(super) fn await_join(&mut self, work: &mut Work<'_, '_, T>, id: &str, to: T) {
        if let Some(earlier) = self.members.await_join(id, to) {
            work.reply(earlier, refused_join(id, ErrorCode::RebalanceInProgress));
        }
    }
}

/// Why a member that sends this request makes a rebalance begin.
pub(super) fn why<'a>(cause: Cause, member_id: &'a str, request: &'a JoinGroupRequest) -> Why<'a> {
    Why {
        cause,
        member_id: Some(member_id),
        reason: request.reason.as_deref(),
    }
}
