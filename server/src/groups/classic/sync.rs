//! SyncGroup: the leader hands in the assignment, everybody takes its own. Heartbeat: a member is there.

use std::collections::HashMap;

use bytes::Bytes;

use crate::wire::ErrorCode;
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};

use crate::groups::rebalances::{Cause, Why};
use crate::groups::timers::Timer;
use crate::groups::work::Work;
use crate::groups::{Caller, GroupResponse};

use super::{ClassicGroup, State, refused_sync};

impl<T> ClassicGroup<T> {
    /// SyncGroup. The answer may come with a later step.
    pub fn sync(&mut self, work: &mut Work<'_, '_, T>, caller: Caller<T>, request: SyncGroupRequest) {
        if let Err(error) = self.check_sync(&request) {
            return work.reply(caller.to, refused_sync(error));
        }
        let id = request.member_id.as_str();
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            work.timers.cancel(&Timer::Sync(self.id.clone()));
        }
        if self.state == State::Stable {
            return work.reply(caller.to, self.synced(id));
        }
        if let Some(earlier) = self.members.await_sync(id, caller.to) {
            // Of a connection its client has given up: nothing waits for ever.
            work.reply(earlier, refused_sync(ErrorCode::RebalanceInProgress));
        }
        if self.is_leader(id) {
            self.assign(work, request.assignments);
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        if self.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: &Option<String>, held: &Option<String>| matches!((said, held), (Some(said), Some(held)) if said != held);
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.state == State::PreparingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// The generation has its assignments. A member the leader forgot has none. If they cannot be recorded, members have to agree once more.
    fn assign(&mut self, work: &mut Work<'_, '_, T>, assignments: Vec<SyncGroupRequestAssignment>) {
        let mut assignments: HashMap<String, Bytes> = assignments
            .into_iter()
            .map(|given| (given.member_id, given.assignment))
            .collect();
        let ids = self.members.ids();
        for id in &ids {
            if let Some(member) = self.members.get_mut(id) {
                let given = assignments.remove(id.as_ref()).unwrap_or_default();
                // A copy: these bytes are a piece of a larger frame.
                member.assignment = Bytes::copy_from_slice(&given);
            }
        }
        match self.checked_record() {
            Ok(record) => work.append(record),
            Err(error) => {
                self.refuse_assignments(work, error);
                return self.prepare_rebalance(work, Why::only(Cause::NotStored));
            }
        }
        self.enter(State::Stable, work.ctx.wall_ms);
        for id in &ids {
            if let Some(to) = self.members.take_sync(id) {
                work.reply(to, self.synced(id));
                self.renew_session(work, id);
            }
        }
    }

    fn synced(&self, member_id: &str) -> GroupResponse {
        let member = self.members.get(member_id);
        GroupResponse::Sync(SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment: member.map(|member| member.assignment.clone()).unwrap_or_default(),
            ..Default::default()
        })
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// What the member is answered; [`ErrorCode::RebalanceInProgress`] asks it to join again.
    pub fn heartbeat(
        &mut self,
        work: &mut Work<'_, '_, T>,
        request: &HeartbeatRequest,
    ) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.renew_session(work, &request.member_id);
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }
}
