//! Produce requests no well-behaved client sends.
//!
//! Every answer expected here was seen on Apache Kafka 4.3.1 first: set `RINGLOG_TEST_BOOTSTRAP` to the address of a
//! Kafka broker to see it again.

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::raw::{
    Batch, Connection, assert_serves, crc32c, fetch, metadata, name, produce, produce_request,
};
use ringlog_tests::{Broker, PATIENCE, code, wait_for};
/// A change to a good batch of three records, and the code it is answered with.
type BatchCase = (&'static str, fn(&mut Batch), i16);

#[test]
fn batches_that_are_refused() {
    let broker = Broker::any();
    let topic = create(&broker, "refused", 1, &[]);
    let cases: [BatchCase; 15] = [
        (
            "wrong checksum",
            |batch| batch.wrong_crc = true,
            code::CORRUPT_MESSAGE,
        ),
        ("magic 0", |batch| batch.magic = 0, code::INVALID_RECORD),
        ("magic 1", |batch| batch.magic = 1, code::INVALID_RECORD),
        ("magic 3", |batch| batch.magic = 3, code::CORRUPT_MESSAGE),
        ("magic -1", |batch| batch.magic = -1, code::CORRUPT_MESSAGE),
        (
            "count 0",
            |batch| batch.claimed_count = Some(0),
            code::INVALID_RECORD,
        ),
        (
            "count -1",
            |batch| batch.claimed_count = Some(-1),
            code::INVALID_RECORD,
        ),
        (
            "count above the delta",
            |batch| batch.claimed_count = Some(4),
            code::INVALID_RECORD,
        ),
        (
            "delta above the count",
            |batch| batch.claimed_last_delta = Some(3),
            code::INVALID_RECORD,
        ),
        (
            "delta -1",
            |batch| batch.claimed_last_delta = Some(-1),
            code::INVALID_RECORD,
        ),
        (
            "a control batch",
            |batch| batch.attributes = 0x20,
            code::INVALID_RECORD,
        ),
        (
            "a producer without sequence",
            |batch| (batch.producer_id, batch.producer_epoch) = (7, 0),
            code::INVALID_RECORD,
        ),
        (
            "two hours ahead",
            |batch| batch.timestamp_ms += 7_200_000,
            code::INVALID_TIMESTAMP,
        ),
        (
            "codec 5",
            |batch| batch.attributes = 5,
            code::UNKNOWN_SERVER_ERROR,
        ),
        (
            "codec 7",
            |batch| batch.attributes = 7,
            code::UNKNOWN_SERVER_ERROR,
        ),
    ];
    let mut connection = Connection::open(broker.bootstrap());
    for (what, change, expected) in cases {
        let mut batch = Batch::of(&[b"one", b"two", b"three"]);
        change(&mut batch);
        let answer = produce(&mut connection, &topic, 0, &batch.build());
        println!(
            "{what}: {} {:?} {:?}",
            answer.error_code, answer.error_message, answer.record_errors
        );
        assert_eq!(answer.error_code, expected, "{what}");
        assert_eq!(
            (answer.base_offset, answer.log_append_time_ms),
            (-1, -1),
            "{what}"
        );
    }
    assert_eq!(fetch(&mut connection, &topic, 0, 0).high_watermark, 0);
    assert_serves(broker.bootstrap(), &topic);
}

#[test]
fn a_batch_cannot_choose_the_kind_of_its_time() {
    let broker = Broker::any();
    let topic = create(&broker, "timekind", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let mut batch = Batch::of(&[b"one"]);
    batch.attributes = 0x08;
    assert_eq!(
        produce(&mut connection, &topic, 0, &batch.build()).error_code,
        code::NONE
    );
    let stored = fetch(&mut connection, &topic, 0, 0).records.expect("records");
    // The topic says CreateTime, and so does what is stored; the checksum covers the attributes.
    assert_eq!(stored[21..23], [0, 0]);
    assert_eq!(stored[17..21], crc32c(&stored[21..]).to_be_bytes());
}

#[test]
fn records_that_are_not_one_whole_batch_are_refused() {
    let broker = Broker::any();
    let topic = create(&broker, "whole", 1, &[]);
    let good = Batch::of(&[b"one"]).build();
    let twice = [good.clone(), good.clone()].concat();
    let mut longer = good.clone();
    longer.push(0);
    let mut claims_more = good.clone();
    claims_more[11] += 1;
    let mut claims_less = good.clone();
    claims_less[8..12].copy_from_slice(&10i32.to_be_bytes());
    let mut negative = good.clone();
    negative[8..12].copy_from_slice(&(-1i32).to_be_bytes());
    let cases: [(&str, &[u8], i16); 8] = [
        ("nothing", &[], code::INVALID_RECORD),
        ("two batches", &twice, code::INVALID_RECORD),
        ("a batch and a byte", &longer, code::NONE),
        ("cut short", &good[..good.len() - 1], code::INVALID_RECORD),
        ("less than a header", &good[..30], code::INVALID_RECORD),
        ("claims a byte more", &claims_more, code::INVALID_RECORD),
        ("claims less than a header", &claims_less, code::CORRUPT_MESSAGE),
        ("claims a negative length", &negative, code::CORRUPT_MESSAGE),
    ];
    let mut connection = Connection::open(broker.bootstrap());
    for (what, records, expected) in cases {
        let answer = produce(&mut connection, &topic, 0, records);
        println!("{what}: {} {:?}", answer.error_code, answer.error_message);
        assert_eq!(answer.error_code, expected, "{what}");
    }
    assert_serves(broker.bootstrap(), &topic);
}

#[test]
fn batches_too_large() {
    let broker = Broker::any();
    let topic = create(&broker, "toolarge", 1, &[("max.message.bytes", "2000")]);
    let small = create(
        &broker,
        "toosmall",
        1,
        &[("max.message.bytes", "3000000"), ("segment.bytes", "1048576")],
    );
    let mut connection = Connection::open(broker.bootstrap());
    for (total, expected) in [
        (2000, code::NONE),
        (2001, code::MESSAGE_TOO_LARGE),
        (1_500_000, code::MESSAGE_TOO_LARGE),
    ] {
        let answer = produce(&mut connection, &topic, 0, &Batch::sized(total).build());
        assert_eq!(answer.error_code, expected, "{total}");
    }
    for (total, expected) in [(1_048_576, code::NONE), (1_048_577, code::RECORD_LIST_TOO_LARGE)] {
        let answer = produce(&mut connection, &small, 0, &Batch::sized(total).build());
        assert_eq!(answer.error_code, expected, "{total}");
    }
}

#[test]
fn the_default_limit_is_kafkas() {
    let broker = Broker::any();
    let topic = create(&broker, "limit", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(
        produce(&mut connection, &topic, 0, &Batch::sized(1_048_588).build()).error_code,
        code::NONE
    );
    let answer = produce(&mut connection, &topic, 0, &Batch::sized(1_048_589).build());
    assert_eq!(answer.error_code, code::MESSAGE_TOO_LARGE);
}

#[test]
fn acks_that_do_not_exist() {
    let broker = Broker::any();
    let topic = create(&broker, "acks7", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    for acks in [7, 2, -2, i16::MAX, i16::MIN] {
        let answer = connection.call(9, &produce_request(&topic, 0, acks, &Batch::of(&[b"x"]).build()));
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, code::INVALID_REQUIRED_ACKS, "acks={acks}");
    }
    assert_serves(broker.bootstrap(), &topic);
}

#[test]
fn without_acknowledgement_there_is_no_answer_and_an_error_ends_the_connection() {
    let broker = Broker::any();
    let topic = create(&broker, "acks0", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    connection.send(9, &produce_request(&topic, 0, 0, &Batch::of(&[b"x"]).build()));
    // The next answer on the connection is the next request's.
    assert_eq!(
        metadata(&mut connection, 9, &[&topic]).topics[0].error_code,
        code::NONE
    );
    connection.send(
        9,
        &produce_request(&unique("nowhere"), 0, 0, &Batch::of(&[b"x"]).build()),
    );
    connection.expect_closed();
    let mut connection = Connection::open(broker.bootstrap());
    let mut wrong = Batch::of(&[b"x"]);
    wrong.wrong_crc = true;
    connection.send(9, &produce_request(&topic, 0, 0, &wrong.build()));
    connection.expect_closed();
    assert_serves(broker.bootstrap(), &topic);
}

#[test]
fn zstd_in_an_old_produce_is_refused() {
    let broker = Broker::any();
    let topic = create(&broker, "oldzstd", 1, &[]);
    let mut batch = Batch::of(&[b"x"]);
    batch.attributes = 4;
    let mut connection = Connection::open(broker.bootstrap());
    let answer = connection.call(6, &produce_request(&topic, 0, -1, &batch.build()));
    assert_eq!(
        answer.responses[0].partition_responses[0].error_code,
        code::UNSUPPORTED_COMPRESSION
    );
}

#[test]
fn one_bad_partition_does_not_spoil_the_others() {
    let broker = Broker::any();
    let topic = create(&broker, "mixed", 3, &[]);
    let mut wrong = Batch::of(&[b"x"]);
    wrong.wrong_crc = true;
    let data = [
        Batch::of(&[b"a"]).build(),
        wrong.build(),
        Batch::of(&[b"c"]).build(),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, records)| {
        PartitionProduceData::default()
            .with_index(index as i32)
            .with_records(Some(records.into()))
    })
    .collect();
    let data = TopicProduceData::default()
        .with_name(name(&topic))
        .with_partition_data(data);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(1000)
        .with_topic_data(vec![data]);
    let mut connection = Connection::open(broker.bootstrap());
    let mut answer = connection
        .call(9, &request)
        .responses
        .remove(0)
        .partition_responses;
    answer.sort_by_key(|partition| partition.index);
    let codes: Vec<i16> = answer.iter().map(|partition| partition.error_code).collect();
    assert_eq!(codes, [code::NONE, code::CORRUPT_MESSAGE, code::NONE]);
}

#[test]
fn sequences_and_epochs_of_idempotent_producers() {
    let broker = Broker::any();
    let topic = create(&broker, "sequences", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let id = init_producer(&mut connection);
    let two: &[&[u8]] = &[b"a", b"b"];
    // (epoch, first sequence, code, base offset of the answer)
    let steps = [
        (0, 0, code::NONE, 0),
        (0, 2, code::NONE, 2),
        (0, 2, code::NONE, 2),
        (0, 0, code::NONE, 0),
        (0, 5, code::OUT_OF_ORDER_SEQUENCE, -1),
        (0, 4, code::NONE, 4),
        (1, 3, code::OUT_OF_ORDER_SEQUENCE, -1),
        (1, 0, code::NONE, 6),
        (0, 6, code::INVALID_PRODUCER_EPOCH, -1),
        (1, 2, code::NONE, 8),
        (1, 4, code::NONE, 10),
        (1, 6, code::NONE, 12),
        (1, 8, code::NONE, 14),
        (1, 10, code::NONE, 16),
        (1, 2, code::NONE, 8),
        (1, 0, code::OUT_OF_ORDER_SEQUENCE, -1),
    ];
    for (step, (epoch, sequence, expected, offset)) in steps.into_iter().enumerate() {
        let batch = Batch::of(two).from_producer(id, epoch, sequence);
        let answer = produce(&mut connection, &topic, 0, &batch.build());
        println!(
            "step {step}: {} {} {:?}",
            answer.error_code, answer.base_offset, answer.error_message
        );
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (expected, offset),
            "step {step}"
        );
    }
    assert_eq!(fetch(&mut connection, &topic, 0, 0).high_watermark, 18);
}

fn init_producer(connection: &mut Connection) -> i64 {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000);
    // Between two blocks of ids a broker may say COORDINATOR_LOAD_IN_PROGRESS.
    let answer = wait_for("a producer id", PATIENCE, || {
        let answer = connection.call(4, &request);
        (answer.error_code != code::COORDINATOR_LOAD_IN_PROGRESS).then_some(answer)
    });
    assert_eq!((answer.error_code, answer.producer_epoch), (code::NONE, 0));
    answer.producer_id.0
}

#[test]
fn a_sequence_wraps_to_zero() {
    let broker = Broker::any();
    let topic = create(&broker, "wrap", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let id = init_producer(&mut connection);
    let three: &[&[u8]] = &[b"a", b"b", b"c"];
    // A producer the partition does not know may start anywhere.
    for (sequence, expected) in [
        (i32::MAX - 1, code::NONE),
        (1, code::NONE),
        (4, code::NONE),
        (6, code::OUT_OF_ORDER_SEQUENCE),
    ] {
        let batch = Batch::of(three).from_producer(id, 0, sequence);
        assert_eq!(
            produce(&mut connection, &topic, 0, &batch.build()).error_code,
            expected,
            "{sequence}"
        );
    }
}

#[test]
fn producer_ids_are_never_given_twice() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let ids: std::collections::BTreeSet<i64> = (0..1500).map(|_| init_producer(&mut connection)).collect();
    assert_eq!(ids.len(), 1500);
}
