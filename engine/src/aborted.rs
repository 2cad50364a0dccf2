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
    if u64::from(count) > most_entries(size_bytes) {
        return error(format!("{count} entries for a segment of {size_bytes} bytes"));
    }
    let wanted = count as usize * ABORTED_ENTRY_BYTES;
    let Some(bytes) = bytes.get(..wanted) else {
        return error(format!("it has {} bytes, {wanted} are counted", bytes.len()));
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of producers 1, 2, 3, …: aborted by markers at these offsets, begun at those.
    fn txn(first_offset: i64, last_offset: i64, last_stable_offset: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: first_offset,
            first_offset,
            last_offset,
            last_stable_offset,
        }
    }

    fn list() -> AbortedTxns {
        let mut list = AbortedTxns::default();
        // One transaction is open from 5 to 60.
        for entry in [txn(10, 20, 5), txn(22, 30, 5), txn(5, 60, 61), txn(70, 71, 72)] {
            list.push(entry);
        }
        list
    }

    fn found(list: &AbortedTxns, from: i64, to: i64) -> (Vec<i64>, bool) {
        let mut found = Vec::new();
        let is_all = list.collect(from, to, &mut found);
        (found.iter().map(|t| t.first_offset).collect(), is_all)
    }

    /// The bytes follow from the layout in Kafka's `AbortedTxn`.
    #[test]
    fn an_entry_has_thirty_four_bytes() {
        let entry = AbortedTxn {
            producer_id: 1,
            first_offset: 0x0203,
            last_offset: 4,
            last_stable_offset: -2,
        };
        let mut bytes = vec![0; 2];
        for number in [
            [0, 0, 0, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 0, 0, 2, 3],
            [0, 0, 0, 0, 0, 0, 0, 4],
        ] {
            bytes.extend(number);
        }
        bytes.extend([0xff; 7]);
        bytes.push(0xfe);
        assert_eq!(entry.encode()[..], bytes[..]);
        assert_eq!(AbortedTxn::decode(&entry.encode()), Some(entry));
        bytes[1] = 1;
        assert_eq!(bytes.try_into().ok().and_then(|b| AbortedTxn::decode(&b)), None);
    }

    #[test]
    fn those_are_found_that_may_have_records_in_a_range() {
        let list = list();
        assert_eq!(found(&list, 0, 100), (vec![10, 22, 5, 70], false));
        assert_eq!(found(&list, 21, 40), (vec![22, 5], true));
        assert_eq!(found(&list, 20, 22), (vec![10, 5], true));
        assert_eq!(found(&list, 0, 5), (vec![], true));
        assert_eq!(found(&list, 61, 72), (vec![70], true));
        assert_eq!(found(&list, 72, 80), (vec![], false));
    }

    #[test]
    fn entries_are_handed_out_once_and_forgotten_when_they_are_in_the_file() {
        let mut list = list();
        let first = list.take_unwritten();
        assert_eq!((first.at, first.end_count()), (0, 4));
        assert_eq!(list.forget(0), 0, "not known to be in the file");
        list.push(txn(80, 90, 91));
        let second = list.take_unwritten();
        assert_eq!((second.at, second.end_count()), (4 * 34, 5));
        list.note_written(4);
        assert_eq!((list.forget(1), list.in_memory(), list.count()), (3, 2, 5));
        assert_eq!(
            list.missing_for(61),
            Some(3),
            "the one that is known first may not be the first"
        );
        assert_eq!(list.missing_for(72), None);
        let file: Vec<u8> = [first.bytes, second.bytes].concat();
        assert_eq!(
            list.put_back(read_entries(&file, 2, 0, 10_000).unwrap()),
            0,
            "too few"
        );
        assert_eq!(list.put_back(read_entries(&file, 3, 0, 10_000).unwrap()), 3);
        assert_eq!(list.missing_for(0), None);
        assert_eq!(found(&list, 0, 100).0, [10, 22, 5, 70, 80]);
        assert_eq!(list.take_unwritten().bytes, [0; 0]);
    }

    #[test]
    fn a_file_that_cannot_be_is_refused() {
        let good: Vec<u8> = list().take_unwritten().bytes;
        assert_eq!(read_entries(&good, 4, 0, 10_000).unwrap().len(), 4);
        assert_eq!(read_entries(&good, 2, 0, 10_000).unwrap().len(), 2);
        assert!(read_entries(&good, 5, 0, 10_000).is_err(), "it is too short");
        assert!(read_entries(&good, 4, 0, 3 * 61).is_err(), "more than markers");
        assert!(
            read_entries(&good, 4, 21, 10_000).is_err(),
            "a marker before the segment"
        );
        for at in [1, 9, 17, 25, 33] {
            let mut bad = good.clone();
            bad[34 + at - 7..=34 + at].fill(0x80);
            assert!(read_entries(&bad, 4, 0, 10_000).is_err(), "byte {at}");
        }
        let hole = [good.clone(), vec![0; 34]].concat();
        assert!(read_entries(&hole, 5, 0, 10_000).is_err(), "zeroes");
        let twice = [good.clone(), good].concat();
        assert!(read_entries(&twice, 8, 0, 10_000).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0..8u32) {
            let _ = read_entries(&bytes, count, 0, 10_000);
        }
    }
}
