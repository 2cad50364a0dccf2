//! One partition's folder without a journal: after a clean stop it is believed, after somebody else's crash it is read.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::rewrite::Reviving;
use super::{INTERVAL_BYTES, Left, Report};
use crate::aborted::{ABORTED_ENTRY_BYTES, AbortedTxns};
use crate::background::{DELETED_SUFFIX, SEGMENT_SUFFIXES, segment_file};
use crate::batch::{self, EndTxn};
use crate::checkpoint::{self, OffsetEntry};
use crate::epochs::LeaderEpochs;
use crate::error::Error;
use crate::index::SparseIndex;
use crate::io::files::{self, Sync};
use crate::log::LogState;
use crate::producers::ProducerStates;
use crate::scan;
use crate::segment::{Phase, Segment};

mod txns;

pub(super) use txns::count_aborted;

/// What the directory's text checkpoints say, by folder name.
#[derive(Default)]
pub struct Points {
    recovery: HashMap<String, i64>,
    log_start: HashMap<String, i64>,
}

impl Points {
    /// Reads the text checkpoints; missing ones have no entries.
    pub fn read(data_dir: &Path) -> Result<Points, Error> {
        Ok(Points {
            recovery: read_offsets(&data_dir.join(checkpoint::RECOVERY_POINT_FILE))?,
            log_start: read_offsets(&data_dir.join(checkpoint::LOG_START_OFFSET_FILE))?,
        })
    }
}

fn read_offsets(path: &Path) -> Result<HashMap<String, i64>, Error> {
    let damaged = |detail: String| Error::Corrupt {
        path: path.to_path_buf(),
        detail,
    };
    let bytes = files::read_small(path)?.unwrap_or_default();
    let text = String::from_utf8(bytes).map_err(|_| damaged("it is not UTF-8".into()))?;
    let entries = checkpoint::parse_offsets(&text).map_err(|e| damaged(e.to_string()))?;
    let by_name = |e: OffsetEntry| (format!("{}-{}", e.topic, e.partition), e.offset);
    Ok(entries.into_iter().map(by_name).collect())
}

/// The folder's files, as far as they matter here.
pub(super) struct Listing {
    /// Base offset and bytes of each log file, in order.
    pub logs: Vec<(i64, u64)>,
    /// End offsets of the producers' snapshots, in order.
    snapshots: Vec<i64>,
    /// Base offset and bytes of each index, in order.
    indexes: Vec<(i64, u64)>,
    time_indexes: Vec<(i64, u64)>,
    /// The same of the indexes of aborted transactions, which few segments have.
    aborted: Vec<(i64, u64)>,
}

impl Listing {
    /// Lists a partition's folder. What is left there of removed segments is noted to go.
    pub fn read(folder: &Path, report: &mut Report) -> Result<Listing, Error> {
        let listing = Listing::of(&files::list(folder)?, folder, report);
        Ok(listing)
    }

    fn of(entries: &[files::Entry], folder: &Path, report: &mut Report) -> Listing {
        let based = |suffix: &str| {
            let bases = entries
                .iter()
                .filter_map(|e| Some((scan::segment_base(&e.name, suffix)?, e.bytes)));
            bases.collect::<Vec<_>>()
        };
        let logs = based(".log");
        // Renamed by whoever removed the segment, or not yet: the log was renamed first.
        let oldest = logs.first().map_or(0, |log| log.0);
        let base = |name: &str| SEGMENT_SUFFIXES.iter().find_map(|s| scan::segment_base(name, s));
        let is_removed =
            |name: &str| name.ends_with(DELETED_SUFFIX) || base(name).is_some_and(|base| base < oldest);
        let removed = entries.iter().filter(|e| !e.is_dir && is_removed(&e.name));
        report.removed_files.extend(removed.map(|e| folder.join(&e.name)));
        Listing {
            logs,
            snapshots: based(".snapshot").into_iter().map(|s| s.0).collect(),
            indexes: based(".index"),
            time_indexes: based(".timeindex"),
            aborted: based(".txnindex"),
        }
    }

    pub fn has_indexes(&self, base: i64) -> bool {
        self.index_bytes(base).is_some()
    }

    /// Bytes of a segment's two index files, if both are there.
    fn index_bytes(&self, base: i64) -> Option<(u64, u64)> {
        let bytes = |list: &[(i64, u64)]| list.binary_search_by_key(&base, |e| e.0).ok().map(|i| list[i].1);
        Some((bytes(&self.indexes)?, bytes(&self.time_indexes)?))
    }

    /// Bytes of a segment's index of aborted transactions.
    fn aborted_bytes(&self, base: i64) -> u64 {
        let found = self.aborted.binary_search_by_key(&base, |e| e.0);
        found.map_or(0, |i| self.aborted[i].1)
    }

    /// Whether a segment's index of aborted transactions has at least so many entries.
    fn has_aborted(&self, base: i64, count: u32) -> bool {
        self.aborted_bytes(base) >= u64::from(count) * ABORTED_ENTRY_BYTES as u64
    }

    /// Whether a segment's index files have at least the entries that an index counts.
    fn has_entries_of(&self, base: i64, index: &SparseIndex) -> bool {
        let needed = (
            u64::from(index.offset_count()) * 8,
            u64::from(index.time_count()) * 12,
        );
        match self.index_bytes(base) {
            Some((offsets, times)) => offsets >= needed.0 && times >= needed.1,
            None => needed == (0, 0),
        }
    }

    /// Whether there is any batch, as far as lengths tell. A byte alone is what [`files::settle`] leaves when the power goes meanwhile.
    pub fn has_bytes(&self) -> bool {
        self.logs.iter().any(|l| l.1 >= batch::HEADER_BYTES as u64)
    }
}

/// The topic's id from `partition.metadata`, all zeroes where there is none. A folder without a batch may have been left by a power cut
/// before it was made to its end, and nobody was told of it: an id that cannot be read there is none.
pub(super) fn topic_id(folder: &Path, listing: &Listing) -> Result<[u8; 16], Error> {
    let path = folder.join(checkpoint::PARTITION_METADATA_FILE);
    let Some(bytes) = files::read_small(&path)? else {
        return Ok([0; 16]);
    };
    let damaged = |detail: String| Error::Corrupt {
        path: path.clone(),
        detail,
    };
    let id = match String::from_utf8(bytes) {
        Ok(text) => checkpoint::parse_partition_metadata(&text).map_err(|e| damaged(e.to_string())),
        Err(_) => Err(damaged("it is not UTF-8".into())),
    };
    match id {
        Err(_) if !listing.has_bytes() => Ok([0; 16]),
        id => id,
    }
}

/// A partition of a directory that was killed under us: what the checkpoint says of it, or nothing.
pub(super) fn resume(
    data_dir: &Path,
    name: &str,
    known: &mut HashMap<(String, [u8; 16]), LogState>,
    report: &mut Report,
) -> Result<Reviving, Error> {
    let folder = data_dir.join(name);
    let listing = Listing::read(&folder, report)?;
    let topic_id = topic_id(&folder, &listing)?;
    let known = known.remove(&(name.to_owned(), topic_id));
    let is_known = known.is_some();
    let mut state = known.unwrap_or_else(|| LogState::empty(name.to_owned(), topic_id, INTERVAL_BYTES, 0));
    let active = state.active().base_offset;
    for (base, _) in listing.logs.iter().filter(|l| l.0 >= active) {
        files::settle(&segment_file(&folder, *base, ".log"))?;
    }
    let older = listing.logs.iter().filter(|l| is_known && l.0 < active);
    let sealed: Vec<(i64, u64)> = older.copied().collect();
    rebuild_snapshots(&folder, &listing, &sealed, active, report)?;
    for &(base, size) in sealed.iter().rev() {
        if !listing.has_indexes(base) {
            report.scanned_segments += 1;
            scan::load_index(&folder, base, size, INTERVAL_BYTES)?;
        }
        let aborted = txns::count_sealed(&folder, &listing, base, size, report)?;
        state.segments.push_front(Segment::sealed(base, size, aborted));
    }
    let counted = state.active().aborted.count();
    if is_known && !listing.has_aborted(active, counted) {
        report.scanned_segments += 1;
        let size = state.active().size_bytes;
        if let Some(aborted) = txns::rebuild(&folder, &listing, active, size, report)? {
            state.active_mut().aborted = aborted;
        }
    }
    let is_indexed = state
        .active()
        .index
        .as_ref()
        .is_some_and(|i| listing.has_entries_of(active, i));
    if is_known && !is_indexed {
        report.scanned_segments += 1;
        rebuild_active(&folder, &mut state)?;
    }
    Ok(Reviving::new(folder, state, is_known, listing))
}

/// Takes the producers' snapshots at the ends of sealed segments again where they are missing, from the newest one before.
/// `segments`: base offset and bytes of each segment but the active one; `active` is where that starts.
fn rebuild_snapshots(
    folder: &Path,
    listing: &Listing,
    segments: &[(i64, u64)],
    active: i64,
    report: &mut Report,
) -> Result<(), Error> {
    let ends = segments.iter().skip(1).map(|s| s.0).chain([active]);
    let mut producers: Option<ProducerStates> = None;
    for (&(base, size), end) in segments.iter().zip(ends) {
        if listing.snapshots.binary_search(&end).is_ok() {
            producers = None;
            continue;
        }
        let before = match producers.take() {
            Some(known) => known,
            None => snapshot_at(folder, base)?.unwrap_or_default(),
        };
        report.scanned_segments += 1;
        let after = producers.insert(before);
        scan::walk(
            &segment_file(folder, base, ".log"),
            0,
            size,
            |_, header, bytes| {
                let marker = EndTxn::read(header, bytes);
                after.record(header, header.base_offset, header.max_timestamp_ms, marker);
                ControlFlow::Continue(())
            },
        )?;
        let path = segment_file(folder, end, ".snapshot");
        files::replace_with(&path, &after.encode_snapshot(), Sync::Later)?;
    }
    Ok(())
}

fn snapshot_at(folder: &Path, offset: i64) -> Result<Option<ProducerStates>, Error> {
    let bytes = files::read_small(&segment_file(folder, offset, ".snapshot"))?;
    Ok(bytes.and_then(|b| ProducerStates::decode_snapshot(&b, offset).ok()))
}

/// The active segment's index files are gone: the checkpointed part of its log is read for them.
fn rebuild_active(folder: &Path, state: &mut LogState) -> Result<(), Error> {
    let active = state.active_mut();
    let (base, size) = (active.base_offset, active.size_bytes);
    let mut index = SparseIndex::new(INTERVAL_BYTES);
    scan::walk(
        &segment_file(folder, base, ".log"),
        0,
        size,
        |position, header, bytes| {
            let last = (header.last_offset() - base) as u32;
            index.append(last, position as u32, bytes.len() as u32, header.max_timestamp_ms);
            ControlFlow::Continue(())
        },
    )?;
    scan::write_whole_index(folder, base, &mut index)?;
    active.index = Some(index);
    Ok(())
}

/// Opens a partition without a journal. After a clean stop the checkpointed end is believed; otherwise everything from the
/// recovery point on is read, and cut at the first batch that is not whole.
///
/// Where we were killed it was made since our start, and nothing of it was in a journal: then it is cut also where an offset is missing. Elsewhere
/// that is no damage: Apache Kafka's compaction takes records away, also all of a segment.
pub(super) fn open(
    data_dir: &Path,
    name: &str,
    points: &Points,
    left: Left,
    report: &mut Report,
) -> Result<LogState, Error> {
    let folder = data_dir.join(name);
    let listing = Listing::read(&folder, report)?;
    let mut opening = Opening {
        topic_id: topic_id(&folder, &listing)?,
        listing,
        epochs: read_epochs(&folder)?,
        folder,
        name,
        report,
        may_have_gaps: left != Left::Killed,
    };
    let recovery_point = points.recovery.get(name).copied();
    if let Some(end) = recovery_point.filter(|_| left == Left::Clean) {
        opening.forget_empty_behind(end)?;
    }
    let mut state = match recovery_point
        .filter(|_| left == Left::Clean)
        .and_then(|end| opening.believe(end).transpose())
    {
        Some(state) => state?,
        None => opening.read(recovery_point.unwrap_or(0))?,
    };
    let first = state.segments.front().map_or(0, |s| s.base_offset);
    let start = points.log_start.get(name).copied().unwrap_or(first);
    state.log_start_offset = 0;
    state.start_at(start.max(first).min(state.end_offset));
    Ok(state)
}

fn read_epochs(folder: &Path) -> Result<Option<LeaderEpochs>, Error> {
    let bytes = files::read_small(&folder.join(checkpoint::LEADER_EPOCH_FILE))?;
    // Derived from the batches: one that cannot be read is built again.
    Ok(bytes.and_then(|b| LeaderEpochs::decode(std::str::from_utf8(&b).ok()?).ok()))
}

struct Opening<'a> {
    folder: PathBuf,
    name: &'a str,
    topic_id: [u8; 16],
    listing: Listing,
    epochs: Option<LeaderEpochs>,
    report: &'a mut Report,
    /// Offsets may be missing between two batches.
    may_have_gaps: bool,
}

impl Opening<'_> {
    fn empty_at(&self, base_offset: i64) -> LogState {
        let mut state = LogState::empty(self.name.to_owned(), self.topic_id, INTERVAL_BYTES, 0);
        state.segments = [Segment::new(base_offset, INTERVAL_BYTES, 0)].into();
        state.end_offset = base_offset;
        state.log_start_offset = base_offset;
        state.producers.reset(base_offset);
        state.epochs = self.epochs.clone().unwrap_or_default();
        state
    }

    fn log_file(&self, base: i64) -> PathBuf {
        segment_file(&self.folder, base, ".log")
    }

    /// Logs without a byte behind the end of a clean stop are nobody's. Somebody may have made one who was asked to open the file of a topic
    /// that had this name before, and was late.
    fn forget_empty_behind(&mut self, end_offset: i64) -> Result<(), Error> {
        while let Some(&(base, 0)) = self.listing.logs.last().filter(|log| log.0 > end_offset) {
            self.listing.logs.pop();
            crate::background::remove_segment(&self.folder, base)?;
        }
        Ok(())
    }

    /// The state after a clean stop, or `None` when something it needs is missing and the batches must be read.
    fn believe(&mut self, end_offset: i64) -> Result<Option<LogState>, Error> {
        let Some(&(base, size)) = self.listing.logs.last() else {
            return Ok((end_offset == 0).then(|| self.empty_at(0)));
        };
        if base > end_offset || (base == end_offset) != (size == 0) || self.epochs.is_none() {
            return Ok(None);
        }
        let mut state = self.empty_at(base);
        state.end_offset = end_offset;
        let Some(producers) = self.producers_at(end_offset)? else {
            return Ok(None);
        };
        state.producers = producers;
        let sealed = &self.listing.logs[..self.listing.logs.len() - 1];
        rebuild_snapshots(&self.folder, &self.listing, sealed, base, self.report)?;
        for &(base, size) in self.listing.logs.iter().rev().skip(1) {
            if !self.listing.has_indexes(base) {
                self.report.scanned_segments += 1;
                scan::load_index(&self.folder, base, size, INTERVAL_BYTES)?;
            }
            let aborted = txns::count_sealed(&self.folder, &self.listing, base, size, self.report)?;
            state.segments.push_front(Segment::sealed(base, size, aborted));
        }
        if !self.listing.has_indexes(base) && size > 0 {
            self.report.scanned_segments += 1;
        }
        let index = scan::load_index(&self.folder, base, size, INTERVAL_BYTES)?;
        if !self.ends_with_a_batch(base, size, &index)? {
            self.report.notices.push(format!(
                "{}: its newest segment was cut short after the clean stop",
                self.name
            ));
            return Ok(None);
        }
        let first = scan::first_header(&self.log_file(base));
        let aborted = txns::count_sealed(&self.folder, &self.listing, base, size, self.report)?;
        let active = state.active_mut();
        active.aborted = AbortedTxns::in_file(aborted);
        active.size_bytes = size;
        active.allocated_bytes = size;
        active.index = Some(index);
        active.first_timestamp_ms = first.filter(|_| size > 0).map(|h| h.max_timestamp_ms);
        active.is_exact = true;
        Ok(Some(state))
    }

    /// Whether the active segment's file ends where a batch ends, as far as lengths tell: one that somebody has cut short does
    /// not. A batch that is damaged is left for its readers to find.
    fn ends_with_a_batch(&self, base: i64, size: u64, index: &SparseIndex) -> Result<bool, Error> {
        let mut position = index
            .last_offset_entry()
            .map_or(0, |entry| u64::from(entry.position));
        let path = self.log_file(base);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        while position < size {
            let mut front = [0; batch::LOG_OVERHEAD];
            if file.read_exact_at(&mut front, position).is_err() {
                return Ok(false);
            }
            match batch::peek_size(&front) {
                Some(Ok(bytes)) => position += bytes as u64,
                _ => return Ok(true),
            }
        }
        Ok(position == size)
    }

    /// The snapshot taken exactly at this offset; a log without a batch needs none.
    fn producers_at(&self, end_offset: i64) -> Result<Option<ProducerStates>, Error> {
        if self.listing.snapshots.binary_search(&end_offset).is_err() {
            let mut none = ProducerStates::new();
            none.reset(end_offset);
            return Ok((!self.listing.has_bytes()).then_some(none));
        }
        snapshot_at(&self.folder, end_offset)
    }

    /// Reads every segment that may hold something at or after `from`, and those the newest snapshot does not cover.
    fn read(&mut self, from: i64) -> Result<LogState, Error> {
        let Some(&(first, _)) = self.listing.logs.first() else {
            return Ok(self.empty_at(0));
        };
        let from = if self.epochs.is_none() { first } else { from };
        let (producers, known_to) = self.newest_snapshot(from, first)?;
        let mut state = self.empty_at(first);
        state.segments = VecDeque::new();
        state.producers = producers;
        let logs = self.listing.logs.clone();
        let start = known_to.min(from);
        for (i, &(base, size)) in logs.iter().enumerate() {
            let next = logs.get(i + 1).map(|l| l.0);
            if next.is_some_and(|n| n <= start) {
                if !self.listing.has_indexes(base) {
                    self.report.scanned_segments += 1;
                    scan::load_index(&self.folder, base, size, INTERVAL_BYTES)?;
                }
                let aborted = txns::count_sealed(&self.folder, &self.listing, base, size, self.report)?;
                state.segments.push_back(Segment::sealed(base, size, aborted));
                continue;
            }
            let is_whole = self.read_segment(&mut state, base, size, known_to)?;
            // Zeroes at its end are fine, as long as nothing is missing before the next one: else its bytes went with the power.
            let is_suspect = state.active().size_bytes < size || !self.may_have_gaps;
            let is_cut = is_suspect && next.is_some_and(|n| state.end_offset < n);
            if !is_whole || is_cut {
                self.remove_behind(&logs[i + 1..])?;
                break;
            }
        }
        let active = state.active_mut();
        active.phase = Phase::Active;
        active.is_exact = false;
        Ok(state)
    }

    /// The newest usable snapshot at or before `offset`, and how far it knows the log.
    fn newest_snapshot(&self, offset: i64, first: i64) -> Result<(ProducerStates, i64), Error> {
        for &at in self
            .listing
            .snapshots
            .iter()
            .rev()
            .filter(|s| **s <= offset.max(first))
        {
            if let Some(producers) = snapshot_at(&self.folder, at)? {
                return Ok((producers, at));
            }
        }
        let mut none = ProducerStates::new();
        none.reset(first);
        Ok((none, first))
    }

    /// Reads one segment whole; false when it was cut, so that what follows does not count.
    fn read_segment(
        &mut self,
        state: &mut LogState,
        base: i64,
        size: u64,
        known_to: i64,
    ) -> Result<bool, Error> {
        self.report.scanned_segments += 1;
        state.end_offset = base;
        state.segments.push_back(Segment::new(base, INTERVAL_BYTES, 0));
        let path = self.log_file(base);
        let mut gap = None;
        let may_have_gaps = self.may_have_gaps;
        let end = scan::walk(&path, 0, size, |position, header, bytes| {
            if header.base_offset < state.end_offset {
                gap = Some(format!(
                    "offset {} at byte {position} is not above the one before",
                    header.base_offset
                ));
                return ControlFlow::Break(());
            }
            if header.base_offset > state.end_offset && !may_have_gaps {
                gap = Some(format!(
                    "offset {} at byte {position} does not follow the one before",
                    header.base_offset
                ));
                return ControlFlow::Break(());
            }
            let producers = (header.base_offset < known_to).then(|| std::mem::take(&mut state.producers));
            let marker = EndTxn::read(header, bytes);
            state.note_batch(header, marker, header.max_timestamp_ms);
            if let Some(producers) = producers {
                state.producers = producers;
            }
            ControlFlow::Continue(())
        })?;
        let fault = end.fault.or(gap);
        if end.position < size {
            let why = fault.as_deref().unwrap_or("nothing but zeroes follows");
            if fault.is_some() {
                self.report.notices.push(format!(
                    "{} is cut at byte {}: {why}",
                    path.display(),
                    end.position
                ));
            }
            files::truncate(&path, end.position, Sync::Later)?;
        }
        let (folder, active) = (&self.folder, state.active_mut());
        active.allocated_bytes = active.size_bytes;
        let rebuilt = match base < known_to {
            // The snapshot says how its transactions had ended by then, not which were aborted.
            true => txns::rebuild(folder, &self.listing, base, active.size_bytes, self.report)?,
            false => Some(std::mem::take(&mut active.aborted)),
        };
        active.aborted = match rebuilt {
            Some(mut aborted) => {
                scan::write_whole_aborted(folder, base, &mut aborted)?;
                aborted
            }
            None => txns::unknown(&self.listing, base),
        };
        if let Some(index) = active.index.as_mut() {
            index.close();
            scan::write_whole_index(folder, base, index)?;
        }
        active.phase = Phase::Sealed;
        Ok(fault.is_none())
    }

    fn remove_behind(&mut self, logs: &[(i64, u64)]) -> Result<(), Error> {
        for (base, bytes) in logs {
            let path = self.log_file(*base);
            self.report.notices.push(format!(
                "{} with {bytes} bytes lies behind the cut and is removed",
                path.display()
            ));
            for suffix in [".log", ".index", ".timeindex", ".txnindex", ".snapshot"] {
                files::remove_large_file(&segment_file(&self.folder, *base, suffix))?;
            }
        }
        Ok(())
    }
}
