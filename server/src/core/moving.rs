//! Connections that move to the core that owns what they write.
//!
//! The kernel deals connections out at random. A producer that only ever writes partitions of another core pays two hand-overs a
//! request, each of which wakes a thread. Such a connection asks to move; when the other core has time for it, it finishes what is
//! running, and goes with its socket, its half-received frame and the requests that have not started:
//!
//! ```text
//! this core                                    the owner
//!   32 requests for one other core --MayMove-->  has it time?
//!   start no more, answer all      <--MoveTo---  yes
//!   Io::detach -> Detached         ---Adopt--->  Io::adopt, go on
//! ```
//!
//! The client notices nothing. A connection that fetches stays: its fetch session lives on the core where it began.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ringlog_engine::io::ConnId;

use super::Core;
use super::calls::ReplyTo;
use super::mail::Mail;
use crate::conn::Conn;

/// Requests in a row for one and the same other core after which a connection asks to move there.
const MOVE_AFTER: u32 = 32;
/// A connection that was told no asks again after this many more.
const ASK_AGAIN_AFTER: u32 = 4096;
/// A core whose thread used more than this share of the processor in the last [`WINDOW`] takes in no more connections, in percent.
const MOST_BUSY_PERCENT: u32 = 85;
/// How long a core's business is looked at.
const WINDOW: Duration = Duration::from_millis(100);

/// Where a connection's requests go, and whether it follows them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Homing {
    /// So many requests in a row went to that core alone.
    #[default]
    Here,
    /// See above: the core, and requests until it asks.
    Drawn(usize, u32),
    /// The other core was asked.
    Asked(usize),
    /// No more requests are started; it leaves when all are answered.
    Draining(usize),
    /// The ring is letting go of the socket.
    Leaving(usize),
    /// It never moves.
    Stays,
}

impl Homing {
    /// A request went to `owner` alone, which is another core, or to several or this one. True when it is time to ask.
    fn note(&mut self, owner: Option<usize>) -> Option<usize> {
        *self = match (*self, owner) {
            (Homing::Here, Some(core)) => Homing::Drawn(core, MOVE_AFTER - 1),
            (Homing::Drawn(to, 1), Some(core)) if to == core => {
                *self = Homing::Asked(core);
                return Some(core);
            }
            (Homing::Drawn(to, left), Some(core)) if to == core => Homing::Drawn(core, left - 1),
            (Homing::Drawn(..), _) => Homing::Here,
            (other, _) => other,
        };
        None
    }

    /// Whether requests may start.
    pub(super) fn may_start(self) -> bool {
        !matches!(self, Homing::Draining(_) | Homing::Leaving(_))
    }

    /// Whether the socket is the ring's to deal with.
    pub(super) fn is_leaving(self) -> bool {
        matches!(self, Homing::Leaving(_))
    }
}

/// A connection on its way to another core.
#[derive(Debug)]
pub struct Moving {
    conn: Conn,
    socket: OwnedFd,
}

/// How busy a core has been: the processor time of its thread, over the last [`WINDOW`].
#[derive(Debug)]
pub(super) struct Business {
    begun: Instant,
    /// The thread's processor time then.
    used: Duration,
    last_percent: u32,
}

impl Business {
    pub(super) fn new(now: Instant) -> Business {
        Business {
            begun: now,
            used: Duration::ZERO,
            last_percent: 0,
        }
    }

    /// To be called once a turn, with what tells the thread's processor time.
    pub(super) fn look(&mut self, now: Instant, used: impl FnOnce() -> Duration) {
        let window = now.saturating_duration_since(self.begun);
        if window >= WINDOW {
            let used = used();
            let busy = used.saturating_sub(self.used);
            self.last_percent = (busy.as_micros() * 100 / window.as_micros().max(1)) as u32;
            (self.begun, self.used) = (now, used);
        }
    }

    fn has_time(&self) -> bool {
        self.last_percent <= MOST_BUSY_PERCENT
    }
}

impl Core {
    /// A produce of one of this core's connections went to these owners.
    pub(super) fn note_owners(&mut self, reply: ReplyTo, mut owners: impl Iterator<Item = usize>) {
        let owner = owners.next().filter(|owner| *owner != self.id);
        let alone = owner.filter(|_| owners.next().is_none());
        let Some(open) = self.conns.current(reply) else {
            return;
        };
        if let Some(to) = open.homing.note(alone) {
            let (from, conn, serial) = (self.id, reply.conn, reply.serial);
            self.post(to, Mail::MayMove { from, conn, serial });
        }
    }

    /// The connection has something on this core that it would lose.
    pub(super) fn keep_here(&mut self, reply: ReplyTo) {
        if let Some(open) = self.conns.current(reply) {
            // One that has been told to go has nothing running and is not heard of before it has left.
            open.homing = Homing::Stays;
        }
    }

    /// Owner: another core's connection writes here only.
    pub(super) fn on_may_move(&mut self, from: usize, conn: ConnId, serial: u64) {
        let yes = self.business.has_time() && !self.stop.is_stopping();
        let to = yes.then_some(self.id);
        self.post(from, Mail::MoveTo { conn, serial, to });
    }

    /// The owner has time for the connection, or has not.
    pub(super) fn on_move_to(&mut self, conn: ConnId, serial: u64, to: Option<usize>) {
        let Some(open) = self.conns.get_serial(conn, serial) else {
            return;
        };
        if let Homing::Asked(asked) = open.homing {
            open.homing = match to {
                Some(to) => Homing::Draining(to),
                None => Homing::Drawn(asked, ASK_AGAIN_AFTER),
            };
            self.conns.mark(conn);
        }
    }

    /// Lets go of a connection that is to leave, once all it asked is answered.
    pub(super) fn leave_when_drained(&mut self, id: ConnId) {
        let Some(open) = self.conns.get(id) else { return };
        let Homing::Draining(to) = open.homing else { return };
        if open.conn.ended || self.stop.is_stopping() {
            open.homing = Homing::Stays;
            return self.conns.mark(id);
        }
        if open.conn.is_drained() {
            open.homing = Homing::Leaving(to);
            open.conn.receiving = false;
            self.io.detach(id);
        }
    }

    /// The ring has let go of the socket, or could not.
    pub(super) fn on_detached(&mut self, id: ConnId, result: std::io::Result<OwnedFd>) {
        let socket = match result {
            Ok(socket) => socket,
            Err(error) => {
                crate::debug!("connection {} stays on its core: {error}", id.0);
                if let Some(open) = self.conns.get(id) {
                    open.homing = Homing::Stays;
                    self.conns.mark(id);
                }
                return;
            }
        };
        // Closed meanwhile: dropping the socket ends it.
        let Some(open) = self.conns.remove(id) else { return };
        self.throttled.forget(&open, id);
        if let Homing::Leaving(to) = open.homing
            && !self.stop.is_stopping()
            && !open.conn.ended
        {
            let conn = open.conn;
            self.post(to, Mail::Adopt(Box::new(Moving { conn, socket })));
        } else {
            self.shared.connections.release(open.conn.peer);
        }
    }

    /// Owner: the connection is here.
    pub(super) fn adopt(&mut self, moving: Moving) {
        let Moving { conn, socket } = moving;
        if self.stop.is_stopping() {
            return self.shared.connections.release(conn.peer);
        }
        let id = self.io.adopt(socket);
        crate::debug!("connection {} moved here: it writes this core's partitions", id.0);
        self.conns.settle_in(id, conn);
        if let Some(open) = self.conns.get(id) {
            self.throttled.note(open, id);
        }
        self.conns.mark(id);
        let idle = self.max_idle();
        let by = self.io.now() + idle;
        self.conns.sweep_by(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_row_for_one_other_core_asks_to_move() {
        let mut homing = Homing::default();
        for _ in 0..MOVE_AFTER - 1 {
            assert_eq!(homing.note(Some(1)), None);
        }
        assert_eq!(homing.note(Some(1)), Some(1));
        assert_eq!(homing.note(Some(1)), None, "asks once");
        assert!(matches!(homing, Homing::Asked(1)));
    }

    #[test]
    fn a_request_for_somebody_else_begins_the_row_anew() {
        let mut homing = Homing::default();
        for other in [None, Some(2)] {
            for _ in 0..MOVE_AFTER - 1 {
                assert_eq!(homing.note(Some(1)), None);
            }
            assert_eq!(homing.note(other), None);
            assert!(matches!(homing, Homing::Here));
        }
    }

    #[test]
    fn a_busy_core_takes_in_nobody() {
        let begin = Instant::now();
        let mut business = Business::new(begin);
        assert!(business.has_time());
        business.look(begin + WINDOW, || WINDOW - WINDOW / 10);
        assert!(!business.has_time(), "awake for nine tenths");
        business.look(begin + WINDOW + WINDOW / 2, || unreachable!("too soon"));
        business.look(begin + 2 * WINDOW, || WINDOW);
        assert!(business.has_time(), "a tenth since");
    }
}
