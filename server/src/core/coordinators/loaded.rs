//! What the log says once coordinators know what they knew: one line for all of a core.

use std::time::{Duration, Instant};

/// What was read since all of a core's coordinators were at work.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    partitions: usize,
    records: u64,
    passed_over: u64,
    since: Option<Instant>,
}

impl Loaded {
    /// Counts a coordinator that has read all its records.
    pub fn add(&mut self, records: u64, passed_over: u64, since: Option<Instant>) {
        if records > 0 {
            self.partitions += 1;
            self.records += records;
            self.passed_over += passed_over;
            self.since = [self.since, since].into_iter().flatten().min();
        }
    }

    /// The line to be logged once no coordinator loads any more: nothing if there were no records.
    pub fn line(&mut self, subject: &str, now: Instant) -> Option<String> {
        let Loaded {
            partitions,
            records,
            passed_over,
            since,
        } = std::mem::take(self);
        let took = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        (records > 0).then(|| {
            format!(
                "{subject} loaded partitions={partitions} records={records} passed_over={passed_over} ms={}",
                took.as_millis()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinators_that_loaded_have_one_line_together() {
        let begun = Instant::now();
        let mut loaded = Loaded::default();
        for (records, after_ms) in [(2, 10), (0, 0), (3, 5)] {
            loaded.add(records, 1, Some(begun + Duration::from_millis(after_ms)));
        }
        let now = begun + Duration::from_millis(25);
        assert_eq!(
            loaded.line("groups", now).as_deref(),
            Some("groups loaded partitions=2 records=5 passed_over=2 ms=20")
        );
        assert_eq!(loaded.line("groups", now), None, "it is said once");
    }
}
