//! Idempotent producers of one partition: what each sent last, so that a batch sent again is not written again.
//!
//! A producer numbers its records per partition. Of each producer the last five batches are remembered: one of them
//! sent again is a duplicate and answered as the first time; any other must begin where the last one ended. A batch
//! of a higher epoch begins at 0, a lower epoch is an older instance of the same producer and refused. Of a producer
//! nobody remembers any sequence is accepted, because its state may have expired.
//!
//! The state is derived from the log. Snapshots of it make recovery short: Kafka's `.snapshot` files
//! ([`ProducerStates::encode_snapshot`]), which keep one batch per producer, and an encoding of our own
//! ([`ProducerStates::encode_window`]), which keeps all five.
//!
//! A transactional batch opens its producer's transaction, if none is open, and a marker ends it (`txn`). Which are open is kept in the order of
//! their first offsets.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::batch::{BatchHeader, EndTxn, NO_SEQUENCE};
use crate::shard::{Origin, Producing};

mod active;
mod error;
mod snapshot;
mod txn;
mod window;

pub use active::ActiveProducer;
pub use error::ProducerError;
pub use snapshot::SnapshotError;
pub use txn::TxnStep;
use window::{Producer, Sent};

/// Batches remembered per producer; clients keep at most as many in flight.
pub const BATCHES_RETAINED: usize = 5;

/// Producers remembered per partition before the longest idle are forgotten, ahead of `producer.id.expiration.ms`.
///
/// Kafka has no such limit, and a client that takes a new id for each batch fills its memory. One producer takes about
/// 170 bytes in a table that is at least half full, so this is at most some 10 MiB. To be forgotten costs a producer only the recognition of a batch sent twice.
/// One with an open transaction is never forgotten: where all have one, no other producer can begin one ([`ProducerError::TooManyTransactions`]).
pub const MAX_PRODUCERS: usize = 32_768;

/// "No transaction open."
pub const NO_TXN_OFFSET: i64 = -1;

/// What to do with a batch that may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append it, and [`ProducerStates::record`] it.
    Accept,
    /// It is in the log already. Answer as the first time, once that batch is as durable as promised.
    Duplicate {
        /// Offset of its first record.
        base_offset: i64,
        /// Offset of its last record.
        last_offset: i64,
        /// Its largest timestamp, which Kafka answers as the time of the append.
        timestamp_ms: i64,
    },
}

/// All producers one partition remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerStates {
    producers: HashMap<i64, Producer>,
    /// The open transactions: first offset and producer.
    open: BTreeMap<i64, i64>,
    max_producers: usize,
    end_offset: i64,
}

impl Default for ProducerStates {
    fn default() -> Self {
        ProducerStates::new()
    }
}

impl ProducerStates {
    /// No producers, and a limit of [`MAX_PRODUCERS`].
    pub fn new() -> ProducerStates {
        ProducerStates::with_limit(MAX_PRODUCERS)
    }

    /// No producers, and at least one allowed.
    pub fn with_limit(max_producers: usize) -> ProducerStates {
        ProducerStates {
            producers: HashMap::new(),
            open: BTreeMap::new(),
            max_producers: max_producers.max(1),
            end_offset: 0,
        }
    }

    /// Number of producers remembered.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is remembered.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Bytes of memory the producers take, about.
    pub fn memory_bytes(&self) -> usize {
        self.producers.capacity() * (size_of::<(i64, Producer)>() + 1)
    }

    /// End of the log the state was derived from, exclusive: the number in the name of its snapshot.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Judges a valid batch against what its producer sent before.
    pub fn check(&self, header: &BatchHeader, producing: Producing) -> Result<Verdict, ProducerError> {
        if !header.has_producer_id() {
            return Ok(Verdict::Accept);
        }
        let is_client = producing.origin == Origin::Client;
        let known = self.producers.get(&header.producer_id);
        if let Some(sent) = known.filter(|_| is_client).and_then(|k| k.duplicate_of(header)) {
            let &Sent {
                last_offset,
                timestamp_ms,
                ..
            } = sent;
            return Ok(Verdict::Duplicate {
                base_offset: sent.base_offset(),
                last_offset,
                timestamp_ms,
            });
        }
        if let Some(known) = known {
            check_epoch(known, header)?;
        }
        self.check_txn(known, header, producing)?;
        if let Some(known) = known {
            if is_client {
                check_sequence(known, header)?;
            }
            if known.has_open_txn() && !header.is_transactional() {
                let (producer_id, txn_first_offset) = (header.producer_id, known.txn_first_offset);
                return Err(ProducerError::OutsideTransaction {
                    producer_id,
                    txn_first_offset,
                });
            }
        }
        Ok(Verdict::Accept)
    }

    /// Notes a batch that was given `base_offset` in the log, whether or not it has a producer. `append_ms` is the
    /// broker's clock, in recovery as well: idleness is counted from the recovery then. `marker` is what [`EndTxn::read`] found in it. Tells what
    /// has become of a transaction.
    ///
    /// Nothing is judged: what is in the log counts. The timestamp kept is the header's, so a batch stamped with the
    /// time of the append is noted with its header after the stamp.
    pub fn record(
        &mut self,
        header: &BatchHeader,
        base_offset: i64,
        append_ms: i64,
        marker: Option<EndTxn>,
    ) -> TxnStep {
        let last_offset = base_offset.wrapping_add(i64::from(header.last_offset_delta));
        self.advance_to(last_offset.saturating_add(1));
        if !header.has_producer_id() {
            return TxnStep::None;
        }
        if header.is_control() {
            return match marker {
                Some(end) => self.end_txn(header, end, base_offset, append_ms),
                None => TxnStep::None,
            };
        }
        let known = self.entry(header.producer_id, header.producer_epoch);
        known.enter_epoch(header.producer_epoch);
        known.window.push(Sent {
            last_sequence: header.last_sequence(),
            offset_delta: header.last_offset_delta,
            last_offset,
            timestamp_ms: header.max_timestamp_ms,
        });
        (known.last_timestamp_ms, known.last_append_ms) = (header.max_timestamp_ms, append_ms);
        if header.is_transactional() && !known.has_open_txn() {
            known.txn_first_offset = base_offset;
            self.open.insert(base_offset, header.producer_id);
            return TxnStep::Began(base_offset);
        }
        TxnStep::None
    }

    /// Whether anything of the producer is remembered.
    pub fn knows(&self, producer_id: i64) -> bool {
        self.producers.contains_key(&producer_id)
    }

    /// Moves the end forward over records without producers.
    pub fn advance_to(&mut self, end_offset: i64) {
        self.end_offset = self.end_offset.max(end_offset);
    }

    /// Forgets producers that sent nothing for `expiration_ms` (`producer.id.expiration.ms`), those with an open
    /// transaction excepted. Returns how many.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers
            .retain(|_, p| p.has_open_txn() || now_ms.saturating_sub(p.last_append_ms) < expiration_ms);
        self.producers.shrink_to(self.producers.len() * 2);
        before - self.producers.len()
    }

    /// Counts the idleness of all producers from `now_ms` at the earliest. For the start of a broker: a snapshot knows only the
    /// timestamps of the batches, and those of data from last year would forget the producer that is about to send it again.
    pub fn assume_active(&mut self, now_ms: i64) {
        for producer in self.producers.values_mut() {
            producer.last_append_ms = producer.last_append_ms.max(now_ms);
        }
    }

    /// Goes back to the state at `end_offset`, the new end of the log, as far as it is remembered.
    ///
    /// (Kafka loads its last snapshot and reads the log from there. Here the batches cut off are taken out of the
    /// windows; a producer of which none remains is forgotten, and may go on with any sequence. Of a transaction whose marker is cut off it is not
    /// remembered that it was open.)
    pub fn truncate_to(&mut self, end_offset: i64) {
        self.open.retain(|first, _| *first < end_offset);
        self.producers.retain(|_, producer| {
            if producer.txn_first_offset >= end_offset {
                producer.txn_first_offset = NO_TXN_OFFSET;
            }
            let had_batches = producer.window.count > 0;
            producer.window.truncate_to(end_offset);
            if let Some(last) = producer.window.last() {
                producer.last_timestamp_ms = last.timestamp_ms;
            }
            producer.window.count > 0 || !had_batches || producer.has_open_txn()
        });
        self.end_offset = self.end_offset.min(end_offset);
    }

    /// Follows a log whose first records were deleted. Producers are kept even when all their records are gone: only
    /// time makes them expire.
    pub fn remove_before(&mut self, log_start_offset: i64) {
        self.advance_to(log_start_offset);
    }

    /// Forgets everything; the log begins anew at `offset`.
    pub fn reset(&mut self, offset: i64) {
        self.producers = HashMap::new();
        self.open = BTreeMap::new();
        self.end_offset = offset;
    }

    fn entry(&mut self, producer_id: i64, epoch: i16) -> &mut Producer {
        if self.producers.len() >= self.max_producers && !self.producers.contains_key(&producer_id) {
            self.evict();
        }
        match self.producers.entry(producer_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Producer::new(epoch)),
        }
    }

    /// Makes room for a sixteenth of the limit at once, so that a flood of new ids does not search for the oldest each time.
    /// False when there is none to forget.
    fn evict(&mut self) -> bool {
        // All have transactions open: there is no need to look at each.
        if self.open.len() >= self.producers.len() {
            return false;
        }
        let idle = self.producers.iter().filter(|(_, p)| !p.has_open_txn());
        let mut idle: Vec<(i64, i64)> = idle.map(|(id, p)| (p.last_append_ms, *id)).collect();
        let count = (self.max_producers / 16).max(1).min(idle.len());
        if count == 0 {
            return false;
        }
        idle.select_nth_unstable(count - 1);
        for (_, id) in &idle[..count] {
            self.producers.remove(id);
        }
        true
    }
}

fn check_epoch(known: &Producer, header: &BatchHeader) -> Result<(), ProducerError> {
    let &BatchHeader {
        producer_id,
        producer_epoch: epoch,
        ..
    } = header;
    if epoch < known.epoch {
        return Err(ProducerError::InvalidEpoch {
            producer_id,
            epoch,
            current_epoch: known.epoch,
        });
    }
    Ok(())
}

fn check_sequence(known: &Producer, header: &BatchHeader) -> Result<(), ProducerError> {
    let &BatchHeader {
        producer_id,
        producer_epoch: epoch,
        base_sequence: sequence,
        ..
    } = header;
    let is_same_epoch = epoch == known.epoch;
    let last_sequence = if is_same_epoch {
        known.last_sequence()
    } else {
        NO_SEQUENCE
    };
    let is_next = match last_sequence {
        i32::MAX => sequence == 0,
        last => sequence == last + 1,
    };
    if is_next || known.epoch == -1 {
        return Ok(());
    }
    Err(ProducerError::OutOfOrderSequence {
        producer_id,
        epoch,
        current_epoch: known.epoch,
        sequence,
        last_sequence,
    })
}

#[cfg(test)]
mod tests;
