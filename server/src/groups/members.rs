//! Requests of members of the classic protocol: JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

use std::sync::Arc;

use crate::wire::ErrorCode;
use crate::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::join_group::JoinGroupRequest;
use crate::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};
use crate::wire::sync_group::SyncGroupRequest;

use super::classic::{ClassicGroup, refused_join, refused_sync};
use super::group::Group;
use super::{Caller, Coordinator, Ctx, GroupResponse, Step};

/// The version from which LeaveGroup names many members (KIP-345).
const LEAVE_BATCH_FROM: i16 = 3;

impl<T> Coordinator<T> {
    /// JoinGroup. A group that does not exist comes to be with its first member, whether or not that is let in.
    pub(super) fn join(
        &mut self,
        ctx: &mut Ctx<'_>,
        caller: Caller<T>,
        request: JoinGroupRequest,
    ) -> Step<T> {
        let mut step = Step::default();
        if let Err(error) = check_join(ctx, &request) {
            step.replies
                .push((caller.to, refused_join(&request.member_id, error)));
            return step;
        }
        let group_id = request.group_id.clone();
        let is_consumer = matches!(self.groups.get(group_id.as_str()), Some(Group::Consumer(_)));
        if is_consumer {
            if !self.groups.get(group_id.as_str()).is_some_and(Group::is_empty) {
                self.join_consumer_group(ctx, caller, request, &mut step);
                return step;
            }
            if request.member_id.is_empty() {
                // Nobody is in it: it becomes a group of the classic protocol.
                self.remove_if_empty(ctx, &group_id, &mut step);
            }
        }
        let is_new = !self.groups.contains_key(group_id.as_str());
        if is_new && request.member_id.is_empty() {
            let id: Arc<str> = group_id.as_str().into();
            let group = ClassicGroup::new(id.clone(), ctx.wall_ms);
            self.groups.insert(id, Group::Classic(group));
        }
        match self.work_on(&group_id, ctx, &mut step) {
            (Some(Group::Classic(group)), mut work) => {
                group.join(&mut work, caller, request);
                if is_new {
                    work.append(group.new_group_record());
                }
            }
            (_, mut work) => work.reply(
                caller.to,
                refused_join(&request.member_id, ErrorCode::UnknownMemberId),
            ),
        }
        step
    }

    /// SyncGroup.
    pub(super) fn sync(
        &mut self,
        ctx: &mut Ctx<'_>,
        caller: Caller<T>,
        request: SyncGroupRequest,
    ) -> Step<T> {
        let mut step = Step::default();
        if request.group_id.is_empty() {
            step.replies
                .push((caller.to, refused_sync(ErrorCode::InvalidGroupId)));
            return step;
        }
        match self.work_on(&request.group_id, ctx, &mut step) {
            (Some(Group::Classic(group)), mut work) => group.sync(&mut work, caller, request),
            (Some(Group::Consumer(group)), mut work) => {
                let response = group.classic_sync(work.ctx, work.timers, &request);
                work.reply(caller.to, GroupResponse::Sync(response));
            }
            (None, mut work) => work.reply(caller.to, refused_sync(ErrorCode::UnknownMemberId)),
        }
        step
    }

    /// Heartbeat.
    pub(super) fn heartbeat(
        &mut self,
        ctx: &mut Ctx<'_>,
        caller: Caller<T>,
        request: HeartbeatRequest,
    ) -> Step<T> {
        let mut step = Step::default();
        let checked = match self.work_on(&request.group_id, ctx, &mut step) {
            _ if request.group_id.is_empty() => Err(ErrorCode::InvalidGroupId),
            (Some(Group::Classic(group)), mut work) => group.heartbeat(&mut work, &request),
            (Some(Group::Consumer(group)), work) => {
                let error = group.classic_heartbeat(work.ctx, work.timers, &request);
                if error.is_none() { Ok(()) } else { Err(error) }
            }
            (None, _) => Err(ErrorCode::UnknownMemberId),
        };
        let response = HeartbeatResponse {
            error_code: checked.err().unwrap_or_default().code(),
            ..Default::default()
        };
        step.replies.push((caller.to, GroupResponse::Heartbeat(response)));
        step
    }

    /// LeaveGroup. In versions that name one member, its error is the request's.
    pub(super) fn leave(
        &mut self,
        ctx: &mut Ctx<'_>,
        caller: Caller<T>,
        mut request: LeaveGroupRequest,
    ) -> Step<T> {
        let mut step = Step::default();
        let batch = caller.version >= LEAVE_BATCH_FROM;
        if !batch {
            request.members = vec![MemberIdentity {
                member_id: request.member_id.clone(),
                ..Default::default()
            }];
        }
        let errors = match self.work_on(&request.group_id, ctx, &mut step) {
            _ if request.group_id.is_empty() => Err(ErrorCode::InvalidGroupId),
            (Some(Group::Classic(group)), mut work) => Ok(group.leave(&mut work, &request.members)),
            (Some(Group::Consumer(_)), _) => Ok(self.leave_consumer_group(ctx, &request, &mut step)),
            (None, _) => Ok(vec![ErrorCode::UnknownMemberId; request.members.len()]),
        };
        let response = match (errors, batch) {
            (Err(error), _) => failed_leave(error),
            (Ok(errors), false) => failed_leave(errors.first().copied().unwrap_or_default()),
            (Ok(errors), true) => LeaveGroupResponse {
                members: request.members.into_iter().zip(errors).map(left).collect(),
                ..Default::default()
            },
        };
        step.replies.push((caller.to, GroupResponse::Leave(response)));
        step
    }
}

fn check_join(ctx: &Ctx<'_>, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
    let settings = ctx.settings;
    let session_timeouts_ms = settings.min_session_timeout_ms..=settings.max_session_timeout_ms;
    if request.group_id.is_empty() {
        Err(ErrorCode::InvalidGroupId)
    } else if !session_timeouts_ms.contains(&request.session_timeout_ms) {
        Err(ErrorCode::InvalidSessionTimeout)
    } else {
        Ok(())
    }
}

fn failed_leave(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse {
        error_code: error.code(),
        ..Default::default()
    }
}

fn left((member, error): (MemberIdentity, ErrorCode)) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: error.code(),
    }
}
