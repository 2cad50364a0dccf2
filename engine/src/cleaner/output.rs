//! The segment that a group becomes: `<base>.log.cleaned` and its indexes.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::order::{CleanError, CleanLimits, Cleaned};
use super::source::{Care, Source};
use crate::aborted::AbortedTxn;
use crate::background::segment_file;
use crate::batch::BatchHeader;
use crate::error::Error;
use crate::index::SparseIndex;
use crate::io::files::stream::Writing;
use crate::io::files::{self, Sync};

/// What the names of unfinished segments end in, as in Kafka.
pub const CLEANED: &str = ".cleaned";

/// Files of a segment, the log last: where that is there, all are.
const SUFFIXES: [&str; 4] = [
    ".txnindex.cleaned",
    ".index.cleaned",
    ".timeindex.cleaned",
    ".log.cleaned",
];

/// A new segment in the making. As long as every batch stays what it was, nothing is written: the segment may turn out to be as it should be.
pub struct Output<'a> {
    folder: &'a Path,
    base_offset: i64,
    piece_bytes: usize,
    care: Care<'a>,
    index: SparseIndex,
    aborted: Vec<AbortedTxn>,
    size_bytes: u64,
    /// `None` while it is the front of the segment with the same base offset.
    writing: Option<Writing>,
}

impl<'a> Output<'a> {
    /// A segment without a batch.
    pub fn new(
        folder: &'a Path,
        base_offset: i64,
        limits: &CleanLimits,
        piece_bytes: usize,
        care: Care<'a>,
    ) -> Output<'a> {
        Output {
            folder,
            base_offset,
            piece_bytes,
            care,
            index: SparseIndex::new(limits.index_interval_bytes),
            aborted: Vec::new(),
            size_bytes: 0,
            writing: None,
        }
    }

    /// Says that it will differ from the segment that gave all batches so far: they are written first.
    ///
    /// # Errors
    /// The system's, [`CleanError::Cancelled`].
    pub fn begin(&mut self) -> Result<(), CleanError> {
        if self.writing.is_some() {
            return Ok(());
        }
        let mut writing = Writing::begin(&self.path(".log.cleaned"), self.piece_bytes)?;
        let mut front = Source::open(
            self.folder,
            self.base_offset,
            self.size_bytes,
            self.piece_bytes,
            self.care,
        )?;
        while let Some(batch) = front.next()? {
            self.care.pay(writing.append(batch.bytes)?)?;
        }
        self.writing = Some(writing);
        Ok(())
    }

    /// Whether nothing is written: all of it stands in the segment with its base offset.
    pub fn is_untouched(&self) -> bool {
        self.writing.is_none()
    }

    /// Appends a batch.
    ///
    /// # Errors
    /// The system's, [`CleanError::Cancelled`]; one for a segment whose offsets or bytes no index can count.
    pub fn append(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<(), CleanError> {
        let relative = header.last_offset().checked_sub(self.base_offset);
        let relative = relative.and_then(|offset| i32::try_from(offset).ok());
        let end = i32::try_from(self.size_bytes.saturating_add(bytes.len() as u64));
        let (Some(relative), Ok(_)) = (relative, end) else {
            let fault = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
            return Err(Error::io("clean into", &self.path(".log.cleaned"))(fault).into());
        };
        let position = self.size_bytes as u32;
        self.index.append(
            relative as u32,
            position,
            bytes.len() as u32,
            header.max_timestamp_ms,
        );
        self.size_bytes += bytes.len() as u64;
        if let Some(writing) = self.writing.as_mut() {
            let written = writing.append(bytes)?;
            self.care.pay(written)?;
        }
        Ok(())
    }

    /// Adds an entry to the index of aborted transactions.
    pub fn note_aborted(&mut self, entry: AbortedTxn) {
        self.aborted.push(entry);
    }

    /// How many such entries there are.
    pub fn aborted_count(&self) -> usize {
        self.aborted.len()
    }

    /// Writes what is left, and the indexes; all is durable then but the names. `modified`: when the segments that it replaces were changed last, which
    /// retention goes by where no record has a timestamp.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self, replaces: Vec<i64>, modified: SystemTime) -> Result<Cleaned, CleanError> {
        self.begin()?;
        let largest = self.index.largest_timestamp();
        self.index.close();
        let unwritten = self.index.take_unwritten();
        let aborted: Vec<u8> = self.aborted.iter().flat_map(AbortedTxn::encode).collect();
        let path = self.path(".txnindex.cleaned");
        if !aborted.is_empty() {
            files::write_tail(&path, 0, &aborted, Sync::Now)?;
        } else if path.exists() {
            // Of a pass that a kill has ended.
            files::remove_file(&path)?;
        }
        files::write_tail(
            &self.path(".index.cleaned"),
            0,
            &unwritten.offset_bytes,
            Sync::Now,
        )?;
        files::write_tail(
            &self.path(".timeindex.cleaned"),
            0,
            &unwritten.time_bytes,
            Sync::Now,
        )?;
        if let Some(writing) = self.writing.take() {
            writing.finish(modified)?;
        }
        Ok(Cleaned {
            replaces,
            size_bytes: self.size_bytes,
            aborted: self.aborted.len() as u32,
            largest_timestamp_ms: largest.map(|entry| entry.timestamp_ms).filter(|at| *at >= 0),
        })
    }

    fn path(&self, suffix: &str) -> PathBuf {
        segment_file(self.folder, self.base_offset, suffix)
    }
}

/// Removes the files of unfinished segments with these base offsets.
///
/// # Errors
/// The system's.
pub fn remove(folder: &Path, base_offsets: impl IntoIterator<Item = i64>) -> Result<(), Error> {
    for base_offset in base_offsets {
        for suffix in SUFFIXES.iter().rev() {
            let path = segment_file(folder, base_offset, suffix);
            if path.exists() {
                files::remove_large_file(&path)?;
            }
        }
    }
    Ok(())
}
