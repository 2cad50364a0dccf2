//! Bytes that are no requests: they cost the connection that sent them, and nobody else's.

use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest};

use super::client::{Client, batch, fetch, produce, sink, until_awaited};
use crate::sink::Keep;

/// A frame with its length in front.
fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

#[test]
fn hostile_frames_close_only_their_connection() {
    let sink = sink(Keep::Nothing, None);
    let mut honest = Client::with_topic(&sink, 1);
    let produce_header = [0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0];
    let old_header = [0, 0, 0, 3, 0, 0, 0, 1, 0xff, 0xff];
    let with = |header: &[u8], body: &[u8]| framed(&[header, body].concat());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("negative length", vec![0xff, 0xff, 0xff, 0xff]),
        ("2 GiB", vec![0x7f, 0xff, 0xff, 0xff]),
        ("one byte above the limit", vec![0x08, 0, 0, 1]),
        ("empty frame", framed(&[])),
        ("half a header", framed(&[0, 0, 0, 9, 0])),
        ("an unknown kind", framed(&[0x33, 0x33, 0, 1, 0, 0, 0, 1, 0, 0])),
        ("a coordinator", framed(&[0, 10, 0, 1, 0, 0, 0, 1, 0xff, 0xff])),
        (
            "a version not spoken",
            framed(&[0, 0, 0, 13, 0, 0, 0, 1, 0xff, 0xff]),
        ),
        ("a header alone", framed(&produce_header)),
        (
            "a client id past the end",
            framed(&[0, 0, 0, 9, 0, 0, 0, 1, 0x7f, 0xff]),
        ),
        (
            "more topics than bytes",
            with(
                &produce_header,
                &[0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
            ),
        ),
        (
            "a count without an end",
            with(
                &produce_header,
                &[0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ),
        ),
        (
            "tags past the end",
            with(&produce_header, &[0, 0, 1, 0, 0, 0, 0, 1, 5, 0, 0xff, 0xff, 3]),
        ),
        (
            "more topics than bytes, old",
            with(
                &old_header,
                &[0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff],
            ),
        ),
        (
            "a topic without a name",
            with(
                &old_header,
                &[0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
            ),
        ),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in cases {
        let mut hostile = Client::connect(&sink);
        hostile.send_raw(&bytes);
        assert!(hostile.is_closed(), "{what}");
    }
    assert_eq!(honest.produce_each(&["a"]), [0]);
}

#[test]
fn every_request_cut_short_closes_its_connection() {
    let sink = sink(Keep::Everything, None);
    let mut honest = Client::with_topic(&sink, 1);
    let bytes = batch(&["a"]);
    for version in [3, 9] {
        let whole = body(0, version, &produce(0, &bytes, -1));
        for end in 8..whole.len() {
            let mut hostile = Client::connect(&sink);
            hostile.send_raw(&framed(&whole[..end]));
            assert!(
                hostile.is_closed(),
                "version {version} cut to {end} of {} bytes",
                whole.len()
            );
        }
    }
    let whole = body(1, 12, &fetch(&[(0, 0)], 0));
    for end in 8..whole.len() {
        let mut hostile = Client::connect(&sink);
        hostile.send_raw(&framed(&whole[..end]));
        assert!(hostile.is_closed(), "fetch cut to {end} of {} bytes", whole.len());
    }
    honest.call(12, &fetch(&[(0, 0)], 0));
}

/// A request behind a header without a client id.
fn body<R: kafka_protocol::protocol::Request>(key: u8, version: i16, request: &R) -> Vec<u8> {
    let mut bytes = vec![0, key, 0, version as u8, 0, 0, 0, 1, 0xff, 0xff];
    if R::header_version(version) >= 2 {
        bytes.push(0);
    }
    request.encode(&mut bytes, version).unwrap();
    bytes
}

#[test]
fn answers_owed_are_sent_before_a_hostile_frame_closes() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::with_topic(&sink, 1);
    let request = body(0, 9, &produce(0, &batch(&["a"]), 1));
    let hostile = framed(&request[..request.len() - 1]);
    client.send_raw(&[framed(&request), framed(&request), hostile].concat());
    for _ in 0..2 {
        client
            .receive::<kafka_protocol::messages::ProduceRequest>(9)
            .unwrap();
    }
    assert!(client.is_closed());
}

#[test]
fn a_sink_can_be_dropped_with_connections_and_waiting_fetches() {
    let sink = sink(Keep::Everything, None);
    let mut waiting = Client::with_topic(&sink, 1);
    let mut idle = Client::connect(&sink);
    idle.call(0, &ApiVersionsRequest::default());
    waiting.send(12, &fetch(&[(0, 0)], 60_000));
    until_awaited(&sink);
    drop(sink);
    assert!(waiting.receive::<FetchRequest>(12).is_err());
    assert!(idle.is_closed());
}
