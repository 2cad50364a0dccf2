//! Putting the journal's batches where they belong: into the segments of a partition that was killed under us.

use std::path::PathBuf;

use super::folder::{self, Listing, Points};
use super::{INTERVAL_BYTES, Left, Report};
use crate::background::segment_file;
use crate::batch::{self, EndTxn};
use crate::error::Error;
use crate::io::files::changes::{Changing, How};
use crate::io::files::{self, Sync};
use crate::journal::format::{Entry, EntryKind};
use crate::log::LogState;
use crate::segment::{Phase, Segment};

/// A partition while the journal is gone through.
pub struct Reviving {
    folder: PathBuf,
    state: LogState,
    /// The checkpoint knows it; else all it has is in the journal, or it is somebody else's.
    is_known: bool,
    listing: Listing,
    active: Option<Changing>,
    restored: u64,
}

impl Reviving {
    pub(super) fn new(folder: PathBuf, state: LogState, is_known: bool, listing: Listing) -> Reviving {
        Reviving {
            folder,
            state,
            is_known,
            listing,
            active: None,
            restored: 0,
        }
    }

    /// Whether the entry is of this partition, and not of an older one that had its name.
    pub(super) fn is_its(&self, entry: &Entry<'_>) -> bool {
        // In no checkpoint, and its first batch in no frame before this one: the partition was removed meanwhile, and its folder stayed. A new
        // one's frames are all there.
        let is_removed = !self.is_known && self.restored == 0 && entry.base_offset > 0;
        entry.topic_id == self.state.topic_id && !is_removed
    }

    /// Takes one journal entry of the partition. Those the segments have already are passed over.
    pub(super) fn apply(&mut self, entry: &Entry<'_>, report: &mut Report) -> Result<(), Error> {
        match entry.kind {
            EntryKind::LogStart => {
                let start = entry.base_offset.min(self.state.end_offset);
                self.state.log_start_offset = self.state.log_start_offset.max(start);
                Ok(())
            }
            EntryKind::Batch if entry.base_offset < self.state.end_offset => Ok(()),
            EntryKind::Batch => self.restore(entry, report),
        }
    }

    fn restore(&mut self, entry: &Entry<'_>, report: &mut Report) -> Result<(), Error> {
        let header = batch::check_stored(entry.data).map_err(|e| self.damaged(entry, &e.to_string()))?;
        if entry.segment_base != self.state.active().base_offset {
            self.roll(entry)?;
        }
        let end = self.state.end();
        if entry.base_offset != self.state.end_offset || u64::from(entry.position) != end.position {
            return Err(self.damaged(entry, "does not follow the log's end"));
        }
        let path = segment_file(&self.folder, entry.segment_base, ".log");
        let file = match &self.active {
            Some(file) => file,
            None => {
                let file = Changing::open(&path, How::Missing);
                self.active.insert(file.map_err(Error::io("open", &path))?)
            }
        };
        file.write(entry.data, end.position)
            .map_err(Error::io("write", &path))?;
        let marker = EndTxn::read(&header, entry.data);
        self.state.note_batch(&header, marker, header.max_timestamp_ms);
        self.restored += 1;
        report.restored_batches += 1;
        report.restored_bytes += entry.data.len() as u64;
        Ok(())
    }

    fn damaged(&self, entry: &Entry<'_>, what: &str) -> Error {
        let (offset, end) = (entry.base_offset, self.state.end_offset);
        let detail = format!("the journal's batch at offset {offset} (log end {end}): {what}");
        Error::Corrupt {
            path: self.folder.clone(),
            detail,
        }
    }

    /// The journal goes on in a new segment: the one before gets its exact length, its indexes and its snapshot.
    fn roll(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        if entry.segment_base != self.state.end_offset {
            return Err(self.damaged(entry, "starts a segment that does not follow the log's end"));
        }
        if self.state.end_offset == self.state.active().base_offset {
            return Ok(());
        }
        self.state.roll(INTERVAL_BYTES, 0);
        self.seal_all()
    }

    fn seal_all(&mut self) -> Result<(), Error> {
        self.active = None;
        for segment in self
            .state
            .segments
            .iter_mut()
            .filter(|s| s.phase == Phase::Sealing)
        {
            let base = segment.base_offset;
            files::truncate(
                &segment_file(&self.folder, base, ".log"),
                segment.size_bytes,
                Sync::Later,
            )?;
            if let Some(mut index) = segment.index.take() {
                crate::scan::write_whole_index(&self.folder, base, &mut index)?;
            }
            if let Some((offset, bytes)) = segment.snapshot.take() {
                files::replace_with(
                    &segment_file(&self.folder, offset, ".snapshot"),
                    &bytes,
                    Sync::Later,
                )?;
            }
            crate::scan::write_whole_aborted(&self.folder, base, &mut segment.aborted)?;
            *segment = Segment::sealed(base, segment.size_bytes, segment.aborted.count());
        }
        Ok(())
    }

    /// The journal's end: what lies behind the log's end is taken away. The caller syncs, for all partitions at once.
    pub(super) fn finish(mut self, report: &mut Report) -> Result<LogState, Error> {
        if !self.is_known && self.restored == 0 && self.listing.has_bytes() {
            let data_dir = self.folder.parent().map(PathBuf::from).unwrap_or_default();
            // The text checkpoints are older than the partition, and of another one that had its name.
            let none = Points::default();
            return folder::open(&data_dir, &self.state.name, &none, Left::Killed, report);
        }
        let active = self.state.active_mut();
        let (base, size) = (active.base_offset, active.size_bytes);
        if let Some(index) = active.index.as_mut() {
            crate::scan::write_whole_index(&self.folder, base, index)?;
        }
        crate::scan::write_whole_aborted(&self.folder, base, &mut active.aborted)?;
        let path = segment_file(&self.folder, base, ".log");
        if !path.exists() {
            files::create_file(&path)?;
        }
        let allocated = std::fs::metadata(&path).map_or(0, |m| m.len());
        if allocated < size {
            let detail = format!("it has {allocated} bytes, the checkpoint counts {size}");
            return Err(Error::Corrupt { path, detail });
        }
        active.allocated_bytes = allocated;
        active.is_exact = false;
        for (base, _) in self.listing.logs.iter().filter(|l| l.0 > base) {
            crate::background::remove_segment(&self.folder, *base)?;
        }
        // Segments may have gone before the entry that says so was durable.
        let first = self.state.segments.front().map_or(0, |s| s.base_offset);
        self.state.start_at(first);
        Ok(self.state)
    }
}
