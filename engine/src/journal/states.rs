//! The checkpoint file of a core, `ringlog-checkpoint-<core>`: what each partition looked like when everything before a certain
//! journal frame was on disk. Together with the journal it is all a restart reads. Pure.
//!
//! ```text
//! "RLCHKPNT" 8 | version u16 | reserved u16 | crc32 u32 of all that follows | journal id u64 | first frame u64 | its position u64
//! | partitions u32 | partition | partition | …
//!
//! partition  bytes u32 | name | topic id 16 | log start i64 | log end i64 | active segment: base i64, bytes u64, created i64,
//!            first timestamp (1 + i64), offset index, time index, largest timestamp, aborted transactions u32 | epochs | producers
//! ```
//!
//! All numbers are little-endian; strings and lists carry their length in front. Of the aborted transactions there is only their number, and in
//! version 1 not even that.

use crate::aborted::AbortedTxns;
use crate::epochs::LeaderEpochs;
use crate::index::{
    OffsetEntry, OffsetFences, OffsetIndexFile, SparseIndex, TimeEntry, TimeFences, TimeIndexFile,
};
use crate::log::LogState;
use crate::producers::ProducerStates;
use crate::segment::Segment;

/// Version of the format this program writes, and the newest it reads.
pub const VERSION: u16 = 2;
/// The first version with the number of aborted transactions.
const COUNTS_ABORTED: u16 = 2;

const MAGIC: [u8; 8] = *b"RLCHKPNT";
const HEAD_BYTES: usize = 16;

/// A checkpoint file's content.
pub struct Checkpoint {
    /// The journal whose frames follow.
    pub journal_id: u64,
    /// Sequence number of the first frame that may hold something newer.
    pub first_frame: u64,
    /// Where that frame is looked for.
    pub position: u64,
    /// Whether it says how many transactions were aborted in the active segments.
    pub counts_aborted: bool,
    /// Partitions; segments before the active one are found in the folder.
    pub partitions: Vec<LogState>,
}

/// Why a file's bytes are not a checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub enum CheckpointFault {
    /// Written by a newer version of this program.
    Newer(u16),
    /// Damaged, and how.
    Damaged(&'static str),
}

/// The bytes of a checkpoint file, from what [`encode`] gave for each partition.
pub fn encode_file(journal_id: u64, first_frame: u64, position: u64, partitions: &[&[u8]]) -> Vec<u8> {
    let size = partitions.iter().map(|p| p.len() + 4).sum::<usize>();
    let mut out = Vec::with_capacity(HEAD_BYTES + 28 + size);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 6]);
    put_u64(&mut out, journal_id);
    put_u64(&mut out, first_frame);
    put_u64(&mut out, position);
    put_u32(&mut out, partitions.len() as u32);
    for partition in partitions {
        put_bytes(&mut out, partition);
    }
    let crc = crc32fast::hash(&out[HEAD_BYTES..]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads a checkpoint file.
pub fn decode_file(bytes: &[u8], interval_bytes: u32) -> Result<Checkpoint, CheckpointFault> {
    const SHORT: CheckpointFault = CheckpointFault::Damaged("it is cut short");
    let head = bytes.get(..HEAD_BYTES).ok_or(SHORT)?;
    if head[..8] != MAGIC {
        return Err(CheckpointFault::Damaged("it does not start as a checkpoint does"));
    }
    let version = u16::from_le_bytes([head[8], head[9]]);
    if version > VERSION {
        return Err(CheckpointFault::Newer(version));
    }
    if crc32fast::hash(&bytes[HEAD_BYTES..]).to_le_bytes() != head[12..16] {
        return Err(CheckpointFault::Damaged("its checksum is wrong"));
    }
    let mut input = Input(&bytes[HEAD_BYTES..]);
    read_body(&mut input, version >= COUNTS_ABORTED, interval_bytes).ok_or(SHORT)
}

fn read_body(input: &mut Input<'_>, counts_aborted: bool, interval_bytes: u32) -> Option<Checkpoint> {
    let (journal_id, first_frame, position) = (input.u64()?, input.u64()?, input.u64()?);
    let count = input.u32()?;
    let mut partitions = Vec::new();
    for _ in 0..count {
        partitions.push(decode(input.bytes()?, counts_aborted, interval_bytes)?);
    }
    Some(Checkpoint {
        journal_id,
        first_frame,
        position,
        counts_aborted,
        partitions,
    })
}

/// One partition's bytes. The active segment's index entries must all be written, or on their way.
pub fn encode(state: &LogState) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    put_bytes(&mut out, state.name.as_bytes());
    out.extend_from_slice(&state.topic_id);
    put_u64(&mut out, state.log_start_offset as u64);
    put_u64(&mut out, state.end_offset as u64);
    let active = state.active();
    put_u64(&mut out, active.base_offset as u64);
    put_u64(&mut out, active.size_bytes);
    put_u64(&mut out, active.created_ms as u64);
    put_option(&mut out, active.first_timestamp_ms);
    put_index(&mut out, active.index.as_ref());
    put_u32(&mut out, active.aborted.count());
    put_bytes(&mut out, state.epochs.encode().as_bytes());
    put_bytes(&mut out, &state.producers.encode_window());
    out
}

fn put_index(out: &mut Vec<u8>, index: Option<&SparseIndex>) {
    let (offsets, times) = index.map(SparseIndex::files).unwrap_or_default();
    put_u32(out, offsets.entries);
    put_option(out, offsets.last.map(|e| i64::from_be_bytes(e.encode())));
    put_u32(out, offsets.fences.firsts().len() as u32);
    offsets.fences.firsts().iter().for_each(|f| put_u32(out, *f));
    put_u32(out, times.entries);
    put_time(out, times.last);
    put_u32(out, times.fences.firsts().len() as u32);
    times.fences.firsts().iter().for_each(|f| put_u64(out, *f as u64));
    put_time(out, index.and_then(SparseIndex::largest_timestamp));
}

/// Reads one partition. Its only segment is the active one.
pub fn decode(bytes: &[u8], counts_aborted: bool, interval_bytes: u32) -> Option<LogState> {
    let mut input = Input(bytes);
    let name = String::from_utf8(input.bytes()?.to_vec()).ok()?;
    let topic_id = input.array()?;
    let (log_start_offset, end_offset) = (input.u64()? as i64, input.u64()? as i64);
    let (base_offset, size_bytes, created_ms) = (input.u64()? as i64, input.u64()?, input.u64()? as i64);
    let first_timestamp_ms = input.option()?;
    let index = read_index(&mut input, interval_bytes)?;
    let aborted = if counts_aborted { input.u32()? } else { 0 };
    let epochs = LeaderEpochs::decode(std::str::from_utf8(input.bytes()?).ok()?).ok()?;
    let producers = ProducerStates::decode_window(input.bytes()?).ok()?;
    let active = Segment {
        size_bytes,
        first_timestamp_ms,
        index: Some(index),
        aborted: AbortedTxns::in_file(aborted),
        ..Segment::new(base_offset, interval_bytes, created_ms)
    };
    let segments = [active].into();
    Some(LogState {
        name,
        topic_id,
        log_start_offset,
        end_offset,
        segments,
        producers,
        epochs,
        cleaned_to: None,
    })
}

fn read_index(input: &mut Input<'_>, interval_bytes: u32) -> Option<SparseIndex> {
    let entries = input.u32()?;
    let last = input
        .option()?
        .map(|e: i64| OffsetEntry::decode(&e.to_be_bytes()));
    let firsts = (0..input.u32()?)
        .map(|_| input.u32())
        .collect::<Option<Vec<_>>>()?;
    let offsets = OffsetIndexFile {
        entries,
        last,
        fences: OffsetFences::from_parts(firsts, entries)?,
    };
    let entries = input.u32()?;
    let last = input.time()?;
    let firsts = (0..input.u32()?)
        .map(|_| input.u64().map(|t| t as i64))
        .collect::<Option<Vec<_>>>()?;
    let times = TimeIndexFile {
        entries,
        last,
        fences: TimeFences::from_parts(firsts, entries)?,
    };
    let largest = input.time()?;
    Some(SparseIndex::resume(interval_bytes, offsets, times, largest))
}

fn put_u32(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(&n.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

fn put_option(out: &mut Vec<u8>, n: Option<i64>) {
    out.push(u8::from(n.is_some()));
    put_u64(out, n.unwrap_or(0) as u64);
}

fn put_time(out: &mut Vec<u8>, entry: Option<TimeEntry>) {
    put_option(out, entry.map(|e| e.timestamp_ms));
    put_u32(out, entry.map_or(0, |e| e.relative_offset));
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = self.u32()?;
        self.take(n as usize)
    }

    fn option(&mut self) -> Option<Option<i64>> {
        let [some] = self.array()?;
        let n = self.u64()? as i64;
        Some((some != 0).then_some(n))
    }

    fn time(&mut self) -> Option<Option<TimeEntry>> {
        let timestamp_ms = self.option()?;
        let relative_offset = self.u32()?;
        Some(timestamp_ms.map(|timestamp_ms| TimeEntry {
            timestamp_ms,
            relative_offset,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, BatchHeader};

    fn state() -> LogState {
        let mut state = LogState::empty("orders-3".into(), [8; 16], 100, 5);
        for i in 0..50i64 {
            let batch = BatchBuilder::new()
                .producer(4, 0, i as i32)
                .record(0, None, Some(&[1; 90]))
                .finish();
            let header = BatchHeader::read(&batch).unwrap();
            let header = BatchHeader {
                base_offset: i,
                max_timestamp_ms: 1000 + i,
                partition_leader_epoch: 2,
                ..header
            };
            state.note_batch(&header, None, 77);
        }
        state
    }

    #[test]
    fn a_partition_comes_back_as_it_was() {
        let state = state();
        let file = encode_file(1, 2, 4096, &[&encode(&state), &encode(&state)]);
        let read = decode_file(&file, 100).unwrap();
        assert_eq!((read.journal_id, read.first_frame, read.position), (1, 2, 4096));
        let back = &read.partitions[1];
        assert_eq!(
            (back.name.as_str(), back.topic_id, back.end_offset),
            ("orders-3", [8; 16], 50)
        );
        assert_eq!(back.end(), state.end());
        assert_eq!(back.producers, state.producers);
        assert_eq!(back.epochs, state.epochs);
        let index = |s: &LogState| s.active().index.as_ref().unwrap().files();
        assert_eq!(index(back), index(&state));
        assert!(index(back).0.entries > 5);
    }

    #[test]
    fn what_version_1_wrote_is_read() {
        let mut state = state();
        let aborted = crate::aborted::AbortedTxn {
            producer_id: 4,
            first_offset: 1,
            last_offset: 2,
            last_stable_offset: 3,
        };
        state.active_mut().aborted.push(aborted);
        let file = encode_file(1, 2, 4096, &[&encode(&state)]);
        let read = decode_file(&file, 100).unwrap();
        assert!(read.counts_aborted);
        assert_eq!(read.partitions[0].active().aborted.count(), 1);
        // The number stands in front of two lists.
        let mut old = encode(&state);
        let behind = 4 + state.epochs.encode().len() + 4 + state.producers.encode_window().len();
        let at = old.len() - behind - 4;
        old.drain(at..at + 4);
        let mut file = encode_file(1, 2, 4096, &[&old]);
        file[8] = 1;
        let read = decode_file(&file, 100).unwrap();
        assert!(!read.counts_aborted);
        let back = &read.partitions[0];
        assert_eq!((back.end_offset, back.active().aborted.count()), (50, 0));
        assert_eq!(back.producers, state.producers);
    }

    #[test]
    fn damage_and_newer_versions_are_told_apart() {
        let mut file = encode_file(1, 2, 4096, &[&encode(&state())]);
        let end = file.len() - 1;
        file[end] ^= 1;
        assert!(matches!(
            decode_file(&file, 100),
            Err(CheckpointFault::Damaged(_))
        ));
        assert!(matches!(
            decode_file(&file[..9], 100),
            Err(CheckpointFault::Damaged(_))
        ));
        file[8] = 9;
        assert!(matches!(decode_file(&file, 100), Err(CheckpointFault::Newer(9))));
    }
}
