//! A pass: the map of keys from the dirty part of the log, then every segment up to its end, group by group.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::filter::{Fate, Rules};
use super::group::{Sized, group};
use super::keys::KeyMap;
use super::mapping::Mapping;
use super::order::{CleanDone, CleanError, CleanOrder, CleanSegment, CleanStats, Cleaned};
use super::output::{self, Output};
use super::pace::Pace;
use super::source::{Care, Source};
use super::threads::CleanerSettings;
use super::transactions::Transactions;
use crate::aborted::AbortedTxn;
use crate::background::segment_file;
use crate::batch::BatchHeader;
use crate::error::Error;
use crate::io::files;
use crate::scan;

/// How many times `max.message.bytes` a batch may unpack to, where that is more than the broker's own limit.
const UNPACKED_MESSAGES: u64 = 4;

/// Does passes, one after the other, in memory that the settings bound.
pub struct Cleaner {
    map_bytes: u64,
    load_factor: f64,
    piece_bytes: usize,
    max_unpacked_bytes: u64,
    pace: Arc<Pace>,
}

impl Cleaner {
    /// One of `settings.threads`, with its share of the memory.
    pub fn new(settings: &CleanerSettings, pace: Arc<Pace>) -> Cleaner {
        let threads = settings.threads.max(1);
        Cleaner {
            map_bytes: settings.dedupe_buffer_bytes / threads as u64,
            load_factor: settings.load_factor,
            // One to read and one to write.
            piece_bytes: settings.io_buffer_bytes / threads / 2,
            max_unpacked_bytes: settings.max_unpacked_bytes,
            pace,
        }
    }

    /// Does one pass. When it fails it leaves no file.
    ///
    /// # Errors
    /// [`CleanError::Cancelled`] when the order says so. [`Error::Corrupt`] names file and position of what cannot be read: a batch that is cut short or has
    /// a wrong checksum, records that contradict themselves, one that unpacks to too much. [`Error::Io`] is the system's.
    pub fn run(&self, order: &CleanOrder) -> Result<CleanDone, CleanError> {
        let began = Instant::now();
        let mut pass = Pass {
            cleaner: self,
            order,
            care: Care {
                pace: &self.pace,
                cancelled: &order.cancelled,
            },
            max_unpacked_bytes: self
                .max_unpacked_bytes
                .max(u64::from(order.limits.max_message_bytes) * UNPACKED_MESSAGES),
            aborted: Vec::new(),
            stats: CleanStats::default(),
            delete_horizon: None,
            groups: Vec::new(),
        };
        match pass.run() {
            Ok(cleaned_to) => Ok(CleanDone {
                groups: pass.groups,
                cleaned_to,
                stats: CleanStats {
                    elapsed_ms: began.elapsed().as_millis() as u64,
                    ..pass.stats
                },
                delete_horizon: pass.delete_horizon,
            }),
            Err(error) => {
                // What cannot be removed now is found at the next start.
                let bases = order.segments.iter().map(|segment| segment.base_offset);
                let _ = output::remove(&order.folder, bases);
                Err(error)
            }
        }
    }
}

struct Pass<'a> {
    cleaner: &'a Cleaner,
    order: &'a CleanOrder,
    care: Care<'a>,
    max_unpacked_bytes: u64,
    /// All transactions that were aborted in the order's range.
    aborted: Vec<AbortedTxn>,
    stats: CleanStats,
    delete_horizon: Option<i64>,
    groups: Vec<Cleaned>,
}

impl<'a> Pass<'a> {
    /// Gives the end of what the map held.
    fn run(&mut self) -> Result<i64, CleanError> {
        self.care.pay(0)?;
        let order = self.order;
        let Some(first) = order.segments.first() else {
            return Ok(order.first_dirty_offset);
        };
        let from = order
            .first_dirty_offset
            .max(order.log_start_offset)
            .max(first.base_offset);
        self.load_aborted()?;
        let mapping = self.map(from)?;
        self.stats.keys = mapping.keys.keys() as u64;
        let cleaned_to = mapping.end.saturating_add(1);
        let count = order.segments.partition_point(|s| s.base_offset < cleaned_to);
        let sized = sized(&order.folder, &order.segments[..count])?;
        let mut transactions = Transactions::new(self.aborted.clone());
        let groups = group(&sized, &order.limits, self.base_behind(count.saturating_sub(1)));
        for range in groups {
            self.clean(range, &mapping, &mut transactions)?;
        }
        if !self.groups.is_empty() {
            files::sync_dir(&order.folder)?;
        }
        Ok(cleaned_to)
    }

    fn load_aborted(&mut self) -> Result<(), CleanError> {
        let order = self.order;
        for (i, segment) in order.segments.iter().enumerate() {
            if segment.aborted > 0 {
                self.aborted.extend(scan::aborted::load(
                    &order.folder,
                    segment.base_offset,
                    segment.size_bytes,
                    segment.aborted,
                    i == 0,
                )?);
            }
        }
        self.aborted.extend_from_slice(&order.later_aborted);
        Ok(())
    }

    fn map(&mut self, from: i64) -> Result<Mapping, CleanError> {
        let order = self.order;
        let range = order.first_uncleanable_offset.saturating_sub(from);
        let keys = KeyMap::new(
            self.cleaner.map_bytes,
            self.cleaner.load_factor,
            u64::try_from(range).unwrap_or(0),
        );
        let mut mapping = Mapping::new(keys, from);
        let aborted = self.aborted.iter().filter(|txn| txn.last_offset >= from);
        let mut transactions = Transactions::new(aborted.copied().collect());
        for (i, segment) in order.segments.iter().enumerate() {
            let next_base = self.base_behind(i);
            if next_base <= from {
                continue;
            }
            let mut source = self.open(segment)?;
            let (limit, stats) = (self.max_unpacked_bytes, &mut self.stats);
            if !mapping.take(&mut source, next_base, &mut transactions, limit, stats)? {
                break;
            }
        }
        Ok(mapping)
    }

    /// Base offset of the segment behind the one with this number.
    fn base_behind(&self, number: usize) -> i64 {
        match self.order.segments.get(number + 1) {
            Some(next) => next.base_offset,
            None => self.order.first_uncleanable_offset,
        }
    }

    /// Makes one segment of a group.
    fn clean(
        &mut self,
        range: Range<usize>,
        mapping: &Mapping,
        transactions: &mut Transactions,
    ) -> Result<(), CleanError> {
        let order = self.order;
        let segments = &order.segments[range];
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return Ok(());
        };
        let rules = Rules {
            keys: &mapping.keys,
            map_end: mapping.end,
            log_start_offset: order.log_start_offset,
            first_uncleanable_offset: order.first_uncleanable_offset,
            now_ms: order.now_ms,
            delete_retention_ms: order.limits.delete_retention_ms,
            last_batches: &order.last_batches,
            max_unpacked_bytes: self.max_unpacked_bytes,
        };
        let piece_bytes = self.cleaner.piece_bytes;
        let mut output = Output::new(
            &order.folder,
            first.base_offset,
            &order.limits,
            piece_bytes,
            self.care,
        );
        if segments.len() > 1 {
            output.begin()?;
        }
        for segment in segments {
            let mut source = self.open(segment)?;
            self.clean_segment(&mut source, &rules, transactions, &mut output)?;
        }
        // Entries may go while all batches stay.
        if output.is_untouched() && output.aborted_count() == first.aborted as usize {
            return Ok(());
        }
        let modified = self.open(last)?.reading().modified()?;
        let replaces = segments.iter().map(|segment| segment.base_offset).collect();
        let cleaned = output.finish(replaces, modified)?;
        self.stats.bytes_written += cleaned.size_bytes;
        self.groups.push(cleaned);
        Ok(())
    }

    fn clean_segment(
        &mut self,
        source: &mut Source<'_>,
        rules: &Rules<'_>,
        transactions: &mut Transactions,
        output: &mut Output<'_>,
    ) -> Result<(), CleanError> {
        let path = source.path().to_path_buf();
        while let Some(batch) = source.next()? {
            self.stats.bytes_read += batch.bytes.len() as u64;
            let decision = rules
                .decide(&batch.header, batch.bytes, transactions, &mut self.stats)
                .map_err(|fault| super::source::corrupt(&path, batch.position, &fault))?;
            self.delete_horizon = [self.delete_horizon, decision.delete_horizon_ms]
                .into_iter()
                .flatten()
                .min();
            if let Some(entry) = decision.aborted {
                output.note_aborted(entry);
            }
            match decision.fate {
                Fate::Same => output.append(&batch.header, batch.bytes)?,
                Fate::Gone => output.begin()?,
                Fate::Changed(bytes) => {
                    output.begin()?;
                    if let Some(header) = BatchHeader::read(&bytes) {
                        output.append(&header, &bytes)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn open(&self, segment: &CleanSegment) -> Result<Source<'a>, Error> {
        let piece_bytes = self.cleaner.piece_bytes;
        Source::open(
            &self.order.folder,
            segment.base_offset,
            segment.size_bytes,
            piece_bytes,
            self.care,
        )
    }
}

/// These segments with the bytes of their index files; one that is missing will be built again, and counts nothing.
fn sized(folder: &Path, segments: &[CleanSegment]) -> Result<Vec<Sized>, Error> {
    let bytes = |base_offset: i64, suffix: &str| {
        let path = segment_file(folder, base_offset, suffix);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::io("look at", &path)(error)),
        }
    };
    let sized = segments.iter().map(|segment| {
        Ok(Sized {
            segment: *segment,
            index_bytes: bytes(segment.base_offset, ".index")?,
            time_index_bytes: bytes(segment.base_offset, ".timeindex")?,
        })
    });
    sized.collect()
}
