//! Segments that have outlived retention.ms or retention.bytes go, with librdkafka. Checked on Apache Kafka 4.3.1, started with
//! `log.retention.check.interval.ms=100` and `log.initial.task.delay.ms=0`: the same earliest offsets.

use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{FindCoordinatorRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;
use rdkafka::Offset;
use rdkafka::error::RDKafkaErrorCode;
use ringlog_tests::admin::create;
use ringlog_tests::broker::{Builder, unique};
use ringlog_tests::client::{Outgoing, Producer, read_partition, try_read, watermarks};
use ringlog_tests::raw::Connection;
use ringlog_tests::txn::{self, READ_COMMITTED, committed_records, end_offset};
use ringlog_tests::{Broker, PATIENCE, code, wait_for};

/// Ten records of this size fill a segment of [`SEGMENT_BYTES`].
const VALUE_BYTES: usize = 100_000;
const SEGMENT_BYTES: (&str, &str) = ("segment.bytes", "1048576");
const HOUR: (&str, &str) = ("retention.ms", "3600000");
const FOREVER: (&str, &str) = ("retention.ms", "-1");
/// Records of any time are taken.
const ANY_TIME: (&str, &str) = ("message.timestamp.after.max.ms", "9223372036854775807");
/// Somewhere in 2999.
const YEAR_2999: i64 = 32_480_000_000_000;

fn looking() -> Builder {
    Broker::own()
        .set("log.retention.check.interval.ms", 100)
        .set("log.initial.task.delay.ms", 0)
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before 2999")
}

/// The value of the record at an offset.
fn value(offset: usize) -> Vec<u8> {
    let mut value = offset.to_string().into_bytes();
    value.resize(VALUE_BYTES, b'.');
    value
}

/// Sends records one by one, each a batch, with this timestamp; their values follow from their offsets.
fn fill(broker: &Broker, topic: &str, from: usize, count: usize, timestamp_ms: i64) {
    let producer = Producer::new(broker.bootstrap(), &[("linger.ms", "0")]);
    for offset in from..from + count {
        let sent = producer.send_one(topic, 0, &Outgoing::value(value(offset)).at(timestamp_ms));
        assert_eq!(sent.expect("acknowledged").offset, offset as i64);
    }
}

fn earliest(broker: &Broker, topic: &str) -> i64 {
    watermarks(broker.bootstrap(), topic, 0).0
}

fn start_becomes(broker: &Broker, topic: &str, start: i64) {
    let mut last = -1;
    let reached = || {
        last = earliest(broker, topic);
        (last >= start).then_some(())
    };
    wait_for(&format!("{topic} starts at {start}"), PATIENCE, reached);
    assert_eq!(last, start, "{topic}");
}

/// Waits until the broker has looked at all logs once more, and checks that the log starts there still.
fn start_stays(broker: &Broker, topic: &str, start: i64) {
    let canary = create(broker, "canary", 1, &[HOUR]);
    for end in 1..4 {
        let producer = Producer::new(broker.bootstrap(), &[]);
        producer.send_all(&canary, 0, &[Outgoing::value("old").at(1)]);
        start_becomes(broker, &canary, end);
    }
    assert_eq!(earliest(broker, topic), start, "{topic}");
}

fn alter(broker: &Broker, topic: &str, pairs: &[(&str, &str)]) {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let config = |(key, value): &(&str, &str)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(0)
            .with_value(Some(text(value)))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configs(pairs.iter().map(config).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = Connection::open(broker.bootstrap()).call(1, &request);
    assert_eq!(answer.responses[0].error_code, code::NONE);
}

/// All there is from an offset on is what was sent.
fn holds(broker: &Broker, topic: &str, from: i64, end: i64) {
    let records = read_partition(broker.bootstrap(), topic, 0, Offset::Offset(from));
    let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (from..end).collect::<Vec<_>>());
    for record in records {
        assert!(
            record.value == Some(value(record.offset as usize)),
            "offset {}",
            record.offset
        );
    }
}

#[test]
fn old_segments_go_and_readers_find_where_the_log_starts() {
    let broker = looking().cores(1).or_external();
    let topic = create(&broker, "old", 1, &[SEGMENT_BYTES, FOREVER]);
    fill(&broker, &topic, 0, 25, 1_000);
    fill(&broker, &topic, 25, 10, now_ms());
    // The records of today are in a segment of their own: segment.ms lies between them.
    alter(&broker, &topic, &[HOUR]);
    start_becomes(&broker, &topic, 25);
    start_stays(&broker, &topic, 25);
    holds(&broker, &topic, 25, 35);
    let from_3 = |reset| {
        let settings = [("auto.offset.reset", reset)];
        try_read(broker.bootstrap(), &topic, &[0], Offset::Offset(3), &settings)
    };
    let records = from_3("earliest")
        .expect("all records")
        .remove(&0)
        .expect("records");
    assert_eq!((records[0].offset, records.len()), (25, 10));
    let refused = from_3("error").expect_err("out of range").rdkafka_error_code();
    assert_eq!(refused, Some(RDKafkaErrorCode::AutoOffsetReset));
}

#[test]
fn a_log_past_its_size_loses_its_oldest_segments() {
    let broker = looking().cores(1).or_external();
    let limits = [SEGMENT_BYTES, FOREVER, ("retention.bytes", "2000000")];
    let topic = create(&broker, "large", 1, &limits);
    // One of the log's segments is dropped as long as that leaves 2,000,000 bytes.
    for (count, start) in [(20, 0), (9, 0), (2, 10), (10, 20)] {
        let from = watermarks(broker.bootstrap(), &topic, 0).1;
        fill(&broker, &topic, from as usize, count, now_ms());
        start_becomes(&broker, &topic, start);
        start_stays(&broker, &topic, start);
    }
    holds(&broker, &topic, 20, 41);
}

#[test]
fn all_of_it_goes_and_the_log_goes_on_at_its_end() {
    let broker = looking().cores(1).or_external();
    for limit in [HOUR, ("retention.bytes", "0")] {
        let topic = create(&broker, "all", 1, &[SEGMENT_BYTES, FOREVER]);
        fill(&broker, &topic, 0, 15, 1_000);
        alter(&broker, &topic, &[limit]);
        start_becomes(&broker, &topic, 15);
        alter(&broker, &topic, &[FOREVER, ("retention.bytes", "-1")]);
        fill(&broker, &topic, 15, 5, 1_000);
        start_stays(&broker, &topic, 15);
        holds(&broker, &topic, 15, 20);
    }
}

#[test]
fn a_record_of_2999_keeps_what_is_behind_it_and_those_of_1970_go() {
    let broker = looking().cores(1).or_external();
    let topic = create(&broker, "future", 1, &[SEGMENT_BYTES, FOREVER, ANY_TIME]);
    // For librdkafka 0 is no time.
    fill(&broker, &topic, 0, 10, 1);
    fill(&broker, &topic, 10, 1, YEAR_2999);
    fill(&broker, &topic, 11, 24, 1);
    alter(&broker, &topic, &[HOUR]);
    start_becomes(&broker, &topic, 10);
    start_stays(&broker, &topic, 10);
    alter(&broker, &topic, &[("retention.bytes", "1400000")]);
    // By size that segment goes; then by age all the others.
    start_becomes(&broker, &topic, 35);
}

#[test]
fn what_a_topic_keeps_changes_while_the_broker_runs() {
    let broker = looking().cores(1).or_external();
    let topic = create(
        &broker,
        "altered",
        1,
        &[SEGMENT_BYTES, FOREVER, ("cleanup.policy", "compact")],
    );
    let producer = Producer::new(broker.bootstrap(), &[("linger.ms", "0")]);
    for offset in 0..25 {
        let record = Outgoing::value(value(offset)).at(1_000);
        let key = Some(offset.to_string().into_bytes());
        producer
            .send_one(&topic, 0, &Outgoing { key, ..record })
            .expect("acknowledged");
    }
    start_stays(&broker, &topic, 0);
    alter(&broker, &topic, &[HOUR, ("retention.bytes", "0")]);
    // Nothing is deleted of a topic that is compacted only.
    start_stays(&broker, &topic, 0);
    alter(
        &broker,
        &topic,
        &[
            FOREVER,
            ("retention.bytes", "1400000"),
            ("cleanup.policy", "compact,delete"),
        ],
    );
    start_becomes(&broker, &topic, 10);
    alter(&broker, &topic, &[HOUR]);
    start_becomes(&broker, &topic, 25);
}

#[test]
fn readers_of_what_is_committed_pass_over_what_went() {
    let broker = looking().cores(1).or_external();
    let topic = create(&broker, "committed", 1, &[SEGMENT_BYTES, FOREVER]);
    let mut connection = Connection::open(broker.bootstrap());
    let ids: Vec<String> = (0..3).map(|_| unique("retention")).collect();
    // Who asks for a coordinator finds that its topic is made.
    wait_for("there is a coordinator", PATIENCE, || {
        let keys = vec![StrBytes::from_string(ids[0].clone())];
        let request = FindCoordinatorRequest::default()
            .with_coordinator_keys(keys)
            .with_key_type(1);
        let answer = connection.call(4, &request);
        (answer.coordinators[0].error_code == code::NONE).then_some(())
    });
    let mut producers: Vec<txn::Producer> = ids
        .iter()
        .map(|id| txn::init(&mut connection, id, 60_000))
        .collect();
    let mut kept = Vec::new();
    // The first goes on for all the time, and aborts; the others take turns.
    let big = vec![b'x'; VALUE_BYTES];
    let send = |connection: &mut Connection, who: usize, producer, sequence| {
        let batch = txn::batch(producer, sequence, &[&big]);
        let (error, offset) = txn::write_as(connection, 12, &ids[who], &topic, 0, &batch);
        assert_eq!(error, code::NONE);
        offset
    };
    for round in 0..8 {
        send(&mut connection, 0, producers[0], round);
        let (who, commits) = (1 + round as usize % 2, round % 3 != 0);
        for sequence in 0..3 {
            let offset = send(&mut connection, who, producers[who], sequence);
            kept.extend(commits.then_some(offset));
        }
        let (error, next) = txn::end_and_go_on(&mut connection, &ids[who], producers[who], commits);
        assert_eq!(error, code::NONE);
        producers[who] = next;
    }
    alter(&broker, &topic, &[("retention.bytes", "1400000")]);
    let start = wait_for("segments go", PATIENCE, || {
        Some(earliest(&broker, &topic)).filter(|start| *start > 0)
    });
    start_stays(&broker, &topic, start);
    // The first has begun in a segment that is gone, and is open still.
    assert_eq!(end_offset(&mut connection, &topic, 0, READ_COMMITTED), start);
    let aborted = txn::end_and_go_on(&mut connection, &ids[0], producers[0], false);
    assert_eq!(aborted.0, code::NONE);
    wait_for("all is decided", PATIENCE, || {
        let mut end = |isolation| end_offset(&mut connection, &topic, 0, isolation);
        (end(READ_COMMITTED) == end(0)).then_some(())
    });
    let read = committed_records(&mut connection, &topic, 0, start).expect("records");
    let offsets: Vec<i64> = read.iter().map(|(offset, _)| *offset).collect();
    kept.retain(|offset| *offset >= start);
    assert_eq!(offsets, kept);
    println!("{topic} starts at {start}");
}

#[test]
fn the_brokers_own_settings_are_the_topics_defaults() {
    for (pairs, start) in [
        (&[("log.retention.hours", "1")][..], 10),
        (
            &[
                ("log.retention.hours", "1"),
                ("log.retention.minutes", "100000000"),
            ],
            0,
        ),
        (
            &[
                ("log.retention.minutes", "100000000"),
                ("log.retention.ms", "3600000"),
            ],
            10,
        ),
        (
            &[("log.retention.ms", "-1"), ("log.retention.bytes", "1200000")],
            10,
        ),
    ] {
        let set = |builder: Builder, (key, value): &(&str, &str)| builder.set(key, value);
        let builder = looking().cores(1).set("log.segment.bytes", 1_048_576);
        // What is old by then goes at once, or all together.
        let builder = builder.set("log.initial.task.delay.ms", 3_600_000);
        let Some(mut broker) = pairs.iter().fold(builder, set).start() else {
            return;
        };
        let topic = create(&broker, "default", 1, &[]);
        fill(&broker, &topic, 0, 10, 1_000);
        fill(&broker, &topic, 10, 13, now_ms());
        broker.stop();
        broker.set("log.initial.task.delay.ms", 0);
        broker.restart();
        start_becomes(&broker, &topic, start);
        start_stays(&broker, &topic, start);
        let said = broker.log();
        assert_eq!(
            said.contains("the log starts at offset 10"),
            start == 10,
            "{said}"
        );
    }
}

#[test]
fn a_restart_knows_how_old_segments_are_and_where_the_log_starts() {
    for kill in [false, true] {
        let Some(mut broker) = looking().start() else {
            return;
        };
        let topic = create(&broker, "restarted", 1, &[SEGMENT_BYTES, FOREVER]);
        fill(&broker, &topic, 0, 20, 1_000);
        fill(&broker, &topic, 20, 15, now_ms());
        let restart = |broker: &mut Broker| {
            if kill {
                broker.kill();
            } else {
                broker.stop();
            }
            broker.restart();
        };
        restart(&mut broker);
        alter(&broker, &topic, &[HOUR]);
        start_becomes(&broker, &topic, 20);
        let folder = broker.partition_folder(&topic, 0);
        wait_for("the files go", PATIENCE, || {
            (first_log(&folder) == 20).then_some(())
        });
        restart(&mut broker);
        start_stays(&broker, &topic, 20);
        holds(&broker, &topic, 20, 35);
    }
}

/// Base offset of the oldest segment in a folder.
fn first_log(folder: &std::path::Path) -> i64 {
    let entries = std::fs::read_dir(folder).expect("the partition's folder");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let bases = names.filter_map(|name| name.strip_suffix(".log")?.parse().ok());
    bases.min().expect("a log")
}

#[test]
fn killed_in_the_middle_nothing_is_lost_above_the_start_and_nothing_comes_back() {
    let limits = [SEGMENT_BYTES, FOREVER, ("retention.bytes", "1200000")];
    let Some(mut broker) = looking().set("log.retention.check.interval.ms", 2).start() else {
        return;
    };
    let topic = create(&broker, "killed", 1, &limits);
    let folder = broker.partition_folder(&topic, 0);
    let mut end = 0;
    for round in 0..8 {
        fill(&broker, &topic, end, 13 + round, now_ms());
        end += 13 + round;
        let gone_before = first_log(&folder);
        broker.kill();
        broker.restart();
        let (start, found_end) = watermarks(broker.bootstrap(), &topic, 0);
        assert!(
            start >= gone_before,
            "{start} came back, {gone_before} was the oldest file"
        );
        assert_eq!(found_end, end as i64);
        let start = wait_for("it is as short as it may be", PATIENCE, || {
            let start = earliest(&broker, &topic);
            (found_end - start < 23).then_some(start)
        });
        holds(&broker, &topic, start, found_end);
    }
}
