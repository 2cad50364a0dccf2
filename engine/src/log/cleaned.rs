//! What cleaning by key has to know of an open partition, and what it leaves behind.

use std::time::Instant;

use super::{LogState, PartitionLog};

/// See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub struct CleanState {
    /// Base offset of the active segment in the newest checkpoint that is on disk. A restart puts the journal's batches into that segment and
    /// those behind it, so none of them may be replaced.
    pub checkpointed_base: i64,
    /// The same of the checkpoint that is being made.
    pub encoded_base: i64,
    /// The log's start in the newest checkpoint that is on disk. A power cut may bring back what lies between it and the start that is served, so
    /// nothing that covers that may go before: a tombstone least of all.
    pub checkpointed_start: i64,
    /// The same of the checkpoint that is being made.
    pub encoded_start: i64,
    /// A pass has failed for good: none is made before the next start.
    pub is_uncleanable: bool,
    /// A pass has failed for now: none is made before then.
    pub not_before: Option<Instant>,
}

impl CleanState {
    /// A checkpoint is being made of this log.
    pub fn note_encoded(&mut self, state: &LogState) {
        self.encoded_base = state.active().base_offset;
        self.encoded_start = state.log_start_offset;
    }

    /// The checkpoint that was being made is on disk.
    pub fn note_checkpoint(&mut self) {
        self.checkpointed_base = self.checkpointed_base.max(self.encoded_base);
        self.checkpointed_start = self.checkpointed_start.max(self.encoded_start);
    }

    /// A checkpoint that was being made may never be on disk.
    pub fn forget_encoded(&mut self) {
        self.encoded_base = self.checkpointed_base;
        self.encoded_start = self.checkpointed_start;
    }
}

impl PartitionLog {
    /// Whether batches may be missing in between. Without it, a stored batch whose offset does not follow the one before counts as damaged.
    ///
    /// That is so for topics that are cleaned by key, and stays so for those that were: the checkpoint of the cleaner has an entry of a
    /// partition before the first gap is in it, and keeps it as long as there is the partition.
    pub fn may_have_gaps(&self) -> bool {
        self.options.compaction.is_some() || self.state.cleaned_to.is_some()
    }
}
