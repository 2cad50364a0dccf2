//! Processor time of the whole machine, from `/proc/stat`: what kernel threads do for a broker is in no process's time.

use std::fs;

/// Counts from the moment it was started.
pub struct MachineSampler {
    base_ticks: u64,
    ticks_per_s: f64,
}

impl MachineSampler {
    /// Begins; `None` where `/proc` is not mounted.
    pub fn start() -> Option<MachineSampler> {
        Some(MachineSampler {
            base_ticks: busy_ticks()?,
            ticks_per_s: rustix::param::clock_ticks_per_second().max(1) as f64,
        })
    }

    /// Seconds that processors were busy since, all of them together.
    pub fn busy_s(&self) -> Option<f64> {
        Some(busy_ticks()?.saturating_sub(self.base_ticks) as f64 / self.ticks_per_s)
    }
}

fn busy_ticks() -> Option<u64> {
    parse_busy(&fs::read_to_string("/proc/stat").ok()?)
}

/// The ticks of the first line that are neither idle, nor waiting for a disk, nor stolen by other machines. Guests are in `user`.
fn parse_busy(stat: &str) -> Option<u64> {
    let ticks = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = ticks
        .split_ascii_whitespace()
        .map_while(|n| n.parse().ok())
        .collect();
    match ticks[..] {
        [user, nice, system, _idle, _iowait, irq, softirq, ..] => [user, nice, system, irq, softirq]
            .into_iter()
            .try_fold(0u64, u64::checked_add),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_idle_or_stolen_is_not_busy() {
        let stat = "cpu  100 20 30 4000 500 6 7 80 9 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse_busy(stat), Some(163));
        for strange in ["", "cpu  1 2 3\n", "cpu0 1 2 3 4 5 6 7\n", "cpu  a b c d e f g\n"] {
            assert_eq!(parse_busy(strange), None, "{strange}");
        }
    }

    #[test]
    fn work_of_this_process_is_in_it() {
        let sampler = MachineSampler::start().expect("/proc");
        let own = crate::measure::process::own().expect("/proc");
        let mut busy = 0u64;
        let begun = std::time::Instant::now();
        // until the kernel has counted some
        while sampler.busy_s().expect("/proc") < 0.05 && begun.elapsed().as_secs() < 60 {
            (0..1_000_000u64).for_each(|n| busy = std::hint::black_box(busy ^ n));
        }
        assert!(sampler.busy_s().expect("/proc") >= 0.05);
        drop(own);
    }
}
