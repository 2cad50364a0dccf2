//! The index of aborted transactions of a segment: Kafka's `.txnindex`.
//!
//! ```text
//! .txnindex  | version i16 = 0 | producer id i64 | first offset i64 | last offset i64 | last stable offset i64 |      34 bytes, big-endian
//! ```
//!
//! An entry stands in the index of the segment that holds the abort marker, at `last offset`; its transaction may have begun segments before. The
//! file is there only where there is an entry. Entries lie in the order of their markers, so their last stable offsets never go down: an entry whose
//! last stable offset is at or above the end of what a reader gets ends the search, since whatever is aborted behind it began behind that end.
//!
//! As with the sparse index, entries are numbered from the start of the file, and pass through three states: in memory only; in memory and handed
//! out for writing; only in the file. What of it is in memory is always the end of the list.

use std::fmt;

use crate::batch::HEADER_BYTES;

/// Bytes of an entry.
pub const ABORTED_ENTRY_BYTES: usize = 34;

/// Each entry has a batch in its segment, the one with its marker.
const MARKER_BYTES: u64 = HEADER_BYTES as u64;

const VERSION: i16 = 0;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Whose it was.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
    /// Offset of the marker that ended it.
    pub last_offset: i64,
    /// First offset that was undecided after the marker, the high watermark left aside: of another transaction, or the one behind the marker.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    /// The entry's bytes in the file.
    pub fn encode(&self) -> [u8; ABORTED_ENTRY_BYTES] {
        let mut bytes = [0; ABORTED_ENTRY_BYTES];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        let numbers = [
            self.producer_id,
            self.first_offset,
            self.last_offset,
            self.last_stable_offset,
        ];
        for (place, number) in bytes[2..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; ABORTED_ENTRY_BYTES]) -> Option<AbortedTxn> {
        let [v0, v1, numbers @ ..] = *bytes;
        let mut numbers = numbers
            .chunks_exact(8)
            .map(|n| n.try_into().map_or(-1, i64::from_be_bytes));
        let mut next = || numbers.next().unwrap_or(-1);
        let entry = AbortedTxn {
            producer_id: next(),
            first_offset: next(),
            last_offset: next(),
            last_stable_offset: next(),
        };
        (i16::from_be_bytes([v0, v1]) == VERSION).then_some(entry)
    }

    /// Whether some of it may lie in `[from, to)`.
    fn overlaps(&self, from: i64, to: i64) -> bool {
        self.last_offset >= from && self.first_offset < to
    }
}

/// Why bytes are no index of aborted transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortedError(String);

impl fmt::Display for AbortedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AbortedError {}

/// Reads the first `count` entries of a file. They must be what a log can have led to: nobody is to miss an aborted transaction because of a
/// damaged file. `base_offset` and `size_bytes` are the segment's.
pub fn read_entries(
    bytes: &[u8],
    count: u32,
    base_offset: i64,
    size_bytes: u64,
) -> Result<Vec<AbortedTxn>, AbortedError> {
    let error = |what: String| Err(AbortedError(what));
    let wanted = count as usize * ABORTED_ENTRY_BYTES;
    let Some(bytes) = bytes.get(..wanted) else {
        return error(format!("it has {} bytes, {wanted} are counted", bytes.len()));
    };
    if u64::from(count) > most_entries(size_bytes) {
        return error(format!("{count} entries for a segment of {size_bytes} bytes"));
    }
    let mut entries: Vec<AbortedTxn> = Vec::with_capacity(count as usize);
    for chunk in bytes.chunks_exact(ABORTED_ENTRY_BYTES) {
        let number = entries.len();
        let Some(entry) = chunk.try_into().ok().and_then(AbortedTxn::decode) else {
            return error(format!("entry {number} is of an unknown version"));
        };
        let before = entries.last();
        let is_possible = entry.producer_id >= 0
            && (0..entry.last_offset).contains(&entry.first_offset)
            && entry.last_offset >= base_offset
            && (0..=entry.last_offset + 1).contains(&entry.last_stable_offset)
            && before.is_none_or(|b| {
                b.last_offset < entry.last_offset && b.last_stable_offset <= entry.last_stable_offset
            });
        if !is_possible {
            return error(format!("entry {number} cannot be: {entry:?}"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// How many entries a segment of so many bytes can have.
pub fn most_entries(size_bytes: u64) -> u64 {
    size_bytes / MARKER_BYTES
}

/// Entries to be written, and where in the file they go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbortedTail {
    /// Bytes of the file that are right already; anything behind them is overwritten.
    pub at: u64,
    /// Entries to put there.
    pub bytes: Vec<u8>,
}

impl AbortedTail {
    /// How many entries the file has that ends with this piece.
    pub fn end_count(&self) -> u32 {
        ((self.at as usize + self.bytes.len()) / ABORTED_ENTRY_BYTES) as u32
    }
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbortedTxns {
    /// Entries that are not in memory: the first ones of the file.
    forgotten: u32,
    /// Entries known to be in the file.
    written: u32,
    /// Entries handed out to be written.
    handed_out: u32,
    entries: Vec<AbortedTxn>,
}

impl AbortedTxns {
    /// Those of a segment whose file has so many entries.
    pub fn in_file(count: u32) -> AbortedTxns {
        AbortedTxns {
            forgotten: count,
            written: count,
            handed_out: count,
            entries: Vec::new(),
        }
    }

    /// Number of entries, in memory and in the file.
    pub fn count(&self) -> u32 {
        self.forgotten + self.entries.len() as u32
    }

    /// Whether the segment has none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Number of entries in memory.
    pub fn in_memory(&self) -> usize {
        self.entries.len()
    }

    /// Adds one: its marker was written behind all others.
    pub fn push(&mut self, entry: AbortedTxn) {
        self.entries.push(entry);
    }

    /// Hands out the entries that were not handed out before.
    pub fn take_unwritten(&mut self) -> AbortedTail {
        let first = self.handed_out.max(self.forgotten);
        self.handed_out = self.count();
        let unwritten = &self.entries[(first - self.forgotten) as usize..];
        AbortedTail {
            at: u64::from(first) * ABORTED_ENTRY_BYTES as u64,
            bytes: unwritten.iter().flat_map(AbortedTxn::encode).collect(),
        }
    }

    /// The first `count` entries are in the file.
    pub fn note_written(&mut self, count: u32) {
        self.written = self.written.max(count.min(self.handed_out));
    }

    /// Forgets the entries that are in the file, the last `keep` excepted. Gives how many went.
    pub fn forget(&mut self, keep: u32) -> usize {
        let to = self.written.saturating_sub(keep).max(self.forgotten);
        let gone = (to - self.forgotten) as usize;
        self.entries.drain(..gone);
        self.entries.shrink_to_fit();
        self.forgotten = to;
        gone
    }

    /// What has to be read from the file before [`AbortedTxns::collect`] can tell all from `from` on: so many entries, the first ones. `None` when
    /// memory has them.
    pub fn missing_for(&self, from: i64) -> Option<u32> {
        let is_known = self.forgotten == 0 || self.entries.first().is_some_and(|e| e.last_offset < from);
        (!is_known).then_some(self.forgotten)
    }

    /// Takes in what was read from the file; gives how many entries that is. Nothing happens where others have become forgotten meanwhile.
    pub fn put_back(&mut self, mut first: Vec<AbortedTxn>) -> usize {
        if first.len() as u32 != self.forgotten {
            return 0;
        }
        let added = first.len();
        first.append(&mut self.entries);
        self.entries = first;
        self.forgotten = 0;
        added
    }

    /// Adds those that may have records in `[from, to)` to `found`. True when no later segment can have more of them.
    pub fn collect(&self, from: i64, to: i64, found: &mut Vec<AbortedTxn>) -> bool {
        let first = self.entries.partition_point(|e| e.last_offset < from);
        for entry in &self.entries[first..] {
            if entry.overlaps(from, to) {
                found.push(*entry);
            }
            if entry.last_stable_offset >= to {
                return true;
            }
        }
        false
    }
}
