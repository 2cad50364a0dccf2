//! A segment's batches, one after the other, each checked.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::order::CleanError;
use super::pace::Pace;
use crate::background::segment_file;
use crate::batch::{self, BatchHeader, LOG_OVERHEAD};
use crate::error::Error;
use crate::io::files::stream::Reading;

/// What keeps a pass from hurting others: its pace, and whether it is wanted any more.
#[derive(Clone, Copy, Debug)]
pub struct Care<'a> {
    /// Of all passes together.
    pub pace: &'a Pace,
    /// The order's.
    pub cancelled: &'a AtomicBool,
}

impl Care<'_> {
    /// Notes bytes that were read or written, and waits as long as the pace asks.
    ///
    /// # Errors
    /// [`CleanError::Cancelled`].
    pub fn pay(&self, bytes: usize) -> Result<(), CleanError> {
        self.pace.pay(bytes, self.cancelled);
        match self.cancelled.load(Ordering::Relaxed) {
            true => Err(CleanError::Cancelled),
            false => Ok(()),
        }
    }
}

/// A segment's log, read from front to back through one buffer, which grows for a batch that is larger and shrinks behind it.
pub struct Source<'a> {
    path: PathBuf,
    reading: Reading,
    size_bytes: u64,
    care: Care<'a>,
    buffer: Vec<u8>,
    piece_bytes: usize,
    /// Where in the buffer the next batch begins.
    start: usize,
    /// Where that is in the file.
    position: u64,
    least_offset: i64,
}

/// A batch where it lies in the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Where it starts in the file.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
    /// All of it.
    pub bytes: &'a [u8],
}

impl<'a> Source<'a> {
    /// Opens a sealed segment, to be read in pieces of so many bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn open(
        folder: &Path,
        base_offset: i64,
        size_bytes: u64,
        piece_bytes: usize,
        care: Care<'a>,
    ) -> Result<Source<'a>, Error> {
        let path = segment_file(folder, base_offset, ".log");
        Ok(Source {
            reading: Reading::open(&path)?,
            path,
            size_bytes,
            care,
            buffer: Vec::new(),
            piece_bytes: piece_bytes.max(LOG_OVERHEAD),
            start: 0,
            position: 0,
            least_offset: base_offset,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// The next batch; `None` at the segment's end.
    ///
    /// # Errors
    /// The system's, [`Error::Corrupt`] for what is no sound batch behind those before, [`CleanError::Cancelled`].
    pub fn next(&mut self) -> Result<Option<Stored<'_>>, CleanError> {
        if self.position == self.size_bytes {
            return Ok(None);
        }
        self.fill(LOG_OVERHEAD)?;
        let size = match batch::peek_size(&self.buffer[self.start..]) {
            Some(size) => size.map_err(|fault| self.corrupt(self.position, &fault))?,
            None => return Err(self.cut_short()),
        };
        self.fill(size)?;
        let (position, start) = (self.position, self.start);
        let bytes = &self.buffer[start..start + size];
        let header = batch::check_stored(bytes).map_err(|fault| self.corrupt(position, &fault))?;
        let next_offset = header.last_offset().checked_add(1);
        let is_behind = header.base_offset >= self.least_offset;
        match next_offset.filter(|next| is_behind && *next > header.base_offset) {
            Some(next) => self.least_offset = next,
            None => return Err(self.corrupt(position, &"its offsets are not behind those before")),
        }
        self.start += size;
        self.position += size as u64;
        let bytes = &self.buffer[start..start + size];
        Ok(Some(Stored {
            position,
            header,
            bytes,
        }))
    }

    /// [`Error::Corrupt`] of what stands at a place in the file.
    pub fn corrupt(&self, position: u64, fault: &dyn std::fmt::Display) -> CleanError {
        corrupt(&self.path, position, fault)
    }

    fn cut_short(&self) -> CleanError {
        self.corrupt(self.position, &"a batch is cut short")
    }

    /// Makes at least so many bytes available at `start`.
    fn fill(&mut self, bytes: usize) -> Result<(), CleanError> {
        if self.buffer.len() - self.start >= bytes {
            return Ok(());
        }
        let left = self.size_bytes - self.position;
        if bytes as u64 > left {
            return Err(self.cut_short());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let have = self.buffer.len();
        let want = (bytes.max(self.piece_bytes) as u64).min(left) as usize;
        self.buffer.resize(want, 0);
        if want <= self.piece_bytes {
            self.buffer.shrink_to(self.piece_bytes);
        }
        let mut read = have;
        while read < want {
            let piece = self.piece_bytes.min(want - read);
            let at = self.position + read as u64;
            let count = self.reading.read(&mut self.buffer[read..read + piece], at)?;
            self.care.pay(count)?;
            read += count;
            if count < piece {
                return Err(self.cut_short());
            }
        }
        Ok(())
    }
}

/// [`Error::Corrupt`] of what stands at a place in a file.
pub fn corrupt(path: &Path, position: u64, fault: &dyn std::fmt::Display) -> CleanError {
    CleanError::Failed(Error::Corrupt {
        path: path.to_path_buf(),
        detail: format!("at byte {position}: {fault}"),
    })
}
