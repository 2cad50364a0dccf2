//! The test harness: starts the real binary in a fresh directory, talks to it as clients do, and stops or kills it.
//!
//! * [`broker`] starts, stops, kills and restarts `ringlog serve`;
//! * [`client`] produces and consumes with librdkafka;
//! * [`tool`] runs the command line's tools;
//! * [`member`] is librdkafka in a consumer group, [`group`] the same by hand;
//! * [`compaction`] makes logs for cleaners to clean;
//! * [`history`] records what transactional clients did and saw, and judges it;
//! * [`txn`] is a transactional producer by hand;
//! * [`raw`] speaks the protocol over a plain socket, also wrongly;
//! * [`oracle`] remembers what was acknowledged and checks what is read back.
//!
//! With `RINGLOG_TEST_BOOTSTRAP=HOST:PORT` the tests that need no broker of their own run against the broker
//! listening there. Pointed at Apache Kafka, that shows that what they expect is Kafka's own behaviour.

pub mod admin;
pub mod broker;
pub mod client;
pub mod code;
pub mod compaction;
pub mod files;
pub mod fixture;
pub mod group;
pub mod history;
pub mod member;
pub mod mounts;
pub mod oracle;
pub mod powercut;
pub mod raw;
pub mod tool;
pub mod txn;

pub use broker::Broker;

use std::time::{Duration, Instant};

/// Long enough for anything that works, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `probe` again and again until it gives a value, for at most `patience`.
///
/// # Panics
/// When the time is over; `what` is what did not happen.
pub fn wait_for<T>(what: &str, patience: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Checks that `probe` gives `expected` at once. Another broker (see [`broker::external`]) may take its time:
/// in Apache Kafka an acknowledged change of metadata reaches the answers a little later.
///
/// # Panics
/// When it does not.
pub fn assert_settled<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, mut probe: impl FnMut() -> T) {
    let mut found = probe();
    let deadline = Instant::now() + PATIENCE;
    while found != expected && broker::external().is_some() && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(20));
        found = probe();
    }
    assert_eq!(found, expected, "{what}");
}

/// A small generator of pseudo-random numbers (xorshift64*), so that a seed is a run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number in `[0, bound)`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound.max(1) as u64) as usize
    }

    /// Bytes that no codec can make smaller.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.next_u64().to_le_bytes());
        }
        out.truncate(len);
        out
    }
}
