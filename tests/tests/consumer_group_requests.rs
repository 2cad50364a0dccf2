//! The consumer group protocol of KIP-848 by hand, right and wrong: what each heartbeat is answered.
//!
//! Every answer expected here was seen on Apache Kafka 4.3.1 first: set `RINGLOG_TEST_BOOTSTRAP` to the address of a
//! Kafka broker to see it again.

use std::collections::BTreeSet;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    OffsetFetchRequest,
};
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::group::{
    COMMIT_VERSION, JOIN_VERSION, alone, commit, coordinator, group_id, join_request, text,
};
use ringlog_tests::raw::{Connection, name, topic_id};
use ringlog_tests::{Broker, PATIENCE, code, wait_for};
use uuid::Uuid;

const VERSION: i16 = 1;

/// A heartbeat with which a member joins.
fn joining(group: &str, member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member))
        .with_member_epoch(0)
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(topics.iter().map(|topic| name(topic)).collect()))
        .with_topic_partitions(Some(Vec::new()))
}

/// A heartbeat that says what a member owns and nothing else.
fn beat(
    group: &str,
    member: &str,
    epoch: i32,
    owned: Option<(Uuid, &[i32])>,
) -> ConsumerGroupHeartbeatRequest {
    let owned = owned.map(|(topic, partitions)| {
        vec![
            TopicPartitions::default()
                .with_topic_id(topic)
                .with_partitions(partitions.to_vec()),
        ]
    });
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(owned)
}

/// The partitions of an answer, if it names any.
fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let assignment = answer.assignment.as_ref()?;
    let mut partitions: Vec<i32> = assignment
        .topic_partitions
        .iter()
        .flat_map(|topic| topic.partitions.iter().copied())
        .collect();
    partitions.sort_unstable();
    Some(partitions)
}

/// Joins the only member of a group and gives its epoch.
fn only(connection: &mut Connection, group: &str, member: &str, topic: &str) -> i32 {
    let answer = connection.call(VERSION, &joining(group, member, &[topic]));
    assert_eq!(answer.error_code, code::NONE, "{:?}", answer.error_message);
    assert_eq!(answer.member_id.as_deref(), Some(member));
    assert!(answer.heartbeat_interval_ms > 0);
    answer.member_epoch
}

#[test]
fn a_member_joins_with_its_own_id_and_gets_everything() {
    let broker = Broker::any();
    let (group, topic) = (unique("join"), create(&broker, "join", 3, &[]));
    let mut connection = coordinator(&broker, &group);
    let answer = connection.call(VERSION, &joining(&group, "m", &[&topic]));
    assert_eq!(answer.error_code, code::NONE);
    assert!(answer.member_epoch > 0, "{}", answer.member_epoch);
    assert_eq!(assigned(&answer), Some(vec![0, 1, 2]));
    // What has not changed is not said again.
    let id = topic_id(&mut connection, &topic);
    let next = connection.call(
        VERSION,
        &beat(&group, "m", answer.member_epoch, Some((id, &[0, 1, 2]))),
    );
    assert_eq!((next.error_code, assigned(&next)), (code::NONE, None));
    assert_eq!(next.member_epoch, answer.member_epoch);
}

#[test]
fn in_the_first_version_the_broker_names_the_member() {
    let broker = Broker::any();
    let (group, topic) = (unique("old"), create(&broker, "old", 1, &[]));
    let mut connection = coordinator(&broker, &group);
    let answer = connection.call(0, &joining(&group, "", &[&topic]));
    assert_eq!(answer.error_code, code::NONE);
    assert!(answer.member_id.is_some_and(|id| !id.is_empty()));
}

#[test]
fn what_a_heartbeat_must_not_say() {
    let broker = Broker::any();
    let (group, topic) = (unique("wrong"), create(&broker, "wrong", 1, &[]));
    let mut connection = coordinator(&broker, &group);
    let epoch = only(&mut connection, &group, "m", &topic);
    let id = topic_id(&mut connection, &topic);
    let good = joining(&group, "n", &[&topic]);
    let owned = TopicPartitions::default()
        .with_topic_id(id)
        .with_partitions(vec![0]);
    let cases = [
        (
            "no group",
            good.clone().with_group_id(group_id("")),
            code::INVALID_REQUEST,
        ),
        (
            "no member",
            good.clone().with_member_id(text("")),
            code::INVALID_REQUEST,
        ),
        (
            "no time to rebalance",
            good.clone().with_rebalance_timeout_ms(-1),
            code::INVALID_REQUEST,
        ),
        (
            "no subscription",
            good.clone().with_subscribed_topic_names(None),
            code::INVALID_REQUEST,
        ),
        (
            "nothing owned, unsaid",
            good.clone().with_topic_partitions(None),
            code::INVALID_REQUEST,
        ),
        (
            "owned before joining",
            good.clone().with_topic_partitions(Some(vec![owned])),
            code::INVALID_REQUEST,
        ),
        (
            "an empty instance",
            good.clone().with_instance_id(Some(text(""))),
            code::INVALID_REQUEST,
        ),
        (
            "an unknown assignor",
            good.clone().with_server_assignor(Some(text("sticky"))),
            code::UNSUPPORTED_ASSIGNOR,
        ),
        (
            "a broken expression",
            good.clone().with_subscribed_topic_regex(Some(text("["))),
            code::INVALID_REGULAR_EXPRESSION,
        ),
        (
            "an epoch below -2",
            beat(&group, "m", -3, None),
            code::INVALID_REQUEST,
        ),
        (
            "a later epoch",
            beat(&group, "m", epoch + 1, None),
            code::FENCED_MEMBER_EPOCH,
        ),
        (
            "an unknown member",
            beat(&group, "nobody", 1, None),
            code::UNKNOWN_MEMBER_ID,
        ),
        (
            "an unknown member that leaves",
            beat(&group, "nobody", -1, None),
            code::UNKNOWN_MEMBER_ID,
        ),
        (
            "an unknown group",
            beat(&unique("none"), "m", 1, None),
            code::GROUP_ID_NOT_FOUND,
        ),
    ];
    for (what, request, expected) in cases {
        let answer = connection.call(VERSION, &request);
        assert_eq!(answer.error_code, expected, "{what}: {:?}", answer.error_message);
    }
    assert_eq!(
        connection
            .call(VERSION, &beat(&group, "m", epoch, None))
            .error_code,
        code::NONE
    );
}

#[test]
fn a_partition_is_given_to_a_member_once_another_has_given_it_up() {
    let broker = Broker::any();
    let (group, topic) = (unique("move"), create(&broker, "move", 2, &[]));
    let mut connection = coordinator(&broker, &group);
    let id = topic_id(&mut connection, &topic);
    let first = connection.call(VERSION, &joining(&group, "a", &[&topic]));
    assert_eq!(assigned(&first), Some(vec![0, 1]));
    connection.call(
        VERSION,
        &beat(&group, "a", first.member_epoch, Some((id, &[0, 1]))),
    );
    let second = connection.call(VERSION, &joining(&group, "b", &[&topic]));
    assert_eq!(assigned(&second), Some(Vec::new()));
    // The assignor may run a moment later. Then the first member is told what it keeps, and stays at its old epoch until it says that
    // it owns no more than that.
    let mut epoch = second.member_epoch;
    let (kept, told) = wait_for("the first member must give something up", PATIENCE, || {
        let waits = connection.call(VERSION, &beat(&group, "b", epoch, Some((id, &[]))));
        assert_eq!(
            (waits.error_code, assigned(&waits).unwrap_or_default()),
            (code::NONE, Vec::new())
        );
        epoch = waits.member_epoch;
        let told = connection.call(VERSION, &beat(&group, "a", first.member_epoch, None));
        assert_eq!(told.error_code, code::NONE);
        assigned(&told).map(|kept| (kept, told.member_epoch))
    });
    assert_eq!((kept.len(), told), (1, first.member_epoch));
    let waits = connection.call(VERSION, &beat(&group, "b", epoch, None));
    assert_eq!(assigned(&waits).unwrap_or_default(), Vec::<i32>::new());
    let gone = connection.call(VERSION, &beat(&group, "a", told, Some((id, &kept))));
    assert!(gone.member_epoch > told, "{}", gone.member_epoch);
    let given = connection.call(VERSION, &beat(&group, "b", waits.member_epoch, None));
    assert_eq!(given.member_epoch, gone.member_epoch);
    let given = assigned(&given).expect("it is free");
    let all: BTreeSet<i32> = kept.into_iter().chain(given).collect();
    assert_eq!(all, BTreeSet::from([0, 1]));
}

#[test]
fn a_static_member_is_not_replaced_before_it_left() {
    let broker = Broker::any();
    let (group, topic) = (unique("static"), create(&broker, "static", 2, &[]));
    let mut connection = coordinator(&broker, &group);
    let instance = |request: ConsumerGroupHeartbeatRequest| request.with_instance_id(Some(text("one")));
    let first = connection.call(VERSION, &instance(joining(&group, "a", &[&topic])));
    assert_eq!(first.error_code, code::NONE);
    let early = connection.call(VERSION, &instance(joining(&group, "b", &[&topic])));
    assert_eq!(early.error_code, code::UNRELEASED_INSTANCE_ID);
    let left = connection.call(VERSION, &instance(beat(&group, "a", -2, None)));
    assert_eq!((left.error_code, left.member_epoch), (code::NONE, -2));
    let second = connection.call(VERSION, &instance(joining(&group, "b", &[&topic])));
    assert_eq!(
        (second.error_code, second.member_epoch),
        (code::NONE, first.member_epoch)
    );
    assert_eq!(assigned(&second), Some(vec![0, 1]));
    let late = connection.call(VERSION, &instance(beat(&group, "a", first.member_epoch, None)));
    assert_eq!(late.error_code, code::FENCED_INSTANCE_ID);
}

#[test]
fn offsets_are_committed_and_fetched_at_the_members_epoch() {
    let broker = Broker::any();
    let (group, topic) = (unique("commit"), create(&broker, "commit", 1, &[]));
    let mut connection = coordinator(&broker, &group);
    let epoch = only(&mut connection, &group, "m", &topic);
    assert_eq!(
        commit(&mut connection, COMMIT_VERSION, &group, epoch, "m", &topic, 5),
        code::NONE
    );
    let later = commit(&mut connection, COMMIT_VERSION, &group, epoch + 1, "m", &topic, 6);
    assert_eq!(later, code::STALE_MEMBER_EPOCH);
    let unknown = commit(
        &mut connection,
        COMMIT_VERSION,
        &group,
        epoch,
        "nobody",
        &topic,
        6,
    );
    assert_eq!(unknown, code::UNKNOWN_MEMBER_ID);
    let outsider = commit(&mut connection, COMMIT_VERSION, &group, -1, "", &topic, 6);
    assert_eq!(outsider, code::UNKNOWN_MEMBER_ID);
    // Clients that know only the classic protocol's errors cannot be told that their epoch is old.
    let old = commit(&mut connection, 8, &group, epoch, "m", &topic, 6);
    assert_eq!(old, code::UNSUPPORTED_VERSION);
    let mut fetched = |member: &str, epoch: i32| {
        let wanted = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(&group))
            .with_member_id(Some(text(member)))
            .with_member_epoch(epoch)
            .with_topics(None);
        let answer = connection.call(9, &OffsetFetchRequest::default().with_groups(vec![wanted]));
        answer.groups[0].error_code
    };
    assert_eq!(fetched("m", epoch), code::NONE);
    assert_eq!(fetched("m", epoch + 1), code::STALE_MEMBER_EPOCH);
    assert_eq!(fetched("nobody", epoch), code::UNKNOWN_MEMBER_ID);
}

#[test]
fn topics_are_subscribed_to_by_an_expression() {
    let broker = Broker::any();
    let (group, stem) = (unique("regex"), unique("regex"));
    let topic = create(&broker, &stem, 2, &[]);
    let mut connection = coordinator(&broker, &group);
    let request = joining(&group, "m", &[])
        .with_subscribed_topic_names(None)
        .with_subscribed_topic_regex(Some(text(&format!("{stem}.*"))));
    let mut answer = connection.call(VERSION, &request);
    assert_eq!(answer.error_code, code::NONE, "{:?}", answer.error_message);
    // An expression is looked up beside the heartbeats, so a later one may bring what it matches.
    wait_for("the topic that matches is assigned", PATIENCE, || {
        if let Some(partitions) = assigned(&answer).filter(|partitions| !partitions.is_empty()) {
            assert_eq!(partitions, [0, 1], "{topic}");
            return Some(());
        }
        answer = connection.call(VERSION, &beat(&group, "m", answer.member_epoch, None));
        assert_eq!(answer.error_code, code::NONE);
        None
    });
}

#[test]
fn a_group_is_described() {
    let broker = Broker::any();
    let (group, topic) = (unique("describe"), create(&broker, "describe", 2, &[]));
    let mut connection = coordinator(&broker, &group);
    let epoch = only(&mut connection, &group, "m", &topic);
    let none = unique("none");
    for version in 0..=1 {
        let request =
            ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(&group), group_id(&none)]);
        let answer = connection.call(version, &request);
        let one = |group: &str| {
            let found = answer.groups.iter().find(|one| one.group_id.as_str() == group);
            found.expect("each group is answered for")
        };
        let (known, unknown) = (one(&group), one(&none));
        assert_eq!(known.error_code, code::NONE, "{:?}", known.error_message);
        assert_eq!((known.group_epoch, known.assignment_epoch), (epoch, epoch));
        assert_eq!(known.assignor_name.as_str(), "uniform");
        let member = &known.members[0];
        assert_eq!((member.member_id.as_str(), member.member_epoch), ("m", epoch));
        assert_eq!(
            (member.client_id.as_str(), member.client_host.as_str()),
            ("raw", "/127.0.0.1")
        );
        assert_eq!(member.subscribed_topic_names, [name(&topic)]);
        assert_eq!(member.target_assignment.topic_partitions[0].partitions, [0, 1]);
        assert_eq!(unknown.error_code, code::GROUP_ID_NOT_FOUND);
    }
}

#[test]
fn members_of_both_protocols_and_one_group() {
    let broker = Broker::any();
    let (group, topic) = (unique("both"), create(&broker, "both", 1, &[]));
    let mut connection = coordinator(&broker, &group);
    only(&mut connection, &group, "m", &topic);
    // A classic member whose metadata is a consumer's may join a group of the new protocol.
    let mut other = Connection::open(broker.bootstrap());
    let refused = other.call(JOIN_VERSION, &join_request(&group, ""));
    assert_eq!(refused.error_code, code::MEMBER_ID_REQUIRED);
    // One whose metadata is not cannot.
    let connect = join_request(&group, "").with_protocol_type(text("connect"));
    assert_eq!(
        other.call(JOIN_VERSION, &connect).error_code,
        code::INCONSISTENT_GROUP_PROTOCOL
    );
    // The assignment "all" of this classic group is none of a consumer, so its group cannot become one of the new protocol.
    let classic = unique("classic");
    alone(&mut connection, &classic, &[&topic]);
    let answer = connection.call(VERSION, &joining(&classic, "m", &[&topic]));
    assert_eq!(
        answer.error_code,
        code::GROUP_ID_NOT_FOUND,
        "{:?}",
        answer.error_message
    );
}
