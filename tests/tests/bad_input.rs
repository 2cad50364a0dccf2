//! Input no well-behaved client sends. Every answer expected here was seen on Apache Kafka 4.3.1 first:
//! set `RINGLOG_TEST_BOOTSTRAP` to the address of a Kafka broker to see it again.

use std::io::Write;

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersionsResponse;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, FetchRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use ringlog_tests::Broker;
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::raw::{
    Batch, Connection, Want, batches, crc32c, fetch, fetch_request, header_bytes, metadata, name, produce,
    produce_request, request_bytes, topic_id,
};
use uuid::Uuid;

const METADATA: i16 = 3;
const PRODUCE: i16 = 0;
const API_VERSIONS: i16 = 18;

/// The codes of Kafka's errors that appear here.
mod code {
    pub const UNKNOWN_SERVER_ERROR: i16 = -1;
    pub const NONE: i16 = 0;
    pub const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub const CORRUPT_MESSAGE: i16 = 2;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const MESSAGE_TOO_LARGE: i16 = 10;
    pub const INVALID_TOPIC: i16 = 17;
    pub const RECORD_LIST_TOO_LARGE: i16 = 18;
    pub const INVALID_REQUIRED_ACKS: i16 = 21;
    pub const INVALID_TIMESTAMP: i16 = 32;
    pub const UNSUPPORTED_VERSION: i16 = 35;
    pub const INVALID_REQUEST: i16 = 42;
    pub const OUT_OF_ORDER_SEQUENCE: i16 = 45;
    pub const INVALID_PRODUCER_EPOCH: i16 = 47;
    pub const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
    pub const UNKNOWN_LEADER_EPOCH: i16 = 75;
    pub const UNSUPPORTED_COMPRESSION: i16 = 76;
    pub const INVALID_RECORD: i16 = 87;
    pub const UNKNOWN_TOPIC_ID: i16 = 100;
}

/// The broker still serves: a good batch is taken and comes back.
fn assert_serves(broker: &Broker, topic: &str) {
    let mut connection = Connection::open(broker.bootstrap());
    let answer = produce(&mut connection, topic, 0, &Batch::of(&[b"still here"]).build());
    assert_eq!(answer.error_code, code::NONE);
    let back = fetch(&mut connection, topic, 0, answer.base_offset);
    assert_eq!(
        batches(&back.records.unwrap_or_default()),
        [(answer.base_offset, 1)]
    );
}

// Frames.

/// Each of these makes the broker close the connection, and nothing else.
#[test]
fn frames_that_end_the_connection() {
    let broker = Broker::any();
    let topic = create(&broker, "frames", 1, &[]);
    let huge_count = |key: i16, version: i16, header: i16, body: &[u8]| {
        let mut frame = header_bytes(key, version, 1, header);
        frame.extend_from_slice(body);
        framed(&frame)
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("length -1", (-1i32).to_be_bytes().to_vec()),
        ("length of the least integer", i32::MIN.to_be_bytes().to_vec()),
        (
            "length above socket.request.max.bytes",
            (104_857_601i32).to_be_bytes().to_vec(),
        ),
        ("length of the greatest integer", i32::MAX.to_be_bytes().to_vec()),
        ("no bytes at all", framed(&[])),
        ("half a header", framed(&[0, 3, 0])),
        ("unknown key", framed(&header_bytes(9999, 0, 1, 1))),
        ("negative key", framed(&header_bytes(-1, 0, 1, 1))),
        ("a removed key", framed(&header_bytes(4, 0, 1, 1))),
        (
            "Metadata of a version to come",
            framed(&header_bytes(METADATA, 99, 1, 2)),
        ),
        (
            "Metadata of version -1",
            framed(&header_bytes(METADATA, -1, 1, 1)),
        ),
        ("Produce of version 2", framed(&header_bytes(PRODUCE, 2, 1, 1))),
        ("Fetch of version 3", framed(&header_bytes(1, 3, 1, 1))),
        ("a body cut short", framed(&header_bytes(METADATA, 1, 1, 1))),
        (
            "Metadata v1 of 2^31-1 topics",
            huge_count(METADATA, 1, 1, &i32::MAX.to_be_bytes()),
        ),
        (
            "Metadata v9 of 2^32-2 topics",
            huge_count(METADATA, 9, 2, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ),
        (
            "a string longer than the frame",
            huge_count(METADATA, 1, 1, &[0, 0, 0, 1, 0x7f, 0xff, b'a']),
        ),
        (
            "a varint that never ends",
            huge_count(METADATA, 9, 2, &[0xff; 12]),
        ),
        (
            "Produce v3 of 2^31-1 topics",
            huge_count(
                PRODUCE,
                3,
                1,
                &[0xff, 0xff, 0, 1, 0, 0, 0, 9, 0x7f, 0xff, 0xff, 0xff],
            ),
        ),
        (
            "CreateTopics v2 of 2^31-1 topics",
            huge_count(19, 2, 1, &i32::MAX.to_be_bytes()),
        ),
        (
            "a client id longer than the frame",
            framed(&[0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, b'x']),
        ),
        (
            "a name that is not UTF-8 text's length",
            huge_count(METADATA, 1, 1, &[0, 0, 0, 1, 0xff, 0xfe]),
        ),
    ];
    for (what, bytes) in cases {
        println!("{what}");
        let mut connection = Connection::open(broker.bootstrap());
        connection.send_bytes(&bytes).expect("sent");
        connection.expect_closed();
    }
    assert_serves(&broker, &topic);
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = (bytes.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(bytes);
    frame
}

#[test]
fn a_frame_cut_by_the_end_of_the_connection_is_dropped() {
    let broker = Broker::any();
    let topic = create(&broker, "cut", 1, &[]);
    let frame = framed(&request_bytes(
        9,
        1,
        &produce_request(&topic, 0, -1, &Batch::of(&[b"never"]).build()),
    ));
    for end in [1, 3, 4, 5, 20, frame.len() / 2, frame.len() - 1] {
        let mut connection = Connection::open(broker.bootstrap());
        connection.send_bytes(&frame[..end]).expect("sent");
        connection
            .stream()
            .shutdown(std::net::Shutdown::Write)
            .expect("shut down");
        connection.expect_closed();
    }
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(fetch(&mut connection, &topic, 0, 0).high_watermark, 0);
    assert_serves(&broker, &topic);
}

#[test]
fn a_frame_in_pieces_and_several_in_one_are_the_same() {
    let broker = Broker::any();
    let topic = create(&broker, "pieces", 1, &[]);
    let request = produce_request(&topic, 0, -1, &Batch::of(&[b"a"]).build());
    let mut connection = Connection::open(broker.bootstrap());
    for byte in framed(&request_bytes(9, 1, &request)) {
        connection.stream().write_all(&[byte]).expect("sent");
    }
    assert_eq!(
        connection.receive::<ProduceRequest>(9, 1).responses[0].partition_responses[0].error_code,
        code::NONE
    );
    let many: Vec<u8> = (2..22)
        .flat_map(|correlation| framed(&request_bytes(9, correlation, &request)))
        .collect();
    connection.send_bytes(&many).expect("sent");
    for correlation in 2..22 {
        let answer = connection.receive::<ProduceRequest>(9, correlation);
        assert_eq!(
            answer.responses[0].partition_responses[0].base_offset,
            i64::from(correlation) - 1
        );
    }
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    let broker = Broker::any();
    let topic = create(&broker, "order", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    // The fetch waits for a byte that the produce behind it would bring: it must time out first.
    let want = Want {
        partition: 0,
        offset: 0,
        max_bytes: 1 << 20,
    };
    let first = connection.send(12, &fetch_request(&topic, &[want], 1, 300));
    let second = connection.send(9, &produce_request(&topic, 0, -1, &Batch::of(&[b"x"]).build()));
    let third = connection.send(9, &ask_metadata(&topic));
    let fetched = connection.receive::<FetchRequest>(12, first);
    assert!(
        fetched
            .responses
            .iter()
            .all(|topic| topic.partitions.iter().all(|p| p.high_watermark == 0))
    );
    assert_eq!(
        connection.receive::<ProduceRequest>(9, second).responses[0].partition_responses[0].base_offset,
        0
    );
    assert_eq!(
        connection.receive::<MetadataRequest>(9, third).topics[0].error_code,
        code::NONE
    );
}

fn ask_metadata(topic: &str) -> MetadataRequest {
    let topic = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(name(topic)));
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

// ApiVersions.

#[test]
fn api_versions_of_an_unknown_version_is_answered_in_version_0() {
    let broker = Broker::any();
    for version in [5, 99, i16::MAX] {
        let mut connection = Connection::open(broker.bootstrap());
        let mut frame = header_bytes(API_VERSIONS, version, 77, 2);
        frame.extend_from_slice(&[4, b'r', b'a', b'w', 2, b'1', 0]);
        connection.send_frame(&frame).expect("sent");
        let mut answer = Bytes::from(connection.read_frame().expect("an answer"));
        assert_eq!(answer.split_to(4)[..], 77i32.to_be_bytes());
        let body = ApiVersionsResponse::decode(&mut answer, 0).expect("a body of version 0");
        assert!(answer.is_empty());
        assert_eq!(body.error_code, code::UNSUPPORTED_VERSION);
        let range = body
            .api_keys
            .iter()
            .find(|api| api.api_key == API_VERSIONS)
            .expect("its own range");
        assert_eq!(
            (range.min_version, range.max_version, body.api_keys.len()),
            (0, 4, 1)
        );
        // The connection lives on.
        let next = connection.call(4, &software("raw", "1"));
        assert_eq!(next.error_code, code::NONE);
    }
}

fn software(name: &'static str, version: &'static str) -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str(name))
        .with_client_software_version(StrBytes::from_static_str(version))
}

#[test]
fn api_versions_checks_the_name_of_the_software() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    for (name, version, expected) in [
        ("raw", "1.0-x", code::NONE),
        ("", "1", code::INVALID_REQUEST),
        ("raw", "", code::INVALID_REQUEST),
        ("-raw", "1", code::INVALID_REQUEST),
        ("raw client", "1", code::INVALID_REQUEST),
    ] {
        assert_eq!(
            connection.call(3, &software(name, version)).error_code,
            expected,
            "{name:?} {version:?}"
        );
    }
}

// Produce.

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
    assert_serves(&broker, &topic);
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
    assert_serves(&broker, &topic);
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
    assert_serves(&broker, &topic);
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
    assert_serves(&broker, &topic);
}

#[test]
fn topics_and_partitions_that_do_not_exist() {
    let broker = Broker::any();
    let topic = create(&broker, "exists", 1, &[]);
    let absent = unique("absent");
    let good = Batch::of(&[b"x"]).build();
    let mut connection = Connection::open(broker.bootstrap());
    for (name, partition) in [(&absent, 0), (&topic, 1), (&topic, -1), (&topic, i32::MAX)] {
        let produced = produce(&mut connection, name, partition, &good);
        assert_eq!(
            produced.error_code,
            code::UNKNOWN_TOPIC_OR_PARTITION,
            "{name} {partition}"
        );
        let fetched = fetch(&mut connection, name, partition, 0);
        assert_eq!(
            fetched.error_code,
            code::UNKNOWN_TOPIC_OR_PARTITION,
            "{name} {partition}"
        );
        assert_eq!((fetched.high_watermark, fetched.log_start_offset), (-1, -1));
    }
    // Produce never creates a topic.
    let listed = metadata(&mut connection, 9, &[&absent]);
    assert_eq!(listed.topics[0].error_code, code::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn topic_ids_that_do_not_exist() {
    let broker = Broker::any();
    let topic = create(&broker, "ids", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let id = topic_id(&mut connection, &topic);
    let unknown = Uuid::from_u128(0x1234_5678_9abc_def0_1122_3344_5566_7788);
    for (id, expected) in [
        (id, code::NONE),
        (unknown, code::UNKNOWN_TOPIC_ID),
        (Uuid::nil(), code::UNKNOWN_TOPIC_ID),
    ] {
        let records = Bytes::from(Batch::of(&[b"x"]).build());
        let data = PartitionProduceData::default().with_records(Some(records));
        let data = TopicProduceData::default()
            .with_topic_id(id)
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(1000)
            .with_topic_data(vec![data]);
        let produced = connection.call(13, &request);
        assert_eq!(
            produced.responses[0].partition_responses[0].error_code, expected,
            "produce {id}"
        );
        assert_eq!(produced.responses[0].topic_id, id);

        let wanted = FetchPartition::default().with_partition_max_bytes(1 << 20);
        let wanted = FetchTopic::default()
            .with_topic_id(id)
            .with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_session_epoch(-1);
        let fetched = connection.call(17, &request.with_max_bytes(1 << 20).with_topics(vec![wanted]));
        assert_eq!(
            fetched.responses[0].partitions[0].error_code, expected,
            "fetch {id}"
        );
    }
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
    let answer = connection.call(4, &request);
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

// Fetch and ListOffsets.

#[test]
fn fetches_outside_the_log() {
    let broker = Broker::any();
    let topic = create(&broker, "range", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    produce(
        &mut connection,
        &topic,
        0,
        &Batch::of(&[b"a", b"b", b"c"]).build(),
    );
    for (offset, expected) in [
        (0, code::NONE),
        (3, code::NONE),
        (4, code::OFFSET_OUT_OF_RANGE),
        (-1, code::OFFSET_OUT_OF_RANGE),
        (i64::MAX, code::OFFSET_OUT_OF_RANGE),
        (i64::MIN, code::OFFSET_OUT_OF_RANGE),
    ] {
        let answer = fetch(&mut connection, &topic, 0, offset);
        println!(
            "{offset}: {} {} {}",
            answer.error_code, answer.high_watermark, answer.log_start_offset
        );
        assert_eq!(answer.error_code, expected, "{offset}");
        assert!(expected == code::NONE || answer.records.unwrap_or_default().is_empty());
    }
    // From within a batch the whole batch is given.
    let inside = fetch(&mut connection, &topic, 0, 2);
    assert_eq!(batches(&inside.records.unwrap_or_default()), [(0, 3)]);
}

#[test]
fn fetches_with_a_foreign_epoch_or_session() {
    let broker = Broker::any();
    let topic = create(&broker, "epochs", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let want = Want {
        partition: 0,
        offset: 0,
        max_bytes: 1 << 20,
    };
    let mut request = fetch_request(&topic, &[want], 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = 99;
    let answer = connection.call(12, &request);
    assert_eq!(
        answer.responses[0].partitions[0].error_code,
        code::UNKNOWN_LEADER_EPOCH
    );
    let request = fetch_request(&topic, &[want], 0, 0)
        .with_session_id(123_456)
        .with_session_epoch(5);
    let answer = connection.call(12, &request);
    assert_eq!(answer.error_code, code::FETCH_SESSION_ID_NOT_FOUND);
    assert!(answer.responses.is_empty());
}

#[test]
fn the_first_batch_comes_whole_whatever_the_limits_say() {
    let broker = Broker::any();
    let topic = create(&broker, "atleastone", 2, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    for partition in [0, 1] {
        produce(&mut connection, &topic, partition, &Batch::sized(50_000).build());
    }
    let wants = [
        Want {
            partition: 0,
            offset: 0,
            max_bytes: 1,
        },
        Want {
            partition: 1,
            offset: 0,
            max_bytes: 1,
        },
    ];
    let answer = connection.call(12, &fetch_request(&topic, &wants, 0, 0).with_max_bytes(1));
    let sizes: Vec<usize> = answer.responses[0]
        .partitions
        .iter()
        .map(|p| p.records.as_ref().map_or(0, Bytes::len))
        .collect();
    assert_eq!(sizes, [50_000, 0]);
}

#[test]
fn list_offsets_of_what_does_not_exist() {
    let broker = Broker::any();
    let topic = create(&broker, "listed", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let produced_ms = Batch::of(&[b"x"]).timestamp_ms;
    produce(&mut connection, &topic, 0, &Batch::of(&[b"x"]).build());
    // (partition, timestamp, version, code, offset)
    let cases = [
        (0, -1, 7, code::NONE, 1),
        (0, -2, 7, code::NONE, 0),
        (0, -3, 7, code::NONE, 0),
        (0, -4, 8, code::NONE, 0),
        (0, -5, 9, code::NONE, -1),
        (0, -3, 6, code::UNSUPPORTED_VERSION, -1),
        (0, -4, 7, code::UNSUPPORTED_VERSION, -1),
        (0, -5, 8, code::UNSUPPORTED_VERSION, -1),
        (0, 0, 7, code::NONE, 0),
        (0, produced_ms + 3_600_000, 7, code::NONE, -1),
        (1, -1, 7, code::UNKNOWN_TOPIC_OR_PARTITION, -1),
    ];
    for (partition, timestamp, version, expected, offset) in cases {
        let answer = list_offsets(&mut connection, version, &topic, &[(partition, timestamp)]);
        assert_eq!(
            answer,
            [(expected, offset)],
            "partition {partition}, timestamp {timestamp}, v{version}"
        );
    }
    let twice = list_offsets(&mut connection, 7, &topic, &[(0, -1), (0, -1)]);
    assert!(
        twice.iter().all(|&(code, _)| code == code::INVALID_REQUEST),
        "{twice:?}"
    );
    let absent = list_offsets(&mut connection, 7, &unique("absent"), &[(0, -1)]);
    assert_eq!(absent, [(code::UNKNOWN_TOPIC_OR_PARTITION, -1)]);
}

fn list_offsets(
    connection: &mut Connection,
    version: i16,
    topic: &str,
    wants: &[(i32, i64)],
) -> Vec<(i16, i64)> {
    let partitions = wants
        .iter()
        .map(|&(partition, timestamp)| {
            ListOffsetsPartition::default()
                .with_partition_index(partition)
                .with_timestamp(timestamp)
        })
        .collect();
    let topic = ListOffsetsTopic::default()
        .with_name(name(topic))
        .with_partitions(partitions);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic]);
    let answer = connection.call(version, &request);
    answer
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|p| (p.error_code, p.offset))
        .collect()
}

#[test]
fn metadata_of_names_that_cannot_be() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let long = "x".repeat(250);
    for bad in ["", ".", "..", "a/b", "a b", "täg", "a\0b", &long] {
        let mut request = ask_metadata(bad);
        request.allow_auto_topic_creation = true;
        let answer = connection.call(9, &request);
        assert_eq!(answer.topics[0].error_code, code::INVALID_TOPIC, "{bad:?}");
        assert!(answer.topics[0].partitions.is_empty());
    }
}
