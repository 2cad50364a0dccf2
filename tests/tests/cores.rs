//! What a broker tells of its cores: a real producer's load is in the figures, to the last request, and bad questions are
//! refused as every other is.

use std::collections::BTreeMap;
use std::process::Command;

use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsRequest;
use rdkafka::Offset;
use ringlog::wire::Decoder;
use ringlog::wire::describe_cores::{
    CoreDescription, RinglogDescribeCoresRequest, RinglogDescribeCoresResponse,
};
use ringlog_tests::admin::create;
use ringlog_tests::broker::binary;
use ringlog_tests::client::{Outgoing, Producer, read_partition};
use ringlog_tests::group::coordinator;
use ringlog_tests::raw::{Connection, header_bytes};
use ringlog_tests::{Broker, PATIENCE, code, wait_for};
use serde_json::Value;

const KEY: i16 = 31_000;
const RECORDS: usize = 200;
/// Partitions of the topic for groups.
const OF_GROUPS: i32 = 3;
const PARTITIONS: i32 = 4;

fn question(version: i16, max_partitions: i32) -> Vec<u8> {
    let mut frame = header_bytes(KEY, version, 5, 2);
    let request = RinglogDescribeCoresRequest {
        max_partitions,
        topic: None,
    };
    request.encode(&mut frame, 0);
    frame
}

fn ask(connection: &mut Connection, max_partitions: i32) -> RinglogDescribeCoresResponse {
    connection.send_frame(&question(0, max_partitions)).expect("sent");
    let mut answer = Bytes::from(connection.read_frame().expect("an answer"));
    assert_eq!(
        answer.split_to(5)[..],
        [0, 0, 0, 5, 0],
        "correlation id and no tags"
    );
    let mut from = Decoder::new(&answer);
    let response = RinglogDescribeCoresResponse::decode(&mut from, 0).expect("a response");
    assert_eq!(from.remaining(), 0);
    response
}

fn cores(connection: &mut Connection, max_partitions: i32) -> Vec<CoreDescription> {
    let response = ask(connection, max_partitions);
    assert_eq!(response.error_code, code::NONE, "{:?}", response.error_message);
    response.cores
}

/// A counter over all cores.
fn counter(cores: &[CoreDescription], name: &str) -> i64 {
    let all = cores.iter().flat_map(|core| &core.counters);
    let found: Vec<i64> = all.filter(|c| c.name == name).map(|c| c.value).collect();
    assert_eq!(found.len(), cores.len(), "{name}");
    found.iter().sum()
}

/// Count and sum in nanoseconds of each stage over all cores.
fn stages(cores: &[CoreDescription]) -> BTreeMap<String, (i64, i64)> {
    let mut all = BTreeMap::new();
    for stage in cores.iter().flat_map(|core| &core.stages) {
        let count: i64 = stage.buckets.iter().map(|bucket| bucket.count).sum();
        let sum: &mut (i64, i64) = all.entry(stage.name.clone()).or_default();
        *sum = (sum.0 + count, sum.1 + stage.sum_ns);
    }
    all
}

/// One batch with one record a request, over all partitions; then all of it read back.
fn load(broker: &Broker, topic: &str) {
    let single = [("batch.num.messages", "1"), ("linger.ms", "0")];
    let producer = Producer::new(broker.bootstrap(), &single);
    for at in 0..RECORDS {
        let value = Outgoing::value(vec![7; 100 + at]);
        producer
            .send(topic, at as i32 % PARTITIONS, &value)
            .expect("taken");
    }
    producer.flush();
    assert_eq!(producer.acknowledged(), RECORDS);
    for partition in 0..PARTITIONS {
        let read = read_partition(broker.bootstrap(), topic, partition, Offset::Beginning);
        assert_eq!(read.len(), RECORDS / PARTITIONS as usize);
    }
}

/// The cores' words once the last answer is known to have left: its client may know it before the broker does.
fn settled(connection: &mut Connection) -> Vec<CoreDescription> {
    wait_for("every answer's departure", PATIENCE, || {
        let cores = cores(connection, 100);
        (stages(&cores)["total"].0 >= RECORDS as i64).then_some(cores)
    })
}

#[test]
fn every_request_of_a_producer_is_counted_in_every_stage() {
    let own = Broker::own()
        .cores(2)
        .set("offsets.topic.num.partitions", OF_GROUPS);
    let Some(broker) = own.start() else {
        return;
    };
    let topic = create(&broker, "counted", PARTITIONS, &[]);
    // The topic for groups, for which a consumer's client asks, is made before: that is an append too.
    coordinator(&broker, "readers");
    let mut connection = Connection::open(broker.bootstrap());
    let before = cores(&mut connection, 0);
    assert_eq!((before.len(), before[0].core, before[1].core), (2, 0, 1));
    load(&broker, &topic);
    let after = settled(&mut connection);

    let (grown, all) = (
        |name: &str| counter(&after, name) - counter(&before, name),
        stages(&after),
    );
    let records = RECORDS as i64;
    assert_eq!((grown("appends"), grown("requests") > records), (records, true));
    for stage in ["frame", "validate", "write", "commit", "respond", "total"] {
        assert_eq!(all[stage].0, records, "{stage}");
        assert!(all[stage].1 <= all["total"].1, "{stage} {all:?}");
    }
    assert_eq!((all["hand_over"].0 % 2, all["room"].0), (0, 0));
    assert!(all["hand_over"].0 <= 2 * records);
    assert!(all["fetch_read"].0 >= i64::from(PARTITIONS) && all["fetch_respond"].0 > 0);
    assert_eq!(all["fetch_cold"].0, counter(&after, "cold_reads"));

    let bytes = grown("appended_bytes");
    assert!(bytes > (100..100 + records).sum::<i64>());
    assert!(grown("read_bytes") >= bytes);
    assert!(grown("journal_commits") <= grown("journal_entries"));
    assert!(grown("journal_entries") >= records && grown("journal_bytes") > bytes);
    assert!(grown("enters") > 0 && grown("sends") > 0 && grown("receives") > 0);
    assert!(grown("submissions") >= grown("sends") + grown("writes") + grown("syncs"));

    let named: Vec<_> = after.iter().flat_map(|core| &core.busiest).collect();
    let mine: Vec<_> = named.iter().filter(|load| load.topic == topic).collect();
    assert_eq!(mine.len(), PARTITIONS as usize);
    assert_eq!(mine.iter().map(|load| load.bytes_in).sum::<i64>(), bytes);
    for load in mine {
        let each = records / i64::from(PARTITIONS);
        assert_eq!((load.batches_in, load.log_end_offset), (each, each));
        assert_eq!(load.size_bytes, load.bytes_in);
        assert!(load.bytes_out >= load.bytes_in);
    }
    let partitions: i32 = after.iter().map(|core| core.partitions).sum();
    assert_eq!(partitions, PARTITIONS + OF_GROUPS);
    assert!(after.iter().map(|core| core.connections).sum::<i32>() >= 1);
    for (old, new) in before.iter().zip(&after) {
        assert!(new.uptime_ns > old.uptime_ns && new.cpu_ns > old.cpu_ns);
        assert!(new.cpu_ns <= new.uptime_ns);
    }
}

#[test]
fn on_one_core_the_stages_are_the_whole_time() {
    let Some(broker) = Broker::own().cores(1).start() else {
        return;
    };
    let topic = create(&broker, "whole", PARTITIONS, &[]);
    load(&broker, &topic);
    let all = stages(&settled(&mut Connection::open(broker.bootstrap())));
    assert_eq!(all["hand_over"].0, 0);
    let parts = ["frame", "validate", "write", "commit", "respond"].map(|stage| all[stage].1);
    assert_eq!(parts.iter().sum::<i64>(), all["total"].1, "{all:?}");
    assert!(parts.iter().all(|part| *part > 0), "{all:?}");
}

#[test]
fn no_more_partitions_are_named_than_asked_for() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "quiet", 6, &[]);
    let producer = Producer::new(broker.bootstrap(), &[]);
    producer.send_all(&topic, 3, &[Outgoing::value(vec![1; 5000])]);
    let mut connection = Connection::open(broker.bootstrap());
    for (asked, each) in [(0, 0), (1, 1), (2, 2), (3, 3), (1000, 3)] {
        let cores = cores(&mut connection, asked);
        assert!(cores.iter().all(|core| core.busiest.len() == each), "{asked}");
        let first = cores.iter().filter_map(|core| core.busiest.first());
        let busiest = first.max_by_key(|load| load.bytes_in);
        assert!(busiest.is_none_or(|load| load.partition_index == 3), "{asked}");
    }
}

#[test]
fn whoever_names_a_topic_is_told_where_all_its_partitions_are() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    create(&broker, "busy", 3, &[]);
    let idle = create(&broker, "idle", 5, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let mut frame = header_bytes(KEY, 0, 5, 2);
    let request = RinglogDescribeCoresRequest {
        max_partitions: 1000,
        topic: Some(idle.clone()),
    };
    request.encode(&mut frame, 0);
    connection.send_frame(&frame).expect("sent");
    let answer = Bytes::from(connection.read_frame().expect("an answer"));
    let response = RinglogDescribeCoresResponse::decode(&mut Decoder::new(&answer.slice(5..)), 0);
    let mut named: Vec<(String, i32, i32)> = Vec::new();
    for core in response.expect("a response").cores {
        let places = core.busiest.into_iter();
        named.extend(places.map(|load| (load.topic, load.partition_index, core.core)));
    }
    named.sort();
    let want: Vec<_> = named
        .iter()
        .map(|(_, index, _)| (idle.as_str(), *index))
        .collect();
    assert_eq!(
        want,
        (0..5).map(|index| (idle.as_str(), index)).collect::<Vec<_>>()
    );
    assert!(named.iter().all(|(topic, ..)| *topic == idle), "{named:?}");
    // The command shows the same.
    let output = Command::new(binary())
        .args([
            "topic",
            "describe",
            &idle,
            "--json",
            "--bootstrap",
            broker.bootstrap(),
        ])
        .output()
        .expect("it ends");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let shown: Vec<_> = shown["partitions"]
        .as_array()
        .expect("partitions")
        .iter()
        .map(|partition| (partition["partition"].as_i64(), partition["core"].as_i64()))
        .collect();
    let told: Vec<_> = named
        .iter()
        .map(|(_, index, core)| (Some(i64::from(*index)), Some(i64::from(*core))))
        .collect();
    assert_eq!(shown, told);
}

#[test]
fn bad_questions_are_refused() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    let mut connection = Connection::open(broker.bootstrap());
    for asked in [-1, 1001, i32::MIN, i32::MAX] {
        let response = ask(&mut connection, asked);
        assert_eq!(
            (response.error_code, response.cores.len()),
            (code::INVALID_REQUEST, 0)
        );
        let message = response.error_message.expect("a reason");
        assert!(message.contains(&asked.to_string()), "{message}");
    }
    assert!(!cores(&mut connection, 1000).is_empty());
    let good = question(0, 1);
    for bad in [
        question(1, 1),
        question(-1, 1),
        question(i16::MAX, 1),
        good[..good.len() - 2].to_vec(),
    ] {
        let mut connection = Connection::open(broker.bootstrap());
        connection.send_frame(&bad).expect("sent");
        connection.expect_closed();
    }
}

#[test]
fn clients_of_kafka_are_not_told_of_it() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    let versions = Connection::open(broker.bootstrap()).call(0, &ApiVersionsRequest::default());
    let keys: Vec<i16> = versions.api_keys.iter().map(|api| api.api_key).collect();
    assert!(keys.contains(&0) && keys.iter().all(|key| *key < KEY), "{keys:?}");
}

#[test]
fn the_command_shows_cores_and_partitions() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "shown", 2, &[]);
    let run = |words: &[&str]| {
        let mut command = Command::new(binary());
        command
            .args(["cores", "--bootstrap", broker.bootstrap()])
            .args(words);
        let child = command
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("started");
        // Until it has ended there is load in whatever second it looks at.
        let producer = Producer::new(broker.bootstrap(), &[]);
        let running = std::thread::spawn(move || child.wait_with_output().expect("it ends"));
        while !running.is_finished() {
            for partition in 0..2 {
                producer.send_all(&topic, partition, &[Outgoing::value("x")]);
            }
        }
        let output = running.join().expect("ended");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text")
    };
    let shown: Value = serde_json::from_str(&run(&["--json"])).expect("JSON");
    let cores = shown["cores"].as_array().expect("cores");
    assert_eq!(cores.len(), 2);
    let count = |core: &Value| core["stages"]["commit"]["count"].as_u64().unwrap_or(0);
    assert!(cores.iter().map(count).sum::<u64>() > 0, "{shown}");
    let named: Vec<_> = cores
        .iter()
        .flat_map(|core| core["busiest"].as_array())
        .flatten()
        .collect();
    assert_eq!(named.len(), 2, "{shown}");
    assert!(named.iter().all(|one| one["topic"] == topic.as_str()), "{shown}");
    let text = run(&["--partitions", "1"]);
    for expected in [
        "enters/request",
        "commit",
        "p99.9",
        "busiest partitions",
        &format!("{topic}-"),
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}
