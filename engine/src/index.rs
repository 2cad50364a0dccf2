//! Sparse indexes of a segment: where in the log an offset is, and which offset a time belongs to.
//!
//! ```text
//! .index      | offset - base i32 | position i32 |                 8 bytes, both columns strictly increasing
//! .timeindex  | timestamp i64          | offset - base i32 |      12 bytes, timestamps strictly increasing
//! ```
//!
//! All big-endian. An entry is added in front of a batch once more than `index.interval.bytes` of log lie behind the
//! last entry: the *last* offset of that batch and the position it starts at. With it goes a time entry: the largest
//! timestamp so far and the last offset of the batch that had it; once more when the segment is closed.
//!
//! An index is derived from the log and never evidence about it. The newest entries of an active segment are in
//! memory ([`SparseIndex`]), all others in the file, of which only the first entry of each page is kept ([`Fences`]).

mod fences;
mod file;

pub use fences::{Fences, IndexPage, OffsetFences, TimeFences, search_page, search_time_page};
pub use file::{IndexError, OffsetIndexFile, TimeIndexFile, validate_offset_file, validate_time_file};

/// Bytes of one entry of an offset index.
pub const OFFSET_ENTRY_BYTES: usize = 8;

/// Bytes of one entry of a time index.
pub const TIME_ENTRY_BYTES: usize = 12;

/// An entry of the offset index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Last offset of a batch, counted from the segment's base offset; at most `i32::MAX`.
    pub relative_offset: u32,
    /// Where that batch starts in the segment, in bytes; at most `i32::MAX`.
    pub position: u32,
}

impl OffsetEntry {
    /// The entry's bytes in the file.
    pub fn encode(&self) -> [u8; OFFSET_ENTRY_BYTES] {
        (u64::from(self.relative_offset) << 32 | u64::from(self.position)).to_be_bytes()
    }

    /// Reads an entry. Any 8 bytes are one.
    pub fn decode(bytes: &[u8; OFFSET_ENTRY_BYTES]) -> OffsetEntry {
        let both = u64::from_be_bytes(*bytes);
        OffsetEntry {
            relative_offset: (both >> 32) as u32,
            position: both as u32,
        }
    }
}

/// An entry of the time index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// No record up to `relative_offset` has a larger timestamp.
    pub timestamp_ms: i64,
    /// Last offset of the batch that has it, counted from the segment's base offset; at most `i32::MAX`.
    pub relative_offset: u32,
}

impl TimeEntry {
    /// The entry's bytes in the file.
    pub fn encode(&self) -> [u8; TIME_ENTRY_BYTES] {
        let mut bytes = [0; TIME_ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.timestamp_ms.to_be_bytes());
        bytes[8..].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes
    }

    /// Reads an entry. Any 12 bytes are one.
    pub fn decode(bytes: &[u8; TIME_ENTRY_BYTES]) -> TimeEntry {
        let [t0, t1, t2, t3, t4, t5, t6, t7, offset @ ..] = *bytes;
        TimeEntry {
            timestamp_ms: i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            relative_offset: u32::from_be_bytes(offset),
        }
    }
}

/// Where the entry at or before a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It is this one.
    At(T),
    /// There is none: start at the beginning of the segment.
    Start,
    /// It is on this page of the index file: read it, and search it with [`search_page`] or [`search_time_page`].
    OnDisk(IndexPage),
}

/// What [`SparseIndex::take_unwritten`] hands out: bytes to write and where in the files they go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// Position in the offset index file, in bytes.
    pub offset_position: u64,
    /// Entries of the offset index file.
    pub offset_bytes: Vec<u8>,
    /// Position in the time index file, in bytes.
    pub time_position: u64,
    /// Entries of the time index file.
    pub time_bytes: Vec<u8>,
}

impl Unwritten {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.offset_bytes.is_empty() && self.time_bytes.is_empty()
    }
}

/// Both indexes of an active segment.
///
/// Entries are numbered from the start of the file. They pass through three states: in memory only; in memory and
/// handed out for writing ([`SparseIndex::take_unwritten`]); only in the file, once [`SparseIndex::forget_written`]
/// says so. Lookups work in all of them.
#[derive(Clone, Debug)]
pub struct SparseIndex {
    interval_bytes: u32,
    bytes_since_entry: u64,
    largest: Option<TimeEntry>,
    offsets: Column<OffsetEntry>,
    times: Column<TimeEntry>,
    offset_fences: OffsetFences,
    time_fences: TimeFences,
}

/// The entries of one index: those in memory, and how many are before and how many of them were handed out.
#[derive(Clone, Debug)]
struct Column<T> {
    forgotten: u32,
    handed_out: u32,
    last: Option<T>,
    entries: Vec<T>,
}

impl<T: Copy> Column<T> {
    fn resume(on_disk: u32, last: Option<T>) -> Column<T> {
        Column {
            forgotten: on_disk,
            handed_out: on_disk,
            last,
            entries: Vec::new(),
        }
    }

    fn push(&mut self, entry: T) {
        self.entries.push(entry);
        self.last = Some(entry);
    }

    fn count(&self) -> u32 {
        self.forgotten + self.entries.len() as u32
    }

    fn take_unwritten(&mut self) -> (u32, &[T]) {
        let count = self.count();
        let first = std::mem::replace(&mut self.handed_out, count);
        (first, &self.entries[(first - self.forgotten) as usize..])
    }

    /// Forgets the entries below number `end`, those not handed out excepted.
    fn forget(&mut self, end: u32) {
        let end = end.clamp(self.forgotten, self.handed_out);
        self.entries.drain(..(end - self.forgotten) as usize);
        self.entries.shrink_to(self.entries.len() * 2);
        self.forgotten = end;
    }

    /// The last entry in memory that is not above the target; `None` when all are.
    fn floor(&self, is_not_above: impl FnMut(&T) -> bool) -> Option<T> {
        let above = self.entries.partition_point(is_not_above);
        above.checked_sub(1).map(|i| self.entries[i])
    }
}

impl SparseIndex {
    /// Indexes of a new, empty segment. `interval_bytes` is `index.interval.bytes`.
    pub fn new(interval_bytes: u32) -> SparseIndex {
        SparseIndex::resume(
            interval_bytes,
            OffsetIndexFile::default(),
            TimeIndexFile::default(),
            None,
        )
    }

    /// Goes on with a segment whose first entries are in its files.
    ///
    /// `largest` is the largest timestamp in the segment's log and the last offset of its batch, when the log behind the
    /// last time entry has a larger one than that entry. The next entry comes after another whole interval.
    pub fn resume(
        interval_bytes: u32,
        offsets: OffsetIndexFile,
        times: TimeIndexFile,
        largest: Option<TimeEntry>,
    ) -> SparseIndex {
        SparseIndex {
            interval_bytes,
            bytes_since_entry: 0,
            largest: [largest, times.last]
                .into_iter()
                .flatten()
                .max_by_key(|l| l.timestamp_ms),
            offsets: Column::resume(offsets.entries, offsets.last),
            times: Column::resume(times.entries, times.last),
            offset_fences: offsets.fences,
            time_fences: times.fences,
        }
    }

    /// Changes how much log lies between two entries.
    pub fn set_interval_bytes(&mut self, interval_bytes: u32) {
        self.interval_bytes = interval_bytes;
    }

    /// Notes a batch about to be appended at `position`. Returns whether it got an entry.
    ///
    /// `last_offset` is the batch's last offset counted from the segment's base. A batch that does not lie above the last
    /// entry gets none, so that a damaged log read in recovery still leaves an index in order.
    pub fn append(
        &mut self,
        last_offset: u32,
        position: u32,
        size_bytes: u32,
        max_timestamp_ms: i64,
    ) -> bool {
        if self.largest.map_or(-1, |l| l.timestamp_ms) < max_timestamp_ms {
            self.largest = Some(TimeEntry {
                timestamp_ms: max_timestamp_ms,
                relative_offset: last_offset,
            });
        }
        let is_above = |last: OffsetEntry| last.relative_offset < last_offset && last.position < position;
        let due =
            self.bytes_since_entry > u64::from(self.interval_bytes) && self.offsets.last.is_none_or(is_above);
        if due {
            self.offset_fences.push(last_offset);
            self.offsets.push(OffsetEntry {
                relative_offset: last_offset,
                position,
            });
            self.push_largest();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += u64::from(size_bytes);
        due
    }

    /// Adds the last time entry, when the segment is rolled or closed. Returns whether there was one to add.
    pub fn close(&mut self) -> bool {
        self.push_largest()
    }

    /// The largest timestamp so far, unless it is in the index already.
    fn push_largest(&mut self) -> bool {
        let Some(entry) = self.largest else { return false };
        let is_newer = self
            .times
            .last
            .is_none_or(|last| last.timestamp_ms < entry.timestamp_ms);
        if is_newer {
            self.time_fences.push(entry.timestamp_ms);
            self.times.push(entry);
        }
        is_newer
    }

    /// Whether the segment must be rolled before another batch: one of its index files would outgrow
    /// `segment.index.bytes`. The time index keeps a place for the entry at the close.
    pub fn is_full(&self, index_max_bytes: u32) -> bool {
        let max_bytes = index_max_bytes as usize;
        self.offset_count() as usize >= max_bytes / OFFSET_ENTRY_BYTES
            || self.time_count() as usize + 1 >= max_bytes / TIME_ENTRY_BYTES
    }

    /// Number of entries of the offset index, in memory and in the file.
    pub fn offset_count(&self) -> u32 {
        self.offsets.count()
    }

    /// Number of entries of the time index, in memory and in the file.
    pub fn time_count(&self) -> u32 {
        self.times.count()
    }

    /// The last entry of the offset index.
    pub fn last_offset_entry(&self) -> Option<OffsetEntry> {
        self.offsets.last
    }

    /// The largest timestamp in the segment and the last offset of the batch that has it.
    pub fn largest_timestamp(&self) -> Option<TimeEntry> {
        self.largest
    }

    /// Where to start looking for an offset, counted from the segment's base.
    pub fn lookup(&self, relative_offset: u32) -> Lookup<OffsetEntry> {
        match self.offsets.floor(|e| e.relative_offset <= relative_offset) {
            Some(entry) => Lookup::At(entry),
            None => on_disk(&self.offset_fences, relative_offset, self.offsets.forgotten),
        }
    }

    /// The first entry in memory that is above the target.
    pub fn entry_after(&self, relative_offset: u32) -> Option<OffsetEntry> {
        let above = self
            .offsets
            .entries
            .partition_point(|e| e.relative_offset <= relative_offset);
        self.offsets.entries.get(above).copied()
    }

    /// The last entry in memory that lies at or before a position.
    pub fn entry_at_position(&self, position: u64) -> Option<OffsetEntry> {
        self.offsets.floor(|e| u64::from(e.position) <= position)
    }

    /// The last entry whose timestamp is not above `timestamp_ms`: no record up to its offset has a larger one.
    pub fn lookup_time(&self, timestamp_ms: i64) -> Lookup<TimeEntry> {
        match self.times.floor(|e| e.timestamp_ms <= timestamp_ms) {
            Some(entry) => Lookup::At(entry),
            None => on_disk(&self.time_fences, timestamp_ms, self.times.forgotten),
        }
    }

    /// Hands out the entries that were not handed out before. They stay in memory and searchable.
    pub fn take_unwritten(&mut self) -> Unwritten {
        let (first_offset, offsets) = self.offsets.take_unwritten();
        let (first_time, times) = self.times.take_unwritten();
        Unwritten {
            offset_position: u64::from(first_offset) * OFFSET_ENTRY_BYTES as u64,
            offset_bytes: offsets.iter().flat_map(OffsetEntry::encode).collect(),
            time_position: u64::from(first_time) * TIME_ENTRY_BYTES as u64,
            time_bytes: times.iter().flat_map(TimeEntry::encode).collect(),
        }
    }

    /// Forgets entries whose bytes are in the files: the first `offset_entries` and `time_entries` of each. From then on
    /// lookups name a page of the file for them. Entries not handed out yet stay.
    pub fn forget_written(&mut self, offset_entries: u32, time_entries: u32) {
        self.offsets.forget(offset_entries);
        self.times.forget(time_entries);
    }

    /// Both files as they are once everything handed out is written: what [`SparseIndex::resume`] goes on from.
    pub fn files(&self) -> (OffsetIndexFile, TimeIndexFile) {
        let offsets = OffsetIndexFile {
            entries: self.offset_count(),
            last: self.offsets.last,
            fences: self.offset_fences.clone(),
        };
        let times = TimeIndexFile {
            entries: self.time_count(),
            last: self.times.last,
            fences: self.time_fences.clone(),
        };
        (offsets, times)
    }
}

/// The page of the file that holds the entry at or before the target, of which the first `entries` are in the file.
fn on_disk<K: Copy + Ord, const ENTRY: usize, T>(
    fences: &Fences<K, ENTRY>,
    target: K,
    entries: u32,
) -> Lookup<T> {
    match fences.page_for(target).map(|page| page.limit::<ENTRY>(entries)) {
        Some(page) if page.valid_bytes > 0 => Lookup::OnDisk(page),
        _ => Lookup::Start,
    }
}

#[cfg(test)]
mod tests;
