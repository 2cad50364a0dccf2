//! Requests about transactions that come close behind each other, from one client and from many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use kafka_protocol::messages::{GroupId, OffsetFetchRequest, ProduceRequest, TxnOffsetCommitRequest};
use kafka_protocol::protocol::StrBytes;
use ringlog_tests::admin::create;
use ringlog_tests::group;
use ringlog_tests::raw::Connection;
use ringlog_tests::txn::{
    READ_COMMITTED, READ_UNCOMMITTED, batch, committed_values, end_and_go_on, end_offset, init,
    offset_commit_request, produce_in, stable_offset, write_as,
};
use ringlog_tests::{Broker, PATIENCE, broker, code, wait_for};

const TIMEOUT_MS: i32 = 60_000;
/// INVALID_PRODUCER_EPOCH.
const OLD_EPOCH: i16 = 47;

/// A broker of two cores, a topic of two partitions, and a connection.
fn stage(stem: &str) -> Option<(Broker, String, Connection)> {
    let broker = Broker::own().cores(2).start()?;
    let topic = create(&broker, stem, 2, &[]);
    let connection = Connection::open(broker.bootstrap());
    Some((broker, topic, connection))
}

fn wait_for_markers(connection: &mut Connection, topic: &str, partition: i32) {
    wait_for("no transaction is open", PATIENCE, || {
        let mut end = |isolation| end_offset(connection, topic, partition, isolation);
        (end(READ_COMMITTED) == end(READ_UNCOMMITTED)).then_some(())
    });
}

#[test]
fn a_batch_behind_one_of_a_fenced_producer_is_asked_about_itself() {
    let Some((_broker, topic, mut connection)) = stage("races-epochs") else {
        return;
    };
    for round in 0..20 {
        let id = broker::unique("races-epochs");
        let zombie = init(&mut connection, &id, TIMEOUT_MS);
        let live = init(&mut connection, &id, TIMEOUT_MS);
        let partition = round % 2;
        let requests: Vec<ProduceRequest> = [(zombie, &b"zombie"[..]), (live, b"live")]
            .iter()
            .map(|(producer, value)| produce_in(&id, &topic, partition, &batch(*producer, 0, &[value])))
            .collect();
        let sent: Vec<i32> = requests
            .iter()
            .map(|request| connection.send(12, request))
            .collect();
        let errors: Vec<i16> = sent
            .into_iter()
            .map(|correlation| {
                let answer = connection.receive::<ProduceRequest>(12, correlation);
                answer.responses[0].partition_responses[0].error_code
            })
            .collect();
        assert_eq!(errors, [OLD_EPOCH, code::NONE]);
        let (error, _) = end_and_go_on(&mut connection, &id, live, true);
        assert_eq!(error, code::NONE);
        wait_for_markers(&mut connection, &topic, partition);
    }
    for partition in [0, 1] {
        let values = committed_values(&mut connection, &topic, partition, 0);
        assert!(values.len() == 10 && values.iter().all(|value| value == b"live"));
    }
}

#[test]
fn batches_of_two_epochs_that_wait_together_leave_nothing_open() {
    let Some((_broker, topic, mut connection)) = stage("races-ahead") else {
        return;
    };
    for _ in 0..20 {
        let id = broker::unique("races-ahead");
        let now = init(&mut connection, &id, TIMEOUT_MS);
        // A client that gave up its first batch and goes on: the broker has that still, and no answer about it.
        let sent: Vec<i32> = [now, now.later(1)]
            .iter()
            .map(|producer| connection.send(12, &produce_in(&id, &topic, 0, &batch(*producer, 0, &[b"x"]))))
            .collect();
        for correlation in sent {
            connection.receive::<ProduceRequest>(12, correlation);
        }
        let (error, _) = end_and_go_on(&mut connection, &id, now, false);
        assert_eq!(error, code::NONE);
        wait_for_markers(&mut connection, &topic, 0);
    }
    assert_eq!(
        committed_values(&mut connection, &topic, 0, 0),
        Vec::<Vec<u8>>::new()
    );
}

#[test]
fn offsets_of_a_fenced_producer_cost_nobody_else_anything() {
    let Some((broker, topic, mut connection)) = stage("races-offsets") else {
        return;
    };
    for _ in 0..20 {
        let (id, group) = (broker::unique("races-offsets"), broker::unique("races-group"));
        let zombie = init(&mut connection, &id, TIMEOUT_MS);
        let live = init(&mut connection, &id, TIMEOUT_MS);
        drop(group::coordinator(&broker, &group));
        let sent: Vec<i32> = [live, zombie, live]
            .iter()
            .map(|producer| {
                let request = offset_commit_request(&id, *producer, &group, &topic, &[(0, 7)]);
                connection.send(5, &request)
            })
            .collect();
        let errors: Vec<i16> = sent
            .into_iter()
            .map(|correlation| {
                let answer = connection.receive::<TxnOffsetCommitRequest>(5, correlation);
                answer.topics[0].partitions[0].error_code
            })
            .collect();
        assert_eq!(errors, [code::NONE, OLD_EPOCH, code::NONE]);
        let (error, _) = end_and_go_on(&mut connection, &id, live, true);
        assert_eq!(error, code::NONE);
        wait_for("the offset counts", PATIENCE, || {
            (stable_offset(&mut connection, &group, &topic, 0) == Ok(7)).then_some(())
        });
    }
    let log = broker.log();
    assert!(
        !log.contains("ERROR") && !log.contains("records of a transaction"),
        "{log}"
    );
}

/// Markers come to the core that is just deciding about the same group for somebody else.
#[test]
fn transactions_end_while_their_group_is_asked_about_all_the_time() {
    let Some((broker, topic, mut connection)) = stage("races-busy") else {
        return;
    };
    let (id, group) = (broker::unique("races-busy"), broker::unique("races-busy-group"));
    let mut producer = init(&mut connection, &id, TIMEOUT_MS);
    drop(group::coordinator(&broker, &group));
    let (is_over, bootstrap) = (AtomicBool::new(false), broker.bootstrap().to_owned());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut asking = Connection::open(&bootstrap);
                let request = OffsetFetchRequest::default()
                    .with_group_id(GroupId(StrBytes::from_string(group.clone())))
                    .with_topics(None);
                let until = Instant::now() + PATIENCE;
                while !is_over.load(Ordering::Relaxed) && Instant::now() < until {
                    let sent: Vec<i32> = (0..20).map(|_| asking.send(7, &request)).collect();
                    for correlation in sent {
                        asking.receive::<OffsetFetchRequest>(7, correlation);
                    }
                }
            });
        }
        for offset in 0..100 {
            let partition = (offset % 2) as i32;
            let (error, _) = write_as(
                &mut connection,
                12,
                &id,
                &topic,
                partition,
                &batch(producer, 0, &[b"x"]),
            );
            assert_eq!(error, code::NONE);
            let request = offset_commit_request(&id, producer, &group, &topic, &[(0, offset)]);
            let answer = connection.call(5, &request);
            assert_eq!(answer.topics[0].partitions[0].error_code, code::NONE);
            let (error, next) = end_and_go_on(&mut connection, &id, producer, true);
            assert_eq!(error, code::NONE);
            producer = next;
            wait_for_markers(&mut connection, &topic, partition);
            wait_for("the offset counts", PATIENCE, || {
                (stable_offset(&mut connection, &group, &topic, 0) == Ok(offset)).then_some(())
            });
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
