//! Where groups of the new protocol (KIP-848) meet the others: requests of their members, records, and what members of the classic protocol ask of them.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::ErrorCode;
use crate::wire::consumer_group_describe::DescribedGroup;
use crate::wire::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use crate::wire::group_records::GroupRecord;
use crate::wire::join_group::JoinGroupRequest;
use crate::wire::leave_group::LeaveGroupRequest;

use super::classic::ClassicGroup;
use super::consumer::{self, ConsumerGroup, JOIN_EPOCH, Refusal, migration};
use super::group::Group;
use super::timers::{Timer, Timers};
use super::work::Work;
use super::{Caller, Coordinator, Ctx, GroupResponse, Step};

impl<T> Coordinator<T> {
    /// ConsumerGroupHeartbeat. A group comes to be with its first member, in place of a classic one that nobody is in; one that has members becomes
    /// a consumer group with them in it.
    pub(super) fn consumer_heartbeat(
        &mut self,
        ctx: &mut Ctx<'_>,
        caller: Caller<T>,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Step<T> {
        let mut step = Step::default();
        let mut created = None;
        let mut records = Vec::new();
        let group = match self.groups.get_mut(request.group_id.as_str()) {
            Some(Group::Consumer(group)) => group,
            Some(Group::Classic(classic)) if !classic.is_empty() || request.member_epoch != JOIN_EPOCH => {
                match upgrade(ctx, &mut self.timers, caller.version, &request, classic) {
                    Ok((group, upgraded)) => {
                        records = upgraded;
                        created.insert(group)
                    }
                    Err(refusal) => {
                        step.replies.push((caller.to, refused_heartbeat(refusal)));
                        return step;
                    }
                }
            }
            _ => created.insert(ConsumerGroup::new(request.group_id.as_str().into())),
        };
        let (client_id, client_host) = (&caller.client_id, &caller.client_host);
        let timers = &mut self.timers;
        let (followed, response) =
            group.heartbeat(ctx, timers, client_id, client_host, caller.version, &request);
        match created {
            // Nobody joined: what was there before stays.
            Some(_) if response.error_code != ErrorCode::None.code() => {}
            Some(group) => {
                self.give_way(ctx, group, &mut step);
                step.records.extend(records);
                step.records.extend(followed);
            }
            None => step.records.extend(followed),
        }
        step.replies
            .push((caller.to, GroupResponse::ConsumerHeartbeat(response)));
        self.take_downgrade(ctx, &request.group_id, &mut step);
        step
    }

    /// A consumer group takes the place of a classic one. The tombstone of a group with members is among the records of its change.
    fn give_way(&mut self, ctx: &mut Ctx<'_>, group: ConsumerGroup, step: &mut Step<T>) {
        let id = group.group_id().clone();
        match self.work_on(&id, ctx, step) {
            (Some(Group::Classic(classic)), mut work) if !classic.is_empty() => {
                classic.answer_all(&mut work, ErrorCode::RebalanceInProgress);
                classic.cancel_rebalance(&mut work);
            }
            _ => self.remove_if_empty(ctx, &id, step),
        }
        self.groups.insert(id, Group::Consumer(group));
    }

    /// A consumer group whose last member of the new protocol has gone is a classic one now. Its records are written already.
    fn take_downgrade(&mut self, ctx: &mut Ctx<'_>, group_id: &str, step: &mut Step<T>) {
        let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) else {
            return;
        };
        let id = group.group_id().clone();
        let Some(downgrade) = group.take_downgrade() else {
            return;
        };
        let mut classic = ClassicGroup::from_generation(id.clone(), ctx.wall_ms, downgrade.group);
        let mut work = Work {
            ctx,
            timers: &mut self.timers,
            step,
        };
        classic.took_over(&mut work, downgrade.rebalance);
        self.groups.insert(id, Group::Classic(classic));
    }

    /// JoinGroup of a member of the classic protocol in a consumer group.
    pub(super) fn join_consumer_group(
        &mut self,
        ctx: &mut Ctx<'_>,
        caller: Caller<T>,
        mut request: JoinGroupRequest,
        step: &mut Step<T>,
    ) {
        own_metadata(&mut request);
        if let (Some(Group::Consumer(group)), work) = self.work_on(&request.group_id, ctx, step) {
            let (client_id, client_host) = (&caller.client_id, &caller.client_host);
            let version = caller.version;
            let (records, response) =
                group.classic_join(work.ctx, work.timers, client_id, client_host, version, &request);
            step.records.extend(records);
            step.replies.push((caller.to, GroupResponse::Join(response)));
        }
        self.take_downgrade(ctx, &request.group_id, step);
    }

    /// LeaveGroup of members of a consumer group, of either protocol.
    pub(super) fn leave_consumer_group(
        &mut self,
        ctx: &mut Ctx<'_>,
        request: &LeaveGroupRequest,
        step: &mut Step<T>,
    ) -> Vec<ErrorCode> {
        let mut errors = Vec::new();
        if let (Some(Group::Consumer(group)), work) = self.work_on(&request.group_id, ctx, step) {
            let (records, response) = group.classic_leave(work.ctx, work.timers, request);
            step.records.extend(records);
            let members = response.members.iter();
            errors.extend(members.map(|member| ErrorCode::from_code(member.error_code)));
        }
        self.take_downgrade(ctx, &request.group_id, step);
        errors
    }

    /// ConsumerGroupDescribe of one group.
    pub(super) fn consumer_describe(&self, ctx: &Ctx<'_>, group_id: String) -> DescribedGroup {
        let (error, message) = match self.groups.get(group_id.as_str()) {
            _ if group_id.is_empty() => (ErrorCode::InvalidGroupId, None),
            Some(Group::Consumer(group)) => return group.describe(ctx),
            Some(Group::Classic(_)) => (
                ErrorCode::GroupIdNotFound,
                Some(format!("Group {group_id} is not a consumer group.")),
            ),
            None => (
                ErrorCode::GroupIdNotFound,
                Some(format!("Group {group_id} not found.")),
            ),
        };
        DescribedGroup {
            error_code: error.code(),
            error_message: message,
            group_id,
            ..Default::default()
        }
    }

    /// A record of a group of the new protocol. The first one makes the group, in place of a classic one that only has offsets.
    pub(super) fn replay_consumer(&mut self, record: GroupRecord) {
        let Some((group_id, is_tombstone)) = group_of(&record) else {
            return;
        };
        let is_known = matches!(self.groups.get(group_id), Some(Group::Consumer(_)));
        if is_tombstone && matches!(record, GroupRecord::ConsumerGroupMetadata(..)) {
            if is_known {
                self.groups.remove(group_id);
            }
            return;
        }
        if !is_known && !is_tombstone {
            let id: Arc<str> = group_id.into();
            self.groups
                .insert(id.clone(), Group::Consumer(ConsumerGroup::new(id)));
        }
        if let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) {
            group.replay(&record);
        }
    }

    pub(super) fn on_consumer_timer(
        &mut self,
        ctx: &mut Ctx<'_>,
        group_id: &str,
        timer: &Timer,
        step: &mut Step<T>,
    ) {
        if let (Some(Group::Consumer(group)), work) = self.work_on(group_id, ctx, step) {
            let records = group.on_timer(work.ctx, work.timers, timer);
            work.step.records.extend(records);
        }
        self.take_downgrade(ctx, group_id, step);
    }

    pub(super) fn tell_consumer_groups_of_topics(&mut self, ctx: &mut Ctx<'_>) {
        for group in self.groups.values_mut() {
            if let Group::Consumer(group) = group {
                group.on_topics_changed(ctx);
            }
        }
    }
}

/// The consumer group that a classic group with members becomes when a member of the new protocol joins it, and the records of that. The classic group
/// is as it was: the member may be refused yet.
fn upgrade<T>(
    ctx: &mut Ctx<'_>,
    timers: &mut Timers,
    version: i16,
    request: &ConsumerGroupHeartbeatRequest,
    classic: &ClassicGroup<T>,
) -> Result<(ConsumerGroup, Vec<GroupRecord>), Refusal> {
    consumer::validate(ctx.settings, version, request)?;
    if request.member_epoch != JOIN_EPOCH {
        let message = format!("Group {} is not a consumer group.", request.group_id);
        return Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
    }
    let (protocol_type, members) = (classic.protocol_type(), classic.len());
    migration::may_upgrade(ctx.settings, &request.group_id, protocol_type, members)?;
    let id = request.group_id.as_str().into();
    ConsumerGroup::from_classic(id, ctx, timers, &classic.generation())
}

fn refused_heartbeat(refusal: Refusal) -> GroupResponse {
    GroupResponse::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
        error_code: refusal.code.code(),
        error_message: Some(refusal.message),
        ..Default::default()
    })
}

/// What a member says is kept: it gets bytes of its own, as the request's are a piece of a larger frame.
fn own_metadata(request: &mut JoinGroupRequest) {
    for protocol in &mut request.protocols {
        protocol.metadata = Bytes::copy_from_slice(&protocol.metadata);
    }
}

/// The group of a record of the new protocol, and whether the record is a tombstone.
fn group_of(record: &GroupRecord) -> Option<(&str, bool)> {
    use GroupRecord as R;
    Some(match record {
        R::ConsumerGroupMetadata(key, value) => (&key.group_id, value.is_none()),
        R::ConsumerGroupPartitionMetadata(key, value) => (&key.group_id, value.is_none()),
        R::ConsumerGroupMemberMetadata(key, value) => (&key.group_id, value.is_none()),
        R::ConsumerGroupTargetAssignmentMetadata(key, value) => (&key.group_id, value.is_none()),
        R::ConsumerGroupTargetAssignmentMember(key, value) => (&key.group_id, value.is_none()),
        R::ConsumerGroupCurrentMemberAssignment(key, value) => (&key.group_id, value.is_none()),
        R::ConsumerGroupRegularExpression(key, value) => (&key.group_id, value.is_none()),
        R::OffsetCommit(..) | R::GroupMetadata(..) | R::Other(_) => return None,
    })
}
