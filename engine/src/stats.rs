//! What a shard has done since start, counted, and when its commits were handed to the disk: for reports, never for decisions.

use std::time::Instant;

use crate::io::Io;
use crate::journal::commit;
use crate::shard::{Shard, Slot, Ticket};

/// Counters of one shard since it was opened. They only grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardCounters {
    /// Batches appended; those a producer had sent before are not.
    pub appends: u64,
    /// Their bytes.
    pub appended_bytes: u64,
    /// Bytes of batches handed out to readers.
    pub read_bytes: u64,
    /// Reads that had to wait for a file.
    pub cold_reads: u64,
    /// Writes from tails to segment files.
    pub flushes: u64,
    /// Their bytes, padding included.
    pub flushed_bytes: u64,
    /// Checkpoints begun.
    pub checkpoints: u64,
    /// The journal's own.
    pub journal: commit::Counters,
}

/// What one partition was asked to carry since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Batches appended.
    pub batches_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Bytes of batches handed out to readers.
    pub bytes_out: u64,
}

impl Load {
    /// Bytes in both directions: what partitions are compared by.
    pub fn bytes(&self) -> u64 {
        self.bytes_in + self.bytes_out
    }
}

/// What a shard keeps for [`Shard::counters`] and [`Shard::committed_frame`].
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) counters: ShardCounters,
    /// When the frame in flight was handed to the disk.
    submitted: Option<Instant>,
    last: Option<CommittedFrame>,
}

/// The commit that ended last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedFrame {
    /// Its ticket.
    pub ticket: Ticket,
    /// When it was handed to the disk.
    pub submitted: Instant,
}

impl Stats {
    /// A write to a segment file begins.
    pub(crate) fn flushed(&mut self, bytes: usize) {
        self.counters.flushes += 1;
        self.counters.flushed_bytes += bytes as u64;
    }

    /// A frame was handed to the disk.
    pub(crate) fn submitted(&mut self, io: &dyn Io) {
        self.submitted = Some(io.clock());
    }

    /// The frame in flight is as durable as promised.
    pub(crate) fn committed(&mut self, ticket: Ticket) {
        if let Some(submitted) = self.submitted.take() {
            self.last = Some(CommittedFrame { ticket, submitted });
        }
    }
}

impl Shard {
    /// Counters since the shard was opened.
    pub fn counters(&self) -> ShardCounters {
        ShardCounters {
            journal: self.journal.counters(),
            ..self.stats.counters
        }
    }

    /// The commit that ended last: which one, and when it was handed to the disk.
    pub fn committed_frame(&self) -> Option<CommittedFrame> {
        self.stats.last
    }

    /// What the partition was asked to carry; nothing when it is not open.
    pub fn load(&self, slot: Slot) -> Load {
        self.log(slot).map_or_else(Load::default, |log| log.load)
    }

    /// A batch was appended.
    pub(crate) fn note_append(&mut self, slot: Slot, bytes: usize) {
        self.stats.counters.appends += 1;
        self.stats.counters.appended_bytes += bytes as u64;
        if let Some(log) = self.log_mut(slot) {
            log.load.batches_in += 1;
            log.load.bytes_in += bytes as u64;
        }
    }

    /// Bytes of a read go out to its reader. The caller says so, because only it knows what becomes of a read.
    pub fn note_read(&mut self, slot: Slot, bytes: usize) {
        self.stats.counters.read_bytes += bytes as u64;
        if let Some(log) = self.log_mut(slot) {
            log.load.bytes_out += bytes as u64;
        }
    }
}
