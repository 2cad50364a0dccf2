//! One client connection: frames in, requests one after the other, responses out in order. Pure: it owns no
//! socket and reads no clock; the core feeds it and does what it asks for.
//!
//! ```text
//! bytes -> Framer -> waiting frames -> running requests -> Answers (in order) -> Outgoing -> one send under way
//! ```
//!
//! Any number of Produce requests may run at once, which is what lets one connection fill a group commit; of every other kind
//! Kafka's clients count on one at a time, so such a request runs alone. Everything a connection holds is bounded: when a bound
//! is reached it stops asking for bytes, and the client's TCP window does the rest.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog_engine::io::Piece;

use crate::config::limits::ConnectionLimits;

mod answers;
mod frame;
mod timing;

pub use answers::{Answer, Answers, Outgoing, own_bytes};
pub use frame::{FrameError, Framer};
pub use timing::{Kind, Timed};

use timing::Departures;

/// No more bytes are asked for while more than this wait to be read by the client.
pub const MAX_UNSENT_BYTES: usize = 256 << 10;

/// No further produce starts while more than this wait to be read by the client.
pub const MAX_UNSENT_BEFORE_PRODUCES: usize = 64 << 10;

/// And no other request while more than this do: of large answers a connection has one at a time.
pub const MAX_UNSENT_BEFORE_OTHERS: usize = 4 << 10;

/// Bytes given to the socket at once, to the end of the piece that reaches them. The clock of [`SEND_STALL`] starts
/// again with each such part: a large answer on a slow line takes longer than that altogether.
pub const SEND_AT_ONCE_BYTES: usize = 1 << 20;

/// A client that does not take what was given to the socket at once within this is given up.
pub const SEND_STALL: Duration = Duration::from_secs(30);

/// What runs on the connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    Produces(usize),
    One,
}

/// What was given to the socket at once and is not taken yet.
#[derive(Clone, Copy, Debug)]
struct Sending {
    since: Instant,
    bytes: usize,
    own_bytes: usize,
}

/// A request that may start.
#[derive(Debug)]
pub struct Started {
    /// The number to answer it by.
    pub number: u64,
    /// Its bytes.
    pub frame: Bytes,
    /// What it is.
    pub kind: Kind,
    /// When its first byte came.
    pub began: Instant,
}

/// Why the connection should be closed by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Nothing was sent or received for `connections.max.idle.ms`.
    Idle,
    /// The client does not read its responses.
    SendStalled,
}

/// One client connection.
#[derive(Debug)]
pub struct Conn {
    serial: u64,
    limits: ConnectionLimits,
    /// Where the client is.
    pub peer: Option<SocketAddr>,
    framer: Framer,
    /// When the unfinished frame began.
    partial_since: Option<Instant>,
    last_active: Instant,
    /// Whole frames that have not started, each with the time of its first byte.
    waiting: VecDeque<(Bytes, Instant)>,
    waiting_bytes: usize,
    running: Running,
    answers: Answers,
    outgoing: Outgoing,
    departures: Departures,
    sending: Option<Sending>,
    /// Whether the core last told the socket to receive.
    pub receiving: bool,
    /// Whether this connection is on the core's list of connections to look at.
    pub dirty: bool,
    /// The client closed its side; what it sent before is still done.
    pub ended: bool,
    /// An answer said that the connection is to be closed.
    closing: bool,
    /// Until when it is neither read from nor served, by a quota (KIP-219).
    muted_until: Option<Instant>,
    /// Whether its client has quotas: then no more is read than can start, so that little waits in memory while it is muted. Of a client
    /// that takes no answers no more is read than that either.
    pub is_metered: bool,
}

impl Conn {
    /// A new connection. `serial` is never used again by this core, unlike the socket's id.
    pub fn new(serial: u64, limits: ConnectionLimits, now: Instant) -> Conn {
        Conn {
            serial,
            limits,
            peer: None,
            framer: Framer::new(limits.frame_bytes),
            partial_since: None,
            last_active: now,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            running: Running::Produces(0),
            answers: Answers::default(),
            outgoing: Outgoing::default(),
            departures: Departures::default(),
            sending: None,
            receiving: false,
            dirty: false,
            ended: false,
            closing: false,
            muted_until: None,
            is_metered: false,
        }
    }

    /// The connection is on another core now, with nothing running, under this serial.
    pub fn settle_in(&mut self, serial: u64) {
        self.serial = serial;
        self.receiving = false;
        self.dirty = false;
    }

    /// Whether everything that was started is answered and sent.
    pub fn is_drained(&self) -> bool {
        self.answers.open_requests() == 0 && self.unsent_bytes() == 0 && !self.closing
    }

    /// Tells this connection from earlier ones with the same socket id.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Takes bytes the socket brought. An error means that the connection must be closed.
    pub fn take_bytes(&mut self, data: &[u8], now: Instant) -> Result<(), FrameError> {
        self.last_active = now;
        let (waiting, bytes) = (&mut self.waiting, &mut self.waiting_bytes);
        let before = waiting.len();
        let mut began = self.partial_since.unwrap_or(now);
        self.framer.feed(data, |frame| {
            *bytes += frame.len();
            waiting.push_back((frame, std::mem::replace(&mut began, now)));
        })?;
        let finished = self.waiting.len() > before;
        if self.framer.partial_bytes() == 0 {
            self.partial_since = None;
        } else if finished || self.partial_since.is_none() {
            self.partial_since = Some(now);
        }
        Ok(())
    }

    /// The next request that may start now. Call until `None`.
    pub fn next_request(&mut self) -> Option<Started> {
        if self.closing || self.is_muted() {
            return None;
        }
        let (frame, began) = self.waiting.front()?;
        let (kind, began) = (Kind::of(frame), *began);
        let produce = kind == Kind::Produce;
        let most_unsent = match produce {
            true => MAX_UNSENT_BEFORE_PRODUCES,
            false => MAX_UNSENT_BEFORE_OTHERS,
        };
        if self.unsent_bytes() > most_unsent {
            return None;
        }
        self.running = match (self.running, produce) {
            (Running::Produces(n), true) => Running::Produces(n + 1),
            (Running::Produces(0), false) => Running::One,
            _ => return None,
        };
        let (frame, _) = self.waiting.pop_front()?;
        self.waiting_bytes -= frame.len();
        Some(Started {
            number: self.answers.open(frame.len(), kind, began),
            frame,
            kind,
            began,
        })
    }

    /// Gives the answer of a request. Answers to requests that were answered already are ignored.
    pub fn answer(&mut self, number: u64, answer: Answer, now: Instant) {
        if !self.answers.fill(number, answer, now) {
            return;
        }
        self.last_active = now;
        self.running = match self.running {
            Running::Produces(n) => Running::Produces(n.saturating_sub(1)),
            Running::One => Running::Produces(0),
        };
        while let Some((answer, timed)) = self.answers.next_ready() {
            self.closing |= matches!(answer, Answer::Close);
            if !self.closing {
                let is_silent = matches!(answer, Answer::Nothing);
                self.outgoing.push(answer);
                if !is_silent {
                    self.departures.add(timed, self.outgoing.bytes());
                }
            }
        }
    }

    /// What to send now, when nothing is under way. [`Conn::sent`] must follow.
    pub fn next_send(&mut self, now: Instant) -> Option<Vec<Piece>> {
        if self.sending.is_some() || self.outgoing.bytes() == 0 {
            return None;
        }
        let (pieces, bytes) = self.outgoing.take(SEND_AT_ONCE_BYTES);
        self.departures.give(bytes);
        self.sending = Some(Sending {
            since: now,
            bytes,
            own_bytes: pieces.iter().map(own_bytes).sum(),
        });
        Some(pieces)
    }

    /// The send under way is finished. `departed` is told of each answer that has left with it.
    pub fn sent(&mut self, now: Instant, mut departed: impl FnMut(&Timed)) {
        self.sending = None;
        self.last_active = now;
        while let Some(timed) = self.departures.pop_sent() {
            departed(&timed);
        }
    }

    /// Whether more bytes may come.
    pub fn wants_bytes(&self) -> bool {
        !self.ended
            && !self.closing
            && !self.is_muted()
            && (self.waiting.is_empty()
                || !(self.is_metered || self.unsent_bytes() > MAX_UNSENT_BEFORE_OTHERS))
            && self.waiting.len() + self.answers.open_requests() < self.limits.requests
            && self.waiting_bytes + self.answers.frame_bytes() < self.limits.bytes
            && self.unsent_bytes() <= MAX_UNSENT_BYTES
    }

    /// Whether produce requests are waiting or running: more of them would only wait for the same room.
    pub fn is_producing(&self) -> bool {
        let running = matches!(self.running, Running::Produces(n) if n > 0);
        running
            || self
                .waiting
                .front()
                .is_some_and(|(frame, _)| Kind::of(frame) == Kind::Produce)
    }

    /// Whether nothing is left to do before the connection can be closed: the client ended it, or an answer
    /// asked for its end, and everything due before was sent.
    pub fn is_over(&self) -> bool {
        let all_sent = self.unsent_bytes() == 0;
        (self.closing && all_sent) || (self.ended && self.is_quiet())
    }

    /// Whether no request is waiting or running and everything was sent.
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.answers.open_requests() == 0 && self.unsent_bytes() == 0
    }

    /// What the next request is, if that waits for nothing of this connection's own.
    pub fn next_kind(&self) -> Option<Kind> {
        let (frame, _) = self.waiting.front()?;
        let kind = Kind::of(frame);
        let is_free = match self.running {
            Running::Produces(0) => true,
            Running::Produces(_) => kind == Kind::Produce,
            Running::One => false,
        };
        (is_free && !self.closing && !self.is_muted()).then_some(kind)
    }

    /// Bytes of frames held: unfinished, waiting and running.
    pub fn held_bytes(&self) -> usize {
        self.framer.partial_buffer_bytes() + self.waiting_bytes + self.answers.frame_bytes()
    }

    /// Whole frames that wait for an earlier one.
    pub fn waiting_requests(&self) -> usize {
        self.waiting.len()
    }

    /// Since when a frame is unfinished, how many of its bytes are here, and how many are not.
    pub fn unfinished(&self) -> Option<(Instant, usize, usize)> {
        let since = self.partial_since?;
        Some((since, self.framer.partial_bytes(), self.framer.missing_bytes()))
    }

    /// Since when the socket has not taken what it was given.
    pub fn sending_since(&self) -> Option<Instant> {
        self.sending.map(|sending| sending.since)
    }

    /// When the clock ends this connection if nothing happens before, and why.
    pub fn expiry(&self, max_idle: Duration) -> (Instant, Expiry) {
        match self.sending {
            Some(Sending { since, .. }) => (since + SEND_STALL, Expiry::SendStalled),
            None => (self.last_active + max_idle, Expiry::Idle),
        }
    }

    /// Whether a request is running or the connection is muted, so that silence of the client means nothing.
    pub fn is_busy(&self) -> bool {
        self.answers.open_requests() > 0 || self.is_muted()
    }

    /// Starts no request and asks for no bytes until then, or until what was said before if that is later. Answers are sent all the same.
    pub fn mute(&mut self, until: Instant) {
        self.muted_until = self.muted_until.max(Some(until));
    }

    /// Goes on if it is time.
    pub fn unmute(&mut self, now: Instant) {
        if self.muted_until.is_some_and(|until| until <= now) {
            self.muted_until = None;
            self.last_active = now;
        }
    }

    /// Until when it is muted.
    pub fn muted_until(&self) -> Option<Instant> {
        self.muted_until
    }

    /// Whether it is muted.
    pub fn is_muted(&self) -> bool {
        self.muted_until.is_some()
    }

    /// The bytes of a request under way.
    pub fn request_bytes(&self, number: u64) -> usize {
        self.answers.bytes_of(number)
    }

    /// Forgets requests that have not started: their client is gone, or the broker stops.
    pub fn drop_waiting(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// Bytes of answers that the socket has not taken.
    pub fn unsent_bytes(&self) -> usize {
        self.outgoing.bytes() + self.sending.map_or(0, |sending| sending.bytes)
    }

    /// The part of them that is memory of its own, not the engine's.
    pub fn unsent_own_bytes(&self) -> usize {
        self.outgoing.own_bytes() + self.sending.map_or(0, |sending| sending.own_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        frame_bytes: 100 << 20,
        bytes: 8 << 20,
        requests: 512,
    };

    fn frame(key: u8, bytes: usize) -> Vec<u8> {
        let mut payload = vec![0, key];
        payload.resize(bytes, 0);
        let mut framed = (bytes as i32).to_be_bytes().to_vec();
        framed.extend(payload);
        framed
    }

    fn conn() -> (Conn, Instant) {
        let now = Instant::now();
        (Conn::new(1, LIMITS, now), now)
    }

    fn feed(conn: &mut Conn, now: Instant, frames: &[(u8, usize)]) {
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(key, bytes)| frame(*key, *bytes))
            .collect();
        assert_eq!(conn.take_bytes(&bytes, now), Ok(()));
    }

    #[test]
    fn a_muted_connection_answers_and_starts_nothing() {
        let (mut conn, now) = conn();
        let at = |ms| now + Duration::from_millis(ms);
        feed(&mut conn, now, &[(0, 9), (0, 9)]);
        assert_eq!(conn.next_request().map(|started| started.number), Some(0));
        assert_eq!(conn.request_bytes(0), 9);
        conn.mute(at(20));
        conn.mute(at(10));
        conn.answer(0, Answer::Bytes(vec![0]), now);
        assert!(conn.next_send(now).is_some(), "the answer leaves at once");
        conn.sent(now, |_| {});
        conn.ended = true;
        for ms in [0, 10, 19] {
            conn.unmute(at(ms));
            assert!(started(&mut conn).is_empty() && !conn.wants_bytes());
            assert!(conn.is_busy() && !conn.is_over(), "what waits is not lost");
        }
        conn.unmute(at(20));
        assert_eq!(started(&mut conn), [1]);
        let (_, expiry) = conn.expiry(Duration::from_millis(5));
        assert_eq!(expiry, Expiry::Idle);
        assert!(
            conn.expiry(Duration::from_millis(5)).0 > at(20),
            "it was not idle"
        );
    }

    #[test]
    fn of_a_metered_client_no_more_is_read_than_can_start() {
        let (mut conn, now) = conn();
        conn.is_metered = true;
        assert!(conn.wants_bytes());
        feed(&mut conn, now, &[(0, 9), (3, 9)]);
        assert!(!conn.wants_bytes());
        assert_eq!(started(&mut conn), [0]);
        assert!(!conn.wants_bytes(), "one waits");
        conn.answer(0, Answer::Nothing, now);
        assert_eq!(started(&mut conn), [1]);
        assert!(conn.wants_bytes());
    }

    fn started(conn: &mut Conn) -> Vec<u64> {
        std::iter::from_fn(|| conn.next_request())
            .map(|started| started.number)
            .collect()
    }

    #[test]
    fn produces_run_together_and_others_alone() {
        let (mut conn, now) = conn();
        feed(&mut conn, now, &[(0, 9), (0, 9), (3, 9), (1, 9), (0, 9)]);
        assert_eq!(started(&mut conn), [0, 1]);
        conn.answer(1, Answer::Bytes(vec![1]), now);
        assert!(started(&mut conn).is_empty());
        conn.answer(0, Answer::Bytes(vec![0]), now);
        assert_eq!(started(&mut conn), [2]);
        conn.answer(2, Answer::Bytes(vec![2]), now);
        assert_eq!(started(&mut conn), [3]);
        conn.answer(3, Answer::Bytes(vec![3]), now);
        assert_eq!(started(&mut conn), [4]);
        let sent: usize = conn.next_send(now).into_iter().flatten().map(|p| p.len()).sum();
        assert_eq!(sent, 4);
    }

    #[test]
    fn an_unread_answer_holds_back_the_next_request() {
        let (mut conn, now) = conn();
        feed(&mut conn, now, &[(3, 9), (3, 9)]);
        assert_eq!(started(&mut conn), [0]);
        conn.answer(0, Answer::Bytes(vec![0; MAX_UNSENT_BYTES + 1]), now);
        assert!(started(&mut conn).is_empty());
        assert!(conn.next_send(now).is_some());
        assert!(started(&mut conn).is_empty());
        assert!(!conn.wants_bytes());
        assert_eq!(
            conn.expiry(Duration::from_secs(600)),
            (now + SEND_STALL, Expiry::SendStalled)
        );
        conn.sent(now, |_| {});
        assert!(conn.wants_bytes());
        assert_eq!(started(&mut conn), [1]);
    }

    #[test]
    fn of_large_answers_there_is_one_at_a_time_and_produces_go_on() {
        let (mut conn, now) = conn();
        feed(&mut conn, now, &[(1, 9), (0, 9), (1, 9)]);
        assert_eq!(started(&mut conn), [0]);
        conn.answer(0, Answer::Bytes(vec![0; MAX_UNSENT_BEFORE_OTHERS + 1]), now);
        assert_eq!(conn.next_kind(), Some(Kind::Produce));
        assert_eq!(started(&mut conn), [1]);
        assert_eq!((conn.next_kind(), conn.waiting_requests()), (None, 1));
        conn.answer(1, Answer::Nothing, now);
        assert!(started(&mut conn).is_empty(), "the first answer is not taken");
        assert!(conn.next_send(now).is_some() && conn.sending_since() == Some(now));
        conn.sent(now, |_| {});
        assert_eq!(started(&mut conn), [2]);
    }

    #[test]
    fn requests_and_bytes_in_flight_are_bounded() {
        let (mut conn, now) = conn();
        feed(&mut conn, now, &[(0, LIMITS.bytes)]);
        assert!(!conn.wants_bytes());
        assert_eq!(started(&mut conn), [0]);
        assert!(!conn.wants_bytes());
        conn.answer(0, Answer::Nothing, now);
        assert!(conn.wants_bytes());
        feed(&mut conn, now, &vec![(0, 9); LIMITS.requests]);
        assert!(!conn.wants_bytes());
    }

    #[test]
    fn closing_waits_for_what_is_due_before() {
        let (mut conn, now) = conn();
        feed(&mut conn, now, &[(0, 9), (0, 9), (0, 9)]);
        assert_eq!(started(&mut conn), [0, 1, 2]);
        conn.answer(1, Answer::Close, now);
        assert!(!conn.is_over());
        conn.answer(0, Answer::Bytes(vec![0]), now);
        conn.answer(2, Answer::Bytes(vec![2]), now);
        assert!(!conn.is_over());
        let sent: Vec<usize> = conn
            .next_send(now)
            .into_iter()
            .flatten()
            .map(|p| p.len())
            .collect();
        assert_eq!(sent, [1]);
        conn.sent(now, |_| {});
        assert!(conn.is_over());
    }

    #[test]
    fn the_oldest_unfinished_frame_keeps_its_age() {
        let (mut conn, now) = conn();
        let later = now + Duration::from_secs(1);
        assert_eq!(conn.take_bytes(&[0, 0], now), Ok(()));
        assert_eq!(conn.unfinished(), Some((now, 2, 2)));
        assert_eq!(conn.take_bytes(&[0, 9, 1], later), Ok(()));
        assert_eq!(conn.unfinished(), Some((now, 5, 8)));
        assert_eq!(conn.take_bytes(&[0; 9], later), Ok(()));
        assert_eq!(conn.unfinished(), Some((later, 1, 3)));
        assert!(conn.held_bytes() > 9 + 1, "the buffer counts, not what is in it");
    }

    #[test]
    fn requests_are_timed_from_their_first_byte_to_their_last_answer() {
        let (mut conn, begin) = conn();
        let at = |us| begin + Duration::from_micros(us);
        let both: Vec<u8> = [frame(0, 9), frame(0, 9)].concat();
        assert_eq!(conn.take_bytes(&both[..2], at(1)), Ok(()));
        assert_eq!(conn.take_bytes(&both[2..15], at(2)), Ok(()));
        assert_eq!(conn.take_bytes(&both[15..], at(3)), Ok(()));
        let began: Vec<_> = std::iter::from_fn(|| conn.next_request()).collect();
        let began: Vec<_> = began
            .iter()
            .map(|request| (request.kind, request.began))
            .collect();
        assert_eq!(began, [(Kind::Produce, at(1)), (Kind::Produce, at(2))]);
        conn.answer(1, Answer::Bytes(vec![1]), at(5));
        conn.answer(0, Answer::Nothing, at(6));
        assert!(conn.next_send(at(7)).is_some());
        let mut departed = Vec::new();
        conn.sent(at(8), |timed| departed.push(*timed));
        // The first had no answer that could leave.
        let (kind, answered) = (Kind::Produce, at(5));
        assert_eq!(
            departed,
            [Timed {
                kind,
                began: at(2),
                answered
            }]
        );
    }
}
