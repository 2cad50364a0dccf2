//! Finding and walking over batches, in memory and in what a read brought. Pure: no I/O, nothing is changed.

use std::collections::VecDeque;

use super::{CURSORS, ColdRead, PEEK_BYTES};
use crate::batch::{self, BatchHeader, HEADER_BYTES};
use crate::index::{IndexPage, Lookup};
use crate::log::PartitionLog;
use crate::shard::{ReadData, ReadError, ReadRequest};
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

/// Walks over the batches in `bytes`, which lie at the read's position; `limit` is where the readable log ended
/// then, and `now_limit` where it does by now.
pub(super) fn pick(log: &PartitionLog, read: &ColdRead, bytes: &[u8], limit: u64, now_limit: u64) -> Picked {
    let (mut at, mut expected, mut start) = (0, read.expected, None);
    let most = read.request.max_bytes;
    loop {
        let left = &bytes[at..];
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
        let size = match batch::peek_size(left) {
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
        if left.len() < size {
            return start.map_or(
                Picked::ReadOn {
                    skip: at,
                    expected,
                    batch_bytes: size,
                },
                |s| whole(s, expected),
            );
        }
        let header = match check(log, &left[..size], expected) {
            Ok(header) => header,
            Err(why) => return start.map_or(Picked::Damaged { at, why }, |s| whole(s, expected)),
        };
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
pub(super) fn check(log: &PartitionLog, bytes: &[u8], expected: Option<i64>) -> Result<BatchHeader, String> {
    let header = batch::check_stored(bytes).map_err(|e| e.to_string())?;
    if let Some(expected) = expected {
        let gap =
            header.base_offset != expected && (!log.options.may_have_gaps || header.base_offset < expected);
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
    }
}

pub(super) fn data(log: &PartitionLog, slices: Vec<crate::io::Slice>) -> ReadData {
    ReadData {
        bytes: slices.iter().map(|s| s.len()).sum(),
        slices,
        high_watermark: log.committed_offset,
        log_start_offset: log.state.log_start_offset,
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

pub(super) fn remember(cursors: &mut VecDeque<(i64, Place)>, next_offset: i64, place: Place) {
    if next_offset < 0 {
        return;
    }
    cursors.retain(|c| c.0 != next_offset);
    cursors.push_back((next_offset, place));
    if cursors.len() > CURSORS {
        cursors.pop_front();
    }
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
    if let Some((expected, place)) = log
        .cursors
        .iter()
        .rev()
        .find(|c| c.0 == offset && c.1.segment_base == segment_base)
    {
        if log.tail.holds(*place) {
            return Found::InMemory(*place);
        }
        return Found::OnDisk(*place, Some(*expected));
    }
    match lookup {
        Some(Lookup::At(entry)) => Found::OnDisk(at(u64::from(entry.position)), None),
        Some(Lookup::Start) => Found::OnDisk(at(0), Some(segment_base)),
        Some(Lookup::OnDisk(page)) => Found::AskPage(page),
        None => Found::AskIndex,
    }
}

/// Reads from memory: `place` is the start of a batch at or before the one that is wanted.
pub(super) fn read_tail(log: &PartitionLog, mut place: Place, request: &ReadRequest) -> ReadData {
    let size = log.state.segment(place.segment_base).map_or(0, |s| s.size_bytes);
    let limit = if log.committed.segment_base == place.segment_base {
        log.committed.position
    } else {
        size
    };
    let mut peek = [0; PEEK_BYTES];
    while place.position < limit && log.tail.copy(place, &mut peek) {
        let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, ..] = peek;
        let base_offset = i64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
        let bytes = batch::LOG_OVERHEAD + i32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let delta = i32::from_be_bytes([peek[23], peek[24], peek[25], peek[26]]);
        if base_offset + i64::from(delta) < request.offset {
            place.position += bytes as u64;
            continue;
        }
        if bytes > request.max_bytes && !request.at_least_one {
            break;
        }
        let to = (place.position + request.max_bytes.max(bytes) as u64).min(limit);
        return data(log, log.tail.slices(place, to));
    }
    data(log, Vec::new())
}
