//! What transactions change about a partition: markers, and where readers stop.

use super::{PartitionLog, Prepared};
use crate::batch::{self, EndTxn};
use crate::shard::{AppendError, Isolation, Marker};
use crate::tail::Place;

impl PartitionLog {
    /// Checks a marker against what is known of its producer. `bytes` is the batch that holds it. Changes nothing.
    pub fn prepare_marker(
        &self,
        marker: &Marker,
        bytes: &[u8],
        now_ms: i64,
    ) -> Result<Prepared, AppendError> {
        let header = batch::check_stored(bytes).map_err(AppendError::Batch)?;
        self.state
            .producers
            .check_marker(marker)
            .map_err(AppendError::Sequence)?;
        let end = EndTxn::read(&header, bytes);
        Ok(self.prepared(bytes, header, end, now_ms))
    }

    /// First offset that is undecided: of the earliest transaction that is open, or whose marker is not committed; the high watermark when there is
    /// none.
    pub fn last_stable_offset(&self) -> i64 {
        match self.undecided.first() {
            // The front of a transaction may have been deleted.
            Some((first, _)) => first.max(self.state.log_start_offset).min(self.committed_offset),
            None => self.committed_offset,
        }
    }

    /// Where a reader must stop, and the place of that where it is not the end of what is committed and known.
    pub fn readable_to(&self, isolation: Isolation) -> (i64, Option<Place>) {
        match isolation {
            Isolation::Uncommitted => (self.committed_offset, Some(self.committed)),
            Isolation::Committed => {
                let stable = self.last_stable_offset();
                let place = match self.undecided.first() {
                    _ if stable == self.committed_offset => Some(self.committed),
                    Some((first, place)) if first == stable => place,
                    _ => None,
                };
                (stable, place)
            }
        }
    }

    /// More of the log is on stable storage.
    pub fn commit_to(&mut self, end_offset: i64, end: Place) {
        self.committed_offset = end_offset;
        self.committed = end;
        self.undecided.committed_to(end_offset);
    }
}
