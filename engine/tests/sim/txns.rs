//! Transactions in a life: producers that begin, commit and abort some, and readers of what is committed, held against a model that has nothing
//! but the batches that were appended.

use std::collections::BTreeMap;

use ringlog_engine::batch::{BatchBuilder, BatchHeader, EndTxn, advance_sequence, marker_batch};
use ringlog_engine::io::Io;
use ringlog_engine::producers::ProducerError;
use ringlog_engine::shard::*;

use crate::history::{Topic, Value};
use crate::life::{Life, Side, whole_batches};

/// Producers of a topic.
const PRODUCERS: u64 = 3;

/// What the batches say of one producer.
#[derive(Clone, Copy, Debug)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    open_since: Option<i64>,
}

/// What the batches up to a log's end say of its transactions.
#[derive(Clone, Debug, Default)]
pub struct Model {
    producers: BTreeMap<i64, Producer>,
    /// All that ended: first offset and marker.
    ended: Vec<(i64, i64)>,
    aborted: Vec<AbortedTxn>,
}

impl Model {
    pub fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Model {
        let mut model = Model::default();
        values.for_each(|value| model.note(value));
        model
    }

    fn note(&mut self, value: &Value) {
        let header = BatchHeader::read(&value.bytes).unwrap();
        if header.producer_id < 0 {
            return;
        }
        let id = header.producer_id;
        let Some(end) = EndTxn::read(&header, &value.bytes) else {
            let known = self.producers.get(&id).and_then(|p| p.open_since);
            let producer = Producer {
                epoch: header.producer_epoch,
                next_sequence: advance_sequence(header.last_sequence(), 1),
                open_since: Some(known.unwrap_or(value.base_offset)),
            };
            self.producers.insert(id, producer);
            return;
        };
        let before = self.producers.get(&id).copied();
        let is_same = before.is_some_and(|p| p.epoch == header.producer_epoch);
        let producer = Producer {
            epoch: header.producer_epoch,
            next_sequence: before.filter(|_| is_same).map_or(0, |p| p.next_sequence),
            open_since: None,
        };
        self.producers.insert(id, producer);
        let Some(first_offset) = before.and_then(|p| p.open_since) else {
            return;
        };
        let last_offset = value.base_offset;
        self.ended.push((first_offset, last_offset));
        if end.kind == MarkerKind::Abort {
            let first_open = self.producers.values().filter_map(|p| p.open_since).min();
            self.aborted.push(AbortedTxn {
                producer_id: id,
                first_offset,
                last_offset,
                last_stable_offset: first_open.unwrap_or(last_offset + 1),
            });
        }
    }

    /// The last stable offset with this high watermark.
    pub fn last_stable(&self, log_start: i64, high_watermark: i64) -> i64 {
        let open = self.producers.values().filter_map(|p| p.open_since);
        let undecided = self.ended.iter().filter(|(_, marker)| *marker >= high_watermark);
        let first = open.chain(undecided.map(|(first, _)| *first)).min();
        first.map_or(high_watermark, |first| first.max(log_start).min(high_watermark))
    }

    /// What a reader of `[from, to)` must be told.
    fn aborted(&self, from: i64, to: i64) -> Vec<AbortedTxn> {
        let is_there = |a: &&AbortedTxn| a.last_offset >= from && a.first_offset < to;
        self.aborted.iter().filter(is_there).copied().collect()
    }
}

impl Topic {
    fn model(&self) -> Model {
        Model::of(self.values.iter())
    }
}

impl Life {
    /// The last stable offset is what the batches say.
    fn check_stable(&self, topic: usize) {
        let Some(offsets) = self.slots[topic].and_then(|slot| self.offsets(slot)) else {
            return;
        };
        let model = self.history.topics[topic].model();
        let stable = model.last_stable(offsets.log_start, offsets.high_watermark);
        assert_eq!(offsets.last_stable, stable, "{offsets:?}");
    }

    /// A producer goes on with its transaction, begins one, or ends it.
    pub fn transact(&mut self, topic: usize) {
        let Some((core, slot)) = self.slots[topic].filter(|_| self.failed.is_none()) else {
            return;
        };
        self.check_stable(topic);
        let id = self.random.below(PRODUCERS) as i64;
        let known = self.history.topics[topic].model().producers.get(&id).copied();
        let is_open = known.is_some_and(|p| p.open_since.is_some());
        if known.is_some() && (is_open && self.random.percent(50) || self.random.percent(5)) {
            return self.end_txn(topic, id);
        }
        let (epoch, sequence) = known.map_or((0, 0), |p| (p.epoch, p.next_sequence));
        let value = vec![id as u8; 10 + self.random.below(300) as usize];
        let bytes = BatchBuilder::new()
            .timestamp(1_000_000)
            .producer(id, epoch, sequence)
            .transactional()
            .record(0, None, Some(&value))
            .finish();
        let Side { machine, shard, .. } = &mut self.sides[core];
        assert_eq!(shard.has_open_txn(slot, id, epoch), is_open);
        if !is_open {
            let refused = shard.append(machine, slot, &bytes);
            let expected = ProducerError::NotVerified { producer_id: id };
            assert_eq!(refused, Err(AppendError::Sequence(expected)));
        }
        let producing = Producing {
            is_verified: !is_open,
            bumps_epochs: self.random.percent(50),
            ..Producing::default()
        };
        self.place(topic, bytes, |machine, shard, slot, bytes| {
            shard.append_as(machine, slot, bytes, producing)
        });
    }

    fn end_txn(&mut self, topic: usize, id: i64) {
        let Some(known) = self.history.topics[topic].model().producers.get(&id).copied() else {
            return;
        };
        let Some((core, _)) = self.slots[topic] else {
            return;
        };
        let transaction_version = self.random.pick(&[1, 2]);
        let marker = Marker {
            producer_id: id,
            producer_epoch: known.epoch + i16::from(transaction_version == 2),
            kind: self
                .random
                .pick(&[MarkerKind::Abort, MarkerKind::Abort, MarkerKind::Commit]),
            coordinator_epoch: 3,
            transaction_version,
        };
        let end = EndTxn {
            kind: marker.kind,
            coordinator_epoch: marker.coordinator_epoch,
        };
        let now_ms = self.sides[core].machine.wall_ms();
        let bytes = marker_batch(id, marker.producer_epoch, end, now_ms);
        // The clock stands still between two turns; where it had to be waited, the marker has another time.
        if let Some((core, slot)) = self.slots[topic] {
            let Side { machine, shard, .. } = &mut self.sides[core];
            match shard.append_marker(machine, slot, &marker) {
                Ok(appended) => self.appended(topic, core, &appended, bytes),
                Err(AppendError::Sequence(wrong)) => panic!("{marker:?}: {wrong}"),
                Err(_) => {}
            }
        }
    }

    fn place(
        &mut self,
        topic: usize,
        bytes: Vec<u8>,
        append: impl Fn(&mut crate::machine::Machine, &mut Shard, Slot, &[u8]) -> Result<Appended, AppendError>,
    ) {
        for _ in 0..40 {
            // It may be on its way by now.
            let Some((core, slot)) = self.slots[topic] else {
                return;
            };
            let Side { machine, shard, .. } = &mut self.sides[core];
            match append(machine, shard, slot, &bytes) {
                Ok(appended) => return self.appended(topic, core, &appended, bytes),
                Err(AppendError::Busy) => self.turn(),
                Err(AppendError::Sequence(wrong)) => panic!("{wrong}"),
                Err(_) => return,
            }
        }
    }

    /// Reads what is committed of a topic, from some offset on; gives the end of what came.
    pub fn check_committed(
        &mut self,
        topic: usize,
        offset: i64,
        max_bytes: usize,
    ) -> Result<Option<i64>, String> {
        let Some(slot) = self.slots[topic] else {
            return Ok(None);
        };
        let Some(before) = self.offsets(slot) else {
            return Ok(None);
        };
        let model = self.history.topics[topic].model();
        let stable = model.last_stable(before.log_start, before.high_watermark);
        if before.last_stable != stable {
            let is = before.last_stable;
            return Err(format!("stable to {is}, must be to {stable}: {before:?}"));
        }
        let data = match self.read_with(slot, offset, max_bytes, Isolation::Committed) {
            Ok(data) => data,
            Err(ReadError::Busy) => {
                self.turn();
                return Ok(Some(offset));
            }
            // Retention was faster.
            Err(ReadError::OutOfRange { log_start_offset, .. }) if log_start_offset > offset => {
                return Ok(None);
            }
            Err(_) if self.sides[0].machine.faults.borrow().injected > 0 => return Ok(None),
            Err(error) => return Err(format!("committed at {offset}: {error:?}")),
        };
        let bytes: Vec<u8> = data.slices.iter().flat_map(|s| s.to_vec()).collect();
        let batches = whole_batches(&bytes)?;
        let Some((last, _)) = batches.last() else {
            let is_right = data.aborted.is_empty() && offset >= stable;
            return is_right
                .then_some(None)
                .ok_or(format!("nothing committed at {offset}, stable to {stable}"));
        };
        let end = last.last_offset() + 1;
        if end > data.last_stable_offset {
            return Err(format!("read to {end}, stable to {}", data.last_stable_offset));
        }
        let told = model.aborted(offset, end);
        if data.aborted != told {
            return Err(format!(
                "of [{offset}, {end}) aborted are {told:?}, told were {:?}",
                data.aborted
            ));
        }
        Ok(Some(end))
    }

    /// Reads all that is committed of every topic, and asks for its last stable offset.
    pub fn check_all_committed(&mut self) -> Result<(), String> {
        for topic in 0..self.slots.len() {
            let mut offset = match self.slots[topic].and_then(|slot| self.offsets(slot)) {
                Some(offsets) => offsets.log_start,
                None => continue,
            };
            let max_bytes = 1 << self.random.below(18);
            while let Some(next) = self.check_committed(topic, offset, max_bytes)? {
                offset = next;
            }
        }
        Ok(())
    }
}
