//! The latencies of one second, kept for each second of a run to name the worst of them: 32 buckets an octave of microseconds,
//! so that a quantile is at most 3 % above the truth, in 3.5 KB.

use crate::report::model::WorstSecond;

/// Octaves above 1 us, as in the heat map.
const OCTAVES: usize = 27;
const BUCKETS: usize = OCTAVES * 32 + 1;

/// One second's values.
#[derive(Clone, Debug)]
pub struct Second {
    counts: Box<[u32]>,
    count: u64,
}

impl Default for Second {
    fn default() -> Second {
        Second {
            counts: vec![0; BUCKETS].into(),
            count: 0,
        }
    }
}

impl Second {
    /// Adds `count` values of `value_ns`.
    pub fn record(&mut self, value_ns: u64, count: u64) {
        let counter = &mut self.counts[bucket(value_ns)];
        *counter = counter.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.count += count;
    }

    /// Adds another thread's values of the same second.
    pub fn add(&mut self, other: &Second) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum = sum.saturating_add(*count);
        }
        self.count += other.count;
    }

    /// The upper edge of the bucket that a quantile's value is in, in microseconds.
    fn quantile_us(&self, quantile: f64) -> f64 {
        let wanted = ((self.count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        });
        upper_us(found.unwrap_or(BUCKETS - 1))
    }
}

fn bucket(ns: u64) -> usize {
    let parts_us = (ns.saturating_mul(32) / 1000).max(32);
    let octave = 58 - parts_us.leading_zeros() as usize;
    let part = (parts_us >> octave) as usize & 31;
    (octave * 32 + part).min(BUCKETS - 1)
}

fn upper_us(bucket: usize) -> f64 {
    let (octave, part) = (bucket / 32, bucket % 32);
    (1u64 << octave) as f64 * (33 + part) as f64 / 32.0
}

/// The second with the largest p99.9, beside the median one's; `None` of fewer than two seconds with values.
pub fn worst(seconds: &[Second]) -> Option<WorstSecond> {
    let filled = seconds.iter().enumerate().filter(|(_, second)| second.count > 0);
    let p999: Vec<(usize, f64)> = filled
        .map(|(at, second)| (at, second.quantile_us(0.999)))
        .collect();
    let mut sorted: Vec<f64> = p999.iter().map(|(_, us)| *us).collect();
    sorted.sort_by(f64::total_cmp);
    // the first of several that are alike
    let (at, p999_us) = p999
        .into_iter()
        .reduce(|worst, one| if one.1 > worst.1 { one } else { worst })?;
    (sorted.len() > 1).then(|| WorstSecond {
        second: at as u64,
        count: seconds[at].count,
        p99_us: seconds[at].quantile_us(0.99),
        p999_us,
        median_p999_us: sorted[sorted.len() / 2],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::latency::heat_bucket;

    #[test]
    fn buckets_are_those_of_the_heat_map_cut_in_eight() {
        for ns in (0..200_000_000_000u64).step_by(1_234_567).chain(0..5000) {
            assert_eq!(bucket(ns) / 8, heat_bucket(ns), "{ns}");
            let upper_ns = upper_us(bucket(ns)) * 1e3;
            assert!(
                ns < 1_000
                    || bucket(ns) == BUCKETS - 1
                    || (upper_ns > ns as f64 && upper_ns < ns as f64 * 1.04)
            );
        }
    }

    #[test]
    fn the_worst_second_is_named_beside_a_usual_one() {
        let mut seconds = vec![Second::default(); 5];
        for second in &mut seconds {
            second.record(1_000_000, 10_000);
        }
        seconds[3].record(50_000_000, 20);
        let mut other = Second::default();
        other.record(80_000_000, 200);
        seconds[3].add(&other);
        let found = worst(&seconds).expect("a worst one");
        assert_eq!((found.second, found.count), (3, 10_220));
        assert!((found.p999_us - 80_000.0).abs() < 3_000.0 && (found.median_p999_us - 1_000.0).abs() < 40.0);
        assert!((found.p99_us - 80_000.0).abs() < 3_000.0, "{found:?}");
        assert_eq!(worst(&seconds[..1]), None);
        assert_eq!(worst(&[Second::default(), Second::default()]), None);
    }
}
