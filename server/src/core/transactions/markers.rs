//! The ends of transactions, written into all their partitions: the coordinator's core sends the orders and tries again what could not be
//! done yet, owners append the markers and answer once they are durable.
//!
//! Only markers of this broker's own coordinators make a transaction complete; an administrator's (WriteTxnMarkers) take the same way.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use ringlog_engine::producers::ProducerError;
use ringlog_engine::shard::{AppendError, Marker, MarkerKind, Ticket};

use super::{Transactions, machine};
use crate::conn::Answer;
use crate::core::Core;
use crate::core::calls::{Call, CallId, CallKind, ReplyTo};
use crate::core::coordinators::Machine;
use crate::core::groups::Groups;
use crate::core::mail::{Mail, PartitionKey};
use crate::handlers::groups::OFFSETS_TOPIC;
use crate::handlers::write_txn_markers::{self, Asked, MarkItem, MarkPlace};
use crate::transactions::Ending;
use crate::wire::ErrorCode;
use crate::wire::write_txn_markers::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

/// How long after a marker could not be written it is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// Who is told what became of markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkedBy {
    /// A coordinator, by the number of the ending.
    Ending(u64),
    /// A client.
    Client(CallId),
}

/// Markers for partitions of one core.
#[derive(Debug)]
pub struct MarkOrder {
    /// The core that is told.
    pub origin: usize,
    /// Who there.
    pub by: MarkedBy,
    /// Where: index among the partitions of whoever asked, which partition, and the marker.
    pub items: Vec<MarkItem>,
}

/// What became of a marker.
pub type MarkResult = Result<(), ErrorCode>;

/// A transaction whose markers are on their way.
#[derive(Debug)]
struct UnderWay {
    /// The partition of its coordinator.
    partition: i32,
    ending: Ending,
    /// Partitions without a marker, by their index in the ending.
    left: BTreeMap<u32, IsSent>,
    /// Owners whose question about the id's next transaction was answered with "not now", as core and number.
    waiting: Vec<(usize, u64)>,
}

/// Owners that are told when one transaction has ended, at most; others ask again after a while.
const MOST_WAITING: usize = 64;

type IsSent = bool;

/// Markers that are durable with a ticket, the core that asked for them and who there, and what became of them.
type Waiting = (Ticket, usize, MarkedBy, Vec<(u32, MarkResult)>);

/// What a core holds of markers.
#[derive(Debug, Default)]
pub struct Markers {
    next_id: u64,
    /// Coordinator's core: by number.
    under_way: BTreeMap<u64, UnderWay>,
    /// Coordinator's core: their numbers, by transactional id.
    by_id: HashMap<String, u64>,
    /// Coordinator's core: when what could not be written is tried again.
    retry_at: Option<Instant>,
    /// Owner: appended, not durable yet. Tickets ascend.
    waiting: VecDeque<Waiting>,
    /// Owner: there was no room for these.
    parked: VecDeque<MarkOrder>,
}

impl Markers {
    /// When markers are tried again.
    pub fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether an owner's work is done.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.parked.is_empty()
    }

    /// Whether markers for the partition wait for room.
    pub fn has_parked(&self, key: &PartitionKey) -> bool {
        let mut items = self.parked.iter().flat_map(|order| &order.items);
        items.any(|(_, of, _)| of == key)
    }
}

fn marker_of(ending: &Ending) -> Marker {
    Marker {
        producer_id: ending.producer_id,
        producer_epoch: ending.producer_epoch,
        kind: MarkerKind::of(ending.is_commit),
        coordinator_epoch: ending.coordinator_epoch,
        transaction_version: ending.transaction_version as i8,
    }
}

impl Core {
    /// Coordinator's core: the end of a transaction is decided and durable. Its markers are to be written.
    pub(super) fn begin_ending(&mut self, partition: i32, ending: Ending) {
        // A coordinator that has read its log again orders what was under way already: older clients have no epoch that would tell a marker that
        // comes late from one of their next transaction.
        let known = self.markers.by_id.get(&ending.transactional_id);
        let known = known.and_then(|id| self.markers.under_way.get(id));
        if known.is_some_and(|under_way| under_way.ending.is_that_of(&ending)) {
            return;
        }
        let id = self.markers.next_id;
        self.markers.next_id += 1;
        let left = (0..ending.partitions.len() as u32)
            .map(|at| (at, false))
            .collect();
        let under_way = UnderWay {
            partition,
            ending,
            left,
            waiting: Vec::new(),
        };
        self.markers
            .by_id
            .insert(under_way.ending.transactional_id.clone(), id);
        self.markers.under_way.insert(id, under_way);
        self.go_on_ending(id);
    }

    /// Sends what was not sent; ends what has no partition left.
    fn go_on_ending(&mut self, id: u64) {
        let image = self.image.clone();
        let Some(UnderWay {
            ending,
            left,
            partition,
            ..
        }) = self.markers.under_way.get_mut(&id)
        else {
            return;
        };
        let marker = marker_of(ending);
        let mut unsent = Vec::new();
        let mut is_held_back = false;
        left.retain(|at, is_sent| {
            let Some((name, index)) = ending.partitions.get(*at as usize) else {
                return false;
            };
            let topic = image
                .topic(name)
                .filter(|topic| topic.partitions.contains_key(index));
            // A topic that is deleted has nothing left to commit.
            let Some(topic) = topic else { return *is_sent };
            let key = PartitionKey {
                topic_id: topic.id,
                index: *index,
            };
            if !*is_sent && self.relocating.holds(&key) {
                is_held_back = true;
            } else if !*is_sent {
                *is_sent = true;
                unsent.push((*at, key, marker));
            }
            true
        });
        let is_whole = left.is_empty();
        let partition = *partition;
        if is_held_back {
            self.retry_markers_later();
        }
        self.post_markers(MarkedBy::Ending(id), unsent);
        if is_whole && let Some(UnderWay { ending, waiting, .. }) = self.markers.under_way.remove(&id) {
            self.markers.by_id.remove(&ending.transactional_id);
            self.step_machine::<Transactions>(partition, |coordinator, ctx| {
                // There is one end under way for an id here: it is the coordinator's, whatever its epoch has become meanwhile.
                let ending = Ending {
                    coordinator_epoch: ctx.coordinator_epoch,
                    ..ending
                };
                machine::completed(coordinator, ctx, &ending)
            });
            for (owner, check) in waiting {
                self.post(owner, Mail::CheckAgain { check });
            }
        }
    }

    /// Coordinator's core: an owner asks for a transaction of this id, and is told once the one that is ending has ended.
    pub(super) fn note_waiting(&mut self, transactional_id: &str, owner: (usize, u64)) {
        let id = self.markers.by_id.get(transactional_id);
        let under_way = id.and_then(|id| self.markers.under_way.get_mut(id));
        if let Some(under_way) = under_way.filter(|under_way| under_way.waiting.len() < MOST_WAITING) {
            under_way.waiting.push(owner);
        }
    }

    fn retry_markers_later(&mut self) {
        let at = self.io.now() + RETRY;
        self.markers.retry_at.get_or_insert(at);
    }

    /// Coordinator's core: tries again what could not be written.
    pub(in crate::core) fn retry_endings(&mut self, now: Instant) {
        if self.markers.retry_at.is_none_or(|at| at > now) {
            return;
        }
        self.markers.retry_at = None;
        let unsent = |under_way: &UnderWay| under_way.left.values().any(|is_sent| !is_sent);
        let under_way = self.markers.under_way.iter();
        let ids: Vec<u64> = under_way
            .filter(|(_, under_way)| unsent(under_way))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().for_each(|id| self.go_on_ending(id));
    }

    /// To whoever asked: what became of markers.
    pub(in crate::core) fn on_marked(&mut self, by: MarkedBy, results: Vec<(u32, MarkResult)>) {
        match by {
            MarkedBy::Ending(id) => self.on_ending_marked(id, results),
            MarkedBy::Client(call) => self.on_client_marked(call, results),
        }
    }

    fn on_ending_marked(&mut self, id: u64, results: Vec<(u32, MarkResult)>) {
        let Some(UnderWay { left, .. }) = self.markers.under_way.get_mut(&id) else {
            return;
        };
        let mut must_retry = false;
        for (at, result) in results {
            match result {
                Ok(()) => drop(left.remove(&at)),
                Err(_) => {
                    left.insert(at, false);
                    must_retry = true;
                }
            }
        }
        let is_whole = left.is_empty();
        if must_retry {
            self.retry_markers_later();
        }
        if is_whole {
            self.go_on_ending(id);
        }
    }

    /// Connection's core: an administrator ends transactions (KIP-664).
    pub(in crate::core) fn start_write_txn_markers(
        &mut self,
        reply: ReplyTo,
        request: &WriteTxnMarkersRequest,
    ) {
        let Asked {
            response,
            places,
            items,
        } = write_txn_markers::handle(request, &self.image);
        let call = MarkCall {
            response,
            places,
            remaining: items.len(),
        };
        if items.is_empty() {
            return self.deliver(reply, Answer::Bytes(reply.encode(&call.response)));
        }
        let call = self.calls.insert(Call {
            reply,
            kind: CallKind::Mark(Box::new(call)),
        });
        let (held, items): (Vec<_>, Vec<_>) = items
            .into_iter()
            .partition(|(_, key, _)| self.relocating.holds(key));
        self.post_markers(MarkedBy::Client(call), items);
        let refused = |(at, ..): MarkItem| (at, Err(ErrorCode::NotLeaderOrFollower));
        let moving: Vec<_> = held.into_iter().map(refused).collect();
        if !moving.is_empty() {
            self.on_client_marked(call, moving);
        }
    }

    /// Each owner gets an order of its own.
    fn post_markers(&mut self, by: MarkedBy, items: Vec<MarkItem>) {
        let mut orders: BTreeMap<usize, Vec<MarkItem>> = BTreeMap::new();
        for item in items {
            let owner = self.placement.owner(&item.1);
            orders.entry(owner).or_default().push(item);
        }
        let origin = self.id;
        for (owner, items) in orders {
            self.post(owner, Mail::Mark(MarkOrder { origin, by, items }));
        }
    }

    fn on_client_marked(&mut self, id: CallId, results: Vec<(u32, MarkResult)>) {
        let Some(Call {
            kind: CallKind::Mark(call),
            ..
        }) = self.calls.get_mut(id)
        else {
            return;
        };
        call.remaining = call.remaining.saturating_sub(results.len());
        for (at, result) in results {
            let place = call.places.get(at as usize).copied().unwrap_or_default();
            write_txn_markers::settle(&mut call.response, place, result.err().unwrap_or_default());
        }
        if call.remaining > 0 {
            return;
        }
        if let Some(Call {
            reply,
            kind: CallKind::Mark(call),
        }) = self.calls.remove(id)
        {
            self.deliver(reply, Answer::Bytes(reply.encode(&call.response)));
        }
    }

    /// Owner: appends markers now, or after those that wait for room.
    pub(in crate::core) fn take_marks(&mut self, order: MarkOrder) {
        let left = match self.markers.parked.is_empty() {
            true => self.mark_all(order),
            false => Some(order),
        };
        self.markers.parked.extend(left);
    }

    /// Owner: the engine has room again.
    pub(in crate::core) fn retry_marks(&mut self) {
        while let Some(order) = self.markers.parked.pop_front() {
            if let Some(left) = self.mark_all(order) {
                self.markers.parked.push_front(left);
                return;
            }
        }
    }

    /// Appends marker by marker. Returns what found no room.
    fn mark_all(&mut self, order: MarkOrder) -> Option<MarkOrder> {
        let MarkOrder { origin, by, items } = order;
        let (mut results, mut last) = (Vec::with_capacity(items.len()), 0);
        let mut left = Vec::new();
        let mut busy = None;
        for (at, key, marker) in items {
            let marked = match busy {
                // The rest of one partition waits with its first.
                Some(first) if first == key => Err(AppendError::Busy),
                _ => self.mark_one(&key, &marker, by),
            };
            match marked {
                Err(AppendError::Busy) => {
                    busy = Some(key);
                    left.push((at, key, marker));
                }
                Ok(ticket) => {
                    last = last.max(ticket);
                    results.push((at, Ok(())));
                }
                Err(error) => results.push((at, Err(code_of(&error)))),
            }
        }
        if !results.is_empty() {
            let newest = self
                .markers
                .waiting
                .back()
                .map_or(last, |(ticket, ..)| last.max(*ticket));
            match self.is_committed(newest) {
                true => self.post(origin, Mail::Marked { by, results }),
                false => self.markers.waiting.push_back((newest, origin, by, results)),
            }
        }
        let items = left;
        (!items.is_empty()).then_some(MarkOrder { origin, by, items })
    }

    fn mark_one(&mut self, key: &PartitionKey, marker: &Marker, by: MarkedBy) -> Result<Ticket, AppendError> {
        let slot = self.partitions.slot(key).ok_or(AppendError::NoSuchPartition)?;
        let is_offsets = self
            .image
            .topic(OFFSETS_TOPIC)
            .is_some_and(|topic| topic.id == key.topic_id);
        // What its coordinator has decided comes first.
        if is_offsets {
            self.flush_decided::<Groups>();
        }
        if is_offsets && self.groups.is_stalled(key.index) {
            return Err(AppendError::Busy);
        }
        let mut appended = self.shard.append_marker(&mut *self.io, slot, marker);
        if let (Err(AppendError::Sequence(why)), MarkedBy::Ending(_)) = (&appended, by) {
            let why = why.to_string();
            let epochs = self.shard.open_txn_epochs(slot, marker.producer_id);
            // The partition knows of a later transaction, or of none: this one has ended there.
            let epochs = epochs.filter(|(epoch, _)| *epoch <= marker.producer_epoch);
            let Some(forced) = epochs.map(|epochs| marker.forced(epochs)) else {
                crate::debug!("{}-{} is past a transaction: {why}", key.topic_id, key.index);
                return Ok(0);
            };
            // The coordinator has decided, and nobody else ends what is open there.
            crate::warn!(
                "{}-{}: the transaction of producer {} is ended with its coordinator's decision though {why}",
                key.topic_id,
                key.index,
                marker.producer_id
            );
            appended = self.shard.append_marker(&mut *self.io, slot, &forced);
        }
        let appended = appended?;
        self.settle_queue(key);
        if is_offsets {
            let is_commit = marker.kind == MarkerKind::Commit;
            self.end_offsets(key.index, marker.producer_id, is_commit, appended.ticket);
        }
        Ok(appended.ticket)
    }

    /// Owner: what a group was to read from counts now, or never.
    fn end_offsets(&mut self, partition: i32, producer_id: i64, is_commit: bool, ticket: Ticket) {
        if let Some(host) = self.groups.by_partition.get_mut(&partition) {
            host.other_append(ticket, |coordinator| {
                coordinator.replay_end(producer_id, is_commit)
            });
        }
    }

    /// Owner: everything up to the ticket is durable.
    pub(in crate::core) fn on_marks_committed(&mut self, ticket: Ticket) {
        while self
            .markers
            .waiting
            .front()
            .is_some_and(|first| first.0 <= ticket)
        {
            if let Some((_, origin, by, results)) = self.markers.waiting.pop_front() {
                self.post(origin, Mail::Marked { by, results });
            }
        }
    }

    /// Owner: the shard can store nothing any more.
    pub(in crate::core) fn fail_marks(&mut self) {
        for (_, origin, by, results) in std::mem::take(&mut self.markers.waiting) {
            let failed = results
                .into_iter()
                .map(|(at, result)| (at, result.and(Err(ErrorCode::KafkaStorageError))));
            let results = failed.collect();
            self.post(origin, Mail::Marked { by, results });
        }
    }
}

/// A client's markers that are not all written.
#[derive(Debug)]
pub struct MarkCall {
    response: WriteTxnMarkersResponse,
    /// Where in it each partition is.
    places: Vec<MarkPlace>,
    remaining: usize,
}

fn code_of(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Sequence(ProducerError::CoordinatorFenced { .. }) => {
            ErrorCode::TransactionCoordinatorFenced
        }
        AppendError::Sequence(_) => ErrorCode::InvalidProducerEpoch,
        AppendError::NoSuchPartition => ErrorCode::NotLeaderOrFollower,
        AppendError::DiskFull | AppendError::Storage(_) => ErrorCode::KafkaStorageError,
        _ => ErrorCode::UnknownServerError,
    }
}
