//! When a core looks for compacted partitions to clean. Which, and what becomes of them, is the engine's to say.

use std::time::{Duration, Instant};

use super::Core;
use crate::config::Config;

/// The times of the looks.
#[derive(Debug)]
pub(super) struct Looks {
    interval: Duration,
    /// `None` for none as long as anybody lives, or where nothing is cleaned.
    next: Option<Instant>,
}

impl Looks {
    /// The first look is due `log.cleaner.backoff.ms` from now.
    pub(super) fn new(config: &Config, now: Instant) -> Looks {
        // A core that did nothing but look would serve nobody.
        let interval = Duration::from_millis(config.cleaner.backoff_ms.max(1));
        Looks {
            interval,
            next: now.checked_add(interval).filter(|_| config.cleaner.is_enabled),
        }
    }

    /// When the next look is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a look is due. The next one is, an interval later.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.next.is_some_and(|at| at <= now);
        if is_due {
            self.next = now.checked_add(self.interval);
        }
        is_due
    }
}

impl Core {
    /// Has the shard look, when it is time.
    pub(super) fn check_cleaning(&mut self, now: Instant) {
        if self.cleaning.is_due(now) {
            self.shard.check_cleaning(&*self.io);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_as_far_apart_as_is_set() {
        let looks = |pairs: &[(&str, &str)], now| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Looks::new(&Config::from_pairs(pairs.collect()).expect("valid"), now)
        };
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut looked = looks(&[("log.cleaner.backoff.ms", "10")], start);
        for (ms, expected) in [(0, false), (9, false), (10, true), (19, false), (25, true)] {
            assert_eq!(looked.is_due(at(ms)), expected, "after {ms} ms");
        }
        assert_eq!(looked.deadline(), Some(at(35)));
        assert_eq!(looks(&[], start).deadline(), Some(at(15_000)));
        assert_eq!(looks(&[("log.cleaner.enable", "false")], start).deadline(), None);
        assert_eq!(
            looks(&[("log.cleaner.backoff.ms", "0")], start).deadline(),
            Some(at(1))
        );
    }
}
