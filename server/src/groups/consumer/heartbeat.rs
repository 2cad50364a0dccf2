//! ConsumerGroupHeartbeat: a member joins, tells what has changed, and learns what it shall have.

use std::sync::Arc;

use super::group::ConsumerGroup;
use super::member::{Member, MemberState};
use super::partitions;
use super::reconcile::Reconciliation;
use super::{JOIN_EPOCH, LEAVE_EPOCH, LEAVE_STATIC_EPOCH, Refusal};
use crate::groups::timers::{Timer, Timers};
use crate::groups::{Ctx, GroupSettings};
use crate::wire::code::ErrorCode;
use crate::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use crate::wire::group_records::GroupRecord;

impl ConsumerGroup {
    /// Answers a heartbeat, and changes the group as the records say that are to be appended. A group that does not exist yet comes to be if
    /// the member joins.
    ///
    /// Version 1 and later wants a member to bring its id (KIP-1082); before, one is made for it.
    pub fn heartbeat(
        &mut self,
        ctx: &mut Ctx<'_>,
        timers: &mut Timers,
        client_id: &str,
        client_host: &str,
        version: i16,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> (Vec<GroupRecord>, ConsumerGroupHeartbeatResponse) {
        let mut records = Vec::new();
        let done = validate(ctx.settings, version, request).and_then(|()| match request.member_epoch {
            LEAVE_EPOCH | LEAVE_STATIC_EPOCH => self.leave(ctx, timers, request, &mut records),
            _ => self.beat(ctx, timers, (client_id, client_host), request, &mut records),
        });
        let response = done.unwrap_or_else(|refusal| ConsumerGroupHeartbeatResponse {
            error_code: refusal.code.code(),
            error_message: Some(refusal.message),
            ..Default::default()
        });
        (records, response)
    }

    fn beat(
        &mut self,
        ctx: &mut Ctx<'_>,
        timers: &mut Timers,
        client: (&str, &str),
        request: &ConsumerGroupHeartbeatRequest,
        records: &mut Vec<GroupRecord>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let joins = request.member_epoch == JOIN_EPOCH;
        if !self.exists() && !joins {
            return Err(Refusal::new(
                ErrorCode::GroupIdNotFound,
                format!("Consumer group {} not found.", self.id),
            ));
        }
        self.refuse_if_full(ctx.settings, &request.member_id)?;
        let made_id = request.member_id.is_empty().then(|| (ctx.new_id)().to_string());
        let member_id = made_id.as_deref().unwrap_or(&request.member_id);

        let (before, replaced) = self.known_or_joining(member_id, request, joins)?;
        let mut updated = before.clone();
        update(&mut updated, client, request);
        self.refuse_new_regex_if_invalid(&before, &updated)?;
        if updated != before {
            self.refuse_if_too_large(&updated)?;
        }
        refuse_unknown_state(&before, request.topic_partitions.as_deref())?;

        if let Some(replaced) = replaced {
            self.replace(timers, records, &replaced, &before);
        }
        let changes = self.put(ctx, timers, records, &before, &updated);
        if changes.raise_epoch || self.soft.topics_may_differ {
            self.refresh_epoch(ctx, records, changes.raise_epoch);
        }
        self.update_target(ctx, records);
        let said = request.topic_partitions.as_deref();
        self.reconcile(ctx, timers, records, member_id, changes.subscription, said);

        let session = Timer::Session(self.id.clone(), member_id.into());
        timers.set(session, ctx.now_ms.saturating_add(self.session_timeout_ms(ctx)));
        let member = self.member(member_id)?;
        let tell =
            joins || is_full(request) || !partitions::same_partitions(&before.assigned, &member.assigned);
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(member_id.to_owned()),
            member_epoch: member.epoch,
            heartbeat_interval_ms: self.heartbeat_interval_ms(ctx),
            assignment: tell.then(|| partitions::to_response(&member.assigned)),
            ..Default::default()
        })
    }

    /// The member of a request, or the one it is to become, and the static member whose place it then takes.
    fn known_or_joining(
        &self,
        member_id: &str,
        request: &ConsumerGroupHeartbeatRequest,
        joins: bool,
    ) -> Result<(Member, Option<Arc<str>>), Refusal> {
        let said = request.topic_partitions.as_deref();
        let Some(instance_id) = &request.instance_id else {
            let member = match self.members.get(member_id) {
                None if joins => Member::new(member_id.into()),
                None => return Err(Refusal::unknown_member(member_id, &self.id)),
                Some(member) => member.clone(),
            };
            refuse_epoch(&member, request.member_epoch, said)?;
            return Ok((member, None));
        };
        match self.static_member(instance_id) {
            None if joins => Ok((self.known_or_new(member_id), None)),
            None => Err(Refusal::new(
                ErrorCode::UnknownMemberId,
                format!("Instance id {instance_id} is unknown."),
            )),
            Some(member) if joins => {
                if !member.uses_classic_protocol() && member.epoch != LEAVE_STATIC_EPOCH {
                    return Err(Refusal::new(
                        ErrorCode::UnreleasedInstanceId,
                        format!(
                            "Static member {member_id} with instance id {instance_id} cannot join the group because the instance \
                             id is owned by {} member.",
                            member.id
                        ),
                    ));
                }
                Ok((member.heir(member_id.into()), Some(member.id.clone())))
            }
            Some(member) => {
                refuse_other_member(member, member_id, instance_id)?;
                refuse_epoch(member, request.member_epoch, said)?;
                Ok((member.clone(), None))
            }
        }
    }

    /// Brings a member one step nearer to its target.
    pub(super) fn reconcile(
        &mut self,
        ctx: &Ctx<'_>,
        timers: &mut Timers,
        records: &mut Vec<GroupRecord>,
        member_id: &str,
        subscription_changed: bool,
        said: Option<&[TopicPartitions]>,
    ) {
        let Some(member) = self.members.get(member_id) else {
            return;
        };
        if !subscription_changed && member.is_reconciled_to(self.target.epoch) {
            return;
        }
        let none = Default::default();
        let next = Reconciliation {
            member,
            target_epoch: self.target.epoch,
            target: self.target.members.get(member_id).unwrap_or(&none),
            subscription_changed,
            index: &self.index,
            image: ctx.image,
            said,
        }
        .next();
        if next == *member {
            return;
        }
        let record = self.progress_record(member_id, Some(&next));
        self.write(records, record);
        // Members of the classic protocol have timers of their own.
        if !next.uses_classic_protocol() {
            self.watch_revocation(ctx, timers, &next);
        }
    }
}

/// What a request that joins, or tells everything anew, has.
fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    let wishes = request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    request.rebalance_timeout_ms != -1 && wishes && request.topic_partitions.is_some()
}

/// Takes over what a request says; what it does not mention stays.
fn update(
    member: &mut Member,
    (client_id, client_host): (&str, &str),
    request: &ConsumerGroupHeartbeatRequest,
) {
    if request.instance_id.is_some() {
        member.instance_id.clone_from(&request.instance_id);
    }
    if request.rack_id.is_some() {
        member.rack_id.clone_from(&request.rack_id);
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if request.server_assignor.is_some() {
        member.server_assignor.clone_from(&request.server_assignor);
    }
    if let Some(names) = &request.subscribed_topic_names {
        member.topic_names = names.iter().cloned().collect();
    }
    if request.subscribed_topic_regex.is_some() {
        member.topic_regex.clone_from(&request.subscribed_topic_regex);
    }
    client_id.clone_into(&mut member.client_id);
    client_host.clone_into(&mut member.client_host);
    member.classic = None;
}

pub(super) fn refuse_other_member(
    member: &Member,
    member_id: &str,
    instance_id: &str,
) -> Result<(), Refusal> {
    if member.id.as_ref() == member_id {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::FencedInstanceId,
        format!(
            "Static member {member_id} with instance id {instance_id} was fenced by member {}.",
            member.id
        ),
    ))
}

/// A member may come with its epoch, or with the one before if it has no more than it should: then it missed an answer.
fn refuse_epoch(member: &Member, epoch: i32, said: Option<&[TopicPartitions]>) -> Result<(), Refusal> {
    let missed_answer = epoch == member.previous_epoch && partitions::is_within(said, &member.assigned);
    let relation = match epoch {
        JOIN_EPOCH => return Ok(()),
        epoch if epoch > member.epoch => "greater",
        epoch if epoch < member.epoch && !missed_answer => "smaller",
        _ => return Ok(()),
    };
    Err(Refusal::new(
        ErrorCode::FencedMemberEpoch,
        format!(
            "The consumer group member has a {relation} member epoch ({epoch}) than the one known by the group coordinator ({}). \
             The member must abandon all its partitions and rejoin.",
            member.epoch
        ),
    ))
}

/// A member whose state is one of a later version starts over, from nothing.
fn refuse_unknown_state(member: &Member, said: Option<&[TopicPartitions]>) -> Result<(), Refusal> {
    if matches!(member.state, MemberState::Unknown(_)) && said.is_none_or(|said| !said.is_empty()) {
        return Err(Refusal::new(
            ErrorCode::FencedMemberEpoch,
            "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.",
        ));
    }
    Ok(())
}

/// Checks what can be told from a request alone, in Kafka's order.
///
/// # Errors
/// INVALID_REQUEST, or UNSUPPORTED_ASSIGNOR.
pub fn validate(
    settings: &GroupSettings,
    version: i16,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(), Refusal> {
    let blank = |text: &str| text.trim().is_empty();
    let must_have_id = version >= 1 || request.member_epoch > 0 || request.member_epoch == LEAVE_EPOCH;
    if must_have_id && blank(&request.member_id) {
        return Err(Refusal::invalid("MemberId can't be empty."));
    }
    if blank(&request.group_id) {
        return Err(Refusal::invalid("GroupId can't be empty."));
    }
    if request.instance_id.as_deref().is_some_and(blank) {
        return Err(Refusal::invalid("InstanceId can't be empty."));
    }
    if request.rack_id.as_deref().is_some_and(blank) {
        return Err(Refusal::invalid("RackId can't be empty."));
    }
    match request.member_epoch {
        JOIN_EPOCH => validate_join(request)?,
        LEAVE_STATIC_EPOCH if request.instance_id.is_none() => {
            return Err(Refusal::invalid("InstanceId can't be null."));
        }
        epoch if epoch < LEAVE_STATIC_EPOCH => return Err(Refusal::invalid("MemberEpoch is invalid.")),
        _ => {}
    }
    let supported = || settings.consumer_assignors.iter().map(|assignor| assignor.name());
    match &request.server_assignor {
        Some(wished) if !supported().any(|name| name == wished) => Err(Refusal::new(
            ErrorCode::UnsupportedAssignor,
            format!(
                "ServerAssignor {wished} is not supported. Supported assignors: {}.",
                supported().collect::<Vec<_>>().join(", ")
            ),
        )),
        _ => Ok(()),
    }
}

fn validate_join(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    if request.rebalance_timeout_ms == -1 {
        return Err(Refusal::invalid(
            "RebalanceTimeoutMs must be provided in first request.",
        ));
    }
    if request
        .topic_partitions
        .as_ref()
        .is_none_or(|partitions| !partitions.is_empty())
    {
        return Err(Refusal::invalid(
            "TopicPartitions must be empty when (re-)joining.",
        ));
    }
    if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        return Err(Refusal::invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ));
    }
    Ok(())
}
