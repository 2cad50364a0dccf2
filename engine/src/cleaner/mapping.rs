//! Filling the map of keys from the dirty part of a log.

use super::filter::{each_record, unpacked};
use super::keys::KeyMap;
use super::order::{CleanError, CleanStats};
use super::source::Source;
use super::transactions::Transactions;
use crate::batch::EndTxn;

/// What the map knows.
#[derive(Debug)]
pub struct Mapping {
    /// Last offsets of keys.
    pub keys: KeyMap,
    /// First offset that counts.
    pub from: i64,
    /// Last offset that was taken in; below `from` before there is one.
    pub end: i64,
}

impl Mapping {
    /// An empty one.
    pub fn new(keys: KeyMap, from: i64) -> Mapping {
        Mapping {
            keys,
            from,
            end: from.saturating_sub(1),
        }
    }

    /// Takes in a segment; `next_base` is that of the one behind it. False when the map got full on the way: what came before is in it.
    ///
    /// # Errors
    /// Those of [`Source::next`], and records that cannot be read.
    pub fn take(
        &mut self,
        source: &mut Source<'_>,
        next_base: i64,
        transactions: &mut Transactions,
        max_unpacked_bytes: u64,
        stats: &mut CleanStats,
    ) -> Result<bool, CleanError> {
        let path = source.path().to_path_buf();
        while let Some(batch) = source.next()? {
            let header = &batch.header;
            stats.map_bytes_read += batch.bytes.len() as u64;
            if header.last_offset() < self.from {
                continue;
            }
            stats.map_records_read += u64::from(header.record_count.unsigned_abs());
            if header.is_control() {
                let kind = EndTxn::read(header, batch.bytes).map(|end| end.kind);
                transactions.on_control(header, kind);
            } else if !transactions.on_data(header) {
                let mut is_full = false;
                let plain = unpacked(header, batch.bytes, max_unpacked_bytes);
                let walked = plain.and_then(|plain| {
                    each_record(header, &plain, |record| {
                        let offset = record.offset(header);
                        let Some(key) = record.key.filter(|_| offset >= self.from && !is_full) else {
                            return;
                        };
                        match self.keys.put(key, offset) {
                            true => self.end = offset,
                            false => is_full = true,
                        }
                    })
                });
                walked.map_err(|fault| super::source::corrupt(&path, batch.position, &fault))?;
                if is_full {
                    return Ok(false);
                }
            }
            self.end = header.last_offset();
        }
        // Offsets that no batch has count as known.
        self.end = self.end.max(next_base - 1);
        Ok(true)
    }
}
