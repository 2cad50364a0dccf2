//! Frames and headers no well-behaved client sends, and the one answer that is made for strangers, ApiVersions.
//!
//! Every answer expected here was seen on Apache Kafka 4.3.1 first: set `RINGLOG_TEST_BOOTSTRAP` to the address of a
//! Kafka broker to see it again.

use std::io::Write;

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersionsResponse;
use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest};
use kafka_protocol::protocol::{Decodable, StrBytes};
use ringlog_tests::admin::create;
use ringlog_tests::raw::{
    Batch, Connection, Want, ask_metadata, assert_serves, fetch, fetch_request, header_bytes,
    produce_request, request_bytes,
};
use ringlog_tests::{Broker, code};

const METADATA: i16 = 3;
const PRODUCE: i16 = 0;
const API_VERSIONS: i16 = 18;
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
    assert_serves(broker.bootstrap(), &topic);
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
    assert_serves(broker.bootstrap(), &topic);
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
