//! Requests of consumer groups by hand, right and wrong: what each is answered.
//!
//! Every answer expected here was seen on Apache Kafka 4.3.1 first: set `RINGLOG_TEST_BOOTSTRAP` to the address of a
//! Kafka broker to see it again.

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::code;
use ringlog_tests::group::{
    COMMIT_VERSION, JOIN_VERSION, SYNC_VERSION, alone, commit, commit_request, coordinator, group_id,
    heartbeat, join, join_request, protocol, subscription, sync, sync_request, text,
};
use ringlog_tests::raw::Connection;
use ringlog_tests::{Broker, PATIENCE, wait_for};

/// A broker that does not wait for a group's first members.
fn broker() -> Broker {
    Broker::own()
        .set("group.initial.rebalance.delay.ms", 0)
        .or_external()
}

#[test]
fn a_member_without_an_id_is_told_one_first() {
    let broker = broker();
    let group = unique("first");
    let mut connection = coordinator(&broker, &group);
    for version in 4..=JOIN_VERSION {
        let refused = connection.call(version, &join_request(&group, ""));
        assert_eq!(refused.error_code, code::MEMBER_ID_REQUIRED, "version {version}");
        assert!(refused.member_id.starts_with("raw-"), "{}", refused.member_id);
        assert_eq!(refused.generation_id, -1);
    }
    let joined = join(&mut connection, &join_request(&group, ""));
    assert_eq!((joined.error_code, joined.generation_id), (code::NONE, 1));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
}

#[test]
fn a_member_of_an_old_client_joins_at_once() {
    let broker = broker();
    for version in 0..=3 {
        let group = unique("old");
        let mut connection = coordinator(&broker, &group);
        let joined = connection.call(version, &join_request(&group, ""));
        assert_eq!(
            (joined.error_code, joined.generation_id),
            (code::NONE, 1),
            "version {version}"
        );
        assert!(joined.member_id.starts_with("raw-"), "{}", joined.member_id);
    }
}

#[test]
fn what_a_join_must_not_say() {
    let broker = broker();
    let group = unique("wrong");
    let mut connection = coordinator(&broker, &group);
    let good = join_request(&group, "");
    let cases = [
        (
            "a short session",
            good.clone().with_session_timeout_ms(5_999),
            code::INVALID_SESSION_TIMEOUT,
        ),
        (
            "a long session",
            good.clone().with_session_timeout_ms(1_800_001),
            code::INVALID_SESSION_TIMEOUT,
        ),
        (
            "no group",
            good.clone().with_group_id(group_id("")),
            code::INVALID_GROUP_ID,
        ),
        (
            "no protocols",
            good.clone().with_protocols(Vec::new()),
            code::INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            "no type",
            good.clone().with_protocol_type(text("")),
            code::INCONSISTENT_GROUP_PROTOCOL,
        ),
        (
            "an unknown member",
            good.clone().with_member_id(text("nobody")),
            code::UNKNOWN_MEMBER_ID,
        ),
    ];
    for (what, request, expected) in cases {
        assert_eq!(
            connection.call(JOIN_VERSION, &request).error_code,
            expected,
            "{what}"
        );
    }
}

#[test]
fn members_need_a_protocol_in_common() {
    let broker = broker();
    let group = unique("common");
    let mut connection = coordinator(&broker, &group);
    let (member, generation) = alone(&mut connection, &group, &[]);
    let other = |request: JoinGroupRequest| connection_of(&broker).call(JOIN_VERSION, &request).error_code;
    let good = join_request(&group, "");
    let only_sticky = good.clone().with_protocols(vec![protocol("sticky", b"")]);
    assert_eq!(other(only_sticky), code::INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(
        other(good.with_protocol_type(text("connect"))),
        code::INCONSISTENT_GROUP_PROTOCOL
    );
    assert_eq!(
        heartbeat(&mut connection, &group, generation, &member),
        code::NONE
    );
}

fn connection_of(broker: &Broker) -> Connection {
    Connection::open(broker.bootstrap())
}

#[test]
fn a_second_member_makes_the_first_join_again() {
    let broker = broker();
    let group = unique("two");
    let mut one = coordinator(&broker, &group);
    let (leader, generation) = alone(&mut one, &group, &[]);
    let mut two = connection_of(&broker);
    let refused = two.call(JOIN_VERSION, &join_request(&group, ""));
    let follower = refused.member_id.to_string();
    let joining = two.send(JOIN_VERSION, &join_request(&group, &follower));
    wait_for("the first member is told to join again", PATIENCE, || {
        let answer = heartbeat(&mut one, &group, generation, &leader);
        assert!(
            [code::NONE, code::REBALANCE_IN_PROGRESS].contains(&answer),
            "{answer}"
        );
        (answer == code::REBALANCE_IN_PROGRESS).then_some(())
    });
    let first = one.call(JOIN_VERSION, &join_request(&group, &leader));
    let second = two.receive::<JoinGroupRequest>(JOIN_VERSION, joining);
    assert_eq!(
        (first.generation_id, second.generation_id),
        (generation + 1, generation + 1)
    );
    assert_eq!(
        (first.leader.as_str(), second.leader.as_str()),
        (leader.as_str(), leader.as_str())
    );
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
    let generation = first.generation_id;
    // Nobody may commit until the leader has assigned.
    let topic = create(&broker, "two", 1, &[]);
    let early = commit(&mut one, COMMIT_VERSION, &group, generation, &leader, &topic, 1);
    assert_eq!(early, code::REBALANCE_IN_PROGRESS);
    let waiting = two.send(SYNC_VERSION, &sync_request(&group, generation, &follower, &[]));
    let assignments: [(&str, &[u8]); 2] = [(&leader, b"this"), (&follower, b"that")];
    let mine = sync(&mut one, &group, generation, &leader, &assignments);
    let theirs = two.receive::<SyncGroupRequest>(SYNC_VERSION, waiting);
    assert_eq!(
        (mine.error_code, &mine.assignment[..]),
        (code::NONE, &b"this"[..])
    );
    assert_eq!(
        (theirs.error_code, &theirs.assignment[..]),
        (code::NONE, &b"that"[..])
    );
    for member in [&leader, &follower] {
        assert_eq!(heartbeat(&mut one, &group, generation, member), code::NONE);
    }
    // A sync that comes again gets the same answer.
    assert_eq!(
        &sync(&mut two, &group, generation, &follower, &[]).assignment[..],
        b"that"
    );
}

#[test]
fn wrong_generations_and_unknown_members() {
    let broker = broker();
    let (group, topic) = (unique("wrong"), create(&broker, "wrong", 1, &[]));
    let mut connection = coordinator(&broker, &group);
    let (member, generation) = alone(&mut connection, &group, &[]);
    let cases = [
        (generation + 1, member.as_str(), code::ILLEGAL_GENERATION),
        (generation - 1, member.as_str(), code::ILLEGAL_GENERATION),
        (generation, "nobody", code::UNKNOWN_MEMBER_ID),
    ];
    for (generation, member, expected) in cases {
        let what = format!("generation {generation}, member {member}");
        assert_eq!(
            heartbeat(&mut connection, &group, generation, member),
            expected,
            "{what}"
        );
        assert_eq!(
            sync(&mut connection, &group, generation, member, &[]).error_code,
            expected,
            "{what}"
        );
        for version in 2..=COMMIT_VERSION {
            let answer = commit(&mut connection, version, &group, generation, member, &topic, 1);
            assert_eq!(answer, expected, "{what}, version {version}");
        }
    }
    // Who is no member may commit only while nobody else is.
    assert_eq!(
        commit(&mut connection, COMMIT_VERSION, &group, -1, "", &topic, 1),
        code::UNKNOWN_MEMBER_ID
    );
    assert_eq!(
        commit(
            &mut connection,
            COMMIT_VERSION,
            &group,
            generation,
            &member,
            &topic,
            1
        ),
        code::NONE
    );
    let none = unique("none");
    assert_eq!(
        heartbeat(&mut connection, &none, 1, &member),
        code::UNKNOWN_MEMBER_ID
    );
    assert_eq!(
        sync(&mut connection, &none, 1, &member, &[]).error_code,
        code::UNKNOWN_MEMBER_ID
    );
    assert_eq!(
        commit(&mut connection, 8, &none, 1, &member, &topic, 1),
        code::ILLEGAL_GENERATION
    );
    assert_eq!(
        commit(&mut connection, 9, &none, 1, &member, &topic, 1),
        code::GROUP_ID_NOT_FOUND
    );
}

#[test]
fn a_sync_must_name_the_groups_protocol() {
    let broker = broker();
    let group = unique("protocol");
    let mut connection = coordinator(&broker, &group);
    let joined = join(&mut connection, &join_request(&group, ""));
    let good = sync_request(&group, joined.generation_id, &joined.member_id, &[]);
    let other_name = good.clone().with_protocol_name(Some(text("sticky")));
    let other_type = good.clone().with_protocol_type(Some(text("connect")));
    for request in [other_name, other_type] {
        let answer = connection.call(SYNC_VERSION, &request).error_code;
        assert_eq!(answer, code::INCONSISTENT_GROUP_PROTOCOL);
    }
    assert_eq!(connection.call(SYNC_VERSION, &good).error_code, code::NONE);
}

#[test]
fn a_static_member_that_comes_again_fences_the_one_before() {
    let broker = broker();
    let (group, topic) = (unique("static"), create(&broker, "static", 1, &[]));
    let mut connection = coordinator(&broker, &group);
    let request = join_request(&group, "").with_group_instance_id(Some(text("one")));
    // A static member needs no second request for its id.
    let joined = connection.call(JOIN_VERSION, &request);
    assert_eq!((joined.error_code, joined.generation_id), (code::NONE, 1));
    let old = joined.member_id.to_string();
    assert!(old.starts_with("one-"), "{old}");
    let synced = sync(&mut connection, &group, 1, &old, &[(&old, b"mine")]);
    assert_eq!(synced.error_code, code::NONE);
    let again = connection.call(JOIN_VERSION, &request);
    let new = again.member_id.to_string();
    assert_eq!(
        (again.error_code, again.generation_id),
        (code::NONE, 1),
        "nobody else is disturbed"
    );
    assert_ne!(old, new);
    // It leads as before, but need not assign again (KIP-814).
    assert_eq!(
        (again.leader.as_str(), again.skip_assignment, again.members.len()),
        (new.as_str(), true, 1)
    );
    assert_eq!(
        &sync(&mut connection, &group, 1, &new, &[]).assignment[..],
        b"mine"
    );
    let instance = Some(text("one"));
    let beat = HeartbeatRequest::default()
        .with_group_id(group_id(&group))
        .with_generation_id(1)
        .with_member_id(text(&old))
        .with_group_instance_id(instance.clone());
    assert_eq!(connection.call(4, &beat).error_code, code::FENCED_INSTANCE_ID);
    let late = sync_request(&group, 1, &old, &[]).with_group_instance_id(instance.clone());
    assert_eq!(
        connection.call(SYNC_VERSION, &late).error_code,
        code::FENCED_INSTANCE_ID
    );
    let late = commit_request(&group, 1, &old, &topic, 1).with_group_instance_id(instance.clone());
    let answer = connection.call(COMMIT_VERSION, &late);
    assert_eq!(
        answer.topics[0].partitions[0].error_code,
        code::FENCED_INSTANCE_ID
    );
    let late = join_request(&group, &old).with_group_instance_id(instance);
    assert_eq!(
        connection.call(JOIN_VERSION, &late).error_code,
        code::FENCED_INSTANCE_ID
    );
    assert_eq!(heartbeat(&mut connection, &group, 1, &new), code::NONE);
    let unknown = beat.with_group_instance_id(Some(text("another")));
    assert_eq!(connection.call(4, &unknown).error_code, code::UNKNOWN_MEMBER_ID);
}

#[test]
fn members_leave_by_id_and_by_instance() {
    let broker = broker();
    let group = unique("leave");
    let mut connection = coordinator(&broker, &group);
    let request = join_request(&group, "").with_group_instance_id(Some(text("one")));
    let member = connection.call(JOIN_VERSION, &request).member_id.to_string();
    sync(&mut connection, &group, 1, &member, &[]);
    let identity = |member: &str, instance: Option<&str>| {
        MemberIdentity::default()
            .with_member_id(text(member))
            .with_group_instance_id(instance.map(text))
    };
    let members = vec![
        identity("nobody", None),
        identity("", Some("another")),
        identity("nobody", Some("one")),
        identity("", Some("one")),
    ];
    let leave = LeaveGroupRequest::default()
        .with_group_id(group_id(&group))
        .with_members(members);
    let answer = connection.call(5, &leave);
    let errors: Vec<i16> = answer.members.iter().map(|one| one.error_code).collect();
    assert_eq!(answer.error_code, code::NONE);
    let expected = [
        code::UNKNOWN_MEMBER_ID,
        code::UNKNOWN_MEMBER_ID,
        code::FENCED_INSTANCE_ID,
        code::NONE,
    ];
    assert_eq!(errors, expected);
    assert_eq!(
        heartbeat(&mut connection, &group, 1, &member),
        code::UNKNOWN_MEMBER_ID
    );
    let old = LeaveGroupRequest::default()
        .with_group_id(group_id(&group))
        .with_member_id(text("nobody"));
    assert_eq!(connection.call(2, &old).error_code, code::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_member_that_falls_silent_is_given_up() {
    let broker = broker();
    let group = unique("silent");
    let mut connection = coordinator(&broker, &group);
    let request = join_request(&group, "")
        .with_session_timeout_ms(6_000)
        .with_protocols(vec![protocol("range", &subscription(&["t"]))]);
    let silent = join(&mut connection, &request);
    sync(&mut connection, &group, 1, &silent.member_id, &[]);
    let mut other = connection_of(&broker);
    // The join waits for the silent member, until its session is over.
    let joined = join(&mut other, &request);
    assert_eq!((joined.error_code, joined.generation_id), (code::NONE, 2));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(
        heartbeat(&mut connection, &group, 1, &silent.member_id),
        code::UNKNOWN_MEMBER_ID
    );
}
