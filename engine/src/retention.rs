//! Which segments of a log have outlived their time or their room: the decision alone, from sizes, times and settings. Pure; what follows from it is
//! [`crate::shard`]'s.
//!
//! The rules are Kafka's. Whole segments go, the oldest first, and only what lies below the high watermark:
//!
//! ```text
//!   by size    while what is left is no smaller than retention.bytes without the oldest segment
//!   by time    then, while the newest record of the oldest segment is older than retention.ms
//! ```
//!
//! A segment is as old as the largest timestamp in it, so one record of the future keeps its segment and all behind it, and records of 1970 go at the
//! next look. The segment that is appended to goes too where all of it is to go, and another one takes its place at the log's end; an
//! empty one stays. A clock that jumps back keeps what it would have dropped.

/// How much of a log is kept. -1 sets no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Age of a segment's newest record beyond which it goes, in milliseconds.
    pub ms: i64,
    /// Bytes of batches that are left at least.
    pub bytes: i64,
}

impl Limits {
    /// Everything is kept.
    pub const NONE: Limits = Limits { ms: -1, bytes: -1 };

    /// Whether there is any limit.
    pub fn is_any(&self) -> bool {
        self.ms >= 0 || self.bytes >= 0
    }
}

/// What is to be known of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Offset of the first record it may hold.
    pub base_offset: i64,
    /// Bytes of batches.
    pub size_bytes: u64,
    /// The largest timestamp in it, or when it was written last if no record has one; `None` while that is not known.
    pub newest_ms: Option<i64>,
}

/// What stopped the search for segments that go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The next one stays.
    Stays,
    /// The next one stays, as its newest record is of the future: its base offset.
    Future(i64),
    /// It is not known how old the next one is.
    Unknown,
    /// So many go at once, and perhaps more are to.
    Most,
}

/// What [`decide`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How many segments go for the log's size, from the oldest on.
    pub by_size: usize,
    /// How many of those behind go for their age.
    pub by_time: usize,
    /// Why no more do.
    pub stop: Stop,
}

impl Decision {
    /// How many go.
    pub fn count(&self) -> usize {
        self.by_size + self.by_time
    }
}

/// A log at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The segments, oldest first; the last is the one appended to.
    pub segments: &'a [Candidate],
    /// Next offset to be given out.
    pub end_offset: i64,
    /// End of what is on stable storage.
    pub high_watermark: i64,
    /// The wall clock.
    pub now_ms: i64,
}

impl Situation<'_> {
    /// The offset at which a segment ends: what the log starts at once it is gone.
    pub fn end_of(&self, segment: usize) -> i64 {
        let next = self.segments.get(segment + 1);
        next.map_or(self.end_offset, |next| next.base_offset)
    }

    /// Whether a segment may go at all.
    fn may_go(&self, segment: usize) -> bool {
        let is_last = segment + 1 == self.segments.len();
        let is_empty = self.segments[segment].size_bytes == 0;
        self.end_of(segment) <= self.high_watermark && !(is_last && is_empty)
    }
}

/// Which segments go, at most so many.
pub fn decide(situation: &Situation<'_>, limits: Limits, most: usize) -> Decision {
    let by_size = past_size(situation, limits.bytes, most);
    let (by_time, stop) = past_time(situation, limits.ms, by_size, most);
    Decision {
        by_size,
        by_time,
        stop,
    }
}

fn past_size(situation: &Situation<'_>, limit_bytes: i64, most: usize) -> usize {
    let Ok(limit_bytes) = u64::try_from(limit_bytes) else {
        return 0;
    };
    let all: u64 = situation.segments.iter().map(|s| s.size_bytes).sum();
    let Some(mut above) = all.checked_sub(limit_bytes) else {
        return 0;
    };
    let mut count = 0;
    while count < most && count < situation.segments.len() && situation.may_go(count) {
        match above.checked_sub(situation.segments[count].size_bytes) {
            Some(left) => above = left,
            None => break,
        }
        count += 1;
    }
    count
}

/// The first `gone` are gone for another reason.
fn past_time(situation: &Situation<'_>, limit_ms: i64, gone: usize, most: usize) -> (usize, Stop) {
    let mut next = gone;
    let stop = loop {
        if next >= most {
            break Stop::Most;
        }
        if limit_ms < 0 || next >= situation.segments.len() || !situation.may_go(next) {
            break Stop::Stays;
        }
        let segment = situation.segments[next];
        match segment.newest_ms {
            None => break Stop::Unknown,
            Some(newest_ms) if newest_ms > situation.now_ms => break Stop::Future(segment.base_offset),
            Some(newest_ms) if situation.now_ms.saturating_sub(newest_ms) <= limit_ms => break Stop::Stays,
            Some(_) => next += 1,
        }
    };
    (next - gone, stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;
    const DAY_2999: i64 = 32_472_144_000_000;

    /// Sizes and ages; each segment has ten offsets, the last one as many as it has bytes.
    struct Log<'a>(&'a [(u64, Option<i64>)]);

    impl Log<'_> {
        fn end(&self) -> i64 {
            let last = self.0.last().map_or(0, |s| s.0.min(10) as i64);
            (self.0.len() as i64 - 1) * 10 + last
        }

        fn decide(&self, high_watermark: i64, limits: Limits, most: usize) -> Decision {
            let candidate = |(i, &(size_bytes, newest_ms)): (usize, &(u64, Option<i64>))| Candidate {
                base_offset: i as i64 * 10,
                size_bytes,
                newest_ms,
            };
            let segments: Vec<_> = self.0.iter().enumerate().map(candidate).collect();
            let situation = Situation {
                segments: &segments,
                end_offset: self.end(),
                high_watermark,
                now_ms: NOW,
            };
            decide(&situation, limits, most)
        }
    }

    const fn ago(ms: i64) -> Option<i64> {
        Some(NOW - ms)
    }

    const FOUR: Log<'static> = Log(&[(100, ago(900)), (100, ago(500)), (100, ago(400)), (50, ago(5))]);

    #[test]
    fn segments_go_by_size_then_by_age_and_no_others() {
        for (ms, bytes, goes) in [
            (-1, -1, (0, 0)),
            (-1, i64::MIN, (0, 0)),
            // What is left is no smaller than the limit.
            (-1, 350, (0, 0)),
            (-1, 351, (0, 0)),
            (-1, 251, (0, 0)),
            (-1, 250, (1, 0)),
            (-1, 249, (1, 0)),
            (-1, 150, (2, 0)),
            (-1, 50, (3, 0)),
            (-1, 1, (3, 0)),
            // The one that is appended to goes with the others.
            (-1, 0, (4, 0)),
            // As old as the limit is not older.
            (900, -1, (0, 0)),
            (899, -1, (0, 1)),
            (450, -1, (0, 2)),
            (5, -1, (0, 3)),
            (4, -1, (0, 4)),
            (0, -1, (0, 4)),
            (i64::MAX, -1, (0, 0)),
            (450, 250, (1, 1)),
            (450, 50, (3, 0)),
        ] {
            let decision = FOUR.decide(FOUR.end(), Limits { ms, bytes }, 99);
            let found = (decision.by_size, decision.by_time);
            assert_eq!(found, goes, "retention.ms={ms} retention.bytes={bytes}");
            assert_eq!(decision.stop, Stop::Stays);
        }
    }

    #[test]
    fn nothing_above_the_high_watermark_goes() {
        let all = Limits { ms: 0, bytes: 0 };
        for (high_watermark, count) in [(0, 0), (9, 0), (10, 1), (39, 3), (40, 4)] {
            let decision = FOUR.decide(high_watermark, all, 99);
            assert_eq!(decision.count(), count, "high watermark {high_watermark}");
        }
    }

    #[test]
    fn the_oldest_that_stays_keeps_those_behind_it() {
        let young_first = Log(&[(100, ago(1)), (100, ago(900)), (100, ago(900))]);
        let limits = Limits { ms: 100, bytes: -1 };
        assert_eq!(young_first.decide(30, limits, 99).count(), 0);
        // By size it goes all the same, and then the others are old enough.
        let limits = Limits { ms: 100, bytes: 200 };
        let decision = young_first.decide(30, limits, 99);
        assert_eq!((decision.by_size, decision.by_time), (1, 2));
    }

    #[test]
    fn records_of_1970_go_and_one_of_2999_keeps_its_segment_and_all_behind() {
        let log = Log(&[
            (100, Some(0)),
            (100, Some(1)),
            (100, Some(DAY_2999)),
            (100, Some(0)),
            (0, None),
        ]);
        let limits = Limits {
            ms: 10_000,
            bytes: -1,
        };
        let decision = log.decide(40, limits, 99);
        assert_eq!((decision.by_time, decision.stop), (2, Stop::Future(20)));
        let largest = Log(&[(100, Some(i64::MAX)), (1, Some(0))]);
        assert_eq!(largest.decide(11, limits, 99).stop, Stop::Future(0));
        let smallest = Log(&[(100, Some(i64::MIN)), (1, Some(0))]);
        assert_eq!(smallest.decide(11, limits, 99).by_time, 2);
    }

    #[test]
    fn an_empty_segment_goes_with_those_before_it_unless_it_is_the_last() {
        let all = Limits { ms: 0, bytes: 0 };
        let log = Log(&[(0, ago(9)), (100, ago(9)), (0, None)]);
        let decision = log.decide(20, all, 99);
        assert_eq!((decision.count(), decision.stop), (2, Stop::Stays));
        assert_eq!(Log(&[(0, None)]).decide(0, all, 99).count(), 0);
    }

    #[test]
    fn what_is_not_known_is_asked_for_only_where_it_matters() {
        let log = Log(&[(100, None), (100, None), (100, ago(9)), (0, None)]);
        let unknown = |ms, bytes| {
            let decision = log.decide(30, Limits { ms, bytes }, 99);
            (decision.count(), decision.stop)
        };
        assert_eq!(unknown(5, -1), (0, Stop::Unknown));
        assert_eq!(unknown(5, 200), (1, Stop::Unknown));
        assert_eq!(unknown(5, 100), (3, Stop::Stays));
        assert_eq!(unknown(-1, 200), (1, Stop::Stays));
    }

    #[test]
    fn no_more_go_at_once_than_may() {
        for (ms, bytes) in [(0, -1), (-1, 0), (0, 300), (0, 0)] {
            for most in 0..4 {
                let decision = FOUR.decide(40, Limits { ms, bytes }, most);
                assert_eq!(decision.count(), most);
            }
        }
        let decision = FOUR.decide(40, Limits { ms: 0, bytes: -1 }, 3);
        assert_eq!(decision.stop, Stop::Most);
    }
}
