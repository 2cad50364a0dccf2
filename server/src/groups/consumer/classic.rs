//! Members of the classic protocol in a consumer group: for each of them alone the group looks like a classic one that is led by somebody else.
//!
//! ```text
//! Heartbeat ─ the target has moved on, or partitions are to be given back ─▶ REBALANCE_IN_PROGRESS
//! JoinGroup ─ what it wants, and what it still has ───────────────────────▶ its epoch as generation
//! SyncGroup ──────────────────────────────────────────────────────────────▶ its partitions, in the bytes of its protocol
//! ```

use std::sync::Arc;

use bytes::Bytes;

use super::Refusal;
use super::group::ConsumerGroup;
use super::heartbeat::refuse_other_member;
use super::member::{Member, MemberState};
use super::partitions;
use crate::groups::Ctx;
use crate::groups::settings::Migration;
use crate::groups::timers::{Timer, Timers};
use crate::metadata::MetadataImage;
use crate::wire::code::ErrorCode;
use crate::wire::consumer_group_heartbeat::TopicPartitions;
use crate::wire::consumer_protocol::{self, ConsumerProtocolSubscription};
use crate::wire::group_records::{ClassicMemberMetadata, ClassicProtocol, GroupRecord};
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};

/// The protocol type of consumers.
pub const PROTOCOL_TYPE: &str = "consumer";
/// From this version of JoinGroup on, a dynamic member is given its id first and joins with it.
const FIRST_VERSION_WITH_KNOWN_ID: i16 = 4;

impl ConsumerGroup {
    /// JoinGroup. The group may have become a classic one ([`ConsumerGroup::take_downgrade`]), if this member replaces the last one of the new protocol.
    pub fn classic_join(
        &mut self,
        ctx: &mut Ctx<'_>,
        timers: &mut Timers,
        client_id: &str,
        client_host: &str,
        version: i16,
        request: &JoinGroupRequest,
    ) -> (Vec<GroupRecord>, JoinGroupResponse) {
        let mut records = Vec::new();
        let client = (client_id, client_host);
        let response = self
            .join(ctx, timers, client, version, request, &mut records)
            .unwrap_or_else(|refusal| JoinGroupResponse {
                error_code: refusal.code.code(),
                generation_id: -1,
                member_id: request.member_id.clone(),
                ..Default::default()
            });
        (records, response)
    }

    fn join(
        &mut self,
        ctx: &mut Ctx<'_>,
        timers: &mut Timers,
        client: (&str, &str),
        version: i16,
        request: &JoinGroupRequest,
        records: &mut Vec<GroupRecord>,
    ) -> Result<JoinGroupResponse, Refusal> {
        if ctx.settings.consumer_migration == Migration::Disabled {
            let message = format!(
                "Cannot join the consumer group {} with the classic protocol because the group migration is disabled.",
                self.id
            );
            return Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, message));
        }
        let made_id = request.member_id.is_empty().then(|| (ctx.new_id)().to_string());
        let member_id = made_id.as_deref().unwrap_or(&request.member_id);
        self.refuse_if_full(ctx.settings, member_id)?;
        self.refuse_unsupported_protocols(member_id, request)?;
        if request.group_instance_id.is_none() && made_id.is_some() && version >= FIRST_VERSION_WITH_KNOWN_ID
        {
            return Ok(JoinGroupResponse {
                error_code: ErrorCode::MemberIdRequired.code(),
                generation_id: -1,
                member_id: member_id.to_owned(),
                ..Default::default()
            });
        }
        let (before, replaced) = self.known_or_joining_classic(member_id, request)?;
        let subscription = first_subscription(request)?;
        let mut updated = before.clone();
        update(&mut updated, client, version, request, &subscription);

        let in_place = request
            .group_instance_id
            .as_deref()
            .and_then(|instance_id| self.static_member(instance_id));
        let downgrades =
            in_place.is_some_and(|in_place| self.becomes_classic_replacing(ctx.settings, in_place));
        let generation = self.group_epoch();
        if let Some(replaced) = replaced {
            self.replace(timers, records, &replaced, &before);
        }
        let changes = self.put(ctx, timers, records, &before, &updated);
        if changes.subscription || self.soft.topics_may_differ {
            self.refresh_epoch(ctx, records, changes.subscription);
        }
        if !downgrades {
            self.update_target(ctx, records);
        }
        let is_stale = self.target.epoch < self.group_epoch();
        if !downgrades || !is_stale {
            let said = owned(&subscription, ctx.image);
            self.reconcile(ctx, timers, records, member_id, changes.subscription, Some(&said));
        }
        let member_epoch = self.member(member_id)?.epoch;
        timers.cancel(&Timer::ClassicJoin(self.id.clone(), member_id.into()));
        if downgrades {
            self.downgrade(ctx, timers, records, generation, is_stale, &[]);
        } else {
            self.set_after(ctx, timers, Timer::Session, member_id, request.session_timeout_ms);
            self.set_after(
                ctx,
                timers,
                Timer::ClassicSync,
                member_id,
                updated.rebalance_timeout_ms,
            );
        }
        Ok(JoinGroupResponse {
            generation_id: member_epoch,
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: request.protocols.first().map(|protocol| protocol.name.clone()),
            member_id: member_id.to_owned(),
            ..Default::default()
        })
    }

    /// SyncGroup: nobody hands in an assignment here, everybody gets its own.
    pub fn classic_sync(
        &mut self,
        ctx: &mut Ctx<'_>,
        timers: &mut Timers,
        request: &SyncGroupRequest,
    ) -> SyncGroupResponse {
        let done = self.sync(ctx, timers, request);
        done.unwrap_or_else(|refusal| SyncGroupResponse {
            error_code: refusal.code.code(),
            ..Default::default()
        })
    }

    fn sync(
        &mut self,
        ctx: &mut Ctx<'_>,
        timers: &mut Timers,
        request: &SyncGroupRequest,
    ) -> Result<SyncGroupResponse, Refusal> {
        let (member, classic) = self.classic_member(
            &request.member_id,
            request.group_instance_id.as_deref(),
            request.generation_id,
        )?;
        let first = classic.supported_protocols.first();
        let other_type = request
            .protocol_type
            .as_deref()
            .is_some_and(|name| name != PROTOCOL_TYPE);
        let other_name = request
            .protocol_name
            .as_deref()
            .is_some_and(|name| first.is_none_or(|first| first.name != name));
        if other_type || other_name {
            return Err(Refusal::new(
                ErrorCode::InconsistentGroupProtocol,
                "The protocol is not the one of the answer to JoinGroup.",
            ));
        }
        if self.target.epoch > member.epoch && member.state != MemberState::UnrevokedPartitions {
            self.expect_join(ctx, timers, member);
            return Err(Refusal::new(
                ErrorCode::RebalanceInProgress,
                "A new rebalance is triggered.",
            ));
        }
        let version = first.map_or(0, |protocol| protocol_version(&protocol.metadata));
        let assignment =
            partitions::to_protocol(&partitions::without_epochs(&member.assigned), ctx.image, version);
        timers.cancel(&Timer::ClassicSync(self.id.clone(), member.id.clone()));
        self.set_after(
            ctx,
            timers,
            Timer::Session,
            &member.id,
            classic.session_timeout_ms,
        );
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..Default::default()
        })
    }

    /// Heartbeat: the error, or [`ErrorCode::None`].
    pub fn classic_heartbeat(
        &mut self,
        ctx: &mut Ctx<'_>,
        timers: &mut Timers,
        request: &HeartbeatRequest,
    ) -> ErrorCode {
        let found = self.classic_member(
            &request.member_id,
            request.group_instance_id.as_deref(),
            request.generation_id,
        );
        let (member, classic) = match found {
            Ok(found) => found,
            Err(refusal) => return refusal.code,
        };
        self.set_after(
            ctx,
            timers,
            Timer::Session,
            &member.id,
            classic.session_timeout_ms,
        );
        let must_join = match member.state {
            MemberState::UnrevokedPartitions => true,
            MemberState::UnreleasedPartitions => {
                member.epoch < self.target.epoch || !self.waits_for_others(member)
            }
            _ => member.epoch < self.target.epoch,
        };
        if !must_join {
            return ErrorCode::None;
        }
        self.expect_join(ctx, timers, member);
        ErrorCode::RebalanceInProgress
    }

    /// LeaveGroup, by members of either protocol; those of version 2 and older are to be in `members` as well.
    pub fn classic_leave(
        &mut self,
        ctx: &mut Ctx<'_>,
        timers: &mut Timers,
        request: &LeaveGroupRequest,
    ) -> (Vec<GroupRecord>, LeaveGroupResponse) {
        let (mut leaving, mut members): (Vec<Arc<str>>, _) = (Vec::new(), Vec::new());
        for identity in &request.members {
            let found = self.leaving(identity);
            members.push(MemberResponse {
                member_id: identity.member_id.clone(),
                group_instance_id: identity.group_instance_id.clone(),
                error_code: found.as_ref().err().map_or(0, |refusal| refusal.code.code()),
            });
            leaving.extend(found.ok().filter(|member| !leaving.contains(member)));
        }
        let mut records = Vec::new();
        self.fence(ctx, timers, &mut records, &leaving);
        let response = LeaveGroupResponse {
            members,
            ..Default::default()
        };
        (records, response)
    }

    fn leaving(&self, identity: &MemberIdentity) -> Result<Arc<str>, Refusal> {
        let Some(instance_id) = &identity.group_instance_id else {
            return Ok(self.member(&identity.member_id)?.id.clone());
        };
        let member = self.static_member(instance_id).ok_or_else(|| {
            Refusal::new(
                ErrorCode::UnknownMemberId,
                format!("Instance id {instance_id} is unknown."),
            )
        })?;
        if !identity.member_id.is_empty() {
            refuse_other_member(member, &identity.member_id, instance_id)?;
        }
        Ok(member.id.clone())
    }

    /// A member of the classic protocol, by its id, instance id and generation.
    fn classic_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(&Member, &ClassicMemberMetadata), Refusal> {
        let member = match instance_id {
            None => self.member(member_id)?,
            Some(instance_id) => {
                let unknown = || {
                    format!(
                        "Member with instance id {instance_id} is not a member of group {}.",
                        self.id
                    )
                };
                let member = self
                    .static_member(instance_id)
                    .ok_or_else(|| Refusal::new(ErrorCode::UnknownMemberId, unknown()))?;
                refuse_other_member(member, member_id, instance_id)?;
                member
            }
        };
        let classic = member.classic.as_ref().ok_or_else(|| {
            let message = format!("Member {} does not use the classic protocol.", member.id);
            Refusal::new(ErrorCode::UnknownMemberId, message)
        })?;
        if generation != member.epoch {
            let message = format!(
                "The request generation id {generation} is not equal to the member epoch {} of member {}.",
                member.epoch, member.id
            );
            return Err(Refusal::new(ErrorCode::IllegalGeneration, message));
        }
        Ok((member, classic))
    }

    /// The member of a request, or the one it is to become, and the static member whose place it then takes.
    fn known_or_joining_classic(
        &self,
        member_id: &str,
        request: &JoinGroupRequest,
    ) -> Result<(Member, Option<Arc<str>>), Refusal> {
        let Some(instance_id) = &request.group_instance_id else {
            return Ok((self.known_or_new(member_id), None));
        };
        match self.static_member(instance_id) {
            None if request.member_id.is_empty() => Ok((self.known_or_new(member_id), None)),
            None => Err(Refusal::new(
                ErrorCode::UnknownMemberId,
                format!("Instance id {instance_id} is unknown."),
            )),
            Some(member) if request.member_id.is_empty() => {
                Ok((member.heir(member_id.into()), Some(member.id.clone())))
            }
            Some(member) => {
                refuse_other_member(member, member_id, instance_id)?;
                Ok((member.clone(), None))
            }
        }
    }

    /// One protocol at least must be known to all classic members.
    fn refuse_unsupported_protocols(
        &self,
        member_id: &str,
        request: &JoinGroupRequest,
    ) -> Result<(), Refusal> {
        let known_to = |name: &str| self.index.classic_protocols.get(name).copied().unwrap_or(0);
        let mut names = request.protocols.iter().map(|protocol| protocol.name.as_str());
        let supported = match self.members.is_empty() {
            true => names.next().is_some(),
            false => names.any(|name| known_to(name) == self.index.classic_members),
        };
        if supported && request.protocol_type == PROTOCOL_TYPE {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::InconsistentGroupProtocol,
            format!("Member {member_id}'s protocols are not supported."),
        ))
    }

    /// Whether some of what the member shall have is not free yet.
    fn waits_for_others(&self, member: &Member) -> bool {
        let Some(target) = self.target.members.get(&member.id) else {
            return false;
        };
        target.iter().any(|(topic, partitions)| {
            let has = member.assigned.get(topic);
            let lacks = |partition: &&i32| has.is_none_or(|has| !has.contains_key(*partition));
            partitions
                .iter()
                .filter(lacks)
                .any(|partition| self.index.is_owned(*topic, *partition))
        })
    }

    fn expect_join(&self, ctx: &Ctx<'_>, timers: &mut Timers, member: &Member) {
        if !timers.is_set(&Timer::ClassicJoin(self.id.clone(), member.id.clone())) {
            self.set_after(
                ctx,
                timers,
                Timer::ClassicJoin,
                &member.id,
                member.rebalance_timeout_ms,
            );
        }
    }

    fn set_after(
        &self,
        ctx: &Ctx<'_>,
        timers: &mut Timers,
        timer: fn(Arc<str>, Arc<str>) -> Timer,
        member_id: &str,
        after_ms: i32,
    ) {
        timers.set(
            timer(self.id.clone(), member_id.into()),
            ctx.now_ms.saturating_add(after_ms.into()),
        );
    }
}

/// The version of a subscription, whose assignment is written in the same one; 0 if it has none.
pub(super) fn protocol_version(metadata: &Bytes) -> i16 {
    match metadata.as_ref() {
        [high, low, ..] => i16::from_be_bytes([*high, *low]).max(0),
        _ => 0,
    }
}

fn first_subscription(request: &JoinGroupRequest) -> Result<ConsumerProtocolSubscription, Refusal> {
    let malformed = || {
        Refusal::new(
            ErrorCode::UnknownServerError,
            "Malformed embedded consumer protocol in subscription deserialization.",
        )
    };
    let first = request.protocols.first().ok_or_else(malformed)?;
    consumer_protocol::subscription(&first.metadata).map_err(|_| malformed())
}

/// What the member says it still has. Topics that are gone are left out.
fn owned(subscription: &ConsumerProtocolSubscription, image: &MetadataImage) -> Vec<TopicPartitions> {
    let owned = subscription.owned_partitions.iter().filter_map(|owned| {
        Some(TopicPartitions {
            topic_id: image.topic(&owned.topic)?.id,
            partitions: owned.partitions.clone(),
        })
    });
    owned.collect()
}

fn update(
    member: &mut Member,
    (client_id, client_host): (&str, &str),
    version: i16,
    request: &JoinGroupRequest,
    subscription: &ConsumerProtocolSubscription,
) {
    if request.group_instance_id.is_some() {
        member.instance_id.clone_from(&request.group_instance_id);
    }
    if subscription.rack_id.as_ref().is_some_and(|rack| !rack.is_empty()) {
        member.rack_id.clone_from(&subscription.rack_id);
    }
    match (version, request.rebalance_timeout_ms) {
        (0, _) => member.rebalance_timeout_ms = request.session_timeout_ms,
        (_, -1) => {}
        (_, timeout_ms) => member.rebalance_timeout_ms = timeout_ms,
    }
    member.topic_names = subscription.topics.iter().cloned().collect();
    member.topic_regex = Some(String::new());
    client_id.clone_into(&mut member.client_id);
    client_host.clone_into(&mut member.client_host);
    let protocols = request.protocols.iter().map(|protocol| ClassicProtocol {
        name: protocol.name.clone(),
        metadata: protocol.metadata.clone(),
    });
    member.classic = Some(ClassicMemberMetadata {
        session_timeout_ms: request.session_timeout_ms,
        supported_protocols: protocols.collect(),
    });
}
