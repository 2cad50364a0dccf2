//! Which batches a reader does not see: markers always, and with read_committed those of aborted transactions.

use std::collections::HashSet;

use ringlog_records::{Batch, ControlKind, RecordError};

use crate::cli::args::Isolation;
use crate::wire::fetch::AbortedTransaction;

/// Control batches hold one small record; more would be no marker.
const MARKER_MAX_BYTES: u64 = 1 << 20;

/// The aborted transactions of one answer, while its batches are walked in order.
#[derive(Debug, Default)]
pub(super) struct Aborted {
    /// First offset and producer, the last one first.
    coming: Vec<(i64, i64)>,
    open: HashSet<i64>,
}

impl Aborted {
    /// From what the broker listed; with read_uncommitted nothing is hidden.
    pub(super) fn new(listed: Option<&[AbortedTransaction]>, isolation: Isolation) -> Self {
        let listed = listed
            .filter(|_| isolation == Isolation::ReadCommitted)
            .unwrap_or_default();
        let mut coming: Vec<_> = listed
            .iter()
            .map(|aborted| (aborted.first_offset, aborted.producer_id))
            .collect();
        coming.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            coming,
            open: HashSet::new(),
        }
    }

    /// Whether the next batch is hidden from the reader.
    pub(super) fn hides(&mut self, batch: &Batch) -> Result<bool, RecordError> {
        while let Some((_, producer_id)) = self
            .coming
            .pop_if(|(first, _)| *first <= batch.header.last_offset())
        {
            self.open.insert(producer_id);
        }
        if batch.header.is_control() {
            if is_abort(batch)? {
                self.open.remove(&batch.header.producer_id);
            }
            return Ok(true);
        }
        Ok(batch.header.is_transactional() && self.open.contains(&batch.header.producer_id))
    }
}

fn is_abort(batch: &Batch) -> Result<bool, RecordError> {
    let marker = batch.records(MARKER_MAX_BYTES)?.next().transpose()?;
    Ok(marker.and_then(|record| record.control_kind()) == Some(ControlKind::Abort))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use ringlog_records::{BatchBuilder, Batches, Codec, NewRecord, Producer};

    fn batch(base_offset: i64, producer_id: i64, attributes: u8, key: &[u8]) -> Batch {
        let mut builder = BatchBuilder::default();
        builder.push(&NewRecord {
            key: Some(key.to_vec()),
            ..NewRecord::default()
        });
        let producer = Producer {
            id: producer_id,
            epoch: 0,
            base_sequence: 0,
        };
        let mut bytes = builder.finish(Codec::None, producer).expect("packs");
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[22] |= attributes;
        Batches::new(Bytes::from(bytes))
            .next()
            .expect("one")
            .expect("whole")
    }

    #[test]
    fn aborted_batches_are_hidden_until_their_marker() {
        const TRANSACTIONAL: u8 = 1 << 4;
        const CONTROL: u8 = 1 << 5 | TRANSACTIONAL;
        let listed = [AbortedTransaction {
            producer_id: 1,
            first_offset: 10,
        }];
        let mut aborted = Aborted::new(Some(&listed), Isolation::ReadCommitted);
        let mut uncommitted = Aborted::new(Some(&listed), Isolation::ReadUncommitted);
        for (batch, hidden, hidden_uncommitted) in [
            (batch(9, 1, TRANSACTIONAL, b""), false, false),
            (batch(10, 1, TRANSACTIONAL, b""), true, false),
            (batch(11, 2, TRANSACTIONAL, b""), false, false),
            (batch(12, 1, 0, b""), false, false),
            (batch(13, 1, CONTROL, &[0, 0, 0, 0]), true, true),
            (batch(14, 1, TRANSACTIONAL, b""), false, false),
        ] {
            assert_eq!(aborted.hides(&batch), Ok(hidden), "{}", batch.header.base_offset);
            assert_eq!(uncommitted.hides(&batch), Ok(hidden_uncommitted));
        }
    }
}
