//! The power goes while real clients write: below the broker is a filesystem that forgets what was not synced.
//!
//! `RINGLOG_SEED` names the run (each prints its own), `RINGLOG_CUTS` how many cuts the longer tests make. Where the filesystem
//! cannot be mounted the tests say so on standard error; with `RINGLOG_REQUIRE_FUSE` set they fail there.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::error::RDKafkaErrorCode;
use ringlog_tests::admin::{create, try_create};
use ringlog_tests::client::{Outgoing, Producer, read_partition, watermarks};
use ringlog_tests::oracle::{Acknowledged, Ledger, digest};
use ringlog_tests::powercut::{Disk, Loss};
use ringlog_tests::raw::Connection;
use ringlog_tests::{Broker, PATIENCE, Random, wait_for};

const PARTITIONS: i32 = 4;
/// Segments as small as Kafka allows, so that they roll while the load goes on.
const SMALL_SEGMENTS: (&str, &str) = ("segment.bytes", "1048576");
/// The smallest journal, so that it goes round and checkpoints free it.
const SMALL_JOURNAL: (&str, &str) = ("ringlog.journal.bytes", "4194304");
/// What a load may have on its way: a client whose broker is gone must not block for long.
const ON_THE_WAY: usize = 500;
/// How long a load goes on when the power does not go by itself.
const LOAD_TIME: Duration = Duration::from_secs(2);

/// The seed of a test: `RINGLOG_SEED`, or the clock's. Printed, so that a failure can be run again.
fn seed(test: &str) -> u64 {
    let clock = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(1, |time| time.subsec_nanos().into())
    };
    let seed = number("RINGLOG_SEED").unwrap_or_else(clock);
    println!("{test}: RINGLOG_SEED={seed}");
    seed
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// How many cuts a test makes, unless `RINGLOG_CUTS` says otherwise.
fn cuts(usual: u64) -> u64 {
    number("RINGLOG_CUTS").unwrap_or(usual)
}

fn loss(random: &mut Random) -> Loss {
    if random.below(2) == 0 {
        Loss::everything()
    } else {
        Loss::some(random.next_u64())
    }
}

fn start(disk: &Disk, settings: &[(&str, &str)]) -> Broker {
    let mut builder = disk.broker();
    for (key, value) in settings {
        builder = builder.set(key, value);
    }
    builder.start().expect("no other broker is named")
}

/// Records that all differ: mostly small ones, or all of them large.
#[derive(Clone, Copy, Debug)]
enum Sizes {
    Small,
    Large,
    Mixed,
}

impl Sizes {
    fn draw(self, random: &mut Random) -> usize {
        match self {
            Sizes::Small => random.below(300),
            Sizes::Large => 20_000 + random.below(180_000),
            Sizes::Mixed if random.below(20) == 0 => random.below(100_000),
            Sizes::Mixed => random.below(900),
        }
    }
}

/// Sends until told to stop, and gives the digests of what it sent.
fn load(producer: &Producer, topics: &[String], seed: u64, sizes: Sizes, stop: &AtomicBool) -> HashSet<u64> {
    let mut random = Random::new(seed);
    let mut sent = HashSet::new();
    while !stop.load(Ordering::Relaxed) {
        if producer.on_the_way() > ON_THE_WAY {
            std::thread::park_timeout(Duration::from_micros(200));
            continue;
        }
        let mut value = format!("{seed}/{}/", sent.len()).into_bytes();
        let size = sizes.draw(&mut random);
        value.extend_from_slice(&random.bytes(size));
        let topic = &topics[random.below(topics.len())];
        let partition = random.below(PARTITIONS as usize) as i32;
        sent.insert(digest(None, Some(&value)));
        if producer.send(topic, partition, &Outgoing::value(value)).is_err() {
            break;
        }
    }
    sent
}

/// How the load ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The process is killed after this many acknowledgements.
    Kill(usize),
    /// The power goes after this many changes of the disk; the process is killed later, having seen errors.
    Power(u64),
}

/// Loads until the end comes. The broker is dead afterwards; the disk's content is as the end left it.
fn load_until(
    end: End,
    broker: &mut Broker,
    disk: &Disk,
    topics: &[String],
    (settings, sizes, seed): (&[(&str, &str)], Sizes, u64),
) -> (Vec<Acknowledged>, HashSet<u64>) {
    let producer = Producer::new(broker.bootstrap(), settings);
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let (stop, producer) = (&stop, &producer);
        let loading = scope.spawn(move || load(producer, topics, seed, sizes, stop));
        if let End::Power(changes) = end {
            disk.power_off_after(changes);
        }
        let deadline = Instant::now() + LOAD_TIME;
        wait_for("the end of the load", PATIENCE, || {
            let is_over = match end {
                End::Kill(count) => producer.acknowledged() >= count,
                End::Power(_) => !disk.is_on(),
            };
            (is_over || Instant::now() > deadline).then_some(())
        });
        if matches!(end, End::Power(_)) {
            disk.power_off();
            // What was on its way before reaches the client; what the broker answers from now on it must not acknowledge.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        broker.kill();
        stop.store(true, Ordering::Relaxed);
        loading.join().expect("the load does not panic")
    });
    producer.abandon();
    let acknowledged = producer.take().into_iter().filter_map(Result::ok).collect();
    (acknowledged, sent)
}

/// Ways to produce. Nothing is sent twice, but where the client numbers what it sends.
const WAYS: [(&[(&str, &str)], Sizes); 5] = [
    (&[("acks", "all"), ("retries", "0")], Sizes::Mixed),
    (
        &[
            ("acks", "1"),
            ("retries", "0"),
            ("linger.ms", "0"),
            ("batch.num.messages", "1"),
        ],
        Sizes::Small,
    ),
    (
        &[
            ("acks", "all"),
            ("retries", "0"),
            ("linger.ms", "20"),
            ("batch.size", "900000"),
        ],
        Sizes::Large,
    ),
    (
        &[
            ("enable.idempotence", "true"),
            ("linger.ms", "5"),
            ("batch.size", "200000"),
        ],
        Sizes::Mixed,
    ),
    (
        &[("acks", "1"), ("retries", "0"), ("compression.codec", "lz4")],
        Sizes::Mixed,
    ),
];

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    let Some(mut disk) = Disk::new() else { return };
    let seed = seed("power goes");
    let mut random = Random::new(seed);
    let mut broker = start(&disk, &[SMALL_JOURNAL]);
    let mut topics = Vec::new();
    let mut ledger = Ledger::new();
    for round in 0..cuts(12) {
        if topics.len() < 3 {
            topics.push(create(&broker, "cut", PARTITIONS, &[SMALL_SEGMENTS]));
        }
        let (settings, sizes) = WAYS[random.below(WAYS.len())];
        let end = if random.below(2) == 0 {
            End::Kill(1 + random.below(1500))
        } else {
            End::Power(1 + random.below(1200) as u64)
        };
        let way = (settings, sizes, random.next_u64());
        let (acknowledged, _) = load_until(end, &mut broker, &disk, &topics, way);
        let loss = loss(&mut random);
        println!(
            "round {round}: {end:?}, {} acknowledged, {loss:?}",
            acknowledged.len()
        );
        ledger.enter(acknowledged);
        disk.cut(loss);
        broker.restart();
        ledger.check(broker.bootstrap(), true);
        // Those that nothing was acknowledged in are there as well.
        for topic in &topics {
            for partition in 0..PARTITIONS {
                watermarks(broker.bootstrap(), topic, partition);
            }
        }
    }
    assert!(!ledger.is_empty(), "the loads were acknowledged");
    println!("{} records, {:?}", ledger.len(), disk.seen());
    let seen = disk.seen();
    assert!(
        seen.direct_writes > 0 && seen.file_syncs > 0 && seen.folder_syncs > 0,
        "{seen:?}"
    );
    broker.stop();
    // A clean stop is durable too.
    disk.cut(Loss::everything());
    broker.restart();
    ledger.check(broker.bootstrap(), true);
}

#[test]
fn segments_roll_while_the_power_goes() {
    let Some(mut disk) = Disk::new() else { return };
    let seed = seed("roll");
    let mut random = Random::new(seed);
    let mut broker = start(&disk, &[SMALL_JOURNAL]);
    let topics = [create(&broker, "roll", PARTITIONS, &[SMALL_SEGMENTS])];
    let mut ledger = Ledger::new();
    for round in 0..cuts(5) {
        let settings = [("retries", "0"), ("batch.size", "500000"), ("linger.ms", "5")];
        // A segment takes about ten of these, a seal some ten changes.
        let end = End::Power(100 + random.below(900) as u64);
        let way = (&settings[..], Sizes::Large, random.next_u64());
        let (acknowledged, _) = load_until(end, &mut broker, &disk, &topics, way);
        let loss = loss(&mut random);
        println!(
            "round {round}: {end:?}, {} acknowledged, {loss:?}",
            acknowledged.len()
        );
        ledger.enter(acknowledged);
        disk.cut(loss);
        broker.restart();
        ledger.check(broker.bootstrap(), true);
    }
}

#[test]
fn the_power_goes_again_during_recovery() {
    let Some(mut disk) = Disk::new() else { return };
    let seed = seed("recovery");
    let mut random = Random::new(seed);
    let mut broker = start(&disk, &[SMALL_JOURNAL]);
    let topics: Vec<String> = (0..2)
        .map(|_| create(&broker, "again", PARTITIONS, &[SMALL_SEGMENTS]))
        .collect();
    let mut ledger = Ledger::new();
    for round in 0..cuts(4) {
        let end = End::Power(300 + random.below(1500) as u64);
        let way = (WAYS[0].0, Sizes::Mixed, random.next_u64());
        let (acknowledged, _) = load_until(end, &mut broker, &disk, &topics, way);
        println!("round {round}: {end:?}, {} acknowledged", acknowledged.len());
        ledger.enter(acknowledged);
        disk.cut(loss(&mut random));
        for _ in 0..3 {
            let changes = 1 + random.below(400) as u64;
            disk.power_off_after(changes);
            let outcome = broker.try_restart();
            println!("  again after {changes} changes: started {}", outcome.is_ok());
            if outcome.is_ok() {
                broker.kill();
            }
            disk.cut(loss(&mut random));
        }
        broker.restart();
        ledger.check(broker.bootstrap(), true);
    }
}

#[test]
fn topics_that_were_created_are_there_after_a_cut() {
    let Some(mut disk) = Disk::new() else { return };
    let seed = seed("topics");
    let mut random = Random::new(seed);
    let mut broker = start(&disk, &[]);
    let mut created: Vec<String> = Vec::new();
    let mut ledger = Ledger::new();
    for round in 0..cuts(6) {
        // Alone they sync each file; many at once share one sync of the filesystem.
        let partitions = if random.below(2) == 0 { 2 } else { 30 };
        disk.power_off_after(10 + random.below(400) as u64);
        let bootstrap = broker.bootstrap().to_owned();
        let names = (0..).map(|next| format!("made-{round}-{next}"));
        let (made, under_way) = std::thread::scope(|scope| {
            let creating = scope.spawn(|| create_until_dead(&bootstrap, names, partitions));
            wait_for("the cut", PATIENCE, || (!disk.is_on()).then_some(()));
            // What was promised before is on its way to the client.
            std::thread::park_timeout(Duration::from_millis(20));
            broker.kill();
            creating.join().expect("creating does not panic")
        });
        println!(
            "round {round}: {} topics of {partitions} partitions created",
            made.len()
        );
        created.extend(made);
        disk.cut(loss(&mut random));
        broker.restart();
        let answer = try_create(broker.bootstrap(), &under_way, partitions, &[]);
        assert!(
            matches!(answer, Ok(()) | Err(RDKafkaErrorCode::TopicAlreadyExists)),
            "{under_way}: {answer:?}"
        );
        created.push(under_way);
        let producer = Producer::new(broker.bootstrap(), &[]);
        for topic in &created {
            for partition in 0..2 {
                let value = format!("{round}/{topic}/{partition}");
                producer
                    .send(topic, partition, &Outgoing::value(value))
                    .expect("taken");
            }
        }
        producer.flush();
        ledger.enter(
            producer
                .take()
                .into_iter()
                .map(|delivery| delivery.expect("acknowledged")),
        );
    }
    ledger.check(broker.bootstrap(), true);
}

/// Creates topic after topic until the broker is gone or says no: those that it said it created, and the next.
fn create_until_dead(
    bootstrap: &str,
    names: impl Iterator<Item = String>,
    partitions: i32,
) -> (Vec<String>, String) {
    let mut made = Vec::new();
    let mut connection = Connection::open(bootstrap);
    for name in names {
        if !is_created(&mut connection, &name, partitions) {
            return (made, name);
        }
        made.push(name);
    }
    unreachable!("names never end")
}

fn is_created(connection: &mut Connection, topic: &str, partitions: i32) -> bool {
    use kafka_protocol::messages::create_topics_request::CreatableTopic;
    use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
    use kafka_protocol::protocol::Decodable;
    let wanted = CreatableTopic::default()
        .with_name(ringlog_tests::raw::name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![wanted])
        .with_timeout_ms(10_000);
    let frame = ringlog_tests::raw::request_bytes(7, 1, &request);
    let answer = connection
        .send_frame(&frame)
        .and_then(|()| connection.read_frame());
    // Behind the correlation id and the header's tagged fields.
    answer.is_ok_and(|frame| {
        let body = CreateTopicsResponse::decode(&mut &frame[5..], 7).expect("a response");
        body.topics[0].error_code == 0
    })
}

const WRITTEN: (&str, &str) = ("ringlog.durability", "written");

#[test]
fn with_written_a_killed_process_loses_nothing() {
    let Some(disk) = Disk::new() else { return };
    let seed = seed("written, killed");
    let mut random = Random::new(seed);
    let mut broker = start(&disk, &[SMALL_JOURNAL, WRITTEN]);
    let topics = [create(&broker, "written", PARTITIONS, &[SMALL_SEGMENTS])];
    let mut ledger = Ledger::new();
    for _ in 0..3 {
        let (settings, sizes) = WAYS[random.below(WAYS.len())];
        let end = End::Kill(1 + random.below(1500));
        let way = (settings, sizes, random.next_u64());
        let (acknowledged, _) = load_until(end, &mut broker, &disk, &topics, way);
        ledger.enter(acknowledged);
        broker.restart();
        ledger.check(broker.bootstrap(), true);
    }
}

#[test]
fn with_written_a_cut_loses_the_end_and_damages_nothing() {
    let Some(mut disk) = Disk::new() else { return };
    let seed = seed("written, cut");
    let mut random = Random::new(seed);
    let mut broker = start(&disk, &[SMALL_JOURNAL]);
    let fast = create(&broker, "written", PARTITIONS, &[SMALL_SEGMENTS, WRITTEN]);
    let safe = create(&broker, "synced", PARTITIONS, &[SMALL_SEGMENTS]);
    let mut sent: HashSet<u64> = HashSet::new();
    let mut ledger = Ledger::new();
    let mut lost = 0;
    for round in 0..cuts(6) {
        // Every other round the disk has nothing to do but what may be lost.
        let topics = if round % 2 == 0 {
            vec![fast.clone()]
        } else {
            vec![fast.clone(), safe.clone()]
        };
        let (settings, sizes) = WAYS[random.below(WAYS.len())];
        let end = End::Power(100 + random.below(1500) as u64);
        let way = (settings, sizes, random.next_u64());
        let (acknowledged, all) = load_until(end, &mut broker, &disk, &topics, way);
        sent.extend(all);
        let loss = loss(&mut random);
        println!(
            "round {round}: {end:?}, {} acknowledged, {loss:?}",
            acknowledged.len()
        );
        let (kept, mortal): (Vec<Acknowledged>, Vec<Acknowledged>) =
            acknowledged.into_iter().partition(|record| record.topic == safe);
        ledger.enter(kept);
        disk.cut(loss);
        broker.restart();
        ledger.check(broker.bootstrap(), true);
        for partition in 0..PARTITIONS {
            lost += survivors(&broker, &fast, partition, &sent, &mortal);
        }
    }
    assert!(lost > 0, "a cut that loses nothing shows nothing");
}

/// A large commit carries RWF_DSYNC, which speaks for its own write alone: the journal's frames before it, only written, were
/// lost, and with them whatever came behind.
#[test]
fn a_synced_record_behind_written_ones_is_not_lost() {
    let Some(mut disk) = Disk::new() else { return };
    let mut broker = start(&disk, &[]);
    let fast = create(&broker, "written", PARTITIONS, &[WRITTEN]);
    let safe = create(&broker, "synced", PARTITIONS, &[]);
    let producer = Producer::new(broker.bootstrap(), &[]);
    let mut ledger = Ledger::new();
    for partition in 0..PARTITIONS {
        for other in 0..PARTITIONS {
            producer.send_all(&fast, other, &[Outgoing::value("may be lost")]);
        }
        let large = Outgoing::value(Random::new(partition as u64 + 1).bytes(200_000));
        ledger.enter(producer.send_all(&safe, partition, &[large]));
    }
    broker.kill();
    disk.cut(Loss::everything());
    broker.restart();
    ledger.check(broker.bootstrap(), true);
}

/// Checks that what is left of a partition is what was sent, at the offsets that were promised, without a hole; gives how many
/// acknowledged records are not.
fn survivors(
    broker: &Broker,
    topic: &str,
    partition: i32,
    sent: &HashSet<u64>,
    acknowledged: &[Acknowledged],
) -> usize {
    let records = read_partition(broker.bootstrap(), topic, partition, Offset::Beginning);
    let found: Vec<u64> = records
        .iter()
        .map(|record| digest(None, record.value.as_deref()))
        .collect();
    let mut once = HashSet::new();
    for (expected, record) in records.iter().enumerate() {
        let place = format!("{topic}-{partition} at {expected}");
        assert_eq!(record.offset, expected as i64, "{place}: a hole");
        assert!(sent.contains(&found[expected]), "{place}: nobody sent this");
        assert!(once.insert(found[expected]), "{place}: there twice");
    }
    let mut lost = 0;
    for record in acknowledged.iter().filter(|record| record.partition == partition) {
        match found.get(record.offset as usize) {
            Some(digest) => assert_eq!(*digest, record.digest, "{topic}-{partition} at {}", record.offset),
            None => lost += 1,
        }
    }
    lost
}

/// What the other tests rest on: a disk whose syncs do nothing is found out by their check.
#[test]
fn a_disk_that_lies_about_its_syncs_is_noticed() {
    let Some(mut disk) = Disk::new() else { return };
    let mut broker = start(&disk, &[]);
    let topics = [create(&broker, "lied", PARTITIONS, &[])];
    disk.lie(true);
    let mut ledger = Ledger::new();
    let way = (WAYS[0].0, Sizes::Mixed, 1);
    let (acknowledged, _) = load_until(End::Kill(50), &mut broker, &disk, &topics, way);
    ledger.enter(acknowledged);
    disk.lie(false);
    disk.cut(Loss::everything());
    broker.restart();
    let verdict = catch_unwind(AssertUnwindSafe(|| ledger.check(broker.bootstrap(), true)));
    let why = verdict.expect_err("acknowledged records are lost, and the check says so");
    let why = why.downcast_ref::<String>().expect("a sentence");
    assert!(why.contains("was acknowledged, and the log ends at 0"), "{why}");
}

#[test]
fn the_kernel_shows_the_disk_what_was_asked_for() {
    use rustix::io::{IoSlice, ReadWriteFlags, pwritev2};
    use std::os::unix::fs::OpenOptionsExt;
    let Some(mut disk) = Disk::new() else { return };
    let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    let path = disk.outside("file");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(direct)
        .open(&path)
        .expect("created");
    let block = vec![7; 8192];
    let at = block.as_ptr().align_offset(4096);
    let piece = [IoSlice::new(&block[at..at + 4096])];
    pwritev2(&file, &piece, 0, ReadWriteFlags::empty()).expect("written");
    let seen = disk.seen();
    assert_eq!(
        (seen.direct_writes, seen.synced_writes, seen.file_syncs),
        (1, 0, 0),
        "{seen:?}"
    );
    pwritev2(&file, &piece, 4096, ReadWriteFlags::DSYNC).expect("written");
    let seen = disk.seen();
    assert_eq!(
        (seen.direct_writes, seen.synced_writes, seen.syncs_behind_writes),
        (2, 1, 1),
        "{seen:?}"
    );
    // Neither names nor data are durable by closing, nor by a sync of the filesystem, which the kernel keeps to itself.
    rustix::fs::syncfs(&file).expect("answered");
    drop(file);
    assert_eq!((disk.seen().file_syncs, disk.seen().folder_syncs), (0, 0));
    std::fs::File::open(disk.outside(""))
        .and_then(|root| root.sync_all())
        .expect("synced");
    disk.cut(Loss::everything());
    let path = disk.outside("file");
    let after = std::fs::read(&path).expect("its name was synced");
    assert_eq!((after.len(), after[0], after[4096]), (8192, 0, 7));
    std::fs::write(disk.outside("other"), b"x").expect("written");
    disk.cut(Loss::everything());
    assert!(disk.outside("file").exists() && !disk.outside("other").exists());
    disk.power_off();
    assert!(std::fs::read(disk.outside("file")).is_err());
}
