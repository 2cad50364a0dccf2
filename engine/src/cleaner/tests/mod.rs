//! Passes over small logs in a folder, each put in place as a core would.

mod hostile;
mod model;
mod producers;
mod rules;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use ringlog_records::header::{ATTRIBUTES_AT, CRC_AT};
use ringlog_records::{Batch, BatchBuilder, Batches, Codec, NewRecord, Producer};
use tempfile::TempDir;

use super::*;
use crate::aborted::{ABORTED_ENTRY_BYTES, AbortedTxn, read_entries};
use crate::background::segment_file;
use crate::batch::{BatchHeader, EndTxn, HEADER_BYTES, MarkerKind, marker_batch, stamp};
use crate::index::{validate_offset_file, validate_time_file};

/// ms since 1970, in which tests begin.
const NOW_MS: i64 = 1_700_000_000_000;
const DELETE_RETENTION_MS: i64 = 1000;

/// A record as a reader sees it: offset, key, value, time.
type Seen = (i64, Option<String>, Option<String>, i64);

/// A log in the making, and in cleaning.
struct World {
    dir: TempDir,
    /// Base offset and bytes, of the active segment too.
    segments: BTreeMap<i64, Vec<u8>>,
    aborted: BTreeMap<i64, Vec<AbortedTxn>>,
    /// First offsets of open transactions, by producer.
    open: BTreeMap<i64, i64>,
    next_offset: i64,
    first_dirty_offset: i64,
    log_start_offset: i64,
    last_batches: HashMap<i64, LastBatch>,
    limits: CleanLimits,
    settings: CleanerSettings,
    now_ms: i64,
}

/// Who writes a batch, and how.
#[derive(Clone, Copy)]
struct How {
    producer: Producer,
    is_transactional: bool,
    codec: Codec,
    is_log_append_time: bool,
}

const PLAIN: How = How {
    producer: Producer::NONE,
    is_transactional: false,
    codec: Codec::None,
    is_log_append_time: false,
};

fn idempotent(id: i64, base_sequence: i32) -> How {
    let producer = Producer {
        id,
        epoch: 3,
        base_sequence,
    };
    How { producer, ..PLAIN }
}

fn transactional(id: i64, base_sequence: i32) -> How {
    How {
        is_transactional: true,
        ..idempotent(id, base_sequence)
    }
}

fn record(key: &str, value: Option<&str>, timestamp_ms: i64) -> NewRecord {
    NewRecord {
        timestamp_ms,
        key: Some(key.into()),
        value: value.map(Into::into),
        headers: vec![("header".into(), Some(b"of it".to_vec())), ("null".into(), None)],
    }
}

/// A batch at offset 0.
fn batch(how: How, records: &[NewRecord]) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    records.iter().for_each(|record| builder.push(record));
    let mut bytes = builder.finish(how.codec, how.producer).unwrap();
    change(&mut bytes, |header| {
        header.attributes |= i16::from(how.is_transactional) << 4 | i16::from(how.is_log_append_time) << 3;
    });
    bytes
}

/// Changes a batch's header, and makes its checksum right.
fn change(bytes: &mut [u8], what: impl FnOnce(&mut BatchHeader)) {
    let mut header = BatchHeader::read(bytes).unwrap();
    what(&mut header);
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    let crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

fn pairs(keys: &[(i64, &str)]) -> Vec<(i64, String)> {
    keys.iter()
        .map(|(offset, key)| (*offset, key.to_string()))
        .collect()
}

impl World {
    fn new() -> World {
        World {
            dir: tempfile::tempdir().unwrap(),
            segments: BTreeMap::from([(0, Vec::new())]),
            aborted: BTreeMap::new(),
            open: BTreeMap::new(),
            next_offset: 0,
            first_dirty_offset: 0,
            log_start_offset: 0,
            last_batches: HashMap::new(),
            limits: CleanLimits {
                segment_bytes: 1 << 20,
                index_max_bytes: 1 << 20,
                index_interval_bytes: 100,
                max_message_bytes: 1 << 20,
                delete_retention_ms: DELETE_RETENTION_MS,
            },
            settings: CleanerSettings {
                dedupe_buffer_bytes: 1 << 20,
                io_buffer_bytes: 1024,
                ..CleanerSettings::default()
            },
            now_ms: NOW_MS,
        }
    }

    /// A segment for each list of keys, each key with its own batch and its offset as its value; then an active one.
    fn of_keys(segments: &[&[&str]]) -> World {
        let mut world = World::new();
        for keys in segments {
            for key in *keys {
                let value = world.next_offset.to_string();
                world.put(key, Some(&value));
            }
            world.roll();
        }
        world
    }

    fn put(&mut self, key: &str, value: Option<&str>) -> i64 {
        self.append(PLAIN, &[record(key, value, NOW_MS)])
    }

    /// Appends a batch; gives its base offset.
    fn append(&mut self, how: How, records: &[NewRecord]) -> i64 {
        let at = self.append_bytes(batch(how, records));
        if how.is_transactional {
            self.open.entry(how.producer.id).or_insert(at);
        }
        at
    }

    fn append_bytes(&mut self, mut bytes: Vec<u8>) -> i64 {
        let header = BatchHeader::read(&bytes).unwrap();
        let at = self.next_offset;
        stamp(&mut bytes, at, 5);
        self.segments.last_entry().unwrap().get_mut().extend(bytes);
        self.next_offset += i64::from(header.last_offset_delta) + 1;
        at
    }

    /// Ends a producer's transaction; gives the marker's offset.
    fn end(&mut self, producer_id: i64, kind: MarkerKind) -> i64 {
        let end = EndTxn {
            kind,
            coordinator_epoch: 9,
        };
        let at = self.append_bytes(marker_batch(producer_id, 3, end, NOW_MS));
        let first_offset = self.open.remove(&producer_id);
        if let (Some(first_offset), MarkerKind::Abort) = (first_offset, kind) {
            let entry = AbortedTxn {
                producer_id,
                first_offset,
                last_offset: at,
                last_stable_offset: self.open.values().copied().min().unwrap_or(at + 1),
            };
            let base = *self.segments.last_key_value().unwrap().0;
            self.aborted.entry(base).or_default().push(entry);
        }
        at
    }

    fn roll(&mut self) {
        self.segments.insert(self.next_offset, Vec::new());
    }

    fn path(&self, base: i64, suffix: &str) -> PathBuf {
        segment_file(self.dir.path(), base, suffix)
    }

    /// Writes the sealed segments, and orders them cleaned up to the active one.
    fn order(&self) -> CleanOrder {
        let active = *self.segments.last_key_value().unwrap().0;
        for (base, bytes) in &self.segments {
            std::fs::write(self.path(*base, ".log"), bytes).unwrap();
            let entries: Vec<u8> = self.entries(*base).iter().flat_map(AbortedTxn::encode).collect();
            std::fs::write(self.path(*base, ".txnindex"), entries).unwrap();
        }
        let sealed = self.segments.range(..active);
        CleanOrder {
            folder: self.dir.path().to_path_buf(),
            segments: sealed
                .map(|(base, bytes)| CleanSegment {
                    base_offset: *base,
                    size_bytes: bytes.len() as u64,
                    aborted: self.entries(*base).len() as u32,
                })
                .collect(),
            log_start_offset: self.log_start_offset,
            first_dirty_offset: self.first_dirty_offset,
            first_uncleanable_offset: active,
            limits: self.limits,
            now_ms: self.now_ms,
            last_batches: self.last_batches.clone(),
            later_aborted: self.entries(active).to_vec(),
            cancelled: Arc::new(AtomicBool::new(false)),
        }
    }

    fn entries(&self, base: i64) -> &[AbortedTxn] {
        self.aborted.get(&base).map_or(&[], Vec::as_slice)
    }

    fn try_clean(&self) -> Result<CleanDone, CleanError> {
        self.run(self.order())
    }

    fn run(&self, order: CleanOrder) -> Result<CleanDone, CleanError> {
        let (cleaners, backlog) = Cleaners::by_hand(self.settings);
        let inbox = CleanInbox::default();
        cleaners.submit(77, order, &inbox, None);
        assert!(backlog.run_one() && !backlog.run_one());
        let report = inbox.pop().unwrap();
        assert_eq!(report.token, 77);
        report.result
    }

    /// A pass, whose segments take the place of those they replace.
    fn clean(&mut self) -> CleanDone {
        let done = self.try_clean().unwrap();
        for group in &done.groups {
            let base = group.replaces[0];
            let log = std::fs::read(self.path(base, ".log.cleaned")).unwrap();
            assert_eq!(log.len() as u64, group.size_bytes);
            let index = std::fs::read(self.path(base, ".index.cleaned")).unwrap();
            validate_offset_file(&index, group.size_bytes).unwrap();
            let times = std::fs::read(self.path(base, ".timeindex.cleaned")).unwrap();
            let times = validate_time_file(&times, i32::MAX as u32).unwrap();
            assert_eq!(
                times.last.map(|entry| entry.timestamp_ms),
                group.largest_timestamp_ms
            );
            let entries = std::fs::read(self.path(base, ".txnindex.cleaned")).unwrap_or_default();
            assert_eq!(entries.len(), group.aborted as usize * ABORTED_ENTRY_BYTES);
            let entries = read_entries(&entries, group.aborted, base, group.size_bytes).unwrap();
            for replaced in &group.replaces {
                self.segments.remove(replaced).unwrap();
                self.aborted.remove(replaced);
            }
            self.segments.insert(base, log);
            self.aborted.insert(base, entries);
            output::remove(self.dir.path(), [base]).unwrap();
        }
        assert_eq!(self.unfinished(), 0);
        self.first_dirty_offset = done.cleaned_to;
        done
    }

    /// How many files of unfinished segments there are.
    fn unfinished(&self) -> usize {
        let names = std::fs::read_dir(self.dir.path()).unwrap();
        names
            .filter(|e| {
                e.as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .ends_with(CLEANED)
            })
            .count()
    }

    fn batches(&self) -> Vec<Batch> {
        let bytes: Vec<u8> = self.segments.values().flatten().copied().collect();
        let batches: Vec<Batch> = Batches::new(Bytes::from(bytes)).map(Result::unwrap).collect();
        batches.iter().for_each(|batch| batch.check_crc().unwrap());
        batches
    }

    /// All records of data.
    fn seen(&self) -> Vec<Seen> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let data = self
            .batches()
            .into_iter()
            .filter(|batch| !batch.header.is_control());
        data.flat_map(|batch| batch.records(1 << 20).unwrap().map(Result::unwrap))
            .map(|r| (r.offset, r.key.map(text), r.value.map(text), r.timestamp_ms))
            .collect()
    }

    /// Offset and key of all records of data.
    fn keys(&self) -> Vec<(i64, String)> {
        let seen = self.seen().into_iter();
        seen.map(|(offset, key, ..)| (offset, key.unwrap_or_default()))
            .collect()
    }

    /// The header of the batch that ends at an offset, if it is there.
    fn header_to(&self, last_offset: i64) -> Option<BatchHeader> {
        let found = self
            .batches()
            .into_iter()
            .find(|batch| batch.header.last_offset() == last_offset);
        found.map(|batch| batch.header)
    }
}
