//! Many clients that bring more than the broker can store, or take less than they asked for: memory stays within what the settings say, an ordinary
//! client beside them is served, and what was acknowledged is there afterwards.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest};
use rdkafka::consumer::Consumer;
use rdkafka::{Message, Offset, TopicPartitionList};
use ringlog_tests::admin::create;
use ringlog_tests::client::{Outgoing, Producer, consumer, read_partition, watermarks};
use ringlog_tests::raw::{Batch, Connection, Want, fetch_request, produce, produce_request, request_bytes};
use ringlog_tests::{Broker, wait_for};

const MIB: u64 = 1 << 20;

/// A record of an ordinary client must be stored and read within this, whatever others do. Generous: machines are busy.
const SERVED: Duration = Duration::from_secs(60);

/// How long the others keep at it.
const ROUND: Duration = Duration::from_secs(8);

/// What is not counted by settings: the program itself, threads, connections, and what the allocator keeps of what it had given out, which on a busy
/// machine was seen to be half as much again as the limits.
const UNCOUNTED: u64 = 192 * MIB;

fn frame(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).expect("a frame below 2 GiB");
    [&length.to_be_bytes()[..], body].concat()
}

/// An ordinary client: writes a record, waits for its acknowledgement and goes on until it is told to stop. Gives the records acknowledged.
fn write_until(bootstrap: &str, topic: &str, is_over: &AtomicBool, written: &AtomicUsize) -> Vec<Vec<u8>> {
    let patience_ms = SERVED.as_millis().to_string();
    let settings = [
        ("acks", "all"),
        ("linger.ms", "0"),
        ("message.timeout.ms", &patience_ms),
    ];
    let producer = Producer::new(bootstrap, &settings);
    let mut acknowledged = Vec::new();
    while !is_over.load(Ordering::Relaxed) || acknowledged.is_empty() {
        let value = format!("ordinary {}", acknowledged.len()).into_bytes();
        let begun = Instant::now();
        let delivery = producer.send_one(topic, 0, &Outgoing::value(value.clone()));
        assert!(delivery.is_ok(), "an ordinary record was refused: {delivery:?}");
        assert!(
            begun.elapsed() < SERVED,
            "an ordinary record took {:?}",
            begun.elapsed()
        );
        acknowledged.push(value);
        written.store(acknowledged.len(), Ordering::Relaxed);
    }
    acknowledged
}

/// Its reader: takes every record as it comes, until it is told to stop and has had as many as were written. Gives their values.
fn read_until(bootstrap: &str, topic: &str, is_over: &AtomicBool, written: &AtomicUsize) -> Vec<Vec<u8>> {
    let consumer = consumer(bootstrap, &[]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning)
        .expect("a partition");
    consumer.assign(&list).expect("assigned");
    let (mut values, mut last) = (Vec::new(), Instant::now());
    loop {
        let is_last = is_over.load(Ordering::Relaxed);
        if is_last && values.len() >= written.load(Ordering::Relaxed) {
            return values;
        }
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                values.push(message.payload().unwrap_or_default().to_vec());
                last = Instant::now();
            }
            // Errors are of connections; it connects again.
            _ => assert!(
                last.elapsed() < SERVED || values.len() >= written.load(Ordering::Relaxed),
                "nothing was read for {SERVED:?}"
            ),
        }
    }
}

/// Runs `others` beside an ordinary producer and its reader, and reads back what the one was told is stored. Memory is looked at all the time.
fn beside_an_ordinary_client(broker: &Broker, limit: u64, others: impl FnOnce(&dyn Fn())) {
    let topic = create(broker, "ordinary", 1, &[]);
    let (is_written, is_over, written) = (
        AtomicBool::new(false),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    let look = || {
        if let Some(used) = broker.memory("VmRSS") {
            assert!(used < limit, "{} of {} MiB in use", used / MIB, limit / MIB);
        }
    };
    let acknowledged = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(broker.bootstrap(), &topic, &is_written, &written));
        let reader = scope.spawn(|| read_until(broker.bootstrap(), &topic, &is_over, &written));
        // Also when `others` panic, or the scope would wait for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| others(&look)));
        is_written.store(true, Ordering::Relaxed);
        let acknowledged = writer.join();
        is_over.store(true, Ordering::Relaxed);
        let read = reader.join().expect("the ordinary reader");
        let acknowledged = acknowledged.expect("the ordinary producer");
        assert!(
            read == acknowledged,
            "{} of {} were read meanwhile",
            read.len(),
            acknowledged.len()
        );
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        acknowledged
    });
    let found = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
    let found: Vec<Vec<u8>> = found.into_iter().filter_map(|record| record.value).collect();
    assert_eq!(found.len(), acknowledged.len());
    assert!(
        found == acknowledged,
        "what was acknowledged is there, once and in order"
    );
    look();
}

/// A socket that does not wait.
struct Greedy {
    stream: TcpStream,
    /// Bytes of the frame on its way out.
    out: usize,
    is_open: bool,
}

impl Greedy {
    fn open(broker: &Broker) -> Greedy {
        let stream = TcpStream::connect(broker.bootstrap()).expect("the broker accepts");
        stream.set_nonblocking(true).expect("non-blocking");
        Greedy {
            stream,
            out: 0,
            is_open: true,
        }
    }

    /// Sends the frame again and again as far as the socket takes it.
    fn push(&mut self, frame: &[u8]) -> u64 {
        let mut given = 0;
        while self.is_open {
            match self.stream.write(&frame[self.out..]) {
                Ok(0) => self.is_open = false,
                Ok(taken) => {
                    given += taken as u64;
                    self.out = (self.out + taken) % frame.len();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.is_open = false,
            }
        }
        given
    }

    /// Takes what is there; whether the broker has closed the connection.
    fn pull(&mut self, into: &mut Vec<u8>) -> bool {
        let mut buffer = [0; 64 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => into.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
    }
}

/// The broker these tests have: two cores, 64 MiB for the engine, and limits that a few clients reach.
fn broker() -> Option<Broker> {
    let own = Broker::own().cores(2);
    let own = own.set("ringlog.memory", 64 * MIB);
    let own = own.set("ringlog.core.max.in.flight.bytes", 8 * MIB);
    own.set("ringlog.core.max.unsent.bytes", 8 * MIB).start()
}

/// What the settings of [`broker`] allow: the engine's blocks, requests and the quarter that may go on, what sockets bring in a turn, and
/// two buffers of a socket for each connection.
fn limit(connections: u64) -> u64 {
    let requests = 8 * MIB + 8 * MIB / 4 + 4 * MIB;
    64 * MIB + 2 * requests + connections * (64 << 10) + UNCOUNTED
}

#[test]
fn a_thousand_producers_that_read_no_answers() {
    let Some(broker) = broker() else { return };
    let topic = create(&broker, "flood", 16, &[]);
    let frames: Vec<Vec<u8>> = (0..16)
        .map(|partition| {
            let batch = Batch::sized(16 << 10).build();
            frame(&request_bytes(
                9,
                1,
                &produce_request(&topic, partition, -1, &batch),
            ))
        })
        .collect();
    let mut answered = 0;
    beside_an_ordinary_client(&broker, limit(1000), |look| {
        let mut flood: Vec<Greedy> = (0..1000).map(|_| Greedy::open(&broker)).collect();
        let deadline = Instant::now() + ROUND;
        let mut given = 0;
        while Instant::now() < deadline {
            for (at, one) in flood.iter_mut().enumerate() {
                given += one.push(&frames[at % frames.len()]);
            }
            look();
        }
        assert!(given > 1000 * (16 << 10), "{given} bytes were taken");
        // Those that a busy machine has kept from going on with a request are given up; nobody is for sending much.
        flood.retain(|one| one.is_open);
        assert!(flood.len() >= 900, "{} of 1000 were not given up", flood.len());
        // Nobody was left out, and what was said to be stored counts below.
        for one in &mut flood {
            let mut answers = Vec::new();
            wait_for("an answer for each", SERVED, || {
                let is_closed = one.pull(&mut answers);
                (is_closed || answers.len() >= 4).then_some(())
            });
            answered += count_acknowledged(&answers);
        }
    });
    assert!(answered >= 900);
    let stored: usize = (0..16)
        .map(|partition| {
            let (start, end) = watermarks(broker.bootstrap(), &topic, partition);
            (end - start) as usize
        })
        .sum();
    assert!(
        stored >= answered,
        "{answered} were acknowledged, {stored} are stored"
    );
}

/// Whole answers without an error in what was read. The error is behind length, correlation id, count, topic, count and partition.
fn count_acknowledged(mut answers: &[u8]) -> usize {
    let mut count = 0;
    while let Some(length) = answers.first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(answer) = answers.get(4..4 + length) else {
            break;
        };
        // Version 9 is flexible: a tag behind the correlation id, then counts of one byte each.
        let name_bytes = usize::from(answer[6]) - 1;
        let error = &answer[7 + name_bytes + 1 + 4..][..2];
        assert_eq!(error, [0, 0], "a produce was refused");
        count += 1;
        answers = &answers[4 + length..];
    }
    count
}

#[test]
fn consumers_that_ask_for_much_and_read_nothing() {
    let Some(broker) = broker() else { return };
    let topic = create(&broker, "deaf", 8, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let batch = Batch::sized(1_000_000).build();
    for at in 0..96 {
        assert_eq!(produce(&mut connection, &topic, at % 8, &batch).error_code, 0);
    }
    let wants: Vec<Want> = (0..8)
        .map(|partition| Want {
            partition,
            offset: 0,
            max_bytes: 16 << 20,
        })
        .collect();
    let request = frame(&request_bytes(12, 1, &fetch_request(&topic, &wants, 1, 0)));
    beside_an_ordinary_client(&broker, limit(300), |look| {
        let mut deaf: Vec<Greedy> = (0..300).map(|_| Greedy::open(&broker)).collect();
        let deadline = Instant::now() + ROUND;
        while Instant::now() < deadline {
            for one in &mut deaf {
                if !one.is_open {
                    *one = Greedy::open(&broker);
                }
                one.push(&request);
            }
            look();
            // Who reads is served beside them.
            let mut reader = Connection::open(broker.bootstrap());
            reader.stream().set_read_timeout(Some(SERVED)).expect("set");
            let want = Want {
                max_bytes: 1 << 20,
                ..wants[0]
            };
            let answer = reader.call(12, &fetch_request(&topic, &[want], 1, 0));
            let records = answer.responses[0].partitions[0].records.as_ref();
            assert!(records.is_some_and(|records| records.len() >= 1_000_000));
        }
    });
}

#[test]
fn more_fetches_wait_than_may() {
    let own = Broker::own().cores(1).set("ringlog.memory", 64 * MIB);
    let Some(broker) = own.set("ringlog.core.max.parked.fetches", 100).start() else {
        return;
    };
    let topic = create(&broker, "parked", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    produce(&mut connection, &topic, 0, &Batch::of(&[b"first"]).build());
    let want = Want {
        partition: 0,
        offset: 1,
        max_bytes: 1 << 20,
    };
    let ten_minutes_ms = 600_000;
    let request = frame(&request_bytes(
        12,
        1,
        &fetch_request(&topic, &[want], 1, ten_minutes_ms),
    ));
    let once = |greedy: &mut Greedy| greedy.stream.write_all(&request).expect("sent");
    beside_an_ordinary_client(&broker, limit(1200), |look| {
        let mut waiting: Vec<Greedy> = (0..1000).map(|_| Greedy::open(&broker)).collect();
        waiting.iter_mut().for_each(once);
        let mut answers = vec![Vec::new(); 1200];
        let mut answered = |waiting: &mut Vec<Greedy>, wanted: usize| {
            wait_for("those that wait too long to be answered", SERVED, || {
                for (one, answer) in waiting.iter_mut().zip(&mut answers) {
                    assert!(!one.pull(answer), "a connection was closed");
                }
                let count = answers.iter().filter(|answer| !answer.is_empty()).count();
                (count >= wanted).then_some(count)
            })
        };
        // The ordinary reader's is one of those that wait, now and then.
        let count = answered(&mut waiting, 900);
        assert!(count < 910, "about one hundred may wait: {count} were answered");
        look();
        // More come, and those before them are answered.
        let mut more: Vec<Greedy> = (0..200).map(|_| Greedy::open(&broker)).collect();
        more.iter_mut().for_each(once);
        waiting.append(&mut more);
        let count = answered(&mut waiting, 1100);
        assert!(count < 1110, "{count} were answered");
        look();
        // Those that wait still do: each gets what comes.
        produce(&mut connection, &topic, 0, &Batch::of(&[b"second"]).build());
        assert_eq!(answered(&mut waiting, 1200), 1200);
    });
    // And who was answered may ask again.
    let back = connection.call(12, &fetch_request(&topic, &[want], 1, ten_minutes_ms));
    assert_eq!(back.responses[0].partitions[0].high_watermark, 2);
}

#[test]
fn senders_that_never_finish() {
    let Some(broker) = broker() else { return };
    let topic = create(&broker, "slow", 1, &[]);
    let body = request_bytes(
        9,
        1,
        &produce_request(&topic, 0, -1, &Batch::sized(1_000_000).build()),
    );
    let whole = frame(&body);
    beside_an_ordinary_client(&broker, limit(400), |look| {
        let mut slow: Vec<Greedy> = (0..400).map(|_| Greedy::open(&broker)).collect();
        for one in &mut slow {
            // Whatever the socket takes of so much.
            one.out = one.stream.write(&whole[..100_000]).unwrap_or(0);
        }
        let deadline = Instant::now() + ROUND * 3;
        let mut closed = 0;
        while Instant::now() < deadline && closed < 10 {
            for one in slow.iter_mut().filter(|one| one.is_open) {
                one.is_open =
                    !one.pull(&mut Vec::new()) && one.stream.write(&[0]).is_ok_and(|taken| taken == 1);
            }
            closed = slow.iter().filter(|one| !one.is_open).count();
            look();
            std::thread::park_timeout(Duration::from_millis(100));
        }
        assert!(closed >= 10, "who trickles while memory is short is closed");
    });
}

#[test]
fn a_large_request_is_taken_among_many_small_ones() {
    let own = Broker::own().cores(2).set("ringlog.memory", 128 * MIB);
    let Some(broker) = own.set("ringlog.core.max.in.flight.bytes", 2 * MIB).start() else {
        return;
    };
    let topic = create(&broker, "large", 2, &[("max.message.bytes", "8000000")]);
    let small = frame(&request_bytes(
        9,
        1,
        &produce_request(&topic, 1, -1, &Batch::sized(16 << 10).build()),
    ));
    let large = Batch::sized(6_000_000).build();
    // The largest request comes on top of what all others may hold.
    beside_an_ordinary_client(&broker, limit(200) + 64 * MIB + 3 * 6 * MIB, |look| {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let mut flood: Vec<Greedy> = (0..200).map(|_| Greedy::open(&broker)).collect();
                while !is_over.load(Ordering::Relaxed) {
                    for one in &mut flood {
                        one.push(&small);
                        one.pull(&mut Vec::new());
                    }
                }
            });
            let outcome = std::panic::catch_unwind(|| {
                let mut connection = Connection::open(broker.bootstrap());
                connection.stream().set_read_timeout(Some(SERVED)).expect("set");
                connection.stream().set_write_timeout(Some(SERVED)).expect("set");
                for _ in 0..3 {
                    assert_eq!(produce(&mut connection, &topic, 0, &large).error_code, 0);
                }
            });
            is_over.store(true, Ordering::Relaxed);
            flood.join().expect("the flood");
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        look();
    });
}

#[test]
fn each_address_has_a_limit() {
    let own = Broker::own().cores(2);
    let own = own.set("max.connections.per.ip", 1);
    let Some(broker) = own.set("max.connections.per.ip.overrides", "127.0.0.1:5").start() else {
        return;
    };
    let ask = |connection: &mut Connection| connection.try_call(0, &ApiVersionsRequest::default()).map(drop);
    let mut open: Vec<Connection> = (0..5).map(|_| Connection::open(broker.bootstrap())).collect();
    open.iter_mut().for_each(|one| ask(one).expect("one of five"));
    Connection::open(broker.bootstrap()).expect_closed();
    open.pop();
    wait_for("the place of one that was closed", SERVED, || {
        ask(&mut Connection::open(broker.bootstrap())).ok()
    });
}

#[test]
fn whoever_waits_for_room_gets_it() {
    // A fetch after a flood of unread answers, on a connection of its own, with all the limits at their least.
    let own = Broker::own().cores(1).set("ringlog.memory", 32 * MIB);
    let own = own.set("ringlog.core.max.unsent.bytes", MIB);
    let Some(broker) = own.set("ringlog.core.max.in.flight.bytes", MIB).start() else {
        return;
    };
    let topic = create(&broker, "room", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    connection.stream().set_read_timeout(Some(SERVED)).expect("set");
    for _ in 0..8 {
        let batch = Batch::sized(1_000_000).build();
        assert_eq!(produce(&mut connection, &topic, 0, &batch).error_code, 0);
    }
    let want = Want {
        partition: 0,
        offset: 0,
        max_bytes: 8 << 20,
    };
    let request = frame(&request_bytes(12, 1, &fetch_request(&topic, &[want], 1, 0)));
    let mut deaf: Vec<Greedy> = (0..50).map(|_| Greedy::open(&broker)).collect();
    for one in &mut deaf {
        one.push(&request);
    }
    for _ in 0..20 {
        let correlation = connection.send(12, &fetch_request(&topic, &[want], 1, 0));
        let answer = connection.receive::<FetchRequest>(12, correlation);
        let records = answer.responses[0].partitions[0].records.as_ref();
        assert!(records.is_some_and(|records| records.len() >= 1_000_000));
    }
}
