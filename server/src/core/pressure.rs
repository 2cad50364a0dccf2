//! Who is read from and who is served while this core holds much: what [`crate::pressure`] decides, done to sockets.
//!
//! Three things pause a socket that would bring more: requests of all connections have reached their limit; the engine has no room for what
//! producers send, and this one's produces are among those that wait; or others were paused before it and have not had their turn. A fetch
//! waits while too many answers are not taken. When that lasts, or the engine has had no room for so long, every core closes connections that take
//! nothing of their answers: it may be those that keep the memory.

use std::time::{Duration, Instant};

use ringlog_engine::io::ConnId;

use super::Core;
use super::mail::Mail;
use super::net::{Conns, Open};
use crate::conn::Kind;
use crate::pressure::crowd::Level;
use crate::pressure::favour::{Room, Unfinished};

/// Sockets that are resumed at once. Each may bring all that its kernel buffer holds before anybody looks at the limit again.
const RESUMED_AT_ONCE: usize = 16;

/// Fetches that are started at once when answers have been taken.
const STARTED_AT_ONCE: usize = 16;

/// How often the unfinished requests that go on are chosen.
const CHOICE_PAUSE: Duration = Duration::from_millis(10);

/// How long something waits for memory that answers may hold before those who take nothing are closed, and how long they must have taken nothing.
pub const STALL_WHEN_SHORT: Duration = Duration::from_secs(2);

/// How long nobody is read from before those are closed who have brought more than their share and have not taken their answers for so long.
const STALL_WHEN_FULL: Duration = Duration::from_millis(500);

/// The share of such connections that is closed at a time, the longest silent first.
const CLOSED_SHARE: usize = 4;

/// The least time between two looks at all connections.
pub(super) const SWEEP_PAUSE: Duration = Duration::from_millis(500);

impl Conns {
    /// Whether the socket is to be read from; puts it into the line when it would be and has to wait.
    fn decide(&mut self, id: ConnId, has_turn: bool, now: Instant) -> Option<bool> {
        let is_queue_full = self.waiting_requests >= self.most_waiting_requests;
        let Some(Some(open)) = self.slots.get_mut(id.0 as usize) else {
            return None;
        };
        if open.homing.is_leaving() {
            return None;
        }
        let conn = &open.conn;
        let wants = conn.wants_bytes() && !(is_queue_full && conn.waiting_requests() > 0);
        let goes_on = conn
            .unfinished()
            .is_some_and(|(since, here, _)| self.favoured.has(conn.serial(), since, here));
        let is_kept = !self.crowd.may_read(open.counted.held_bytes) || (self.clogged && conn.is_producing());
        // Who holds nothing yields to nobody.
        let yields = open.counted.held_bytes > 0 && !self.readers.is_empty();
        let waits = is_kept || yields && !conn.receiving && !has_turn;
        let receive = wants && (goes_on || !waits);
        match (wants && !receive, open.reads_at) {
            (true, None) => open.reads_at = Some(self.readers.join(id, now)),
            (false, Some(place)) => {
                self.readers.leave(place);
                open.reads_at = None;
            }
            _ => {}
        }
        Some(receive)
    }

    /// Whether the next request of the connection has to wait until answers have been taken.
    pub(super) fn waits_for_answers(&mut self, id: ConnId, now: Instant) -> bool {
        let Some(Some(open)) = self.slots.get_mut(id.0 as usize) else {
            return false;
        };
        let Some(kind) = open.conn.next_kind() else {
            return false;
        };
        let has_turn = std::mem::take(&mut open.may_start);
        let waits = match kind {
            // Its own answers on their way out let it go on.
            Kind::Produce => return self.unsent.is_overfull() && open.counted.unsent_bytes > 0,
            Kind::Fetch => self.unsent.is_full() || !(has_turn || self.fetchers.is_empty()),
            Kind::Other => self.unsent.is_overfull(),
        };
        if waits && open.starts_at.is_none() {
            open.starts_at = Some(self.fetchers.join(id, now));
        }
        waits
    }

    fn unfinished(&self) -> Vec<Unfinished> {
        let unfinished = |(place, slot): (usize, &Option<Box<Open>>)| {
            let open = slot.as_deref()?;
            let (since, here_bytes, missing_bytes) = open.conn.unfinished()?;
            // What is muted, or leaves, could not go on.
            let is_here = !open.conn.is_muted() && !open.homing.is_leaving();
            is_here.then(|| Unfinished {
                since,
                id: ConnId(place as u32),
                serial: open.conn.serial(),
                here_bytes,
                missing_bytes,
                can_go_on: open.conn.wants_bytes(),
            })
        };
        self.slots.iter().enumerate().filter_map(unfinished).collect()
    }

    /// Connections whose sockets have taken nothing since then, the longest silent first.
    fn stalled(&self, since: Instant) -> Vec<ConnId> {
        let sending = |(place, slot): (usize, &Option<Box<Open>>)| {
            let began = slot.as_deref()?.conn.sending_since()?;
            (began <= since).then_some((began, place as u32))
        };
        let mut all: Vec<_> = self.slots.iter().enumerate().filter_map(sending).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, place)| ConnId(place)).collect()
    }

    fn relief_by(&mut self, at: Instant) {
        self.relief = Some(self.relief.map_or(at, |relief| relief.min(at)));
    }
}

impl Core {
    /// Receives or pauses, as the connection and the core's memory want.
    pub(super) fn steer(&mut self, id: ConnId) {
        self.steer_with(id, false);
    }

    fn steer_with(&mut self, id: ConnId, has_turn: bool) -> bool {
        let now = self.io.now();
        let Some(receive) = self.conns.decide(id, has_turn, now) else {
            return false;
        };
        let receive = receive && !self.stop.is_stopping();
        if let Some(open) = self.conns.get(id)
            && std::mem::replace(&mut open.conn.receiving, receive) != receive
        {
            if receive {
                self.io.receive(id)
            } else {
                self.io.pause(id)
            }
        }
        receive
    }

    /// Pauses, resumes and starts what follows from what is held now.
    pub(super) fn relieve(&mut self) {
        let now = self.io.now();
        let before = (self.conns.crowd.level(), self.conns.clogged);
        self.conns.crowd.look();
        self.conns.clogged = self.appends.is_full();
        let (level, clogged) = (self.conns.crowd.level(), self.conns.clogged);
        if level > before.0 || clogged && !before.1 {
            self.conns.ids().into_iter().for_each(|id| self.steer(id));
        }
        self.conns.full_since = match level {
            Level::Full => self.conns.full_since.or(Some(now)),
            Level::Calm | Level::Pressed => None,
        };
        self.conns.relief = None;
        if level < Level::Full {
            self.resume_readers();
        }
        self.start_fetchers();
        match level {
            Level::Calm => self.conns.favoured.clear(),
            Level::Pressed | Level::Full => self.favour_oldest(now),
        }
        if clogged
            || level == Level::Full
            || !self.conns.fetchers.is_empty()
            || self.reads.stalled_since().is_some()
        {
            self.conns.sweep_by(now + SWEEP_PAUSE);
        }
    }

    fn resume_readers(&mut self) {
        let mut resumed = 0;
        for _ in 0..self.conns.readers.len().min(RESUMED_AT_ONCE) {
            let Some(id) = self.conns.readers.pop() else {
                break;
            };
            if let Some(open) = self.conns.get(id) {
                open.reads_at = None;
            }
            resumed += usize::from(self.steer_with(id, true));
        }
        if resumed > 0 && !self.conns.readers.is_empty() {
            self.conns.relief_by(self.io.now());
        }
    }

    fn start_fetchers(&mut self) {
        let mut started = 0;
        while started < STARTED_AT_ONCE
            && !self.conns.unsent.is_full()
            && let Some(id) = self.conns.fetchers.pop()
        {
            if let Some(open) = self.conns.get(id) {
                (open.starts_at, open.may_start) = (None, true);
            }
            self.conns.mark(id);
            started += 1;
        }
    }

    fn favour_oldest(&mut self, now: Instant) {
        if let Some(at) = self.conns.next_choice.filter(|at| *at > now) {
            return self.conns.relief_by(at);
        }
        let next = now + CHOICE_PAUSE;
        self.conns.next_choice = Some(next);
        let unfinished = self.conns.unfinished();
        let here: usize = unfinished.iter().map(|one| one.here_bytes).sum();
        // Whole requests are dealt with, and then there is room; unfinished ones alone would stay for ever.
        let is_theirs = here >= self.conns.crowd.held_bytes() / 4;
        let has_lasted = self
            .conns
            .full_since
            .is_some_and(|since| now >= since + STALL_WHEN_SHORT);
        let room = Room {
            bytes: self.conns.crowd.reserve_bytes(),
            at_least_one: is_theirs,
            may_hear: is_theirs && has_lasted,
        };
        let choice = self.conns.favoured.choose(unfinished, room, now);
        if !self.conns.favoured.is_empty() {
            self.conns.relief_by(next);
        }
        for id in choice.give_up {
            crate::warn!(
                "closing connection {}: it holds back others with an unfinished request",
                id.0
            );
            self.close(id);
        }
        let before = std::mem::replace(&mut self.conns.going_on, choice.go_on.clone());
        before
            .into_iter()
            .chain(choice.go_on)
            .for_each(|id| self.steer(id));
    }

    /// Whether something has waited so long for memory that unsent answers may hold.
    fn is_short(&self, now: Instant) -> bool {
        let waiting = [
            self.conns.fetchers.since(),
            self.appends.parked_since(),
            self.reads.stalled_since(),
            self.conns.full_since,
        ];
        let is_long = |since: Instant| now.saturating_duration_since(since) >= STALL_WHEN_SHORT;
        waiting.into_iter().flatten().any(is_long)
    }

    /// Looks whether others wait for memory that answers may hold, and tells the cores that have the connections.
    pub(super) fn seek_memory(&mut self, now: Instant) {
        if self.is_short(now) {
            for core in 0..self.cores {
                self.post(core, Mail::Short);
            }
        }
    }

    /// Closes connections that keep everybody from being read from: they go on asking, and take no answers.
    pub(super) fn close_greedy(&mut self, now: Instant) {
        let has_lasted = |since: Instant| now.saturating_duration_since(since) >= STALL_WHEN_FULL;
        let Some(since) = now.checked_sub(STALL_WHEN_FULL) else {
            return;
        };
        if !self.conns.full_since.is_some_and(has_lasted) {
            return;
        }
        for id in self.conns.stalled(since) {
            let held_bytes = self.conns.get(id).map_or(0, |open| open.counted.held_bytes);
            if self.conns.crowd.is_over_share(held_bytes) {
                crate::debug!(
                    "closing connection {}: it asks for more and takes no answers",
                    id.0
                );
                self.close(id);
            }
        }
    }

    /// A core is short of memory: closes connections that take nothing.
    pub(super) fn close_stalled(&mut self) {
        let now = self.io.now();
        let Some(since) = now.checked_sub(STALL_WHEN_SHORT) else {
            return;
        };
        let stalled = self.conns.stalled(since);
        let count = stalled.len().div_ceil(CLOSED_SHARE);
        for id in stalled.into_iter().take(count) {
            crate::debug!(
                "closing connection {}: it takes no answers while memory is short",
                id.0
            );
            self.close(id);
        }
    }
}
