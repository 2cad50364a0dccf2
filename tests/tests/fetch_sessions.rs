//! Fetch sessions (KIP-227): what did not change is left out. Checked on Apache Kafka 4.3.1.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_request::ForgottenTopic;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use ringlog_tests::admin::create;
use ringlog_tests::raw::{Batch, Connection, Want, batches, fetch_request, name, produce};
use ringlog_tests::{Broker, code};

/// Partitions of an answer with the number of their batches.
fn listed(answer: &FetchResponse) -> BTreeMap<i32, usize> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|p| {
            (
                p.partition_index,
                batches(p.records.as_deref().unwrap_or_default()).len(),
            )
        })
        .collect()
}

fn at(partition: i32, offset: i64) -> Want {
    Want {
        partition,
        offset,
        max_bytes: 1 << 20,
    }
}

/// A session over partitions 0, 1 and 2 of a topic, and its id.
fn open(connection: &mut Connection, topic: &str) -> i32 {
    let request = fetch_request(topic, &[at(0, 0), at(1, 0), at(2, 0)], 0, 0).with_session_epoch(0);
    let answer = connection.call(12, &request);
    assert_eq!(answer.error_code, code::NONE);
    assert_ne!(answer.session_id, 0);
    assert_eq!(listed(&answer).len(), 3, "a full fetch lists every partition");
    answer.session_id
}

fn again(topic: &str, session: i32, epoch: i32, wants: &[Want]) -> FetchRequest {
    let mut request = fetch_request(topic, wants, 0, 0)
        .with_session_id(session)
        .with_session_epoch(epoch);
    if wants.is_empty() {
        request.topics.clear();
    }
    request
}

#[test]
fn what_did_not_change_is_left_out() {
    let broker = Broker::any();
    let topic = create(&broker, "session", 3, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let session = open(&mut connection, &topic);
    let answer = connection.call(12, &again(&topic, session, 1, &[]));
    assert_eq!((answer.error_code, answer.session_id), (code::NONE, session));
    assert_eq!(listed(&answer), BTreeMap::new());
    produce(&mut connection, &topic, 1, &Batch::of(&[b"new"]).build());
    let answer = connection.call(12, &again(&topic, session, 2, &[]));
    assert_eq!(listed(&answer), BTreeMap::from([(1, 1)]));
    // Going on behind the record: nothing again.
    let answer = connection.call(12, &again(&topic, session, 3, &[at(1, 1)]));
    assert!(listed(&answer).values().all(|&batches| batches == 0));
    let answer = connection.call(12, &again(&topic, session, 4, &[]));
    assert_eq!(listed(&answer), BTreeMap::new());
}

#[test]
fn a_session_waits_for_any_of_its_partitions() {
    let broker = Broker::any();
    let topic = create(&broker, "session", 3, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let session = open(&mut connection, &topic);
    let mut request = again(&topic, session, 1, &[]);
    (request.min_bytes, request.max_wait_ms) = (1, 15_000);
    let start = Instant::now();
    let correlation = connection.send(12, &request);
    produce(
        &mut Connection::open(broker.bootstrap()),
        &topic,
        2,
        &Batch::of(&[b"new"]).build(),
    );
    let answer = connection.receive::<FetchRequest>(12, correlation);
    assert_eq!(listed(&answer), BTreeMap::from([(2, 1)]));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn partitions_join_and_leave() {
    let broker = Broker::any();
    let topic = create(&broker, "session", 4, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let session = open(&mut connection, &topic);
    let mut request = again(&topic, session, 1, &[at(3, 0)]);
    let forgotten = ForgottenTopic::default()
        .with_topic(name(&topic))
        .with_partitions(vec![0]);
    request.forgotten_topics_data = vec![forgotten];
    assert_eq!(connection.call(12, &request).error_code, code::NONE);
    for partition in 0..4 {
        produce(&mut connection, &topic, partition, &Batch::of(&[b"new"]).build());
    }
    let answer = connection.call(12, &again(&topic, session, 2, &[]));
    assert_eq!(listed(&answer), BTreeMap::from([(1, 1), (2, 1), (3, 1)]));
}

#[test]
fn epochs_must_follow_each_other() {
    let broker = Broker::any();
    let topic = create(&broker, "session", 3, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let session = open(&mut connection, &topic);
    let wrong = connection.call(12, &again(&topic, session, 5, &[]));
    assert_eq!(wrong.error_code, code::INVALID_FETCH_SESSION_EPOCH);
    assert!(wrong.responses.is_empty());
    let right = connection.call(12, &again(&topic, session, 1, &[]));
    assert_eq!(right.error_code, code::NONE);
    let unknown = connection.call(12, &again(&topic, session ^ 0x55, 1, &[]));
    assert_eq!(unknown.error_code, code::FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn a_session_ends_when_it_is_closed() {
    let broker = Broker::any();
    let topic = create(&broker, "session", 3, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let session = open(&mut connection, &topic);
    let last = connection.call(12, &again(&topic, session, -1, &[at(0, 0)]));
    assert_eq!((last.error_code, last.session_id), (code::NONE, 0));
    let after = connection.call(12, &again(&topic, session, 1, &[]));
    assert_eq!(after.error_code, code::FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn an_error_is_reported_in_the_session() {
    let broker = Broker::any();
    let topic = create(&broker, "session", 3, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let session = open(&mut connection, &topic);
    let answer = connection.call(12, &again(&topic, session, 1, &[at(1, 99)]));
    let partitions: Vec<(i32, i16)> = answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| (partition.partition_index, partition.error_code))
        .collect();
    assert_eq!(partitions, [(1, code::OFFSET_OUT_OF_RANGE)]);
}
