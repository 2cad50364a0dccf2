//! When a core looks for segments that have outlived their time or their room. What goes is the engine's to say.

use std::time::{Duration, Instant};

use super::Core;
use super::looks::Looks;
use crate::config::Config;

/// The first look is due `log.initial.task.delay.ms` from now.
pub(super) fn looks(config: &Config, now: Instant) -> Looks {
    let first = now.checked_add(Duration::from_millis(config.initial_task_delay_ms));
    Looks::new(first, Duration::from_millis(config.retention_check_interval_ms))
}

impl Core {
    /// Has the shard look, when it is time.
    pub(super) fn check_retention(&mut self, now: Instant) {
        if self.retention.is_due(now) {
            self.shard.check_retention();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_as_far_apart_as_is_set() {
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let config = Config::from_pairs(vec![
            set("log.initial.task.delay.ms", "10"),
            set("log.retention.check.interval.ms", "100"),
        ])
        .expect("valid");
        let mut checks = looks(&config, start);
        for (ms, expected) in [
            (0, false),
            (9, false),
            (10, true),
            (10, false),
            (109, false),
            (150, true),
            (249, false),
        ] {
            assert_eq!(checks.is_due(at(ms)), expected, "after {ms} ms");
        }
        assert_eq!(checks.deadline(), Some(at(250)));
        // Longer than time lasts.
        let config = Config::from_pairs(vec![set(
            "log.retention.check.interval.ms",
            "9223372036854775807",
        )])
        .expect("valid");
        let mut checks = looks(&config, start);
        assert_eq!(checks.deadline(), Some(at(30_000)));
        assert!(checks.is_due(at(30_000)));
        assert!(!checks.is_due(at(40_000)));
    }
}
