//! Produce across cores: the connection's core sorts the batches by owner and gathers the results; each owner
//! appends in order of arrival and answers when the journal has what it appended.
//!
//! ```text
//! connection's core            owner
//!   admit  ---- Append ---->   append ... ticket -> waiting, in order of tickets
//!                                         (engine full: parked, in order of arrival)
//!   settle <--- Appended ---   Committed(ticket): answer all up to it
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringlog_engine::producers::ProducerError;
use ringlog_engine::shard::{AppendError, Producing, Ticket};

use super::Core;
use super::calls::{Call, CallId, CallKind, ReplyTo};
use super::mail::{AppendItem, AppendOrder, Mail, PartitionKey, Place};
use super::parked_appends::ParkedAppends;
use super::queue::NotAppended;
use super::stages::Stage;
use crate::config::limits::Limits;
use crate::conn::Answer;
use crate::handlers::keys;
use crate::handlers::produce::{self, AppendResult, AppendedAt, Refused};
use crate::wire::code::ErrorCode;
use crate::wire::produce::{LeaderIdAndEpoch, NodeEndpoint, ProduceRequest, ProduceResponse};

/// How often produces that wait are looked at for their deadline.
pub const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// How much longer than its deadline a produce without acknowledgement waits for room: its client does not wait for anything.
pub(super) const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(30);

/// A batch of a transaction the partition does not know, or one behind such a batch.
const NOT_VERIFIED: AppendError = AppendError::Sequence(ProducerError::NotVerified { producer_id: -1 });

/// Whether nobody waits for it any more.
pub(super) fn is_expired(order: &AppendOrder, now: Instant) -> bool {
    let patience = match order.wait {
        true => Duration::ZERO,
        false => UNACKNOWLEDGED_FOR,
    };
    order.deadline + patience <= now
}

/// A produce whose owners have not all answered.
#[derive(Debug)]
pub struct ProduceCall {
    response: ProduceResponse,
    /// Batches without a result.
    remaining: usize,
    acks: i16,
    /// When the client stops waiting.
    pub deadline: Instant,
}

/// What an owner holds of produces.
#[derive(Debug, Default)]
pub struct Appends {
    /// Appended, not durable yet. Tickets ascend.
    waiting: VecDeque<Waiting>,
    /// The last of those waiting, whose [`Waiting::since`] is still the time they were taken up.
    untimed: usize,
    /// Not appended yet: the engine had no room. In order of arrival.
    parked: ParkedAppends,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    origin: usize,
    call: CallId,
    results: Vec<(Place, AppendResult)>,
    /// When its owner took it up; once it is appended, when that was.
    since: Instant,
}

impl Appends {
    /// Nothing yet.
    pub fn new(limits: &Limits, cores: usize) -> Appends {
        let in_flight = limits.core_in_flight_bytes.saturating_mul(cores);
        Appends {
            parked: ParkedAppends::new(in_flight.saturating_add(limits.connection.frame_bytes)),
            ..Appends::default()
        }
    }

    /// Whether batches wait for room in the engine.
    pub fn is_full(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Whether batches for the partition wait for room.
    pub fn has_parked(&self, key: &PartitionKey) -> bool {
        self.parked.has(key)
    }

    /// Since when the first of them has been waiting.
    pub fn parked_since(&self) -> Option<Instant> {
        self.parked.since()
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.parked.is_empty()
    }
}

impl Core {
    /// Starts a produce of one of this core's connections.
    pub(super) fn start_produce(&mut self, reply: ReplyTo, client_id: Option<&str>, request: ProduceRequest) {
        let (acks, timeout_ms) = (request.acks, request.timeout_ms);
        // The time of a request that is not answered is nobody's (KIP-124).
        let meter = match acks {
            0 => {
                self.throttled.exempt();
                None
            }
            _ => self.request_rate(reply),
        };
        let transaction = Self::transaction_of(request.transactional_id.clone(), reply.version);
        let admitted = produce::admit(request, reply.version, client_id, &self.image);
        let wait = Duration::from_millis(timeout_ms.max(0) as u64);
        let deadline = self.io.now() + wait;
        let remaining = admitted.appends.len();
        let call = ProduceCall {
            response: admitted.response,
            remaining,
            acks,
            deadline,
        };
        if remaining == 0 {
            return self.finish_produce(reply, call);
        }
        let call = self.calls.insert(Call {
            reply,
            kind: CallKind::Produce(call),
        });
        let mut orders: Vec<Option<AppendOrder>> = Vec::new();
        // The last one is for a partition that is on its way to another core.
        orders.resize_with(self.cores + 1, || None);
        for (place, key, records) in admitted.appends {
            let lane = match self.relocating.holds(&key) {
                true => self.cores,
                false => self.placement.owner(&key),
            };
            let order = orders[lane].get_or_insert_with(|| AppendOrder {
                origin: self.id,
                call,
                wait: acks != 0,
                deadline,
                since: self.stages.now(),
                turn: None,
                transaction: transaction.clone(),
                meter: meter.clone(),
                items: Vec::with_capacity(1),
            });
            order.items.push(AppendItem { place, key, records });
        }
        self.note_owners(reply, (0..self.cores).filter(|owner| orders[*owner].is_some()));
        if let Some(order) = orders.pop().flatten() {
            self.relocating.hold_append(order);
        }
        for (owner, order) in orders.into_iter().enumerate() {
            if let Some(order) = order {
                self.post(owner, Mail::Append(order));
            }
        }
        let sweep = self.io.now() + SWEEP_EVERY;
        self.produce_sweep.get_or_insert(sweep);
    }

    /// Owner: appends now, or after what is parked already.
    pub(super) fn take_append(&mut self, mut order: AppendOrder) {
        let now = self.stages.now();
        if order.origin != self.id {
            self.stages.record(Stage::HandOver, order.since, now);
        }
        order.since = now;
        let timing = self.begin_owner_timing(&order.meter);
        let parked = match self.appends.is_full() {
            true => Some(order),
            false => self.append_all(order),
        };
        self.end_timing(timing);
        if let Some(order) = parked {
            if let Err(order) = self.appends.parked.push(order) {
                return self.refuse_append(order, &produce::refusal(&AppendError::Busy));
            }
            let sweep = self.io.now() + SWEEP_EVERY;
            self.produce_sweep.get_or_insert(sweep);
        }
    }

    /// Owner: the engine has room again.
    pub(super) fn retry_parked(&mut self) {
        if self.appends.parked.is_empty() {
            return;
        }
        let now = self.io.clock();
        while let Some(mut order) = self.appends.parked.pop_first() {
            let taken = std::mem::replace(&mut order.since, now);
            if let Some(mut rest) = self.append_all(order) {
                rest.since = taken;
                self.appends.parked.push_first(rest);
                break;
            }
            self.stages.record(Stage::Room, taken, now);
        }
        self.note_appended();
    }

    /// Owner: all batches taken up so far lie in the open frame.
    pub(super) fn note_appended(&mut self) {
        let untimed = std::mem::take(&mut self.appends.untimed);
        if untimed == 0 {
            return;
        }
        let now = self.io.clock();
        for waiting in self.appends.waiting.iter_mut().rev().take(untimed) {
            let taken = std::mem::replace(&mut waiting.since, now);
            self.stages.record(Stage::Validate, taken, now);
        }
    }

    /// Owner: gives up what found no room until its deadline. Its client has been told so, or is told now, and sends more:
    /// without this what is parked would grow for as long as the engine is busy.
    fn expire_parked(&mut self, now: Instant) {
        let mut expired = self.appends.parked.take_expired(now);
        expired.extend(self.checks.take_expired(|order| is_expired(order, now)));
        for order in expired {
            self.refuse_append(order, &produce::refusal(&AppendError::Busy));
        }
    }

    /// Appends batch by batch. Returns what found no room.
    pub(super) fn append_all(&mut self, mut order: AppendOrder) -> Option<AppendOrder> {
        let expired = self.io.now() >= order.deadline && order.wait;
        let (mut results, mut ticket) = (Vec::with_capacity(order.items.len()), None);
        let mut rest = Vec::new();
        let mut items = std::mem::take(&mut order.items).into_iter();
        while let Some(item) = items.next() {
            if let Some(refused) = self.refuse_contents(&item) {
                results.push((item.place, Err(refused)));
                continue;
            }
            let appended = if expired && self.appends.is_full() {
                Err(AppendError::Busy.into())
            } else if self.waits_behind_check(&item) {
                Err(NOT_VERIFIED.into())
            } else if let Some(full) = self.goes_behind(&order, &item) {
                Err(NotAppended::Full(full))
            } else {
                let producing = self.producing_in(order.transaction.as_deref());
                self.append_one(&item, producing, &mut ticket)
            };
            match appended {
                Ok(at) => results.push((item.place, Ok(at))),
                Err(NotAppended::Full(full)) => {
                    let place = item.place;
                    if let Err(refused) = self.wait_for_room(order.with_item(item), full) {
                        results.push((place, Err(refused)));
                    }
                }
                Err(NotAppended::Engine(AppendError::Busy)) if !expired => {
                    rest.push(item);
                    rest.extend(items.by_ref());
                }
                // What names no transaction cannot be asked about, and is refused.
                Err(NotAppended::Engine(AppendError::Sequence(ProducerError::NotVerified { .. })))
                    if order.transaction.is_some() =>
                {
                    self.hold_for_check(order.with_item(item));
                }
                Err(error) => results.push((item.place, Err(error.refusal()))),
            }
        }
        self.settle_or_wait(&order, ticket, results);
        order.items = rest;
        (!order.items.is_empty()).then_some(order)
    }

    /// What only a look into the batch can tell.
    fn refuse_contents(&self, item: &AppendItem) -> Option<Refused> {
        if !self.partitions.is_compacted(&item.key) {
            return None;
        }
        keys::refuse(&item.records, || {
            let topic = self.image.topic_by_id(item.key.topic_id);
            let topic = topic.map_or("", |topic| &topic.name);
            format!("{topic}-{}", item.key.index)
        })
    }

    fn append_one(
        &mut self,
        item: &AppendItem,
        producing: Producing,
        last: &mut Option<Ticket>,
    ) -> Result<AppendedAt, NotAppended> {
        let (slot, is_bounded) = self
            .partitions
            .bounded_slot(&item.key)
            .ok_or(AppendError::NoSuchPartition)?;
        if is_bounded || self.shared.watermark.is_low() || self.checks.has_expected() {
            self.admit_to_queue(item, (slot, is_bounded), producing)?;
        }
        let appended = self
            .shard
            .append_as(&mut *self.io, slot, &item.records, producing);
        if is_bounded {
            self.settle_queue(&item.key);
        }
        let appended = appended?;
        *last = (*last).max(Some(appended.ticket));
        Ok(AppendedAt {
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.log_start_offset,
        })
    }

    /// Owner: the coordinator has the partition in the transaction of the batch that waited for it. Gives back what found no room.
    pub(super) fn append_checked(
        &mut self,
        mut order: AppendOrder,
        producing: Producing,
    ) -> Option<AppendOrder> {
        let item = order.items.pop()?;
        let (place, mut ticket) = (item.place, None);
        // What is parked was there before, and its answer is out of date when its turn comes: it is asked about once more then.
        let appended = if self.appends.is_full() {
            Err(AppendError::Busy.into())
        } else if let Some(full) = self.goes_behind(&order, &item) {
            Err(NotAppended::Full(full))
        } else {
            self.append_one(&item, producing, &mut ticket)
        };
        let result = match appended {
            Err(NotAppended::Engine(AppendError::Busy)) => {
                order.items.push(item);
                return Some(order);
            }
            Err(NotAppended::Full(full)) => match self.wait_for_room(order.with_item(item), full) {
                Ok(()) => return None,
                Err(refused) => Err(refused),
            },
            Ok(at) => Ok(at),
            Err(error) => Err(error.refusal()),
        };
        self.settle_or_wait(&order, ticket, vec![(place, result)]);
        self.note_appended();
        None
    }

    /// Owner: batches that came before all that is parked, in order.
    pub(super) fn park_first(&mut self, orders: Vec<AppendOrder>) {
        if orders.is_empty() {
            return;
        }
        for order in orders.into_iter().rev() {
            self.appends.parked.push_first(order);
        }
        let sweep = self.io.now() + SWEEP_EVERY;
        self.produce_sweep.get_or_insert(sweep);
    }

    /// Owner: a batch that waited behind one of another transaction.
    pub(super) fn retake_append(&mut self, order: AppendOrder) {
        let left = match self.appends.is_full() {
            true => Some(order),
            false => self.append_all(order),
        };
        self.park_first(left.into_iter().collect());
    }

    /// Owner: what waited for the coordinator is not appended.
    pub(super) fn refuse_append(&mut self, order: AppendOrder, refused: &Refused) {
        let refused = |item: AppendItem| (item.place, Err(refused.clone()));
        let results = order.items.into_iter().map(refused).collect();
        self.post_appended(order.origin, order.call, results);
    }

    fn settle_or_wait(
        &mut self,
        order: &AppendOrder,
        ticket: Option<Ticket>,
        results: Vec<(Place, AppendResult)>,
    ) {
        let AppendOrder {
            origin,
            call,
            wait,
            since,
            ..
        } = *order;
        match ticket {
            _ if results.is_empty() => {}
            // A duplicate's ticket may be old; what was appended before it in this queue is answered first.
            Some(ticket) if wait && !self.is_committed(ticket) => {
                let ticket = self
                    .appends
                    .waiting
                    .back()
                    .map_or(ticket, |last| last.ticket.max(ticket));
                self.appends.waiting.push_back(Waiting {
                    ticket,
                    origin,
                    call,
                    results,
                    since,
                });
                self.appends.untimed += 1;
            }
            _ => self.post_appended(origin, call, results),
        }
    }

    /// Owner: everything up to the ticket is as durable as promised.
    pub(super) fn on_committed(&mut self, ticket: Ticket) {
        let now = self.io.now();
        let submitted = self.shard.committed_frame().map_or(now, |frame| frame.submitted);
        while self
            .appends
            .waiting
            .front()
            .is_some_and(|first| first.ticket <= ticket)
        {
            let Some(Waiting {
                origin,
                call,
                results,
                since,
                ..
            }) = self.appends.waiting.pop_front()
            else {
                break;
            };
            self.stages.record(Stage::Write, since, submitted);
            self.stages.record(Stage::Commit, submitted.max(since), now);
            self.post_appended(origin, call, results);
        }
    }

    /// Owner: the shard can commit nothing any more. What waits was not acknowledged and never will be.
    pub(super) fn fail_waiting(&mut self, reason: &str) {
        let refused = Refused::because(ErrorCode::KafkaStorageError, reason);
        for Waiting {
            origin,
            call,
            results,
            ..
        } in std::mem::take(&mut self.appends.waiting)
        {
            let results = results
                .into_iter()
                .map(|(place, result)| (place, result.and(Err(refused.clone()))));
            let results = results.collect();
            self.post_appended(origin, call, results);
        }
    }

    fn post_appended(&mut self, origin: usize, call: CallId, results: Vec<(Place, AppendResult)>) {
        let posted = (self.id, self.stages.now());
        self.post(
            origin,
            Mail::Appended {
                call,
                results,
                posted,
            },
        );
    }

    /// Connection's core: an owner has answered.
    pub(super) fn on_appended(
        &mut self,
        id: CallId,
        results: Vec<(Place, AppendResult)>,
        (owner, posted): (usize, Instant),
    ) {
        if owner != self.id {
            self.stages.record(Stage::HandOver, posted, self.stages.now());
        }
        let Some(Call {
            kind: CallKind::Produce(call),
            ..
        }) = self.calls.get_mut(id)
        else {
            return;
        };
        call.remaining = call.remaining.saturating_sub(results.len());
        for (place, result) in results {
            produce::settle(&mut call.response, place, result);
        }
        if call.remaining == 0 {
            self.end_produce(id);
        }
    }

    fn end_produce(&mut self, id: CallId) {
        if let Some(Call {
            reply,
            kind: CallKind::Produce(call),
        }) = self.calls.remove(id)
        {
            self.conns.forget_waiting(reply, id);
            self.finish_produce(reply, call);
        }
    }

    fn finish_produce(&mut self, reply: ReplyTo, mut call: ProduceCall) {
        call.response.throttle_time_ms = self.throttle_produce(reply, call.acks);
        let answer = match call.acks {
            // Without a response there is only one way to say that something went wrong.
            0 if produce::has_error(&call.response) => Answer::Close,
            0 => Answer::Nothing,
            _ => {
                if reply.version >= 10 {
                    let (leader, endpoint) = self.leader_tags();
                    produce::name_leaders(&mut call.response, leader, endpoint);
                }
                Answer::Bytes(reply.encode(&call.response))
            }
        };
        self.deliver(reply, answer);
    }

    fn leader_tags(&self) -> (LeaderIdAndEpoch, NodeEndpoint) {
        let leader = LeaderIdAndEpoch {
            leader_id: self.shared.node.id,
            leader_epoch: 0,
        };
        let node = &self.shared.node;
        let (host, port) = (node.host.clone(), i32::from(node.port));
        let endpoint = NodeEndpoint {
            node_id: node.id,
            host,
            port,
            rack: node.rack.clone(),
        };
        (leader, endpoint)
    }

    /// Answers produces of this core's connections whose time is up, and gives up parked ones. Batches of the former may
    /// still be stored, as in Kafka.
    pub(super) fn sweep_produces(&mut self, now: Instant) {
        if self.produce_sweep.is_none_or(|at| at > now) {
            return;
        }
        let (mut expired, mut left) = (Vec::new(), false);
        for (id, call) in self.calls.iter() {
            if let CallKind::Produce(call) = &call.kind {
                if call.deadline <= now {
                    expired.push(id)
                } else {
                    left = true
                }
            }
        }
        for id in expired {
            self.time_out_produce(id);
        }
        self.expire_parked(now);
        left |= self.appends.is_full() || !self.checks.is_idle();
        self.produce_sweep = left.then_some(now + SWEEP_EVERY);
    }

    fn time_out_produce(&mut self, id: CallId) {
        if let Some(Call {
            kind: CallKind::Produce(call),
            ..
        }) = self.calls.get_mut(id)
        {
            let refused = Refused::new(ErrorCode::RequestTimedOut);
            produce::refuse_unsettled(&mut call.response, &refused);
            self.end_produce(id);
        }
    }
}
