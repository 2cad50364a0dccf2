//! When a core looks for something from time to time.

use std::time::{Duration, Instant};

/// The times of the looks.
#[derive(Debug)]
pub(super) struct Looks {
    interval: Duration,
    /// `None` for none as long as anybody lives.
    next: Option<Instant>,
}

impl Looks {
    /// The first one at `first`, if there is one at all.
    pub(super) fn new(first: Option<Instant>, interval: Duration) -> Looks {
        Looks {
            interval,
            next: first,
        }
    }

    /// When the next look is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a look is due. The next one is, an interval later.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.next.is_some_and(|at| at <= now);
        if is_due {
            self.next = now.checked_add(self.interval);
        }
        is_due
    }
}
