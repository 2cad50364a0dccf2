//! Limits of topics, on the owners of their partitions: whether a batch is taken, and what goes to make room.
//!
//! ```text
//! batch ─▶ room taken ─▶ appended ─▶ counted ─▶ oldest records dropped, where the topic says so
//!             └ none: refused, or waits (`waiting`) ◀── QueueRoom: an owner has less, or a group has read on (`lag`)
//! ```
//!
//! What a batch is refused for is asked last: one that is wrong is told so, and one that was appended before is answered as that.

mod lag;
mod members;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use ringlog_engine::batch::BatchHeader;
use ringlog_engine::producers::ProducerError;
use ringlog_engine::shard::{AppendError, Producing, Slot};

use super::Core;
use super::mail::{AppendItem, Mail, PartitionKey};
use crate::handlers::produce::{self, Refused};
use crate::queue::{Full, TopicQueue, View};
use crate::wire::{ErrorCode, Uuid};
pub use members::QueueInTransit;
use waiting::Waiting;

/// Why a batch was not appended.
#[derive(Debug)]
pub(super) enum NotAppended {
    /// The engine's reason.
    Engine(AppendError),
    /// Its topic is full.
    Full(Box<Full>),
    /// Any other.
    Refused(Refused),
}

impl From<AppendError> for NotAppended {
    fn from(error: AppendError) -> NotAppended {
        NotAppended::Engine(error)
    }
}

impl NotAppended {
    /// What the client is told.
    pub(super) fn refusal(&self) -> Refused {
        match self {
            NotAppended::Engine(error) => produce::refusal(error),
            // It does not pass by being sent again at once, and clients show the words.
            NotAppended::Full(full) => Refused::because(ErrorCode::PolicyViolation, full.to_string()),
            NotAppended::Refused(refused) => refused.clone(),
        }
    }
}

/// What a core holds for the limits of topics.
#[derive(Debug, Default)]
pub(super) struct Queues {
    waiting: Waiting,
    /// Partitions of topics with limits.
    by_slot: HashMap<Slot, PartitionKey>,
    /// Those that keep more than their share until more of them is on stable storage, or the engine has room.
    behind: HashSet<Slot>,
    /// Topics with groups of an image that is being prepared for: kept until their partitions have them.
    preparing: Vec<Arc<TopicQueue>>,
    /// When all of this is looked at again, while there is anything to look at.
    next_look: Option<Instant>,
}

impl Core {
    /// Owner: whether a batch may be appended now, as far as limits of its topic and of the disk go.
    pub(super) fn admit_to_queue(
        &mut self,
        item: &AppendItem,
        (slot, is_bounded): (Slot, bool),
        producing: Producing,
    ) -> Result<(), NotAppended> {
        // What is no batch the engine refuses.
        let Some(header) = BatchHeader::read(&item.records) else {
            return Ok(());
        };
        let now = self.io.now();
        if self.checks.comes_too_early(&item.key, &header, now) {
            let refused = Refused::new(ErrorCode::OutOfOrderSequenceNumber);
            return Err(NotAppended::Refused(refused));
        }
        if self.shared.watermark.is_low() && self.is_new(item, slot, producing)? {
            self.expect_again(item, slot);
            let said = self.shared.watermark.to_string();
            let refused = Refused::because(ErrorCode::KafkaStorageError, said);
            return Err(NotAppended::Refused(refused));
        }
        if !is_bounded {
            return Ok(());
        }
        let (bytes, records) = (item.records.len() as i64, i64::from(header.last_offset_delta) + 1);
        let taken = match self.partitions.queue(&item.key) {
            Some((_, queue)) => queue.take_room(bytes, records.max(0)),
            None => Ok(()),
        };
        match taken {
            Err(full) if self.is_new(item, slot, producing)? => Err(NotAppended::Full(full)),
            _ => Ok(()),
        }
    }

    /// Whether a batch is right, and was not appended before. That its coordinator must be asked first does not matter yet.
    fn is_new(&self, item: &AppendItem, slot: Slot, producing: Producing) -> Result<bool, AppendError> {
        match self.shard.is_duplicate(&*self.io, slot, &item.records, producing) {
            Ok(is_duplicate) => Ok(!is_duplicate),
            Err(AppendError::Sequence(ProducerError::NotVerified { .. })) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Owner: a batch that is refused for now comes again. Where nothing is known of its producer, one behind it would be taken for the first.
    fn expect_again(&mut self, item: &AppendItem, slot: Slot) {
        let Some(header) = BatchHeader::read(&item.records).filter(BatchHeader::has_producer_id) else {
            return;
        };
        let producers = self.shard.producers(slot);
        if !producers.is_some_and(|producers| producers.knows(header.producer_id)) {
            let now = self.io.now();
            self.checks.expect(item.key, &header, now);
        }
    }

    fn view(&self, slot: Slot) -> Option<View> {
        let offsets = self.shard.offsets(slot)?;
        Some(View {
            log_start: offsets.log_start,
            log_end: offsets.log_end,
            appended_bytes: self.shard.load(slot).bytes_in as i64,
        })
    }

    /// Owner: something was appended to a partition, deleted from it, or not appended after all.
    pub(super) fn settle_queue(&mut self, key: &PartitionKey) {
        let Some((slot, true)) = self.partitions.bounded_slot(key) else {
            return;
        };
        if let Some(offset) = self.count_queue(key, slot) {
            self.trim(key, slot, offset);
        }
    }

    /// Counts what is there, and tells where the log is to start.
    fn count_queue(&mut self, key: &PartitionKey, slot: Slot) -> Option<i64> {
        let view = self.view(slot)?;
        let (_, queue) = self.partitions.queue(key)?;
        let (is_less, trim_to) = (queue.settle(view), queue.trim_to());
        if is_less && queue.topic().has_waiting() {
            self.tell_of_room(key.topic_id);
        }
        trim_to
    }

    /// Everybody whose producers wait looks again.
    fn tell_of_room(&mut self, topic_id: Uuid) {
        (0..self.cores).for_each(|core| self.post(core, Mail::QueueRoom(topic_id)));
    }

    /// Drops the oldest records. What is not on stable storage is not dropped: nobody knows yet whether it will be acknowledged.
    fn trim(&mut self, key: &PartitionKey, slot: Slot, offset: i64) {
        let Some(offsets) = self.shard.offsets(slot) else {
            return;
        };
        let to = offset.min(offsets.high_watermark);
        let mut is_done = to == offset;
        if to > offsets.log_start {
            match self.shard.delete_records(&mut *self.io, slot, to) {
                Ok(_) => drop(self.count_queue(key, slot)),
                Err(error) => is_done &= error != AppendError::Busy,
            }
        }
        match is_done {
            true => self.queues.behind.remove(&slot),
            false => self.queues.behind.insert(slot),
        };
    }

    /// Owner: more of a partition is on stable storage.
    pub(super) fn on_queue_advanced(&mut self, slot: Slot) {
        if !self.queues.behind.is_empty() && self.queues.behind.contains(&slot) {
            self.on_queue_shortened(slot);
        }
    }

    /// Owner: a partition holds less than before.
    pub(super) fn on_queue_shortened(&mut self, slot: Slot) {
        let Some(key) = self.queues.by_slot.get(&slot).copied() else {
            return;
        };
        if self.partitions.is_compacted(&key)
            && let Some(view) = self.view(slot)
            && let Some((_, queue)) = self.partitions.queue(&key)
        {
            // Batches go from the middle, too.
            let is_less = queue.survey(view, self.shard.segment_sizes(slot));
            if is_less && queue.topic().has_waiting() {
                self.tell_of_room(key.topic_id);
            }
        }
        self.settle_queue(&key);
    }

    /// Owner: there may be room.
    pub(super) fn on_queue_room(&mut self, topic_id: Uuid) {
        let own = self.queues.by_slot.values();
        let own: Vec<PartitionKey> = own.filter(|key| key.topic_id == topic_id).copied().collect();
        own.iter().for_each(|key| self.settle_queue(key));
        self.retry_waiting_for(topic_id);
    }
}
