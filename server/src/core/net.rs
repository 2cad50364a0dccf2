//! Sockets of one core: what they bring, what they are told, when they are paused and when they are closed.
//!
//! While the engine has no room for what producers send, sockets with produce requests in progress are not read from; all others are.
//! Frames of all connections together have a limit. When it is reached every socket is paused but the one whose unfinished frame
//! is the oldest: it goes on, so that something can always be finished; if it brings nothing for
//! [`FAVOUR_FOR`] while the others wait, it is closed and the next one has its turn.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringlog_engine::io::{ConnId, Event};

use super::Core;
use super::calls::{CallId, ReplyTo};
use super::moving::Homing;
use super::throttle;
use crate::broker::Shared;
use crate::conn::{Answer, Conn, Expiry, SEND_STALL, Started};
use crate::quotas::meters::Meters;

/// How long the connection that alone may go on can be silent.
pub const FAVOUR_FOR: Duration = Duration::from_secs(10);

/// The least time between two looks at all connections.
const SWEEP_PAUSE: Duration = Duration::from_millis(500);

/// Standing in for never: `connections.max.idle.ms` without a limit.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The connections of one core.
#[derive(Debug, Default)]
pub struct Conns {
    slots: Vec<Option<Box<Open>>>,
    count: usize,
    next_serial: u64,
    /// Bytes of frames held, over all connections.
    held_bytes: usize,
    /// Whether the limit on them is reached.
    crowded: bool,
    /// The connection that alone goes on while it is, by its serial, and since when it has been able to.
    favoured: Option<(u64, Instant)>,
    /// Whether the engine has no room for what producers send.
    clogged: bool,
    /// Connections to look at before the turn ends.
    dirty: Vec<ConnId>,
    /// When to look at all of them.
    sweep: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) conn: Conn,
    /// What `held_bytes` counts for it.
    counted_bytes: usize,
    /// The fetch that runs alone on it.
    current: Option<CallId>,
    /// Whether it moves to another core.
    pub(super) homing: Homing,
    /// The quotas of its client.
    pub(super) meters: Meters,
}

impl Conns {
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

    fn open(&mut self, id: ConnId, peer: Option<SocketAddr>, max_frame_bytes: usize, now: Instant) {
        let mut conn = Conn::new(0, max_frame_bytes, now);
        conn.peer = peer;
        self.settle_in(id, conn);
    }

    /// Whether this core may have one more.
    pub(super) fn has_room(&self, shared: &Shared, cores: usize) -> bool {
        self.count < shared.config.max_connections.div_ceil(cores)
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
            counted_bytes: 0,
            current: None,
            homing: Homing::default(),
            meters: Meters::default(),
        }));
        self.count += 1;
        self.recount(id);
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Box<Open>> {
        let open = self.slots.get_mut(id.0 as usize)?.take()?;
        self.count -= 1;
        self.held_bytes -= open.counted_bytes;
        Some(open)
    }

    fn recount(&mut self, id: ConnId) {
        if let Some(Some(open)) = self.slots.get_mut(id.0 as usize) {
            let held = open.conn.held_bytes();
            self.held_bytes = self.held_bytes - open.counted_bytes + held;
            open.counted_bytes = held;
        }
    }

    pub(super) fn mark(&mut self, id: ConnId) {
        if let Some(Some(open)) = self.slots.get_mut(id.0 as usize)
            && !std::mem::replace(&mut open.conn.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    fn ids(&self) -> Vec<ConnId> {
        let open = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
        open.map(|(place, _)| ConnId(place as u32)).collect()
    }

    /// The connection whose unfinished frame is the oldest, and when its last byte came.
    fn oldest_partial(&self) -> Option<(ConnId, Instant)> {
        let partial = |(place, slot): (usize, &Option<Box<Open>>)| {
            let conn = &slot.as_ref()?.conn;
            // What is muted could not go on.
            let (since, last) = conn.partial().filter(|_| !conn.is_muted())?;
            Some((since, ConnId(place as u32), last))
        };
        self.slots
            .iter()
            .enumerate()
            .filter_map(partial)
            .min()
            .map(|(_, id, last)| (id, last))
    }

    /// Since when the connection has had its turn. Before that it may have been silent because it was not read from, and
    /// so it may be while its own requests are dealt with.
    fn favour(&mut self, id: ConnId, now: Instant) -> Instant {
        let Some(Some(open)) = self.slots.get(id.0 as usize) else {
            return now;
        };
        let serial = open.conn.serial();
        let since = match self.favoured {
            Some((favoured, since)) if favoured == serial && open.conn.wants_bytes() => since,
            _ => now,
        };
        self.favoured = Some((serial, since));
        since
    }

    /// When to look at all of them.
    pub fn sweep_at(&self) -> Option<Instant> {
        self.sweep
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
        if !self.conns.has_room(&self.shared, self.cores) || self.stop.is_stopping() {
            crate::warn!(
                "refusing a connection: this core has {} of {}",
                self.conns.count,
                self.shared.config.max_connections.div_ceil(self.cores)
            );
            self.io.close_connection(id);
            return;
        }
        if self.holds_back(id, peer, now) {
            return;
        }
        self.conns
            .open(id, peer, self.shared.config.request_max_bytes, now);
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
        self.relieve_crowd();
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
        let open = self.conns.get(id).filter(|open| open.homing.may_start())?;
        Some((open.conn.serial(), open.conn.next_request()?))
    }

    /// Receives or pauses, as the connection and the core's memory want.
    fn steer(&mut self, id: ConnId) {
        let may = !self.stop.is_stopping() && !self.conns.crowded;
        let clogged = self.conns.clogged;
        let Some(open) = self.conns.get(id).filter(|open| !open.homing.is_leaving()) else {
            return;
        };
        let receive = may && open.conn.wants_bytes() && !(clogged && open.conn.is_producing());
        if std::mem::replace(&mut open.conn.receiving, receive) != receive {
            if receive {
                self.io.receive(id)
            } else {
                self.io.pause(id)
            }
        }
    }

    /// Enters or leaves the state in which only the oldest unfinished frame goes on.
    fn relieve_crowd(&mut self) {
        let limit = self.frame_limit_bytes;
        // Left only well below the limit, so that the sockets are not switched with every frame.
        let crowded = match self.conns.crowded {
            false => self.conns.held_bytes > limit,
            true => self.conns.held_bytes > limit / 4 * 3,
        };
        let clogged = self.appends.is_full();
        if (crowded, clogged) != (self.conns.crowded, self.conns.clogged) {
            (self.conns.crowded, self.conns.clogged) = (crowded, clogged);
            self.conns.ids().into_iter().for_each(|id| self.steer(id));
        }
        if crowded {
            self.favour_oldest();
        } else {
            self.conns.favoured = None;
        }
    }

    fn favour_oldest(&mut self) {
        let now = self.io.now();
        self.conns.sweep_by(now + SWEEP_PAUSE);
        let Some((id, last)) = self.conns.oldest_partial() else {
            return;
        };
        if now.saturating_duration_since(last.max(self.conns.favour(id, now))) >= FAVOUR_FOR {
            crate::warn!(
                "closing connection {}: it holds back others with an unfinished request",
                id.0
            );
            return self.close(id);
        }
        if let Some(open) = self.conns.get(id)
            && !open.conn.receiving
            && !open.homing.is_leaving()
            && open.conn.wants_bytes()
        {
            open.conn.receiving = true;
            self.io.receive(id);
        }
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
        self.relieve_crowd();
    }

    /// Closes a connection at once.
    pub(super) fn close(&mut self, id: ConnId) {
        let Some(open) = self.conns.remove(id) else { return };
        self.throttled.forget(&open, id);
        if let Some(fetch) = open.current {
            self.drop_fetch(fetch);
        }
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

    #[test]
    fn a_connection_s_turn_begins_when_it_may_go_on() {
        let begin = Instant::now();
        let mut conns = Conns::default();
        let (a, b) = (ConnId(0), ConnId(1));
        for id in [a, b] {
            conns.open(id, None, 1 << 20, begin);
            let taken = conns.get(id).map(|open| open.conn.take_bytes(&[0, 0, 1], begin));
            assert_eq!(taken, Some(Ok(())));
        }
        let later = begin + FAVOUR_FOR;
        assert_eq!(conns.oldest_partial(), Some((a, begin)));
        assert_eq!(conns.favour(a, begin), begin);
        assert_eq!(conns.favour(a, later), begin);
        assert!(conns.remove(a).is_some());
        // It has been silent for as long as the other, but nobody would have listened.
        assert_eq!(conns.oldest_partial(), Some((b, begin)));
        assert_eq!(conns.favour(b, later), later);
        assert_eq!(conns.favour(b, later + FAVOUR_FOR), later);
    }
}
