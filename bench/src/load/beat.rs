//! The open loop of transactions.

/// When a producer's transactions are due, nanoseconds since the run's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    next_ns: u64,
    every_ns: u64,
}

impl Beat {
    /// Producer `number` of `producers`, which take turns from `start_ns` on.
    pub fn new(per_second: f64, number: u32, producers: u32, start_ns: u64) -> Beat {
        let apart_ns = 1e9 / per_second;
        Beat {
            next_ns: start_ns + (apart_ns * f64::from(number)) as u64,
            every_ns: ((apart_ns * f64::from(producers)) as u64).max(1),
        }
    }

    /// When the next one is due.
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// When this one is due; goes on to the next.
    pub fn take(&mut self) -> u64 {
        let due_ns = self.next_ns;
        self.next_ns += self.every_ns;
        due_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_take_turns_at_the_rate_of_all_of_them() {
        let mut beats: Vec<Beat> = (0..4).map(|number| Beat::new(1000.0, number, 4, 7)).collect();
        let mut due: Vec<u64> = (0..3)
            .flat_map(|_| beats.iter_mut().map(Beat::take).collect::<Vec<_>>())
            .collect();
        assert!(due.is_sorted());
        due.dedup();
        assert_eq!((due.len(), due[0], due[11]), (12, 7, 11_000_007));
    }
}
