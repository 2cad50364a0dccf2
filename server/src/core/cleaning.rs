//! When a core looks for compacted partitions to clean. Which, and what becomes of them, is the engine's to say.

use std::time::{Duration, Instant};

use super::Core;
use super::looks::Looks;
use crate::config::Config;

/// The first look is due `log.cleaner.backoff.ms` from now; none where nothing is cleaned.
pub(super) fn looks(config: &Config, now: Instant) -> Looks {
    // A core that did nothing but look would serve nobody.
    let interval = Duration::from_millis(config.cleaner.backoff_ms.max(1));
    let first = now.checked_add(interval).filter(|_| config.cleaner.is_enabled);
    Looks::new(first, interval)
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
        let looks_of = |pairs: &[(&str, &str)], now| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            looks(&Config::from_pairs(pairs.collect()).expect("valid"), now)
        };
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut looked = looks_of(&[("log.cleaner.backoff.ms", "10")], start);
        for (ms, expected) in [(0, false), (9, false), (10, true), (19, false), (25, true)] {
            assert_eq!(looked.is_due(at(ms)), expected, "after {ms} ms");
        }
        assert_eq!(looked.deadline(), Some(at(35)));
        assert_eq!(looks_of(&[], start).deadline(), Some(at(15_000)));
        assert_eq!(
            looks_of(&[("log.cleaner.enable", "false")], start).deadline(),
            None
        );
        assert_eq!(
            looks_of(&[("log.cleaner.backoff.ms", "0")], start).deadline(),
            Some(at(1))
        );
    }
}
