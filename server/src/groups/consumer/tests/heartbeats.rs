//! Heartbeats: what is refused, what is written, and who gets what when.

use super::super::member::MemberState;
use super::client::{Client, Owned};
use super::world::*;
use crate::groups::settings::Assignor;
use crate::groups::timers::Timer;
use crate::wire::code::ErrorCode::{self, GroupIdNotFound, InvalidRequest, UnknownMemberId};
use crate::wire::consumer_group_heartbeat::{Assignment, ConsumerGroupHeartbeatRequest};
use crate::wire::group_records::*;

fn has(of: &[(&str, &[i32])]) -> Option<Assignment> {
    Some(Assignment {
        topic_partitions: partitions(of),
    })
}

#[test]
fn the_first_member_gets_everything_and_kafkas_records_are_written() {
    let mut world = World::new(&[("t", 2)]);
    let (records, response) = world.send(&join("m", &["t"]));
    assert_eq!(
        kinds(&records),
        ["member", "epoch", "target", "target epoch", "current"]
    );
    assert_eq!(
        (response.member_id.as_deref(), response.member_epoch),
        (Some("m"), 2)
    );
    assert_eq!(
        (response.heartbeat_interval_ms, response.assignment),
        (5_000, has(&[("t", &[0, 1])]))
    );
    let GroupRecord::ConsumerGroupMemberMetadata(_, Some(member)) = &records[0] else {
        panic!("{records:?}");
    };
    assert_eq!(
        (
            member.subscribed_topic_regex.as_deref(),
            member.client_host.as_str()
        ),
        (Some(""), "/127.0.0.1")
    );
    let GroupRecord::ConsumerGroupTargetAssignmentMetadata(_, Some(target)) = &records[3] else {
        panic!("{records:?}");
    };
    assert_eq!(
        (target.assignment_epoch, target.assignment_timestamp),
        (2, world.now_ms)
    );
    let GroupRecord::ConsumerGroupCurrentMemberAssignment(_, Some(current)) = &records[4] else {
        panic!("{records:?}");
    };
    assert_eq!(
        (current.member_epoch, current.previous_member_epoch, current.state),
        (2, 0, 0)
    );
    assert_eq!(current.assigned_partitions[0].assignment_epochs, Some(vec![2, 2]));
    assert_eq!(world.group.state_name(), "Stable");
}

#[test]
fn a_member_without_an_id_is_given_one_by_version_0() {
    let mut world = World::new(&[("t", 1)]);
    let request = join("", &["t"]);
    let (_, response) = world.step(|group, ctx, timers| group.heartbeat(ctx, timers, "c", "/h", 0, &request));
    assert_eq!(response.member_id, Some(crate::wire::Uuid([1; 16]).to_string()));
    assert_eq!(world.fail(&request).0, InvalidRequest);
}

#[test]
fn the_states_of_members_have_kafkas_numbers() {
    let states = [
        MemberState::Stable,
        MemberState::UnrevokedPartitions,
        MemberState::UnreleasedPartitions,
    ];
    for (number, state) in (0..).zip(states) {
        assert_eq!(
            (state.number(), MemberState::from_number(number)),
            (number, state)
        );
    }
    assert_eq!(MemberState::from_number(3), MemberState::Unknown(3));
}

#[test]
fn a_heartbeat_that_says_nothing_new_writes_nothing_and_is_told_nothing() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(&join("m", &["t"]));
    let (records, response) = world.send(&having("m", 2, &[("t", &[0, 1])]));
    assert_eq!(
        (records, response.member_epoch, response.assignment),
        (vec![], 2, None)
    );
    // All over again, as after a lost answer: it is told all over again.
    let full = ConsumerGroupHeartbeatRequest {
        member_epoch: 2,
        topic_partitions: Some(partitions(&[("t", &[0, 1])])),
        ..join("m", &["t"])
    };
    let (records, response) = world.send(&full);
    assert_eq!((records, response.assignment), (vec![], has(&[("t", &[0, 1])])));
}

#[test]
fn partitions_are_given_back_before_somebody_else_gets_them() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(&join("a", &["t"]));
    world.pass(1_000);
    let b = world.beat(&join("b", &["t"]));
    assert_eq!((b.member_epoch, b.assignment), (3, has(&[])));
    assert_eq!(world.group.state_name(), "Reconciling");
    // `a` must give partition 1 back, and stays in its epoch until it has.
    let a = world.beat(&at("a", 2));
    assert_eq!((a.member_epoch, a.assignment), (2, has(&[("t", &[0])])));
    assert_eq!(world.beat(&at("b", 3)).assignment, None);
    assert_eq!(world.beat(&having("a", 2, &[("t", &[0, 1])])).member_epoch, 2);
    assert_eq!(world.beat(&having("a", 2, &[("t", &[0])])).member_epoch, 3);
    let b = world.beat(&at("b", 3));
    assert_eq!((b.member_epoch, b.assignment), (3, has(&[("t", &[1])])));
    assert_eq!(world.group.state_name(), "Stable");
}

#[test]
fn what_a_member_never_began_to_work_on_is_free_once_it_says_what_it_has() {
    let mut world = World::new(&[("t", 1)]);
    let [mut a, mut b] = ["a", "b"].map(|id| Client::new(id.to_owned(), vec!["t".to_owned()], None));
    a.beat(&mut world, false);
    a.reconcile(world.now_ms);
    a.beat(&mut world, false);
    // It is told of a second partition, and that it shall not have it, before it has looked at either.
    world.pass(1_000);
    world.add_partitions("t", 1..2);
    world.tell_of_topics();
    a.beat(&mut world, false);
    world.pass(1_000);
    b.beat(&mut world, false);
    a.beat(&mut world, false);
    // A heartbeat that does not say what `a` has sets nothing free: it may have taken the partition.
    assert_eq!(world.beat(&at("a", 3)).member_epoch, 3);
    a.reconcile(world.now_ms);
    a.beat(&mut world, false);
    b.beat(&mut world, false);
    b.reconcile(world.now_ms);
    assert_eq!((a.epoch, b.epoch), (4, 4));
    assert_eq!(a.owned, Owned::from([(id_of("t"), 0)]));
    assert_eq!(b.owned, Owned::from([(id_of("t"), 1)]));
}

#[test]
fn a_target_is_computed_once_in_an_assignment_interval() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(&join("a", &["t"]));
    let (records, b) = world.send(&join("b", &["t"]));
    assert_eq!(kinds(&records), ["member", "epoch", "current"]);
    assert_eq!((b.member_epoch, world.group.state_name()), (2, "Assigning"));
    world.pass(999);
    assert_eq!(world.send(&at("a", 2)).0, []);
    world.pass(1);
    let (records, _) = world.send(&at("a", 2));
    assert_eq!(kinds(&records), ["target", "target", "target epoch", "current"]);
    // A clock that was set back stops nobody.
    world.now_ms -= 3_600_000;
    let (records, _) = world.send(&join("d", &["t"]));
    assert!(kinds(&records).contains(&"target epoch"));
    world.set_of_group("consumer.assignment.interval.ms", "0");
    let (records, _) = world.send(&join("c", &["t"]));
    assert_eq!(
        kinds(&records),
        ["member", "epoch", "target", "target epoch", "current"]
    );
}

#[test]
fn a_member_that_keeps_what_it_must_give_back_is_fenced() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(&join("a", &["t"]));
    world.pass(1_000);
    world.beat(&join("b", &["t"]));
    world.beat(&at("a", 2));
    assert!(world.is_set(Timer::Rebalance, "a"));
    for _ in 0..2 {
        world.pass(29_000);
        world.beat(&at("a", 2));
        world.beat(&at("b", 3));
    }
    let records = world.pass(2_000);
    assert_eq!(kinds(&records), ["-current", "-target", "-member", "epoch"]);
    assert_eq!(world.fail(&at("a", 2)).0, UnknownMemberId);
    let b = world.beat(&at("b", 3));
    assert_eq!((b.member_epoch, b.assignment), (4, has(&[("t", &[0, 1])])));
}

#[test]
fn a_member_that_is_not_heard_of_is_fenced() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(&join("a", &["t"]));
    world.pass(44_999);
    world.beat(&at("a", 2));
    assert_eq!(world.pass(44_999), []);
    assert_eq!(kinds(&world.pass(1)), ["-current", "-target", "-member", "epoch"]);
    assert_eq!(
        (world.group.state_name(), world.group.is_empty()),
        ("Empty", true)
    );
    assert!(world.group.exists() && !world.group.is_subscribed("t"));
    world.set_of_group("consumer.session.timeout.ms", "60000");
    world.set_of_group("consumer.heartbeat.interval.ms", "7000");
    assert_eq!(world.beat(&join("a", &["t"])).heartbeat_interval_ms, 7_000);
    assert_eq!(world.pass(59_999), []);
    assert_eq!(world.pass(1).len(), 4);
}

#[test]
fn a_member_that_leaves_is_gone_at_once() {
    let mut world = World::new(&[("t", 2)]);
    assert_eq!(
        world.fail(&at("a", -1)),
        (GroupIdNotFound, "Group g not found.".to_owned())
    );
    world.beat(&join("a", &["t"]));
    let (records, response) = world.send(&at("a", -1));
    assert_eq!(kinds(&records), ["-current", "-target", "-member", "epoch"]);
    assert_eq!(
        (response.member_id.as_deref(), response.member_epoch),
        (Some("a"), -1)
    );
    assert_eq!(world.timers.next_ms(), None);
    assert_eq!(world.fail(&at("a", -1)).0, UnknownMemberId);
    // The epoch of an empty group goes on.
    world.pass(1_000);
    assert_eq!(world.beat(&join("b", &["t"])).member_epoch, 4);
}

#[test]
fn new_partitions_are_given_out_with_the_next_heartbeat() {
    let mut world = World::new(&[("t", 1), ("other", 1)]);
    world.beat(&join("a", &["t", "later"]));
    world.pass(1_000);
    world.add_partitions("t", 1..2);
    assert_eq!(world.send(&at("a", 2)).0, []);
    world.tell_of_topics();
    let (records, response) = world.send(&at("a", 2));
    assert_eq!(kinds(&records), ["epoch", "target", "target epoch", "current"]);
    assert_eq!(
        (response.member_epoch, response.assignment),
        (3, has(&[("t", &[0, 1])]))
    );
    // A topic that did not exist when it was asked for.
    world.pass(1_000);
    world.add_topic("later");
    world.add_partitions("later", 0..1);
    world.tell_of_topics();
    let mut expected = partitions(&[("t", &[0, 1]), ("later", &[0])]);
    expected.sort_by_key(|topic| topic.topic_id);
    let told = world
        .beat(&at("a", 3))
        .assignment
        .map(|assignment| assignment.topic_partitions);
    assert_eq!(told, Some(expected));
    // A topic nobody wants changes nothing.
    world.add_partitions("other", 1..2);
    world.tell_of_topics();
    assert_eq!(world.send(&at("a", 4)).0, []);
}

#[test]
fn topics_no_longer_wanted_are_given_back_at_once() {
    let mut world = World::new(&[("t", 1), ("u", 1)]);
    world.beat(&join("a", &["t", "u"]));
    // Within the assignment interval, so the target still has both.
    let request = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec!["u".to_owned()]),
        ..at("a", 2)
    };
    let (records, response) = world.send(&request);
    assert_eq!(kinds(&records), ["member", "epoch", "current"]);
    assert_eq!(
        (response.member_epoch, response.assignment),
        (2, has(&[("u", &[0])]))
    );
    assert!(!world.group.is_subscribed("t") && world.group.is_subscribed("u"));
    world.pass(1_000);
    assert_eq!(world.beat(&having("a", 2, &[("u", &[0])])).member_epoch, 3);
}

#[test]
fn the_assignor_most_members_ask_for_assigns() {
    let mut world = World::new(&[("t", 2), ("u", 2)]);
    let with = |member: &str, assignor: Option<Assignor>| ConsumerGroupHeartbeatRequest {
        server_assignor: assignor.map(|assignor| assignor.name().to_owned()),
        ..join(member, &["t", "u"])
    };
    world.beat(&with("a", None));
    assert_eq!(world.describe().assignor_name, "uniform");
    world.beat(&with("b", Some(Assignor::Range)));
    assert_eq!(world.describe().assignor_name, "range");
    world.pass(1_000);
    world.beat(&at("a", 2));
    let described = world.describe();
    for (member, partition) in described.members.iter().zip([0, 1]) {
        let target: Vec<&[i32]> = member
            .target_assignment
            .topic_partitions
            .iter()
            .map(|topic| topic.partitions.as_slice())
            .collect();
        assert_eq!(target, [[partition], [partition]]);
    }
}

#[test]
fn the_record_of_topics_of_an_older_kafka_is_taken_back() {
    let mut world = World::new(&[("t", 1)]);
    world.beat(&join("a", &["t"]));
    let record = GroupRecord::ConsumerGroupPartitionMetadata(
        ConsumerGroupPartitionMetadataKey {
            group_id: "g".to_owned(),
        },
        Some(Default::default()),
    );
    world.group.replay(&record);
    world.tell_of_topics();
    assert_eq!(kinds(&world.send(&at("a", 2)).0), ["-topics"]);
    assert_eq!(world.send(&at("a", 2)).0, []);
}

#[test]
fn a_group_that_is_deleted_leaves_nothing() {
    let mut world = World::new(&[("t", 1)]);
    world.beat(&join("a", &["t"]));
    world.beat(&at("a", -1));
    let tombstones = world.group.tombstones();
    assert_eq!(kinds(&tombstones), ["-target epoch", "-topics", "-epoch"]);
    tombstones.iter().for_each(|record| world.group.replay(record));
    assert_eq!((world.group.exists(), world.group.state_name()), (false, "Dead"));
    let code = ErrorCode::from_code(world.send(&at("a", 2)).1.error_code);
    assert_eq!(code, GroupIdNotFound);
}

#[test]
fn a_record_that_compaction_left_alone_is_no_obstacle() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(&join("a", &["t"]));
    world.pass(1_000);
    world.beat(&join("b", &["t"]));
    let whole = world.log.clone();
    for left in 0..whole.len() {
        world.log = whole[left..].to_vec();
        world.group = world.replayed();
        world.timers = Default::default();
        world.with(|group, ctx, timers| group.loaded(ctx, timers));
        world.send(&join("c", &["t"]));
        world.send(&at("a", -1));
    }
}
