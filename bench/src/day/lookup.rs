//! Answers of ListOffsets by timestamp, and of the question for the largest one.

use super::log::{BLOCK, Log};
use super::read::Asked;
use super::verdict::{Kind, Verdict};

/// A record as ListOffsets tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp_ms: i64,
}

impl Log {
    /// Judges what is said to be the first record at or after a time, `None` if there is said to be none: it must be a record of that time that may
    /// be there, and no record before it that is as late must be there.
    pub fn judge_time(&mut self, timestamp_ms: i64, hit: Option<Hit>, at: Asked, verdict: &mut Verdict) {
        verdict.lookups += 1;
        if let Some(hit) =
            hit.filter(|hit| self.judge_hit(*hit, at, verdict) && hit.timestamp_ms < timestamp_ms)
        {
            let place = &self.place;
            verdict.add(Kind::Misplaced, || {
                format!("{place}: asked for {timestamp_ms}, told of {hit:?}, which is older")
            });
        }
        let before = hit.map_or(i64::MAX, |hit| hit.offset);
        if let Some(first) = self.first_that_must(timestamp_ms, before, at) {
            let place = &self.place;
            verdict.add(Kind::Misplaced, || {
                format!("{place}: asked for {timestamp_ms}, told of {hit:?}, and offset {first} is before it and as late")
            });
        }
    }

    /// Judges what is said to be a record with the largest timestamp: none that must be there has a larger one. Of several with the same, any
    /// is right. While a record is on its way it may be the largest, and not readable yet: Kafka then tells of none, which is counted.
    pub fn judge_largest(&mut self, hit: Option<Hit>, at: Asked, verdict: &mut Verdict) {
        verdict.lookups += 1;
        if hit.is_none() && self.was_on_its_way(at) {
            verdict.untold += 1;
            return;
        }
        if let Some(hit) = hit {
            self.judge_hit(hit, at, verdict);
        }
        let above = hit.map_or(i64::MIN, |hit| hit.timestamp_ms.saturating_add(1));
        if let Some(larger) = self.first_that_must(above, i64::MAX, at) {
            let place = &self.place;
            verdict.add(Kind::Misplaced, || {
                format!("{place}: the largest timestamp is said to be that of {hit:?}, and offset {larger} has a larger one")
            });
        }
    }

    /// Whether the record that is told of may be there; and tells if it has another timestamp.
    fn judge_hit(&self, hit: Hit, at: Asked, verdict: &mut Verdict) -> bool {
        if !self.judge_presence(hit.offset, at, verdict) {
            return false;
        }
        let sent = self
            .entries
            .get(&hit.offset)
            .map(|entry| entry.written.timestamp_ms);
        let is_right = sent == Some(hit.timestamp_ms);
        if !is_right {
            let place = &self.place;
            verdict.add(Kind::Misplaced, || {
                format!("{place}: told of {hit:?}, and it was sent with {sent:?}")
            });
        }
        is_right
    }

    /// The first record at or after a time, below an offset, that must be there.
    fn first_that_must(&self, timestamp_ms: i64, before: i64, at: Asked) -> Option<i64> {
        let late = self
            .blocks
            .range(..=before / BLOCK)
            .filter(|(_, largest)| **largest >= timestamp_ms);
        let entries = late.flat_map(|(block, _)| {
            let to = ((block + 1) * BLOCK).min(before);
            self.entries.range((block * BLOCK).min(to)..to)
        });
        let mut must = entries.filter(|(_, entry)| {
            entry.written.timestamp_ms >= timestamp_ms
                && self.must_be_there(entry, at.asked_ms, at.answered_ms)
        });
        must.next().map(|(offset, _)| *offset)
    }
}
