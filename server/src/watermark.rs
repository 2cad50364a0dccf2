//! Whether the disk has so little room that producers are refused. Decided on one core, looked at by all.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What part more than the limit must be free before producers are served again.
const HYSTERESIS_PART: u64 = 8;
/// Where nothing is set, the limit is no more than this part of the filesystem.
pub const MOST_PART: u64 = 10;

/// The room of the data directory's filesystem, as it was seen last.
#[derive(Debug, Default)]
pub struct Watermark {
    is_low: AtomicBool,
    free_bytes: AtomicU64,
    least_bytes: AtomicU64,
}

/// What a look has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Producers are refused from now on.
    Low,
    /// They are served again.
    Enough,
}

impl Watermark {
    /// Whether producers are refused.
    pub fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    /// There are so many bytes free, and so many are to be; 0 of these refuses nobody.
    pub fn observe(&self, free_bytes: u64, least_bytes: u64) -> Option<Turn> {
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        self.least_bytes.store(least_bytes, Ordering::Relaxed);
        let was_low = self.is_low();
        let is_low = match was_low {
            false => free_bytes < least_bytes,
            true => least_bytes > 0 && free_bytes < enough(least_bytes),
        };
        self.is_low.store(is_low, Ordering::Relaxed);
        match (was_low, is_low) {
            (false, true) => Some(Turn::Low),
            (true, false) => Some(Turn::Enough),
            _ => None,
        }
    }
}

/// With so many bytes free producers are served again.
fn enough(least_bytes: u64) -> u64 {
    least_bytes.saturating_add((least_bytes / HYSTERESIS_PART).max(1))
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = self.free_bytes.load(Ordering::Relaxed);
        let least = self.least_bytes.load(Ordering::Relaxed);
        write!(
            f,
            "the disk is nearly full: {free} bytes are free, ringlog.disk.min.free.bytes is {least}; producers are served again from {} bytes on",
            enough(least)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_are_refused_below_the_limit_and_served_well_above_it() {
        let watermark = Watermark::default();
        for (free, least, turn) in [
            (800, 800, None),
            (799, 800, Some(Turn::Low)),
            (0, 800, None),
            (899, 800, None),
            (900, 800, Some(Turn::Enough)),
            (800, 800, None),
            (800, 900, Some(Turn::Low)),
            (0, 0, Some(Turn::Enough)),
            (0, 0, None),
            (0, 1, Some(Turn::Low)),
            (1, 1, None),
            (2, 1, Some(Turn::Enough)),
            (0, u64::MAX, Some(Turn::Low)),
        ] {
            assert_eq!(watermark.observe(free, least), turn, "{free} of {least}");
        }
        assert!(watermark.is_low());
    }

    #[test]
    fn a_refusal_names_the_figures() {
        let watermark = Watermark::default();
        watermark.observe(5, 800);
        let said = watermark.to_string();
        for part in [
            "5 bytes are free",
            "ringlog.disk.min.free.bytes is 800",
            "from 900",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
}
