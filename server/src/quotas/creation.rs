//! How many connections all clients together may open a second: `max.connection.creation.rate` (KIP-612). Nobody is turned away: as in Kafka one
//! too many has to wait, here before anything of it is read.

use std::sync::{Mutex, PoisonError};

use super::Windows;
use super::tokens::TokenBucket;

/// The rate of new connections, shared by all cores.
#[derive(Debug)]
pub struct Creation {
    /// None without a limit: then nothing is counted.
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    per_second: f64,
    windows: Windows,
    bucket: Mutex<TokenBucket>,
}

impl Creation {
    /// At most so many a second; Kafka's default, the largest number of 32 bits, is no limit. With 0 it is one a second, as slow as Kafka gets.
    pub fn new(most_per_second: u32, windows: Windows) -> Creation {
        let is_limited = i32::try_from(most_per_second).is_ok_and(|most| most < i32::MAX);
        let limit = is_limited.then(|| {
            let per_second = f64::from(most_per_second.max(1));
            Limit {
                per_second,
                windows,
                bucket: Mutex::new(TokenBucket::new(per_second, windows, 0)),
            }
        });
        Creation { limit }
    }

    /// Counts a new connection. How long it has to wait before it is read from, in milliseconds.
    pub fn admit(&self, now_ms: u64) -> u32 {
        let Some(limit) = &self.limit else { return 0 };
        // Numbers only: what another thread left behind is whole.
        let mut bucket = limit.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(1.0, limit.per_second, limit.windows, now_ms);
        bucket.throttle_ms(limit.per_second, limit.windows, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows() -> Windows {
        Windows::new(2, 1)
    }

    #[test]
    fn connections_past_the_rate_wait_one_behind_the_other() {
        let creation = Creation::new(10, windows());
        // What the windows allow at once, and then ten a second.
        let burst = (0..100).take_while(|_| creation.admit(0) == 0).count();
        assert!((10..=20).contains(&burst), "{burst}");
        let waits: Vec<u32> = (0..5).map(|_| creation.admit(0)).collect();
        assert!(waits.windows(2).all(|two| two[1] - two[0] == 100), "{waits:?}");
        // Later they have had their turn.
        assert_eq!(creation.admit(10_000), 0);
    }

    #[test]
    fn without_a_limit_nobody_waits_and_with_none_allowed_it_is_one_a_second() {
        let all = Creation::new(i32::MAX as u32, windows());
        assert!((0..1_000).all(|_| all.admit(0) == 0));
        let none = Creation::new(0, windows());
        let waits: Vec<u32> = (0..6).map(|_| none.admit(0)).collect();
        assert!(waits.windows(2).any(|two| two[1] - two[0] == 1_000), "{waits:?}");
    }
}
