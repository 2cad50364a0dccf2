//! What a core has under way on its disk: a token for each, and what to do when it comes back.

use crate::io::Token;
use crate::read::{Key, ReadId};
use crate::shard::Slot;

/// An operation under way.
#[derive(Debug)]
pub enum Op {
    /// The journal's write in flight.
    JournalWrite,
    /// The journal's file is being synced, behind a write.
    JournalSync,
    /// The journal's file is being pre-written up to this many bytes.
    JournalGrow(u64),
    /// A segment's file is being opened, to be flushed to.
    OpenToFlush(Slot, i64),
    /// Space up to this many bytes is being allocated for a segment's file.
    Allocate(Slot, i64, u64),
    /// A spare file is being made a segment's log by the files thread.
    Recycle(Slot, i64),
    /// A spare file is being given back to a full disk.
    GiveSpareBack,
    /// A piece of the tail is being written; the log is in the file up to this position afterwards.
    Flush(Slot, i64, u64),
    /// The active segment's file is being synced.
    Sync(Slot, i64),
    /// A segment is being sealed by the files thread.
    Seal(Slot, i64),
    /// A segment's index is being continued by the files thread, for the checkpoint of this number.
    ExtendIndex(Slot, i64, u64),
    /// The index of a partition that leaves for another core is being completed by the files thread, in the attempt of this number.
    HandOverIndex(Slot, u64),
    /// The checkpoint file is being replaced by the one of this number.
    Checkpoint(u64),
    /// Segments below the log start are being taken out of sight.
    HideSegments(Slot, Vec<i64>),
    /// Their files are to be removed.
    RemoveFiles,
    /// The files thread looks how old segments of a partition are.
    NewestTimes(Slot),
    /// The files thread looks how old segments of a partition are that may be cleaned.
    CleanTimes(Slot),
    /// Aborted transactions of a segment are being read for the cleaner.
    CleanAborted(Slot, i64),
    /// What the pass of this number wrote is being prepared to take the place of old segments.
    PrepareSwap(u64),
    /// It takes their place.
    Swap(u64),
    /// What the pass of this number wrote is being removed.
    DropCleaned(u64),
    /// Up to where the pass of this number has cleaned is being written down.
    NoteCleaned(u64),
    /// The end of a segment that was active is opened, or read, so that appends can go on.
    Prefix(Slot, i64),
    /// A step of a cold read.
    Read(ReadId),
    /// A chunk of a log file is being read into the cache; so many bytes of it are log.
    Chunk(Key, usize),
    /// Aborted transactions of a segment are being read for an answer.
    Aborted(ReadId),
    /// A search for a timestamp on disk.
    FindTime(usize),
}

/// Operations by token. A token is used again only after its operation ended.
#[derive(Default)]
pub struct Ops {
    entries: Vec<Option<Op>>,
    free: Vec<usize>,
}

impl Ops {
    /// A token for the operation.
    pub fn start(&mut self, op: Op) -> Token {
        match self.free.pop() {
            Some(i) => {
                self.entries[i] = Some(op);
                i as Token
            }
            None => {
                self.entries.push(Some(op));
                (self.entries.len() - 1) as Token
            }
        }
    }

    /// The operation that ended. `None` for a token that was never given out.
    pub fn finish(&mut self, token: Token) -> Option<Op> {
        let i = usize::try_from(token).ok()?;
        let op = self.entries.get_mut(i)?.take()?;
        self.free.push(i);
        Some(op)
    }
}
