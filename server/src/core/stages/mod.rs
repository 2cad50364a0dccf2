//! Where the time of a request goes: one distribution for each stage, so that a slow one has a name.
//!
//! ```text
//! first byte ─ frame ─▶ decoded ─ hand_over ─▶ taken up ─ validate ─▶ in the open frame ─ write ─▶ handed to the disk ─┐
//!    sent ◀─ respond ─ answered ◀─ hand_over ─ durable ◀────────────────────────────────────────────────── commit ─┘
//! ```
//!
//! The stages of a request whose partition the connection's core owns follow each other without a gap: `total` is their sum.
//! Reading the clock costs as much as a stage may, so it is read once for all requests that a turn takes through a stage
//! together. What a request waits for the others meanwhile is in the stage, as it is in the latency that its client sees.
//!
//! A core's distributions take [`MEMORY_BYTES`] altogether, whatever the load.

pub mod histogram;

use std::time::{Duration, Instant};

use self::histogram::{BUCKETS, Histogram};
use super::Core;
use crate::conn::{Kind, Timed};

/// Bytes of one core's distributions.
pub const MEMORY_BYTES: usize = Stage::ALL.len() * BUCKETS * size_of::<u64>();

/// Requests whose decoding is timed together at most.
const MOST_TOGETHER: usize = 256;

/// A part of a request's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A produce: from its first byte to the request decoded. One for each request.
    Frame,
    /// A produce's batches, or what became of them: posted to another core until it takes them up. Two for each other core
    /// that a request involves.
    HandOver,
    /// Batches that had to wait for memory or room in the journal. Most never do.
    Room,
    /// Batches checked, stamped, copied: from being taken up to lying in the open frame. One for each core that a request
    /// appends on.
    Validate,
    /// Batches in the open frame until it is handed to the disk: waiting for the frame before it. One for each `Validate` that
    /// waits for the disk.
    Write,
    /// From there until the frame is durable and the core knows. One for each `Write`.
    Commit,
    /// A produce's answer: from the last batch's result to the answer's last byte taken by the socket. One for each answer.
    Respond,
    /// A produce: from its first byte to the answer's last. One for each answer.
    Total,
    /// A fetch's partitions of one core, read from memory alone.
    FetchRead,
    /// The same where something had to come from disk.
    FetchCold,
    /// A fetch that waited for more to come.
    FetchParked,
    /// A fetch's answer: from being complete to its last byte taken by the socket. One for each answer.
    FetchRespond,
}

impl Stage {
    /// All stages, in the order of a request's way.
    pub const ALL: [Stage; 12] = [
        Stage::Frame,
        Stage::HandOver,
        Stage::Room,
        Stage::Validate,
        Stage::Write,
        Stage::Commit,
        Stage::Respond,
        Stage::Total,
        Stage::FetchRead,
        Stage::FetchCold,
        Stage::FetchParked,
        Stage::FetchRespond,
    ];

    /// What reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Frame => "frame",
            Stage::HandOver => "hand_over",
            Stage::Room => "room",
            Stage::Validate => "validate",
            Stage::Write => "write",
            Stage::Commit => "commit",
            Stage::Respond => "respond",
            Stage::Total => "total",
            Stage::FetchRead => "fetch_read",
            Stage::FetchCold => "fetch_cold",
            Stage::FetchParked => "fetch_parked",
            Stage::FetchRespond => "fetch_respond",
        }
    }
}

/// One core's distributions, and the times of what is under way.
#[derive(Debug)]
pub struct Stages {
    started: Instant,
    /// When the clock was read last.
    now: Instant,
    /// Requests started.
    requests: u64,
    histograms: [Histogram; Stage::ALL.len()],
    /// When the produce requests began that were decoded since `now`.
    decoded: Vec<Instant>,
    /// Whether any request was.
    is_stale: bool,
}

impl Stages {
    /// Nothing recorded yet.
    pub fn new(now: Instant) -> Stages {
        Stages {
            started: now,
            now,
            requests: 0,
            histograms: Default::default(),
            decoded: Vec::with_capacity(MOST_TOGETHER),
            is_stale: false,
        }
    }

    /// Counts what began at `from` and has just ended.
    pub fn record(&mut self, stage: Stage, from: Instant, to: Instant) {
        self.histograms[stage as usize].record(to.saturating_duration_since(from));
    }

    /// The clock as it was read last: no later than now, and hardly earlier.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A turn begins.
    pub fn turn(&mut self, now: Instant) {
        self.now = now;
    }

    /// A request was taken from its connection to be decoded. Says whether [`Stages::flush_decoded`] must follow at once.
    pub fn note_request(&mut self, kind: Kind, began: Instant) -> bool {
        self.requests += 1;
        self.is_stale = true;
        if kind == Kind::Produce {
            self.decoded.push(began);
        }
        self.decoded.len() >= MOST_TOGETHER
    }

    /// The requests taken so far are decoded.
    pub fn flush_decoded(&mut self, clock: impl FnOnce() -> Instant) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        self.now = clock();
        for began in self.decoded.drain(..) {
            let took = self.now.saturating_duration_since(began);
            self.histograms[Stage::Frame as usize].record(took);
        }
    }

    /// An answer's last byte was taken by the socket.
    pub fn sent(&mut self, timed: &Timed, now: Instant) {
        match timed.kind {
            Kind::Produce => {
                self.record(Stage::Respond, timed.answered, now);
                self.record(Stage::Total, timed.began, now);
            }
            Kind::Fetch => self.record(Stage::FetchRespond, timed.answered, now),
            Kind::Other => {}
        }
    }

    /// A stage's distribution.
    pub fn histogram(&self, stage: Stage) -> &Histogram {
        &self.histograms[stage as usize]
    }

    /// Requests taken from their connections.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// How long the core has run.
    pub fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

impl Core {
    /// What was taken from the connections is decoded.
    pub(super) fn note_decoded(&mut self) {
        let io = &self.io;
        self.stages.flush_decoded(|| io.clock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(stages: &Stages) -> Vec<(&'static str, u64)> {
        let count = |stage: Stage| stages.histogram(stage).buckets().map(|(_, count)| count).sum();
        let all = Stage::ALL.into_iter().map(|stage| (stage.name(), count(stage)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn places_are_those_of_the_list() {
        for (at, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, at);
        }
        assert_eq!(MEMORY_BYTES, 72 << 10);
    }

    #[test]
    fn requests_decoded_together_are_timed_together() {
        let begin = Instant::now();
        let later = |us| begin + Duration::from_micros(us);
        let mut stages = Stages::new(begin);
        assert!(!stages.note_request(Kind::Produce, begin));
        assert!(!stages.note_request(Kind::Produce, later(3)));
        assert!(!stages.note_request(Kind::Fetch, later(3)));
        stages.flush_decoded(|| later(5));
        stages.flush_decoded(|| unreachable!("nothing was decoded since"));
        assert_eq!((stages.now(), stages.requests()), (later(5), 3));
        assert_eq!(counts(&stages), [("frame", 2)]);
        assert_eq!(stages.histogram(Stage::Frame).sum_ns(), 7_000);
        let full = (0..MOST_TOGETHER).any(|_| stages.note_request(Kind::Produce, begin));
        assert!(full && stages.decoded.len() == MOST_TOGETHER);
    }

    #[test]
    fn answers_are_counted_by_kind() {
        let (begin, mut stages) = (Instant::now(), Stages::new(Instant::now()));
        let (answered, sent) = (
            begin + Duration::from_micros(8),
            begin + Duration::from_micros(10),
        );
        for kind in [Kind::Produce, Kind::Fetch, Kind::Other] {
            let timed = Timed {
                kind,
                began: begin,
                answered,
            };
            stages.sent(&timed, sent);
        }
        assert_eq!(
            counts(&stages),
            [("respond", 1), ("total", 1), ("fetch_respond", 1)]
        );
        assert_eq!(stages.histogram(Stage::Respond).sum_ns(), 2_000);
        assert_eq!(stages.histogram(Stage::Total).sum_ns(), 10_000);
    }
}
