//! What the members of a storm have done.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::scenario::observer::{Beside, Totals};

/// Counted by the storm's thread, read by others.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests answered.
    pub requests: AtomicU64,
    /// Members that were let in, or in again.
    pub joins: AtomicU64,
    /// Assignments handed out.
    pub syncs: AtomicU64,
    /// Heartbeats answered, whatever with.
    pub heartbeats: AtomicU64,
    /// Members that left.
    pub leaves: AtomicU64,
    /// New generations or epochs of the large group.
    pub large_rebalances: AtomicU64,
    /// The same of all small groups together.
    pub small_rebalances: AtomicU64,
    /// Groups that have been together once.
    pub begun_groups: AtomicU64,
}

/// Counts one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Beside for Counts {
    fn totals(&self) -> Totals {
        let named = [
            ("storm_requests", &self.requests),
            ("joins", &self.joins),
            ("syncs", &self.syncs),
            ("heartbeats", &self.heartbeats),
            ("leaves", &self.leaves),
            ("large_group_rebalances", &self.large_rebalances),
            ("small_group_rebalances", &self.small_rebalances),
        ];
        named
            .into_iter()
            .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
            .collect()
    }
}
