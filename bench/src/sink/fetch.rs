//! Fetch, versions 4 to 12: decoded by kafka-protocol, waited for, and answered by hand with one copy of each batch.

use std::io;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;

use super::connection::Header;
use super::fault::Fault;
use super::log::Run;
use super::topics::{UNKNOWN_TOPIC_OR_PARTITION, View};
use super::wire::Frame;
use super::{Shared, lock};

const OFFSET_OUT_OF_RANGE: i16 = 1;
const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;

/// The first version with varint lengths and tagged fields.
const FIRST_FLEXIBLE: i16 = 12;
/// Batches of one answer, whatever more a request would take.
const MAX_ANSWER_BYTES: usize = 128 << 20;

/// Returns when the request can be answered: enough bytes, an error to tell, or its time is up.
pub(super) async fn wait(shared: &Shared, request: &FetchRequest) {
    let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_millis(wait_ms);
    let mut asked = false;
    std::future::poll_fn(|context| {
        if is_ready(shared, request, context.waker()) {
            return Poll::Ready(());
        }
        if Instant::now() >= deadline {
            if matches!(shared.config.fault, Some(Fault::Swap { .. })) {
                release_held(shared, request);
            }
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut asked, true) {
            shared.clock.wake_at(deadline, context.waker().clone());
        }
        Poll::Pending
    })
    .await;
}

/// Whether there is enough to answer with; if not, `waker` is woken when there is more.
fn is_ready(shared: &Shared, request: &FetchRequest, waker: &Waker) -> bool {
    // More than may be sent is never there.
    let enough = usize::try_from(request.min_bytes.min(request.max_bytes)).unwrap_or(0);
    let topics = shared.topics.read();
    let mut bytes = 0;
    for (topic, asked) in partitions(request) {
        let Some(partition) = topics.partition(topic, asked.partition) else {
            return true;
        };
        let mut log = lock(partition);
        let Ok(found) = log.available_bytes(asked.fetch_offset, enough - bytes) else {
            return true;
        };
        bytes += found;
        log.wait(waker);
        drop(log);
        if bytes >= enough {
            return true;
        }
    }
    bytes >= enough
}

fn release_held(shared: &Shared, request: &FetchRequest) {
    let topics = shared.topics.read();
    for (topic, asked) in partitions(request) {
        if let Some(partition) = topics.partition(topic, asked.partition) {
            lock(partition).release_held();
        }
    }
}

fn partitions(request: &FetchRequest) -> impl Iterator<Item = (&str, &FetchPartition)> {
    let topics = request.topics.iter();
    topics.flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(move |asked| (topic.topic.as_str(), asked))
    })
}

/// Appends the answer to `out`: what is there now, in the order asked, up to the request's bytes and one batch at least.
///
/// # Errors
/// An answer too large for its length field.
pub(super) fn answer(
    shared: &Shared,
    header: Header,
    request: &FetchRequest,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let version = header.version;
    let mut frame = Frame::begin(out, header.correlation_id, version >= FIRST_FLEXIBLE);
    frame.i32(0); // throttle time
    // We open no fetch sessions, so that each request names all it wants; nobody can continue one.
    let continues = version >= 7 && request.session_epoch > 0;
    if version >= 7 {
        frame.i16(if continues { FETCH_SESSION_ID_NOT_FOUND } else { 0 });
        frame.i32(0); // fetch session
    }
    let asked = if continues { &[] } else { request.topics.as_slice() };
    let topics = shared.topics.read();
    let mut room = Room {
        bytes: usize::try_from(request.max_bytes)
            .unwrap_or(0)
            .min(MAX_ANSWER_BYTES),
        is_empty: true,
    };
    frame.count(asked.len());
    for topic in asked {
        frame.string(topic.topic.as_str());
        frame.count(topic.partitions.len());
        for asked in &topic.partitions {
            let found = find(&topics, topic.topic.as_str(), asked, &mut room);
            partition_answer(&mut frame, version, asked.partition, found);
        }
        frame.tags();
    }
    frame.tags();
    frame.end()
}

/// What may still be added to an answer.
struct Room {
    bytes: usize,
    is_empty: bool,
}

/// Some partition's batches and its ends, or Kafka's number for the error and the ends.
type Found = Result<(Run, Ends), (i16, Ends)>;

/// The log's start and its high watermark.
type Ends = (i64, i64);

fn find(topics: &View, topic: &str, asked: &FetchPartition, room: &mut Room) -> Found {
    let partition = topics.partition(topic, asked.partition);
    let log = lock(partition.ok_or((UNKNOWN_TOPIC_OR_PARTITION, (-1, -1)))?);
    let ends = (log.start(), log.high_watermark());
    let max_bytes = usize::try_from(asked.partition_max_bytes).unwrap_or(0);
    let run = log
        .read(asked.fetch_offset, max_bytes.min(room.bytes), room.is_empty)
        .map_err(|_| (OFFSET_OUT_OF_RANGE, ends))?;
    let bytes = run.bytes();
    room.bytes = room.bytes.saturating_sub(bytes);
    room.is_empty &= bytes == 0;
    Ok((run, ends))
}

fn partition_answer(frame: &mut Frame, version: i16, index: i32, found: Found) {
    let (error, (start, high_watermark)) = match &found {
        Ok((_, ends)) => (0, *ends),
        Err(refused) => *refused,
    };
    frame.i32(index);
    frame.i16(error);
    frame.i64(high_watermark);
    frame.i64(high_watermark); // last stable offset
    if version >= 5 {
        frame.i64(start); // log start
    }
    frame.count(0); // aborted transactions
    if version >= 11 {
        frame.i32(-1); // preferred replica
    }
    match found {
        Ok((run, _)) => {
            frame.count(run.bytes());
            write_run(frame, &run);
        }
        Err(_) => frame.count(0),
    }
    frame.tags();
}

fn write_run(frame: &mut Frame, run: &Run) {
    match run {
        Run::Stored(batches) => batches.iter().for_each(|batch| frame.raw(batch)),
        Run::Copies {
            batch,
            records,
            base_offset,
            copies,
        } => {
            let mut offset = *base_offset;
            for _ in 0..*copies {
                frame.i64(offset);
                frame.raw(&batch[8..]);
                offset += i64::from(*records);
            }
        }
    }
}
