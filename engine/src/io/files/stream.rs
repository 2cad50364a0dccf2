//! Large files read and written from front to back, beside producers that must not feel it: nothing of it stays in the page cache, and nothing is left there
//! to be written in one go.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Advice, fadvise};

use super::changes::{Changing, How};
use super::{At, Result};
use crate::io::ALIGN;

/// A file that is read from front to back.
#[derive(Debug)]
pub struct Reading {
    path: PathBuf,
    file: File,
}

impl Reading {
    /// Opens it.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> Result<Reading> {
        let file = File::open(path).at(path, "open")?;
        // Advice: nothing depends on its being taken.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        Ok(Reading {
            path: path.to_path_buf(),
            file,
        })
    }

    /// When its content was changed last.
    ///
    /// # Errors
    /// The system's.
    pub fn modified(&self) -> Result<SystemTime> {
        let metadata = self.file.metadata();
        metadata.and_then(|m| m.modified()).at(&self.path, "look at")
    }

    /// Reads at `position` until `buffer` is full or the file ends, and gives the page cache back. Returns how many bytes there were.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, buffer: &mut [u8], position: u64) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], position + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).at(&self.path, "read"),
            }
        }
        let _ = fadvise(
            &self.file,
            position,
            std::num::NonZeroU64::new(done as u64),
            Advice::DontNeed,
        );
        Ok(done)
    }
}

/// A new file that is written from front to back, past the page cache where the filesystem lets us, in pieces of one size.
#[derive(Debug)]
pub struct Writing {
    path: PathBuf,
    file: Changing,
    /// Where the buffer's content goes: a multiple of [`ALIGN`].
    position: u64,
    /// Long enough for a piece that starts at an aligned address.
    buffer: Vec<u8>,
    start: usize,
    piece_bytes: usize,
    filled: usize,
}

impl Writing {
    /// Begins at the front of a file, which is made when missing. `piece_bytes`: bytes of a write, brought to a multiple of [`ALIGN`].
    ///
    /// # Errors
    /// The system's.
    pub fn begin(path: &Path, piece_bytes: usize) -> Result<Writing> {
        let piece_bytes = piece_bytes.next_multiple_of(ALIGN).max(ALIGN);
        let buffer = vec![0; piece_bytes + ALIGN];
        let start = buffer.as_ptr().align_offset(ALIGN);
        Ok(Writing {
            path: path.to_path_buf(),
            file: Changing::open(path, How::Direct).at(path, "open")?,
            position: 0,
            // Where an address cannot be aligned, which only a compiler's own evaluation may say, writes fail with an error.
            start: start.min(ALIGN),
            buffer,
            piece_bytes,
            filled: 0,
        })
    }

    /// Appends bytes. Returns how many were written to the file meanwhile.
    ///
    /// # Errors
    /// The system's.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<usize> {
        let before = self.position;
        while !bytes.is_empty() {
            let count = bytes.len().min(self.piece_bytes - self.filled);
            let (now, later) = bytes.split_at(count);
            let at = self.start + self.filled;
            self.buffer[at..at + count].copy_from_slice(now);
            (self.filled, bytes) = (self.filled + count, later);
            if self.filled == self.piece_bytes {
                self.write(self.piece_bytes)?;
            }
        }
        Ok((self.position - before) as usize)
    }

    /// Bytes appended.
    pub fn size_bytes(&self) -> u64 {
        self.position + self.filled as u64
    }

    /// Writes what is left, gives the file its exact length and this time of change, and makes it durable; not its name.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self, modified: SystemTime) -> Result<()> {
        let size_bytes = self.size_bytes();
        let padded = self.filled.next_multiple_of(ALIGN);
        self.buffer[self.start + self.filled..self.start + padded].fill(0);
        self.write(padded)?;
        self.file.set_len(size_bytes).at(&self.path, "truncate")?;
        self.file
            .set_modified(modified)
            .at(&self.path, "set the time of")?;
        self.file.sync().at(&self.path, "sync")
    }

    fn write(&mut self, count: usize) -> Result<()> {
        if count > 0 {
            let piece = &self.buffer[self.start..self.start + count];
            self.file.write(piece, self.position).at(&self.path, "write")?;
            self.position += count as u64;
        }
        self.filled = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_written_in_pieces_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let content: Vec<u8> = (0..20_001u32).map(|i| i as u8).collect();
        let mut writing = Writing::begin(&path, 5000).unwrap();
        let written: usize = content.chunks(777).map(|c| writing.append(c).unwrap()).sum();
        assert_eq!((written, writing.size_bytes()), (16_384, 20_001));
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        writing.finish(then).unwrap();
        let reading = Reading::open(&path).unwrap();
        let mut bytes = vec![0; 30_000];
        let count = reading.read(&mut bytes, 0).unwrap();
        assert_eq!(bytes[..count], content, "and nothing of what the file had before");
        assert_eq!(reading.read(&mut bytes, 20_000).unwrap(), 1);
        assert_eq!(reading.modified().unwrap(), then);
    }

    #[test]
    fn an_empty_file_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let writing = Writing::begin(&path, 1).unwrap();
        writing.finish(SystemTime::now()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
}
