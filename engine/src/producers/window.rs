//! What is remembered of one producer: its epoch and its last five batches.

use super::{BATCHES_RETAINED, NO_TXN_OFFSET};
use crate::batch::{BatchHeader, NO_SEQUENCE};

/// One batch of a producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) last_sequence: i32,
    pub(super) offset_delta: i32,
    pub(super) last_offset: i64,
    pub(super) timestamp_ms: i64,
}

impl Sent {
    pub(super) fn base_offset(&self) -> i64 {
        self.last_offset.wrapping_sub(i64::from(self.offset_delta))
    }

    pub(super) fn base_sequence(&self) -> i32 {
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }
}

/// The last batches of a producer, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) count: u8,
    batches: [Sent; BATCHES_RETAINED],
}

impl Window {
    pub(super) fn as_slice(&self) -> &[Sent] {
        &self.batches[..usize::from(self.count)]
    }

    pub(super) fn last(&self) -> Option<&Sent> {
        self.as_slice().last()
    }

    pub(super) fn push(&mut self, sent: Sent) {
        if usize::from(self.count) == BATCHES_RETAINED {
            self.batches.rotate_left(1);
            self.count -= 1;
        }
        self.batches[usize::from(self.count)] = sent;
        self.count += 1;
    }

    pub(super) fn truncate_to(&mut self, end_offset: i64) {
        self.count = self
            .as_slice()
            .partition_point(|sent| sent.last_offset < end_offset) as u8;
    }
}

/// What is known of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) epoch: i16,
    pub(super) coordinator_epoch: i32,
    /// Largest timestamp of its last batch: what Kafka's snapshot keeps.
    pub(super) last_timestamp_ms: i64,
    /// When the last batch came, by the broker's clock: what idleness is measured from.
    pub(super) last_append_ms: i64,
    pub(super) txn_first_offset: i64,
    pub(super) window: Window,
}

impl Producer {
    pub(super) fn new(epoch: i16) -> Producer {
        Producer {
            epoch,
            coordinator_epoch: -1,
            last_timestamp_ms: -1,
            last_append_ms: -1,
            txn_first_offset: NO_TXN_OFFSET,
            window: Window::default(),
        }
    }

    pub(super) fn last_sequence(&self) -> i32 {
        self.window.last().map_or(NO_SEQUENCE, |sent| sent.last_sequence)
    }

    pub(super) fn duplicate_of(&self, header: &BatchHeader) -> Option<&Sent> {
        let is_same = |sent: &&Sent| {
            sent.base_sequence() == header.base_sequence && sent.last_sequence == header.last_sequence()
        };
        if header.producer_epoch == self.epoch {
            self.window.as_slice().iter().find(is_same)
        } else {
            None
        }
    }

    /// A new epoch begins with an empty window.
    pub(super) fn enter_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            (self.epoch, self.window) = (epoch, Window::default());
        }
    }

    pub(super) fn has_open_txn(&self) -> bool {
        self.txn_first_offset != NO_TXN_OFFSET
    }
}
