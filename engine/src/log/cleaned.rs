//! What cleaning by key has to know of an open partition, and what it leaves behind.

use std::time::Instant;

use super::PartitionLog;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub struct CleanState {
    /// Base offset of the active segment in the newest checkpoint that is on disk. A restart puts the journal's batches into that segment and
    /// those behind it, so none of them may be replaced.
    pub checkpointed_base: i64,
    /// The same of the checkpoint that is being made.
    pub encoded_base: i64,
    /// A pass has failed for good: none is made before the next start.
    pub is_uncleanable: bool,
    /// A pass has failed for now: none is made before then.
    pub not_before: Option<Instant>,
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
