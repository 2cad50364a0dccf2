//! Reading segment files from front to back, batch by batch, away from the cores: to build lost indexes, to find a timestamp,
//! and to recover a directory that somebody else wrote.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::aborted::AbortedTxns;
use crate::background::{JobOutput, extend_aborted, segment_file};
use crate::batch::{self, BatchHeader, HEADER_BYTES, LOG_OVERHEAD};
use crate::error::Error;
use crate::index::{
    OFFSET_ENTRY_BYTES, SparseIndex, TIME_ENTRY_BYTES, search_page, search_time_page, validate_offset_file,
    validate_time_file,
};
use crate::io::files::{self, Sync};

pub mod aborted;
mod newest;

pub use newest::{largest_time, newest_time, newest_times};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// The first place in a segment's file that holds no intact batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Bytes before it.
    pub position: u64,
    /// Why the walk stopped there, where that was not the end of the file (or of what was asked for).
    pub fault: Option<String>,
}

/// Walks over the batches in `[from, to)` of a log file, each checked, until `visit` breaks or something is wrong.
/// Zeroes, as they follow the last batch of a preallocated file, are the end and no fault.
pub fn walk(
    path: &Path,
    from: u64,
    to: u64,
    mut visit: impl FnMut(u64, &BatchHeader, &[u8]) -> ControlFlow<()>,
) -> Result<End, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut buffer = Vec::new();
    let (mut start, mut position) = (0, from);
    loop {
        if !fill(&file, path, &mut buffer, &mut start, position, to, LOG_OVERHEAD)? {
            let left = buffer.len() - start;
            let fault =
                (left > 0 && buffer[start..].iter().any(|b| *b != 0)).then(|| "a batch is cut short".into());
            return Ok(End { position, fault });
        }
        let size = match batch::peek_size(&buffer[start..]) {
            Some(Ok(size)) => size,
            _ if buffer[start..start + LOG_OVERHEAD].iter().all(|b| *b == 0) => {
                return Ok(End {
                    position,
                    fault: None,
                });
            }
            _ => {
                return Ok(End {
                    position,
                    fault: Some("a batch has an impossible length".into()),
                });
            }
        };
        if position + size as u64 > to || !fill(&file, path, &mut buffer, &mut start, position, to, size)? {
            return Ok(End {
                position,
                fault: Some("a batch is cut short".into()),
            });
        }
        let bytes = &buffer[start..start + size];
        let header = match batch::check_stored(bytes) {
            Ok(header) => header,
            Err(e) => {
                return Ok(End {
                    position,
                    fault: Some(e.to_string()),
                });
            }
        };
        if visit(position, &header, bytes).is_break() {
            return Ok(End {
                position,
                fault: None,
            });
        }
        start += size;
        position += size as u64;
    }
}

/// Makes at least `bytes` of the file from `position` on available behind `start`; false when there are not so many.
fn fill(
    file: &File,
    path: &Path,
    buffer: &mut Vec<u8>,
    start: &mut usize,
    position: u64,
    to: u64,
    bytes: usize,
) -> Result<bool, Error> {
    if buffer.len() - *start >= bytes {
        return Ok(true);
    }
    buffer.drain(..*start);
    *start = 0;
    let have = buffer.len();
    let room = usize::try_from(to.saturating_sub(position)).unwrap_or(usize::MAX);
    let want = bytes.max(READ_BYTES).min(room);
    let have_at = position + have as u64;
    if want > have {
        buffer.resize(want, 0);
        let mut done = have;
        while done < want {
            match file.read_at(&mut buffer[done..], have_at + (done - have) as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read", path)(e)),
            }
        }
        buffer.truncate(done);
    }
    Ok(buffer.len() >= bytes)
}

/// The indexes of a sealed segment, from its files; built again, and written, where those are missing or not to be believed.
pub fn load_index(
    folder: &Path,
    base_offset: i64,
    size_bytes: u64,
    interval_bytes: u32,
) -> Result<SparseIndex, Error> {
    match read_index(folder, base_offset, size_bytes, interval_bytes)? {
        Some(index) => Ok(index),
        None => rebuild_index(folder, base_offset, size_bytes, interval_bytes),
    }
}

/// The indexes as the files have them, or `None` where those are missing or not to be believed.
pub fn read_index(
    folder: &Path,
    base_offset: i64,
    size_bytes: u64,
    interval_bytes: u32,
) -> Result<Option<SparseIndex>, Error> {
    let offsets = files::read_small(&segment_file(folder, base_offset, ".index"))?;
    let times = files::read_small(&segment_file(folder, base_offset, ".timeindex"))?;
    let (Some(offsets), Some(times)) = (offsets, times) else {
        return Ok(None);
    };
    // Kafka rounds a preallocated time index down to whole entries, and so do we.
    let whole = times.len() / TIME_ENTRY_BYTES * TIME_ENTRY_BYTES;
    let offsets = validate_offset_file(&offsets, size_bytes);
    let times = validate_time_file(&times[..whole], i32::MAX as u32);
    Ok(match (offsets, times) {
        (Ok(offsets), Ok(times)) => Some(SparseIndex::resume(interval_bytes, offsets, times, None)),
        _ => None,
    })
}

fn rebuild_index(
    folder: &Path,
    base_offset: i64,
    size_bytes: u64,
    interval_bytes: u32,
) -> Result<SparseIndex, Error> {
    let mut index = SparseIndex::new(interval_bytes);
    let log = segment_file(folder, base_offset, ".log");
    walk(&log, 0, size_bytes, |position, header, bytes| {
        let last = (header.last_offset() - base_offset) as u32;
        index.append(last, position as u32, bytes.len() as u32, header.max_timestamp_ms);
        ControlFlow::Continue(())
    })?;
    index.close();
    write_whole_index(folder, base_offset, &mut index)?;
    Ok(index)
}

/// Writes both index files from an index of which nothing was written, and forgets what is in them.
pub fn write_whole_index(folder: &Path, base_offset: i64, index: &mut SparseIndex) -> Result<(), Error> {
    let unwritten = index.take_unwritten();
    let parts = [
        (".index", unwritten.offset_position, unwritten.offset_bytes),
        (".timeindex", unwritten.time_position, unwritten.time_bytes),
    ];
    for (suffix, at, bytes) in parts {
        files::write_tail(
            &segment_file(folder, base_offset, suffix),
            at,
            &bytes,
            Sync::Later,
        )?;
    }
    index.forget_written(index.offset_count(), index.time_count());
    Ok(())
}

/// Writes the rest of an index of aborted transactions; its file ends with it.
pub fn write_whole_aborted(folder: &Path, base_offset: i64, aborted: &mut AbortedTxns) -> Result<(), Error> {
    let tail = aborted.take_unwritten();
    extend_aborted(folder, base_offset, &tail, true, Sync::Later)?;
    aborted.note_written(tail.end_count());
    Ok(())
}

/// Whether a record of the batch may be what a search for a timestamp looks for, going by the header. One that the cleaner emptied has none, and
/// keeps its times.
pub fn is_at_or_after(header: &BatchHeader, timestamp_ms: i64, from_offset: i64) -> bool {
    header.record_count > 0 && header.max_timestamp_ms >= timestamp_ms && header.last_offset() >= from_offset
}

/// The first batch in these segments (base offset, bytes to look at) that has a timestamp at or after the target and reaches
/// beyond `from_offset`; or how far there is none.
pub fn find_time(
    folder: &Path,
    segments: &[(i64, u64)],
    from_offset: i64,
    timestamp_ms: i64,
) -> Result<JobOutput, Error> {
    let mut searched_to = JobOutput::NoBatchBefore(0, 0);
    for (i, &(base_offset, size_bytes)) in segments.iter().enumerate() {
        // The last may still be appended to: its time index need not know its newest records.
        let is_whole = i + 1 < segments.len();
        let Some(from) = first_position(folder, base_offset, size_bytes, timestamp_ms, is_whole)? else {
            continue;
        };
        let mut found = None;
        let end = walk(
            &segment_file(folder, base_offset, ".log"),
            from,
            size_bytes,
            |_, header, bytes| {
                if is_at_or_after(header, timestamp_ms, from_offset) {
                    found = Some(bytes.to_vec());
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            },
        )?;
        if let Some(batch) = found {
            return Ok(JobOutput::Batch(batch));
        }
        searched_to = JobOutput::NoBatchBefore(base_offset, end.position);
        if let Some(fault) = end.fault.filter(|_| is_whole) {
            let detail = format!("at byte {}: {fault}", end.position);
            return Err(Error::Corrupt {
                path: segment_file(folder, base_offset, ".log"),
                detail,
            });
        }
    }
    Ok(searched_to)
}

/// Where in the segment to start looking for a timestamp; `None` when all of it is older.
fn first_position(
    folder: &Path,
    base_offset: i64,
    size_bytes: u64,
    timestamp_ms: i64,
    is_whole: bool,
) -> Result<Option<u64>, Error> {
    let times = files::read_small(&segment_file(folder, base_offset, ".timeindex"))?.unwrap_or_default();
    let offsets = files::read_small(&segment_file(folder, base_offset, ".index"))?.unwrap_or_default();
    let times = &times[..times.len() / TIME_ENTRY_BYTES * TIME_ENTRY_BYTES];
    let (time_file, offset_file) = match (
        validate_time_file(times, i32::MAX as u32),
        validate_offset_file(&offsets, size_bytes),
    ) {
        (Ok(times), Ok(offsets)) => (times, offsets),
        _ => return Ok(Some(0)),
    };
    if is_whole && time_file.last.is_some_and(|l| l.timestamp_ms < timestamp_ms) {
        return Ok(None);
    }
    let used = &times[..time_file.entries as usize * TIME_ENTRY_BYTES];
    let older = search_time_page(used, timestamp_ms.saturating_sub(1));
    let used = &offsets[..offset_file.entries as usize * OFFSET_ENTRY_BYTES];
    let entry = older.and_then(|o| search_page(used, o.relative_offset));
    Ok(Some(entry.map_or(0, |e| u64::from(e.position))))
}

/// The base offset in the name of a segment's file.
pub fn segment_base(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The header of the first batch in a log file, if it has one.
pub fn first_header(path: &Path) -> Option<BatchHeader> {
    let mut bytes = [0; HEADER_BYTES];
    File::open(path).ok()?.read_exact(&mut bytes).ok()?;
    BatchHeader::read(&bytes)
}
