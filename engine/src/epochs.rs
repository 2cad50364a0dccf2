//! Which leader wrote from where: the epochs of a partition's leaders and the offset each began at.
//!
//! A follower or consumer that saw another history asks where an epoch ended, and so finds out what to cut off.
//! Kept as the text file `leader-epoch-checkpoint`: version, count, then a line `epoch startOffset` for each.

use crate::checkpoint::{self, CheckpointError};

/// "No such epoch", in [`LeaderEpochs::end_offset_for`].
pub const UNDEFINED_EPOCH: i32 = -1;

/// "No such offset", in [`LeaderEpochs::end_offset_for`].
pub const UNDEFINED_OFFSET: i64 = -1;

/// One epoch and the offset of the first record its leader wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: i32,
    /// The offset it began at.
    pub start_offset: i64,
}

/// The epochs of one partition, oldest first. Both epochs and offsets strictly increase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

impl LeaderEpochs {
    /// No epoch yet.
    pub fn new() -> LeaderEpochs {
        LeaderEpochs::default()
    }

    /// Notes that `epoch` begins at `start_offset`. Returns whether anything changed, so that the file must be written.
    ///
    /// Later epochs, and those that began at or after `start_offset`, are in the way of the new one and are dropped: no
    /// data of theirs remains. An epoch that is already the latest keeps the lower of its offsets. Negative values,
    /// which mean "none" in a batch, change nothing.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || start_offset < 0 || self.is_known(epoch, start_offset) {
            return false;
        }
        while self
            .entries
            .pop_if(|last| last.epoch >= epoch || last.start_offset >= start_offset)
            .is_some()
        {}
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    fn is_known(&self, epoch: i32, start_offset: i64) -> bool {
        self.latest()
            .is_some_and(|last| last.epoch == epoch && start_offset >= last.start_offset)
    }

    /// The latest epoch.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// All epochs, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The largest epoch not above `requested`, and the offset it ended at, exclusive: where the next one began, or
    /// `log_end` for the latest.
    ///
    /// (-1, -1) when `requested` is -1 or above all known epochs. When it is below them all, its records are gone, and
    /// the answer is `requested` itself and the offset at which the first known epoch began.
    pub fn end_offset_for(&self, requested: i32, log_end: i64) -> (i32, i64) {
        if requested == UNDEFINED_EPOCH {
            return (UNDEFINED_EPOCH, UNDEFINED_OFFSET);
        }
        if self.latest().is_some_and(|last| last.epoch == requested) {
            return (requested, log_end);
        }
        let above = self.entries.partition_point(|e| e.epoch <= requested);
        match self.entries.get(above) {
            None => (UNDEFINED_EPOCH, UNDEFINED_OFFSET),
            Some(next) if above == 0 => (requested, next.start_offset),
            Some(next) => (self.entries[above - 1].epoch, next.start_offset),
        }
    }

    /// The epoch in which the record at `offset` was written; `None` before the first known one.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        let above = self.entries.partition_point(|e| e.start_offset <= offset);
        above.checked_sub(1).map(|i| self.entries[i].epoch)
    }

    /// Drops the epochs whose records all lie before `start_offset`; the one that holds it now begins there.
    /// Returns whether an entry was dropped or moved.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let begun = self.entries.partition_point(|e| e.start_offset <= start_offset);
        let Some(holder) = begun.checked_sub(1) else {
            return false;
        };
        let moved = holder > 0 || self.entries[holder].start_offset != start_offset;
        self.entries[holder].start_offset = start_offset;
        self.entries.drain(..holder);
        moved
    }

    /// Drops the epochs that began at or after `end_offset`, the new end of the log. Returns whether there were any.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let keep = self.entries.partition_point(|e| e.start_offset < end_offset);
        let dropped = end_offset >= 0 && keep < self.entries.len();
        if dropped {
            self.entries.truncate(keep);
        }
        dropped
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The text of `leader-epoch-checkpoint`.
    pub fn encode(&self) -> String {
        checkpoint::encode_lines(
            self.entries
                .iter()
                .map(|e| format!("{} {}", e.epoch, e.start_offset)),
        )
    }

    /// Reads the text of `leader-epoch-checkpoint`. An empty file has no epochs.
    ///
    /// Lines out of order are put in order the way Kafka does, by [`LeaderEpochs::assign`] one after the other.
    pub fn decode(text: &str) -> Result<LeaderEpochs, CheckpointError> {
        let mut epochs = LeaderEpochs::new();
        for line in checkpoint::parse_lines(text)? {
            let [epoch, start_offset] = line.fields()?;
            let (epoch, start_offset) = (line.number(epoch)?, line.number(start_offset)?);
            if epoch < 0 || start_offset < 0 {
                return Err(line.error("an epoch and an offset are not negative"));
            }
            epochs.assign(epoch, start_offset);
        }
        Ok(epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut all = LeaderEpochs::new();
        for &(epoch, start) in entries {
            all.assign(epoch, start);
        }
        all
    }

    fn pairs(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs
            .entries()
            .iter()
            .map(|e| (e.epoch, e.start_offset))
            .collect()
    }

    #[test]
    fn assign_keeps_epochs_and_offsets_increasing() {
        type Pairs = &'static [(i32, i64)];
        let table: &[(Pairs, Pairs)] = &[
            (&[(0, 0), (1, 10)], &[(0, 0), (1, 10)]),
            (&[(0, 0), (0, 5)], &[(0, 0)]),
            (&[(2, 10), (2, 5)], &[(2, 5)]),
            (&[(0, 0), (1, 0)], &[(1, 0)]),
            (&[(0, 0), (3, 10), (4, 20), (2, 5)], &[(0, 0), (2, 5)]),
            (&[(0, 0), (1, 10), (2, 20), (3, 10)], &[(0, 0), (3, 10)]),
            (&[(-1, 0), (1, -1)], &[]),
        ];
        for (assigned, kept) in table {
            assert_eq!(pairs(&epochs(assigned)), *kept, "{assigned:?}");
        }
    }

    #[test]
    fn assign_says_whether_the_file_must_be_written() {
        let mut all = LeaderEpochs::new();
        assert!(all.assign(3, 7));
        assert!(!all.assign(3, 7));
        assert!(!all.assign(3, 9));
        assert!(all.assign(4, 9));
        assert_eq!(
            all.latest(),
            Some(EpochEntry {
                epoch: 4,
                start_offset: 9
            })
        );
    }

    #[test]
    fn end_offset_is_where_the_next_epoch_began() {
        let all = epochs(&[(2, 6), (5, 13), (9, 17)]);
        let table = [
            (-1, (-1, -1)),
            (0, (0, 6)),
            (1, (1, 6)),
            (2, (2, 13)),
            (4, (2, 13)),
            (5, (5, 17)),
            (8, (5, 17)),
            (9, (9, 100)),
            (10, (-1, -1)),
        ];
        for (requested, answer) in table {
            assert_eq!(all.end_offset_for(requested, 100), answer, "epoch {requested}");
        }
        assert_eq!(LeaderEpochs::new().end_offset_for(0, 100), (-1, -1));
    }

    #[test]
    fn epoch_for_offset_is_the_last_one_begun() {
        let all = epochs(&[(2, 6), (5, 13)]);
        assert_eq!(
            [5, 6, 12, 13, 99].map(|o| all.epoch_for_offset(o)),
            [None, Some(2), Some(2), Some(5), Some(5)]
        );
    }

    #[test]
    fn truncation_at_either_end() {
        let all = epochs(&[(2, 6), (5, 13), (9, 17)]);
        let start = |at| {
            let mut all = all.clone();
            (all.truncate_from_start(at), pairs(&all))
        };
        assert_eq!(start(5), (false, vec![(2, 6), (5, 13), (9, 17)]));
        assert_eq!(start(6), (false, vec![(2, 6), (5, 13), (9, 17)]));
        assert_eq!(start(8), (true, vec![(2, 8), (5, 13), (9, 17)]));
        assert_eq!(start(13), (true, vec![(5, 13), (9, 17)]));
        assert_eq!(start(99), (true, vec![(9, 99)]));
        let end = |at| {
            let mut all = all.clone();
            (all.truncate_from_end(at), pairs(&all))
        };
        assert_eq!(end(18), (false, vec![(2, 6), (5, 13), (9, 17)]));
        assert_eq!(end(17), (true, vec![(2, 6), (5, 13)]));
        assert_eq!(end(0), (true, vec![]));
        assert_eq!(end(-1), (false, vec![(2, 6), (5, 13), (9, 17)]));
    }

    #[test]
    fn text_form() {
        let all = epochs(&[(0, 0), (3, 120)]);
        assert_eq!(all.encode(), "0\n2\n0 0\n3 120\n");
        assert_eq!(LeaderEpochs::decode(&all.encode()), Ok(all));
        assert_eq!(LeaderEpochs::decode(""), Ok(LeaderEpochs::new()));
        assert_eq!(LeaderEpochs::decode("0\n1\n0 0 0\n").unwrap_err().line, 3);
        assert_eq!(LeaderEpochs::decode("0\n1\n0 -1\n").unwrap_err().line, 3);
    }

    proptest! {
        #[test]
        fn always_increasing_and_read_back(assigned in prop::collection::vec((-1..20i32, -1..50i64), 0..30)) {
            let all = epochs(&assigned);
            prop_assert!(pairs(&all).windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
            prop_assert_eq!(LeaderEpochs::decode(&all.encode()), Ok(all));
        }

        #[test]
        fn decode_never_panics(text in "[0-9 \n+-]{0,60}") {
            let _ = LeaderEpochs::decode(&text);
        }
    }
}
