//! A killed broker: whatever it acknowledged is there afterwards, once, where it said.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::error::RDKafkaErrorCode;
use ringlog_tests::admin::{create, try_create};
use ringlog_tests::client::{Outgoing, Producer, read_partition};
use ringlog_tests::files::{names, offset_index, time_index, walk_log, with_suffix};
use ringlog_tests::oracle::Ledger;
use ringlog_tests::raw::{Batch, Connection, fetch, produce};
use ringlog_tests::{Broker, PATIENCE, Random, wait_for};

const PARTITIONS: i32 = 3;

/// Segments as small as Kafka allows, so that they roll while the load goes on.
const SMALL_SEGMENTS: (&str, &str) = ("segment.bytes", "1048576");

/// Sends records, each different from all others, until told to stop.
fn load(producer: &Producer, topics: &[String], seed: u64, stop: &AtomicBool) {
    let mut random = Random::new(seed);
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) && producer.acknowledged() < 60_000 {
        let mut value = format!("{seed}/{number}/").into_bytes();
        let size = if random.below(20) == 0 {
            random.below(60_000)
        } else {
            random.below(900)
        };
        value.extend_from_slice(&random.bytes(size));
        let topic = &topics[random.below(topics.len())];
        let partition = random.below(PARTITIONS as usize) as i32;
        if producer.send(topic, partition, &Outgoing::value(value)).is_err() {
            return;
        }
        number += 1;
    }
}

/// Loads until `acknowledged` records are promised, then calls `kill` while the load goes on.
fn kill_under_load(
    broker: &mut Broker,
    producer: &Producer,
    topics: &[String],
    seed: u64,
    acknowledged: usize,
) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || load(producer, topics, seed, stop));
        wait_for("enough acknowledgements", PATIENCE, || {
            (producer.acknowledged() >= acknowledged).then_some(())
        });
        broker.kill();
        stop.store(true, Ordering::Relaxed);
    });
}

fn promised(ledger: &mut Ledger, producer: &Producer) {
    ledger.enter(producer.take().into_iter().filter_map(Result::ok));
}

fn topics(broker: &Broker) -> Vec<String> {
    (0..2)
        .map(|_| create(broker, "crash", PARTITIONS, &[SMALL_SEGMENTS]))
        .collect()
}

/// Several kills, each under a new load, on one directory.
fn kills(seed: u64, settings: &[(&str, &str)], exactly_once: bool) {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topics = topics(&broker);
    let mut ledger = Ledger::new();
    let mut random = Random::new(seed);
    for round in 0..3 {
        let producer = Producer::new(broker.bootstrap(), settings);
        let count = 50 + random.below(4000);
        println!("seed {seed}, round {round}: killed after {count} acknowledgements");
        kill_under_load(&mut broker, &producer, &topics, seed * 100 + round, count);
        producer.abandon();
        promised(&mut ledger, &producer);
        broker.restart();
        ledger.check(broker.bootstrap(), exactly_once);
    }
    broker.stop();
    broker.restart();
    ledger.check(broker.bootstrap(), exactly_once);
}

#[test]
fn killed_under_load_seed_1() {
    kills(1, &[("retries", "0")], true);
}

#[test]
fn killed_under_load_seed_2() {
    kills(
        2,
        &[("acks", "1"), ("retries", "0"), ("compression.codec", "lz4")],
        true,
    );
}

#[test]
fn killed_under_load_seed_3() {
    kills(
        3,
        &[("linger.ms", "0"), ("batch.num.messages", "1"), ("retries", "0")],
        true,
    );
}

#[test]
fn killed_under_load_seed_4() {
    kills(
        4,
        &[
            ("enable.idempotence", "true"),
            ("batch.size", "400000"),
            ("linger.ms", "10"),
        ],
        true,
    );
}

/// The producer lives through the kills: what it sends again must not be there twice.
#[test]
fn an_idempotent_producer_rides_over_kills() {
    let Some(mut broker) = Broker::own().same_port().start() else {
        return;
    };
    let topics = topics(&broker);
    let settings = [
        ("enable.idempotence", "true"),
        ("message.timeout.ms", "60000"),
        ("reconnect.backoff.ms", "20"),
    ];
    let producer = Producer::new(broker.bootstrap(), &settings);
    let mut ledger = Ledger::new();
    for round in 0..4 {
        kill_under_load(
            &mut broker,
            &producer,
            &topics,
            500 + round,
            300 + 400 * round as usize,
        );
        broker.restart();
        producer.flush();
        let deliveries = producer.take();
        let failed: Vec<RDKafkaErrorCode> = deliveries
            .iter()
            .filter_map(|delivery| delivery.clone().err())
            .collect();
        assert!(
            failed.is_empty(),
            "round {round}: {} of {} failed: {:?}",
            failed.len(),
            deliveries.len(),
            failed[0]
        );
        ledger.enter(deliveries.into_iter().filter_map(Result::ok));
        ledger.check(broker.bootstrap(), true);
    }
}

#[test]
fn killed_right_after_each_acknowledgement() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "single", 1, &[]);
    for offset in 0..12 {
        let mut connection = Connection::open(broker.bootstrap());
        let answer = produce(
            &mut connection,
            &topic,
            0,
            &Batch::of(&[format!("{offset}").as_bytes()]).build(),
        );
        broker.kill();
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
        broker.restart();
    }
    let back = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
    let values: Vec<Vec<u8>> = back.into_iter().filter_map(|record| record.value).collect();
    assert_eq!(
        values,
        (0..12)
            .map(|offset| offset.to_string().into_bytes())
            .collect::<Vec<_>>()
    );
}

#[test]
fn what_was_read_is_still_there_after_a_kill() {
    // A consumer must never see what a crash can still take back.
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "seen", 1, &[]);
    for round in 0..5 {
        let producer = Producer::new(broker.bootstrap(), &[("linger.ms", "0")]);
        let stop = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let (stop, producer, topic) = (&stop, &producer, &topic);
            scope.spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) && number < 100_000 {
                    let _ = producer.send(topic, 0, &Outgoing::value(format!("{round}/{number}")));
                    number += 1;
                }
            });
            let mut connection = Connection::open(broker.bootstrap());
            let seen = wait_for("a few hundred records", PATIENCE, || {
                let high = fetch(&mut connection, topic, 0, 0).high_watermark;
                (high > 300 * (round + 1)).then_some(high)
            });
            broker.kill();
            stop.store(true, Ordering::Relaxed);
            seen
        });
        producer.abandon();
        broker.restart();
        let high = fetch(&mut Connection::open(broker.bootstrap()), &topic, 0, 0).high_watermark;
        assert!(
            high >= seen,
            "offset {seen} was shown, and the log now ends at {high}"
        );
    }
}

#[test]
fn killed_twice_in_a_row_and_while_starting() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topics = topics(&broker);
    let producer = Producer::new(broker.bootstrap(), &[("retries", "0")]);
    kill_under_load(&mut broker, &producer, &topics, 77, 3000);
    producer.abandon();
    let mut ledger = Ledger::new();
    promised(&mut ledger, &producer);
    for after_ms in [1, 3, 5, 10, 20, 40] {
        broker.start_and_kill(Duration::from_millis(after_ms));
    }
    broker.restart();
    broker.kill();
    broker.restart();
    ledger.check(broker.bootstrap(), true);
    // And offsets are not given out again for other records.
    let producer = Producer::new(broker.bootstrap(), &[]);
    for topic in &topics {
        for partition in 0..PARTITIONS {
            let more: Vec<Outgoing> = (0..50)
                .map(|n| Outgoing::value(format!("{topic}/{partition}/{n}")))
                .collect();
            ledger.enter(producer.send_all(topic, partition, &more));
        }
    }
    broker.kill();
    broker.restart();
    ledger.check(broker.bootstrap(), true);
}

#[test]
fn killed_while_topics_are_created() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    for round in 0..4 {
        let created = create_until_killed(&mut broker, round);
        broker.restart();
        let mut connection = Connection::open(broker.bootstrap());
        for topic in &created {
            for partition in 0..4 {
                let answer = produce(&mut connection, topic, partition, &Batch::of(&[b"x"]).build());
                assert_eq!(answer.error_code, 0, "{topic}-{partition} was created");
            }
        }
        // The one that was under way exists with all its partitions, or can be created now.
        let next = format!("round-{round}-{}", created.len());
        let answer = try_create(broker.bootstrap(), &next, 4, &[]);
        assert!(
            matches!(answer, Ok(()) | Err(RDKafkaErrorCode::TopicAlreadyExists)),
            "{next}: {answer:?}"
        );
        for partition in 0..4 {
            let answer = produce(&mut connection, &next, partition, &Batch::of(&[b"x"]).build());
            assert_eq!(answer.error_code, 0, "{next}-{partition}");
        }
    }
}

/// A power cut can leave the name of a small file without its content.
#[test]
fn an_empty_partition_metadata_of_an_unfinished_creation_does_not_stop_the_start() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "whole", 1, &[]);
    let mut ledger = Ledger::new();
    let producer = Producer::new(broker.bootstrap(), &[]);
    ledger.enter(producer.send_all(&topic, 0, &[Outgoing::value("kept")]));
    broker.kill();
    let half = broker.partition_folder("half", 0);
    std::fs::create_dir(&half).expect("a folder");
    std::fs::write(half.join("partition.metadata"), b"").expect("written");
    broker.restart();
    ledger.check(broker.bootstrap(), true);
    try_create(broker.bootstrap(), "half", 1, &[]).expect("the topic is created");
    broker.kill();
    broker.restart();
    ledger.check(broker.bootstrap(), true);
}

/// Creates topic after topic, kills the broker meanwhile, and gives those whose creation was acknowledged.
fn create_until_killed(broker: &mut Broker, round: usize) -> Vec<String> {
    use kafka_protocol::messages::CreateTopicsRequest;
    use kafka_protocol::messages::create_topics_request::CreatableTopic;
    let mut connection = Connection::open(broker.bootstrap());
    let wanted = |number: usize| {
        let topic = CreatableTopic::default()
            .with_name(ringlog_tests::raw::name(&format!("round-{round}-{number}")))
            .with_num_partitions(4)
            .with_replication_factor(1);
        CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(10_000)
    };
    let count = 3 + 4 * round;
    for number in 0..count {
        assert_eq!(connection.call(7, &wanted(number)).topics[0].error_code, 0);
    }
    // One more is on its way when the process ends.
    connection.send(7, &wanted(count));
    std::thread::park_timeout(Duration::from_micros(300 * round as u64));
    broker.kill();
    (0..count)
        .map(|number| format!("round-{round}-{number}"))
        .collect()
}

/// Indexes and snapshots are derived: without them nothing is lost, and they come back.
#[test]
fn missing_indexes_and_snapshots_are_rebuilt() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "derived", 1, &[SMALL_SEGMENTS]);
    let mut ledger = Ledger::new();
    for (round, kill) in [false, true].into_iter().enumerate() {
        let producer = Producer::new(
            broker.bootstrap(),
            &[("enable.idempotence", "true"), ("batch.size", "20000")],
        );
        let mut random = Random::new(round as u64 + 50);
        let records: Vec<Outgoing> = (0..400).map(|_| Outgoing::value(random.bytes(9000))).collect();
        ledger.enter(producer.send_all(&topic, 0, &records));
        if kill {
            broker.kill();
        } else {
            broker.stop();
        }
        let folder = broker.partition_folder(&topic, 0);
        for suffix in [".index", ".timeindex", ".snapshot"] {
            for path in with_suffix(&folder, suffix) {
                std::fs::remove_file(path).expect("removed");
            }
        }
        broker.restart();
        ledger.check(broker.bootstrap(), true);
        let middle = 400 * round as i64 + 123;
        assert_eq!(
            read_partition(broker.bootstrap(), &topic, 0, Offset::Offset(middle))[0].offset,
            middle
        );
        broker.stop();
        assert_derived(&folder);
        broker.restart();
    }
}

/// Every segment has its indexes, with as many entries as there must be, and the last end has a snapshot.
fn assert_derived(folder: &std::path::Path) {
    let logs = with_suffix(folder, ".log");
    assert!(logs.len() > 2, "{:?}", names(folder));
    let mut end = 0;
    for log in &logs {
        let (bytes, after) = walk_log(log);
        end = after;
        let entries = offset_index(&log.with_extension("index"));
        assert!(
            entries.len() as u64 >= bytes / 40_000,
            "{log:?}: {} entries for {bytes} bytes",
            entries.len()
        );
        assert!(
            entries.iter().all(|&(_, at)| (at as u64) < bytes.max(1)),
            "{log:?}"
        );
        assert!(
            bytes == 0 || !time_index(&log.with_extension("timeindex")).is_empty(),
            "{log:?}"
        );
    }
    assert!(
        folder.join(format!("{end:020}.snapshot")).exists(),
        "{:?}",
        names(folder)
    );
}

#[test]
fn killed_while_deleting_topics() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    use kafka_protocol::messages::DeleteTopicsRequest;
    use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
    let topics: Vec<String> = (0..6).map(|_| create(&broker, "doomed", 3, &[])).collect();
    let kept = create(&broker, "kept", 1, &[]);
    let mut ledger = Ledger::new();
    let producer = Producer::new(broker.bootstrap(), &[]);
    for topic in &topics {
        producer.send_all(topic, 0, &[Outgoing::value("x")]);
    }
    ledger.enter(producer.send_all(&kept, 0, &[Outgoing::value("kept")]));
    let mut connection = Connection::open(broker.bootstrap());
    let wanted = |topic: &String| {
        let state = DeleteTopicState::default().with_name(Some(ringlog_tests::raw::name(topic)));
        DeleteTopicsRequest::default()
            .with_topics(vec![state])
            .with_timeout_ms(10_000)
    };
    for topic in &topics[..3] {
        assert_eq!(connection.call(6, &wanted(topic)).responses[0].error_code, 0);
    }
    for topic in &topics[3..] {
        connection.send(6, &wanted(topic));
    }
    broker.kill();
    broker.restart();
    ledger.check(broker.bootstrap(), true);
    let mut connection = Connection::open(broker.bootstrap());
    for (index, topic) in topics.iter().enumerate() {
        let answer = fetch(&mut connection, topic, 0, 0);
        assert!(
            answer.error_code == 3 || (index >= 3 && answer.high_watermark == 1),
            "{topic}: {}",
            answer.error_code
        );
    }
}
