//! A group changes its protocol with its members in it (KIP-848, `group.consumer.migration.policy`).
//!
//! A classic group becomes a consumer group when a member of the new protocol joins; a consumer group becomes a classic one when the last
//! member of the new protocol leaves. Either way the members keep their partitions and need not know.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::classic::{PROTOCOL_TYPE, protocol_version};
use super::group::ConsumerGroup;
use super::member::Member;
use super::{Refusal, metadata_hash, partitions};
use crate::groups::assignor::Partitions;
use crate::groups::settings::Migration;
use crate::groups::timers::{Timer, Timers};
use crate::groups::{Ctx, GroupSettings};
use crate::metadata::MetadataImage;
use crate::wire::code::ErrorCode;
use crate::wire::consumer_protocol;
use crate::wire::group_records::{
    ClassicMemberMetadata, ClassicProtocol, GroupMetadataKey, GroupMetadataValue, GroupRecord, MemberMetadata,
};

/// A generation of a classic group of consumers, on its way from one protocol to the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassicGeneration {
    /// Its number.
    pub generation: i32,
    /// The protocol its members agreed on.
    pub protocol: String,
    /// Its members, the leader first.
    pub members: Vec<ClassicMember>,
}

/// A member of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassicMember {
    /// Its id.
    pub member_id: String,
    /// What a static member is called.
    pub group_instance_id: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// The client's address as Kafka writes it.
    pub client_host: String,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// How long it may stay unheard of.
    pub session_timeout_ms: i32,
    /// The protocols it supports, with its subscription in each.
    pub protocols: Vec<ClassicProtocol>,
    /// Its partitions; empty before the first SyncGroup.
    pub assignment: Bytes,
}

impl ClassicMember {
    fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|supported| supported.name == protocol);
        found
            .map(|supported| supported.metadata.clone())
            .unwrap_or_default()
    }
}

/// A consumer group that has become a classic one. Its records are written; what is left is to make the group in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Downgrade {
    /// The classic group, in state Stable.
    pub group: ClassicGeneration,
    /// Whether its members must join again at once.
    pub rebalance: bool,
}

/// Whether a classic group with members may become a consumer group.
///
/// # Errors
/// GROUP_ID_NOT_FOUND, with the reason.
pub fn may_upgrade(
    settings: &GroupSettings,
    group_id: &str,
    protocol_type: Option<&str>,
    members: usize,
) -> Result<(), Refusal> {
    let reason = match settings.consumer_migration {
        Migration::Downgrade | Migration::Disabled => "online upgrade is disabled",
        _ if protocol_type != Some(PROTOCOL_TYPE) => "the group does not use the consumer embedded protocol",
        _ if members > usize::try_from(settings.consumer_max_size).unwrap_or(0) => {
            "the group size exceeds the consumer group maximum size"
        }
        _ => return Ok(()),
    };
    Err(no_upgrade(group_id, reason))
}

fn no_upgrade(group_id: &str, reason: &str) -> Refusal {
    Refusal::new(
        ErrorCode::GroupIdNotFound,
        format!("Cannot upgrade classic group {group_id} to consumer group because {reason}."),
    )
}

impl ConsumerGroup {
    /// The consumer group that a classic group becomes, and the records of the change, the classic group's tombstone first. Members that
    /// wait for a JoinGroup or SyncGroup of the classic group are to be told REBALANCE_IN_PROGRESS.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, if a member's subscription or assignment cannot be read, or if the assignment holds data of an assignor that
    /// would be lost.
    pub fn from_classic(
        group_id: Arc<str>,
        ctx: &mut Ctx<'_>,
        timers: &mut Timers,
        classic: &ClassicGeneration,
    ) -> Result<(ConsumerGroup, Vec<GroupRecord>), Refusal> {
        let members = classic
            .members
            .iter()
            .map(|member| upgraded(&group_id, ctx.image, classic, member));
        let members: Vec<(Member, Partitions)> = members.collect::<Result<_, _>>()?;
        let mut group = ConsumerGroup::new(group_id.clone());
        let key = GroupMetadataKey {
            group: group_id.as_ref().to_owned(),
        };
        let mut records = vec![GroupRecord::GroupMetadata(key, None)];
        for (member, _) in &members {
            group.write(&mut records, group.member_record(member));
        }
        let hash = metadata_hash::of_group(group.index.topics.keys(), ctx.image);
        group.write(&mut records, group.epoch_record(classic.generation, hash));
        for (member, target) in &members {
            group.write(&mut records, group.target_record(&member.id, Some(target)));
        }
        group.write(
            &mut records,
            group.target_epoch_record(Some((classic.generation, 0))),
        );
        for (member, _) in &members {
            group.write(&mut records, group.progress_record(&member.id, Some(member)));
        }
        for member in &classic.members {
            let session = Timer::Session(group_id.clone(), member.member_id.as_str().into());
            timers.set(
                session,
                ctx.now_ms.saturating_add(member.session_timeout_ms.into()),
            );
        }
        Ok((group, records))
    }

    /// Whether the group becomes a classic one when these members go.
    pub(super) fn becomes_classic_without(&self, settings: &GroupSettings, leaving: &[Arc<str>]) -> bool {
        let leaving = || leaving.iter().filter_map(|member| self.members.get(member));
        let stay = self.members.len() - leaving().count();
        let classic_stay =
            self.index.classic_members - leaving().filter(|member| member.uses_classic_protocol()).count();
        stay > 0 && classic_stay == stay && may_downgrade(settings, stay)
    }

    /// Whether the group becomes a classic one when a member of the classic protocol takes this one's place.
    pub(super) fn becomes_classic_replacing(&self, settings: &GroupSettings, replaced: &Member) -> bool {
        let others_are_classic = self.index.classic_members + 1 == self.members.len();
        others_are_classic && !replaced.uses_classic_protocol() && may_downgrade(settings, self.members.len())
    }

    pub(super) fn downgrade_without(
        &mut self,
        ctx: &Ctx<'_>,
        timers: &mut Timers,
        records: &mut Vec<GroupRecord>,
        leaving: &[Arc<str>],
    ) {
        self.downgrade(ctx, timers, records, self.group_epoch(), true, leaving);
    }

    /// Writes the end of this group and the beginning of a classic one.
    pub(super) fn downgrade(
        &mut self,
        ctx: &Ctx<'_>,
        timers: &mut Timers,
        records: &mut Vec<GroupRecord>,
        generation: i32,
        rebalance: bool,
        leaving: &[Arc<str>],
    ) {
        let group = self.classic_generation(ctx.image, generation, leaving);
        let members: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for member in &members {
            self.cancel_timers(timers, member);
        }
        timers.cancel(&Timer::Regex(self.id.clone()));
        for tombstone in self.tombstones() {
            self.write(records, tombstone);
        }
        records.push(group.record(&self.id, ctx.wall_ms));
        self.soft.downgrade = Some(Downgrade { group, rebalance });
    }

    fn classic_generation(
        &self,
        image: &MetadataImage,
        generation: i32,
        leaving: &[Arc<str>],
    ) -> ClassicGeneration {
        let none = Partitions::new();
        let staying = || {
            self.members
                .values()
                .filter(|member| !leaving.contains(&member.id))
        };
        let protocol = select_protocol(staying().filter_map(|member| member.classic.as_ref()));
        let members = staying().filter_map(|member| {
            let classic = member.classic.as_ref()?;
            let selected = classic
                .supported_protocols
                .iter()
                .find(|supported| supported.name == protocol);
            let version = selected.map_or(0, |selected| protocol_version(&selected.metadata));
            let target = self.target.members.get(&member.id).unwrap_or(&none);
            Some(ClassicMember {
                member_id: member.id.as_ref().to_owned(),
                group_instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                protocols: classic.supported_protocols.clone(),
                assignment: partitions::to_protocol(target, image, version),
            })
        });
        ClassicGeneration {
            generation,
            members: members.collect(),
            protocol,
        }
    }
}

impl ClassicGeneration {
    /// The record of this generation.
    pub fn record(&self, group_id: &str, now_ms: i64) -> GroupRecord {
        let members = self.members.iter().map(|member| MemberMetadata {
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(&self.protocol),
            assignment: member.assignment.clone(),
        });
        let value = GroupMetadataValue {
            protocol_type: PROTOCOL_TYPE.to_owned(),
            generation: self.generation,
            protocol: Some(self.protocol.clone()),
            leader: self.members.first().map(|member| member.member_id.clone()),
            current_state_timestamp: now_ms,
            members: members.collect(),
        };
        let key = GroupMetadataKey {
            group: group_id.to_owned(),
        };
        GroupRecord::GroupMetadata(key, Some(value))
    }
}

fn may_downgrade(settings: &GroupSettings, members: usize) -> bool {
    let allowed = matches!(
        settings.consumer_migration,
        Migration::Bidirectional | Migration::Downgrade
    );
    allowed && members <= usize::try_from(settings.max_size).unwrap_or(0)
}

/// The protocol that all support and most like best; the first by name of those liked as much.
fn select_protocol<'a>(members: impl Iterator<Item = &'a ClassicMemberMetadata>) -> String {
    let members: Vec<&ClassicMemberMetadata> = members.collect();
    let mut supported: BTreeMap<&str, usize> = BTreeMap::new();
    for protocol in members.iter().flat_map(|member| &member.supported_protocols) {
        *supported.entry(&protocol.name).or_default() += 1;
    }
    supported.retain(|_, count| *count == members.len());
    let mut votes: BTreeMap<&str, usize> = supported.keys().map(|name| (*name, 0)).collect();
    for member in members {
        let liked = member
            .supported_protocols
            .iter()
            .find(|protocol| supported.contains_key(protocol.name.as_str()));
        if let Some(count) = liked.and_then(|liked| votes.get_mut(liked.name.as_str())) {
            *count += 1;
        }
    }
    let most = votes.values().max().copied();
    let winner = votes.into_iter().find(|(_, count)| Some(*count) == most);
    winner.map_or_else(String::new, |(name, _)| name.to_owned())
}

/// A classic member as a member of the consumer group, and its target, which is what it has.
fn upgraded(
    group_id: &str,
    image: &MetadataImage,
    classic: &ClassicGeneration,
    member: &ClassicMember,
) -> Result<(Member, Partitions), Refusal> {
    let malformed = || no_upgrade(group_id, "the embedded consumer protocol is malformed");
    let mut target = Partitions::new();
    if !member.assignment.is_empty() {
        let assignment = consumer_protocol::assignment(&member.assignment).map_err(|_| malformed())?;
        if assignment.user_data.is_some_and(|data| !data.is_empty()) {
            let reason = "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before \
                          re-attempting the upgrade";
            return Err(no_upgrade(group_id, reason));
        }
        for assigned in assignment.assigned_partitions {
            if let Some(topic) = image.topic(&assigned.topic) {
                target.insert(topic.id, assigned.partitions.into_iter().collect());
            }
        }
    }
    let subscription =
        consumer_protocol::subscription(&member.metadata(&classic.protocol)).map_err(|_| malformed())?;
    let mut upgraded = Member::new(member.member_id.as_str().into());
    upgraded.epoch = classic.generation;
    upgraded.previous_epoch = classic.generation;
    upgraded.instance_id.clone_from(&member.group_instance_id);
    upgraded.rack_id = subscription.rack_id.filter(|rack| !rack.is_empty());
    upgraded.rebalance_timeout_ms = member.rebalance_timeout_ms;
    upgraded.client_id.clone_from(&member.client_id);
    upgraded.client_host.clone_from(&member.client_host);
    upgraded.topic_names = subscription.topics.into_iter().collect();
    upgraded.assigned = partitions::with_epoch(&target, classic.generation);
    upgraded.classic = Some(ClassicMemberMetadata {
        session_timeout_ms: member.session_timeout_ms,
        supported_protocols: member.protocols.clone(),
    });
    Ok((upgraded, target))
}
