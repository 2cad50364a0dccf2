//! Heartbeats that are refused, and change nothing.

use super::world::*;
use crate::groups::consumer::validate;
use crate::wire::code::ErrorCode::{
    FencedMemberEpoch, GroupIdNotFound, GroupMaxSizeReached, InvalidRequest, UnknownMemberId,
    UnknownServerError, UnsupportedAssignor,
};
use crate::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::wire::group_records::GroupRecord;

#[test]
fn requests_that_contradict_themselves_are_refused_in_kafkas_order() {
    type Change = fn(&mut ConsumerGroupHeartbeatRequest);
    let cases: [(i16, Change, &str); 13] = [
        (1, |r| r.member_id = " ".into(), "MemberId can't be empty."),
        (
            0,
            |r| (r.member_id, r.member_epoch) = (String::new(), 1),
            "MemberId can't be empty.",
        ),
        (
            0,
            |r| (r.member_id, r.member_epoch) = (String::new(), -1),
            "MemberId can't be empty.",
        ),
        (
            1,
            |r| (r.group_id, r.instance_id) = (String::new(), Some(String::new())),
            "GroupId can't be empty.",
        ),
        (
            1,
            |r| r.instance_id = Some(String::new()),
            "InstanceId can't be empty.",
        ),
        (1, |r| r.rack_id = Some(String::new()), "RackId can't be empty."),
        (
            1,
            |r| r.rebalance_timeout_ms = -1,
            "RebalanceTimeoutMs must be provided in first request.",
        ),
        (
            1,
            |r| r.topic_partitions = None,
            "TopicPartitions must be empty when (re-)joining.",
        ),
        (
            1,
            |r| r.topic_partitions = Some(partitions(&[("t", &[0])])),
            "TopicPartitions must be empty when (re-)joining.",
        ),
        (
            1,
            |r| r.subscribed_topic_names = None,
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ),
        (1, |r| r.member_epoch = -2, "InstanceId can't be null."),
        (1, |r| r.member_epoch = -3, "MemberEpoch is invalid."),
        (
            1,
            |r| (r.member_epoch, r.server_assignor) = (-3, Some("x".into())),
            "MemberEpoch is invalid.",
        ),
    ];
    let settings = Default::default();
    assert_eq!(validate(&settings, 1, &join("m", &["t"])), Ok(()));
    for (version, change, message) in cases {
        let mut request = join("m", &["t"]);
        change(&mut request);
        let refusal = validate(&settings, version, &request).expect_err(message);
        assert_eq!(
            (refusal.code, refusal.message.as_str()),
            (InvalidRequest, message)
        );
    }
    let mut request = join("", &["t"]);
    assert_eq!(validate(&settings, 0, &request), Ok(()));
    (request.member_id, request.server_assignor) = ("m".into(), Some("sticky".into()));
    let refusal = validate(&settings, 1, &request).expect_err("no such assignor");
    let message = "ServerAssignor sticky is not supported. Supported assignors: uniform, range.";
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (UnsupportedAssignor, message)
    );
}

#[test]
fn epochs_are_checked_and_a_member_that_missed_an_answer_goes_on() {
    let mut world = World::new(&[("t", 2)]);
    assert_eq!(
        world.fail(&at("a", 2)),
        (GroupIdNotFound, "Consumer group g not found.".to_owned())
    );
    world.beat(&join("a", &["t"]));
    world.pass(1_000);
    world.beat(&join("b", &["t"]));
    assert_eq!(
        world.fail(&at("a", 3)),
        (
            FencedMemberEpoch,
            "The consumer group member has a greater member epoch (3) than the one known by the group coordinator (2). \
             The member must abandon all its partitions and rejoin."
                .to_owned()
        )
    );
    world.beat(&having("a", 2, &[("t", &[0])]));
    // The answer with epoch 3 was lost.
    assert_eq!(world.beat(&having("a", 2, &[("t", &[0])])).member_epoch, 3);
    for request in [
        at("a", 2),
        having("a", 2, &[("t", &[0, 1])]),
        having("a", 2, &[("u", &[])]),
    ] {
        let (code, message) = world.fail(&request);
        assert_eq!(code, FencedMemberEpoch);
        assert!(message.contains("has a smaller member epoch (2)"), "{message}");
    }
    assert_eq!(
        world.fail(&at("c", 3)),
        (UnknownMemberId, "Member c is not a member of group g.".to_owned())
    );
    // Whoever is fenced joins again under its id, and has nothing until it is told.
    assert_eq!(world.beat(&join("a", &["t"])).member_epoch, 3);
}

#[test]
fn a_full_group_takes_nobody_in_but_its_members() {
    let mut world = World::new(&[("t", 2)]);
    world.settings.consumer_max_size = 1;
    world.beat(&join("a", &["t"]));
    let message = "The consumer group has reached its maximum capacity of 1 members.";
    assert_eq!(
        world.fail(&join("b", &["t"])),
        (GroupMaxSizeReached, message.to_owned())
    );
    world.beat(&join("a", &["t"]));
}

#[test]
fn a_member_in_a_state_of_a_later_version_starts_over() {
    let mut world = World::new(&[("t", 1)]);
    world.beat(&join("a", &["t"]));
    let Some(GroupRecord::ConsumerGroupCurrentMemberAssignment(key, Some(mut value))) =
        world.log.last().cloned()
    else {
        panic!("{:?}", world.log);
    };
    value.state = 9;
    let record = GroupRecord::ConsumerGroupCurrentMemberAssignment(key, Some(value));
    world.group.replay(&record);
    world.log.push(record);
    for request in [at("a", 1), having("a", 1, &[("t", &[0])])] {
        assert_eq!(world.fail(&request).0, FencedMemberEpoch);
    }
    let told = world.beat(&join("a", &["t"])).assignment;
    assert_eq!(
        told.map(|has| has.topic_partitions),
        Some(partitions(&[("t", &[0])]))
    );
}

#[test]
fn a_member_whose_record_would_not_fit_into_a_batch_is_refused() {
    let mut world = World::new(&[("t", 1)]);
    let mut request = join("a", &["t"]);
    request.subscribed_topic_names = Some((0..10_000).map(|number| format!("{number:0100}")).collect());
    assert_eq!(world.fail(&request).0, UnknownServerError);
    assert!(!world.group.exists());
    request.subscribed_topic_names = Some((0..5_000).map(|number| format!("{number:0100}")).collect());
    world.beat(&request);
}
