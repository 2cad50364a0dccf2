//! What an admin client asks of groups, by hand: finding, listing, describing and deleting them.
//!
//! Every answer expected here was seen on Apache Kafka 4.3.1 first: set `RINGLOG_TEST_BOOTSTRAP` to the address of a
//! Kafka broker to see it again.

use std::collections::BTreeMap;

use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, ListGroupsRequest,
};
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::group::{
    COMMIT_VERSION, alone, commit, committed, coordinator, group_id, subscription, text,
};
use ringlog_tests::raw::Connection;
use ringlog_tests::{Broker, assert_settled, code};

/// A broker that does not wait for a group's first members.
fn broker() -> Broker {
    Broker::own()
        .set("group.initial.rebalance.delay.ms", 0)
        .or_external()
}

#[test]
fn groups_are_deleted_only_when_nobody_is_in_them() {
    let broker = broker();
    let topic = create(&broker, "full", 1, &[]);
    let (full, empty, none) = (unique("full"), unique("empty"), unique("none"));
    let mut connection = coordinator(&broker, &full);
    alone(&mut connection, &full, &[]);
    coordinator(&broker, &empty);
    assert_eq!(
        commit(&mut connection, COMMIT_VERSION, &empty, -1, "", &topic, 5),
        code::NONE
    );
    let names = [&full, &empty, &none].map(|group| group_id(group));
    let request = DeleteGroupsRequest::default().with_groups_names(names.to_vec());
    let answer = connection.call(2, &request);
    let errors: BTreeMap<String, i16> = answer
        .results
        .iter()
        .map(|one| (one.group_id.to_string(), one.error_code))
        .collect();
    let expected = [
        (full, code::NON_EMPTY_GROUP),
        (empty.clone(), code::NONE),
        (none, code::GROUP_ID_NOT_FOUND),
    ];
    assert_eq!(errors, BTreeMap::from(expected));
    assert_eq!(
        committed(&mut connection, &empty, &topic, &[0]),
        Ok(BTreeMap::from([(0, -1)]))
    );
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let broker = broker();
    let topic = create(&broker, "list", 1, &[]);
    let (stable, empty) = (unique("stable"), unique("empty"));
    let mut connection = coordinator(&broker, &stable);
    alone(&mut connection, &stable, &[]);
    coordinator(&broker, &empty);
    assert_eq!(
        commit(&mut connection, COMMIT_VERSION, &empty, -1, "", &topic, 5),
        code::NONE
    );
    let mut listed = |version: i16, states: &[&str], types: &[&str]| {
        let request = ListGroupsRequest::default()
            .with_states_filter(states.iter().map(|state| text(state)).collect())
            .with_types_filter(types.iter().map(|kind| text(kind)).collect());
        let answer = connection.call(version, &request);
        assert_eq!(answer.error_code, code::NONE);
        let mut found = Vec::new();
        for one in answer.groups {
            let id = one.group_id.to_string();
            if [&stable, &empty].contains(&&id) {
                found.push((
                    id == stable,
                    one.protocol_type.to_string(),
                    one.group_state.to_string(),
                    one.group_type.to_string(),
                ));
            }
        }
        found.sort();
        found
    };
    let entry = |is_stable, protocol: &str, state: &str, kind: &str| {
        (is_stable, protocol.to_owned(), state.to_owned(), kind.to_owned())
    };
    let (one, other) = (
        entry(false, "", "Empty", "classic"),
        entry(true, "consumer", "Stable", "classic"),
    );
    assert_eq!(listed(5, &[], &[]), [one.clone(), other.clone()]);
    assert_eq!(listed(5, &["Stable"], &[]), std::slice::from_ref(&other));
    assert_eq!(listed(5, &["stable"], &["Classic"]), [other]);
    assert_eq!(listed(5, &["Empty", "Dead"], &["classic", "consumer"]), [one]);
    assert_eq!(listed(5, &["Stable"], &["consumer"]), []);
    assert_eq!(listed(5, &["no such state"], &[]), []);
    assert_eq!(listed(4, &["Empty"], &[]), [entry(false, "", "Empty", "")]);
    assert_eq!(
        listed(0, &[], &[]),
        [entry(false, "", "", ""), entry(true, "consumer", "", "")]
    );
}

#[test]
fn groups_are_described_also_when_they_do_not_exist() {
    let broker = broker();
    let (stable, none) = (unique("stable"), unique("none"));
    let mut connection = coordinator(&broker, &stable);
    let (member, _) = alone(&mut connection, &stable, &["t"]);
    for version in 0..=6 {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&stable), group_id(&none)]);
        let answer = connection.call(version, &request);
        let one = |group: &str| {
            let found = answer.groups.iter().find(|one| one.group_id.as_str() == group);
            found.expect("each group is answered for")
        };
        let (known, unknown) = (one(&stable), one(&none));
        assert_eq!(
            (known.error_code, known.group_state.as_str()),
            (code::NONE, "Stable"),
            "version {version}"
        );
        assert_eq!(
            (known.protocol_type.as_str(), known.protocol_data.as_str()),
            ("consumer", "range")
        );
        let one = &known.members[0];
        assert_eq!(
            (one.member_id.as_str(), one.client_id.as_str()),
            (member.as_str(), "raw")
        );
        assert!(one.client_host.contains("127.0.0.1"), "{}", one.client_host);
        assert_eq!(one.member_metadata[..], subscription(&["t"])[..]);
        assert_eq!(&one.member_assignment[..], b"all");
        let error = if version < 6 {
            code::NONE
        } else {
            code::GROUP_ID_NOT_FOUND
        };
        assert_eq!(
            (unknown.error_code, unknown.group_state.as_str()),
            (error, "Dead"),
            "version {version}"
        );
    }
}

#[test]
fn the_coordinator_is_this_broker() {
    let broker = broker();
    let group = unique("find");
    coordinator(&broker, &group);
    let mut connection = Connection::open(broker.bootstrap());
    let port: i32 = broker
        .bootstrap()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    for version in 0..=3 {
        let answer = connection.call(version, &FindCoordinatorRequest::default().with_key(text(&group)));
        assert_eq!(
            (answer.error_code, answer.port),
            (code::NONE, port),
            "version {version}"
        );
    }
    let keys = vec![text(&group), text("another group")];
    for version in 4..=6 {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(keys.clone());
        let answer = connection.call(version, &request);
        assert_eq!(answer.coordinators.len(), 2, "version {version}");
        for (one, key) in answer.coordinators.iter().zip(&keys) {
            assert_eq!(
                (&one.key, one.error_code, one.port),
                (key, code::NONE, port),
                "version {version}"
            );
        }
    }
    assert_settled("an unknown kind of coordinator", code::INVALID_REQUEST, || {
        let request = FindCoordinatorRequest::default()
            .with_key_type(7)
            .with_coordinator_keys(keys.clone());
        connection.call(6, &request).coordinators[0].error_code
    });
}
