//! What stays of a batch: Kafka's rules (`Cleaner.cleanInto`, `MemoryRecords.filterTo`, KIP-534 for delete horizons), without a file.
//!
//! A record stays when it is the last of its key, or lies behind what the map of keys holds. A tombstone and a marker without data stay until the delete
//! horizon of their batch, which the first pass that meets them writes into it. What a transaction that was aborted has written goes. A batch without
//! records goes, except where it tells the last sequence number or epoch of a producer, or is the last one of the pass: then its header stays, so that
//! the offset behind it is still known. Batches keep their first and last offset and their sequence numbers whatever becomes of their records.

use std::borrow::Cow;
use std::collections::HashMap;

use ringlog_records::{Codec, RawRecord, RawRecords, RecordError, unpack_slice};

use super::keys::KeyMap;
use super::order::{CleanStats, LastBatch};
use super::rewrite::{emptied, rewritten};
use super::transactions::Transactions;
use crate::aborted::AbortedTxn;
use crate::batch::{BatchHeader, EndTxn, HEADER_BYTES};

/// What a pass knows when it comes to a batch.
#[derive(Debug)]
pub struct Rules<'a> {
    /// Last offsets of the keys in the dirty part of the log.
    pub keys: &'a KeyMap,
    /// Last offset that the map knows of.
    pub map_end: i64,
    /// Oldest offset served.
    pub log_start_offset: i64,
    /// Where cleaning ends.
    pub first_uncleanable_offset: i64,
    /// ms since 1970.
    pub now_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// What producers' last batches are.
    pub last_batches: &'a HashMap<i64, LastBatch>,
    /// Most bytes of a batch without compression.
    pub max_unpacked_bytes: u64,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes.
    Gone,
    /// It stays, byte for byte.
    Same,
    /// These bytes take its place.
    Changed(Vec<u8>),
}

/// What was decided about a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of it.
    pub fate: Fate,
    /// The entry of the aborted transaction that it ends, where readers still need that.
    pub aborted: Option<AbortedTxn>,
    /// When a later pass can remove tombstones or a marker of it.
    pub delete_horizon_ms: Option<i64>,
}

/// Unpacks the records of a checked batch, to a limit.
pub fn unpacked<'a>(
    header: &BatchHeader,
    bytes: &'a [u8],
    max_unpacked_bytes: u64,
) -> Result<Cow<'a, [u8]>, RecordError> {
    let bits = (header.attributes & 0b111) as u8;
    let codec = Codec::from_bits(bits).ok_or(RecordError::UnknownCodec(bits))?;
    unpack_slice(
        codec,
        bytes.get(HEADER_BYTES..).unwrap_or_default(),
        max_unpacked_bytes,
    )
}

/// Walks the records of a batch, whose offsets must go up, and stay inside it.
pub fn each_record<'a>(
    header: &BatchHeader,
    plain: &'a [u8],
    mut visit: impl FnMut(RawRecord<'a>),
) -> Result<(), RecordError> {
    let mut least = 0;
    for (index, record) in RawRecords::new(header, plain)?.enumerate() {
        let record = record?;
        if !(least..=i64::from(header.last_offset_delta)).contains(&i64::from(record.offset_delta)) {
            return Err(RecordError::Malformed {
                index,
                what: "its offset is not behind the one before, or not inside the batch",
            });
        }
        least = i64::from(record.offset_delta) + 1;
        visit(record);
    }
    Ok(())
}

impl Rules<'_> {
    /// Decides about the next batch of a walk; `bytes` are all of it, checked.
    ///
    /// # Errors
    /// Records that cannot be read, or unpack to more than the limit.
    pub fn decide(
        &self,
        header: &BatchHeader,
        bytes: &[u8],
        transactions: &mut Transactions,
        stats: &mut CleanStats,
    ) -> Result<Decision, RecordError> {
        let (is_aborted, marker) = match header.is_control() {
            true => {
                let kind = EndTxn::read(header, bytes).map(|end| end.kind);
                (false, Some(transactions.on_control(header, kind)))
            }
            false => (transactions.on_data(header), None),
        };
        let horizon_ms = header.delete_horizon_ms();
        let is_lone_marker = marker.is_some_and(|marker| marker.is_alone);
        let records_go = is_aborted || is_lone_marker && horizon_ms.is_some_and(|at| at <= self.now_ms);
        let decision = |fate, delete_horizon_ms| Decision {
            fate,
            aborted: marker.and_then(|marker| marker.entry),
            delete_horizon_ms,
        };
        stats.records_read += u64::from(header.record_count.unsigned_abs());
        if records_go {
            return Ok(decision(self.without_records(header, bytes), None));
        }
        let plain = unpacked(header, bytes, self.max_unpacked_bytes)?;
        let kept = self.choose(header, &plain, stats)?;
        if kept.count == 0 {
            return Ok(decision(self.without_records(header, bytes), None));
        }
        stats.records_kept += kept.count as u64;
        let has_deletes = kept.has_tombstone || header.is_control();
        let is_new = (kept.has_tombstone || is_lone_marker) && horizon_ms.is_none();
        let new_ms = is_new.then(|| self.now_ms.saturating_add(self.delete_retention_ms));
        let horizon_ms = horizon_ms.or(new_ms);
        let fate = match kept.is_all() && !is_new {
            true => Fate::Same,
            false => Fate::Changed(rewritten(header, &plain, &kept.which, horizon_ms)?),
        };
        Ok(decision(fate, horizon_ms.filter(|_| has_deletes)))
    }

    /// What becomes of a batch that loses all its records.
    fn without_records(&self, header: &BatchHeader, bytes: &[u8]) -> Fate {
        let is_last = header.last_offset().checked_add(1) == Some(self.first_uncleanable_offset);
        if !is_last && !self.is_last_of_producer(header) {
            return Fate::Gone;
        }
        let header = emptied(header);
        match header == bytes {
            true => Fate::Same,
            false => Fate::Changed(header.to_vec()),
        }
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let last = match header.has_producer_id() {
            true => self.last_batches.get(&header.producer_id),
            false => None,
        };
        match last {
            None => false,
            Some(LastBatch::Data(offset)) => header.last_offset() == *offset,
            Some(LastBatch::Marker(epoch)) => header.is_control() && header.producer_epoch == *epoch,
        }
    }

    fn choose(
        &self,
        header: &BatchHeader,
        plain: &[u8],
        stats: &mut CleanStats,
    ) -> Result<Kept, RecordError> {
        let mut kept = Kept::default();
        each_record(header, plain, |record| {
            let stays = header.is_control() || self.stays(header, &record, stats);
            kept.which.push(stays);
            kept.count += usize::from(stays);
            kept.has_tombstone |= stays && record.value.is_none();
        })?;
        Ok(kept)
    }

    fn stays(&self, header: &BatchHeader, record: &RawRecord<'_>, stats: &mut CleanStats) -> bool {
        let offset = record.offset(header);
        if offset < self.log_start_offset {
            return false;
        }
        if offset > self.map_end {
            return true;
        }
        let Some(key) = record.key else {
            stats.records_without_key += 1;
            return false;
        };
        let is_last = self.keys.last_offset(key).is_none_or(|last| offset >= last);
        let deletes_stay = header.delete_horizon_ms().is_none_or(|at| self.now_ms < at);
        is_last && (record.value.is_some() || deletes_stay)
    }
}

/// Which records of a batch stay.
#[derive(Debug, Default)]
struct Kept {
    which: Vec<bool>,
    count: usize,
    has_tombstone: bool,
}

impl Kept {
    fn is_all(&self) -> bool {
        self.count == self.which.len()
    }
}
