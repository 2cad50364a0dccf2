//! When the records of one batch were due.

use super::tally::Window;

/// Due times, nanoseconds since the run's epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Times {
    /// All at once, as in a closed loop.
    Together {
        /// When.
        at_ns: u64,
        /// How many records.
        records: u32,
    },
    /// Each at its own, ascending.
    Each(Box<[u64]>),
}

impl Times {
    /// Records.
    pub fn records(&self) -> usize {
        match self {
            Times::Together { records, .. } => *records as usize,
            Times::Each(times_ns) => times_ns.len(),
        }
    }

    /// When the first one was due.
    pub fn first(&self) -> Option<u64> {
        match self {
            Times::Together { at_ns, records } => (*records > 0).then_some(*at_ns),
            Times::Each(times_ns) => times_ns.first().copied(),
        }
    }

    /// Calls `each` with due times and how many records have them.
    pub fn each(&self, mut each: impl FnMut(u64, u64)) {
        match self {
            Times::Together { at_ns, records } => each(*at_ns, u64::from(*records)),
            Times::Each(times_ns) => times_ns.iter().for_each(|at_ns| each(*at_ns, 1)),
        }
    }

    /// Records that were due within `window`.
    pub fn measured(&self, window: Window) -> u64 {
        let mut measured = 0;
        self.each(|at_ns, records| measured += if window.contains(at_ns) { records } else { 0 });
        measured
    }

    /// Moves the due time of records that have no schedule: a closed loop's are due when they are sent.
    pub fn sent_at(&mut self, sent_ns: u64) {
        if let Times::Together { at_ns, .. } = self {
            *at_ns = sent_ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_count_alike() {
        let window = Window {
            start_ns: 5,
            end_ns: 10,
        };
        let each = Times::Each([3, 5, 9, 10].into());
        assert_eq!(
            (each.records(), each.first(), each.measured(window)),
            (4, Some(3), 2)
        );
        let mut together = Times::Together { at_ns: 4, records: 7 };
        assert_eq!((together.records(), together.measured(window)), (7, 0));
        together.sent_at(9);
        assert_eq!((together.first(), together.measured(window)), (Some(9), 7));
    }
}
