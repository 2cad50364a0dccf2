//! Produce, versions 3 to 12, by hand: the request that decides what the ceiling is worth.

use std::io;

use super::connection::Header;
use super::fault::Strike;
use super::topics::{UNKNOWN_TOPIC_OR_PARTITION, View};
use super::wire::{Cursor, Frame, malformed};
use super::{Keep, Shared, SinkCounts, batch, lock};

const INVALID_REQUIRED_ACKS: i16 = 21;

/// The first version with varint lengths and tagged fields.
pub(super) const FIRST_FLEXIBLE: i16 = 9;

/// Takes the batches of one request and appends its answer to `out`, or nothing for acks 0.
///
/// # Errors
/// A request that cannot be read, or the batch that makes this sink close its connections.
pub(super) fn answer(shared: &Shared, header: Header, body: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let flexible = header.version >= FIRST_FLEXIBLE;
    let mut request = Cursor::new(body, flexible);
    request.string()?; // transactional id
    let acks = request.i16()?;
    request.i32()?; // timeout
    let mut frame = Frame::begin(out, header.correlation_id, flexible);
    let mut taker = Taker {
        shared,
        topics: shared.topics.read(),
        acks,
        taken: SinkCounts::default(),
    };
    let read = taker.topics(&mut request, &mut frame, header.version);
    shared.tally.add(&taker.taken);
    read?;
    request.skip_tags()?;
    frame.i32(0); // throttle time
    frame.tags();
    match acks {
        0 => frame.abandon(),
        _ => frame.end()?,
    }
    Ok(())
}

/// One request under way.
struct Taker<'a> {
    shared: &'a Shared,
    topics: View<'a>,
    acks: i16,
    taken: SinkCounts,
}

impl Taker<'_> {
    fn topics(&mut self, request: &mut Cursor, frame: &mut Frame, version: i16) -> io::Result<()> {
        let topics = request.count()?;
        frame.count(topics);
        for _ in 0..topics {
            let name = request
                .string()?
                .ok_or_else(|| malformed("a topic without a name"))?;
            frame.string(name);
            let partitions = request.count()?;
            frame.count(partitions);
            for _ in 0..partitions {
                let index = request.i32()?;
                let records = request.bytes()?;
                request.skip_tags()?;
                let taken = self.take(name, index, records.unwrap_or_default())?;
                partition_answer(frame, version, index, taken);
            }
            request.skip_tags()?;
            frame.tags();
        }
        Ok(())
    }

    /// Appends one batch; inside, its base offset or Kafka's number for the error.
    fn take(&mut self, topic: &str, index: i32, records: &[u8]) -> io::Result<Result<i64, i16>> {
        if !(-1..=1).contains(&self.acks) {
            return Ok(Err(INVALID_REQUIRED_ACKS));
        }
        let Some(partition) = self.topics.partition(topic, index) else {
            return Ok(Err(UNKNOWN_TOPIC_OR_PARTITION));
        };
        let config = &self.shared.config;
        let count = match batch::check(records) {
            Ok(count) => count,
            Err(error) => return Ok(Err(error)),
        };
        if config.keep == Keep::Everything && !batch::is_intact(records) {
            return Ok(Err(batch::CORRUPT_MESSAGE));
        }
        if self.shared.trouble.count(config.fault) == Some(Strike::Disconnect) {
            self.shared.signals.disconnect();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let mut log = lock(partition);
        let answered = log.append(config, count, records);
        log.wake_waiters();
        drop(log);
        if answered.is_ok() {
            self.taken.batches += 1;
            self.taken.records += u64::from(count);
            self.taken.bytes += records.len() as u64;
        }
        Ok(answered)
    }
}

fn partition_answer(frame: &mut Frame, version: i16, index: i32, taken: Result<i64, i16>) {
    frame.i32(index);
    frame.i16(taken.err().unwrap_or(0));
    frame.i64(taken.unwrap_or(-1));
    frame.i64(-1); // append time: that of the producer is kept
    if version >= 5 {
        frame.i64(if taken.is_ok() { 0 } else { -1 }); // log start
    }
    if version >= 8 {
        frame.count(0); // errors of single records
        frame.null_string();
    }
    frame.tags();
}
