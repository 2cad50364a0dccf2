//! Connections that move between cores under their clients' hands: every answer comes, in order, and nothing is stored twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;
use rdkafka::Offset;
use ringlog::wire::Decoder;
use ringlog::wire::describe_cores::{RinglogDescribeCoresRequest, RinglogDescribeCoresResponse};
use ringlog_tests::admin::create;
use ringlog_tests::client::{Outgoing, Producer, read_partition};
use ringlog_tests::oracle::Ledger;
use ringlog_tests::raw::{Batch, Connection, header_bytes, produce, produce_request, request_bytes};
use ringlog_tests::{Broker, PATIENCE, wait_for};

/// Requests of each connection: more than it takes until one asks to move, several times over.
const REQUESTS: i32 = 300;
/// Of them on their way at once.
const AT_ONCE: i32 = 7;

/// One connection, always with requests on their way, the last of them cut in two at another place each time. Gives the offsets.
fn pipeline(bootstrap: &str, topic: &str, id: usize) -> Vec<i64> {
    let mut connection = Connection::open(bootstrap);
    let mut offsets = Vec::new();
    let mut rest = Vec::new();
    for sent in 0..REQUESTS + AT_ONCE {
        if sent < REQUESTS {
            let value = format!("{id} {sent}");
            let batch = Batch::of(&[value.as_bytes()]).build();
            let payload = request_bytes(9, sent, &produce_request(topic, 0, -1, &batch));
            let mut frame = std::mem::take(&mut rest);
            frame.extend((payload.len() as i32).to_be_bytes());
            frame.extend(payload);
            let cut = match sent + 1 < REQUESTS {
                true => frame.len() - (sent as usize * 13) % 150,
                false => frame.len(),
            };
            rest = frame.split_off(cut);
            connection.send_bytes(&frame).expect("sent");
        }
        if sent >= AT_ONCE {
            let response = connection.receive::<ProduceRequest>(9, sent - AT_ONCE);
            let answer = &response.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, 0, "request {}", sent - AT_ONCE);
            offsets.push(answer.base_offset);
        }
    }
    offsets
}

#[test]
fn pipelined_requests_are_answered_in_order_while_their_connection_moves() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "moving", 1, &[]);
    // The kernel deals them out to the cores: about half begin on the one that is not the owner.
    let clients = 12;
    let offsets: Vec<Vec<i64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|id| {
                scope.spawn({
                    let (bootstrap, topic) = (broker.bootstrap(), &topic);
                    move || pipeline(bootstrap, topic, id)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a client"))
            .collect()
    });
    for (id, offsets) in offsets.iter().enumerate() {
        assert!(offsets.is_sorted(), "connection {id}: {offsets:?}");
    }
    let distinct: BTreeSet<i64> = offsets.iter().flatten().copied().collect();
    assert_eq!(distinct.len(), clients * REQUESTS as usize);
    let records = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
    assert_eq!(records.len(), distinct.len(), "each once");
    for (id, offsets) in offsets.iter().enumerate() {
        for (number, offset) in offsets.iter().enumerate() {
            let value = records[*offset as usize].value.as_deref();
            assert_eq!(value, Some(format!("{id} {number}").as_bytes()));
        }
    }
}

/// Open connections of each core.
fn connections(connection: &mut Connection) -> Vec<i32> {
    let mut frame = header_bytes(31_000, 0, 1, 2);
    let request = RinglogDescribeCoresRequest {
        max_partitions: 0,
        topic: None,
    };
    request.encode(&mut frame, 0);
    connection.send_frame(&frame).expect("sent");
    let answer = Bytes::from(connection.read_frame().expect("an answer")).split_off(5);
    let mut from = Decoder::new(&answer);
    let response = RinglogDescribeCoresResponse::decode(&mut from, 0).expect("a response");
    response.cores.iter().map(|core| core.connections).collect()
}

#[test]
fn producers_of_one_partition_end_up_on_its_core() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "moving", 1, &[]);
    let mut asking = Connection::open(broker.bootstrap());
    let mut producers: Vec<Connection> = (0..12).map(|_| Connection::open(broker.bootstrap())).collect();
    let batch = Batch::of(&[b"value"]).build();
    wait_for("all producers on one core", PATIENCE, || {
        for connection in &mut producers {
            assert_eq!(produce(connection, &topic, 0, &batch).error_code, 0);
        }
        // The one that asks is on either; the others may be between two cores at the moment.
        connections(&mut asking)
            .into_iter()
            .any(|count| count >= 12)
            .then_some(())
    });
}

#[test]
fn idempotent_librdkafka_producers_do_not_notice() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "moving", 1, &[]);
    let settings = [
        ("enable.idempotence", "true"),
        ("linger.ms", "0"),
        ("batch.num.messages", "4"),
    ];
    let producers: Vec<Arc<Producer>> = (0..6)
        .map(|_| Arc::new(Producer::new(broker.bootstrap(), &settings)))
        .collect();
    let mut ledger = Ledger::new();
    for round in 0..10 {
        let acknowledged: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = producers
                .iter()
                .enumerate()
                .map(|(id, producer)| {
                    let topic = &topic;
                    scope.spawn(move || {
                        let records: Vec<_> = (0..200)
                            .map(|number| Outgoing::value(format!("{round} {id} {number}")))
                            .collect();
                        producer.send_all(topic, 0, &records)
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("a producer"))
                .collect()
        });
        ledger.enter(acknowledged);
    }
    assert_eq!(ledger.len(), 6 * 10 * 200);
    ledger.check(broker.bootstrap(), true);
}
