//! What the log says of groups: of rebalances, at a pace that a storm of them cannot raise, and that groups are loaded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host::{Host, State};
use crate::core::Core;
use crate::groups::Rebalance;

/// How long nothing more is said of a group's rebalances.
const PAUSE_MS: i64 = 10_000;
/// Groups that are spoken of within that time, for each core.
const MOST_GROUPS: usize = 100;

/// When rebalances were spoken of.
#[derive(Debug, Default)]
pub(super) struct RebalanceLog {
    /// Groups, and when a line was about them.
    said_ms: HashMap<Arc<str>, i64>,
    /// Rebalances since the last line that there was none for.
    unsaid: u64,
}

impl RebalanceLog {
    /// The line to be logged, if it is time for one.
    pub fn line(&mut self, now_ms: i64, rebalance: &Rebalance) -> Option<String> {
        self.said_ms.retain(|_, said_ms| now_ms - *said_ms < PAUSE_MS);
        if self.said_ms.contains_key(&rebalance.group_id) || self.said_ms.len() >= MOST_GROUPS {
            self.unsaid += 1;
            return None;
        }
        self.said_ms.insert(rebalance.group_id.clone(), now_ms);
        Some(match std::mem::take(&mut self.unsaid) {
            0 => rebalance.to_string(),
            unsaid => format!("{rebalance} ({unsaid} rebalances since the last line were not logged)"),
        })
    }
}

/// What was read of groups since all of a core's coordinators were at work.
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
    pub fn line(&mut self, now: Instant) -> Option<String> {
        let Loaded {
            partitions,
            records,
            passed_over,
            since,
        } = std::mem::take(self);
        let took = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        (records > 0).then(|| {
            format!(
                "groups loaded partitions={partitions} records={records} passed_over={passed_over} ms={}",
                took.as_millis()
            )
        })
    }
}

impl Core {
    /// Owner: logs what rebalances a coordinator has begun.
    pub(super) fn say_rebalances(&mut self, partition: i32) {
        let begun = self.groups.hosts.get_mut(&partition).map(Host::take_rebalances);
        let begun = begun.unwrap_or_default();
        if begun.is_empty() {
            return;
        }
        let now_ms = self.groups.now_ms(self.io.now());
        for rebalance in begun {
            if let Some(line) = self.groups.rebalances.line(now_ms, &rebalance) {
                crate::info!("{line}");
            }
        }
    }

    /// Says what was loaded, if nothing more is being.
    pub(super) fn say_loaded(&mut self) {
        let is_loading = |host: &Host| matches!(host.state, State::Loading(_));
        if !self.groups.hosts.values().any(is_loading)
            && let Some(line) = self.groups.loaded.line(self.io.now())
        {
            crate::info!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::classic;
    use crate::groups::rebalances::{Cause, Why};

    fn of(group_id: &str) -> Rebalance {
        Rebalance::new(
            group_id.into(),
            1,
            classic::State::Stable,
            Why::only(Cause::NotSynced),
        )
    }

    #[test]
    fn a_group_has_one_line_in_ten_seconds_and_the_next_counts_the_rest() {
        let mut log = RebalanceLog::default();
        assert!(
            log.line(0, &of("a"))
                .is_some_and(|line| !line.contains("not logged"))
        );
        assert_eq!(log.line(9_999, &of("a")), None);
        assert!(
            log.line(9_999, &of("b"))
                .is_some_and(|line| line.contains("(1 rebalances since"))
        );
        assert!(
            log.line(10_000, &of("a"))
                .is_some_and(|line| !line.contains("not logged"))
        );
        assert_eq!(log.line(19_998, &of("b")), None);
    }

    #[test]
    fn a_storm_of_many_groups_is_bounded_too() {
        let mut log = RebalanceLog::default();
        let lines = (0..10_000).filter_map(|group| log.line(5, &of(&format!("g{group}"))));
        assert_eq!(lines.count(), MOST_GROUPS);
        assert_eq!(log.said_ms.len(), MOST_GROUPS);
        assert!(
            log.line(10_005, &of("later"))
                .is_some_and(|line| line.contains("(9900 rebalances since"))
        );
    }

    #[test]
    fn coordinators_that_loaded_have_one_line_together() {
        let begun = Instant::now();
        let mut loaded = Loaded::default();
        for (records, after_ms) in [(2, 10), (0, 0), (3, 5)] {
            loaded.add(records, 1, Some(begun + Duration::from_millis(after_ms)));
        }
        let now = begun + Duration::from_millis(25);
        assert_eq!(
            loaded.line(now).as_deref(),
            Some("groups loaded partitions=2 records=5 passed_over=2 ms=20")
        );
        assert_eq!(loaded.line(now), None, "it is said once");
    }
}
