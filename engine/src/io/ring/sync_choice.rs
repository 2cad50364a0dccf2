//! Which way a synced write takes, by what both ways took lately.
//!
//! Neither is better everywhere. A write that carries RWF_DSYNC waits for a kernel worker of the core that serves the disk; one that
//! fdatasync follows waits for a worker of the ring. On quiet cores they are alike. Beside compilers the flag took six times as long
//! in the median; beside processes that do nothing but use the processor fdatasync took up to eight times as long. So one way is used,
//! and now and then the other one is tried: seldom when that did not pay the last time, often again when the pace changes.

use std::time::Duration;

use super::SyncMethod;

/// How a write becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It carries RWF_DSYNC.
    Flag,
    /// fdatasync follows.
    Behind,
}

impl Way {
    fn other(self) -> Way {
        match self {
            Way::Flag => Way::Behind,
            Way::Behind => Way::Flag,
        }
    }
}

/// Writes in a row that try the other way.
const TRIED: u32 = 4;
/// Writes between two trials, at first and at most.
const FIRST_PAUSE: u32 = 512;
const LONGEST_PAUSE: u32 = 16 << 10;
/// The other way is taken when it takes less than this part of the time.
const BETTER: f64 = 0.75;
/// From so many times as long on it is much worse, and tried much more seldom.
const MUCH_WORSE: f64 = 2.0;
/// By how much the pace has to change for the other way to be tried again soon.
const CHANGED: f64 = 3.0;
/// The weight of the newest write in the pace.
const NEWEST: f64 = 1.0 / 64.0;

/// The choice for writes of about one size.
#[derive(Debug)]
pub(super) struct Choice {
    way: Way,
    /// How long writes that go this way take on average, in seconds; nothing before the first.
    pace: Option<f64>,
    /// What that was at the end of the last trial.
    pace_then: f64,
    until_trial: u32,
    pause: u32,
    /// The trial under way: writes that are still to begin, those that have ended, and what they took.
    to_try: u32,
    tried: (u32, f64),
}

impl Choice {
    /// Begins with this way.
    pub fn new(way: Way) -> Choice {
        Choice {
            way,
            pace: None,
            pace_then: 0.0,
            until_trial: FIRST_PAUSE,
            pause: FIRST_PAUSE,
            to_try: 0,
            tried: (0, 0.0),
        }
    }

    /// The way of the next write.
    pub fn next(&mut self) -> Way {
        if self.to_try > 0 {
            self.to_try -= 1;
            return self.way.other();
        }
        self.until_trial = self.until_trial.saturating_sub(1);
        if self.until_trial == 0 {
            (self.to_try, self.until_trial, self.tried) = (TRIED - 1, self.pause, (0, 0.0));
            return self.way.other();
        }
        self.way
    }

    /// A write that went this way is durable after this time.
    pub fn took(&mut self, way: Way, time: Duration) {
        let seconds = time.as_secs_f64();
        if way == self.way {
            let pace = self.pace.map_or(seconds, |pace| pace + (seconds - pace) * NEWEST);
            self.pace = Some(pace);
            let changed = pace > self.pace_then * CHANGED || pace * CHANGED < self.pace_then;
            if changed && self.pause > FIRST_PAUSE {
                (self.pause, self.until_trial) = (FIRST_PAUSE, FIRST_PAUSE);
            }
            return;
        }
        self.tried = (self.tried.0 + 1, self.tried.1 + seconds);
        if self.tried.0 >= TRIED {
            self.end_trial();
        }
    }

    fn end_trial(&mut self) {
        let (count, sum) = std::mem::take(&mut self.tried);
        let (other, pace) = (sum / f64::from(count), self.pace.unwrap_or(f64::MAX));
        if other < pace * BETTER {
            (self.way, self.pace, self.pause) = (self.way.other(), Some(other), FIRST_PAUSE);
        } else {
            let longer = if other > pace * MUCH_WORSE { 8 } else { 2 };
            self.pause = (self.pause * longer).min(LONGEST_PAUSE);
        }
        self.until_trial = self.pause;
        self.pace_then = self.pace.unwrap_or(other);
    }
}

/// From this size on a write is a large one.
const LARGE_BYTES: usize = 64 << 10;

/// The choice for small and for large writes.
#[derive(Debug)]
pub(super) struct Ways {
    method: SyncMethod,
    small: Choice,
    large: Choice,
}

impl Ways {
    /// As the method says; nothing is measured where it leaves no choice.
    pub fn new(method: SyncMethod) -> Ways {
        Ways {
            method,
            small: Choice::new(Way::Behind),
            large: Choice::new(Way::Flag),
        }
    }

    fn of(&mut self, bytes: usize) -> &mut Choice {
        if bytes < LARGE_BYTES {
            &mut self.small
        } else {
            &mut self.large
        }
    }

    /// The way of the next write of so many bytes.
    pub fn next(&mut self, bytes: usize) -> Way {
        match self.method {
            SyncMethod::Flag => Way::Flag,
            SyncMethod::Fsync => Way::Behind,
            SyncMethod::Measured => self.of(bytes).next(),
        }
    }

    /// A write of so many bytes is durable after this time.
    pub fn took(&mut self, bytes: usize, way: Way, time: Duration) {
        if self.method == SyncMethod::Measured {
            self.of(bytes).took(way, time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many writes, one after the other, go the way, when each way takes so many microseconds.
    fn run(choice: &mut Choice, writes: u32, flag_us: u64, behind_us: u64) -> u32 {
        let mut flagged = 0;
        for _ in 0..writes {
            let way = choice.next();
            flagged += u32::from(way == Way::Flag);
            let us = if way == Way::Flag { flag_us } else { behind_us };
            choice.took(way, Duration::from_micros(us));
        }
        flagged
    }

    #[test]
    fn the_better_way_is_found_and_kept() {
        let mut choice = Choice::new(Way::Behind);
        run(&mut choice, 2_000, 100, 800);
        assert!(run(&mut choice, 10_000, 100, 800) > 9_900);
    }

    #[test]
    fn what_is_alike_changes_nothing_and_is_tried_ever_more_seldom() {
        let mut choice = Choice::new(Way::Behind);
        assert!(run(&mut choice, 100_000, 100, 105) < 100);
        assert!(run(&mut choice, 100_000, 100, 105) <= 7 * TRIED);
    }

    #[test]
    fn a_change_of_pace_is_followed_soon() {
        let mut choice = Choice::new(Way::Behind);
        run(&mut choice, 200_000, 110, 100);
        // neighbours come, then go and others come
        run(&mut choice, 2_000, 300, 4_000);
        assert!(run(&mut choice, 1_000, 300, 4_000) > 950);
        run(&mut choice, 2_000, 1_500, 100);
        assert!(run(&mut choice, 1_000, 1_500, 100) < 50);
    }

    #[test]
    fn writes_under_way_side_by_side_end_a_trial_once() {
        let mut choice = Choice::new(Way::Flag);
        let ways: Vec<Way> = (0..1_000).map(|_| choice.next()).collect();
        assert_eq!(
            ways.iter().filter(|way| **way == Way::Behind).count(),
            TRIED as usize
        );
        ways.into_iter()
            .for_each(|way| choice.took(way, Duration::from_micros(100)));
        assert_eq!(choice.way, Way::Flag);
    }
}
