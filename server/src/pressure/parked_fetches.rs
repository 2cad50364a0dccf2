//! Fetches of one core's connections that wait for data, by how long they have waited. Each holds what it asked for, so they have a limit: for
//! one more, the one that has waited longest is answered with what is there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::limits::PARTITIONS_AT_ONCE;
use crate::core::calls::CallId;

/// A client whose fetch is answered early is not heard for what is left of this, or it would ask again and again.
pub const LEAST_WAIT: Duration = Duration::from_millis(500);

/// The fetches that wait.
#[derive(Debug)]
pub struct ParkedFetches {
    most: usize,
    /// What they count.
    weight: usize,
    by_age: BTreeMap<(Instant, CallId), usize>,
}

impl ParkedFetches {
    /// None yet. `most` is `ringlog.core.max.parked.fetches`.
    pub fn new(most: usize) -> ParkedFetches {
        ParkedFetches {
            most,
            weight: 0,
            by_age: BTreeMap::new(),
        }
    }

    /// A fetch of so many partitions waits from now on.
    pub fn add(&mut self, now: Instant, id: CallId, partitions: usize) {
        let weight = partitions.div_ceil(PARTITIONS_AT_ONCE).max(1);
        self.by_age.insert((now, id), weight);
        self.weight += weight;
    }

    /// A fetch that waited since then does not any more.
    pub fn remove(&mut self, since: Instant, id: CallId) {
        self.weight -= self.by_age.remove(&(since, id)).unwrap_or(0);
    }

    /// When more wait than may: the one to answer, with the time since which it waits. One alone always may.
    pub fn surplus(&self) -> Option<(Instant, CallId)> {
        let is_over = self.weight > self.most && self.by_age.len() > 1;
        self.by_age.keys().next().copied().filter(|_| is_over)
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.by_age.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calls::Calls;

    #[test]
    fn one_too_many_ends_the_wait_of_the_oldest() {
        let (now, mut calls) = (Instant::now(), Calls::default());
        let [a, b, c, d]: [CallId; 4] = std::array::from_fn(|_| calls.reserve_for_test());
        let at = |ms| now + Duration::from_millis(ms);
        let mut parked = ParkedFetches::new(3);
        parked.add(at(1), b, 1);
        parked.add(at(0), a, 1);
        parked.add(at(2), c, PARTITIONS_AT_ONCE);
        assert_eq!(parked.surplus(), None);
        parked.add(at(3), d, 0);
        assert_eq!(parked.surplus(), Some((at(0), a)));
        parked.remove(at(0), a);
        assert_eq!((parked.surplus(), parked.count()), (None, 3));
        // One of many partitions takes the place of several.
        parked.remove(at(3), d);
        parked.add(at(4), d, PARTITIONS_AT_ONCE * 2 + 1);
        assert_eq!(parked.surplus(), Some((at(1), b)));
        parked.remove(at(1), b);
        assert_eq!(parked.surplus(), Some((at(2), c)));
        parked.remove(at(2), c);
        assert_eq!(parked.surplus(), None);
        parked.remove(at(2), c);
        assert_eq!(parked.weight, 3, "removed once");
    }

    #[test]
    fn one_that_is_too_large_waits_alone() {
        let (now, mut calls) = (Instant::now(), Calls::default());
        let mut parked = ParkedFetches::new(1);
        parked.add(now, calls.reserve_for_test(), PARTITIONS_AT_ONCE * 9);
        assert_eq!(parked.surplus(), None);
    }
}
