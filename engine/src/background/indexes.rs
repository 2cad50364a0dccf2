//! The index files of a segment, continued.

use std::path::Path;

use super::segment_file;
use crate::aborted::AbortedTail;
use crate::error::Error;
use crate::index::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES};
use crate::io::files::{self, Sync};

/// Where the indexes of a segment are continued, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexTail {
    /// Bytes of `.index` that are in the file already; anything behind them is overwritten.
    pub offset_at: u64,
    /// Offset entries to put there.
    pub offset_bytes: Vec<u8>,
    /// The same for `.timeindex`.
    pub time_at: u64,
    /// Time entries to put there.
    pub time_bytes: Vec<u8>,
    /// The same for `.txnindex`.
    pub aborted: AbortedTail,
}

impl IndexTail {
    /// How many offset and time entries the files have that end with this piece.
    pub fn end_counts(&self) -> (u32, u32) {
        let count = |at: u64, bytes: &[u8], entry: usize| ((at as usize + bytes.len()) / entry) as u32;
        (
            count(self.offset_at, &self.offset_bytes, OFFSET_ENTRY_BYTES),
            count(self.time_at, &self.time_bytes, TIME_ENTRY_BYTES),
        )
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.offset_bytes.is_empty() && self.time_bytes.is_empty() && self.aborted.bytes.is_empty()
    }
}

/// Continues a segment's indexes; `whole`: their files end there.
pub(super) fn extend_index(
    folder: &Path,
    base_offset: i64,
    index: &IndexTail,
    whole: bool,
    sync: Sync,
) -> Result<(), Error> {
    let parts = [
        (".index", index.offset_at, &index.offset_bytes),
        (".timeindex", index.time_at, &index.time_bytes),
    ];
    for (suffix, at, bytes) in parts {
        if whole || !bytes.is_empty() {
            files::write_tail(&segment_file(folder, base_offset, suffix), at, bytes, sync)?;
        }
    }
    extend_aborted(folder, base_offset, &index.aborted, whole, sync)
}

/// Continues the index of aborted transactions. One without an entry has no file; what stands there is of an attempt that a power cut undid.
pub(crate) fn extend_aborted(
    folder: &Path,
    base_offset: i64,
    tail: &AbortedTail,
    whole: bool,
    sync: Sync,
) -> Result<(), Error> {
    let path = segment_file(folder, base_offset, ".txnindex");
    if tail.end_count() > 0 {
        if whole || !tail.bytes.is_empty() {
            let is_new = !path.exists();
            files::write_tail(&path, tail.at, &tail.bytes, sync)?;
            // The other indexes' names are synced when they are made, empty; this one is made when it is needed.
            if is_new && sync == Sync::Now {
                files::sync_dir(folder)?;
            }
        }
    } else if whole && path.exists() {
        files::remove_file(&path)?;
    }
    Ok(())
}
