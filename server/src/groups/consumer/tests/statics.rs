//! Static members: they leave for a while, and come back to what they had.

use super::world::*;
use crate::groups::timers::Timer;
use crate::wire::code::ErrorCode::{FencedInstanceId, UnknownMemberId, UnreleasedInstanceId};
use crate::wire::consumer_group_heartbeat::{Assignment, ConsumerGroupHeartbeatRequest};
use crate::wire::group_records::GroupRecord;

fn named(request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".to_owned()),
        ..request
    }
}

#[test]
fn a_static_member_comes_back_under_another_id_to_what_it_had() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(&named(join("a", &["t"])));
    world.pass(1_000);
    world.beat(&join("b", &["t"]));
    world.beat(&named(having("a", 2, &[("t", &[0])])));
    let (records, response) = world.send(&named(at("a", -2)));
    assert_eq!(kinds(&records), ["current"]);
    assert_eq!(
        (response.member_id.as_deref(), response.member_epoch),
        (Some("a"), -2)
    );
    let GroupRecord::ConsumerGroupCurrentMemberAssignment(_, Some(left)) = &records[0] else {
        panic!("{records:?}");
    };
    assert_eq!((left.member_epoch, left.previous_member_epoch), (-2, 2));
    assert_eq!(left.assigned_partitions[0].assignment_epochs, Some(vec![0]));
    // Nobody gets its partition meanwhile.
    assert_eq!(
        world.beat(&at("b", 3)).assignment.map(|has| has.topic_partitions),
        Some(partitions(&[("t", &[1])]))
    );
    assert_eq!(world.group.state_name(), "Reconciling");
    let (records, response) = world.send(&named(join("a2", &["t"])));
    assert_eq!(
        kinds(&records),
        [
            "-current", "-target", "-member", "member", "target", "current", "current"
        ]
    );
    let has = Assignment {
        topic_partitions: partitions(&[("t", &[0])]),
    };
    assert_eq!((response.member_epoch, response.assignment), (3, Some(has)));
    assert!(!world.is_set(Timer::Session, "a") && world.is_set(Timer::Session, "a2"));
    assert_eq!(
        (world.group.state_name(), world.describe().members.len()),
        ("Stable", 2)
    );
    world.restart();
}

#[test]
fn a_static_member_that_does_not_come_back_in_time_is_fenced() {
    let mut world = World::new(&[("t", 1)]);
    world.beat(&named(join("a", &["t"])));
    world.pass(20_000);
    world.beat(&named(at("a", -2)));
    assert_eq!(world.pass(24_999), []);
    assert_eq!(kinds(&world.pass(1)), ["-current", "-target", "-member", "epoch"]);
    assert_eq!(world.beat(&named(join("b", &["t"]))).member_epoch, 4);
}

#[test]
fn an_instance_id_in_use_is_refused_to_others() {
    let mut world = World::new(&[("t", 1)]);
    world.beat(&named(join("a", &["t"])));
    let message = "Static member b with instance id i cannot join the group because the instance id is owned by a member.";
    assert_eq!(
        world.fail(&named(join("b", &["t"]))),
        (UnreleasedInstanceId, message.to_owned())
    );
    // Not even to the member itself, which has to leave first.
    assert_eq!(world.fail(&named(join("a", &["t"]))).0, UnreleasedInstanceId);
    let message = "Static member b with instance id i was fenced by member a.";
    for epoch in [1, -1, -2] {
        assert_eq!(
            world.fail(&named(at("b", epoch))),
            (FencedInstanceId, message.to_owned())
        );
    }
    let unknown = ConsumerGroupHeartbeatRequest {
        instance_id: Some("x".to_owned()),
        ..at("a", 1)
    };
    assert_eq!(
        world.fail(&unknown),
        (UnknownMemberId, "Instance id x is unknown.".to_owned())
    );
}

#[test]
fn a_static_member_can_leave_for_good() {
    let mut world = World::new(&[("t", 1)]);
    world.beat(&named(join("a", &["t"])));
    assert_eq!(
        kinds(&world.send(&named(at("a", -1))).0),
        ["-current", "-target", "-member", "epoch"]
    );
    assert!(world.group.is_empty());
}

#[test]
fn a_static_member_that_comes_back_with_other_wishes_starts_a_rebalance() {
    let mut world = World::new(&[("t", 1), ("u", 1)]);
    world.beat(&named(join("a", &["t"])));
    world.pass(1_000);
    world.beat(&named(at("a", -2)));
    let (records, response) = world.send(&named(join("a", &["u"])));
    let replaced = ["-current", "-target", "-member", "member", "target", "current"];
    assert_eq!(kinds(&records)[..6], replaced);
    assert_eq!(
        kinds(&records)[6..],
        ["member", "epoch", "target", "target epoch", "current"]
    );
    assert_eq!(
        response.assignment.map(|has| has.topic_partitions),
        Some(partitions(&[("u", &[0])]))
    );
}
