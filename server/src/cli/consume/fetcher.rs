//! Fetching from all leaders at once, and walking what comes to the records wanted.
//!
//! A round asks every leader and then reads every answer, so that an idle broker does not hold up a busy one. Each
//! partition has a cursor; one that stays without an answer for the whole timeout ends the command.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog_records::{Batch, Batches, Record};

use super::Wish;
use super::transactions::Aborted;
use crate::cli::args::{ConsumeArgs, Isolation};
use crate::cli::client::{CallError, Client, EARLIEST, LATEST, Pending, describe, is_retriable};
use crate::cli::error::{CliError, CliResult};
use crate::wire::code::ErrorCode;
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};

/// The last version of Fetch that names topics by name.
const NEWEST_BY_NAME: i16 = 12;
/// Bytes of one answer, as the Java client asks.
const MAX_BYTES: i32 = 50 << 20;
/// Bytes of one partition in an answer; grows for a partition whose next batch is larger.
const PARTITION_MAX_BYTES: i32 = 1 << 20;
/// How long a broker may wait for something new, once nothing was.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Between two rounds when a partition had no answer.
const PAUSE: Duration = Duration::from_millis(100);

/// A partition's place.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    /// The next offset wanted.
    position: i64,
    /// Where to stop; `None` is never.
    end: Option<i64>,
    max_bytes: i32,
    failing_since: Option<Instant>,
}

impl Cursor {
    /// Reads `[position, end)`.
    pub(super) fn new(position: i64, end: Option<i64>) -> Self {
        Self {
            position,
            end,
            max_bytes: PARTITION_MAX_BYTES,
            failing_since: None,
        }
    }

    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }
}

/// Takes a record of a partition, and says whether to go on.
pub(super) type Take<'a> = dyn FnMut(i32, Record) -> CliResult<Wish> + 'a;

/// Reads one topic.
pub(super) struct Fetcher {
    client: Client,
    topic: String,
    isolation: Isolation,
    max_unpacked_bytes: u64,
    cursors: BTreeMap<i32, Cursor>,
    /// Whether the last round brought nothing, so that waiting is better than asking again.
    idle: bool,
    /// Which partition is asked for first: brokers fill an answer in this order.
    turn: usize,
    obstacle: Option<String>,
}

impl Fetcher {
    /// Starts at these cursors.
    pub(super) fn new(client: Client, args: &ConsumeArgs, cursors: BTreeMap<i32, Cursor>) -> Self {
        Self {
            client,
            topic: args.topic.clone(),
            isolation: args.isolation,
            max_unpacked_bytes: args.max_unpacked_bytes,
            cursors,
            idle: false,
            turn: 0,
            obstacle: None,
        }
    }

    /// Whether every partition has been read to its end.
    pub(super) fn is_done(&self) -> bool {
        self.cursors.values().all(Cursor::is_done)
    }

    /// Asks every leader once, and hands over what came.
    pub(super) fn round(&mut self, take: &mut Take<'_>) -> CliResult<()> {
        let started = Instant::now();
        let deadline = started + self.client.timeout() + MAX_WAIT;
        let before: i64 = self.progress();
        self.obstacle = None;
        for (leader, pending) in self.ask_all(deadline)? {
            match self.client.with_broker(leader, deadline, |connection| {
                connection.receive(&pending, deadline)
            }) {
                Ok(response) => {
                    if self.take_response(response, take)? == Wish::Enough {
                        return Ok(());
                    }
                }
                Err(error) => self.note(error)?,
            }
        }
        self.idle = self.progress() == before;
        self.turn = self.turn.wrapping_add(1);
        self.check_failing(started)
    }

    fn progress(&self) -> i64 {
        self.cursors
            .values()
            .fold(0, |sum, cursor| sum.wrapping_add(cursor.position))
    }

    fn ask_all(&mut self, deadline: Instant) -> CliResult<Vec<(i32, Pending<FetchRequest>)>> {
        let active = self
            .cursors
            .iter()
            .filter(|(_, cursor)| !cursor.is_done())
            .map(|(index, _)| *index);
        let leaders = self.client.by_leader(&self.topic, active);
        let mut asked = Vec::new();
        for (leader, mut partitions) in leaders {
            let first = self.turn % partitions.len().max(1);
            partitions.rotate_left(first);
            let request = self.request(&partitions);
            let sent = self.client.with_broker(leader, deadline, |connection| {
                connection.send(&request, NEWEST_BY_NAME, deadline)
            });
            match sent {
                Ok(pending) => asked.push((leader, pending)),
                Err(error) => self.note(error)?,
            }
        }
        Ok(asked)
    }

    fn note(&mut self, error: CallError) -> CliResult<()> {
        if !error.is_retriable() {
            return Err(error.into());
        }
        self.obstacle = Some(error.to_string());
        Ok(())
    }

    fn request(&self, partitions: &[i32]) -> FetchRequest {
        let wait = if self.idle { MAX_WAIT } else { Duration::ZERO };
        let partition = |index: &i32| {
            let cursor = self.cursors.get(index);
            FetchPartition {
                partition: *index,
                current_leader_epoch: self.client.leader_epoch(&self.topic, *index),
                fetch_offset: cursor.map_or(0, |cursor| cursor.position),
                partition_max_bytes: cursor.map_or(PARTITION_MAX_BYTES, |cursor| cursor.max_bytes),
                ..Default::default()
            }
        };
        FetchRequest {
            max_wait_ms: wait.as_millis() as i32,
            min_bytes: 1,
            max_bytes: MAX_BYTES,
            isolation_level: self.isolation as i8,
            topics: vec![FetchTopic {
                topic: self.topic.clone(),
                partitions: partitions.iter().map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn take_response(&mut self, response: FetchResponse, take: &mut Take<'_>) -> CliResult<Wish> {
        if response.error_code != 0 {
            return self.refused(None, response.error_code).map(|()| Wish::More);
        }
        for data in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            if self.take_partition(data, take)? == Wish::Enough {
                return Ok(Wish::Enough);
            }
        }
        Ok(Wish::More)
    }

    fn take_partition(&mut self, data: PartitionData, take: &mut Take<'_>) -> CliResult<Wish> {
        let index = data.partition_index;
        match ErrorCode::from_code(data.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => return self.find_range(index).map(|()| Wish::More),
            _ => return self.refused(Some(index), data.error_code).map(|()| Wish::More),
        }
        let Some(cursor) = self.cursors.get_mut(&index) else {
            return Ok(Wish::More);
        };
        cursor.failing_since = None;
        let mut walk = Walk {
            index,
            cursor,
            aborted: Aborted::new(data.aborted_transactions.as_deref(), self.isolation),
            max_unpacked_bytes: self.max_unpacked_bytes,
            take,
        };
        let done = walk.batches(data.records.unwrap_or_default());
        let position = cursor.position;
        done.map_err(|error| match error {
            Failure::Command(error) => error,
            Failure::Data(text) => CliError::Refused(format!(
                "partition {index} of {:?}, offset {position}: {text}",
                self.topic
            )),
        })
    }

    /// The records wanted are gone, or were never there: goes to the nearest that are, and says so.
    fn find_range(&mut self, index: i32) -> CliResult<()> {
        let mut list = |what| {
            self.client
                .list_offsets(&self.topic, &[index], what, Isolation::ReadUncommitted)
        };
        let first = list(EARLIEST)?.get(&index).copied().unwrap_or(0);
        let end = list(LATEST)?.get(&index).copied().unwrap_or(0);
        let Some(cursor) = self.cursors.get_mut(&index) else {
            return Ok(());
        };
        let position = cursor.position;
        cursor.position = position.clamp(first, end.max(first));
        if cursor.position != position {
            eprintln!(
                "ringlog: partition {index} has no offset {position}: its records are from {first} up to {end}; \
                 going on at {}",
                cursor.position
            );
        }
        Ok(())
    }

    fn refused(&mut self, partition: Option<i32>, code: i16) -> CliResult<()> {
        let place = partition.map_or_else(String::new, |index| format!("partition {index} of "));
        let text = format!("{place}{:?}: {}", self.topic, describe(code, None));
        if !is_retriable(code) {
            return Err(CliError::Refused(text));
        }
        self.obstacle = Some(text);
        if let Some(cursor) = partition.and_then(|index| self.cursors.get_mut(&index)) {
            cursor.failing_since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// After a round in which something failed: looks for leaders again, but not for ever.
    fn check_failing(&mut self, started: Instant) -> CliResult<()> {
        let led = self.client.by_leader(&self.topic, self.cursors.keys().copied());
        let unled = led.values().map(Vec::len).sum::<usize>() < self.cursors.len();
        if self.obstacle.is_none() && !unled {
            self.cursors
                .values_mut()
                .for_each(|cursor| cursor.failing_since = None);
            return Ok(());
        }
        let timeout = self.client.timeout();
        for cursor in self.cursors.values_mut().filter(|cursor| !cursor.is_done()) {
            if cursor.failing_since.get_or_insert(started).elapsed() > timeout {
                let why = self
                    .obstacle
                    .take()
                    .unwrap_or_else(|| "a partition has no leader".to_owned());
                return Err(CliError::Unreachable(format!(
                    "nothing to read for {timeout:?}: {why}"
                )));
            }
        }
        thread::sleep(PAUSE);
        self.client.load_topic(&self.topic).map(|_| ())
    }
}

/// Why a walk stopped.
enum Failure {
    /// The bytes are bad.
    Data(String),
    /// The record could not be shown.
    Command(CliError),
}

/// A walk through one partition's share of an answer.
struct Walk<'a, 'b> {
    index: i32,
    cursor: &'a mut Cursor,
    aborted: Aborted,
    max_unpacked_bytes: u64,
    take: &'a mut Take<'b>,
}

impl Walk<'_, '_> {
    fn batches(&mut self, bytes: Bytes) -> Result<Wish, Failure> {
        let start = self.cursor.position;
        let mut batches = Batches::new(bytes);
        for batch in batches.by_ref() {
            if self.batch(&batch.map_err(data)?)? == Wish::Enough {
                return Ok(Wish::Enough);
            }
        }
        if self.cursor.position == start && !batches.rest().is_empty() {
            self.ask_for_more()?;
        }
        Ok(Wish::More)
    }

    /// Nothing but the beginning of a batch came: it is larger than what was asked for.
    fn ask_for_more(&mut self) -> Result<(), Failure> {
        if self.cursor.max_bytes == i32::MAX {
            return Err(Failure::Data(
                "the broker sends no whole batch, however many bytes are asked for".to_owned(),
            ));
        }
        self.cursor.max_bytes = self.cursor.max_bytes.saturating_mul(2);
        Ok(())
    }

    fn batch(&mut self, batch: &Batch) -> Result<Wish, Failure> {
        batch.check_crc().map_err(data)?;
        let hidden = self.aborted.hides(batch).map_err(data)?;
        let next = batch.header.last_offset().saturating_add(1);
        // The first batch may begin before the offset asked for; nothing else may go back.
        if hidden || next <= self.cursor.position {
            self.cursor.position = self.cursor.position.max(next);
            return Ok(Wish::More);
        }
        let wish = self.records(batch)?;
        if wish == Wish::More {
            self.cursor.position = next;
        }
        Ok(wish)
    }

    fn records(&mut self, batch: &Batch) -> Result<Wish, Failure> {
        for record in batch.records(self.max_unpacked_bytes).map_err(data)? {
            let record = record.map_err(data)?;
            if record.offset < self.cursor.position || self.cursor.end.is_some_and(|end| record.offset >= end)
            {
                continue;
            }
            self.cursor.position = record.offset.saturating_add(1);
            if (self.take)(self.index, record).map_err(Failure::Command)? == Wish::Enough {
                return Ok(Wish::Enough);
            }
        }
        Ok(Wish::More)
    }
}

fn data(error: ringlog_records::RecordError) -> Failure {
    Failure::Data(crate::cli::error::unreadable(&error))
}
