//! Sockets of one core: what they bring, what they are told, and when they are closed. When they are paused: `pressure`, beside this.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringlog_engine::io::{ConnId, Event};

use super::Core;
use super::calls::{CallId, ReplyTo};
use super::moving::Homing;
use super::pressure::SWEEP_PAUSE;
use super::throttle;
use crate::config::limits::{ConnectionLimits, Limits};
use crate::conn::{Answer, Conn, Expiry, SEND_STALL, Started};
use crate::pressure::crowd::Crowd;
use crate::pressure::favour::Favoured;
use crate::pressure::line::{Line, Place};
use crate::pressure::unsent::Unsent;
use crate::quotas::meters::Meters;

/// How often it is said at most that connections are refused.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

/// Standing in for never: `connections.max.idle.ms` without a limit.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The connections of one core.
#[derive(Debug, Default)]
pub struct Conns {
    pub(super) slots: Vec<Option<Box<Open>>>,
    count: usize,
    next_serial: u64,
    /// Requests held, over all connections.
    pub(super) crowd: Crowd,
    /// The unfinished ones that go on while those are too many, and their sockets.
    pub(super) favoured: Favoured,
    pub(super) going_on: Vec<ConnId>,
    pub(super) next_choice: Option<Instant>,
    /// Since when nobody is read from because of them.
    pub(super) full_since: Option<Instant>,
    /// Bytes of frames of connections with produces that wait for room in a queue.
    waiting_bytes: usize,
    /// Whether the engine has no room for what producers send.
    pub(super) clogged: bool,
    /// Whose sockets are paused though they would bring more.
    pub(super) readers: Line,
    /// Requests that wait for earlier ones of their connection, over all connections, and how many it may be.
    pub(super) waiting_requests: usize,
    pub(super) most_waiting_requests: usize,
    /// Answers that are not taken, over all connections.
    pub(super) unsent: Unsent,
    /// Whose next request waits until more of them are.
    pub(super) fetchers: Line,
    /// When those in the lines are to be looked at without anything else happening.
    pub(super) relief: Option<Instant>,
    /// When it was last said that connections are refused.
    refused: Option<Instant>,
    /// Connections to look at before the turn ends.
    dirty: Vec<ConnId>,
    /// When to look at all of them.
    sweep: Option<Instant>,
}

/// What the sums count for one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) held_bytes: usize,
    pub(super) unsent_bytes: usize,
    pub(super) unsent_own_bytes: usize,
    pub(super) waiting_requests: usize,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) conn: Conn,
    pub(super) counted: Counted,
    /// Its place among those that are paused.
    pub(super) reads_at: Option<Place>,
    /// Its place among those whose next request waits, and whether its turn has come.
    pub(super) starts_at: Option<Place>,
    pub(super) may_start: bool,
    /// The fetch that runs alone on it.
    current: Option<CallId>,
    /// Its produces with batches that wait for room in a queue, each with the core on which they do.
    pub(super) waiting: Vec<(CallId, usize)>,
    /// Whether it moves to another core.
    pub(super) homing: Homing,
    /// The quotas of its client.
    pub(super) meters: Meters,
}

impl Conns {
    /// None yet.
    pub(super) fn new(limits: &Limits) -> Conns {
        Conns {
            crowd: Crowd::new(limits.core_in_flight_bytes),
            unsent: Unsent::new(limits.core_unsent_bytes),
            most_waiting_requests: limits.core_queued_requests,
            ..Conns::default()
        }
    }

    /// The connection that a request came on, if it is still the same.
    pub(super) fn current(&mut self, reply: ReplyTo) -> Option<&mut Open> {
        self.get_serial(reply.conn, reply.serial)
    }

    pub(super) fn get_serial(&mut self, id: ConnId, serial: u64) -> Option<&mut Open> {
        self.get(id).filter(|open| open.conn.serial() == serial)
    }

    pub(super) fn get(&mut self, id: ConnId) -> Option<&mut Open> {
        self.slots.get_mut(id.0 as usize)?.as_deref_mut()
    }

    fn open(&mut self, id: ConnId, peer: Option<SocketAddr>, limits: ConnectionLimits, now: Instant) {
        let mut conn = Conn::new(0, limits, now);
        conn.peer = peer;
        self.settle_in(id, conn);
    }

    /// Takes in a connection that is new, or comes from another core.
    pub(super) fn settle_in(&mut self, id: ConnId, mut conn: Conn) {
        self.next_serial += 1;
        conn.settle_in(self.next_serial);
        let place = id.0 as usize;
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, || None);
        }
        self.slots[place] = Some(Box::new(Open {
            conn,
            counted: Counted::default(),
            reads_at: None,
            starts_at: None,
            may_start: false,
            current: None,
            waiting: Vec::new(),
            homing: Homing::default(),
            meters: Meters::default(),
        }));
        self.count += 1;
        self.recount(id);
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Box<Open>> {
        let open = self.slots.get_mut(id.0 as usize)?.take()?;
        self.count -= 1;
        if !open.waiting.is_empty() {
            self.waiting_bytes -= open.counted.held_bytes;
        }
        self.count_anew(open.counted, Counted::default());
        open.reads_at
            .into_iter()
            .for_each(|place| self.readers.leave(place));
        open.starts_at
            .into_iter()
            .for_each(|place| self.fetchers.leave(place));
        Some(open)
    }

    pub(super) fn recount(&mut self, id: ConnId) {
        if let Some(Some(open)) = self.slots.get_mut(id.0 as usize) {
            let now = Counted {
                held_bytes: open.conn.held_bytes(),
                unsent_bytes: open.conn.unsent_bytes(),
                unsent_own_bytes: open.conn.unsent_own_bytes(),
                waiting_requests: open.conn.waiting_requests(),
            };
            let before = std::mem::replace(&mut open.counted, now);
            if !open.waiting.is_empty() {
                self.waiting_bytes = self.waiting_bytes - before.held_bytes + now.held_bytes;
            }
            self.count_anew(before, now);
        }
    }

    fn count_anew(&mut self, before: Counted, now: Counted) {
        self.crowd.recount(before.held_bytes, now.held_bytes);
        self.unsent.recount(before.unsent_bytes, now.unsent_bytes);
        self.unsent
            .recount_own(before.unsent_own_bytes, now.unsent_own_bytes);
        self.waiting_requests = self.waiting_requests - before.waiting_requests + now.waiting_requests;
    }

    /// Bytes of frames held by connections with produces that wait for room in a queue.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Notes a produce of which batches wait on a core. False when its client is gone.
    pub(super) fn note_waiting(&mut self, reply: ReplyTo, waits: (CallId, usize)) -> bool {
        let Some(open) = self.current(reply).filter(|open| !open.conn.ended) else {
            return false;
        };
        let counted_bytes = open.counted.held_bytes;
        let is_first = open.waiting.is_empty();
        if !open.waiting.contains(&waits) {
            open.waiting.push(waits);
        }
        if is_first {
            self.waiting_bytes += counted_bytes;
        }
        true
    }

    /// A produce is answered.
    pub(super) fn forget_waiting(&mut self, reply: ReplyTo, call: CallId) {
        let Some(open) = self.current(reply).filter(|open| !open.waiting.is_empty()) else {
            return;
        };
        open.waiting.retain(|(waiting, _)| *waiting != call);
        let counted_bytes = open.counted.held_bytes;
        if open.waiting.is_empty() {
            self.waiting_bytes -= counted_bytes;
        }
    }

    pub(super) fn mark(&mut self, id: ConnId) {
        if let Some(Some(open)) = self.slots.get_mut(id.0 as usize)
            && !std::mem::replace(&mut open.conn.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    pub(super) fn ids(&self) -> Vec<ConnId> {
        let open = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
        open.map(|(place, _)| ConnId(place as u32)).collect()
    }

    /// When to look at all of them.
    pub fn sweep_at(&self) -> Option<Instant> {
        self.sweep
    }

    /// When those in the lines are to be looked at.
    pub fn relief_at(&self) -> Option<Instant> {
        self.relief
    }

    /// The most bytes the next fetch is answered with.
    pub fn answer_bytes(&self) -> usize {
        self.unsent.answer_bytes()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether connections wait to be looked at.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(super) fn sweep_by(&mut self, at: Instant) {
        self.sweep = Some(self.sweep.map_or(at, |sweep| sweep.min(at)));
    }

    /// Whether every response was sent.
    pub fn all_quiet(&self) -> bool {
        self.slots.iter().flatten().all(|open| open.conn.is_quiet())
    }
}

impl Core {
    pub(super) fn on_network(&mut self, event: Event) {
        let now = self.io.now();
        match event {
            Event::Accepted { conn, peer } => self.accept(conn, peer, now),
            Event::AcceptFailed { error } => crate::warn!("cannot accept a connection: {error}"),
            Event::Received { conn, chunk } => self.received(conn, &chunk, now),
            Event::Disconnected { conn, error } => self.disconnected(conn, error),
            Event::Sent { conn, result } => self.sent(conn, result, now),
            Event::Detached { conn, result } => self.on_detached(conn, result),
            _ => {}
        }
    }

    fn accept(&mut self, id: ConnId, peer: Option<SocketAddr>, now: Instant) {
        if self.stop.is_stopping() {
            return self.io.close_connection(id);
        }
        if self.holds_back(id, peer, now) {
            return;
        }
        if let Err(refusal) = self.shared.connections.admit(peer) {
            if self.conns.refused.is_none_or(|said| said + REFUSAL_PAUSE <= now) {
                self.conns.refused = Some(now);
                crate::warn!("refusing a connection: {refusal}");
            }
            return self.io.close_connection(id);
        }
        self.conns
            .open(id, peer, self.shared.config.limits.connection, now);
        let wait_ms = self.shared.creation.admit(self.shared.rates.ms(now));
        if let Some(open) = self.conns.get(id) {
            self.throttled.mute(open, id, now, wait_ms);
        }
        self.conns.mark(id);
        let idle = self.max_idle();
        self.conns.sweep_by(now + idle);
    }

    pub(super) fn max_idle(&self) -> Duration {
        self.shared
            .config
            .connections_max_idle_ms
            .map_or(NEVER, Duration::from_millis)
    }

    fn received(&mut self, id: ConnId, bytes: &[u8], now: Instant) {
        let Some(open) = self.conns.get(id) else { return };
        if let Err(error) = open.conn.take_bytes(bytes, now) {
            crate::warn!("closing connection {}: {error}", id.0);
            return self.close(id);
        }
        self.conns.recount(id);
        self.conns.mark(id);
        self.limit_waiting(id);
    }

    fn disconnected(&mut self, id: ConnId, error: Option<std::io::Error>) {
        if let Some(error) = error {
            crate::debug!("connection {} broke: {error}", id.0);
        }
        let Some(open) = self.conns.get(id) else { return };
        // What came before the end is still done: produce without acknowledgement counts on it.
        open.conn.ended = true;
        if let Some(fetch) = open.current.take() {
            open.conn.drop_waiting();
            self.drop_fetch(fetch);
            return self.close(id);
        }
        self.conns.mark(id);
        self.give_up_waiting(id);
    }

    fn sent(&mut self, id: ConnId, result: std::io::Result<()>, now: Instant) {
        let Some(open) = self.conns.get(id) else { return };
        if let Err(error) = result {
            crate::debug!("connection {} broke while sending: {error}", id.0);
            return self.close(id);
        }
        let stages = &mut self.stages;
        open.conn.sent(now, |timed| stages.sent(timed, now));
        self.conns.mark(id);
    }

    /// Gives a request of this or another core's connection its answer.
    pub(super) fn deliver(&mut self, to: ReplyTo, mut answer: Answer) {
        if to.core != self.id {
            return self.post(to.core, super::mail::Mail::Answer { to, answer });
        }
        let now = self.io.now();
        let Some(open) = self
            .conns
            .get(to.conn)
            .filter(|open| open.conn.serial() == to.serial)
        else {
            return;
        };
        open.current = None;
        if let Some(limits) = open.meters.limits() {
            let throttle_ms = throttle::of_answer(limits, to, &mut answer, self.shared.rates.ms(now));
            self.throttled.mute(open, to.conn, now, throttle_ms);
        }
        open.conn.answer(to.number, answer, now);
        self.conns.recount(to.conn);
        self.conns.mark(to.conn);
    }

    /// Notes which fetch runs on a connection, to forget it when the client goes.
    pub(super) fn note_current(&mut self, reply: ReplyTo, call: CallId) {
        if let Some(open) = self.conns.get(reply.conn) {
            open.current = Some(call);
        }
    }

    /// Starts requests, sends answers, pauses and resumes: for every connection that something happened to.
    pub(super) fn pump_all(&mut self) {
        while let Some(id) = self.conns.dirty.pop() {
            if let Some(open) = self.conns.get(id) {
                open.conn.dirty = false;
                self.pump(id);
            }
        }
        self.relieve();
    }

    fn pump(&mut self, id: ConnId) {
        while let Some((serial, request)) = self.next_request(id) {
            let full = self.stages.note_request(request.kind, request.began);
            self.start_request(id, serial, request.number, request.frame);
            if full {
                self.note_decoded();
            }
        }
        let now = self.io.now();
        let Some(open) = self.conns.get(id) else { return };
        if open.conn.is_over() {
            return self.close(id);
        }
        if let Some(pieces) = open.conn.next_send(now) {
            self.io.send(id, pieces);
            self.conns.sweep_by(now + SEND_STALL);
        }
        self.conns.recount(id);
        self.leave_when_drained(id);
        self.steer(id);
    }

    fn next_request(&mut self, id: ConnId) -> Option<(u64, Started)> {
        if self.stop.is_stopping() {
            return None;
        }
        if self.conns.waits_for_answers(id, self.io.now()) {
            return None;
        }
        let open = self.conns.get(id).filter(|open| open.homing.may_start())?;
        Some((open.conn.serial(), open.conn.next_request()?))
    }

    /// Closes what has been silent too long, and decides when to look again.
    pub(super) fn sweep_connections(&mut self) {
        let now = self.io.now();
        if self.conns.sweep.is_none_or(|at| at > now) {
            return;
        }
        let max_idle = self.max_idle();
        let mut next: Option<Instant> = None;
        for id in self.conns.ids() {
            let Some(open) = self.conns.get(id) else { continue };
            let (at, why) = open.conn.expiry(max_idle);
            let at = if why == Expiry::Idle && open.conn.is_busy() {
                now + max_idle
            } else {
                at
            };
            if at <= now {
                crate::debug!("closing connection {}: {why:?}", id.0);
                self.close(id);
            } else {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        self.conns.sweep = next.map(|at| at.max(now + SWEEP_PAUSE));
        if self.appends.is_full() || self.reads.stalled_since().is_some() {
            // Memory that another core's connections have let go comes back without a word.
            self.retry_all();
        }
        self.close_greedy(now);
        self.seek_memory(now);
        self.relieve();
    }

    /// Closes a connection at once.
    pub(super) fn close(&mut self, id: ConnId) {
        let Some(open) = self.conns.remove(id) else { return };
        self.throttled.forget(&open, id);
        self.shared.connections.release(open.conn.peer);
        if let Some(fetch) = open.current {
            self.drop_fetch(fetch);
        }
        self.give_up_all(open.waiting);
        self.io.close_connection(id);
    }

    /// Forgets what has not started: the broker stops.
    pub(super) fn stop_reading(&mut self) {
        for id in self.conns.ids() {
            if let Some(open) = self.conns.get(id) {
                open.conn.drop_waiting();
            }
            self.conns.recount(id);
            self.conns.mark(id);
        }
    }

    /// Closes every connection.
    pub(super) fn close_all(&mut self) {
        self.close_held(None);
        self.conns.ids().into_iter().for_each(|id| self.close(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn conns(sets: &[(&str, &str)]) -> (Conns, ConnectionLimits) {
        let sets = sets
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::from_pairs(sets.collect()).expect("valid");
        (Conns::new(&config.limits), config.limits.connection)
    }

    #[test]
    fn what_a_connection_held_goes_with_it() {
        let now = Instant::now();
        let (mut conns, limits) = conns(&[]);
        for id in [ConnId(0), ConnId(1)] {
            conns.open(id, None, limits, now);
            let taken = conns
                .get(id)
                .map(|open| open.conn.take_bytes(&[0, 0, 0, 2, 0, 1, 0, 0, 9], now));
            assert_eq!(taken, Some(Ok(())));
            conns.recount(id);
        }
        let held = conns.crowd.held_bytes();
        assert_eq!((conns.waiting_requests, held % 2, held > 4), (2, 0, true));
        assert!(conns.remove(ConnId(0)).is_some());
        assert_eq!((conns.waiting_requests, conns.crowd.held_bytes()), (1, held / 2));
        assert!(conns.remove(ConnId(1)).is_some());
        assert_eq!((conns.waiting_requests, conns.crowd.held_bytes()), (0, 0));
    }
}
