//! One machine on its core: loading, running or failed, with what it has decided and not stored yet.

use std::collections::VecDeque;

use ringlog_engine::batch::BatchBuilder;
use ringlog_engine::shard::{AppendError, Ticket};

use super::load::Loading;
use super::{Decision, EncodedRecord, Machine};
use crate::core::mail::PartitionKey;
use crate::wire::ErrorCode;

/// Bytes of records of different steps that are put into one batch.
const BATCH_BYTES: usize = 256 << 10;
/// What a record and a batch take beside keys and values, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;
const BATCH_OVERHEAD_BYTES: usize = 128;
/// Orders that wait while there is no room for records, at most.
const QUEUE_ORDERS: usize = 4096;

/// The machine of one partition.
#[derive(Debug)]
pub struct Host<M: Machine> {
    /// The partition.
    pub key: PartitionKey,
    pub(super) state: State<M>,
    /// Decided and not appended yet, in order.
    batches: VecDeque<Decided<M::Outcome>>,
    /// Whether the engine had no room for the first of them.
    is_stalled: bool,
    /// Orders behind those.
    queue: VecDeque<M::Order>,
    /// When everything appended so far is durable.
    ticket: Ticket,
    /// The most bytes of a batch that the topic takes.
    max_batch_bytes: usize,
}

#[derive(Debug)]
pub(super) enum State<M> {
    Loading(Box<Loading<M>>),
    Active(Box<M>),
    /// Its log cannot be read or written, which was said once, or the broker stops.
    Resigned,
}

/// Records of one batch, and what is done once they are durable.
#[derive(Debug)]
struct Decided<O> {
    records: Vec<EncodedRecord>,
    /// Whose transaction they belong to.
    producer: Option<(i64, i16)>,
    bytes: usize,
    outcomes: Vec<O>,
}

impl<O> Decided<O> {
    fn of(producer: Option<(i64, i16)>) -> Self {
        Decided {
            records: Vec::new(),
            producer,
            bytes: 0,
            outcomes: Vec::new(),
        }
    }
}

/// What became of the next batch.
#[derive(Debug)]
pub(super) enum Appended<O> {
    /// To be done once the ticket is committed.
    Wait(Ticket, Vec<O>),
    /// No room: to be tried again.
    Stalled,
    /// No room, and nobody tells when there is.
    DiskFull,
    /// Larger than a batch may be. The machine has it, the log has not.
    TooLarge(Vec<O>),
    /// The log does not take records of this transaction any more, and why. The machine has them.
    Fenced(Vec<O>, String),
    /// The log cannot be written any more, and why.
    Failed(Vec<O>, String),
}

impl<M: Machine> Host<M> {
    /// A machine that begins to load.
    pub fn new(key: PartitionKey) -> Self {
        Host {
            key,
            state: State::Loading(Box::default()),
            batches: VecDeque::new(),
            is_stalled: false,
            queue: VecDeque::new(),
            ticket: 0,
            max_batch_bytes: BATCH_BYTES,
        }
    }

    /// How large a batch may be from now on.
    pub fn set_max_batch_bytes(&mut self, bytes: usize) {
        self.max_batch_bytes = bytes;
    }

    /// Why orders are refused, if they are.
    pub fn refuses(&self) -> Option<ErrorCode> {
        match self.state {
            State::Loading(_) => Some(ErrorCode::CoordinatorLoadInProgress),
            State::Active(_) => None,
            State::Resigned => Some(ErrorCode::NotCoordinator),
        }
    }

    /// The machine, while it runs.
    pub fn machine(&self) -> Option<&M> {
        match &self.state {
            State::Active(machine) => Some(machine),
            _ => None,
        }
    }

    /// Whether orders wait for room.
    pub fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Has an order wait, or gives it back when too many do.
    pub fn queue(&mut self, order: M::Order) -> Result<(), M::Order> {
        match self.queue.len() < QUEUE_ORDERS {
            true => {
                self.queue.push_back(order);
                Ok(())
            }
            false => Err(order),
        }
    }

    /// Takes out what waits.
    pub fn take_queue(&mut self) -> VecDeque<M::Order> {
        std::mem::take(&mut self.queue)
    }

    /// Deals with an order. Only while it refuses none.
    pub fn take(&mut self, world: &mut M::World<'_>, order: M::Order) {
        self.step(world, |machine, world| machine.take(world, order));
    }

    /// Has the machine, if it runs, take a step.
    pub fn step(
        &mut self,
        world: &mut M::World<'_>,
        step: impl FnOnce(&mut M, &mut M::World<'_>) -> Decision<M::Outcome>,
    ) {
        if let State::Active(machine) = &mut self.state {
            let decision = step(machine, world);
            self.decided(decision);
        }
    }

    /// When there is something to do, on the clock of deadlines.
    pub fn deadline_ms(&self) -> Option<i64> {
        match &self.state {
            State::Active(machine) if !self.is_stalled => machine.deadline_ms(),
            _ => None,
        }
    }

    /// Everything is loaded: it runs from now on.
    pub fn activate(&mut self, world: &mut M::World<'_>) {
        if let State::Loading(loading) = &mut self.state {
            let machine = std::mem::take(&mut loading.machine);
            self.state = State::Active(Box::new(machine));
            self.step(world, |machine, world| machine.loaded(world));
        }
    }

    /// Something else than its own records was appended to its log. The machine is told if it runs, and what it says from now on waits for
    /// that, too.
    pub fn other_append(&mut self, ticket: Ticket, note: impl FnOnce(&mut M)) {
        self.ticket = self.ticket.max(ticket);
        if let State::Active(machine) = &mut self.state {
            note(machine);
        }
    }

    /// Sends away whoever waits, and returns what they are told. From now on every order is refused: a machine that has forgotten must
    /// not say that there is nothing. One that has not failed still stores what it has decided.
    pub fn resign(&mut self, has_failed: bool) -> Vec<M::Outcome> {
        let mut outcomes = Vec::new();
        if has_failed {
            // What was decided and not stored was not told anybody.
            for decided in std::mem::take(&mut self.batches) {
                outcomes.extend(refused::<M>(decided.outcomes, ErrorCode::NotCoordinator));
            }
        }
        if let State::Active(machine) = &mut self.state {
            outcomes.extend(machine.resign());
        }
        self.state = State::Resigned;
        self.is_stalled &= !has_failed;
        outcomes
    }

    /// Whether something is to be appended or done.
    pub fn has_decided(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Takes up a step, whose outcomes come with its last batch. A step that fits into a batch is never torn: its records count together or not
    /// at all. A transaction's records have batches of their own.
    fn decided(&mut self, decision: Decision<M::Outcome>) {
        let Decision {
            records,
            producer,
            outcomes,
        } = decision;
        if records.is_empty() && outcomes.is_empty() {
            return;
        }
        let producer = producer.filter(|_| !records.is_empty());
        let bytes = |(key, value): &EncodedRecord| {
            key.len() + value.as_ref().map_or(0, Vec::len) + RECORD_OVERHEAD_BYTES
        };
        let most = self.max_batch_bytes.saturating_sub(BATCH_OVERHEAD_BYTES);
        let whole: usize = records.iter().map(bytes).sum();
        let has_room = |last: &Decided<M::Outcome>| {
            last.producer == producer && last.bytes + whole <= BATCH_BYTES.min(most)
        };
        if !self.batches.back().is_some_and(has_room) {
            self.batches.push_back(Decided::of(producer));
        }
        for record in records {
            let bytes = bytes(&record);
            if self
                .batches
                .back()
                .is_none_or(|last| !last.records.is_empty() && last.bytes + bytes > most)
            {
                self.batches.push_back(Decided::of(producer));
            }
            if let Some(last) = self.batches.back_mut() {
                last.records.push(record);
                last.bytes += bytes;
            }
        }
        if let Some(last) = self.batches.back_mut() {
            last.outcomes.extend(outcomes);
        }
    }

    /// What is to be appended next, which is no batch when there are outcomes only. Nothing: all is.
    pub(super) fn next_batch(&self, now_ms: i64) -> Option<Option<Vec<u8>>> {
        let next = self.batches.front()?;
        let has_records = !next.records.is_empty();
        Some(has_records.then(|| batch_of(&next.records, now_ms, next.producer)))
    }

    /// What became of it. Nothing when there was none.
    pub(super) fn appended(
        &mut self,
        result: Result<Option<Ticket>, AppendError>,
    ) -> Option<Appended<M::Outcome>> {
        self.is_stalled = matches!(result, Err(AppendError::Busy | AppendError::DiskFull));
        match result {
            Err(AppendError::Busy) => return Some(Appended::Stalled),
            Err(AppendError::DiskFull) => return Some(Appended::DiskFull),
            _ => {}
        }
        let outcomes = self.batches.pop_front()?.outcomes;
        Some(match result {
            Ok(ticket) => {
                self.ticket = self.ticket.max(ticket.unwrap_or(0));
                Appended::Wait(self.ticket, outcomes)
            }
            Err(AppendError::BatchTooLarge { .. } | AppendError::LargerThanSegment { .. }) => {
                Appended::TooLarge(outcomes)
            }
            Err(AppendError::Sequence(error)) => Appended::Fenced(outcomes, error.to_string()),
            Err(error) => Appended::Failed(outcomes, format!("{error:?}")),
        })
    }

    /// Forgets what it knows beyond the log, and loads that again. Returns what those are told who are sent away.
    pub fn reload(&mut self) -> Vec<M::Outcome> {
        let outcomes = self.resign(true);
        self.state = State::Loading(Box::default());
        outcomes
    }
}

/// What is told instead of these.
pub(super) fn refused<M: Machine>(outcomes: Vec<M::Outcome>, code: ErrorCode) -> Vec<M::Outcome> {
    let refused = outcomes
        .into_iter()
        .filter_map(|outcome| M::refused(outcome, code));
    refused.collect()
}

fn batch_of(records: &[EncodedRecord], now_ms: i64, producer: Option<(i64, i16)>) -> Vec<u8> {
    let batch = BatchBuilder::new().timestamp(now_ms);
    let batch = match producer {
        Some((producer_id, epoch)) => batch.producer(producer_id, epoch, -1).transactional(),
        None => batch,
    };
    let add =
        |batch: BatchBuilder, (key, value): &EncodedRecord| batch.record(0, Some(key), value.as_deref());
    records.iter().fold(batch, add).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calls::Calls;
    use crate::core::groups::{Asker, Groups};
    use crate::groups::GroupResponse;
    use crate::handlers::groups::Told;
    use crate::wire::Uuid;
    use crate::wire::group_records::{GroupRecord, OffsetCommitKey};
    use crate::wire::heartbeat::HeartbeatResponse;

    fn step(records: usize, asker: Asker) -> Decision<(Asker, Told)> {
        let record = |number: usize| {
            let key = OffsetCommitKey {
                group: "g".repeat(1_000),
                topic: format!("t{number}"),
                partition: 0,
            };
            GroupRecord::OffsetCommit(key, None).encode()
        };
        let answer = GroupResponse::Heartbeat(HeartbeatResponse::default());
        Decision {
            records: (0..records).map(record).collect(),
            producer: None,
            outcomes: vec![(asker, Told::Answer(answer))],
        }
    }

    #[test]
    fn a_step_that_fills_several_batches_is_answered_with_the_last() {
        let mut host = Host::<Groups>::new(PartitionKey {
            topic_id: Uuid::ZERO,
            index: 0,
        });
        let asker = asker();
        host.set_max_batch_bytes(1_000_000);
        host.decided(step(0, asker));
        host.decided(step(1, asker));
        // As much again as one batch of several steps may have: not torn.
        host.decided(step(400, asker));
        // More than any batch may have.
        host.decided(step(1_500, asker));
        let batches = host
            .batches
            .iter()
            .map(|batch| (batch.records.len(), batch.outcomes.len()));
        assert_eq!(
            batches.collect::<Vec<_>>(),
            [(1, 2), (400, 1), (956, 0), (544, 1)]
        );
        assert!(host.batches.iter().all(|batch| batch.bytes <= 1_000_000));
    }

    #[test]
    fn a_record_that_is_too_large_is_in_the_batch_of_its_answer() {
        let mut host = Host::<Groups>::new(PartitionKey {
            topic_id: Uuid::ZERO,
            index: 0,
        });
        host.set_max_batch_bytes(500);
        host.decided(step(1, asker()));
        let batches = host
            .batches
            .iter()
            .map(|batch| (batch.records.len(), batch.outcomes.len()));
        assert_eq!(batches.collect::<Vec<_>>(), [(1, 1)]);
    }

    #[test]
    fn a_transactions_records_have_batches_of_their_own() {
        let mut host = Host::<Groups>::new(PartitionKey {
            topic_id: Uuid::ZERO,
            index: 0,
        });
        let of = |producer, records| Decision {
            producer,
            ..step(records, asker())
        };
        for (producer, records) in [
            (None, 1),
            (Some((7, 0)), 1),
            (Some((7, 0)), 1),
            (None, 0),
            (Some((8, 0)), 1),
            (None, 1),
        ] {
            host.decided(of(producer, records));
        }
        let batches = host
            .batches
            .iter()
            .map(|batch| (batch.producer, batch.records.len(), batch.outcomes.len()));
        let want = [
            (None, 1, 1),
            (Some((7, 0)), 2, 2),
            (None, 0, 1),
            (Some((8, 0)), 1, 1),
            (None, 1, 1),
        ];
        assert_eq!(batches.collect::<Vec<_>>(), want);
    }

    fn asker() -> Asker {
        Asker {
            origin: 0,
            call: Calls::default().reserve_for_test(),
            place: 0,
        }
    }
}
