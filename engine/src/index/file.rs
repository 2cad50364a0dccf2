//! Whether an index file can be believed. One that cannot is built again from the log.

use std::fmt;

use super::{OFFSET_ENTRY_BYTES, OffsetEntry, OffsetFences, TIME_ENTRY_BYTES, TimeEntry, TimeFences};

/// What a valid `.index` file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetIndexFile {
    /// Number of entries, the tail of zeroes excluded.
    pub entries: u32,
    /// The last of them.
    pub last: Option<OffsetEntry>,
    /// First key of each page.
    pub fences: OffsetFences,
}

/// What a valid `.timeindex` file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeIndexFile {
    /// Number of entries, the tail of zeroes excluded.
    pub entries: u32,
    /// The last of them.
    pub last: Option<TimeEntry>,
    /// First key of each page.
    pub fences: TimeFences,
}

/// Why an index file is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexError {
    /// The file's length is no multiple of the length of an entry.
    Length {
        /// Length of the file.
        file_bytes: usize,
        /// Length of an entry.
        entry_bytes: usize,
    },
    /// An entry is not above the one before.
    Order {
        /// Number of the entry, from 0.
        entry: u32,
    },
    /// An entry points outside the segment.
    Range {
        /// Number of the entry, from 0.
        entry: u32,
    },
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexError::Length {
                file_bytes,
                entry_bytes,
            } => {
                write!(
                    f,
                    "{file_bytes} bytes are no whole number of {entry_bytes}-byte entries"
                )
            }
            IndexError::Order { entry } => write!(f, "entry {entry} is not above the one before"),
            IndexError::Range { entry } => write!(f, "entry {entry} points outside the segment"),
        }
    }
}

impl std::error::Error for IndexError {}

/// Checks the bytes of a whole `.index` file against the length of its segment's log, in bytes.
///
/// Stricter than Kafka, which looks at the last entry only: offsets and positions must strictly increase and lie
/// inside the segment. Zeroes at the end are passed over: active segments' files are preallocated.
pub fn validate_offset_file(bytes: &[u8], log_bytes: u64) -> Result<OffsetIndexFile, IndexError> {
    let mut file = OffsetIndexFile::default();
    for bytes in entries::<OFFSET_ENTRY_BYTES>(bytes)? {
        let next = OffsetEntry::decode(bytes);
        let entry = file.entries;
        let is_above =
            |last: OffsetEntry| last.relative_offset < next.relative_offset && last.position < next.position;
        if !file.last.is_none_or(is_above) {
            return Err(IndexError::Order { entry });
        }
        if next.relative_offset > i32::MAX as u32
            || u64::from(next.position) >= log_bytes.min(i32::MAX as u64)
        {
            return Err(IndexError::Range { entry });
        }
        file.fences.push(next.relative_offset);
        (file.entries, file.last) = (entry + 1, Some(next));
    }
    Ok(file)
}

/// Checks the bytes of a whole `.timeindex` file against the last offset in its segment, counted from the segment's base.
///
/// Timestamps must strictly increase, offsets must not decrease. Zeroes at the end are passed over.
pub fn validate_time_file(bytes: &[u8], last_relative_offset: u32) -> Result<TimeIndexFile, IndexError> {
    let mut file = TimeIndexFile::default();
    for bytes in entries::<TIME_ENTRY_BYTES>(bytes)? {
        let next = TimeEntry::decode(bytes);
        let entry = file.entries;
        let is_above = |last: TimeEntry| {
            last.timestamp_ms < next.timestamp_ms && last.relative_offset <= next.relative_offset
        };
        if !file.last.is_none_or(is_above) {
            return Err(IndexError::Order { entry });
        }
        if next.relative_offset > last_relative_offset {
            return Err(IndexError::Range { entry });
        }
        file.fences.push(next.timestamp_ms);
        (file.entries, file.last) = (entry + 1, Some(next));
    }
    Ok(file)
}

/// The file's entries without the zeroes at its end. A time entry of all zeroes, the first millisecond of 1970 at the
/// segment's first offset, counts only in front of others: without it a search starts at the same place.
fn entries<const ENTRY: usize>(bytes: &[u8]) -> Result<&[[u8; ENTRY]], IndexError> {
    let (entries, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(IndexError::Length {
            file_bytes: bytes.len(),
            entry_bytes: ENTRY,
        });
    }
    let end = entries
        .iter()
        .rposition(|e| *e != [0; ENTRY])
        .map_or(0, |last| last + 1);
    Ok(&entries[..end])
}
