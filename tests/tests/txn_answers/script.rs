//! A script's stage: a connection to one broker, and each answer as a line.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeTransactionsRequest, FindCoordinatorRequest, ListTransactionsRequest,
    ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request};
use ringlog_tests::group::{self, group_id, text};
use ringlog_tests::raw::{Connection, fetch, request_bytes};
use ringlog_tests::txn::{self, Producer, READ_COMMITTED, READ_UNCOMMITTED, fetched, txn_id};
use ringlog_tests::{PATIENCE, code, wait_for};

use crate::answers::Names;

/// Producer ids from here on are the script's own, and printed as they are.
pub const MADE_UP: i64 = 900_000_000;
/// A producer nobody has granted.
pub const NOBODY: Producer = Producer {
    id: MADE_UP + 1,
    epoch: 0,
};
/// Longer than the script.
pub const TIMEOUT_MS: i32 = 600_000;

/// Errors after which a client asks again, as they are in an answer's `Debug` form.
const BUSY: &[i16] = &[
    code::COORDINATOR_LOAD_IN_PROGRESS,
    code::COORDINATOR_NOT_AVAILABLE,
    code::NOT_COORDINATOR,
    code::CONCURRENT_TRANSACTIONS,
];
/// So many groups that each partition of `__consumer_offsets` has some.
const MANY_GROUPS: usize = 1_000;
/// How long a coordinator may be busy before that is its answer.
const BUSY_PATIENCE: Duration = Duration::from_secs(3);
/// How many answers are shown when the next one does not come.
const LAST_LINES: usize = 8;

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
    /// Begins once the broker coordinates transactions.
    pub fn new(bootstrap: &str) -> Script {
        let mut connection = Connection::open(bootstrap);
        wait_for("transactions are coordinated", PATIENCE, || {
            let request = FindCoordinatorRequest::default()
                .with_key_type(1)
                .with_coordinator_keys(vec![text("any")]);
            let found = connection.call(4, &request);
            let list = connection.call(0, &ListTransactionsRequest::default());
            (found.coordinators[0].error_code == code::NONE && list.error_code == code::NONE).then_some(())
        });
        let everywhere = DescribeGroupsRequest::default().with_groups(
            (0..MANY_GROUPS)
                .map(|number| group_id(&number.to_string()))
                .collect(),
        );
        wait_for("groups are coordinated", PATIENCE, || {
            let found = group::find(&mut connection, "any").coordinators[0].error_code;
            let described = connection.call(5, &everywhere);
            let coordinated = described
                .groups
                .iter()
                .all(|group| group.error_code == code::NONE);
            (found == code::NONE && coordinated).then_some(())
        });
        Script {
            bootstrap: bootstrap.to_owned(),
            connection,
            correlation: 1 << 20,
            names: Names::default(),
            lines: Vec::new(),
            part: "",
        }
    }

    /// What the following steps are about: the first word of their lines.
    pub fn part(&mut self, part: &'static str) {
        self.part = part;
    }

    /// The broker's address.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Sends a request until the answer is not that the coordinator is busy, prints and gives it; `None` when the connection was closed
    /// instead.
    pub fn ask<R: Request>(&mut self, what: &str, version: i16, request: &R) -> Option<R::Response>
    where
        R::Response: std::fmt::Debug,
    {
        self.ask_tidied(what, version, request, |_| ())
    }

    /// The same for an answer that has an order only after `tidy`.
    pub fn ask_tidied<R: Request>(
        &mut self,
        what: &str,
        version: i16,
        request: &R,
        tidy: impl Fn(&mut R::Response),
    ) -> Option<R::Response>
    where
        R::Response: std::fmt::Debug,
    {
        let deadline = Instant::now() + BUSY_PATIENCE;
        loop {
            let mut answer = self.exchange(version, request);
            if let Some(answer) = &mut answer {
                tidy(answer);
            }
            let told = answer
                .as_ref()
                .map_or("the connection is closed".to_owned(), |answer| {
                    format!("{answer:?}")
                });
            let busy = BUSY
                .iter()
                .any(|code| told.contains(&format!("error_code: {code},")));
            if busy && Instant::now() < deadline {
                std::thread::park_timeout(Duration::from_millis(5));
                continue;
            }
            let told = answer.as_ref().map_or(told, |answer| self.names.fields(answer));
            self.line(what, &format!("{} {version}", api::<R>()), &told);
            return answer;
        }
    }

    /// InitProducerId that is granted, not printed.
    pub fn init(&mut self, id: &str) -> Producer {
        self.init_for(id, TIMEOUT_MS)
    }

    /// The same with a timeout.
    pub fn init_for(&mut self, id: &str, timeout_ms: i32) -> Producer {
        txn::init(&mut self.connection, id, timeout_ms)
    }

    /// The connection, for steps that print nothing.
    pub fn quietly(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Waits until the markers of a transaction are written, and prints what DescribeTransactions says of it.
    pub fn settled(&mut self, what: &str, id: &str) {
        let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![txn_id(id)]);
        wait_for("the markers are written", PATIENCE, || {
            let answer = self.connection.call(0, &request);
            let state = answer.transaction_states[0].transaction_state.to_string();
            (!state.starts_with("Prepare")).then_some(())
        });
        self.describe(what, &request);
    }

    /// Prints what DescribeTransactions says, whose partitions come in no order.
    pub fn describe(&mut self, what: &str, request: &DescribeTransactionsRequest) {
        self.ask_tidied(what, 0, request, |answer| {
            for state in &mut answer.transaction_states {
                for topic in &mut state.topics {
                    topic.partitions.sort_unstable();
                }
                state.topics.sort_by_key(|topic| topic.topic.to_string());
            }
        });
    }

    /// Prints what a partition of `t` looks like to readers of both kinds.
    pub fn partition(&mut self, what: &str, partition: i32) {
        self.topic(what, "t", partition);
    }

    /// Prints what a partition looks like to readers of both kinds.
    pub fn topic(&mut self, what: &str, topic: &str, partition: i32) {
        for (name, isolation) in [("uncommitted", READ_UNCOMMITTED), ("committed", READ_COMMITTED)] {
            let answer = txn::fetch_of(&mut self.connection, topic, partition, 0, isolation);
            let all = fetched(&answer.records.clone().unwrap_or_default());
            let batches: Vec<String> = all
                .iter()
                .map(|batch| {
                    let kind = match (batch.marker, batch.transactional) {
                        (Some(true), _) => "commit",
                        (Some(false), _) => "abort",
                        (None, true) => "in a transaction",
                        (None, false) => "plain",
                    };
                    let producer = self.names.of(batch.producer.id);
                    format!(
                        "{}-{} {producer}/{} {kind}",
                        batch.base_offset, batch.last_offset, batch.producer.epoch
                    )
                })
                .collect();
            let aborted: Option<Vec<String>> = answer.aborted_transactions.as_ref().map(|list| {
                list.iter()
                    .map(|one| format!("{} from {}", self.names.of(one.producer_id.0), one.first_offset))
                    .collect()
            });
            let told = format!(
                "high watermark {}, last stable {}, aborted {aborted:?}, batches {batches:?}",
                answer.high_watermark, answer.last_stable_offset
            );
            self.line(what, &format!("{topic}-{partition} read {name}"), &told);
        }
    }

    /// The offset at which the next record of a partition of `t` will be.
    pub fn next_offset(&mut self, partition: i32) -> i64 {
        fetch(&mut self.connection, "t", partition, 0).high_watermark
    }

    /// A line that is not an answer.
    pub fn line(&mut self, what: &str, of: &str, told: &str) {
        self.lines.push(format!("{}: {what} | {of} | {told}", self.part));
    }

    /// A producer's printed form.
    pub fn name(&mut self, producer: Producer) -> String {
        format!("{}/{}", self.names.of(producer.id), producer.epoch)
    }

    /// All lines printed.
    pub fn into_lines(mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    fn exchange<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.correlation += 1;
        let frame = request_bytes(version, self.correlation, request);
        let answer = self
            .connection
            .send_frame(&frame)
            .and_then(|()| self.connection.read_frame());
        let Ok(frame) = answer else {
            self.connection = Connection::open(&self.bootstrap);
            return None;
        };
        let mut bytes = bytes::Bytes::from(frame);
        let header = <R::Response as HeaderVersion>::header_version(version);
        let header = ResponseHeader::decode(&mut bytes, header).expect("a response header");
        assert_eq!(header.correlation_id, self.correlation);
        let answer = R::Response::decode(&mut bytes, version).expect("a response body");
        assert!(bytes.is_empty(), "bytes after the response");
        Some(answer)
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

/// The name of a request's API.
fn api<R: Request>() -> String {
    let name = std::any::type_name::<R>();
    let name = name.rsplit("::").next().unwrap_or(name);
    name.trim_end_matches("Request").to_owned()
}
