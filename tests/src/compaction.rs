//! Logs for cleaners to clean: the same from the same number, so that what Apache Kafka left of them can be kept in a file.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use ringlog_engine::aborted::AbortedTxn;
use ringlog_engine::batch::{EndTxn, MarkerKind, marker_batch, stamp};
use ringlog_engine::cleaner::LastBatch;
use ringlog_records::header::{ATTRIBUTES_AT, BatchHeader, CRC_AT, HEADER_BYTES};
use ringlog_records::{BatchBuilder, Codec, NewRecord, Producer};

/// How many cases there are.
pub const CASES: u64 = 40;

/// ms since 1970, when the first record was written: in 2096, for Kafka forgets producers that have not been heard of for long, by the clock on the wall.
const BEGAN_MS: i64 = 4_000_000_000_000;

/// What all producers' epochs are.
const EPOCH: i16 = 3;

/// A log, and how it is to be cleaned.
#[derive(Debug, Default)]
pub struct Case {
    /// Segments by base offset; the last one is active.
    pub segments: BTreeMap<i64, Vec<u8>>,
    /// Aborted transactions by the base offset of the segment with their markers.
    pub aborted: BTreeMap<i64, Vec<AbortedTxn>>,
    /// What the whole log says last of each producer.
    pub last_batches: HashMap<i64, LastBatch>,
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// Places in the map of keys, half of which may be used.
    pub places: u64,
    /// For each pass when it is, in ms since 1970, and a segment's base offset: how far it may go.
    pub passes: Vec<(i64, i64)>,
}

impl Case {
    /// The case of this number.
    pub fn new(number: u64) -> Case {
        let mut writer = Writer {
            dice: Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            case: Case::default(),
            next_offset: 0,
            open: BTreeMap::new(),
            sequences: HashMap::new(),
        };
        writer.write_all();
        writer.case
    }

    /// Writes the case's segments to `<number>-0` in a folder, and what is to be done to `<number>.passes`.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, folder: &Path, number: u64) -> std::io::Result<()> {
        let partition = folder.join(format!("{number}-0"));
        std::fs::create_dir_all(&partition)?;
        for (base, bytes) in &self.segments {
            std::fs::write(partition.join(format!("{base:020}.log")), bytes)?;
        }
        let mut text = format!(
            "{} {} {}\n",
            self.segment_bytes, self.delete_retention_ms, self.places
        );
        for (now_ms, to) in &self.passes {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{now_ms} {to}");
        }
        std::fs::write(folder.join(format!("{number}.passes")), text)
    }
}

struct Writer {
    dice: Dice,
    case: Case,
    next_offset: i64,
    /// First offsets of open transactions, by producer.
    open: BTreeMap<i64, i64>,
    sequences: HashMap<i64, i32>,
}

impl Writer {
    fn write_all(&mut self) {
        self.case.segments.insert(0, Vec::new());
        let segments = 3 + self.dice.below(6);
        let keys = 1 + self.dice.below(12);
        for _ in 0..segments {
            for _ in 0..1 + self.dice.below(6) {
                match self.dice.below(6) {
                    0 => self.end_one(),
                    _ => self.write_batch(keys),
                }
            }
            self.case.segments.insert(self.next_offset, Vec::new());
        }
        while !self.open.is_empty() {
            self.end_one();
        }
        self.write_batch(keys);
        self.settle();
    }

    /// Chooses how it is cleaned.
    fn settle(&mut self) {
        // All in one segment, or each alone. In between the bytes of a codec, which are not Kafka's, would decide.
        self.case.segment_bytes = [1 << 30, 1][self.dice.below(2) as usize];
        self.case.delete_retention_ms = [0, 1000, 1_000_000][self.dice.below(3) as usize];
        self.case.places = [4, 8, 2000][self.dice.below(3) as usize];
        let bases: Vec<i64> = self.case.segments.keys().copied().collect();
        let mut now_ms = BEGAN_MS + 1_000_000;
        let mut to = 0;
        for _ in 0..5 {
            to = (to + 1 + self.dice.below(3) as usize).min(bases.len() - 1);
            self.case.passes.push((now_ms, bases[to]));
            now_ms += [500, 1000, 2000][self.dice.below(3) as usize];
        }
    }

    fn write_batch(&mut self, keys: u64) {
        // 0 is nobody in particular, 1 and 2 are idempotent, others transactional.
        let producer_id = self.dice.below(6) as i64;
        let codec = Codec::ALL[self.dice.below(5) as usize];
        let count = 1 + self.dice.below(5) as i32;
        let producer = match producer_id {
            0 => Producer::NONE,
            id => {
                let sequence = self.sequences.entry(id).or_default();
                let base_sequence = *sequence;
                *sequence += count;
                Producer {
                    id,
                    epoch: EPOCH,
                    base_sequence,
                }
            }
        };
        let mut builder = BatchBuilder::default();
        for i in 0..count {
            let record = self.record(keys, self.next_offset + i64::from(i));
            builder.push(&record);
        }
        let Ok(mut bytes) = builder.finish(codec, producer) else {
            unreachable!("small records can be packed")
        };
        let is_append_time = self.dice.below(6) == 0;
        let first_offset = self.next_offset;
        change(&mut bytes, |header| {
            if producer_id > 2 {
                header.attributes |= 1 << 4;
            }
            if is_append_time {
                header.attributes |= 1 << 3;
                header.max_timestamp_ms = BEGAN_MS + first_offset;
            }
        });
        if producer_id > 2 {
            self.open.entry(producer_id).or_insert(first_offset);
        }
        self.append(bytes, i64::from(count));
        if producer_id > 0 {
            let last = LastBatch::Data(self.next_offset - 1);
            self.case.last_batches.insert(producer_id, last);
        }
    }

    fn record(&mut self, keys: u64, offset: i64) -> NewRecord {
        let key = match self.dice.below(20) {
            0 => None,
            1 => Some(String::new()),
            _ => Some(format!("key-{}", self.dice.below(keys))),
        };
        let value = match self.dice.below(4) {
            0 => None,
            _ => Some(format!(
                "value-{offset}-{}",
                "x".repeat(self.dice.below(30) as usize)
            )),
        };
        let headers = match self.dice.below(3) {
            0 => vec![("header".into(), Some(b"value".to_vec())), ("none".into(), None)],
            _ => Vec::new(),
        };
        NewRecord {
            timestamp_ms: BEGAN_MS + offset + self.dice.below(10) as i64,
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers,
        }
    }

    /// Ends a transaction: an open one, or one of which nothing was written.
    fn end_one(&mut self) {
        let open: Vec<i64> = self.open.keys().copied().collect();
        let producer_id = match open.get(self.dice.below(open.len() as u64 + 1) as usize) {
            Some(id) => *id,
            None if open.is_empty() => 6 + self.dice.below(2) as i64,
            None => open[0],
        };
        let kind = match self.dice.below(2) {
            0 => MarkerKind::Commit,
            _ => MarkerKind::Abort,
        };
        let end = EndTxn {
            kind,
            coordinator_epoch: 0,
        };
        let at = self.next_offset;
        self.append(marker_batch(producer_id, EPOCH, end, BEGAN_MS + at), 1);
        let first_offset = self.open.remove(&producer_id);
        if let (Some(first_offset), MarkerKind::Abort) = (first_offset, kind) {
            let entry = AbortedTxn {
                producer_id,
                first_offset,
                last_offset: at,
                last_stable_offset: self.open.values().copied().min().unwrap_or(at + 1),
            };
            let base = self.case.segments.keys().next_back().copied().unwrap_or(0);
            self.case.aborted.entry(base).or_default().push(entry);
        }
        self.case
            .last_batches
            .entry(producer_id)
            .or_insert(LastBatch::Marker(EPOCH));
    }

    fn append(&mut self, mut bytes: Vec<u8>, count: i64) {
        stamp(&mut bytes, self.next_offset, 0);
        if let Some(mut active) = self.case.segments.last_entry() {
            active.get_mut().extend(bytes);
        }
        self.next_offset += count;
    }
}

/// Changes a batch's header, and makes its checksum right.
fn change(bytes: &mut [u8], what: impl FnOnce(&mut BatchHeader)) {
    let Some(mut header) = BatchHeader::read(bytes) else {
        return;
    };
    what(&mut header);
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    let crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

/// Numbers that look random, the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end.max(1)
    }
}
