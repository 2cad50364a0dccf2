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
use super::{metadata_hash, partitions};
use crate::groups::Ctx;
use crate::groups::timers::{Timer, Timers};
use crate::wire::code::ErrorCode;
use crate::wire::group_records::{ClassicMemberMetadata, GroupRecord};
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};

/// The protocol type of consumers.
pub const PROTOCOL_TYPE: &str = "consumer";

impl ConsumerGroup {
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
        let group_waits = self.waits_for_a_join(ctx);
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
        if !must_join && !group_waits {
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

    /// Whether somebody has to join so that the group goes on. Heartbeats of members of the new protocol notice that topics have changed, or that a
    /// target is due; there may be none when the group must not become a classic one.
    fn waits_for_a_join(&mut self, ctx: &Ctx<'_>) -> bool {
        if self.index.classic_members < self.members.len() {
            return false;
        }
        let topics = self.index.topics.keys();
        if self.soft.topics_may_differ && metadata_hash::of_group(topics, ctx.image) != self.metadata_hash {
            return true;
        }
        self.soft.topics_may_differ = false;
        self.target.epoch < self.group_epoch() && self.target_is_due(ctx)
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

    pub(super) fn set_after(
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
