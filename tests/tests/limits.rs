//! Clients that are slow, silent, greedy or many: each costs its own connection, never the others or the memory.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, ProduceRequest};
use kafka_protocol::protocol::StrBytes;
use ringlog_tests::admin::create;
use ringlog_tests::raw::{
    Batch, Connection, Want, fetch, fetch_request, metadata, produce, produce_request, request_bytes,
};
use ringlog_tests::{Broker, wait_for};

const MIB: u64 = 1 << 20;

/// Another client's request must not take longer than this while one misbehaves. Generous: machines are busy.
const PROMPT: Duration = Duration::from_secs(5);

/// Produces and fetches one record and checks that neither took long.
fn assert_prompt(broker: &Broker, topic: &str, partition: i32) {
    let start = Instant::now();
    let mut connection = Connection::open(broker.bootstrap());
    let answer = produce(
        &mut connection,
        topic,
        partition,
        &Batch::of(&[b"prompt"]).build(),
    );
    assert_eq!(answer.error_code, 0);
    let back = fetch(&mut connection, topic, partition, answer.base_offset);
    assert_eq!(back.error_code, 0);
    assert!(
        start.elapsed() < PROMPT,
        "another client had to wait {:?}",
        start.elapsed()
    );
}

fn assert_memory_below(broker: &Broker, limit: u64, when: &str) {
    if let Some(used) = broker.memory("VmRSS") {
        assert!(used < limit, "{} MiB in use {when}", used / MIB);
    }
}

fn versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("raw"))
        .with_client_software_version(StrBytes::from_static_str("1"))
}

#[test]
fn a_client_that_says_nothing() {
    let broker = Broker::any();
    let topic = create(&broker, "silent", 1, &[]);
    let mut silent: Vec<Connection> = (0..20).map(|_| Connection::open(broker.bootstrap())).collect();
    for _ in 0..10 {
        assert_prompt(&broker, &topic, 0);
    }
    silent[0].expect_silence(Duration::from_millis(300));
    for connection in &mut silent {
        assert_eq!(connection.call(3, &versions_request()).error_code, 0);
    }
}

#[test]
fn a_client_that_sends_a_byte_now_and_then() {
    let broker = Broker::any();
    let topic = create(&broker, "dribble", 2, &[]);
    let request = produce_request(&topic, 0, -1, &Batch::of(&[b"slowly"]).build());
    let body = request_bytes(9, 1, &request);
    let mut frame = (body.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    let mut slow = Connection::open(broker.bootstrap());
    for (index, byte) in frame.iter().enumerate() {
        slow.send_bytes(&[*byte]).expect("sent");
        if index % 10 == 0 {
            // In between the others do their work.
            assert_prompt(&broker, &topic, 1);
        }
    }
    let answer = slow.receive::<ProduceRequest>(9, 1);
    assert_eq!(answer.responses[0].partition_responses[0].base_offset, 0);
}

#[test]
fn a_client_that_never_reads_what_it_fetched() {
    let broker = Broker::any();
    let topic = create(&broker, "unread", 2, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    for _ in 0..4 {
        produce(&mut connection, &topic, 0, &Batch::sized(1_000_000).build());
    }
    let before = broker.memory("VmRSS").unwrap_or_default();
    let want = Want {
        partition: 0,
        offset: 0,
        max_bytes: 4 << 20,
    };
    let request = request_bytes(12, 1, &fetch_request(&topic, &[want], 0, 0));
    let mut deaf: Vec<Connection> = (0..8).map(|_| Connection::open(broker.bootstrap())).collect();
    for connection in &deaf {
        fill(connection, &request, 200);
    }
    for _ in 0..10 {
        assert_prompt(&broker, &topic, 1);
        assert_memory_below(
            &broker,
            before + 128 * MIB,
            "with 1600 unread answers of 4 MB asked for",
        );
    }
    // Reading at last, they get what they asked for.
    let answer = deaf[0].receive::<FetchRequest>(12, 1);
    assert!(
        answer.responses[0].partitions[0]
            .records
            .as_ref()
            .is_some_and(|records| records.len() >= 1_000_000)
    );
    drop(deaf);
    assert_prompt(&broker, &topic, 0);
}

/// Sends the request again and again until the socket takes no more.
fn fill(connection: &Connection, request: &[u8], times: usize) {
    let mut frame = (request.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(request);
    connection.stream().set_nonblocking(true).expect("non-blocking");
    for _ in 0..times {
        match connection.stream().write(&frame) {
            Ok(taken) if taken == frame.len() => {}
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("the broker closed the connection: {error}"),
        }
    }
    connection.stream().set_nonblocking(false).expect("blocking");
}

#[test]
fn a_producer_that_reads_its_answers_late() {
    let broker = Broker::any();
    let topic = create(&broker, "late", 2, &[]);
    let batch = Batch::sized(64 << 10).build();
    let count = 1000;
    let mut sender = Connection::open(broker.bootstrap());
    let stream = sender.stream().try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        let (topic, batch) = (&topic, &batch);
        scope.spawn(move || {
            let mut stream = stream;
            for correlation in 1..=count {
                let body = request_bytes(9, correlation, &produce_request(topic, 0, -1, batch));
                stream
                    .write_all(&(body.len() as i32).to_be_bytes())
                    .expect("sent");
                stream.write_all(&body).expect("sent");
            }
        });
        for _ in 0..10 {
            assert_prompt(&broker, topic, 1);
            assert_memory_below(
                &broker,
                512 * MIB,
                "while 64 MB of unread produce answers pile up",
            );
        }
        for correlation in 1..=count {
            let answer = sender.receive::<ProduceRequest>(9, correlation);
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!(
                (partition.error_code, partition.base_offset),
                (0, i64::from(correlation) - 1)
            );
        }
    });
}

#[test]
fn connections_that_claim_much_and_send_little() {
    // Not against another broker: Apache Kafka with a 1 GiB heap allocates what is claimed, and dies.
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "claims", 1, &[]);
    assert_prompt(&broker, &topic, 0);
    let before = broker.memory("VmRSS").unwrap_or_default();
    let claim = (99i32 << 20).to_be_bytes();
    let hogs: Vec<Connection> = (0..30)
        .map(|_| {
            let mut connection = Connection::open(broker.bootstrap());
            connection.send_bytes(&claim).expect("sent");
            connection.send_bytes(&[0; 1024]).expect("sent");
            connection
        })
        .collect();
    for _ in 0..20 {
        assert_prompt(&broker, &topic, 0);
        assert_memory_below(&broker, before + 32 * MIB, "with 30 claims of 99 MiB");
    }
    drop(hogs);
    assert_prompt(&broker, &topic, 0);
    assert!(broker.alive());
}

#[test]
fn the_sum_of_unfinished_frames_has_a_limit() {
    let Some(mut broker) = Broker::own().set("ringlog.memory", 128 * MIB).start() else {
        return;
    };
    let topic = create(&broker, "sum", 1, &[]);
    assert_prompt(&broker, &topic, 0);
    let header = (99i32 << 20).to_be_bytes();
    let chunk = vec![0; 1 << 20];
    let hogs: Vec<Connection> = (0..16)
        .map(|_| {
            let mut connection = Connection::open(broker.bootstrap());
            connection.send_bytes(&header).expect("sent");
            connection
        })
        .collect();
    for hog in &hogs {
        hog.stream().set_nonblocking(true).expect("non-blocking");
    }
    // 16 x 40 MiB are offered; each hog is fed until its socket takes no more for a while.
    let deadline = Instant::now() + Duration::from_secs(3);
    let mut given = vec![0u64; hogs.len()];
    while Instant::now() < deadline && given.iter().any(|&bytes| bytes < 40 * MIB) {
        for (hog, given) in hogs.iter().zip(&mut given) {
            if *given < 40 * MIB {
                *given += hog.stream().write(&chunk).unwrap_or(0) as u64;
            }
        }
        assert_memory_below(&broker, 320 * MIB, "with a budget of 128 MiB");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    drop(hogs);
    wait_for("the broker serves again", PROMPT, || {
        assert!(broker.alive(), "the broker ended");
        let mut connection = Connection::open(broker.bootstrap());
        let answer = produce(&mut connection, &topic, 0, &Batch::of(&[b"again"]).build());
        (answer.error_code == 0).then_some(())
    });
}

#[test]
fn the_largest_frame_is_a_setting() {
    let Some(broker) = Broker::own().set("socket.request.max.bytes", 100_000).start() else {
        return;
    };
    let topic = create(&broker, "frame", 1, &[]);
    for (total, fits) in [(100_000, true), (100_001, false)] {
        let overhead = request_bytes(
            9,
            1,
            &produce_request(&topic, 0, -1, &Batch::sized(90_000).build()),
        )
        .len()
            - 90_000;
        let body = request_bytes(
            9,
            1,
            &produce_request(&topic, 0, -1, &Batch::sized(total - overhead).build()),
        );
        assert_eq!(body.len(), total);
        let mut connection = Connection::open(broker.bootstrap());
        let sent = connection.send_frame(&body);
        if fits {
            let answer = connection.receive::<ProduceRequest>(9, 1);
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        } else if sent.is_ok() {
            connection.expect_closed();
        }
    }
    assert_prompt(&broker, &topic, 0);
}

#[test]
fn idle_connections_are_closed_in_time() {
    let Some(broker) = Broker::own().set("connections.max.idle.ms", 1000).start() else {
        return;
    };
    let mut idle = Connection::open(broker.bootstrap());
    assert_eq!(idle.call(3, &versions_request()).error_code, 0);
    idle.expect_closed();
}

#[test]
fn many_connections_come_and_go() {
    let broker = Broker::any();
    let topic = create(&broker, "crowd", 1, &[]);
    let before = broker.memory("VmRSS").unwrap_or_default();
    for _ in 0..3 {
        let mut crowd: Vec<Connection> = (0..300).map(|_| Connection::open(broker.bootstrap())).collect();
        for connection in &mut crowd {
            assert_eq!(metadata(connection, 9, &[&topic]).topics[0].error_code, 0);
        }
        assert_prompt(&broker, &topic, 0);
    }
    assert_memory_below(&broker, before + 128 * MIB, "after 900 connections");
}

#[test]
fn a_waiting_fetch_holds_up_nobody() {
    let broker = Broker::any();
    let topic = create(&broker, "parked", 2, &[]);
    let want = Want {
        partition: 0,
        offset: 0,
        max_bytes: 1 << 20,
    };
    let mut parked: Vec<Connection> = (0..50).map(|_| Connection::open(broker.bootstrap())).collect();
    for connection in &mut parked {
        connection.send(12, &fetch_request(&topic, &[want], 1, 20_000));
    }
    for _ in 0..10 {
        assert_prompt(&broker, &topic, 1);
    }
    let start = Instant::now();
    let mut connection = Connection::open(broker.bootstrap());
    produce(&mut connection, &topic, 0, &Batch::of(&[b"wake"]).build());
    for connection in &mut parked {
        let answer = connection.receive::<FetchRequest>(12, 1);
        assert_eq!(answer.responses[0].partitions[0].high_watermark, 1);
    }
    assert!(start.elapsed() < PROMPT, "waking took {:?}", start.elapsed());
}

#[test]
fn a_fetch_waits_no_longer_than_it_said() {
    let broker = Broker::any();
    let topic = create(&broker, "waits", 1, &[]);
    let want = Want {
        partition: 0,
        offset: 0,
        max_bytes: 1 << 20,
    };
    let mut connection = Connection::open(broker.bootstrap());
    connection.call(12, &fetch_request(&topic, &[want], 1, 0));
    let start = Instant::now();
    let answer = connection.call(12, &fetch_request(&topic, &[want], 1, 700));
    let waited = start.elapsed();
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    assert!(
        waited >= Duration::from_millis(690) && waited < PROMPT,
        "waited {waited:?}"
    );
    // Fewer bytes than asked for wait too; an error does not.
    produce(&mut connection, &topic, 0, &Batch::of(&[b"little"]).build());
    let start = Instant::now();
    connection.call(12, &fetch_request(&topic, &[want], 1 << 20, 500));
    assert!(start.elapsed() >= Duration::from_millis(490));
    let start = Instant::now();
    let outside = Want { offset: 99, ..want };
    connection.call(12, &fetch_request(&topic, &[outside], 1, 15_000));
    assert!(start.elapsed() < PROMPT);
}
