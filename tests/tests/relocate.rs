//! Partitions that move between cores under their clients' hands: every answer comes, without an error, in order; nothing is lost, stored
//! twice or overtaken; and whatever happens to the broker meanwhile, what was acknowledged is there afterwards.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;
use rdkafka::Offset;
use ringlog::wire::Decoder;
use ringlog::wire::describe_cores::{
    CoreDescription, RinglogDescribeCoresRequest, RinglogDescribeCoresResponse,
};
use ringlog::wire::move_partition::{RinglogMovePartitionRequest, RinglogMovePartitionResponse};
use ringlog_tests::admin::{admin, block_on, create, options};
use ringlog_tests::broker::binary;
use ringlog_tests::client::{Outgoing, Producer, read_partition};
use ringlog_tests::oracle::Ledger;
use ringlog_tests::raw::{
    Batch, Connection, Want, batches, fetch, fetch_request, header_bytes, produce, produce_request,
    request_bytes,
};
use ringlog_tests::{Broker, PATIENCE, code, wait_for};

/// Sends one of our own requests; gives the answer's body.
fn call(connection: &mut Connection, key: i16, body: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<Bytes> {
    let mut frame = header_bytes(key, 0, 5, 2);
    body(&mut frame);
    connection.send_frame(&frame)?;
    let answer = Bytes::from(connection.read_frame()?);
    Ok(answer.slice(5..))
}

/// Has a partition moved; the error code, and the reason. An error when the broker is gone.
fn try_move(
    connection: &mut Connection,
    topic: &str,
    partition_index: i32,
    core: i32,
) -> std::io::Result<(i16, String)> {
    let request = RinglogMovePartitionRequest {
        topic: topic.to_owned(),
        partition_index,
        core,
    };
    let answer = call(connection, 31_001, |frame| request.encode(frame, 0))?;
    let mut from = Decoder::new(&answer);
    let response = RinglogMovePartitionResponse::decode(&mut from, 0).expect("a response");
    assert_eq!(from.remaining(), 0);
    Ok((response.error_code, response.error_message.unwrap_or_default()))
}

fn move_to(connection: &mut Connection, topic: &str, partition: i32, core: i32) -> (i16, String) {
    try_move(connection, topic, partition, core).expect("an answer")
}

fn cores(connection: &mut Connection) -> Vec<CoreDescription> {
    let request = RinglogDescribeCoresRequest {
        max_partitions: 1000,
        topic: None,
    };
    let answer = call(connection, 31_000, |frame| request.encode(frame, 0)).expect("an answer");
    let response = RinglogDescribeCoresResponse::decode(&mut Decoder::new(&answer), 0);
    response.expect("a response").cores
}

/// The core that has the partition.
fn owner(connection: &mut Connection, topic: &str, partition: i32) -> i32 {
    let cores = cores(connection);
    let has = |core: &&CoreDescription| {
        let mut named = core.busiest.iter();
        named.any(|load| load.topic == topic && load.partition_index == partition)
    };
    let owners: Vec<i32> = cores.iter().filter(has).map(|core| core.core).collect();
    assert_eq!(owners.len(), 1, "{owners:?}");
    owners[0]
}

/// Moves a partition to and fro until told to stop; how often it moved.
fn to_and_fro(bootstrap: &str, topic: &str, partition: i32, cores: i32, stop: &AtomicBool) -> usize {
    let mut connection = Connection::open(bootstrap);
    let mut moves = 0;
    let mut at = owner(&mut connection, topic, partition);
    while !stop.load(Ordering::Relaxed) {
        at = (at + 1) % cores;
        let answer = move_to(&mut connection, topic, partition, at);
        assert_eq!(answer, (code::NONE, String::new()));
        moves += 1;
    }
    assert_eq!(owner(&mut connection, topic, partition), at);
    moves
}

/// Stops whoever looks at the flag, also when a test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Requests of each pipelined connection on their way at once.
const AT_ONCE: i32 = 7;

/// One idempotent producer by hand, with requests always on their way: each batch's sequence follows from the one before, so one that
/// is overtaken is refused. Until enough has moved. Gives the offsets.
fn pipeline(bootstrap: &str, topic: &str, id: usize, is_done: &dyn Fn() -> bool) -> Vec<i64> {
    let mut connection = Connection::open(bootstrap);
    let mut offsets = Vec::new();
    let (mut sent, mut last) = (0, None);
    while last.is_none_or(|last| (offsets.len() as i32) < last) {
        if last.is_none() {
            let value = format!("{id} {sent}");
            let batch = Batch::of(&[value.as_bytes()]).from_producer(7_000_000 + id as i64, 0, sent);
            let request = produce_request(topic, 0, -1, &batch.build());
            connection
                .send_frame(&request_bytes(9, sent, &request))
                .expect("sent");
            sent += 1;
            last = is_done().then_some(sent);
        }
        if sent - offsets.len() as i32 >= AT_ONCE || last.is_some() {
            let number = offsets.len() as i32;
            let response = connection.receive::<ProduceRequest>(9, number);
            let answer = &response.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, 0, "request {number}");
            offsets.push(answer.base_offset);
        }
    }
    offsets
}

/// One consumer by hand: no answer says anything but records, each the next one. Until the offset is reached.
fn follow(bootstrap: &str, topic: &str, max_bytes: i32, is_last: &dyn Fn(i64) -> bool) {
    let mut connection = Connection::open(bootstrap);
    let mut offset = 0;
    while !is_last(offset) {
        let want = Want {
            partition: 0,
            offset,
            max_bytes,
        };
        let response = connection.call(12, &fetch_request(topic, &[want], 1, 300));
        assert_eq!(response.error_code, 0);
        let answer = &response.responses[0].partitions[0];
        assert_eq!(answer.error_code, 0, "at {offset}");
        for (base, records) in batches(answer.records.as_deref().unwrap_or_default()) {
            assert_eq!(base, offset, "no gap and nothing twice");
            offset += i64::from(records);
        }
    }
}

#[test]
fn nothing_is_refused_or_overtaken_while_a_partition_goes_to_and_fro() {
    for cores in [2, 3] {
        let Some(broker) = Broker::own().cores(cores).start() else {
            return;
        };
        // Small segments, so that some roll meanwhile.
        let topic = create(&broker, "restless", 1, &[("segment.bytes", "1048576")]);
        let (bootstrap, clients, wanted) = (broker.bootstrap(), 10, 60);
        let (stop, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
        let moves = AtomicUsize::new(0);
        let offsets: Vec<Vec<i64>> = std::thread::scope(|scope| {
            let _stop = StopAtEnd(&stop);
            let (topic, stop, moves, ended) = (&topic, &stop, &moves, &ended);
            let mover = scope.spawn(move || {
                let mut connection = Connection::open(bootstrap);
                let mut at = owner(&mut connection, topic, 0);
                while !stop.load(Ordering::Relaxed) {
                    at = (at + 1) % cores as i32;
                    assert_eq!(
                        move_to(&mut connection, topic, 0, at),
                        (code::NONE, String::new())
                    );
                    moves.fetch_add(1, Ordering::Relaxed);
                }
            });
            let end = move || moves.load(Ordering::Relaxed) >= wanted || stop.load(Ordering::Relaxed);
            let producers: Vec<_> = (0..clients)
                .map(|id| {
                    scope.spawn(move || {
                        let offsets = pipeline(bootstrap, topic, id, &end);
                        ended.fetch_add(offsets.len(), Ordering::Relaxed);
                        offsets
                    })
                })
                .collect();
            let all_written = move |offset: i64| {
                stop.load(Ordering::Relaxed) && offset >= ended.load(Ordering::Relaxed) as i64
            };
            // One that tails, and one that takes little at a time and stays behind.
            let consumers = [1 << 20, 3000]
                .map(|max_bytes| scope.spawn(move || follow(bootstrap, topic, max_bytes, &all_written)));
            let offsets = producers.into_iter().map(|p| p.join().expect("a producer"));
            let offsets: Vec<Vec<i64>> = offsets.collect();
            stop.store(true, Ordering::Relaxed);
            mover.join().expect("the mover");
            consumers.into_iter().for_each(|c| c.join().expect("a consumer"));
            offsets
        });
        for (id, offsets) in offsets.iter().enumerate() {
            assert!(offsets.is_sorted(), "connection {id}: {offsets:?}");
        }
        let all: BTreeSet<i64> = offsets.iter().flatten().copied().collect();
        let count: usize = offsets.iter().map(Vec::len).sum();
        println!("{count} requests, {} moves", moves.load(Ordering::Relaxed));
        assert_eq!((all.len(), all.last().copied()), (count, Some(count as i64 - 1)));
        let records = read_partition(bootstrap, &topic, 0, Offset::Beginning);
        assert_eq!(records.len(), count, "each once");
        for (id, offsets) in offsets.iter().enumerate() {
            for (number, offset) in offsets.iter().enumerate() {
                let value = records[*offset as usize].value.as_deref();
                assert_eq!(value, Some(format!("{id} {number}").as_bytes()));
            }
        }
    }
}

/// Idempotent librdkafka producers on all partitions of a topic, until told to stop. Everything they sent is acknowledged, or the broker is
/// gone.
fn produce_until(producers: &[Arc<Producer>], topic: &str, partitions: i32, round: usize, stop: &AtomicBool) {
    std::thread::scope(|scope| {
        for (id, producer) in producers.iter().enumerate() {
            scope.spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) && number < 100_000 {
                    let value =
                        Outgoing::value(format!("{round} {id} {number} {}", "x".repeat(number % 700)));
                    let partition = number as i32 % partitions;
                    if producer.send(topic, partition, &value).is_err() {
                        return;
                    }
                    number += 1;
                    if producer.on_the_way() > 500 {
                        std::thread::park_timeout(std::time::Duration::from_millis(1));
                    }
                }
            });
        }
    });
}

const IDEMPOTENT: [(&str, &str); 3] = [
    ("enable.idempotence", "true"),
    ("linger.ms", "0"),
    ("batch.num.messages", "4"),
];

fn producers(broker: &Broker, count: usize) -> Vec<Arc<Producer>> {
    (0..count)
        .map(|_| Arc::new(Producer::new(broker.bootstrap(), &IDEMPOTENT)))
        .collect()
}

#[test]
fn idempotent_librdkafka_producers_and_consumers_do_not_notice() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "restless", 3, &[]);
    let producers = producers(&broker, 4);
    let (stop, moved) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let (topic, stop, moved, producers) = (&topic, &stop, &moved, &producers);
        let load = scope.spawn(move || produce_until(producers, topic, 3, 0, stop));
        let movers: Vec<_> = (0..3)
            .map(|partition| {
                let bootstrap = broker.bootstrap();
                scope.spawn(move || to_and_fro(bootstrap, topic, partition, 2, moved))
            })
            .collect();
        for _ in 0..5 {
            // From the beginning each time, behind and at the end, while it moves.
            let records = read_partition(broker.bootstrap(), topic, 1, Offset::Beginning);
            let dense = records.iter().enumerate().all(|(at, r)| r.offset == at as i64);
            assert!(dense, "no gap");
        }
        wait_for("enough records", PATIENCE, || {
            let count: usize = producers.iter().map(|p| p.acknowledged()).sum();
            (count > 5000).then_some(())
        });
        moved.store(true, Ordering::Relaxed);
        let moves: usize = movers.into_iter().map(|m| m.join().expect("a mover")).sum();
        println!("{moves} moves");
        assert!(moves >= 6, "{moves}");
        stop.store(true, Ordering::Relaxed);
        load.join().expect("the load");
    });
    let mut ledger = Ledger::new();
    for producer in &producers {
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

/// Load and moves, then something happens to the broker; afterwards it is started again and everything acknowledged is there.
fn interrupted(rounds: usize, happens: impl Fn(&mut Broker)) {
    let Some(mut broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "restless", 2, &[("segment.bytes", "1048576")]);
    let mut ledger = Ledger::new();
    for round in 0..rounds {
        let producers = producers(&broker, 3);
        let bootstrap = broker.bootstrap().to_owned();
        let (stop, moves) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let _stop = StopAtEnd(&stop);
            let (topic, stop, moves, producers, bootstrap) = (&topic, &stop, &moves, &producers, &bootstrap);
            scope.spawn(move || produce_until(producers, topic, 2, round, stop));
            // Until its connection ends with the broker.
            scope.spawn(move || {
                let mut connection = Connection::open(bootstrap);
                for at in [0, 1].into_iter().cycle() {
                    for partition in [0, 1] {
                        if try_move(&mut connection, topic, partition, at).is_err() {
                            return;
                        }
                        moves.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            wait_for("moves under load", PATIENCE, || {
                let count: usize = producers.iter().map(|p| p.acknowledged()).sum();
                (count > 1000 && moves.load(Ordering::Relaxed) > 7 + 3 * round).then_some(())
            });
            happens(&mut broker);
        });
        for producer in &producers {
            producer.abandon();
            ledger.enter(producer.take().into_iter().filter_map(Result::ok));
        }
        broker.restart();
        ledger.check(broker.bootstrap(), true);
    }
}

#[test]
fn a_kill_between_two_cores_loses_nothing() {
    interrupted(5, Broker::kill);
}

#[test]
fn a_clean_stop_between_two_cores_loses_nothing() {
    interrupted(3, Broker::stop);
}

#[test]
fn topics_are_deleted_changed_and_made_while_others_move() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let (bootstrap, stop) = (broker.bootstrap(), AtomicBool::new(false));
    let still = create(&broker, "still", 1, &[]);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let (stop, still) = (&stop, &still);
        scope.spawn(move || to_and_fro(bootstrap, still, 0, 2, stop));
        let mut connection = Connection::open(bootstrap);
        for round in 0..10 {
            let topic = create(&broker, "gone", 2, &[]);
            produce(&mut connection, &topic, 0, &Batch::of(&[b"x"]).build());
            let at = owner(&mut connection, &topic, 0);
            assert_eq!(move_to(&mut connection, &topic, 0, 1 - at).0, code::NONE);
            assert_eq!(owner(&mut connection, &topic, 0), 1 - at);
            // A move that waits behind the deletion, or is done before it.
            let deleting = scope.spawn({
                let topic = topic.clone();
                move || {
                    let client = admin(bootstrap);
                    let answers = block_on(client.delete_topics(&[&topic], &options()));
                    assert!(answers.expect("an answer").iter().all(Result::is_ok));
                }
            });
            loop {
                match move_to(&mut connection, &topic, 0, round % 2).0 {
                    code::NONE => {}
                    gone => {
                        assert_eq!(gone, code::UNKNOWN_TOPIC_OR_PARTITION);
                        break;
                    }
                }
            }
            deleting.join().expect("deleted");
            wait_for("the folders' end", PATIENCE, || {
                (0..2)
                    .all(|p| !broker.partition_folder(&topic, p).exists())
                    .then_some(())
            });
        }
        // What moved knows its settings at its new core too.
        let resource = rdkafka::admin::AlterConfig::new(rdkafka::admin::ResourceSpecifier::Topic(still))
            .set("max.message.bytes", "100");
        let changed = block_on(admin(bootstrap).alter_configs(&[resource], &options()));
        assert!(changed.expect("an answer").iter().all(Result::is_ok));
        for _ in 0..10 {
            let batch = Batch::of(&[&[0; 200]]).build();
            let answer = produce(&mut connection, still, 0, &batch);
            assert_eq!(answer.error_code, code::MESSAGE_TOO_LARGE);
        }
    });
}

#[test]
fn a_move_of_what_is_not_there_is_refused() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "there", 2, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    for (name, partition, core, expected) in [
        ("nowhere", 0, 0, code::UNKNOWN_TOPIC_OR_PARTITION),
        ("", 0, 0, code::UNKNOWN_TOPIC_OR_PARTITION),
        (topic.as_str(), 2, 0, code::UNKNOWN_TOPIC_OR_PARTITION),
        (topic.as_str(), -1, 0, code::UNKNOWN_TOPIC_OR_PARTITION),
        (topic.as_str(), i32::MAX, 0, code::UNKNOWN_TOPIC_OR_PARTITION),
        (topic.as_str(), 0, 2, code::INVALID_REQUEST),
        (topic.as_str(), 0, -1, code::INVALID_REQUEST),
        (topic.as_str(), 0, i32::MIN, code::INVALID_REQUEST),
        ("__cluster_metadata", 0, 1, code::INVALID_REQUEST),
        ("__consumer_offsets", 0, 1, code::INVALID_REQUEST),
    ] {
        let (error, reason) = move_to(&mut connection, name, partition, core);
        assert_eq!(error, expected, "{name} {partition} {core}");
        assert!(reason.contains(' '), "{reason}");
    }
    let at = owner(&mut connection, &topic, 0);
    let (error, message) = move_to(&mut connection, &topic, 0, at);
    assert!(
        error == code::NONE && message.contains("already"),
        "{error} {message}"
    );
    assert_eq!(owner(&mut connection, &topic, 0), at);
    let mut frame = header_bytes(31_001, 0, 5, 2);
    let whole = RinglogMovePartitionRequest {
        topic: topic.clone(),
        partition_index: 0,
        core: 0,
    };
    whole.encode(&mut frame, 0);
    for bad in [frame[..frame.len() - 3].to_vec(), header_bytes(31_001, 1, 5, 2)] {
        let mut connection = Connection::open(broker.bootstrap());
        connection.send_frame(&bad).expect("sent");
        connection.expect_closed();
    }
}

#[test]
fn the_command_moves_a_partition() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "moved", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    produce(&mut connection, &topic, 0, &Batch::of(&[b"before"]).build());
    let to = 1 - owner(&mut connection, &topic, 0);
    let run = |core: &str| {
        Command::new(binary())
            .args([
                "cores",
                "move",
                &topic,
                "0",
                core,
                "--bootstrap",
                broker.bootstrap(),
            ])
            .output()
            .expect("it ends")
    };
    let output = run(&to.to_string());
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        output.status.success() && text.starts_with("moved ") && text.contains(&format!("core={to}")),
        "{text}"
    );
    let again = String::from_utf8(run(&to.to_string()).stdout).expect("text");
    assert!(again.starts_with("already-there "), "{again}");
    assert_eq!(owner(&mut connection, &topic, 0), to);
    let answer = fetch(&mut connection, &topic, 0, 0);
    assert_eq!((answer.error_code, answer.high_watermark), (0, 1));
    let output = run("2");
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success() && text.contains("core 2"), "{text}");
}

#[test]
fn new_partitions_spread_over_the_cores_and_keep_off_busy_ones() {
    let Some(mut broker) = Broker::own().cores(2).start() else {
        return;
    };
    let many = create(&broker, "many", 1000, &[]);
    let counts = |connection: &mut Connection| -> Vec<i32> {
        cores(connection).iter().map(|core| core.partitions).collect()
    };
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(counts(&mut connection), [500, 500]);
    let small: Vec<String> = (0..20).map(|_| create(&broker, "small", 1, &[])).collect();
    assert_eq!(counts(&mut connection), [510, 510]);
    // Load on one core only: what is made next goes to the other one, though that has more partitions then.
    let busy = owner(&mut connection, &small[0], 0);
    let batch = Batch::sized(500_000).build();
    wait_for("a partition off the busy core", PATIENCE, || {
        for _ in 0..20 {
            let answer = produce(&mut connection, &small[0], 0, &batch);
            assert_eq!(answer.error_code, 0);
        }
        let new = [create(&broker, "new", 1, &[]), create(&broker, "new", 1, &[])];
        let owners = new.map(|topic| owner(&mut connection, &topic, 0));
        (owners == [1 - busy; 2]).then_some(())
    });
    // A restart places all of it anew.
    broker.stop();
    broker.restart();
    let mut connection = Connection::open(broker.bootstrap());
    let after = counts(&mut connection);
    assert!((after[0] - after[1]).abs() <= 1, "{after:?}");
    assert_eq!(fetch(&mut connection, &many, 999, 0).error_code, 0);
}
