//! Groups that change their protocol, and members of both in one group.

use bytes::Bytes;

use super::world::*;
use crate::groups::consumer::ConsumerGroup;
use crate::groups::consumer::migration::{ClassicGeneration, ClassicMember, may_upgrade};
use crate::groups::settings::Migration;
use crate::groups::timers::Timer;
use crate::wire::code::ErrorCode::{
    self, GroupIdNotFound, InconsistentGroupProtocol, MemberIdRequired, RebalanceInProgress,
};
use crate::wire::consumer_protocol::{
    self, ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition, encode,
};
use crate::wire::group_records::{ClassicProtocol, GroupRecord};
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};

fn named(of: &[(&str, &[i32])]) -> Vec<TopicPartition> {
    let of = of.iter().map(|(topic, partitions)| TopicPartition {
        topic: (*topic).to_owned(),
        partitions: partitions.to_vec(),
    });
    of.collect()
}

pub(super) fn subscription(topics: &[&str], owned: &[(&str, &[i32])]) -> Bytes {
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        owned_partitions: named(owned),
        ..Default::default()
    };
    encode(&subscription, 1)
}

fn assignment(of: &[(&str, &[i32])]) -> Bytes {
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: named(of),
        user_data: None,
    };
    encode(&assignment, 1)
}

pub(super) fn classic_member(id: &str, has: &[(&str, &[i32])]) -> ClassicMember {
    ClassicMember {
        member_id: id.to_owned(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 10_000,
        protocols: vec![ClassicProtocol {
            name: "range".to_owned(),
            metadata: subscription(&["t"], &[]),
        }],
        assignment: assignment(has),
        ..Default::default()
    }
}

fn generation(members: Vec<ClassicMember>) -> ClassicGeneration {
    ClassicGeneration {
        generation: 5,
        protocol: "range".to_owned(),
        members,
    }
}

/// A world whose group was a classic one until now.
pub(super) fn upgraded(members: Vec<ClassicMember>) -> World {
    let mut world = World::new(&[("t", 3)]);
    let classic = generation(members);
    let (group, records) = world
        .with(|_, ctx, timers| ConsumerGroup::from_classic("g".into(), ctx, timers, &classic))
        .expect("readable");
    world.group = group;
    world.log = records;
    world
}

impl World {
    pub(super) fn join_classic(
        &mut self,
        member: &str,
        instance_id: Option<&str>,
        owned: &[(&str, &[i32])],
    ) -> (Vec<GroupRecord>, JoinGroupResponse) {
        let request = JoinGroupRequest {
            group_id: "g".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            member_id: member.to_owned(),
            group_instance_id: instance_id.map(str::to_owned),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".to_owned(),
                metadata: subscription(&["t"], owned),
            }],
            reason: None,
        };
        self.step(|group, ctx, timers| group.classic_join(ctx, timers, "client", "/127.0.0.1", 9, &request))
    }

    pub(super) fn sync_classic(&mut self, member: &str, generation_id: i32) -> SyncGroupResponse {
        let request = SyncGroupRequest {
            group_id: "g".to_owned(),
            generation_id,
            member_id: member.to_owned(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            ..Default::default()
        };
        self.with(|group, ctx, timers| group.classic_sync(ctx, timers, &request))
    }

    pub(super) fn beat_classic(&mut self, member: &str, generation_id: i32) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: "g".to_owned(),
            generation_id,
            member_id: member.to_owned(),
            group_instance_id: None,
        };
        self.with(|group, ctx, timers| group.classic_heartbeat(ctx, timers, &request))
    }

    pub(super) fn assigned_classic(&mut self, member: &str, generation_id: i32) -> Vec<TopicPartition> {
        let response = self.sync_classic(member, generation_id);
        assert_eq!(response.error_code, 0);
        consumer_protocol::assignment(&response.assignment)
            .expect("readable")
            .assigned_partitions
    }
}

#[test]
fn a_classic_group_keeps_its_partitions_when_it_becomes_a_consumer_group() {
    let mut world = upgraded(vec![
        classic_member("a", &[("t", &[0, 1])]),
        classic_member("b", &[("t", &[2])]),
    ]);
    let expected = [
        "-classic",
        "member",
        "member",
        "epoch",
        "target",
        "target",
        "target epoch",
        "current",
        "current",
    ];
    assert_eq!(kinds(&world.log), expected);
    let described = world.describe();
    assert_eq!(
        (described.group_epoch, described.group_state.as_str()),
        (5, "Stable")
    );
    assert!(
        described
            .members
            .iter()
            .all(|member| (member.member_type, member.member_epoch) == (0, 5))
    );
    world.log.remove(0);
    let replayed = world.replayed();
    assert_eq!(world.with(|_, ctx, _| replayed.describe(ctx)), described);
    assert!(world.is_set(Timer::Session, "a"));

    // The member of the new protocol that brought this about.
    let c = world.beat(&join("c", &["t"]));
    assert_eq!(
        (c.member_epoch, c.assignment.map(|has| has.topic_partitions.len())),
        (6, Some(0))
    );
    // `a` has one partition too many. It learns to join again, gives it back, and is told what it keeps.
    assert_eq!(world.beat_classic("a", 5), RebalanceInProgress);
    assert!(world.is_set(Timer::ClassicJoin, "a"));
    let (_, joined) = world.join_classic("a", None, &[("t", &[0, 1])]);
    assert_eq!(
        (
            joined.error_code,
            joined.generation_id,
            joined.protocol_name.as_deref()
        ),
        (0, 5, Some("range"))
    );
    assert!(!world.is_set(Timer::ClassicJoin, "a") && world.is_set(Timer::ClassicSync, "a"));
    assert_eq!(world.assigned_classic("a", 5), named(&[("t", &[0])]));
    assert!(!world.is_set(Timer::ClassicSync, "a"));
    assert_eq!(world.beat_classic("a", 5), RebalanceInProgress);
    let (_, joined) = world.join_classic("a", None, &[("t", &[0])]);
    assert_eq!(joined.generation_id, 6);
    assert_eq!(world.assigned_classic("a", 6), named(&[("t", &[0])]));
    assert_eq!(world.beat_classic("a", 6), ErrorCode::None);
    let c = world.beat(&at("c", 6));
    assert_eq!(
        c.assignment.map(|has| has.topic_partitions),
        Some(partitions(&[("t", &[1])]))
    );
}

#[test]
fn the_group_is_classic_again_when_the_last_member_of_the_new_protocol_leaves() {
    let mut world = upgraded(vec![classic_member("a", &[("t", &[0, 1, 2])])]);
    world.beat(&join("c", &["t"]));
    let (records, response) = world.send(&at("c", -1));
    assert_eq!(response.error_code, 0);
    let expected = [
        "-current",
        "-current",
        "-target",
        "-target",
        "-target epoch",
        "-member",
        "-member",
        "-topics",
        "-epoch",
        "classic",
    ];
    assert_eq!(kinds(&records), expected);
    let downgrade = world.group.take_downgrade().expect("a classic group");
    assert!(downgrade.rebalance && world.group.take_downgrade().is_none());
    let target = assignment(&[("t", &[0, 1])]);
    let mut member = classic_member("a", &[]);
    member.assignment = target;
    assert_eq!(
        downgrade.group,
        ClassicGeneration {
            generation: 6,
            ..generation(vec![member])
        }
    );
    assert_eq!(world.timers.next_ms(), None);
    assert!(!world.group.exists() && world.group.is_empty());
    let Some(GroupRecord::GroupMetadata(_, Some(value))) = records.last() else {
        panic!("{records:?}");
    };
    assert_eq!(
        (
            value.generation,
            value.leader.as_deref(),
            value.protocol.as_deref()
        ),
        (6, Some("a"), Some("range"))
    );
    assert_eq!(value.members[0].subscription, subscription(&["t"], &[]));
}

#[test]
fn the_last_member_of_the_new_protocol_may_also_be_fenced_or_replaced() {
    let mut world = upgraded(vec![classic_member("a", &[("t", &[0, 1, 2])])]);
    world.beat(&join("c", &["t"]));
    for _ in 0..9 {
        world.pass(5_000 - i64::from(world.now_ms > 1_030_000));
        world.join_classic("a", None, &[]);
        world.sync_classic("a", 6);
    }
    world.pass(1_000);
    assert!(world.group.take_downgrade().is_some());

    let mut world = upgraded(vec![classic_member("a", &[("t", &[0, 1, 2])])]);
    let mut request = join("c", &["t"]);
    request.instance_id = Some("i".to_owned());
    world.beat(&request);
    let (records, joined) = world.join_classic("", Some("i"), &[]);
    let downgrade = world.group.take_downgrade().expect("a classic group");
    assert_eq!(
        (joined.error_code, joined.generation_id, downgrade.rebalance),
        (0, 6, false)
    );
    assert_eq!(kinds(&records).last(), Some(&"classic"));
    let assigned: Vec<&Bytes> = downgrade
        .group
        .members
        .iter()
        .map(|member| &member.assignment)
        .collect();
    assert_eq!(
        assigned,
        [&assignment(&[("t", &[2])]), &assignment(&[("t", &[0, 1])])]
    );
}

#[test]
fn a_policy_can_forbid_either_way() {
    let mut settings = crate::groups::GroupSettings::default();
    for (policy, upgrade) in [
        (Migration::Bidirectional, true),
        (Migration::Upgrade, true),
        (Migration::Downgrade, false),
        (Migration::Disabled, false),
    ] {
        settings.consumer_migration = policy;
        assert_eq!(may_upgrade(&settings, "g", Some("consumer"), 1).is_ok(), upgrade);
        let mut world = upgraded(vec![classic_member("a", &[])]);
        world.settings.consumer_migration = policy;
        world.beat(&join("c", &["t"]));
        world.send(&at("c", -1));
        let downgrades = matches!(policy, Migration::Bidirectional | Migration::Downgrade);
        assert_eq!(world.group.take_downgrade().is_some(), downgrades, "{policy:?}");
        let (_, joined) = World::new(&[]).join_classic("", None, &[]);
        assert_eq!(ErrorCode::from_code(joined.error_code), MemberIdRequired);
    }
    settings.consumer_migration = Migration::Bidirectional;
    assert!(may_upgrade(&settings, "g", Some("connect"), 1).is_err());
    settings.consumer_max_size = 1;
    let refusal = may_upgrade(&settings, "g", Some("consumer"), 2).expect_err("too large");
    let message = "Cannot upgrade classic group g to consumer group because the group size exceeds the consumer group maximum size.";
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (GroupIdNotFound, message)
    );
    let mut world = World::new(&[("t", 1)]);
    world.settings.consumer_migration = Migration::Disabled;
    let (_, joined) = world.join_classic("a", None, &[]);
    assert_eq!(ErrorCode::from_code(joined.error_code), InconsistentGroupProtocol);
    // A consumer group does not say whom it refuses, as a classic one does.
    assert_eq!(joined.member_id, "");
}

#[test]
fn a_classic_group_that_cannot_be_read_is_not_upgraded() {
    let mut foreign = classic_member("a", &[]);
    let with_data = ConsumerProtocolAssignment {
        assigned_partitions: Vec::new(),
        user_data: Some(Bytes::from_static(b"mine")),
    };
    foreign.assignment = encode(&with_data, 1);
    let mut damaged = classic_member("a", &[]);
    damaged.assignment = Bytes::from_static(b"\0\0\x7f\xff\xff\xff");
    let mut silent = classic_member("a", &[]);
    silent.protocols.clear();
    for (member, reason) in [
        (foreign, "an unsupported custom assignor"),
        (damaged, "is malformed"),
        (silent, "is malformed"),
    ] {
        let mut world = World::new(&[("t", 1)]);
        let classic = generation(vec![member]);
        let refused = world.with(|_, ctx, timers| {
            ConsumerGroup::from_classic("g".into(), ctx, timers, &classic).map(|_| ())
        });
        let refusal = refused.expect_err(reason);
        assert_eq!(refusal.code, GroupIdNotFound);
        assert!(refusal.message.contains(reason), "{}", refusal.message);
    }
}
