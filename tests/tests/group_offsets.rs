//! Committed offsets by hand: what each request is answered.
//!
//! Every answer expected here was seen on Apache Kafka 4.3.1 first: set `RINGLOG_TEST_BOOTSTRAP` to the address of a
//! Kafka broker to see it again.

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetFetchRequest};
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::group::{
    COMMIT_VERSION, alone, commit, commit_request, committed, coordinator, fetch_all, group_id, heartbeat,
    text,
};
use ringlog_tests::raw::name;
use ringlog_tests::{Broker, code};

/// A broker that does not wait for a group's first members.
fn broker() -> Broker {
    Broker::own()
        .set("group.initial.rebalance.delay.ms", 0)
        .or_external()
}

#[test]
fn offsets_are_committed_without_a_member_in_every_version() {
    let broker = broker();
    let topic = create(&broker, "simple", 2, &[]);
    let group = unique("simple");
    let mut connection = coordinator(&broker, &group);
    for version in 2..=COMMIT_VERSION {
        let offset = i64::from(version) * 10;
        assert_eq!(
            commit(&mut connection, version, &group, -1, "", &topic, offset),
            code::NONE,
            "version {version}"
        );
        let expected = BTreeMap::from([(0, offset), (1, -1)]);
        assert_eq!(committed(&mut connection, &group, &topic, &[0, 1]), Ok(expected));
    }
    for version in 1..=7 {
        let partitions = OffsetFetchRequestTopic::default()
            .with_name(name(&topic))
            .with_partition_indexes(vec![0, 1]);
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id(&group))
            .with_topics(Some(vec![partitions]));
        let answer = connection.call(version, &request);
        let found: Vec<(i64, i32, &str, i16)> = answer.topics[0]
            .partitions
            .iter()
            .map(|one| {
                let metadata = one.metadata.as_deref().unwrap_or("null");
                (
                    one.committed_offset,
                    one.committed_leader_epoch,
                    metadata,
                    one.error_code,
                )
            })
            .collect();
        assert_eq!(found, [(90, -1, "", 0), (-1, -1, "", 0)], "version {version}");
    }
}

#[test]
fn what_a_commit_is_refused_for() {
    let broker = broker();
    let topic = create(&broker, "refused", 1, &[]);
    let group = unique("refused");
    let mut connection = coordinator(&broker, &group);
    let mut with_metadata = |length: usize| {
        let mut request = commit_request(&group, -1, "", &topic, 5);
        request.topics[0].partitions[0].committed_metadata = Some(text(&"m".repeat(length)));
        let answer = connection.call(COMMIT_VERSION, &request);
        answer.topics[0].partitions[0].error_code
    };
    assert_eq!(with_metadata(4096), code::NONE);
    assert_eq!(with_metadata(4097), code::OFFSET_METADATA_TOO_LARGE);
    let nowhere = unique("nowhere");
    let unknown = commit(&mut connection, COMMIT_VERSION, &group, -1, "", &nowhere, 5);
    assert_eq!(unknown, code::UNKNOWN_TOPIC_OR_PARTITION);
    // One partition that is not there does not keep the others from being committed.
    let mut request = commit_request(&group, -1, "", &topic, 7);
    let mut absent = request.topics[0].partitions[0].clone();
    absent.partition_index = 9;
    request.topics[0].partitions.push(absent);
    let answer = connection.call(COMMIT_VERSION, &request);
    let mut errors: Vec<(i32, i16)> = answer.topics[0]
        .partitions
        .iter()
        .map(|one| (one.partition_index, one.error_code))
        .collect();
    errors.sort_unstable();
    assert_eq!(errors, [(0, code::NONE), (9, code::UNKNOWN_TOPIC_OR_PARTITION)]);
    assert_eq!(
        committed(&mut connection, &group, &topic, &[0]),
        Ok(BTreeMap::from([(0, 7)]))
    );
    // The group without a name has offsets, though no members.
    coordinator(&broker, "");
    assert_eq!(
        commit(&mut connection, COMMIT_VERSION, "", -1, "", &topic, 5),
        code::NONE
    );
}

#[test]
fn epoch_and_metadata_come_back_as_they_were_committed() {
    let broker = broker();
    let topic = create(&broker, "fields", 1, &[]);
    let group = unique("fields");
    let mut connection = coordinator(&broker, &group);
    let mut request = commit_request(&group, -1, "", &topic, 5);
    request.topics[0].partitions[0].committed_leader_epoch = 0;
    request.topics[0].partitions[0].committed_metadata = Some(text("note"));
    connection.call(COMMIT_VERSION, &request);
    let all = fetch_all(&mut connection, &group);
    let one = &all.topics[0].partitions[0];
    assert_eq!(all.topics[0].name, name(&topic));
    assert_eq!((one.committed_offset, one.committed_leader_epoch), (5, 0));
    assert_eq!(one.metadata.as_deref(), Some("note"));
}

#[test]
fn the_offsets_of_several_groups_in_one_answer() {
    let broker = broker();
    let topic = create(&broker, "several", 1, &[]);
    let groups: Vec<String> = (0..3).map(|_| unique("several")).collect();
    let mut connection = coordinator(&broker, &groups[0]);
    for (index, group) in groups.iter().enumerate().take(2) {
        coordinator(&broker, group);
        let offset = index as i64;
        assert_eq!(
            commit(&mut connection, COMMIT_VERSION, group, -1, "", &topic, offset),
            code::NONE
        );
    }
    coordinator(&broker, &groups[2]);
    let wanted = groups
        .iter()
        .map(|group| {
            OffsetFetchRequestGroup::default()
                .with_group_id(group_id(group))
                .with_topics(None)
        })
        .collect();
    for version in [8, 9] {
        let request = OffsetFetchRequest::default().with_groups(Vec::clone(&wanted));
        let answer = connection.call(version, &request);
        let found: BTreeMap<String, Vec<i64>> = answer
            .groups
            .iter()
            .map(|one| {
                let offsets = one.topics.iter().flat_map(|topic| &topic.partitions);
                (
                    one.group_id.to_string(),
                    offsets.map(|one| one.committed_offset).collect(),
                )
            })
            .collect();
        let expected = [vec![0], vec![1], vec![]];
        assert_eq!(
            found,
            groups.iter().cloned().zip(expected).collect(),
            "version {version}"
        );
    }
}

#[test]
fn offsets_are_deleted_unless_a_member_reads_their_topic() {
    let broker = broker();
    let (read, unread) = (create(&broker, "read", 1, &[]), create(&broker, "unread", 1, &[]));
    let group = unique("delete");
    let mut connection = coordinator(&broker, &group);
    for topic in [&read, &unread] {
        assert_eq!(
            commit(&mut connection, COMMIT_VERSION, &group, -1, "", topic, 5),
            code::NONE
        );
    }
    let (member, generation) = alone(&mut connection, &group, &[&read]);
    let topics = [&read, &unread].map(|topic| {
        OffsetDeleteRequestTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![OffsetDeleteRequestPartition::default()])
    });
    let request = OffsetDeleteRequest::default()
        .with_group_id(group_id(&group))
        .with_topics(topics.to_vec());
    let answer = connection.call(0, &request);
    assert_eq!(answer.error_code, code::NONE);
    let errors: BTreeMap<String, i16> = answer
        .topics
        .iter()
        .map(|topic| (topic.name.to_string(), topic.partitions[0].error_code))
        .collect();
    assert_eq!(errors[read.as_str()], code::GROUP_SUBSCRIBED_TO_TOPIC);
    assert_eq!(errors[unread.as_str()], code::NONE);
    assert_eq!(
        committed(&mut connection, &group, &read, &[0]),
        Ok(BTreeMap::from([(0, 5)]))
    );
    assert_eq!(
        committed(&mut connection, &group, &unread, &[0]),
        Ok(BTreeMap::from([(0, -1)]))
    );
    assert_eq!(
        heartbeat(&mut connection, &group, generation, &member),
        code::NONE
    );
    let none = unique("none");
    let missing = connection.call(0, &request.with_group_id(group_id(&none)));
    assert_eq!(missing.error_code, code::GROUP_ID_NOT_FOUND);
}

#[test]
fn the_offsets_of_a_deleted_topic_are_gone() {
    let broker = broker();
    let topic = create(&broker, "gone", 1, &[]);
    let group = unique("gone");
    let mut connection = coordinator(&broker, &group);
    assert_eq!(
        commit(&mut connection, COMMIT_VERSION, &group, -1, "", &topic, 5),
        code::NONE
    );
    let client = ringlog_tests::admin::admin(broker.bootstrap());
    let deleted =
        ringlog_tests::admin::block_on(client.delete_topics(&[&topic], &ringlog_tests::admin::options()));
    deleted
        .expect("the broker answers")
        .pop()
        .expect("one answer")
        .expect("it is deleted");
    ringlog_tests::wait_for("the offset is gone", ringlog_tests::PATIENCE, || {
        fetch_all(&mut connection, &group).topics.is_empty().then_some(())
    });
}
