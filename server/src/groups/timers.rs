//! Deadlines by name: of sessions, of rebalances, of members that were given an id.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What ends at a deadline. A group has one of each at most, or one for each member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// A classic group: everybody who is to join has joined, or is left out.
    Join(Arc<str>),
    /// A classic group: the leader's assignment and everybody's SyncGroup must have come.
    Sync(Arc<str>),
    /// A member, of either protocol: it must have been heard of.
    Session(Arc<str>, Arc<str>),
    /// A member of a consumer group: it must have given back what was revoked.
    Rebalance(Arc<str>, Arc<str>),
    /// A member of a consumer group that speaks the classic protocol: it must have joined again.
    ClassicJoin(Arc<str>, Arc<str>),
    /// A member of a consumer group that speaks the classic protocol: it must have asked for its assignment.
    ClassicSync(Arc<str>, Arc<str>),
    /// The group's regular expressions are matched against the topics anew.
    Regex(Arc<str>),
    /// Offsets that nobody needs are looked for.
    Offsets,
}

/// Deadlines, in milliseconds since 1970.
#[derive(Debug, Default)]
pub struct Timers {
    by_time: BTreeSet<(i64, Timer)>,
    by_timer: HashMap<Timer, i64>,
}

impl Timers {
    /// Sets the deadline, in place of an earlier one of the same name.
    pub fn set(&mut self, timer: Timer, at_ms: i64) {
        self.cancel(&timer);
        self.by_time.insert((at_ms, timer.clone()));
        self.by_timer.insert(timer, at_ms);
    }

    /// Takes the deadline back, if there is one.
    pub fn cancel(&mut self, timer: &Timer) {
        if let Some((timer, at_ms)) = self.by_timer.remove_entry(timer) {
            self.by_time.remove(&(at_ms, timer));
        }
    }

    /// Whether there is such a deadline.
    pub fn is_set(&self, timer: &Timer) -> bool {
        self.by_timer.contains_key(timer)
    }

    /// The next deadline.
    pub fn next_ms(&self) -> Option<i64> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes out one that has passed, the earliest first.
    pub fn pop(&mut self, now_ms: i64) -> Option<Timer> {
        self.next_ms().filter(|at_ms| *at_ms <= now_ms)?;
        let (_, timer) = self.by_time.pop_first()?;
        self.by_timer.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_moved_and_taken_back_by_its_name() {
        let (group, member): (Arc<str>, Arc<str>) = ("g".into(), "m".into());
        let (join, session) = (Timer::Join(group.clone()), Timer::Session(group, member));
        let mut timers = Timers::default();
        timers.set(join.clone(), 10);
        timers.set(session.clone(), 20);
        timers.set(join.clone(), 30);
        assert_eq!((timers.next_ms(), timers.pop(19)), (Some(20), None));
        assert_eq!(timers.pop(40), Some(session));
        timers.cancel(&join);
        assert_eq!(
            (timers.next_ms(), timers.pop(40), timers.is_set(&join)),
            (None, None, false)
        );
    }
}
