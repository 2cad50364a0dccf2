//! Topics that are deleted, made again under the same name and given more partitions, while librdkafka produces and consumes and the broker is
//! killed: nothing of what is deleted is left or comes back, and nothing of the rest is missing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, ProduceRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use ringlog_tests::admin::{create, try_create};
use ringlog_tests::client::{Outgoing, Producer, Quiet, consumer, watermarks};
use ringlog_tests::files::names;
use ringlog_tests::oracle::Ledger;
use ringlog_tests::raw::{self, Batch, Connection, name, produce, topic_id};
use ringlog_tests::{Broker, PATIENCE, Random, code, wait_for};

const SMALL_SEGMENTS: (&str, &str) = ("segment.bytes", "1048576");
/// Topics that come and go.
const NAMES: [&str; 3] = ["churn-0", "churn-1", "churn-2"];
/// The topic that stays, and grows.
const KEPT: &str = "kept";

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn create_request(topic: &str, partitions: i32) -> CreateTopicsRequest {
    let config = CreatableTopicConfig::default()
        .with_name(text(SMALL_SEGMENTS.0))
        .with_value(Some(text(SMALL_SEGMENTS.1)));
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
}

fn delete_request(topic: &str) -> DeleteTopicsRequest {
    DeleteTopicsRequest::default()
        .with_topics(vec![DeleteTopicState::default().with_name(Some(name(topic)))])
        .with_timeout_ms(30_000)
}

fn grow_request(topic: &str, count: i32) -> CreatePartitionsRequest {
    let topic = CreatePartitionsTopic::default()
        .with_name(name(topic))
        .with_count(count)
        .with_assignments(None);
    CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
}

/// What is known of a topic that comes and goes: how many partitions it has at least, none if it is not there, nothing if nobody knows.
type Known = Option<i32>;

/// Deletes, makes and enlarges topics one after the other, and keeps in mind what was confirmed.
struct Changes {
    random: Random,
    known: BTreeMap<&'static str, Known>,
    kept_partitions: i32,
}

enum Change {
    Create(&'static str, i32),
    Delete(&'static str),
    Grow(&'static str, i32),
}

impl Changes {
    fn new(seed: u64) -> Changes {
        Changes {
            random: Random::new(seed),
            known: NAMES.iter().map(|name| (*name, Some(0))).collect(),
            kept_partitions: 2,
        }
    }

    fn next(&mut self) -> Change {
        if self.random.below(12) == 0 && self.kept_partitions < 6 {
            return Change::Grow(KEPT, self.kept_partitions + 1);
        }
        let topic = NAMES[self.random.below(NAMES.len())];
        let count = 1 + self.random.below(4) as i32;
        match self.known[topic] {
            Some(0) => Change::Create(topic, count),
            Some(there) if self.random.below(3) == 0 => Change::Grow(topic, there + 1),
            _ => Change::Delete(topic),
        }
    }

    fn confirm(&mut self, change: &Change) {
        match *change {
            Change::Create(topic, count) | Change::Grow(topic, count) if topic != KEPT => {
                self.known.insert(topic, Some(count));
            }
            Change::Delete(topic) => drop(self.known.insert(topic, Some(0))),
            Change::Create(_, count) | Change::Grow(_, count) => self.kept_partitions = count,
        }
    }

    /// The broker died before it answered.
    fn doubt(&mut self, change: &Change) {
        let (Change::Create(topic, _) | Change::Delete(topic) | Change::Grow(topic, _)) = *change;
        if topic != KEPT {
            self.known.insert(topic, None);
        }
    }

    /// One change, answered and right.
    fn make(&mut self, connection: &mut Connection) {
        let change = self.next();
        let error = match change {
            Change::Create(topic, count) => {
                connection.call(7, &create_request(topic, count)).topics[0].error_code
            }
            Change::Delete(topic) => connection.call(6, &delete_request(topic)).responses[0].error_code,
            Change::Grow(topic, count) => {
                connection.call(3, &grow_request(topic, count)).results[0].error_code
            }
        };
        assert_eq!(error, code::NONE);
        self.confirm(&change);
    }

    /// A change that is asked for, and not waited for.
    fn begin(&mut self, connection: &mut Connection) {
        fn send<R: Request>(connection: &mut Connection, version: i16, request: &R) {
            connection.send(version, request);
        }
        let change = self.next();
        match change {
            Change::Create(topic, count) => send(connection, 7, &create_request(topic, count)),
            Change::Delete(topic) => send(connection, 6, &delete_request(topic)),
            Change::Grow(topic, count) => send(connection, 3, &grow_request(topic, count)),
        }
        self.doubt(&change);
    }

    /// After a restart: what was confirmed is so, and what was in doubt is known again.
    fn check(&mut self, connection: &mut Connection) {
        let found = raw::metadata(connection, 12, &NAMES);
        for topic in &found.topics {
            let name = topic.name.as_ref().expect("a name").0.to_string();
            let known = self.known.iter_mut().find(|(known, _)| **known == name);
            let (_, known) = known.expect("a topic that was asked for");
            let there = match topic.error_code {
                code::NONE => topic.partitions.len() as i32,
                code::UNKNOWN_TOPIC_OR_PARTITION => 0,
                error => panic!("{name}: error {error}"),
            };
            match *known {
                Some(0) => assert_eq!(there, 0, "{name} is back"),
                Some(least) => assert_eq!(there, least, "{name}"),
                None => {}
            }
            *known = Some(there);
        }
        let kept = raw::metadata(connection, 12, &[KEPT]).topics[0].partitions.len() as i32;
        assert!(kept >= self.kept_partitions, "{kept} of {}", self.kept_partitions);
        self.kept_partitions = kept;
    }
}

/// Folders of partitions, and what ends as something removed does, anywhere in the data directory.
fn left_over(data: &Path) -> (BTreeSet<String>, Vec<String>) {
    let mut folders = BTreeSet::new();
    let mut removed = Vec::new();
    for entry in names(data) {
        if entry.ends_with("-delete") {
            removed.push(entry);
        } else if data.join(&entry).is_dir() {
            let inside = std::fs::read_dir(data.join(&entry)).into_iter().flatten();
            let inside = inside.filter_map(|file| file.ok()?.file_name().into_string().ok());
            removed.extend(inside.filter(|name| name.ends_with(".deleted")));
            folders.insert(entry);
        }
    }
    (folders, removed)
}

/// Waits until nothing is in the directory but the partitions of topics that are there.
fn nothing_is_left(broker: &Broker, changes: &Changes) {
    let mut wanted: HashSet<String> = (0..changes.kept_partitions)
        .map(|i| format!("{KEPT}-{i}"))
        .collect();
    for (topic, known) in &changes.known {
        wanted.extend((0..known.expect("known")).map(|i| format!("{topic}-{i}")));
    }
    let is_ours = |folder: &String| folder.starts_with(KEPT) || folder.starts_with("churn");
    let begun = Instant::now();
    loop {
        let (folders, removed) = left_over(broker.data());
        let ours: HashSet<String> = folders.into_iter().filter(is_ours).collect();
        if ours == wanted && removed.is_empty() {
            return;
        }
        let surplus: Vec<_> = ours.symmetric_difference(&wanted).collect();
        assert!(
            begun.elapsed() < PATIENCE,
            "left, or missing: {surplus:?} {removed:?}\n{}",
            broker.log()
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Sends to topics that stay and to those that go, until told to stop.
fn load(kept: &Producer, churn: &Producer, seed: u64, stop: &AtomicBool) {
    let mut random = Random::new(seed);
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let size = [300, 300, 60_000][random.below(3)];
        let mut value = format!("{seed}/{number}/").into_bytes();
        value.resize(value.len() + size, b'v');
        if kept.on_the_way() < 2_000 {
            let _ = kept.send(KEPT, -1, &Outgoing::value(value.clone()));
        }
        if churn.on_the_way() < 500 {
            // One that is not there is refused at once, or later.
            let _ = churn.send(NAMES[random.below(NAMES.len())], -1, &Outgoing::value(value));
        }
        number += 1;
        std::thread::park_timeout(Duration::from_micros(300));
    }
}

/// What the consumer has seen: how many records, and the marks among them.
#[derive(Default)]
struct Seen {
    count: AtomicUsize,
    marks: Mutex<HashSet<(String, Vec<u8>)>>,
}

fn watch(consumer: &BaseConsumer<Quiet>, seen: &Seen, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
            seen.count.fetch_add(1, Ordering::Relaxed);
            if message.key().is_some() {
                let mark = (
                    message.topic().to_owned(),
                    message.payload().unwrap_or_default().to_vec(),
                );
                seen.marks.lock().expect("no panic while held").insert(mark);
            }
        }
    }
}

/// Refusals that a client may give its user when a topic is deleted or the broker is killed below it.
fn is_expected(error: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error,
        Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopicId
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::MessageTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::BrokerDestroy
            | Code::PurgeQueue
            | Code::PurgeInflight
    )
}

fn churn(seed: u64, cores: usize, delay_ms: u64) {
    let builder = Broker::own().cores(cores).same_port();
    let builder = builder.set("auto.create.topics.enable", false);
    let builder = builder.set("log.segment.delete.delay.ms", delay_ms);
    let Some(mut broker) = builder.start() else { return };
    let bootstrap = broker.bootstrap().to_owned();
    try_create(&bootstrap, KEPT, 2, &[SMALL_SEGMENTS]).expect("created");
    let settings = [
        ("topic.metadata.refresh.interval.ms", "300"),
        ("reconnect.backoff.ms", "20"),
        ("message.timeout.ms", "60000"),
    ];
    let kept = Producer::new(
        &bootstrap,
        &[&settings[..], &[("enable.idempotence", "true")]].concat(),
    );
    let churned = Producer::new(&bootstrap, &settings);
    let reader = consumer(
        &bootstrap,
        &[
            ("auto.offset.reset", "earliest"),
            ("topic.metadata.refresh.interval.ms", "300"),
            ("reconnect.backoff.ms", "20"),
        ],
    );
    reader
        .subscribe(&[KEPT, NAMES[0], NAMES[1], NAMES[2]])
        .expect("subscribed");
    let (stop, full, seen) = (AtomicBool::new(false), AtomicBool::new(false), Seen::default());
    let mut changes = Changes::new(seed);
    let mut random = Random::new(seed + 1);
    std::thread::scope(|scope| {
        let (stop, full, seen) = (&stop, &full, &seen);
        let _stops = (Stops(stop), Stops(full));
        scope.spawn(|| load(&kept, &churned, seed, full));
        scope.spawn(|| watch(&reader, seen, stop));
        for round in 0..4 {
            let mut connection = Connection::open(&bootstrap);
            let count = 5 + random.below(25);
            (0..count).for_each(|_| changes.make(&mut connection));
            let before = kept.acknowledged();
            wait_for("producers go on", PATIENCE, || {
                (kept.acknowledged() > before).then_some(())
            });
            println!("seed {seed}, round {round}: killed after {count} changes");
            changes.begin(&mut connection);
            // Wherever it is by then.
            std::thread::park_timeout(Duration::from_micros(random.below(4_000) as u64));
            broker.kill();
            broker.restart();
            let mut connection = Connection::open(&bootstrap);
            changes.check(&mut connection);
            nothing_is_left(&broker, &changes);
        }
        // Clients go on where there is something to go on with, and the reader gets to the end of it.
        full.store(true, Ordering::Relaxed);
        let mut connection = Connection::open(&bootstrap);
        for (topic, known) in changes.known.clone() {
            if known == Some(0) {
                assert_eq!(
                    connection.call(7, &create_request(topic, 2)).topics[0].error_code,
                    code::NONE
                );
                changes.known.insert(topic, Some(2));
            }
        }
        for topic in [KEPT].iter().chain(&NAMES) {
            let mark = Outgoing {
                key: Some(b"mark".to_vec()),
                ..Outgoing::value(format!("{seed}"))
            };
            wait_for(&format!("{topic} is written to and read"), 4 * PATIENCE, || {
                let _ = churned.send(topic, 0, &mark);
                let marks = seen.marks.lock().expect("no panic while held");
                let found = marks.contains(&((*topic).to_owned(), format!("{seed}").into_bytes()));
                found.then_some(())
            });
        }
    });
    churned.abandon();
    for refused in churned.take().into_iter().filter_map(Result::err) {
        assert!(is_expected(refused), "{refused:?}");
    }
    kept.flush();
    let mut ledger = Ledger::new();
    ledger.enter(
        kept.take()
            .into_iter()
            .map(|done| done.expect("all is acknowledged in the end")),
    );
    assert!(ledger.len() > 500 && seen.count.load(Ordering::Relaxed) > 500);
    // The marks are nobody's promise.
    check_kept(&ledger, &broker);
    broker.stop();
    broker.restart();
    changes.check(&mut Connection::open(&bootstrap));
    nothing_is_left(&broker, &changes);
    check_kept(&ledger, &broker);
}

fn check_kept(ledger: &Ledger, broker: &Broker) {
    ledger.check(broker.bootstrap(), false);
}

/// Threads end also when the test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn topics_come_and_go_under_load_and_kills_seed_1() {
    churn(1, 1, 0);
}

#[test]
fn topics_come_and_go_under_load_and_kills_seed_2() {
    churn(2, 2, 50);
}

#[test]
fn topics_come_and_go_under_load_and_kills_seed_3() {
    churn(3, 2, 3_600_000);
}

#[test]
fn a_deleted_topic_is_told_by_kafkas_errors_and_one_of_its_name_is_another() {
    let broker = Broker::any();
    let topic = create(&broker, "removed", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(
        produce(&mut connection, &topic, 0, &Batch::of(&[b"x"]).build()).error_code,
        code::NONE
    );
    let old = topic_id(&mut connection, &topic);
    let by_id = |connection: &mut Connection| {
        let request = raw::produce_request(&topic, 0, -1, &Batch::of(&[b"y"]).build());
        let mut data = request.topic_data.clone();
        data[0].topic_id = old;
        let produced = connection.call(
            13,
            &ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(9_000)
                .with_topic_data(data),
        );
        let want = raw::Want {
            partition: 0,
            offset: 0,
            max_bytes: 1 << 20,
        };
        let mut wanted = raw::fetch_request(&topic, &[want], 0, 0).topics;
        wanted[0].topic_id = old;
        let fetched = connection.call(
            13,
            &FetchRequest::default()
                .with_max_bytes(1 << 20)
                .with_session_epoch(-1)
                .with_topics(wanted),
        );
        (
            produced.responses[0].partition_responses[0].error_code,
            fetched.responses[0].partitions[0].error_code,
        )
    };
    assert_eq!(by_id(&mut connection), (code::NONE, code::NONE));
    assert_eq!(
        connection.call(6, &delete_request(&topic)).responses[0].error_code,
        code::NONE
    );
    let gone = code::UNKNOWN_TOPIC_OR_PARTITION;
    wait_for("the topic is gone", PATIENCE, || {
        let refused = produce(&mut connection, &topic, 0, &Batch::of(&[b"x"]).build()).error_code;
        (refused == gone).then_some(())
    });
    assert_eq!(raw::fetch(&mut connection, &topic, 0, 0).error_code, gone);
    assert_eq!(
        by_id(&mut connection),
        (code::UNKNOWN_TOPIC_ID, code::UNKNOWN_TOPIC_ID)
    );
    try_create(broker.bootstrap(), &topic, 1, &[]).expect("created again");
    assert_eq!(
        by_id(&mut connection),
        (code::UNKNOWN_TOPIC_ID, code::UNKNOWN_TOPIC_ID)
    );
    assert_ne!(topic_id(&mut connection, &topic), old);
    assert_eq!(
        watermarks(broker.bootstrap(), &topic, 0),
        (0, 0),
        "nothing of the old one"
    );
}

#[test]
fn files_of_what_is_deleted_stay_for_the_delay_and_go_at_a_restart() {
    let builder = Broker::own()
        .set("log.segment.delete.delay.ms", 3_600_000)
        .set("log.retention.check.interval.ms", 100)
        .set("log.initial.task.delay.ms", 0);
    let Some(mut broker) = builder.start() else { return };
    let most = ("retention.bytes", "1000000");
    let slow = create(&broker, "slow", 1, &[SMALL_SEGMENTS, most]);
    let quick = create(
        &broker,
        "quick",
        1,
        &[SMALL_SEGMENTS, most, ("file.delete.delay.ms", "0")],
    );
    let gone = create(&broker, "gone", 2, &[]);
    let producer = Producer::new(broker.bootstrap(), &[]);
    for topic in [&slow, &quick] {
        let records = vec![Outgoing::value(vec![7; 100_000]); 45];
        producer.send_all(topic, 0, &records);
        wait_for("old segments go", PATIENCE, || {
            (watermarks(broker.bootstrap(), topic, 0).0 >= 20).then_some(())
        });
    }
    let deleted = |broker: &Broker, topic: &str| -> usize {
        let inside = names(&broker.partition_folder(topic, 0)).into_iter();
        inside.filter(|name| name.ends_with(".log.deleted")).count()
    };
    wait_for("their files are renamed", PATIENCE, || {
        (deleted(&broker, &slow) >= 2).then_some(())
    });
    wait_for("no file is kept without a delay", PATIENCE, || {
        (deleted(&broker, &quick) == 0).then_some(())
    });
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(
        connection.call(6, &delete_request(&gone)).responses[0].error_code,
        code::NONE
    );
    let left = |broker: &Broker| left_over(broker.data()).1.len();
    wait_for("its folders are renamed", PATIENCE, || {
        let hidden = names(broker.data()).into_iter();
        let hidden = hidden.filter(|name| name.starts_with(&gone) && name.ends_with("-delete"));
        (hidden.count() == 2).then_some(())
    });
    assert!(deleted(&broker, &slow) >= 2);
    // As Kafka: a stop, or a kill, ends the waiting, and the next start removes all of it.
    for clean in [true, false] {
        match clean {
            true => broker.stop(),
            false => broker.kill(),
        }
        assert!(!clean || left(&broker) > 0, "nobody waits for it");
        broker.restart();
        wait_for("nothing is left", PATIENCE, || (left(&broker) == 0).then_some(()));
    }
    assert!(watermarks(broker.bootstrap(), &slow, 0).0 >= 20);
}
