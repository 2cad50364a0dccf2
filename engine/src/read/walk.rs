//! Finding and walking over batches, in memory and in what a read brought. Pure: no I/O, nothing is changed.

use super::span::Span;
use super::{ColdRead, PEEK_BYTES};
use crate::batch::{self, BatchHeader, HEADER_BYTES};
use crate::index::{IndexPage, Lookup};
use crate::log::PartitionLog;
use crate::shard::{Isolation, ReadData, ReadError, ReadRequest};
use crate::tail::Place;

/// Where the batch with an offset is.
pub(super) enum Found {
    /// In memory, at the start of a batch at or before it.
    InMemory(Place),
    /// On disk: the start of a batch at or before it, and the offset that batch must have, if known.
    OnDisk(Place, Option<i64>),
    /// A page of the segment's index file knows.
    AskPage(IndexPage),
    /// The segment's indexes are not loaded.
    AskIndex,
}

/// What a piece of log holds for a read.
pub(super) enum Picked {
    /// These bytes, and the offset behind them.
    Batches {
        start: usize,
        end: usize,
        next_offset: i64,
    },
    /// The batch is there, but larger than asked for.
    TooLarge,
    /// From this place on the log is in memory.
    InMemory(Place),
    /// The batch starts at or behind `skip`.
    ReadOn {
        skip: usize,
        expected: Option<i64>,
        batch_bytes: usize,
    },
    /// The segment ends before the offset.
    SegmentEnd,
    /// A batch is not what must stand there.
    Damaged { at: usize, why: String },
}

/// Walks over the batches in `span`, which lies at the read's position; `limit` is where the readable log ended
/// then, and `now_limit` where it does by now.
pub(super) fn pick(log: &PartitionLog, read: &ColdRead, span: &Span, limit: u64, now_limit: u64) -> Picked {
    let (mut at, mut expected, mut start) = (0, read.expected, None);
    let most = read.request.max_bytes;
    let stop = match read.request.isolation {
        // `limit` is at the high watermark.
        Isolation::Uncommitted => i64::MAX,
        Isolation::Committed => log.last_stable_offset(),
    };
    loop {
        let mut copy = [0; HEADER_BYTES];
        let head = span.head(at, &mut copy);
        let position = read.position + at as u64;
        let whole = |from: usize, next: Option<i64>| Picked::Batches {
            start: from,
            end: at,
            next_offset: next.unwrap_or(-1),
        };
        if position >= limit {
            let place = Place {
                segment_base: read.segment_base,
                position,
            };
            if start.is_none() && log.tail.holds(place) {
                return Picked::InMemory(place);
            }
            let rest = match position < now_limit {
                true => Picked::ReadOn {
                    skip: at,
                    expected,
                    batch_bytes: 0,
                },
                false => Picked::SegmentEnd,
            };
            return start.map_or(rest, |s| whole(s, expected));
        }
        let size = match batch::peek_size(head) {
            Some(Ok(size)) if position + size as u64 <= limit => size,
            Some(Ok(_))
                if start.is_none()
                    && log.tail.holds(Place {
                        segment_base: read.segment_base,
                        position,
                    }) =>
            {
                return Picked::InMemory(Place {
                    segment_base: read.segment_base,
                    position,
                });
            }
            Some(Ok(size)) if position + size as u64 <= now_limit => {
                let rest = Picked::ReadOn {
                    skip: at,
                    expected,
                    batch_bytes: size,
                };
                return start.map_or(rest, |s| whole(s, expected));
            }
            Some(_) => {
                let why = "a batch has an impossible length".to_owned();
                return start.map_or(Picked::Damaged { at, why }, |s| whole(s, expected));
            }
            None => HEADER_BYTES,
        };
        if span.len() - at < size {
            return start.map_or(
                Picked::ReadOn {
                    skip: at,
                    expected,
                    batch_bytes: size,
                },
                |s| whole(s, expected),
            );
        }
        // Where a batch starts is known from the one before it; what only an index says may be wrong.
        let known = if expected.is_some() && span.is_verified(at..at + size) {
            BatchHeader::read(head)
        } else {
            None
        };
        let header = match known.map_or_else(|| check(log, span, at..at + size, expected), Ok) {
            Ok(header) => header,
            Err(why) => return start.map_or(Picked::Damaged { at, why }, |s| whole(s, expected)),
        };
        if header.base_offset >= stop {
            return start.map_or(Picked::SegmentEnd, |s| whole(s, expected));
        }
        if header.last_offset() >= read.request.offset {
            let from = *start.get_or_insert(at);
            if at + size - from > most && (at > from || !read.request.at_least_one) {
                return if at > from {
                    whole(from, expected)
                } else {
                    Picked::TooLarge
                };
            }
        }
        expected = Some(header.last_offset() + 1);
        at += size;
    }
}

/// The checksum, and what it does not cover.
fn check(
    log: &PartitionLog,
    span: &Span,
    range: std::ops::Range<usize>,
    expected: Option<i64>,
) -> Result<BatchHeader, String> {
    let header = span.check(range).map_err(|e| e.to_string())?;
    if let Some(expected) = expected {
        let gap = header.base_offset != expected && (!log.may_have_gaps() || header.base_offset < expected);
        if gap {
            return Err(format!(
                "a batch has offset {} where {expected} must stand",
                header.base_offset
            ));
        }
    }
    let epoch = log.state.epochs.epoch_for_offset(header.base_offset);
    if epoch.is_some_and(|e| e != header.partition_leader_epoch) {
        return Err(format!(
            "a batch has leader epoch {}, which did not lead then",
            header.partition_leader_epoch
        ));
    }
    Ok(header)
}

pub(super) fn out_of_range(log: &PartitionLog) -> ReadError {
    ReadError::OutOfRange {
        log_start_offset: log.state.log_start_offset,
        high_watermark: log.committed_offset,
        last_stable: log.last_stable_offset(),
    }
}

/// An answer without the transactions that were aborted.
pub(super) fn data(log: &PartitionLog, slices: Vec<crate::io::Slice>) -> ReadData {
    ReadData {
        bytes: slices.iter().map(|s| s.len()).sum(),
        slices,
        high_watermark: log.committed_offset,
        last_stable_offset: log.last_stable_offset(),
        log_start_offset: log.state.log_start_offset,
        aborted: Vec::new(),
    }
}

/// Where readers must stop in a segment: at the high watermark, and on disk at what is written.
pub(super) fn readable_end(log: &PartitionLog, segment_base: i64) -> u64 {
    let size = log.state.segment(segment_base).map_or(0, |s| s.size_bytes);
    let committed = if log.committed.segment_base == segment_base {
        log.committed.position
    } else {
        size
    };
    let written = match log.flush.written.segment_base.cmp(&segment_base) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => log.flush.written.position,
        std::cmp::Ordering::Greater => size,
    };
    size.min(committed).min(written)
}

pub(super) fn find(log: &PartitionLog, segment_base: i64, offset: i64) -> Found {
    let relative = (offset - segment_base).min(i64::from(i32::MAX)) as u32;
    let segment = log.state.segment(segment_base);
    let index = segment.and_then(|s| s.index.as_ref());
    let lookup = index.map(|i| i.lookup(relative));
    let at = |position: u64| Place {
        segment_base,
        position,
    };
    if let Some(Lookup::At(entry)) = lookup
        && log.tail.holds(at(u64::from(entry.position)))
    {
        return Found::InMemory(at(u64::from(entry.position)));
    }
    if let Some(Lookup::Start) = lookup
        && log.tail.holds(at(0))
    {
        return Found::InMemory(at(0));
    }
    if let Some(cursor) = log.cursors.find(offset, segment_base) {
        if log.tail.holds(cursor.place) {
            return Found::InMemory(cursor.place);
        }
        return Found::OnDisk(cursor.place, Some(cursor.offset));
    }
    match lookup {
        Some(Lookup::At(entry)) => Found::OnDisk(at(u64::from(entry.position)), None),
        Some(Lookup::Start) => Found::OnDisk(at(0), Some(segment_base)),
        Some(Lookup::OnDisk(page)) => Found::AskPage(page),
        None => Found::AskIndex,
    }
}

/// What memory has for a reader.
pub(super) struct InTail {
    pub answer: ReadData,
    /// No record of the answer is at or behind this offset.
    pub end: i64,
    /// The offset and the place to go on at, unless that is the end of what can be read.
    pub next: Option<(i64, Place)>,
}

/// Reads from memory: `place` is the start of a batch at or before the one that is wanted.
pub(super) fn read_tail(log: &PartitionLog, mut place: Place, request: &ReadRequest) -> InTail {
    let limit = tail_limit(log, place, request.isolation);
    let bases = log.state.segments.iter().map(|s| s.base_offset);
    let mut behind = bases.rev().take_while(|base| *base > place.segment_base);
    let (stop, _) = log.readable_to(request.isolation);
    let in_tail = |slices, end, next| InTail {
        answer: data(log, slices),
        end,
        next,
    };
    while place.position < limit
        && let Some(batch) = peek(log, place)
    {
        if batch.last_offset < request.offset {
            place.position += batch.bytes as u64;
            continue;
        }
        if batch.bytes > request.max_bytes && !request.at_least_one {
            break;
        }
        let to = place.position + request.max_bytes.max(batch.bytes) as u64;
        if to >= limit {
            let end = behind.by_ref().last().map_or(stop, |base| base.min(stop));
            return in_tail(log.tail.slices(place, limit), end, None);
        }
        let (next_offset, end) = cut(log, place, to);
        let slices = log.tail.slices(place, end.position);
        return in_tail(slices, next_offset, Some((next_offset, end)));
    }
    in_tail(Vec::new(), request.offset, None)
}

/// Where a reader must stop in the segment of `place`.
fn tail_limit(log: &PartitionLog, place: Place, isolation: Isolation) -> u64 {
    let size = log.state.segment(place.segment_base).map_or(0, |s| s.size_bytes);
    match log.readable_to(isolation) {
        (_, Some(end)) if end.segment_base == place.segment_base => end.position,
        (_, Some(_)) => size,
        // The transaction began before the last restart, so that what is in memory before it is less than a page.
        (stop, None) => {
            let mut at = place;
            while at.position < size
                && let Some(batch) = peek(log, at)
                && batch.base_offset < stop
            {
                at.position += batch.bytes as u64;
            }
            at.position
        }
    }
}

/// A batch in memory.
struct Peeked {
    base_offset: i64,
    last_offset: i64,
    bytes: usize,
}

fn peek(log: &PartitionLog, place: Place) -> Option<Peeked> {
    let mut front = [0; PEEK_BYTES];
    if !log.tail.copy(place, &mut front) {
        return None;
    }
    let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, ..] = front;
    let base_offset = i64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
    let delta = i32::from_be_bytes([front[23], front[24], front[25], front[26]]);
    Some(Peeked {
        base_offset,
        last_offset: base_offset + i64::from(delta),
        bytes: batch::LOG_OVERHEAD + i32::from_be_bytes([l0, l1, l2, l3]) as usize,
    })
}

/// The last end of a batch at or before `to`, which is at least one batch behind `from`, and the offset that follows. The index has a
/// place near it, so that only few of the batches in between are looked at.
fn cut(log: &PartitionLog, from: Place, to: u64) -> (i64, Place) {
    let segment = log.state.segment(from.segment_base);
    let near = segment
        .and_then(|s| s.index.as_ref()?.entry_at_position(to))
        .map(|e| u64::from(e.position))
        .filter(|near| *near > from.position);
    let mut place = Place {
        position: near.unwrap_or(from.position),
        ..from
    };
    let mut next_offset = -1;
    while let Some(batch) = peek(log, place) {
        next_offset = batch.base_offset;
        if place.position + batch.bytes as u64 > to {
            break;
        }
        next_offset = batch.last_offset + 1;
        place.position += batch.bytes as u64;
    }
    (next_offset, place)
}
