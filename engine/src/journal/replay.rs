//! Reading a journal back: the chain of intact frames from a known one on. Blocking; runs before the cores start.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::format::{self, Entry, FRAME_HEADER_BYTES, FRAMES_START, FileHeader, FrameHeader};
use crate::error::Error;
use crate::io::ALIGN;

/// Where a replay starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The journal the checkpoint goes with.
    pub journal_id: u64,
    /// The first frame.
    pub sequence: u64,
    /// Where it is looked for first.
    pub position: u64,
}

/// What a replay went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Intact frames.
    pub frames: u64,
    /// Entries in them.
    pub entries: u64,
    /// 1 when the chain ends in a frame that was begun and not finished; it was never acknowledged.
    pub torn_frames: u64,
}

/// The id in a journal's header page, or `None` for a file that was never a journal.
pub fn journal_id(path: &Path) -> Result<Option<u64>, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut page = [0; ALIGN];
    let have = read_at(&file, path, &mut page, 0)?;
    match format::read_file_header(&page[..have]) {
        FileHeader::Journal(id) => Ok(Some(id)),
        FileHeader::Unwritten => Ok(None),
        FileHeader::Newer(found) => Err(Error::NewerFormat {
            path: path.to_path_buf(),
            found,
            supported: format::VERSION,
        }),
    }
}

/// Gives every entry of the chain that begins at `start` to `visit`, in order. Memory: one frame.
pub fn replay(
    path: &Path,
    start: Start,
    mut visit: impl FnMut(&Entry<'_>) -> Result<(), Error>,
) -> Result<Replayed, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut done = Replayed::default();
    let mut frame = Vec::new();
    let (mut sequence, mut position) = (start.sequence, start.position);
    loop {
        let wanted = (start.journal_id, sequence);
        let mut torn = false;
        let found = [position, FRAMES_START].into_iter().find_map(|at| {
            match read_frame(&file, path, &mut frame, at, wanted) {
                Ok(Found::Intact(header)) => Some(Ok((at, header))),
                Ok(Found::Torn) => {
                    torn = true;
                    None
                }
                Ok(Found::Nothing) => None,
                Err(e) => Some(Err(e)),
            }
        });
        let Some(found) = found else {
            done.torn_frames = u64::from(torn);
            return Ok(done);
        };
        let (at, header) = found?;
        let payload = &frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.payload_bytes as usize];
        for entry in format::entries(payload) {
            let damaged = |detail: &str| Error::Corrupt {
                path: path.to_path_buf(),
                detail: format!("frame {sequence} at byte {at}: {detail}"),
            };
            visit(&entry.map_err(damaged)?)?;
            done.entries += 1;
        }
        done.frames += 1;
        sequence += 1;
        position = at + u64::from(header.frame_bytes);
    }
}

enum Found {
    Intact(FrameHeader),
    /// The frame that was looked for begins here, but not all of it is there.
    Torn,
    Nothing,
}

fn read_frame(
    file: &File,
    path: &Path,
    frame: &mut Vec<u8>,
    at: u64,
    (journal_id, sequence): (u64, u64),
) -> Result<Found, Error> {
    frame.resize(ALIGN, 0);
    let have = read_at(file, path, frame, at)?;
    let Some(header) = FrameHeader::decode(&frame[..have]) else {
        return Ok(Found::Nothing);
    };
    if (header.journal_id, header.sequence) != (journal_id, sequence) {
        return Ok(Found::Nothing);
    }
    // The length is believed only as far as the file goes.
    let file_bytes = file.metadata().map_err(Error::io("stat", path))?.len();
    if at + u64::from(header.frame_bytes) > file_bytes {
        return Ok(Found::Torn);
    }
    frame.resize(header.frame_bytes as usize, 0);
    let have = read_at(file, path, frame, at)?;
    Ok(if header.is_intact(&frame[..have]) {
        Found::Intact(header)
    } else {
        Found::Torn
    })
}

fn read_at(file: &File, path: &Path, out: &mut [u8], at: u64) -> Result<usize, Error> {
    let mut done = 0;
    while done < out.len() {
        match file.read_at(&mut out[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read", path)(e)),
        }
    }
    Ok(done)
}
