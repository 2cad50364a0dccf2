//! A static member that joins without an id: its process was started anew (KIP-345). It takes the place of its former self, and if it says the same,
//! nobody else notices.

use std::sync::Arc;

use crate::wire::ErrorCode;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};

use crate::groups::rebalances::Cause;
use crate::groups::work::Work;
use crate::groups::{Caller, GroupResponse};

use super::join::why;
use super::members::Member;
use super::{ClassicGroup, State};

/// The version from which a leader can be told to leave the assignment as it is (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;

impl<T> ClassicGroup<T> {
    /// `new` takes the place of `old`, which has the request's instance id.
    pub(super) fn replace_static(
        &mut self,
        work: &mut Work<'_, '_, T>,
        caller: Caller<T>,
        request: &JoinGroupRequest,
        old: &Arc<str>,
        new: Arc<str>,
    ) {
        let former_leader = self.leader.clone();
        let former = self.members.get(old).map(Former::of);
        self.rename(work, old, &new);
        // The session it had before holds until it is heard of again.
        self.renew_session(work, &new);
        self.update(request, &new);
        match self.state {
            State::Stable if self.members.elect_protocol() == self.protocol => {
                let answer = match self.checked_record() {
                    Ok(record) => {
                        work.append(record);
                        if caller.version >= SKIP_ASSIGNMENT_FROM {
                            self.rejoined_leader(&new)
                        } else {
                            self.rejoined_follower(&new, former_leader.as_deref())
                        }
                    }
                    Err(error) => {
                        self.undo(work, former, old, &new);
                        let mut answer = self.rejoined_follower("", former_leader.as_deref());
                        if let GroupResponse::Join(response) = &mut answer {
                            response.error_code = error.code();
                        }
                        answer
                    }
                };
                work.reply(caller.to, answer);
            }
            // The leader may be assigning partitions to the former id at this moment.
            State::Stable | State::CompletingRebalance => {
                self.await_join(work, &new, caller.to);
                self.prepare_rebalance(work, why(Cause::StaticCameBack, &new, request));
            }
            State::PreparingRebalance | State::Empty => {
                self.await_join(work, &new, caller.to);
                self.complete_join_if_all_are_there(work);
            }
        }
    }

    /// The member goes on under a new id. Whatever the old one waits for is answered: another process has its instance id now.
    fn rename(&mut self, work: &mut Work<'_, '_, T>, old: &Arc<str>, new: &Arc<str>) {
        self.answer_member(work, old, old, ErrorCode::FencedInstanceId);
        work.timers.cancel(&self.session_of(old));
        if let Some(member) = self.members.remove(old) {
            self.members.insert(member.under(new.clone()));
        }
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
    }

    /// The member is what it was: what it said cannot be recorded.
    fn undo(&mut self, work: &mut Work<'_, '_, T>, former: Option<Former>, old: &Arc<str>, new: &Arc<str>) {
        if let Some(former) = former {
            self.members.set_protocols(new, &former.protocols);
            if let Some(member) = self.members.get_mut(new) {
                member.rebalance_timeout_ms = former.rebalance_timeout_ms;
                member.session_timeout_ms = former.session_timeout_ms;
            }
        }
        self.rename(work, new, old);
        self.renew_session(work, old);
    }

    /// A leader is told who is in the group, so that it can watch their topics, and that it need not assign anything.
    fn rejoined_leader(&self, id: &str) -> GroupResponse {
        let is_leader = self.is_leader(id);
        let mut answer = self.joined(id, is_leader);
        if let GroupResponse::Join(response) = &mut answer {
            response.skip_assignment = is_leader;
        }
        answer
    }

    /// A leader that cannot be told so is told that its former self leads: it would assign partitions otherwise.
    fn rejoined_follower(&self, id: &str, former_leader: Option<&str>) -> GroupResponse {
        let mut answer = self.joined(id, false);
        if let GroupResponse::Join(response) = &mut answer {
            response.leader = former_leader.unwrap_or_default().to_owned();
        }
        answer
    }
}

/// What a member said of itself before.
struct Former {
    protocols: Vec<JoinGroupRequestProtocol>,
    rebalance_timeout_ms: i32,
    session_timeout_ms: i32,
}

impl Former {
    fn of<T>(member: &Member<T>) -> Self {
        Former {
            protocols: member.protocols().to_vec(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
        }
    }
}
