//! One coordinator on its core: loading, running or failed, with what it has decided and not stored yet.

use std::collections::VecDeque;

use ringlog_engine::batch::BatchBuilder;
use ringlog_engine::io::Io;
use ringlog_engine::shard::{AppendError, Shard, Slot, Ticket};

use super::load::Loading;
use super::{Asker, GroupOrder};
use crate::core::mail::PartitionKey;
use crate::groups::rebalances::MOST_TOLD;
use crate::groups::{Coordinator, Ctx, GroupResponse, Rebalance, Step};
use crate::wire::ErrorCode;

/// Bytes of records of different steps that are put into one batch.
const BATCH_BYTES: usize = 256 << 10;
/// What a record and a batch take beside keys and values, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;
const BATCH_OVERHEAD_BYTES: usize = 128;

/// Key and value.
type EncodedRecord = (Vec<u8>, Option<Vec<u8>>);
/// Requests that wait while there is no room for records, at most.
const QUEUE_ORDERS: usize = 4096;

/// The coordinator of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub(super) struct Host {
    /// The partition.
    pub key: PartitionKey,
    pub(super) state: State,
    /// Decided and not appended yet, in order.
    batches: VecDeque<Decided>,
    /// Whether the engine had no room for the first of them.
    is_stalled: bool,
    /// Requests behind those.
    queue: VecDeque<GroupOrder>,
    /// When everything appended so far is durable.
    ticket: Ticket,
    /// The most bytes of a batch that the topic takes.
    max_batch_bytes: usize,
    /// Rebalances that nobody has told the operator of.
    rebalances: Vec<Rebalance>,
}

#[derive(Debug)]
pub(super) enum State {
    Loading(Box<Loading>),
    Active(Box<Coordinator<Asker>>),
    /// Its log cannot be read or written, which was said once, or the broker stops.
    Resigned,
}

/// Records of one batch, and what is answered once they are durable.
#[derive(Debug, Default)]
struct Decided {
    records: Vec<EncodedRecord>,
    bytes: usize,
    replies: Vec<(Asker, GroupResponse)>,
}

/// What became of the next batch.
#[derive(Debug)]
pub(super) enum Appended {
    /// To be answered once the ticket is committed.
    Wait(Ticket, Vec<(Asker, GroupResponse)>),
    /// No room: to be tried again.
    Stalled,
    /// Larger than a batch may be. The coordinator has it, the log has not.
    TooLarge(Vec<(Asker, GroupResponse)>),
    /// The log cannot be written any more, and why.
    Failed(Vec<(Asker, GroupResponse)>, String),
}

impl Host {
    /// A coordinator that begins to load.
    pub fn new(key: PartitionKey) -> Host {
        Host {
            key,
            state: State::Loading(Box::default()),
            batches: VecDeque::new(),
            is_stalled: false,
            queue: VecDeque::new(),
            ticket: 0,
            max_batch_bytes: BATCH_BYTES,
            rebalances: Vec::new(),
        }
    }

    /// How large a batch may be from now on.
    pub fn set_max_batch_bytes(&mut self, bytes: usize) {
        self.max_batch_bytes = bytes;
    }

    /// Why requests are refused, if they are.
    pub fn refuses(&self) -> Option<ErrorCode> {
        match self.state {
            State::Loading(_) => Some(ErrorCode::CoordinatorLoadInProgress),
            State::Active(_) => None,
            State::Resigned => Some(ErrorCode::NotCoordinator),
        }
    }

    /// Whether requests wait for room.
    pub fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Has a request wait, or gives it back when too many do.
    pub fn queue(&mut self, order: GroupOrder) -> Result<(), Box<GroupOrder>> {
        match self.queue.len() < QUEUE_ORDERS {
            true => {
                self.queue.push_back(order);
                Ok(())
            }
            false => Err(Box::new(order)),
        }
    }

    /// Takes out what waits.
    pub fn take_queue(&mut self) -> VecDeque<GroupOrder> {
        std::mem::take(&mut self.queue)
    }

    /// Deals with a request. Only while it refuses none.
    pub fn take(&mut self, ctx: &mut Ctx<'_>, order: GroupOrder) {
        if let State::Active(coordinator) = &mut self.state {
            let step = coordinator.handle(ctx, order.caller, order.request);
            self.decided(step);
        }
    }

    /// When there is something to do, in milliseconds since 1970.
    pub fn deadline_ms(&self) -> Option<i64> {
        match &self.state {
            State::Active(coordinator) if !self.is_stalled => coordinator.deadline(),
            _ => None,
        }
    }

    /// Does some of what is due.
    pub fn expire(&mut self, ctx: &mut Ctx<'_>, most: usize) {
        if let State::Active(coordinator) = &mut self.state {
            let step = coordinator.expire(ctx, most);
            self.decided(step);
        }
    }

    /// Topics have come, grown or gone.
    pub fn topics_changed(&mut self, ctx: &mut Ctx<'_>) {
        if let State::Active(coordinator) = &mut self.state {
            let step = coordinator.on_topics_changed(ctx);
            self.decided(step);
        }
    }

    /// Everything is loaded: it runs from now on.
    pub fn activate(&mut self, ctx: &mut Ctx<'_>) {
        if let State::Loading(loading) = &mut self.state {
            let mut coordinator = std::mem::take(&mut loading.coordinator);
            let step = coordinator.loaded(ctx);
            self.state = State::Active(Box::new(coordinator));
            self.decided(step);
        }
    }

    /// Sends away whoever waits, and returns their answers. From now on every request is refused: a coordinator that has forgotten its groups must
    /// not say that they have no offsets. One that has not failed still stores what it has decided.
    pub fn resign(&mut self, has_failed: bool) -> Vec<(Asker, GroupResponse)> {
        let mut replies = Vec::new();
        if has_failed {
            // What was decided and not stored was not told anybody.
            for decided in std::mem::take(&mut self.batches) {
                replies.extend(refused(decided.replies, ErrorCode::NotCoordinator));
            }
        }
        if let State::Active(coordinator) = &mut self.state {
            replies.extend(coordinator.resign().replies);
        }
        self.state = State::Resigned;
        self.is_stalled &= !has_failed;
        replies
    }

    /// Takes out the rebalances that began.
    pub fn take_rebalances(&mut self) -> Vec<Rebalance> {
        std::mem::take(&mut self.rebalances)
    }

    /// Whether something is to be appended or answered.
    pub fn has_decided(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Takes up a step, to be answered with its last batch. A step that fits into a batch is never torn: its records count together or not at all.
    fn decided(&mut self, step: Step<Asker>) {
        let room = MOST_TOLD.saturating_sub(self.rebalances.len());
        self.rebalances.extend(step.rebalances.into_iter().take(room));
        if step.records.is_empty() && step.replies.is_empty() {
            return;
        }
        let records: Vec<_> = step.records.iter().map(|record| record.encode()).collect();
        let bytes = |(key, value): &EncodedRecord| {
            key.len() + value.as_ref().map_or(0, Vec::len) + RECORD_OVERHEAD_BYTES
        };
        let most = self.max_batch_bytes.saturating_sub(BATCH_OVERHEAD_BYTES);
        let whole: usize = records.iter().map(bytes).sum();
        let has_room = |last: &Decided| last.bytes + whole <= BATCH_BYTES.min(most);
        if !self.batches.back().is_some_and(has_room) {
            self.batches.push_back(Decided::default());
        }
        for record in records {
            let bytes = bytes(&record);
            if self
                .batches
                .back()
                .is_none_or(|last| !last.records.is_empty() && last.bytes + bytes > most)
            {
                self.batches.push_back(Decided::default());
            }
            if let Some(last) = self.batches.back_mut() {
                last.records.push(record);
                last.bytes += bytes;
            }
        }
        if let Some(last) = self.batches.back_mut() {
            last.replies.extend(step.replies);
        }
    }

    /// Appends the next batch. Nothing: there is none.
    pub fn append_next(
        &mut self,
        shard: &mut Shard,
        io: &mut dyn Io,
        slot: Slot,
        now_ms: i64,
    ) -> Option<Appended> {
        let next = self.batches.front()?;
        let result = match next.records.is_empty() {
            true => Ok(self.ticket),
            false => shard
                .append(io, slot, &batch_of(&next.records, now_ms))
                .map(|appended| appended.ticket),
        };
        if let Err(AppendError::Busy) = result {
            self.is_stalled = true;
            return Some(Appended::Stalled);
        }
        self.is_stalled = false;
        let replies = self.batches.pop_front()?.replies;
        Some(match result {
            Ok(ticket) => {
                self.ticket = self.ticket.max(ticket);
                Appended::Wait(self.ticket, replies)
            }
            Err(AppendError::BatchTooLarge { .. } | AppendError::LargerThanSegment { .. }) => {
                Appended::TooLarge(replies)
            }
            Err(error) => Appended::Failed(replies, format!("{error:?}")),
        })
    }

    /// Forgets what it knows beyond the log, and loads that again. Returns the answers of those who are sent away.
    pub fn reload(&mut self) -> Vec<(Asker, GroupResponse)> {
        let replies = self.resign(true);
        self.state = State::Loading(Box::default());
        replies
    }
}

/// The answers with an error instead of what they said.
pub(super) fn refused(
    replies: Vec<(Asker, GroupResponse)>,
    code: ErrorCode,
) -> impl Iterator<Item = (Asker, GroupResponse)> {
    replies
        .into_iter()
        .map(move |(asker, answer)| (asker, answer.refused(code)))
}

fn batch_of(records: &[EncodedRecord], now_ms: i64) -> Vec<u8> {
    let batch = BatchBuilder::new().timestamp(now_ms);
    let add =
        |batch: BatchBuilder, (key, value): &EncodedRecord| batch.record(0, Some(key), value.as_deref());
    records.iter().fold(batch, add).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calls::Calls;
    use crate::groups::GroupResponse;
    use crate::wire::Uuid;
    use crate::wire::group_records::{GroupRecord, OffsetCommitKey};
    use crate::wire::heartbeat::HeartbeatResponse;

    fn step(records: usize, asker: Asker) -> Step<Asker> {
        let record = |number: usize| {
            let key = OffsetCommitKey {
                group: "g".repeat(1_000),
                topic: format!("t{number}"),
                partition: 0,
            };
            GroupRecord::OffsetCommit(key, None)
        };
        Step {
            records: (0..records).map(record).collect(),
            replies: vec![(asker, GroupResponse::Heartbeat(HeartbeatResponse::default()))],
            rebalances: Vec::new(),
        }
    }

    #[test]
    fn a_step_that_fills_several_batches_is_answered_with_the_last() {
        let mut host = Host::new(PartitionKey {
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
            .map(|batch| (batch.records.len(), batch.replies.len()));
        assert_eq!(
            batches.collect::<Vec<_>>(),
            [(1, 2), (400, 1), (956, 0), (544, 1)]
        );
        assert!(host.batches.iter().all(|batch| batch.bytes <= 1_000_000));
    }

    #[test]
    fn a_record_that_is_too_large_is_in_the_batch_of_its_answer() {
        let mut host = Host::new(PartitionKey {
            topic_id: Uuid::ZERO,
            index: 0,
        });
        host.set_max_batch_bytes(500);
        host.decided(step(1, asker()));
        let batches = host
            .batches
            .iter()
            .map(|batch| (batch.records.len(), batch.replies.len()));
        assert_eq!(batches.collect::<Vec<_>>(), [(1, 1)]);
    }

    fn asker() -> Asker {
        Asker {
            origin: 0,
            call: Calls::default().reserve_for_test(),
            place: 0,
        }
    }
}
