//! When the next commit starts. Pure.
//!
//! A commit that starts the moment the one before it ends takes along what came meanwhile, and leaves out everybody who is just being
//! answered: the clients fall into two halves that take turns, and each waits for two commits. So while a group that has shown
//! its size is still coming back, the next commit waits for it, for a short time. Nobody waits who is alone, whose appends
//! are large, or whose group did not come back when it was waited for.

use std::time::{Duration, Instant};

/// The longest a commit waits for its group.
pub const LONGEST: Duration = Duration::from_micros(120);
/// Smaller groups are not waited for: a commit costs them less than the wait.
const LEAST_ENTRIES: u32 = 8;
/// Appends of this many bytes on average are not gathered: their frames are large without it, and the disk would be idle.
const LARGE_BYTES: usize = 16 << 10;
/// Commits that start at once after a wait that brought too little.
const DISCOURAGED_FOR: u32 = 64;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Gathering {
    /// Entries under way when the last commit ended: in it, and behind it.
    group: u32,
    group_bytes: usize,
    /// Entries that were there when the wait began, and when it ends at the latest.
    waiting: Option<(u32, Instant)>,
    discouraged: u32,
}

/// Whether the next commit starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Now.
    Now,
    /// When the group is complete, at the latest then.
    Later(Instant),
}

impl Gathering {
    /// A commit ended that took `took`. What it held and what came meanwhile: entries and their bytes.
    pub fn committed(&mut self, now: Instant, took: Duration, held: (u32, usize), open: (u32, usize)) {
        self.group = held.0.saturating_add(open.0);
        self.group_bytes = held.1.saturating_add(open.1);
        self.discouraged = self.discouraged.saturating_sub(1);
        let large = self.group_bytes > LARGE_BYTES * self.group as usize;
        let open = open.0;
        let worth_it = self.group >= LEAST_ENTRIES && !large && self.discouraged == 0;
        self.waiting = worth_it.then(|| (open, now + took.min(LONGEST)));
    }

    /// Whether to start with the `open` entries that are there.
    pub fn start(&self, now: Instant, open: u32) -> Start {
        match self.waiting {
            Some((_, until)) if open < self.group && now < until => Start::Later(until),
            _ => Start::Now,
        }
    }

    /// A commit starts with `open` entries: the wait for them, if there was one, is over.
    pub fn started(&mut self, open: u32) {
        if let Some((before, _)) = self.waiting.take()
            && open - before.min(open) < (self.group - before.min(self.group)) / 4
        {
            self.discouraged = DISCOURAGED_FOR;
        }
    }

    /// Bytes under way when the last commit ended: what the next one may have to hold.
    pub fn group_bytes(&self) -> usize {
        self.group_bytes
    }

    /// When the wait ends at the latest, if one is under way.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.map(|(_, until)| until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_micros(100);

    #[test]
    fn one_client_alone_never_waits() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(gathering.start(now, 1), Start::Now);
            gathering.started(1);
            gathering.committed(now, COMMIT, (1, 1 << 10), (0, 0));
        }
    }

    #[test]
    fn two_halves_become_one_group() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        gathering.started(40);
        gathering.committed(now, COMMIT, (40, 40 << 10), (40, 40 << 10));
        assert_eq!(gathering.start(now, 40), Start::Later(now + COMMIT));
        assert_eq!(gathering.start(now, 79), Start::Later(now + COMMIT));
        assert_eq!(gathering.start(now, 80), Start::Now, "all are back");
        assert_eq!(gathering.start(now + COMMIT, 60), Start::Now, "time is up");
        gathering.started(80);
        assert_eq!(gathering.deadline(), None);
        // From then on everybody is in each commit.
        gathering.committed(now, COMMIT, (80, 80 << 10), (0, 0));
        assert_eq!(gathering.start(now, 80), Start::Now);
    }

    #[test]
    fn a_slow_disk_is_not_waited_for_longer_than_the_limit() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        gathering.committed(now, Duration::from_millis(5), (40, 40 << 10), (40, 40 << 10));
        assert_eq!(gathering.deadline(), Some(now + LONGEST));
    }

    #[test]
    fn large_appends_are_not_gathered() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        gathering.committed(now, COMMIT, (10, 640 << 10), (10, 640 << 10));
        assert_eq!(gathering.start(now, 10), Start::Now);
    }

    #[test]
    fn who_does_not_come_back_is_not_waited_for_again_at_once() {
        let (mut gathering, now) = (Gathering::default(), Instant::now());
        gathering.committed(now, COMMIT, (40, 40 << 10), (8, 8 << 10));
        assert_eq!(gathering.start(now + COMMIT, 10), Start::Now);
        gathering.started(10);
        for _ in 0..DISCOURAGED_FOR - 1 {
            gathering.committed(now, COMMIT, (40, 40 << 10), (8, 8 << 10));
            assert_eq!(gathering.start(now, 8), Start::Now);
            gathering.started(8);
        }
        gathering.committed(now, COMMIT, (40, 40 << 10), (8, 8 << 10));
        assert_ne!(gathering.start(now, 8), Start::Now, "tried again after a while");
    }
}
