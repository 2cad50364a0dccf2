//! A consumer's connection to one broker: fetches its partitions from given offsets, checks every batch, and tells the ledger.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse};

use super::aborted::Aborted;
use super::batch::{Batches, Fetched, intact};
use super::tally::{Stream, Tag};
use super::thread::Thread;
use crate::client::Connection;
use crate::client::admin::{self, topic_name};
use crate::client::connection::error_name;
use crate::error::Error;
use crate::ledger::Finding;

/// Newest Fetch that names topics.
const FETCH_VERSION: i16 = 12;
/// How long the broker may hold a fetch for which it has nothing.
const MAX_WAIT_MS: i32 = 250;
/// As in Kafka's own consumer.
const MAX_BYTES: i32 = 50 << 20;
const PARTITION_MAX_BYTES: i32 = 1 << 20;
/// A batch larger than this cannot be read; the default limit of brokers is a sixteenth.
const LARGEST_PARTITION_MAX_BYTES: i32 = 64 << 20;
/// After an error, before the next attempt.
const RETRY_NS: u64 = 50_000_000;
/// The error of an offset the log does not have.
const OFFSET_OUT_OF_RANGE: i16 = 1;

/// What makes one reader.
#[derive(Clone, Debug)]
pub struct ReaderSpec {
    /// The broker.
    pub leader: SocketAddr,
    /// Where to read.
    pub spans: Vec<Span>,
    /// Where its records count; none for the ledger's reading back.
    pub stream: Option<Stream>,
    /// Whether batches are noted in the ledger: one reader a partition does.
    pub ledger: bool,
    /// What it does when all is read.
    pub repeat: Repeat,
    /// Reads no faster than this; `None` as fast as it goes.
    pub max_bytes_per_s: Option<f64>,
    /// Whether it waits for open transactions to end, and leaves out aborted ones.
    pub read_committed: bool,
}

/// What a reader does when all is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It is done.
    Once,
    /// It starts over, until the run is stopped.
    SameRange,
    /// It asks for the ends of its partitions and reads the older half, until the run is stopped: also where the log's start moves, and may
    /// overtake it.
    OldHalf,
}

/// Offsets of a partition, `[next, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Partition.
    pub partition: i32,
    /// First offset wanted.
    pub next: i64,
    /// First offset not wanted; `i64::MAX` to go on until told to stop.
    pub end: i64,
}

impl Span {
    /// The same partition up to `end`.
    pub fn ended_at(self, end: i64) -> Span {
        Span { end, ..self }
    }
}

struct Reader {
    thread: Rc<Thread>,
    spec: ReaderSpec,
    /// Position of each partition in `spec.spans`.
    position: HashMap<i32, usize>,
    partition_max_bytes: i32,
    /// Span the next fetch begins with, so that none starves.
    first: usize,
    /// Where each span began.
    starts: Vec<i64>,
    /// When the next fetch may be sent.
    not_before_ns: u64,
}

/// Reads over `connection` until every span is read or the run is stopped.
pub async fn run(thread: Rc<Thread>, spec: ReaderSpec, connection: Connection) {
    let position = spec
        .spans
        .iter()
        .enumerate()
        .map(|(at, span)| (span.partition, at))
        .collect();
    let starts = spec.spans.iter().map(|span| span.next).collect();
    let mut reader = Reader {
        thread,
        spec,
        position,
        partition_max_bytes: PARTITION_MAX_BYTES,
        first: 0,
        starts,
        not_before_ns: 0,
    };
    let mut connection = Some(connection);
    while let Some(open) = connection.take() {
        match reader.read_all(open).await {
            Ok(()) => break,
            Err(error) => {
                reader.thread.lost(&error.to_string());
                connection = reader.reconnect().await;
            }
        }
    }
    reader
        .thread
        .shared
        .live
        .busy_readers
        .fetch_sub(1, Ordering::Relaxed);
}

impl Reader {
    async fn read_all(&mut self, mut connection: Connection) -> Result<(), Error> {
        while !self.thread.shared.live.stopped() {
            if self.spec.repeat == Repeat::OldHalf && self.all_read() {
                self.find_old_half(&mut connection).await?;
            }
            let Some(request) = self.request() else {
                return Ok(());
            };
            self.thread.clock.sleep_until(self.not_before_ns).await;
            let sent_ns = self.thread.clock.now_ns();
            let (answer, _) = connection.call(&request, FETCH_VERSION).await?;
            let (records, errors) = self.take(answer)?;
            let now_ns = self.thread.clock.now_ns();
            self.pace(sent_ns, records);
            if records > 0 && self.spec.stream.is_some() {
                let mut tally = self.thread.tally.borrow_mut();
                if let Some(stream) = self.spec.stream {
                    tally.request(stream, now_ns);
                }
                if tally.window().contains(sent_ns) {
                    tally.record(Tag::Fetch, now_ns, now_ns - sent_ns, 1);
                }
            }
            if errors {
                self.thread.clock.sleep_until(now_ns + RETRY_NS).await;
            }
        }
        Ok(())
    }

    async fn reconnect(&self) -> Option<Connection> {
        while !self.thread.shared.live.stopped() {
            let now_ns = self.thread.clock.now_ns();
            self.thread.clock.sleep_until(now_ns + RETRY_NS).await;
            if let Ok(connection) = Connection::open(self.spec.leader).await {
                self.thread.regained();
                return Some(connection);
            }
        }
        None
    }

    fn all_read(&self) -> bool {
        self.spec.spans.iter().all(|span| span.next >= span.end)
    }

    /// Puts off the next fetch, if this one brought more than its time's worth.
    fn pace(&mut self, sent_ns: u64, records: u64) {
        if let Some(max_bytes_per_s) = self.spec.max_bytes_per_s {
            let bytes = records as f64 * self.thread.shared.settings.record_bytes as f64;
            self.not_before_ns = sent_ns + (bytes * 1e9 / max_bytes_per_s) as u64;
        }
    }

    /// Takes the older half of what each partition holds now for its span; waits while that is nothing.
    async fn find_old_half(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let topic = self.thread.shared.topic.clone();
        let partitions: Vec<i32> = self.spec.spans.iter().map(|span| span.partition).collect();
        while self.all_read() && !self.thread.shared.live.stopped() {
            let starts = admin::offsets(connection, &topic, &partitions, admin::EARLIEST).await?;
            let ends = admin::offsets(connection, &topic, &partitions, admin::LATEST).await?;
            for (span, (start, end)) in self.spec.spans.iter_mut().zip(starts.into_iter().zip(ends)) {
                (span.next, span.end) = (start, start + (end - start).max(0) / 2);
            }
            if self.all_read() {
                let now_ns = self.thread.clock.now_ns();
                self.thread.clock.sleep_until(now_ns + RETRY_NS).await;
            }
        }
        Ok(())
    }

    fn start_over(&mut self) {
        for (span, start) in self.spec.spans.iter_mut().zip(&self.starts) {
            span.next = *start;
        }
    }

    /// The next fetch, `None` when every span was read.
    fn request(&mut self) -> Option<FetchRequest> {
        if self.spec.repeat == Repeat::SameRange && self.all_read() {
            self.start_over();
        }
        let spans = &self.spec.spans;
        self.first = (self.first + 1) % spans.len().max(1);
        let (before, after) = spans.split_at(self.first.min(spans.len()));
        let wanted = after.iter().chain(before).filter(|span| span.next < span.end);
        let partitions: Vec<FetchPartition> = wanted
            .map(|span| {
                FetchPartition::default()
                    .with_partition(span.partition)
                    .with_current_leader_epoch(-1)
                    .with_fetch_offset(span.next)
                    .with_log_start_offset(-1)
                    .with_partition_max_bytes(self.partition_max_bytes)
            })
            .collect();
        if partitions.is_empty() {
            return None;
        }
        let topic = FetchTopic::default()
            .with_topic(topic_name(&self.thread.shared.topic))
            .with_partitions(partitions);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(MAX_WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(MAX_BYTES)
            .with_isolation_level(i8::from(self.spec.read_committed))
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        Some(request)
    }

    /// Takes in an answer: records found, and whether some partition had an error.
    fn take(&mut self, answer: FetchResponse) -> Result<(u64, bool), Error> {
        if answer.error_code != 0 {
            return Err(Error::failed(format!("Fetch: {}", error_name(answer.error_code))));
        }
        let at_ns = self.thread.clock.now_ns();
        let (mut records, mut errors, mut bytes, mut moved) = (0, false, 0, false);
        for data in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let Some(&at) = self.position.get(&data.partition_index) else {
                continue;
            };
            if data.error_code != 0 {
                errors = true;
                self.refused(at, data);
                continue;
            }
            let section = data.records.clone().unwrap_or_default();
            bytes += section.len();
            let before = self.spec.spans[at].next;
            let aborted = data.aborted_transactions.as_deref();
            let aborted = Aborted::new(aborted.filter(|_| self.spec.read_committed));
            records += self.section(at, &section, aborted, at_ns);
            moved |= self.spec.spans[at].next > before;
        }
        if bytes > 0 && !moved {
            self.grow()?;
        }
        Ok((records, errors))
    }

    /// A fetch brought bytes but no whole batch: ask for more next time.
    fn grow(&mut self) -> Result<(), Error> {
        if self.partition_max_bytes >= LARGEST_PARTITION_MAX_BYTES {
            let limit = LARGEST_PARTITION_MAX_BYTES >> 20;
            return Err(Error::failed(format!(
                "{limit} MiB of a partition hold no whole batch"
            )));
        }
        self.partition_max_bytes *= 2;
        Ok(())
    }

    fn refused(&mut self, at: usize, data: &PartitionData) {
        if data.error_code == OFFSET_OUT_OF_RANGE && self.spec.repeat == Repeat::OldHalf {
            // the log's start has overtaken it, as it was told to
            let span = &mut self.spec.spans[at];
            span.end = span.next;
            return;
        }
        let name = error_name(data.error_code);
        let mut tally = self.thread.tally.borrow_mut();
        if let Some(stream) = self.spec.stream {
            tally.error(stream, name.clone(), 0);
        }
        if data.error_code == OFFSET_OUT_OF_RANGE {
            let span = &mut self.spec.spans[at];
            let (topic, partition, next) = (&self.thread.shared.topic, span.partition, span.next);
            let now_ns = self.thread.clock.now_ns();
            tally.event(
                now_ns,
                format!("{topic}-{partition} has no offset {next}: {name}"),
            );
            span.end = span.next;
        }
    }

    /// Counts and checks the batches of one partition's section; returns their records.
    fn section(&mut self, at: usize, section: &Bytes, mut aborted: Aborted, at_ns: u64) -> u64 {
        let (mut records, mut wire_bytes) = (0, 0);
        for (fetched, batch) in Batches(section) {
            let hidden = aborted.hides(&fetched, batch);
            let span = &mut self.spec.spans[at];
            // a fetch may begin in the middle of a batch that was read already
            if fetched.next_offset <= span.next {
                continue;
            }
            span.next = fetched.next_offset;
            if fetched.control || hidden {
                continue;
            }
            records += u64::from(fetched.records);
            wire_bytes += fetched.bytes as u64;
            self.check(at, &fetched, batch, at_ns);
        }
        self.count(at_ns, records, wire_bytes);
        records
    }

    fn check(&self, at: usize, fetched: &Fetched, batch: &[u8], at_ns: u64) {
        let (true, Some(ledger)) = (self.spec.ledger, &self.thread.shared.ledger) else {
            return;
        };
        let partition = self.spec.spans[at].partition;
        if let Finding::First(Some(times)) = ledger.found(partition, fetched, intact(batch)) {
            self.thread
                .tally
                .borrow_mut()
                .record_since(Tag::EndToEnd, at_ns, &times);
        }
    }

    fn count(&self, at_ns: u64, records: u64, wire_bytes: u64) {
        self.thread
            .shared
            .live
            .consumed
            .fetch_add(records, Ordering::Relaxed);
        if let Some(stream) = self.spec.stream {
            let bytes = records * self.thread.shared.settings.record_bytes as u64;
            self.thread
                .tally
                .borrow_mut()
                .flow(stream, at_ns, records, bytes, wire_bytes);
        }
    }
}
