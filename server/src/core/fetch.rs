//! Fetch across cores, on the connection's core: rounds of reads on the owners, a wait between them when too
//! little was there, and the one response.
//!
//! ```text
//! start -> round 1 -> enough, an error, or no time to wait? -> respond
//!                  \-> wait: the owners watch -> Moved   -> next round
//!                                             -> deadline -> last round, or what is known when nothing can have come
//! ```

use std::time::{Duration, Instant};

use ringlog_engine::shard::Isolation;

use super::Core;
use super::calls::{Call, CallId, CallKind, ReplyTo};
use super::mail::{Mail, PartRead, PartitionKey, ReadItem, ReadOrder};
use super::stages::Stage;
use crate::conn::Answer;
use crate::handlers::fetch::{self, Part, Response};
use crate::pressure::parked_fetches::LEAST_WAIT;
use crate::sessions::{Plan, SessionFields, Wanted};
use crate::wire::code::ErrorCode;
use crate::wire::fetch::FetchRequest;

/// The share of a core's memory that one answer may hold, so that a client that is slow to take it leaves the rest to others.
const ANSWER_SHARE: usize = 8;

/// A fetch that is read for, or waits.
#[derive(Debug)]
pub struct FetchCall {
    plan: Plan,
    wanted: Vec<Wanted>,
    /// Where each partition is, or what stands in the way of reading it.
    targets: Vec<Result<PartitionKey, ErrorCode>>,
    parts: Vec<Part>,
    min_bytes: usize,
    max_bytes: usize,
    isolation: Isolation,
    /// When the answer must go out with whatever is there.
    deadline: Instant,
    round: u32,
    /// Owners that have not answered this round.
    pending: usize,
    /// Owners that may hold a watch.
    watching: Vec<usize>,
    /// Something moved while this round was still being read.
    moved: bool,
    /// Since when it waits for data or the deadline.
    parked: Option<Instant>,
}

impl FetchCall {
    fn found_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Notes that an owner may hold a watch. Those of earlier rounds stay noted: a watch that has not fired is there until the
    /// owner is told that the fetch is over.
    fn watch_on(&mut self, owner: usize) {
        if !self.watching.contains(&owner) {
            self.watching.push(owner);
        }
    }

    fn is_urgent(&self) -> bool {
        self.targets.iter().any(Result::is_err) || self.parts.iter().any(Part::is_urgent)
    }
}

impl Core {
    /// Starts a fetch of one of this core's connections.
    pub(super) fn start_fetch(&mut self, reply: ReplyTo, request: &FetchRequest) {
        self.keep_here(reply);
        let now = self.io.now();
        let (changed, forgotten) = fetch::wanted(request, reply.version);
        let fields = SessionFields {
            id: request.session_id,
            epoch: request.session_epoch,
            by_id: fetch::by_id(reply.version),
        };
        let (plan, wanted) = match self.sessions.begin(fields, changed, &forgotten, now) {
            Ok(begun) => begun,
            Err(error) => return self.refuse_fetch(reply, fetch::session_code(error)),
        };
        let replica = fetch::replica_id(request, reply.version) >= 0;
        let target = |wanted: &Wanted| match replica {
            // There are no followers: whoever asks as one is not in any replica set.
            true => Err(ErrorCode::NotLeaderOrFollower),
            false => fetch::resolve(wanted, &self.image),
        };
        let targets: Vec<_> = wanted.iter().map(target).collect();
        let max_bytes = request.max_bytes.clamp(0, self.shared.config.fetch_max_bytes) as usize;
        let max_bytes = max_bytes.min(self.io.memory().1 / ANSWER_SHARE);
        let max_bytes = max_bytes.min(self.most_fetched_bytes(reply));
        let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
        let call = FetchCall {
            plan,
            wanted,
            targets,
            parts: Vec::new(),
            min_bytes: (request.min_bytes.max(0) as usize).min(max_bytes),
            max_bytes,
            isolation: fetch::isolation(request.isolation_level),
            deadline: now + wait,
            round: 0,
            pending: 0,
            watching: Vec::new(),
            moved: false,
            parked: None,
        };
        let id = self.calls.insert(Call {
            reply,
            kind: CallKind::Fetch(Box::new(call)),
        });
        self.note_current(reply, id);
        self.read_round(id);
    }

    fn refuse_fetch(&mut self, reply: ReplyTo, code: ErrorCode) {
        let throttle_time_ms = self.throttle_fetch(reply, 0).time_ms();
        self.answer_without_parts(reply, code, 0, throttle_time_ms);
    }

    fn answer_without_parts(
        &mut self,
        reply: ReplyTo,
        code: ErrorCode,
        session_id: i32,
        throttle_time_ms: i32,
    ) {
        let response = Response {
            code,
            session_id,
            throttle_time_ms,
            isolation: Isolation::Uncommitted,
            parts: Vec::new(),
        };
        self.deliver(reply, Answer::Pieces(fetch::encode(&reply, response)));
    }

    /// Whether one of the fetch's partitions is on its way to another core.
    fn waits_for_move(&mut self, id: CallId) -> bool {
        match self.calls.get_mut(id) {
            Some(Call {
                kind: CallKind::Fetch(call),
                ..
            }) => self
                .relocating
                .holds_any(call.targets.iter().filter_map(|target| target.as_ref().ok())),
            _ => false,
        }
    }

    fn fetch_call(&mut self, id: CallId) -> Option<&mut FetchCall> {
        match self.calls.get_mut(id)? {
            Call {
                kind: CallKind::Fetch(call),
                ..
            } => Some(call),
            _ => None,
        }
    }

    /// Asks every owner for its partitions.
    pub(super) fn read_round(&mut self, id: CallId) {
        let (origin, cores, now) = (self.id, self.cores, self.io.now());
        if self.waits_for_move(id) {
            return self.relocating.hold_fetch(id);
        }
        let Some(reply) = self.calls.get_mut(id).map(|call| call.reply) else {
            return;
        };
        let meter = self.request_rate(reply);
        let Some(Call {
            kind: CallKind::Fetch(call),
            ..
        }) = self.calls.get_mut(id)
        else {
            return;
        };
        call.round += 1;
        call.moved = false;
        call.max_bytes = call.max_bytes.min(self.conns.answer_bytes());
        let parked = call.parked.take();
        if let Some(since) = parked {
            self.parked_fetches.remove(since, id);
        }
        call.parts = call
            .targets
            .iter()
            .map(|t| Part::failed(t.err().unwrap_or(ErrorCode::None)))
            .collect();
        let mut items: Vec<Vec<ReadItem>> = vec![Vec::new(); cores];
        for (at, (wanted, target)) in call.wanted.iter().zip(&call.targets).enumerate() {
            if let Ok(key) = target {
                items[self.placement.owner(key)].push(read_item(at, *key, wanted));
            }
        }
        let owners = items.iter().filter(|items| !items.is_empty()).count();
        call.pending = owners;
        // Owners read side by side, so each has its share; more than that it cannot be asked to wait for.
        let max_bytes = call.max_bytes / owners.max(1);
        call.min_bytes = call.min_bytes.min(max_bytes);
        let may_wait = call.deadline > now && call.min_bytes > 0 && !call.is_urgent();
        let watch_bytes = if may_wait { call.min_bytes } else { 0 };
        let (round, isolation) = (call.round, call.isolation);
        self.note_unparked(parked);
        for (owner, items) in items
            .into_iter()
            .enumerate()
            .filter(|(_, items)| !items.is_empty())
        {
            if watch_bytes > 0
                && let Some(call) = self.fetch_call(id)
            {
                call.watch_on(owner);
            }
            self.post(
                owner,
                Mail::Read(ReadOrder {
                    origin,
                    call: id,
                    round,
                    max_bytes,
                    watch_bytes,
                    owners,
                    isolation,
                    meter: meter.clone(),
                    items,
                }),
            );
        }
        if owners == 0 {
            self.round_done(id);
        }
    }

    /// An owner has read its part.
    pub(super) fn on_read_done(&mut self, id: CallId, round: u32, parts: Vec<PartRead>) {
        let Some(call) = self.fetch_call(id).filter(|call| call.round == round) else {
            return;
        };
        for read in parts {
            let at = read.at as usize;
            if let Some(part) = call.parts.get_mut(at) {
                *part = Part::read(read);
            }
        }
        call.pending = call.pending.saturating_sub(1);
        if call.pending == 0 {
            self.round_done(id);
        }
    }

    fn round_done(&mut self, id: CallId) {
        let now = self.io.now();
        let stopping = self.stop.is_stopping();
        let Some(call) = self.fetch_call(id) else { return };
        if call.found_bytes() >= call.min_bytes.max(1)
            || call.min_bytes == 0
            || call.is_urgent()
            || call.deadline <= now
            || call.wanted.is_empty()
            || stopping
        {
            return self.finish_fetch(id);
        }
        if call.moved {
            return self.read_round(id);
        }
        // What was found is read again when the wait is over; holding it would pin the newest data in memory.
        call.parts.iter_mut().for_each(|part| part.slices = Vec::new());
        call.parked = Some(now);
        let (deadline, partitions) = (call.deadline, call.wanted.len());
        self.timers.insert((deadline, id));
        self.parked_fetches.add(now, id, partitions);
        while let Some((since, oldest)) = self.parked_fetches.surplus() {
            self.end_wait(oldest, since);
        }
    }

    /// Too many fetches wait: answers one with what it has found, and does not listen to its client for a while, so that it does not ask
    /// again and again.
    fn end_wait(&mut self, id: CallId, since: Instant) {
        let now = self.io.now();
        let waited = now.saturating_duration_since(since);
        let Some(call) = self.fetch_call(id) else {
            return self.parked_fetches.remove(since, id);
        };
        call.parts.iter_mut().for_each(Part::give_up_records);
        if let Some(reply) = self.calls.get_mut(id).map(|call| call.reply)
            && let Some(open) = self.conns.current(reply)
        {
            let left = LEAST_WAIT.saturating_sub(waited).as_millis() as u32;
            self.throttled.mute(open, reply.conn, now, left);
        }
        self.finish_fetch(id);
    }

    /// An owner's watch has fired.
    pub(super) fn on_moved(&mut self, origin_of_move: usize, id: CallId, round: u32) {
        let Some(call) = self.fetch_call(id).filter(|call| call.round == round) else {
            return;
        };
        call.watching.retain(|owner| *owner != origin_of_move);
        if call.parked.is_none() {
            call.moved = true;
            return;
        }
        let deadline = call.deadline;
        self.timers.remove(&(deadline, id));
        self.read_round(id);
    }

    /// The deadline of a parked fetch has come.
    pub(super) fn on_fetch_timer(&mut self, id: CallId) {
        let Some(call) = self.fetch_call(id) else { return };
        // A watch fires only when enough has come: what came since and is less is known to nobody here.
        if call.found_bytes() > 0 || call.min_bytes > 1 {
            self.read_round(id)
        } else {
            self.finish_fetch(id)
        }
    }

    /// Ends every fetch that waits: the broker stops.
    pub(super) fn finish_parked_fetches(&mut self) {
        let parked = |call: &Call| matches!(&call.kind, CallKind::Fetch(fetch) if fetch.parked.is_some());
        let ids: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, call)| parked(call))
            .map(|(id, _)| id)
            .collect();
        for id in ids {
            if let Some(call) = self.fetch_call(id) {
                call.parts.iter_mut().for_each(Part::give_up_records);
            }
            self.finish_fetch(id);
        }
    }

    fn take_fetch(&mut self, id: CallId) -> Option<(ReplyTo, FetchCall)> {
        let Some(Call {
            reply,
            kind: CallKind::Fetch(call),
        }) = self.calls.remove(id)
        else {
            return None;
        };
        if let Some(since) = call.parked {
            self.timers.remove(&(call.deadline, id));
            self.parked_fetches.remove(since, id);
        }
        let origin = self.id;
        for owner in &call.watching {
            self.post(*owner, Mail::Unwatch { origin, call: id });
        }
        Some((reply, *call))
    }

    /// Forgets a fetch whose client has gone.
    pub(super) fn drop_fetch(&mut self, id: CallId) {
        if self.fetch_call(id).is_some() {
            self.take_fetch(id);
        }
    }

    fn note_unparked(&mut self, parked: Option<Instant>) {
        if let Some(since) = parked {
            self.stages.record(Stage::FetchParked, since, self.io.now());
        }
    }

    fn finish_fetch(&mut self, id: CallId) {
        let now = self.io.now();
        let Some((reply, mut call)) = self.take_fetch(id) else {
            return;
        };
        self.note_unparked(call.parked);
        fetch::fit(&mut call.parts, call.max_bytes);
        let throttle = self.throttle_fetch(reply, call.found_bytes());
        if throttle.is_withheld {
            // The session knows nothing of what was found: it is told by a later answer.
            let session_id = call.plan.session_id();
            return self.answer_without_parts(reply, ErrorCode::None, session_id, throttle.time_ms());
        }
        let outcomes: Vec<_> = call.parts.iter().map(Part::outcome).collect();
        let (session_id, included) = self.sessions.finish(call.plan, &call.wanted, &outcomes, now);
        let parts = call.wanted.iter().zip(call.parts).zip(included);
        let parts = parts
            .filter(|(_, included)| *included)
            .map(|(part, _)| part)
            .collect();
        let isolation = call.isolation;
        let response = Response {
            code: ErrorCode::None,
            session_id,
            throttle_time_ms: throttle.time_ms(),
            isolation,
            parts,
        };
        self.deliver(reply, Answer::Pieces(fetch::encode(&reply, response)));
    }
}

fn read_item(at: usize, key: PartitionKey, wanted: &Wanted) -> ReadItem {
    ReadItem {
        at: at as u32,
        key,
        fetch_offset: wanted.fetch_offset,
        last_fetched_epoch: wanted.last_fetched_epoch,
        max_bytes: wanted.max_bytes.max(0) as usize,
    }
}
