//! A script's stage: connections to one broker, and each answer as a line that no run and no broker changes.

use std::marker::PhantomData;
use std::time::Instant;

use bytes::Bytes;
use ringlog::wire::api::{Api, Request};
use ringlog::wire::describe_groups::DescribeGroupsRequest;
use ringlog::wire::find_coordinator::FindCoordinatorRequest;
use ringlog::wire::header::{RequestHeader, ResponseHeader};
use ringlog::wire::metadata::{MetadataRequest, MetadataRequestTopic};
use ringlog::wire::primitives::put_uvarint;
use ringlog::wire::{Decoder, Uuid};
use ringlog_tests::raw::Connection;
use ringlog_tests::{PATIENCE, wait_for};

use crate::answers::{Answer, Names, fields, runs};

/// What the clients of the script call themselves.
const CLIENT_ID: &str = "script";
/// So many groups that each partition of `__consumer_offsets` has some.
const MANY_GROUPS: usize = 1_000;
/// How many answers are shown when the next one does not come.
const LAST_LINES: usize = 8;

/// A request whose answer was not read yet.
#[derive(Debug)]
pub struct Pending<R> {
    connection: Connection,
    version: i16,
    correlation: i32,
    request: PhantomData<R>,
}

/// The script as far as it came.
#[derive(Debug)]
pub struct Script {
    bootstrap: String,
    connection: Connection,
    correlation: i32,
    names: Names,
    lines: Vec<String>,
    part: &'static str,
}

impl Script {
    /// Begins once the broker coordinates groups.
    pub fn new(bootstrap: &str) -> Script {
        let mut script = Script {
            bootstrap: bootstrap.to_owned(),
            connection: Connection::open(bootstrap),
            correlation: 0,
            names: Names::default(),
            lines: Vec::new(),
            part: "",
        };
        let everywhere = DescribeGroupsRequest {
            groups: (0..MANY_GROUPS).map(|number| number.to_string()).collect(),
            ..Default::default()
        };
        wait_for("groups are coordinated", PATIENCE, || {
            let found = script.exchange(
                "the first coordinator",
                0,
                &FindCoordinatorRequest {
                    key: "any".to_owned(),
                    ..Default::default()
                },
            );
            let described = script.exchange("groups everywhere", 5, &everywhere);
            let coordinated = described.groups.iter().all(|group| group.error_code == 0);
            (found.error_code == 0 && coordinated).then_some(())
        });
        script
    }

    /// The broker's address.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The id of a topic, which is printed as its name from here on.
    pub fn topic_id(&mut self, topic: &str) -> Uuid {
        let ask = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(topic.to_owned()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let id = wait_for("the topic is known", PATIENCE, || {
            let answer = self.exchange("a topic's id", 12, &ask);
            let topic = answer.topics.first().filter(|topic| topic.error_code == 0)?;
            Some(topic.topic_id)
        });
        self.names.add(id.to_string(), format!("<{topic}>"));
        id
    }

    /// What the following steps are about: the first word of their lines.
    pub fn part(&mut self, part: &'static str) {
        self.part = part;
    }

    /// Sends a request, prints the answer and gives it.
    pub fn ask<R: Request>(&mut self, what: &str, version: i16, request: &R) -> R::Response
    where
        R::Response: Answer,
    {
        let answer = self.exchange(what, version, request);
        self.print::<R>(what, version, answer)
    }

    /// Sends a request whose answer may have to wait, on a connection of its own.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> Pending<R> {
        let mut connection = Connection::open(&self.bootstrap);
        self.correlation += 1;
        let frame = frame(version, self.correlation, request);
        connection.send_frame(&frame).expect("the request is sent");
        Pending {
            connection,
            version,
            correlation: self.correlation,
            request: PhantomData,
        }
    }

    /// Reads an answer that had to wait, prints it and gives it.
    pub fn receive<R: Request>(&mut self, what: &str, mut pending: Pending<R>) -> R::Response
    where
        R::Response: Answer,
    {
        let answer = read::<R>(
            what,
            &mut pending.connection,
            pending.version,
            pending.correlation,
        );
        self.print::<R>(what, pending.version, answer)
    }

    /// Sends a request again and again until the answer is as wanted; prints that one.
    pub fn ask_until<R: Request>(
        &mut self,
        what: &str,
        version: i16,
        request: &R,
        wanted: impl Fn(&R::Response) -> bool,
    ) -> R::Response
    where
        R::Response: Answer,
    {
        let begin = Instant::now();
        loop {
            let answer = self.exchange(what, version, request);
            if wanted(&answer) || begin.elapsed() > PATIENCE {
                return self.print::<R>(what, version, answer);
            }
        }
    }

    /// Sends a request with a text of this length in the place of an empty one, `at` so many bytes from where the request begins
    /// (in a flexible version), and prints that the broker closed the connection, or how it answered.
    pub fn ask_with_text<R: Request>(
        &mut self,
        what: &str,
        version: i16,
        request: &R,
        at: usize,
        length: usize,
    ) {
        let mut body = Vec::new();
        request.encode_as(&mut body, version);
        let mut bytes = frame(version, 0, request);
        let at = bytes.len() - body.len() + at;
        assert_eq!(bytes[at], 1, "an empty text");
        let mut text = Vec::new();
        put_uvarint(&mut text, length as u32 + 1);
        text.resize(text.len() + length, b'g');
        bytes.splice(at..=at, text);
        let mut connection = Connection::open(&self.bootstrap);
        connection.send_frame(&bytes).expect("the request is sent");
        let told = match connection.read_frame() {
            Ok(frame) => runs(&format!("{frame:?}")),
            Err(_) => "the connection is closed".to_owned(),
        };
        self.line::<R>(what, version, &told);
    }

    /// Waits until a group of the classic protocol has this state and so many members: a join that waits for others is with it.
    pub fn until(&mut self, group: &str, state: &str, members: usize) {
        let request = DescribeGroupsRequest {
            groups: vec![group.to_owned()],
            ..Default::default()
        };
        wait_for(&format!("{group} is {state} with {members}"), PATIENCE, || {
            let answer = self.exchange("a group's state", 5, &request);
            let group = answer.groups.first()?;
            (group.group_state == state && group.members.len() == members).then_some(())
        });
    }

    /// All lines printed.
    pub fn into_lines(mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    fn exchange<R: Request>(&mut self, what: &str, version: i16, request: &R) -> R::Response {
        let what = format!("{}: {what}", self.part);
        self.correlation += 1;
        let frame = frame(version, self.correlation, request);
        self.connection.send_frame(&frame).expect("the request is sent");
        read::<R>(&what, &mut self.connection, version, self.correlation)
    }

    fn print<R: Request>(&mut self, what: &str, version: i16, mut answer: R::Response) -> R::Response
    where
        R::Response: Answer,
    {
        let told = fields(&mut self.names, &mut answer);
        self.line::<R>(what, version, &told);
        answer
    }

    fn line<R: Request>(&mut self, what: &str, version: i16, told: &str) {
        self.lines
            .push(format!("{}: {what} | {} {version} | {told}", self.part, R::KEY));
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.lines.len().saturating_sub(LAST_LINES);
            println!("the last answers:\n{}", self.lines[last..].join("\n"));
        }
    }
}

fn frame<R: Request>(version: i16, correlation_id: i32, request: &R) -> Vec<u8> {
    let header = RequestHeader {
        api_key: R::KEY,
        api_version: version,
        correlation_id,
        client_id: Some(CLIENT_ID.to_owned()),
    };
    let mut out = Vec::new();
    header.encode(&mut out);
    request.encode_as(&mut out, version);
    out
}

fn read<R: Request>(what: &str, connection: &mut Connection, version: i16, correlation: i32) -> R::Response {
    let frame = connection.read_frame();
    let bytes = Bytes::from(frame.unwrap_or_else(|error| panic!("no answer to {what}: {error}")));
    let mut from = Decoder::new(&bytes);
    let header = ResponseHeader::decode(&mut from, Api::of::<R>().response_header(version));
    assert_eq!(header.expect("a response header").correlation_id, correlation);
    let answer = ringlog::wire::Message::decode_as(&mut from, version).expect("a response body");
    assert_eq!(from.remaining(), 0, "bytes after the response");
    answer
}
