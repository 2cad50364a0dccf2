//! How fast old data is read beside producers: as fast as their commits stay as quick as they are without. Pure.
//!
//! A disk serves a read of old data and the journal's write alike, and may have less bandwidth than a reader can take. So while something
//! is being appended one read is under way at a time, and when a commit takes long the next read waits: longer each time, up to
//! [`MOST_PAUSE`], and shorter again when commits are quick.

use std::time::{Duration, Instant};

/// How long after a commit appends count as going on.
const BESIDE_APPENDS: Duration = Duration::from_millis(100);
/// The shortest pause that is made.
const FIRST_PAUSE: Duration = Duration::from_micros(100);
/// The longest: readers of old data go on, however slowly.
const MOST_PAUSE: Duration = Duration::from_millis(4);
/// A commit may take this many times as long as the quick ones.
const SLOWED: u32 = 3;
/// What is allowed for on top: commits of different sizes take different times.
const ALLOWANCE: Duration = Duration::from_micros(200);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Pace {
    begun_at: Option<Instant>,
    committed_at: Option<Instant>,
    /// What a commit takes when it is quick. Grows slowly, so that what was once does not count for ever.
    quick: Option<Duration>,
    pause: Duration,
    resume_at: Option<Instant>,
}

impl Pace {
    /// A commit begins.
    pub fn commit_begun(&mut self, now: Instant) {
        self.begun_at = Some(now);
        self.committed_at = Some(now);
    }

    /// It is done.
    pub fn commit_done(&mut self, now: Instant) {
        let Some(begun) = self.begun_at.take() else { return };
        self.committed_at = Some(now);
        let took = now.saturating_duration_since(begun);
        let quick = self.quick.map_or(took, |quick| took.min(quick + quick / 256));
        self.quick = Some(quick);
        if took > quick * SLOWED + ALLOWANCE {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, MOST_PAUSE);
        } else {
            self.pause -= self.pause / 8;
            if self.pause < FIRST_PAUSE / 2 {
                self.pause = Duration::ZERO;
            }
        }
    }

    /// A read of old data is done.
    pub fn read_ended(&mut self, now: Instant) {
        self.resume_at = Some(now + self.pause).filter(|_| self.is_beside_appends(now));
    }

    /// Whether appends are going on.
    pub fn is_beside_appends(&self, now: Instant) -> bool {
        self.committed_at
            .is_some_and(|at| now.saturating_duration_since(at) < BESIDE_APPENDS)
    }

    /// Whether the pause after the last read is over.
    pub fn may_read(&self, now: Instant) -> bool {
        self.resume_at.is_none_or(|at| at <= now)
    }

    /// When it will be.
    pub fn resume_at(&self) -> Option<Instant> {
        self.resume_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    fn commit(pace: &mut Pace, now: &mut Instant, took: Duration) {
        pace.commit_begun(*now);
        *now += took;
        pace.commit_done(*now);
    }

    #[test]
    fn slow_commits_make_reads_wait_and_quick_ones_let_them_go_on() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        (0..10).for_each(|_| commit(&mut pace, &mut now, 100 * US));
        pace.read_ended(now);
        assert!(pace.may_read(now), "nobody is slowed");
        (0..3).for_each(|_| commit(&mut pace, &mut now, 5_000 * US));
        pace.read_ended(now);
        assert!(!pace.may_read(now) && pace.may_read(now + 4 * FIRST_PAUSE));
        (0..100).for_each(|_| commit(&mut pace, &mut now, 5_000 * US));
        pace.read_ended(now);
        assert!(
            pace.may_read(now + MOST_PAUSE),
            "they go on however slow the disk is"
        );
        (0..100).for_each(|_| commit(&mut pace, &mut now, 100 * US));
        pace.read_ended(now);
        assert!(pace.may_read(now));
    }

    #[test]
    fn a_disk_that_has_become_slower_is_not_held_against_the_readers() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        (0..10).for_each(|_| commit(&mut pace, &mut now, 100 * US));
        (0..2_000).for_each(|_| commit(&mut pace, &mut now, 2_000 * US));
        pace.read_ended(now);
        assert!(pace.may_read(now), "{pace:?}");
    }

    #[test]
    fn without_appends_there_is_no_pause() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        assert!(!pace.is_beside_appends(now));
        commit(&mut pace, &mut now, 100 * US);
        (0..9).for_each(|_| commit(&mut pace, &mut now, 9_000 * US));
        assert!(pace.is_beside_appends(now));
        now += BESIDE_APPENDS;
        pace.read_ended(now);
        assert!(!pace.is_beside_appends(now) && pace.may_read(now));
    }
}
