//! How fast all threads together may read and write (`log.cleaner.io.max.bytes.per.second`).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest sleep before the order is looked at again.
const LONGEST_NAP: Duration = Duration::from_millis(200);

/// Gives out times at which bytes are paid for. Without a limit it does nothing.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: f64,
    /// When all bytes so far are paid for.
    paid_at: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many bytes a second; no limit when that is no number above 0, or larger than a disk can give.
    pub fn new(bytes_per_second: f64) -> Pace {
        Pace {
            bytes_per_second,
            paid_at: Mutex::new(None),
        }
    }

    /// Notes bytes that were read or written, and sleeps until they are paid for, or until the order is cancelled.
    pub fn pay(&self, bytes: usize, cancelled: &AtomicBool) {
        let Some(until) = self.due(bytes, Instant::now()) else {
            return;
        };
        while !cancelled.load(Ordering::Relaxed) {
            match until.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => std::thread::sleep(left.min(LONGEST_NAP)),
                _ => return,
            }
        }
    }

    /// When these bytes are paid for: after those before them. Time in which nothing was read is not saved up.
    fn due(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let takes = Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_second).ok()?;
        if takes.is_zero() {
            return None;
        }
        let mut paid_at = match self.paid_at.lock() {
            Ok(paid_at) => paid_at,
            Err(poisoned) => poisoned.into_inner(),
        };
        let from = paid_at.map_or(now, |at| at.max(now));
        let until = from.checked_add(takes)?;
        *paid_at = Some(until);
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_threads_are_paid_for_one_after_the_other() {
        let pace = Pace::new(1000.0);
        let now = Instant::now();
        assert_eq!(pace.due(500, now), Some(now + Duration::from_millis(500)));
        assert_eq!(pace.due(1000, now), Some(now + Duration::from_millis(1500)));
        let later = now + Duration::from_secs(10);
        assert_eq!(
            pace.due(100, later),
            Some(later + Duration::from_millis(100)),
            "idle time is not saved up"
        );
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        for none in [f64::MAX, f64::INFINITY] {
            assert_eq!(Pace::new(none).due(usize::MAX, Instant::now()), None);
        }
        for nonsense in [0.0, -1.0, f64::NAN] {
            assert_eq!(Pace::new(nonsense).due(1, Instant::now()), None);
        }
    }

    #[test]
    fn a_cancelled_pass_does_not_wait() {
        Pace::new(0.001).pay(1 << 30, &AtomicBool::new(true));
    }
}
