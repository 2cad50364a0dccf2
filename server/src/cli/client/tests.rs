//! The client against scripted brokers: what is asked, what is asked again, and what ends it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::cli::args::ConnectArgs;
use crate::cli::error::CliError;
use crate::wire::api_versions::{ApiVersion, ApiVersionsResponse};
use crate::wire::header::{RequestHeader, ResponseHeader};
use crate::wire::metadata::{MetadataRequest, MetadataResponse, MetadataResponseTopic};
use crate::wire::{Api, ApiKey, Decoder, Message, Request};

/// Accepts connections one after the other and hands each to `serve`, until that says stop.
pub(super) fn broker(mut serve: impl FnMut(TcpStream) -> bool + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    thread::spawn(move || while serve(listener.accept().expect("a connection").0) {});
    address
}

pub(super) fn args(address: &str, timeout: Duration) -> ConnectArgs {
    ConnectArgs {
        bootstrap: vec![address.to_owned()],
        timeout,
        json: false,
    }
}

pub(super) fn read_request(stream: &mut TcpStream) -> Option<(RequestHeader, Bytes)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    let frame = Bytes::from(frame);
    let mut decoder = Decoder::new(&frame);
    let header = RequestHeader::decode(&mut decoder).ok()?;
    Some((header, frame.slice(decoder.position()..)))
}

pub(super) fn answer<R: Request>(
    stream: &mut TcpStream,
    header: &RequestHeader,
    response: &R::Response,
    version: i16,
) {
    let api = Api::find(R::KEY).expect("served");
    let mut frame = Vec::new();
    ResponseHeader {
        correlation_id: header.correlation_id,
    }
    .encode(&mut frame, api.response_header(version));
    response.encode_as(&mut frame, version);
    stream
        .write_all(&(frame.len() as u32).to_be_bytes())
        .expect("written");
    stream.write_all(&frame).expect("written");
}

pub(super) fn versions(ranges: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    let api = |&(key, min_version, max_version): &(ApiKey, i16, i16)| ApiVersion {
        api_key: key as i16,
        min_version,
        max_version,
    };
    ApiVersionsResponse {
        api_keys: ranges.iter().map(api).collect(),
        ..Default::default()
    }
}

/// Answers ApiVersions with these ranges, and every Metadata with the next of `topics`.
fn serve_metadata(
    mut stream: TcpStream,
    ranges: &[(ApiKey, i16, i16)],
    topics: &mut Vec<MetadataResponseTopic>,
) {
    use crate::wire::api_versions::ApiVersionsRequest;
    while let Some((header, _)) = read_request(&mut stream) {
        let version = header.api_version;
        match header.api_key {
            ApiKey::ApiVersions => {
                answer::<ApiVersionsRequest>(&mut stream, &header, &versions(ranges), version);
            }
            ApiKey::Metadata => {
                let topics = if topics.is_empty() {
                    Vec::new()
                } else {
                    vec![topics.remove(0)]
                };
                let response = MetadataResponse {
                    topics,
                    ..Default::default()
                };
                answer::<MetadataRequest>(&mut stream, &header, &response, version);
            }
            other => panic!("unexpected {other}"),
        }
    }
}

#[test]
fn nobody_there_is_said_at_once_with_advice() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let started = Instant::now();
    let error = Client::connect(&args(&address, Duration::from_secs(60))).expect_err("nobody");
    assert!(started.elapsed() < Duration::from_secs(30));
    let text = error.to_string();
    assert!(
        text.contains(&address) && text.contains("ringlog serve"),
        "{text}"
    );
    assert_eq!(error.exit_code(), 3);
}

#[test]
fn a_broker_that_says_nothing_costs_the_timeout_only() {
    let address = broker(|stream| {
        thread::spawn(move || {
            let _request = read_request(&mut { stream });
            thread::park();
        });
        true
    });
    let error = Client::connect(&args(&address, Duration::from_millis(100))).expect_err("silence");
    assert!(matches!(error, CliError::Unreachable(_)), "{error}");
}

#[test]
fn another_protocol_is_named() {
    let address = broker(|mut stream| {
        drop(read_request(&mut stream));
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_ok()
    });
    let text = Client::connect(&args(&address, Duration::from_secs(5)))
        .expect_err("http")
        .to_string();
    assert!(text.contains("TLS or HTTP"), "{text}");
}

#[test]
fn versions_are_those_both_sides_know() {
    let address = broker(|stream| {
        serve_metadata(
            stream,
            &[(ApiKey::Metadata, 2, 4), (ApiKey::Produce, 99, 100)],
            &mut Vec::new(),
        );
        true
    });
    let connection = Connection::open(&address, Instant::now() + Duration::from_secs(5)).expect("opened");
    assert_eq!(connection.version_of::<MetadataRequest>(i16::MAX), Ok(4));
    assert_eq!(connection.version_of::<MetadataRequest>(3), Ok(3));
    assert!(connection.version_of::<MetadataRequest>(1).is_err());
    assert!(
        connection
            .version_of::<crate::wire::produce::ProduceRequest>(i16::MAX)
            .is_err()
    );
    assert!(
        connection
            .version_of::<crate::wire::fetch::FetchRequest>(i16::MAX)
            .is_err()
    );
}

#[test]
fn a_broker_too_old_for_the_first_question_is_asked_again() {
    use crate::wire::api_versions::ApiVersionsRequest;
    let address = broker(|mut stream| {
        while let Some((header, _)) = read_request(&mut stream) {
            let mut response = versions(&[(ApiKey::ApiVersions, 0, 0), (ApiKey::Metadata, 0, 1)]);
            response.error_code = if header.api_version > 0 { 35 } else { 0 };
            answer::<ApiVersionsRequest>(&mut stream, &header, &response, 0);
        }
        true
    });
    let connection = Connection::open(&address, Instant::now() + Duration::from_secs(5)).expect("opened");
    assert_eq!(connection.version_of::<MetadataRequest>(i16::MAX), Ok(1));
}

#[test]
fn a_topic_without_a_leader_is_asked_for_again_and_an_unknown_one_is_not() {
    let topic = |error_code: i16| MetadataResponseTopic {
        error_code,
        name: Some("t".to_owned()),
        ..Default::default()
    };
    let address = broker(move |stream| {
        // Connecting asks once for no topic; the empty answer stands for it.
        let mut topics = vec![topic(0), topic(5), topic(5), topic(0), topic(3)];
        serve_metadata(stream, &[(ApiKey::Metadata, 0, 12)], &mut topics);
        true
    });
    let mut client = Client::connect(&args(&address, Duration::from_secs(10))).expect("connected");
    client.load_topic("t").expect("found at the third time");
    let text = client.load_topic("t").expect_err("unknown").to_string();
    assert!(text.contains("ringlog topic create t"), "{text}");
}

#[test]
fn a_lost_connection_is_opened_again() {
    let mut count = 0;
    let address = broker(move |mut stream| {
        count += 1;
        if count == 2 {
            // Closed in the middle of a response.
            drop(read_request(&mut stream));
            return stream.write_all(&[0, 0, 0, 100, 1]).is_ok();
        }
        let mut first = Vec::new();
        match count {
            1 => drop(serve_one(&mut stream)),
            _ => serve_metadata(stream, &[(ApiKey::Metadata, 0, 12)], &mut first),
        }
        true
    });
    Client::connect(&args(&address, Duration::from_secs(10))).expect("connected at the third time");
}

/// Agrees on versions, then closes.
fn serve_one(stream: &mut TcpStream) -> Option<()> {
    use crate::wire::api_versions::ApiVersionsRequest;
    let (header, _) = read_request(stream)?;
    let response = versions(&[(ApiKey::Metadata, 0, 12)]);
    answer::<ApiVersionsRequest>(stream, &header, &response, header.api_version);
    Some(())
}
