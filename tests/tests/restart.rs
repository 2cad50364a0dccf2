//! What a clean stop leaves behind, and what the next start makes of it.

use std::collections::BTreeMap;
use std::path::Path;

use rdkafka::Offset;
use ringlog_tests::admin::create;
use ringlog_tests::client::{Outgoing, Producer, read_partition, watermarks};
use ringlog_tests::files::{
    base_offset, checkpoint, names, offset_index, time_index, walk_log, with_prefix, with_suffix,
};
use ringlog_tests::oracle::Ledger;
use ringlog_tests::raw::{Batch, Connection, fetch, produce};
use ringlog_tests::{Broker, Random, fixture};

/// Sends records of random sizes to every partition and enters them in the ledger.
fn load(broker: &Broker, topic: &str, partitions: i32, records: usize, seed: u64, ledger: &mut Ledger) {
    let producer = Producer::new(
        broker.bootstrap(),
        &[("enable.idempotence", "true"), ("batch.size", "30000")],
    );
    let mut random = Random::new(seed);
    for number in 0..records {
        let size = 9 + random.below(20_000);
        let record = Outgoing::value(random.bytes(size));
        producer
            .send(topic, number as i32 % partitions, &record)
            .expect("queued");
    }
    producer.flush();
    ledger.enter(
        producer
            .take()
            .into_iter()
            .map(|delivery| delivery.expect("acknowledged")),
    );
}

#[test]
fn a_clean_restart_keeps_records_and_offsets_go_on() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "kept", 3, &[("segment.bytes", "1048576")]);
    let mut ledger = Ledger::new();
    for round in 0..3 {
        load(&broker, &topic, 3, 600, round, &mut ledger);
        broker.stop();
        broker.restart();
        assert_eq!(
            watermarks(broker.bootstrap(), &topic, 0),
            (0, 200 * (round as i64 + 1))
        );
        ledger.check(broker.bootstrap(), true);
    }
    assert_eq!(ledger.len(), 1800);
}

#[test]
fn a_restart_without_any_topic() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    for _ in 0..3 {
        broker.stop();
        broker.restart();
    }
    let topic = create(&broker, "first", 1, &[]);
    Producer::new(broker.bootstrap(), &[]).send_all(&topic, 0, &[Outgoing::value("x")]);
}

#[test]
fn the_number_of_cores_may_change() {
    let Some(mut broker) = Broker::own().cores(1).start() else {
        return;
    };
    let topic = create(&broker, "cores", 8, &[]);
    let mut ledger = Ledger::new();
    for (round, cores) in [2, 4, 1, 3].into_iter().enumerate() {
        load(&broker, &topic, 8, 200, round as u64, &mut ledger);
        // Every other time the process is killed, so that what is in the journals of cores that are no more counts too.
        if round % 2 == 0 {
            broker.stop();
        } else {
            broker.kill();
        }
        broker.set_cores(cores);
        broker.restart();
        assert_eq!(broker.ready("cores"), Some(cores.to_string().as_str()));
        ledger.check(broker.bootstrap(), true);
    }
}

#[test]
fn the_files_after_a_clean_stop_are_kafkas() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "files", 2, &[("segment.bytes", "1048576")]);
    let mut ledger = Ledger::new();
    load(&broker, &topic, 2, 800, 3, &mut ledger);
    let empty = create(&broker, "files-empty", 1, &[]);
    broker.stop();
    let data = broker.data().to_path_buf();
    assert_root(&data);
    for partition in 0..2 {
        assert_partition(&broker.partition_folder(&topic, partition), 400);
    }
    assert_partition(&broker.partition_folder(&empty, 0), 0);
    let highs = checkpoint(&data.join("replication-offset-checkpoint"));
    let recovered = checkpoint(&data.join("recovery-point-offset-checkpoint"));
    let starts = checkpoint(&data.join("log-start-offset-checkpoint"));
    for partition in 0..2 {
        let key = (topic.clone(), partition);
        assert_eq!((highs.get(&key), recovered.get(&key)), (Some(&400), Some(&400)));
        assert_eq!(starts.get(&key).copied().unwrap_or(0), 0);
    }
}

/// The files beside the partitions.
fn assert_root(data: &Path) {
    let names = names(data);
    for name in [
        ".kafka_cleanshutdown",
        "meta.properties",
        "recovery-point-offset-checkpoint",
        "replication-offset-checkpoint",
        "log-start-offset-checkpoint",
        "__cluster_metadata-0",
    ] {
        assert!(
            names.iter().any(|other| other == name),
            "{name} is missing among {names:?}"
        );
    }
    let clean = std::fs::read(data.join(".kafka_cleanshutdown")).expect("readable");
    let clean: serde_json::Value = serde_json::from_slice(&clean).expect("JSON");
    assert_eq!(clean["version"], 0);
    assert!(clean["brokerEpoch"].is_i64());
    let meta = std::fs::read_to_string(data.join("meta.properties")).expect("readable");
    let meta: BTreeMap<&str, &str> = meta.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(meta.get("version"), Some(&"1"));
    for id in ["cluster.id", "directory.id"] {
        assert_eq!(meta.get(id).map(|id| id.len()), Some(22), "{id}");
    }
    assert!(meta.get("node.id").is_some_and(|id| id.parse::<u32>().is_ok()));
    for journal in with_prefix(data, "ringlog-journal-") {
        let length = std::fs::metadata(&journal).expect("a file").len();
        assert_eq!(length, 0, "{journal:?} after a clean stop");
    }
}

/// The files of one partition with `end` records; returns nothing but panics on what is not as Kafka leaves it.
fn assert_partition(folder: &Path, end: i64) {
    let logs = with_suffix(folder, ".log");
    assert!(!logs.is_empty(), "{folder:?} has no segment");
    let mut next = 0;
    for log in &logs {
        assert_eq!(base_offset(log), next, "{log:?} begins where the one before ends");
        let (bytes, after) = walk_log(log);
        assert!(bytes <= 1_048_576, "{log:?} has {bytes} bytes");
        assert_index(log, bytes, after);
        next = after;
    }
    assert_eq!(next, end, "{folder:?}");
    if end > 0 {
        assert!(logs.len() > 1, "{folder:?} did not roll");
        let epochs = std::fs::read_to_string(folder.join("leader-epoch-checkpoint")).expect("a checkpoint");
        assert_eq!(epochs.lines().collect::<Vec<_>>(), ["0", "1", "0 0"]);
    }
    let snapshot = folder.join(format!("{end:020}.snapshot"));
    assert!(
        snapshot.exists() || end == 0,
        "{snapshot:?}, among {:?}",
        names(folder)
    );
    let metadata = std::fs::read_to_string(folder.join("partition.metadata")).expect("readable");
    let lines: Vec<&str> = metadata.lines().collect();
    assert_eq!(lines[0], "version: 0");
    assert_eq!(
        lines[1].strip_prefix("topic_id: ").map(str::len),
        Some(22),
        "{lines:?}"
    );
    assert_only_known(folder);
}

/// Offset and time index of a segment: as long as their entries, in order, and inside the log.
fn assert_index(log: &Path, bytes: u64, after: i64) {
    let base = base_offset(log);
    let entries = offset_index(&log.with_extension("index"));
    assert!(
        entries
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1),
        "{log:?}"
    );
    assert!(
        entries
            .iter()
            .all(|&(offset, at)| base + i64::from(offset) < after && (at as u64) < bytes),
        "{log:?}"
    );
    assert!(
        bytes < 200_000 || entries.len() > 5,
        "{log:?}: {} entries for {bytes} bytes",
        entries.len()
    );
    let times = time_index(&log.with_extension("timeindex"));
    assert!(
        times
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1),
        "{log:?}"
    );
    assert!(
        times
            .iter()
            .all(|&(time, offset)| time > 0 && base + i64::from(offset) < after),
        "{log:?}"
    );
    assert!(bytes == 0 || !times.is_empty(), "{log:?} has no time");
}

fn assert_only_known(folder: &Path) {
    for name in names(folder) {
        let known = ["leader-epoch-checkpoint", "partition.metadata"].contains(&name.as_str())
            || [".log", ".index", ".timeindex", ".snapshot"]
                .iter()
                .any(|suffix| name.ends_with(suffix));
        assert!(known, "{name} in {folder:?} is no file of Kafka's");
    }
}

#[test]
fn a_start_that_rebuilt_indexes_and_then_had_nothing_to_do_stops_at_once() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "rebuilt", 1, &[("segment.bytes", "1048576")]);
    let mut ledger = Ledger::new();
    load(&broker, &topic, 1, 300, 6, &mut ledger);
    broker.stop();
    let folder = broker.partition_folder(&topic, 0);
    for suffix in [".index", ".timeindex", ".snapshot"] {
        with_suffix(&folder, suffix)
            .iter()
            .for_each(|path| std::fs::remove_file(path).expect("removed"));
    }
    broker.restart();
    broker.stop();
    assert_partition(&folder, 300);
}

/// What [`the_files_after_a_clean_stop_are_kafkas`] asks of our files, Kafka's own have.
#[test]
fn kafkas_own_files_pass_the_same_checks() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let data = folder.path().join("data");
    fixture::unpack("kafka-4.3.1-clean.tar.gz", &data);
    assert_root(&data);
    assert_partition(
        &data.join(format!("{}-0", fixture::ROLLED)),
        fixture::ROLLED_RECORDS as i64,
    );
    assert_partition(&data.join(format!("{}-1", fixture::EMPTY)), 0);
    let highs = checkpoint(&data.join("replication-offset-checkpoint"));
    let recovered = checkpoint(&data.join("recovery-point-offset-checkpoint"));
    let key = (fixture::codec_topic("lz4"), 0);
    let end = fixture::CODEC_RECORDS as i64;
    assert_eq!((highs.get(&key), recovered.get(&key)), (Some(&end), Some(&end)));
}

#[test]
fn nothing_is_written_to_a_log_by_starting_and_stopping() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "still", 1, &[("segment.bytes", "1048576")]);
    let mut ledger = Ledger::new();
    load(&broker, &topic, 1, 300, 5, &mut ledger);
    broker.stop();
    let folder = broker.partition_folder(&topic, 0);
    let before = contents(&folder);
    broker.restart();
    broker.stop();
    let after = contents(&folder);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &before {
        assert!(after[name] == *bytes, "{name} changed");
    }
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    names(folder)
        .into_iter()
        .map(|name| (name.clone(), std::fs::read(folder.join(&name)).expect("a file")))
        .collect()
}

#[test]
fn segments_roll_by_the_time_of_their_records() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "timed", 1, &[("segment.ms", "60000")]);
    let mut connection = Connection::open(broker.bootstrap());
    let now = Batch::of(&[b"x"]).timestamp_ms;
    for ago_ms in [1_000_000, 990_000, 500_000, 490_000, 0] {
        let mut batch = Batch::of(&[b"record"]);
        batch.timestamp_ms = now - ago_ms;
        assert_eq!(produce(&mut connection, &topic, 0, &batch.build()).error_code, 0);
    }
    broker.stop();
    let bases: Vec<i64> = with_suffix(&broker.partition_folder(&topic, 0), ".log")
        .iter()
        .map(|log| base_offset(log))
        .collect();
    assert_eq!(bases, [0, 2, 4]);
}

#[test]
fn idempotent_producers_are_known_after_a_restart() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "known", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    for sequence in 0..3 {
        let batch = Batch::of(&[b"x"]).from_producer(77, 0, sequence);
        assert_eq!(produce(&mut connection, &topic, 0, &batch.build()).error_code, 0);
    }
    for (round, kill) in [false, true].into_iter().enumerate() {
        if kill {
            broker.kill();
        } else {
            broker.stop();
        }
        broker.restart();
        let mut connection = Connection::open(broker.bootstrap());
        let next = 3 + round as i32;
        let mut send = |sequence| {
            let answer = produce(
                &mut connection,
                &topic,
                0,
                &Batch::of(&[b"x"]).from_producer(77, 0, sequence).build(),
            );
            (answer.error_code, answer.base_offset)
        };
        assert_eq!(send(next + 5), (45, -1), "a gap is seen");
        assert_eq!(
            send(next - 1),
            (0, i64::from(next) - 1),
            "the last batch is a duplicate"
        );
        assert_eq!(send(next), (0, i64::from(next)));
    }
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(fetch(&mut connection, &topic, 0, 0).high_watermark, 5);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "locked", 1, &[]);
    let failure = Broker::own()
        .data(broker.data())
        .try_start()
        .expect_err("the directory is in use");
    assert_eq!(
        failure.status.and_then(|status| status.code()),
        Some(1),
        "{failure}"
    );
    let data = broker.data().display().to_string();
    assert!(
        failure.stderr.contains(&data) && !failure.stderr.contains("panicked"),
        "{failure}"
    );
    Producer::new(broker.bootstrap(), &[]).send_all(&topic, 0, &[Outgoing::value("x")]);
    assert_eq!(
        read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning).len(),
        1
    );
    broker.stop();
}

#[test]
fn a_directory_of_a_newer_version_is_refused() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "newer", 1, &[]);
    Producer::new(broker.bootstrap(), &[]).send_all(&topic, 0, &[Outgoing::value("x")]);
    broker.stop();
    let path = broker.data().join("meta.properties");
    let good = std::fs::read_to_string(&path).expect("readable");
    std::fs::write(&path, good.replace("version=1", "version=99")).expect("written");
    let failure = broker.try_restart().expect_err("a newer directory");
    assert_eq!(
        failure.status.and_then(|status| status.code()),
        Some(1),
        "{failure}"
    );
    assert!(
        failure.stderr.contains("meta.properties") && failure.stderr.contains("99"),
        "{failure}"
    );
    std::fs::write(&path, good).expect("written");
    broker.restart();
    assert_eq!(
        read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning).len(),
        1
    );
}
