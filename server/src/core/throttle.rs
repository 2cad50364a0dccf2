//! Quotas on the connection's core: what a request and its answer count for, and the time a connection is muted (KIP-219).
//!
//! ```text
//! request --> limits of its client, time of this thread
//! answer  --> bytes counted --> throttle time: told in the answer, which leaves at once
//!                                              the connection is neither read from nor served until it is over
//! ```
//!
//! A connection from an address that opens too many is not served at all, and closed when the address may open the next one (KIP-612).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringlog_engine::io::ConnId;

use super::Core;
use super::calls::ReplyTo;
use super::net::Open;
use super::throttle_time;
use crate::conn::Answer;
use crate::quotas::addresses;
use crate::quotas::meters::{Limits, Meter};
use crate::quotas::sliding::SlidingRate;
use crate::wire::ApiKey;

/// The most connections of one core that are held back only to be closed. One more is closed at once.
pub const MAX_HELD: usize = 1024;

/// Connections of one core that wait for the end of a throttle time.
#[derive(Debug, Default)]
pub struct Throttled {
    /// Muted ones, each once, by when that ends: socket and serial.
    muted: BTreeSet<(Instant, u32, u64)>,
    /// Sockets that are held back, by when they are closed.
    held: BTreeSet<(Instant, u32)>,
    /// Whether the request that is being started is one whose time does not count.
    is_exempt: bool,
}

impl Throttled {
    /// When the next one is over.
    pub fn deadline(&self) -> Option<Instant> {
        let muted = self.muted.first().map(|(at, ..)| *at);
        let held = self.held.first().map(|(at, _)| *at);
        muted.into_iter().chain(held).min()
    }

    /// Mutes a connection for so long; for 0 not at all.
    pub fn mute(&mut self, open: &mut Open, id: ConnId, now: Instant, throttle_ms: u32) {
        if throttle_ms > 0 {
            self.forget(open, id);
            open.conn.mute(now + Duration::from_millis(throttle_ms.into()));
            self.note(open, id);
        }
    }

    /// The connection is gone, or has another time.
    pub fn forget(&mut self, open: &Open, id: ConnId) {
        if let Some(until) = open.conn.muted_until() {
            self.muted.remove(&(until, id.0, open.conn.serial()));
        }
    }

    /// The time of the request that is being started counts for nobody.
    pub fn exempt(&mut self) {
        self.is_exempt = true;
    }

    /// Wakes up when the connection is no longer muted.
    pub fn note(&mut self, open: &Open, id: ConnId) {
        if let Some(until) = open.conn.muted_until() {
            self.muted.insert((until, id.0, open.conn.serial()));
        }
    }
}

/// What becomes of the answer to a fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchThrottle {
    /// How long the client has to wait, in milliseconds.
    pub time_ms: u32,
    /// Whether the answer goes out empty.
    pub is_withheld: bool,
}

impl FetchThrottle {
    /// As the answer says it.
    pub fn time_ms(self) -> i32 {
        i32::try_from(self.time_ms).unwrap_or(i32::MAX)
    }
}

/// The throttle time of an answer other than to Produce and Fetch, whose own are told already; it is told in the answer. Of changes of the
/// metadata the controller has said in the answer how long to wait.
pub fn of_answer(limits: &Limits, to: ReplyTo, answer: &mut Answer, now_ms: u64) -> u32 {
    if matches!(
        to.api_key,
        ApiKey::Produce | ApiKey::Fetch | ApiKey::WriteTxnMarkers
    ) {
        return 0;
    }
    let by_time = limits
        .request
        .as_ref()
        .map_or(0, |meter| meter.bounded_throttle_ms(now_ms));
    let Answer::Bytes(frame) = answer else {
        return by_time;
    };
    let told = throttle_time::of(to, frame);
    let throttle_ms = by_time.max(u32::try_from(told).unwrap_or(0));
    if throttle_ms > 0 {
        throttle_time::tell(to, frame, i32::try_from(throttle_ms).unwrap_or(i32::MAX));
    }
    throttle_ms
}

impl Core {
    /// A request has come: finds out what limits its client. The rate its time counts for, and when that began.
    pub(super) fn begin_timing(
        &mut self,
        reply: ReplyTo,
        client_id: Option<&str>,
    ) -> Option<(Arc<SlidingRate>, Instant)> {
        let now = self.io.now();
        let open = self.conns.current(reply)?;
        let client_id = client_id.unwrap_or_default();
        open.meters
            .update(&self.image, &self.shared.rates, client_id, now);
        let limits = open.meters.limits();
        open.conn.is_metered = limits.is_some();
        let rate = limits?.request.as_ref()?.rate.clone();
        Some((rate, self.io.clock()))
    }

    /// An owner begins with what it does for a request.
    pub(super) fn begin_owner_timing(
        &self,
        meter: &Option<Arc<SlidingRate>>,
    ) -> Option<(Arc<SlidingRate>, Instant)> {
        let rate = meter.clone()?;
        Some((rate, self.io.clock()))
    }

    /// The request is started: counts the time of that, unless it is one that is not answered or comes from brokers (KIP-124).
    pub(super) fn end_start_timing(&mut self, timing: Option<(Arc<SlidingRate>, Instant)>) {
        if !std::mem::take(&mut self.throttled.is_exempt) {
            self.end_timing(timing);
        }
    }

    /// Counts the time a request has taken this thread.
    pub(super) fn end_timing(&self, timing: Option<(Arc<SlidingRate>, Instant)>) {
        if let Some((rate, began)) = timing {
            let now = self.io.clock();
            let taken = now.saturating_duration_since(began).as_nanos();
            rate.add(self.shared.rates.ms(now), taken as u64);
        }
    }

    /// The rate that the time of a request counts for, on its owners too.
    pub(super) fn request_rate(&mut self, reply: ReplyTo) -> Option<Arc<SlidingRate>> {
        let limits = self.conns.current(reply)?.meters.limits()?;
        limits.request.as_ref().map(|meter| meter.rate.clone())
    }

    /// A produce is done, and is answered now if it is answered at all. How long its client has to wait, in milliseconds.
    pub(super) fn throttle_produce(&mut self, reply: ReplyTo, acks: i16) -> i32 {
        let now = self.io.now();
        let now_ms = self.shared.rates.ms(now);
        let Some(open) = self.conns.current(reply) else {
            return 0;
        };
        let Some(limits) = open.meters.limits() else {
            return 0;
        };
        let bytes = open.conn.request_bytes(reply.number) as u64;
        let by_bytes = limits
            .produce
            .as_ref()
            .map_or(0, |meter| meter.count(now_ms, bytes));
        // The time of a request that is not answered is nobody's.
        let timed = limits.request.as_ref().filter(|_| acks != 0);
        let by_time = timed.map_or(0, |meter| meter.bounded_throttle_ms(now_ms));
        let throttle_ms = by_bytes.max(by_time);
        self.throttled.mute(open, reply.conn, now, throttle_ms);
        i32::try_from(throttle_ms).unwrap_or(i32::MAX)
    }

    /// A fetch has found so many bytes. When its client has to wait it gets none of them, and they do not count.
    pub(super) fn throttle_fetch(&mut self, reply: ReplyTo, found_bytes: usize) -> FetchThrottle {
        let now = self.io.now();
        let now_ms = self.shared.rates.ms(now);
        let Some(open) = self.conns.current(reply) else {
            return FetchThrottle::default();
        };
        let Some(limits) = open.meters.limits() else {
            return FetchThrottle::default();
        };
        let throttle = weigh_fetch(limits, found_bytes as u64, now_ms);
        self.throttled.mute(open, reply.conn, now, throttle.time_ms);
        throttle
    }

    /// The most bytes a fetch may be answered with: more at once would always be too much.
    pub(super) fn most_fetched_bytes(&mut self, reply: ReplyTo) -> usize {
        let limits = self.conns.current(reply).and_then(|open| open.meters.limits());
        let meter = limits.and_then(|limits| limits.fetch.as_ref());
        meter.map_or(usize::MAX, |meter| {
            meter.rate.windows().most_at_once(meter.per_second) as usize
        })
    }

    /// Whether the address of a new connection has opened too many. Then nothing of it is read.
    pub(super) fn holds_back(&mut self, id: ConnId, peer: Option<SocketAddr>, now: Instant) -> bool {
        let (rates, ip) = (&self.shared.rates, peer.map(|peer| peer.ip()));
        let Some(throttle_ms) = ip.and_then(|ip| addresses::admit(&self.image, rates, ip, rates.ms(now)))
        else {
            return false;
        };
        crate::debug!(
            "holding back connection {} for {throttle_ms} ms: its address opens too many",
            id.0
        );
        if self.throttled.held.len() >= MAX_HELD {
            self.io.close_connection(id);
        } else {
            let until = now + Duration::from_millis(throttle_ms.into());
            self.throttled.held.insert((until, id.0));
        }
        true
    }

    /// Lets go on what has waited long enough.
    pub(super) fn end_throttling(&mut self, now: Instant) {
        while let Some((until, id, serial)) = self.throttled.muted.first().copied()
            && until <= now
        {
            self.throttled.muted.pop_first();
            if let Some(open) = self.conns.get_serial(ConnId(id), serial) {
                open.conn.unmute(now);
                self.conns.mark(ConnId(id));
            }
        }
        self.close_held(Some(now));
    }

    /// Closes connections that are held back: those whose time has come, or all.
    pub(super) fn close_held(&mut self, now: Option<Instant>) {
        while let Some((until, id)) = self.throttled.held.first().copied()
            && now.is_none_or(|now| until <= now)
        {
            self.throttled.held.pop_first();
            self.io.close_connection(ConnId(id));
        }
    }
}

fn weigh_fetch(limits: &Limits, found_bytes: u64, now_ms: u64) -> FetchThrottle {
    let by_time = limits
        .request
        .as_ref()
        .map_or(0, |meter| meter.bounded_throttle_ms(now_ms));
    let count = |meter: &Meter| {
        let is_alone = meter.rate.measure(now_ms).sum == 0;
        (meter.count(now_ms, found_bytes), is_alone)
    };
    let (by_bytes, is_alone) = limits.fetch.as_ref().map_or((0, false), count);
    let time_ms = by_bytes.max(by_time);
    // A batch that alone is more than the windows hold would be withheld for ever: it is sent when nothing else was, and then waited for.
    let is_withheld = time_ms > 0 && (by_time > 0 || !is_alone);
    if let Some(meter) = limits.fetch.as_ref().filter(|_| is_withheld) {
        meter.rate.take_back(now_ms, found_bytes);
    }
    FetchThrottle { time_ms, is_withheld }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::net::Conns;

    #[test]
    fn a_connection_is_woken_once_and_not_after_its_end() {
        let now = Instant::now();
        let (mut throttled, mut conns) = (Throttled::default(), Conns::default());
        let limits = crate::config::limits::ConnectionLimits {
            frame_bytes: 1 << 20,
            bytes: 1 << 20,
            requests: 9,
        };
        for place in 0..2 {
            conns.settle_in(ConnId(place), crate::conn::Conn::new(0, limits, now));
        }
        let at = |ms| Some(now + Duration::from_millis(ms));
        for (place, ms) in [(0, 50), (0, 20), (0, 90), (1, 70), (1, 0)] {
            let open = conns.get(ConnId(place)).expect("open");
            throttled.mute(open, ConnId(place), now, ms);
        }
        assert_eq!((throttled.muted.len(), throttled.deadline()), (2, at(70)));
        let open = conns.remove(ConnId(1)).expect("open");
        throttled.forget(&open, ConnId(1));
        assert_eq!((throttled.muted.len(), throttled.deadline()), (1, at(90)));
    }
}
