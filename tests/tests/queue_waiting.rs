//! Producers that wait for room in a full topic, with librdkafka and raw requests: who goes on when, who is refused when, and that nobody else is held
//! up.

use std::time::Duration;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{DeleteTopicsRequest, ProduceRequest};
use rdkafka::error::RDKafkaErrorCode;
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::client::{Outgoing, Producer};
use ringlog_tests::queue::{alter, answer, bounds, delete_before, said, timed, values, words};
use ringlog_tests::raw::{Batch, Connection, name, produce};
use ringlog_tests::{Broker, PATIENCE, code, group, tool, txn, wait_for};

const BYTES: &str = "ringlog.queue.max.bytes";
const RECORDS: &str = "ringlog.queue.max.records";
const LAG: &str = "ringlog.queue.max.lag";
const GROUPS: &str = "ringlog.queue.lag.groups";
const BLOCK: (&str, &str) = ("ringlog.queue.when.full", "block");
/// Longer than any test takes.
const LONG_MS: i32 = 600_000;
/// A producer that waits says nothing for as long as this.
const A_WHILE: Duration = Duration::from_millis(300);

fn two_cores() -> Broker {
    Broker::own().cores(2).or_external()
}

/// A topic with one record, which is all it takes.
fn full_topic(broker: &Broker, partitions: i32) -> String {
    let topic = create(broker, "blocks", partitions, &[(RECORDS, "1"), BLOCK]);
    let mut connection = Connection::open(broker.bootstrap());
    let answer = produce(&mut connection, &topic, 0, &words(&["first"]).build());
    assert_eq!(answer.error_code, code::NONE);
    topic
}

/// A producer that waits for room for one record.
fn waiting(broker: &Broker, topic: &str, partition: i32, word: &str, timeout_ms: i32) -> (Connection, i32) {
    let mut connection = Connection::open(broker.bootstrap());
    let correlation = connection.send(9, &timed(topic, partition, &words(&[word]), timeout_ms));
    connection.expect_silence(A_WHILE);
    (connection, correlation)
}

fn is_prompt(broker: &Broker, topic: &str) {
    let mut connection = Connection::open(broker.bootstrap());
    let answer = produce(&mut connection, topic, 0, &words(&["prompt"]).build());
    assert_eq!(answer.error_code, code::NONE);
}

#[test]
fn a_producer_waits_until_records_are_deleted() {
    let broker = two_cores();
    let (topic, other) = (full_topic(&broker, 2), create(&broker, "other", 2, &[]));
    for partition in [0, 1] {
        let (mut connection, correlation) = waiting(&broker, &topic, partition, "waits", LONG_MS);
        is_prompt(&broker, &other);
        let held = [0, 1].map(|partition| {
            let (start, end) = bounds(&mut Connection::open(broker.bootstrap()), &topic, partition);
            end - start
        });
        assert_eq!(held, [1, 0], "never more than the limit");
        delete_before(&broker, &topic, 0, -1);
        assert_eq!(answer(&mut connection, correlation).error_code, code::NONE);
    }
    assert_eq!(
        values(&mut Connection::open(broker.bootstrap()), &topic, 1, 0),
        ["waits"]
    );
}

#[test]
fn who_waits_goes_on_in_order() {
    let broker = two_cores();
    let topic = full_topic(&broker, 1);
    let mut connection = Connection::open(broker.bootstrap());
    let mut sent = Vec::new();
    for word in ["a", "b", "c", "d"] {
        sent.push(connection.send(9, &timed(&topic, 0, &words(&[word]), LONG_MS)));
    }
    connection.expect_silence(A_WHILE);
    // Another client comes behind them.
    let (mut late, correlation) = waiting(&broker, &topic, 0, "e", LONG_MS);
    for (offset, sent) in (1..).zip(sent) {
        delete_before(&broker, &topic, 0, offset);
        let answer = answer(&mut connection, sent);
        assert_eq!((answer.error_code, answer.base_offset), (code::NONE, offset));
    }
    delete_before(&broker, &topic, 0, -1);
    let last = answer(&mut late, correlation);
    assert_eq!((last.error_code, last.base_offset), (code::NONE, 5));
}

#[test]
fn one_that_waits_does_not_hold_up_the_rest_of_its_request() {
    let broker = two_cores();
    let (topic, other) = (full_topic(&broker, 1), create(&broker, "beside", 2, &[]));
    let data = |topic: &str, partitions: &[i32]| {
        let partition = |index: &i32| {
            PartitionProduceData::default()
                .with_index(*index)
                .with_records(Some(txn::records(&words(&["both"]))))
        };
        TopicProduceData::default()
            .with_name(name(topic))
            .with_partition_data(partitions.iter().map(partition).collect())
    };
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(LONG_MS)
        .with_topic_data(vec![data(&topic, &[0]), data(&other, &[0, 1])]);
    let mut connection = Connection::open(broker.bootstrap());
    let correlation = connection.send(9, &request);
    let mut reader = Connection::open(broker.bootstrap());
    for partition in [0, 1] {
        wait_for("the others are stored", PATIENCE, || {
            (bounds(&mut reader, &other, partition) == (0, 1)).then_some(())
        });
    }
    delete_before(&broker, &topic, 0, -1);
    let answer = connection.receive::<ProduceRequest>(9, correlation);
    let errors = answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    assert!(errors.map(|partition| partition.error_code).eq([code::NONE; 3]));
}

#[test]
fn a_producer_is_refused_before_it_gives_up() {
    let broker = two_cores();
    let topic = full_topic(&broker, 1);
    let mut connection = Connection::open(broker.bootstrap());
    let first = connection.send(9, &timed(&topic, 0, &words(&["a"]), 1000));
    let second = connection.send(9, &timed(&topic, 0, &words(&["b"]), LONG_MS));
    let refused = answer(&mut connection, first);
    assert_eq!(
        (refused.error_code, refused.base_offset),
        (code::REQUEST_TIMED_OUT, -1)
    );
    let words_of_it = said(&refused);
    for part in [
        "there was no room in time",
        &*topic,
        RECORDS,
        "is 1",
        "1 records are in it",
    ] {
        assert!(words_of_it.contains(part), "{words_of_it}");
    }
    connection.expect_silence(A_WHILE);
    delete_before(&broker, &topic, 0, -1);
    assert_eq!(
        answer(&mut connection, second).base_offset,
        1,
        "the other one still waits"
    );
    // Without a timeout nothing waits, and what can never fit is refused for good.
    for timeout_ms in [0, -1] {
        let correlation = connection.send(9, &timed(&topic, 0, &words(&["c"]), timeout_ms));
        assert_eq!(
            answer(&mut connection, correlation).error_code,
            code::REQUEST_TIMED_OUT
        );
    }
    let correlation = connection.send(9, &timed(&topic, 0, &words(&["d", "e"]), LONG_MS));
    let refused = answer(&mut connection, correlation);
    assert_eq!(refused.error_code, code::POLICY_VIOLATION, "{}", said(&refused));
    assert_eq!(
        values(&mut Connection::open(broker.bootstrap()), &topic, 0, 1),
        ["b"]
    );
}

#[test]
fn a_client_that_goes_away_waits_no_longer() {
    let broker = two_cores();
    let topic = full_topic(&broker, 2);
    for partition in [0, 1] {
        let (connection, _) = waiting(&broker, &topic, partition, "gone", LONG_MS);
        drop(connection);
    }
    let (mut connection, correlation) = waiting(&broker, &topic, 1, "stays", LONG_MS);
    delete_before(&broker, &topic, 0, -1);
    assert_eq!(answer(&mut connection, correlation).error_code, code::NONE);
    let mut reader = Connection::open(broker.bootstrap());
    assert_eq!(values(&mut reader, &topic, 1, 0), ["stays"]);
    assert_eq!(bounds(&mut reader, &topic, 0), (1, 1));
}

#[test]
fn a_topic_that_is_deleted_keeps_nobody_waiting() {
    let broker = two_cores();
    let topic = full_topic(&broker, 2);
    let mut both = [0, 1].map(|partition| waiting(&broker, &topic, partition, "a", LONG_MS));
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![name(&topic)])
        .with_timeout_ms(10_000);
    let deleted = Connection::open(broker.bootstrap()).call(5, &request);
    assert_eq!(deleted.responses[0].error_code, code::NONE);
    for (connection, correlation) in &mut both {
        let answer = answer(connection, *correlation);
        assert_eq!(answer.error_code, code::NOT_LEADER_OR_FOLLOWER);
    }
}

#[test]
fn limits_that_change_let_producers_go_on() {
    let broker = two_cores();
    let topic = full_topic(&broker, 2);
    for pairs in [
        &[(RECORDS, Some("2"))][..],
        &[(RECORDS, None), (BYTES, Some("1000000"))],
        &[(RECORDS, None), (BYTES, None), (BLOCK.0, None)],
    ] {
        let (_, end) = bounds(&mut Connection::open(broker.bootstrap()), &topic, 1);
        let (mut connection, correlation) = waiting(&broker, &topic, 1, "a", LONG_MS);
        alter(&broker, &topic, pairs);
        let taken = answer(&mut connection, correlation);
        assert_eq!(
            (taken.error_code, taken.base_offset),
            (code::NONE, end),
            "{pairs:?}"
        );
        let full = (end + 2).to_string();
        alter(
            &broker,
            &topic,
            &[(RECORDS, Some(&full)), (BYTES, None), (BLOCK.0, Some("block"))],
        );
    }
    // Who waits is refused when that is what happens from now on.
    let (mut connection, correlation) = waiting(&broker, &topic, 1, "a", LONG_MS);
    alter(&broker, &topic, &[(BLOCK.0, Some("reject"))]);
    assert_eq!(
        answer(&mut connection, correlation).error_code,
        code::POLICY_VIOLATION
    );
}

#[test]
fn a_partition_moves_with_those_who_wait() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = full_topic(&broker, 1);
    let mut connection = Connection::open(broker.bootstrap());
    let mut sent = Vec::new();
    for word in ["a", "b", "c"] {
        sent.push(connection.send(9, &timed(&topic, 0, &words(&[word]), LONG_MS)));
        connection.expect_silence(A_WHILE);
        for core in ["0", "1"] {
            tool::ok(tool::run(&broker, &["cores", "move", &topic, "0", core]));
        }
    }
    for (offset, sent) in (1..).zip(sent) {
        delete_before(&broker, &topic, 0, offset);
        let answer = answer(&mut connection, sent);
        assert_eq!((answer.error_code, answer.base_offset), (code::NONE, offset));
    }
    assert_eq!(
        values(&mut Connection::open(broker.bootstrap()), &topic, 0, 3),
        ["c"]
    );
}

#[test]
fn a_broker_that_stops_keeps_nobody_waiting() {
    let Some(mut broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = full_topic(&broker, 2);
    let mut both = [0, 1].map(|partition| waiting(&broker, &topic, partition, "a", LONG_MS));
    broker.signal(rustix::process::Signal::TERM);
    for (connection, correlation) in &mut both {
        let refused = answer(connection, *correlation);
        assert_eq!(refused.error_code, code::REQUEST_TIMED_OUT);
        assert!(said(&refused).contains("stopping"), "{}", said(&refused));
    }
    broker.stop();
    assert!(!broker.log().contains("requests in progress"), "{}", broker.log());
}

#[test]
fn what_waits_has_a_limit_and_others_are_served() {
    let Some(broker) = Broker::own().cores(2).set("ringlog.memory", 64 << 20).start() else {
        return;
    };
    let topic = full_topic(&broker, 2);
    let other = create(&broker, "other", 2, &[]);
    is_prompt(&broker, &other);
    let before = broker.memory("VmRSS").unwrap_or_default();
    let batch = Batch::sized(500_000);
    let mut waiting: Vec<(Connection, Vec<i32>)> = (0..40)
        .map(|n| {
            let mut connection = Connection::open(broker.bootstrap());
            let send =
                |connection: &mut Connection| connection.send(9, &timed(&topic, n % 2, &batch, LONG_MS));
            let sent = (0..4).map(|_| send(&mut connection)).collect();
            (connection, sent)
        })
        .collect();
    for _ in 0..5 {
        is_prompt(&broker, &other);
    }
    let used = broker.memory("VmRSS").unwrap_or_default();
    assert!(used < before + (64 << 20), "{} MiB more", (used - before) >> 20);
    // 80 MB want to wait, and not all of them may. Those that may go on in the end.
    delete_before(&broker, &topic, 0, -1);
    alter(&broker, &topic, &[(RECORDS, None), (BLOCK.0, None)]);
    let (mut taken, mut refused) = (0, 0);
    for (connection, sent) in &mut waiting {
        for sent in sent {
            let answer = answer(connection, *sent);
            match answer.error_code {
                code::NONE => taken += 1,
                code::REQUEST_TIMED_OUT => refused += 1,
                error => panic!("{error}: {}", said(&answer)),
            }
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} {refused}");
}

#[test]
fn a_group_that_reads_on_lets_producers_go_on() {
    let broker = two_cores();
    let id = unique("reads");
    let topic = create(&broker, "lag", 2, &[(LAG, "1"), (GROUPS, &id), BLOCK]);
    let mut coordinator = group::coordinator(&broker, &id);
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(
        produce(&mut connection, &topic, 0, &words(&["a"]).build()).error_code,
        code::NONE
    );
    for (offset, partition) in [(1, 0), (2, 0), (3, 1)] {
        let (mut connection, correlation) = waiting(&broker, &topic, partition, "b", LONG_MS);
        let error = group::commit(&mut coordinator, 8, &id, -1, "", &topic, offset);
        assert_eq!(error, code::NONE);
        assert_eq!(answer(&mut connection, correlation).error_code, code::NONE);
    }
}

#[test]
fn idempotent_producers_of_librdkafka_lose_and_repeat_nothing() {
    let broker = two_cores();
    for request_timeout_ms in ["30000", "500"] {
        let topic = create(&broker, "peaks", 2, &[(RECORDS, "10"), BLOCK]);
        let settings = [
            ("enable.idempotence", "true"),
            ("linger.ms", "0"),
            ("batch.num.messages", "3"),
            ("request.timeout.ms", request_timeout_ms),
        ];
        let producers = [0, 1].map(|_| Producer::new(broker.bootstrap(), &settings));
        for n in 0..100 {
            for (at, producer) in producers.iter().enumerate() {
                let value = Outgoing::value(format!("{at}:{n}"));
                producer.send(&topic, at as i32, &value).expect("queued");
            }
        }
        // Whoever drains the topic sees at most so much at a time.
        let mut reader = Connection::open(broker.bootstrap());
        let mut found: [Vec<String>; 2] = Default::default();
        let mut next = [0, 0];
        wait_for("all have come", PATIENCE, || {
            let mut there = 0;
            for partition in [0, 1] {
                let new = values(&mut reader, &topic, partition, next[partition as usize]);
                there += new.len();
                next[partition as usize] += new.len() as i64;
                found[partition as usize].extend(new);
            }
            assert!(there <= 20, "{there}");
            for partition in [0, 1] {
                delete_before(&broker, &topic, partition, next[partition as usize]);
            }
            (found.iter().map(Vec::len).sum::<usize>() >= 200).then_some(())
        });
        producers.iter().for_each(Producer::flush);
        for (at, found) in found.iter().enumerate() {
            let expected: Vec<String> = (0..100).map(|n| format!("{at}:{n}")).collect();
            assert_eq!(found, &expected);
        }
        let errors: Vec<RDKafkaErrorCode> = producers
            .iter()
            .flat_map(|producer| producer.take())
            .filter_map(Result::err)
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[test]
fn a_transaction_keeps_its_place_while_its_coordinator_is_asked() {
    let broker = two_cores();
    let id = unique("first");
    let mut connection = Connection::open(broker.bootstrap());
    let mut producer = txn::init(&mut connection, &id, 60_000);
    // From version 12 on the broker adds the partition, and asks for that; before, it asks whether the client has.
    for version in [12, 11, 12] {
        let topic = full_topic(&broker, 1);
        if version == 11 {
            let error = txn::add_partitions(&mut connection, &id, producer, &topic, &[0]);
            assert_eq!(error, code::NONE);
        }
        let batch = txn::batch(producer, 0, &[b"t"]);
        let request = txn::produce_in(&id, &topic, 0, &batch).with_timeout_ms(LONG_MS);
        let correlation = connection.send(version, &request);
        connection.expect_silence(A_WHILE);
        let mut plain = ["a", "b"].map(|word| waiting(&broker, &topic, 0, word, LONG_MS));
        delete_before(&broker, &topic, 0, 1);
        let taken = connection.receive::<ProduceRequest>(version, correlation);
        let taken = &taken.responses[0].partition_responses[0];
        assert_eq!(
            (taken.error_code, taken.base_offset),
            (code::NONE, 1),
            "{version}"
        );
        for (offset, (connection, correlation)) in (2..).zip(&mut plain) {
            connection.expect_silence(A_WHILE);
            delete_before(&broker, &topic, 0, offset);
            let answer = answer(connection, *correlation);
            assert_eq!((answer.error_code, answer.base_offset), (code::NONE, offset));
        }
        let (error, next) = txn::end_and_go_on(&mut connection, &id, producer, true);
        assert_eq!(error, code::NONE);
        producer = next;
    }
}

#[test]
fn transactions_wait_and_end() {
    let broker = two_cores();
    let topic = full_topic(&broker, 1);
    let id = unique("txn");
    let mut connection = Connection::open(broker.bootstrap());
    let producer = txn::init(&mut connection, &id, 60_000);
    let request = txn::produce_in(&id, &topic, 0, &txn::batch(producer, 0, &[b"t"])).with_timeout_ms(LONG_MS);
    let correlation = connection.send(12, &request);
    connection.expect_silence(A_WHILE);
    delete_before(&broker, &topic, 0, -1);
    let taken = connection.receive::<ProduceRequest>(12, correlation);
    let taken = &taken.responses[0].partition_responses[0];
    assert_eq!((taken.error_code, taken.base_offset), (code::NONE, 1));
    let (error, producer) = txn::end_and_go_on(&mut connection, &id, producer, true);
    assert_eq!(error, code::NONE);
    // One that has waited in vain is told, and what it has begun can be ended.
    let request = txn::produce_in(&id, &topic, 0, &txn::batch(producer, 0, &[b"u"])).with_timeout_ms(500);
    let refused = connection.call(12, &request);
    let refused = &refused.responses[0].partition_responses[0];
    assert_eq!(refused.error_code, code::REQUEST_TIMED_OUT);
    assert_eq!(
        txn::end_and_go_on(&mut connection, &id, producer, false).0,
        code::NONE
    );
    wait_for("the first one is committed", PATIENCE, || {
        (txn::committed_values(&mut connection, &topic, 0, 1) == [b"t"]).then_some(())
    });
}
