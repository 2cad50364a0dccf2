//! Batches that wait for room in their topic's queue: on the owner of their partition, in order of arrival, behind each other even where a later
//! one would fit. Other topics and other connections go on.
//!
//! ```text
//! connection's core                      owner
//!          ◀──────── Waits ───────────  waits
//!   client is gone, or too many bytes
//!   wait already ──── GiveUp ─────────▶  refused
//! ```
//!
//! A batch whose transaction's coordinator has to be asked first is asked about when it has its turn, and the answer does not keep: nobody goes before
//! it until it is there.
//!
//! What waits keeps the frames of its requests in memory. The connection's core knows how many bytes that is, and has who comes last give up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringlog_engine::io::ConnId;
use ringlog_engine::shard::AppendError;

use super::NotAppended;
use crate::core::Core;
use crate::core::calls::CallId;
use crate::core::mail::{AppendItem, AppendOrder, Mail, PartitionKey};
use crate::core::stages::Stage;
use crate::handlers::produce::{self, Refused};
use crate::queue::{Full, TopicQueue};
use crate::wire::{ErrorCode, Uuid};

/// The most batches that wait on one core. One more is refused at once.
const MOST_WAITING: usize = 16_384;
/// The share of the bytes for frames that requests which wait may hold on a core.
const WAITING_SHARE: usize = 2;
/// How much before its request's end a batch is refused: a part of the time, and no more than this. The client is to hear of it before it gives up.
const MARGIN_PART: u32 = 10;
const MOST_MARGIN: Duration = Duration::from_secs(1);

/// One batch that waits.
#[derive(Debug)]
pub(in crate::core) struct Held {
    order: AppendOrder,
    until: Instant,
    full: Box<Full>,
}

impl Held {
    fn key(&self) -> Option<&PartitionKey> {
        self.order.items.first().map(|item| &item.key)
    }
}

/// Those of one topic.
#[derive(Debug)]
struct Line {
    topic: Arc<TopicQueue>,
    held: VecDeque<Held>,
    /// Why the last one waits.
    full: Box<Full>,
    /// The check that one who had its turn waits for.
    check: Option<u64>,
}

/// Those of one core.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lines: BTreeMap<Uuid, Line>,
    count: usize,
    /// No batch is to be refused before.
    earliest: Option<Instant>,
    /// One of them has its turn.
    has_turn: bool,
}

impl Waiting {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// When the first of them is to be refused.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Has one wait, before or behind all others of its topic. True when it is the only one.
    fn put(&mut self, topic: &Arc<TopicQueue>, held: Held, is_first: bool) -> bool {
        self.count += 1;
        self.earliest = Some(self.earliest.map_or(held.until, |at| at.min(held.until)));
        let is_new = !self.lines.contains_key(&topic.id());
        let line = self.lines.entry(topic.id()).or_insert_with(|| {
            topic.begin_waiting();
            Line {
                topic: topic.clone(),
                held: VecDeque::new(),
                full: held.full.clone(),
                check: None,
            }
        });
        line.full = held.full.clone();
        match is_first {
            true => line.held.push_front(held),
            false => line.held.push_back(held),
        }
        is_new
    }

    /// Takes out the first of a topic, for its turn. Its line stays until [`Self::end_lines`].
    fn pop(&mut self, topic_id: Uuid) -> Option<Held> {
        let line = self.lines.get_mut(&topic_id)?;
        let held = line.held.pop_front_if(|_| line.check.is_none());
        self.count -= usize::from(held.is_some());
        held
    }

    /// Those of a topic wait for a check of who had its turn.
    fn stand_still(&mut self, topic_id: Uuid, check: u64) {
        if let Some(line) = self.lines.get_mut(&topic_id) {
            line.check = Some(check);
        }
    }

    /// They do so no longer.
    fn go_on(&mut self, topic_id: Uuid, check: u64) {
        if let Some(line) = self.lines.get_mut(&topic_id) {
            line.check.take_if(|id| *id == check);
            self.end_lines();
        }
    }

    /// Takes out all that are meant, in order.
    fn take(&mut self, mut is_meant: impl FnMut(&Held) -> bool) -> Vec<Held> {
        let mut taken = Vec::new();
        for line in self.lines.values_mut() {
            let (meant, left): (VecDeque<_>, _) = line.held.drain(..).partition(&mut is_meant);
            line.held = left;
            taken.extend(meant);
        }
        self.count -= taken.len();
        self.end_lines();
        let all = self.lines.values().flat_map(|line| &line.held);
        self.earliest = all.map(|held| held.until).min();
        taken
    }

    fn end_lines(&mut self) {
        self.lines.retain(|_, line| {
            let stays = !line.held.is_empty() || line.check.is_some();
            if !stays {
                line.topic.end_waiting();
            }
            stays
        });
        if self.lines.is_empty() {
            self.earliest = None;
        }
    }
}

/// How long a batch may wait whose request has so much time left.
fn patience(left: Duration) -> Duration {
    left - (left / MARGIN_PART).min(MOST_MARGIN)
}

/// Clients send again what they are told this of, without asking for other brokers first, and in order. Those that have a limit to how often, or
/// how long, then tell their users.
fn timed_out(why: &str, full: &Full) -> Refused {
    Refused::because(ErrorCode::RequestTimedOut, format!("{why}; {full}"))
}

impl Core {
    /// Owner: why a batch of an order goes behind others of its topic, if it does. One that was appended before is answered.
    pub(in crate::core) fn goes_behind(&self, order: &AppendOrder, item: &AppendItem) -> Option<Box<Full>> {
        let waiting = &self.queues.waiting;
        if waiting.is_empty() || order.turn.is_some() {
            return None;
        }
        let line = waiting.lines.get(&item.key.topic_id)?;
        let slot = self.partitions.slot(&item.key)?;
        let producing = self.producing_in(None);
        let is_duplicate = self.shard.is_duplicate(&*self.io, slot, &item.records, producing);
        (is_duplicate != Ok(true)).then(|| line.full.clone())
    }

    /// Owner: has a batch wait for room. `order` has that batch only.
    ///
    /// # Errors
    /// Why it does not wait.
    pub(in crate::core) fn wait_for_room(
        &mut self,
        order: AppendOrder,
        full: Box<Full>,
    ) -> Result<(), Refused> {
        if !full.may_wait {
            return Err(NotAppended::Full(full).refusal());
        }
        let now = self.io.now();
        let had_turn = order.turn.is_some();
        let until = order
            .turn
            .unwrap_or_else(|| now + patience(order.deadline.saturating_duration_since(now)));
        let refused = match () {
            () if self.stop.is_stopping() => Some("the broker is stopping"),
            () if until <= now => Some("there was no room in time"),
            () if !had_turn && self.queues.waiting.count >= MOST_WAITING => {
                Some("too many wait for room already")
            }
            () => None,
        };
        let key = order.items.first().map(|item| item.key);
        let topic = key.and_then(|key| Some(self.partitions.queue(&key)?.1.topic().clone()));
        let Some(topic) = topic.filter(|_| refused.is_none()) else {
            let refused = timed_out(refused.unwrap_or("the partition is closed"), &full);
            self.expect_order(&order);
            return Err(refused);
        };
        let (origin, call, owner) = (order.origin, order.call, self.id);
        let is_only = self
            .queues
            .waiting
            .put(&topic, Held { order, until, full }, had_turn);
        // One that was asked about may have been given up meanwhile.
        if !self.queues.waiting.has_turn {
            self.post(origin, Mail::Waits { call, owner });
            if is_only {
                // Room that was made before anybody waited is told nobody.
                self.post(self.id, Mail::QueueRoom(topic.id()));
            }
        }
        Ok(())
    }

    fn expect_order(&mut self, order: &AppendOrder) {
        if let Some(item) = order.items.first()
            && let Some(slot) = self.partitions.slot(&item.key)
        {
            self.expect_again(item, slot);
        }
    }

    /// Owner: those of all topics look for room again.
    pub(in crate::core) fn retry_waiting(&mut self) {
        let topics: Vec<Uuid> = self.queues.waiting.lines.keys().copied().collect();
        topics
            .into_iter()
            .for_each(|topic_id| self.retry_waiting_for(topic_id));
    }

    /// Owner: those of a topic look for room again, one after the other, until one finds none.
    pub(super) fn retry_waiting_for(&mut self, topic_id: Uuid) {
        if self.queues.waiting.has_turn || !self.queues.waiting.lines.contains_key(&topic_id) {
            return;
        }
        let now = self.io.clock();
        while let Some(Held {
            mut order,
            until,
            full,
        }) = self.queues.waiting.pop(topic_id)
        {
            let before = self.queues.waiting.count;
            let (origin, call) = (order.origin, order.call);
            let taken = std::mem::replace(&mut order.since, now);
            order.turn = Some(until);
            self.queues.waiting.has_turn = true;
            let left = self.append_all(order);
            self.queues.waiting.has_turn = false;
            if let Some(mut order) = left {
                // The engine has no room; it stays the first.
                order.since = taken;
                let held = Held { order, until, full };
                let topic = held.key().copied();
                let topic = topic.and_then(|key| Some(self.partitions.queue(&key)?.1.topic().clone()));
                match topic {
                    Some(topic) => drop(self.queues.waiting.put(&topic, held, true)),
                    None => self.park_first(vec![held.order]),
                }
                break;
            }
            if self.queues.waiting.count > before {
                if let Some(held) = self.queues.waiting.first_of(topic_id, (origin, call)) {
                    held.order.since = taken;
                }
                break;
            }
            self.stages.record(Stage::Room, taken, now);
        }
        self.queues.waiting.end_lines();
        self.note_appended();
    }

    /// Owner: one that had its turn waits for a check, and so do all of its topic.
    pub(in crate::core) fn stand_still(&mut self, topic_id: Uuid, check: u64) {
        self.queues.waiting.stand_still(topic_id, check);
    }

    /// Owner: a check is over, which those of a topic may have waited for.
    pub(in crate::core) fn go_on_waiting(&mut self, topic_id: Uuid, check: u64) {
        if !self.queues.waiting.is_empty() {
            self.queues.waiting.go_on(topic_id, check);
            self.retry_waiting_for(topic_id);
        }
    }

    /// Owner: refuses those whose time is up.
    pub(super) fn expire_waiting(&mut self, now: Instant) {
        if self.queues.waiting.earliest.is_none_or(|at| at > now) {
            return;
        }
        let expired = self.queues.waiting.take(|held| held.until <= now);
        self.refuse_waiting(expired, "there was no room in time");
        // Who was behind them may fit.
        self.retry_waiting();
    }

    fn refuse_waiting(&mut self, held: Vec<Held>, why: &str) {
        for Held { order, full, .. } in held {
            self.expect_order(&order);
            self.refuse_append(order, &timed_out(why, &full));
        }
    }

    /// Owner: the batches of a produce wait no longer.
    pub(in crate::core) fn give_up(&mut self, produce: (usize, CallId)) {
        let is_meant = |held: &Held| (held.order.origin, held.order.call) == produce;
        let given_up = self.queues.waiting.take(is_meant);
        if !given_up.is_empty() {
            self.refuse_waiting(given_up, "too many bytes wait for room already");
            self.retry_waiting();
        }
    }

    /// The broker stops.
    pub(in crate::core) fn end_waiting(&mut self) {
        let all = self.queues.waiting.take(|_| true);
        self.refuse_waiting(all, "the broker is stopping");
    }

    /// Owner: the partition is closed.
    pub(super) fn refuse_waiting_for(&mut self, key: &PartitionKey) {
        for held in self.take_waiting_for(key) {
            self.refuse_append(held.order, &produce::refusal(&AppendError::NoSuchPartition));
        }
    }

    /// Takes out those that wait for room in a partition.
    pub(super) fn take_waiting_for(&mut self, key: &PartitionKey) -> Vec<Held> {
        match self.queues.waiting.is_empty() {
            true => Vec::new(),
            false => self.queues.waiting.take(|held| held.key() == Some(key)),
        }
    }

    /// New owner: those that came with a partition wait before all others.
    pub(super) fn resume_waiting(&mut self, topic: Arc<TopicQueue>, waiting: Vec<Held>) {
        let owner = self.id;
        for held in waiting.into_iter().rev() {
            let (origin, call) = (held.order.origin, held.order.call);
            self.queues.waiting.put(&topic, held, true);
            self.post(origin, Mail::Waits { call, owner });
        }
        self.post(self.id, Mail::QueueRoom(topic.id()));
    }

    /// Connection's core: batches of one of its produces wait.
    pub(in crate::core) fn on_waits(&mut self, id: CallId, owner: usize) {
        let reply = self.calls.get_mut(id).map(|call| call.reply);
        let is_noted = reply.is_some_and(|reply| self.conns.note_waiting(reply, (id, owner)));
        if !is_noted || self.too_much_waits() {
            let origin = self.id;
            self.post(owner, Mail::GiveUp { origin, call: id });
        }
    }

    fn too_much_waits(&self) -> bool {
        self.conns.waiting_bytes() > self.conns.crowd.limit_bytes() / WAITING_SHARE
    }

    /// Connection's core: more has come on a connection. Its produces wait no longer if that is too much.
    pub(in crate::core) fn limit_waiting(&mut self, id: ConnId) {
        if self.conns.waiting_bytes() > 0 && self.too_much_waits() {
            self.give_up_waiting(id);
        }
    }

    /// Connection's core: the produces of a connection that wait do so no longer.
    pub(in crate::core) fn give_up_waiting(&mut self, id: ConnId) {
        let waiting = self.conns.get(id).map(|open| open.waiting.clone());
        self.give_up_all(waiting.unwrap_or_default());
    }

    /// The same for produces of a connection that is closed.
    pub(in crate::core) fn give_up_all(&mut self, waiting: Vec<(CallId, usize)>) {
        let origin = self.id;
        for (call, owner) in waiting {
            self.post(owner, Mail::GiveUp { origin, call });
        }
    }
}

impl Waiting {
    /// The first of a topic, if it is of this produce.
    fn first_of(&mut self, topic_id: Uuid, produce: (usize, CallId)) -> Option<&mut Held> {
        let first = self.lines.get_mut(&topic_id)?.held.front_mut()?;
        ((first.order.origin, first.order.call) == produce).then_some(first)
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
