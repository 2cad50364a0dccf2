//! How far a log was at which time: a mark now and then, so that a time is turned into an offset without asking every record.

use std::collections::VecDeque;

/// Between two marks.
const APART_MS: i64 = 100;

/// A log at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub at_ms: i64,
    /// Offset after the last acknowledged record.
    pub end: i64,
    /// Bytes of all batches up to there.
    pub bytes: u64,
}

/// The marks of a log, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(VecDeque<Mark>);

impl Marks {
    /// Notes how far the log is now.
    pub fn add(&mut self, mark: Mark) {
        if self
            .0
            .back()
            .is_none_or(|last| mark.at_ms - last.at_ms >= APART_MS)
        {
            self.0.push_back(mark);
        }
    }

    /// The last one that is not after `at_ms`.
    pub fn at(&self, at_ms: i64) -> Option<Mark> {
        let behind = self.0.partition_point(|mark| mark.at_ms <= at_ms);
        self.0.get(behind.checked_sub(1)?).copied()
    }

    /// The last one with so many bytes at most.
    pub fn with_bytes(&self, bytes: u64) -> Option<Mark> {
        let behind = self.0.partition_point(|mark| mark.bytes <= bytes);
        self.0.get(behind.checked_sub(1)?).copied()
    }

    /// Drops those below an offset, but the last of them.
    pub fn forget_below(&mut self, offset: i64) {
        while self.0.get(1).is_some_and(|mark| mark.end <= offset) {
            self.0.pop_front();
        }
    }
}
