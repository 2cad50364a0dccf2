//! The first key of each page of an index file, so that a lookup reads one page; and the search of that page.

use super::{OFFSET_ENTRY_BYTES, OffsetEntry, TIME_ENTRY_BYTES, TimeEntry};

/// What direct reads come in multiples of.
const BLOCK_BYTES: usize = 4096;

/// Bytes of one page of an index file with entries of this size: the fewest whole blocks that hold whole entries.
/// 4096 for the 8-byte entries of offset indexes, 12288 for the 12-byte entries of time indexes.
const fn page_bytes(entry_bytes: usize) -> usize {
    let mut bytes = BLOCK_BYTES;
    while !bytes.is_multiple_of(entry_bytes) {
        bytes += BLOCK_BYTES;
    }
    bytes
}

/// A page of an index file, to be read in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexPage {
    /// Number of the page in the file, from 0.
    pub number: u32,
    /// Where it starts in the file, in bytes; a multiple of 4096.
    pub position: u64,
    /// Bytes to read; a multiple of 4096. The file may end before.
    pub read_bytes: usize,
    /// Bytes of it that are entries: search only these.
    pub valid_bytes: usize,
}

impl IndexPage {
    /// The same page of a file that has only `entries` entries.
    pub(super) fn limit<const ENTRY: usize>(self, entries: u32) -> IndexPage {
        let left = (u64::from(entries) * ENTRY as u64).saturating_sub(self.position);
        IndexPage {
            valid_bytes: self.valid_bytes.min(usize::try_from(left).unwrap_or(usize::MAX)),
            ..self
        }
    }
}

/// The first key of each page of an index with entries of `ENTRY` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fences<K, const ENTRY: usize> {
    firsts: Vec<K>,
    entries: u32,
}

/// Fences of an offset index; keys are offsets counted from the segment's base.
pub type OffsetFences = Fences<u32, OFFSET_ENTRY_BYTES>;

/// Fences of a time index; keys are timestamps in milliseconds.
pub type TimeFences = Fences<i64, TIME_ENTRY_BYTES>;

impl<K, const ENTRY: usize> Default for Fences<K, ENTRY> {
    fn default() -> Self {
        Fences {
            firsts: Vec::new(),
            entries: 0,
        }
    }
}

impl<K: Copy + Ord, const ENTRY: usize> Fences<K, ENTRY> {
    const PAGE_BYTES: usize = page_bytes(ENTRY);
    const PAGE_ENTRIES: u32 = (Self::PAGE_BYTES / ENTRY) as u32;

    /// Fences as [`Fences::firsts`] and [`Fences::entries`] gave them; `None` when the numbers do not go together.
    pub fn from_parts(firsts: Vec<K>, entries: u32) -> Option<Self> {
        (firsts.len() == entries.div_ceil(Self::PAGE_ENTRIES) as usize).then_some(Fences { firsts, entries })
    }

    /// The first key of each page.
    pub fn firsts(&self) -> &[K] {
        &self.firsts
    }

    /// Notes the key of the next entry of the file.
    pub fn push(&mut self, key: K) {
        if self.entries.is_multiple_of(Self::PAGE_ENTRIES) {
            self.firsts.push(key);
        }
        self.entries += 1;
    }

    /// Number of entries in the file.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// The page with the last entry that is not above `target`; `None` when all entries are.
    pub fn page_for(&self, target: K) -> Option<IndexPage> {
        let number = self
            .firsts
            .partition_point(|first| *first <= target)
            .checked_sub(1)? as u32;
        let left = (self.entries - number * Self::PAGE_ENTRIES) as usize * ENTRY;
        Some(IndexPage {
            number,
            position: u64::from(number) * Self::PAGE_BYTES as u64,
            read_bytes: Self::PAGE_BYTES.min(left.next_multiple_of(BLOCK_BYTES)),
            valid_bytes: Self::PAGE_BYTES.min(left),
        })
    }
}

/// The last entry of an offset index's page that is not above `relative_offset`. `page` holds only entries, no tail of
/// zeroes; bytes behind the last whole entry are passed over.
pub fn search_page(page: &[u8], relative_offset: u32) -> Option<OffsetEntry> {
    let (entries, _) = page.as_chunks();
    let above = entries.partition_point(|e| OffsetEntry::decode(e).relative_offset <= relative_offset);
    above.checked_sub(1).map(|i| OffsetEntry::decode(&entries[i]))
}

/// The last entry of a time index's page that is not above `timestamp_ms`; see [`search_page`].
pub fn search_time_page(page: &[u8], timestamp_ms: i64) -> Option<TimeEntry> {
    let (entries, _) = page.as_chunks();
    let above = entries.partition_point(|e| TimeEntry::decode(e).timestamp_ms <= timestamp_ms);
    above.checked_sub(1).map(|i| TimeEntry::decode(&entries[i]))
}
