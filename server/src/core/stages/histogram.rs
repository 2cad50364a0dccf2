//! A distribution of durations in fixed memory: recording is a shift, a subtraction and an addition.
//!
//! Up to 2 us a bucket is 64 ns wide; above, each doubling has 32 buckets, so a bucket is at most 3.2 % of what is in it.
//! What is longer than 17 s counts as 17 s. Counts only grow: whoever wants a stretch of time subtracts two looks.
//!
//! ```text
//! units of 64 ns:  0 1 2 ... 31 | 32 33 ... 63 | 64 66 ... 126 | 128 132 ...
//! bucket:          0 1 2 ... 31 | 32 33 ... 63 | 64 65 ...  95 |  96  97 ...
//! ```

use std::time::Duration;

/// Bits of a duration in nanoseconds that are not looked at.
const UNIT_BITS: u32 = 6;
/// Buckets in each doubling.
const STEPS: usize = 32;
const STEP_BITS: u32 = STEPS.ilog2();
/// Doublings with buckets of their own, from 32 units (2 us) on.
const DOUBLINGS: usize = 23;
/// Number of buckets.
pub const BUCKETS: usize = STEPS + DOUBLINGS * STEPS;
/// The largest unit that has a bucket.
const MOST_UNITS: u64 = (1 << (STEP_BITS as usize + DOUBLINGS)) - 1;

/// A distribution of durations. 6 KiB.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    sum_ns: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: Box::new([0; BUCKETS]),
            sum_ns: 0,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.counts[bucket(ns)] += 1;
    }

    /// Sum of all durations in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The buckets that are not empty, as their largest duration in nanoseconds and their count, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts.iter().copied().enumerate();
        counts
            .filter(|(_, count)| *count > 0)
            .map(|(at, count)| (largest_ns(at), count))
    }
}

fn bucket(ns: u64) -> usize {
    let units = (ns >> UNIT_BITS).min(MOST_UNITS);
    if units < STEPS as u64 {
        return units as usize;
    }
    let doubling = units.ilog2() - STEP_BITS;
    STEPS * doubling as usize + (units >> doubling) as usize
}

/// The largest duration that a bucket counts.
fn largest_ns(bucket: usize) -> u64 {
    let (doubling, step) = match bucket.checked_sub(STEPS) {
        None => (0, bucket),
        Some(above) => (above / STEPS, STEPS + above % STEPS),
    };
    (((step as u64 + 1) << doubling) << UNIT_BITS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations_ns: &[u64]) -> Vec<(u64, u64)> {
        let mut histogram = Histogram::default();
        durations_ns
            .iter()
            .for_each(|ns| histogram.record(Duration::from_nanos(*ns)));
        histogram.buckets().collect()
    }

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for at in 0..BUCKETS {
            assert_eq!(bucket(largest_ns(at)), at);
            assert_eq!(bucket(largest_ns(at) + 1), (at + 1).min(BUCKETS - 1));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(largest_ns(BUCKETS - 1), (1 << 34) - 1);
    }

    #[test]
    fn a_bucket_is_narrow() {
        for at in STEPS..BUCKETS - 1 {
            let (below, largest) = (largest_ns(at - 1), largest_ns(at));
            assert!((largest - below) as f64 <= 0.0323 * largest as f64, "{at}");
        }
    }

    #[test]
    fn counts_and_sum_are_of_what_was_recorded() {
        assert_eq!(of(&[0, 63, 64, 1_000_000]), [(63, 2), (127, 1), (1_015_807, 1)]);
        assert_eq!(of(&[u64::MAX]), [((1 << 34) - 1, 1)]);
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_micros(3));
        histogram.record(Duration::from_micros(4));
        assert_eq!(histogram.sum_ns(), 7_000);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.sum_ns(), u64::MAX);
    }
}
