//! What the log says of rebalances, at a pace that a storm of them cannot raise.

use std::collections::HashMap;
use std::sync::Arc;

use crate::groups::Rebalance;

/// How long nothing more is said of a group's rebalances.
const PAUSE_MS: i64 = 10_000;
/// Groups that are spoken of within that time, for each core.
const MOST_GROUPS: usize = 100;

/// When rebalances were spoken of.
#[derive(Debug, Default)]
pub struct RebalanceLog {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::classic::State;
    use crate::groups::rebalances::{Cause, Why};

    fn of(group_id: &str) -> Rebalance {
        Rebalance::new(group_id.into(), 1, State::Stable, Why::only(Cause::NotSynced))
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
}
