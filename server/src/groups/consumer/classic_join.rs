//! JoinGroup of a member of the classic protocol in a consumer group: it says what it wants and has, and waits for nobody.

use std::sync::Arc;

use super::Refusal;
use super::classic::PROTOCOL_TYPE;
use super::group::ConsumerGroup;
use super::heartbeat::refuse_other_member;
use super::member::Member;
use crate::groups::Ctx;
use crate::groups::settings::Migration;
use crate::groups::timers::{Timer, Timers};
use crate::metadata::MetadataImage;
use crate::wire::code::ErrorCode;
use crate::wire::consumer_group_heartbeat::TopicPartitions;
use crate::wire::consumer_protocol::{self, ConsumerProtocolSubscription};
use crate::wire::group_records::{ClassicMemberMetadata, ClassicProtocol, GroupRecord};
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse};

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
        self.refuse_if_too_large(&updated)?;

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
