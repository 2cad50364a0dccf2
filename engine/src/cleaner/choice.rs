//! Which part of a log is cleaned next, and how much it needs it: the decision alone, from sizes, times and settings. Pure; what follows from it
//! is [`crate::shard`]'s.
//!
//! The rules are Kafka's (`LogCleanerManager`):
//!
//! ```text
//!   segments     │ cleaned before        │ cleanable                  │ too young │ active │
//!   ─────────────▼───────────────────────▼────────────────────────────▼───────────▼────────▼
//!            log start               first dirty offset     first uncleanable offset
//!
//!   ratio = bytes of what is cleanable / bytes of it and of what was cleaned before
//! ```
//!
//! The first uncleanable offset is where the first segment begins that is appended to, that is not all below the last stable offset, that has a
//! record younger than `min.compaction.lag.ms`, or that a restart may still write to. A log is cleaned when the ratio is above
//! `min.cleanable.dirty.ratio`, or when the first record of a dirty segment is older than `max.compaction.lag.ms`.

/// How a log is cleaned by key: the settings of its topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compaction {
    /// `min.cleanable.dirty.ratio`: the part of the log that must be dirty, from 0 to 1.
    pub min_cleanable_ratio: f64,
    /// `min.compaction.lag.ms`: how long a record stays untouched.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`: how long a record waits for cleaning at most.
    pub max_lag_ms: i64,
    /// `delete.retention.ms`: how long tombstones and markers stay once they are clean.
    pub delete_retention_ms: i64,
}

impl Default for Compaction {
    /// Kafka's defaults.
    fn default() -> Compaction {
        Compaction {
            min_cleanable_ratio: 0.5,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 3_600_000,
        }
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
    /// The largest timestamp of its first batch; `None` while that is not known.
    pub first_ms: Option<i64>,
}

/// A log at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The segments, oldest first; the last is the one appended to.
    pub segments: &'a [Candidate],
    /// Oldest offset served.
    pub log_start_offset: i64,
    /// Next offset to be given out.
    pub end_offset: i64,
    /// First offset that is undecided.
    pub last_stable_offset: i64,
    /// Base offset of the first segment that must stay as it is for another reason than its records: it is not on disk yet, say.
    pub first_busy_offset: i64,
    /// Where the pass before ended, if there was one.
    pub cleaned_to: Option<i64>,
    /// The wall clock.
    pub now_ms: i64,
}

/// What a log needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Need {
    /// Nothing for now.
    Nothing,
    /// To be told the largest timestamps of segments from this one on.
    NewestFrom(i64),
    /// To be told the first timestamps of segments from this one on.
    FirstFrom(i64),
    /// A pass.
    Pass(Plan),
}

/// A pass that is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Below it the log is clean.
    pub first_dirty_offset: i64,
    /// Base offset of the first segment that stays as it is.
    pub first_uncleanable_offset: i64,
    /// Which part of the log up to there is dirty: the dirtiest is cleaned first.
    pub ratio: f64,
}

/// Where the dirty part of a log begins. What a checkpoint says counts only as long as it can be so: else all of the log is dirty.
pub fn first_dirty_offset(situation: &Situation<'_>) -> i64 {
    let possible = situation.log_start_offset..=situation.end_offset;
    match situation.cleaned_to {
        Some(offset) if possible.contains(&offset) => offset,
        _ => situation.log_start_offset,
    }
}

/// Looks at a log.
pub fn look(situation: &Situation<'_>, rules: &Compaction) -> Need {
    let Some((active, sealed)) = situation.segments.split_last() else {
        return Need::Nothing;
    };
    let first_dirty = first_dirty_offset(situation);
    let dirty = &sealed[holding(sealed, first_dirty)..];
    let mut limit = situation
        .last_stable_offset
        .min(active.base_offset)
        .min(situation.first_busy_offset);
    // Of the segments that are behind the limit for another reason it does not matter how young they are.
    for segment in dirty.iter().filter(|s| s.size_bytes > 0) {
        if rules.min_lag_ms <= 0 || segment.base_offset >= limit {
            break;
        }
        match segment.newest_ms {
            None => return Need::NewestFrom(segment.base_offset),
            Some(newest_ms) if newest_ms > situation.now_ms.saturating_sub(rules.min_lag_ms) => {
                limit = segment.base_offset;
            }
            Some(_) => {}
        }
    }
    // The segment that holds the limit is not cleaned, and none behind it.
    let end = match limit >= active.base_offset {
        true => sealed.len(),
        false => holding(sealed, limit),
    };
    let first_uncleanable_offset = situation.segments[end].base_offset;
    let first = holding(&sealed[..end], first_dirty).min(end);
    let bytes = |segments: &[Candidate]| segments.iter().map(|s| s.size_bytes).sum::<u64>();
    let cleanable_bytes = bytes(&sealed[first..end]);
    let clean_bytes = bytes(&sealed[..sealed[..end].partition_point(|s| s.base_offset < first_dirty)]);
    let total_bytes = clean_bytes + cleanable_bytes;
    if cleanable_bytes == 0 || first_uncleanable_offset <= first_dirty {
        return Need::Nothing;
    }
    let plan = Plan {
        first_dirty_offset: first_dirty,
        first_uncleanable_offset,
        ratio: cleanable_bytes as f64 / total_bytes as f64,
    };
    if plan.ratio > rules.min_cleanable_ratio {
        return Need::Pass(plan);
    }
    match is_late(&sealed[first..end], situation.now_ms, rules.max_lag_ms) {
        Late::No => Need::Nothing,
        Late::Yes => Need::Pass(plan),
        Late::Unknown(base_offset) => Need::FirstFrom(base_offset),
    }
}

/// The index of the segment that holds an offset, or of the first one where it lies before all of them.
fn holding(segments: &[Candidate], offset: i64) -> usize {
    segments
        .partition_point(|s| s.base_offset <= offset)
        .saturating_sub(1)
}

enum Late {
    No,
    Yes,
    Unknown(i64),
}

/// Whether a record has waited for longer than it may: as in Kafka the first batch of each segment counts, if it has a timestamp.
fn is_late(dirty: &[Candidate], now_ms: i64, max_lag_ms: i64) -> Late {
    let oldest_ms = now_ms.saturating_sub(max_lag_ms);
    if oldest_ms <= 0 {
        return Late::No;
    }
    for segment in dirty.iter().filter(|s| s.size_bytes > 0) {
        match segment.first_ms {
            None => return Late::Unknown(segment.base_offset),
            Some(first_ms) if first_ms > 0 && first_ms < oldest_ms => return Late::Yes,
            Some(_) => {}
        }
    }
    Late::No
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    /// Segments of a hundred bytes and ten offsets each; the last is active.
    fn segments(count: i64) -> Vec<Candidate> {
        let segment = |i| Candidate {
            base_offset: i * 10,
            size_bytes: 100,
            newest_ms: Some(NOW - 1000 + i * 100),
            first_ms: Some(NOW - 1000 + i * 100),
        };
        (0..count).map(segment).collect()
    }

    fn situation(segments: &[Candidate]) -> Situation<'_> {
        let end_offset = segments.len() as i64 * 10;
        Situation {
            segments,
            log_start_offset: 0,
            end_offset,
            last_stable_offset: end_offset,
            first_busy_offset: i64::MAX,
            cleaned_to: None,
            now_ms: NOW,
        }
    }

    fn rules(min_cleanable_ratio: f64) -> Compaction {
        Compaction {
            min_cleanable_ratio,
            ..Compaction::default()
        }
    }

    /// First dirty and first uncleanable offset of a pass.
    fn pass(need: Need) -> Option<(i64, i64)> {
        match need {
            Need::Pass(plan) => Some((plan.first_dirty_offset, plan.first_uncleanable_offset)),
            _ => None,
        }
    }

    #[test]
    fn everything_before_the_active_segment_is_cleaned_at_first() {
        let five = segments(5);
        assert_eq!(pass(look(&situation(&five), &rules(0.5))), Some((0, 40)));
        assert_eq!(look(&situation(&segments(1)), &rules(0.0)), Need::Nothing);
    }

    #[test]
    fn a_log_is_cleaned_again_once_enough_of_it_is_dirty() {
        let five = segments(5);
        for (cleaned_to, ratio, expected) in [
            // Three of four segments are clean.
            (30, 0.25, None),
            (30, 0.24, Some((30, 40))),
            (20, 0.5, None),
            (20, 0.49, Some((20, 40))),
            // In the middle of a segment: all of it is dirty, and clean too, as Kafka counts.
            (25, 0.39, Some((25, 40))),
            (25, 0.4, None),
            (40, 0.0, None),
            // In the active one.
            (45, 0.0, None),
        ] {
            let situation = Situation {
                cleaned_to: Some(cleaned_to),
                ..situation(&five)
            };
            let found = pass(look(&situation, &rules(ratio)));
            assert_eq!(found, expected, "clean to {cleaned_to}, ratio {ratio}");
        }
    }

    #[test]
    fn nothing_undecided_busy_or_young_is_cleaned() {
        let five = segments(5);
        for (last_stable_offset, first_busy_offset, min_lag_ms, expected) in [
            (50, 99, 0, Some((0, 40))),
            (29, 99, 0, Some((0, 20))),
            (30, 99, 0, Some((0, 30))),
            (9, 99, 0, None),
            (50, 30, 0, Some((0, 30))),
            (50, 0, 0, None),
            // The segments end 1000, 900, 800 and 700 ms ago.
            (50, 99, 850, Some((0, 20))),
            (50, 99, 800, Some((0, 30))),
            (50, 99, 5000, None),
            (19, 99, 850, Some((0, 10))),
        ] {
            let situation = Situation {
                last_stable_offset,
                first_busy_offset,
                ..situation(&five)
            };
            let rules = Compaction {
                min_lag_ms,
                ..rules(0.5)
            };
            let found = pass(look(&situation, &rules));
            assert_eq!(
                found, expected,
                "stable to {last_stable_offset}, busy from {first_busy_offset}, lag {min_lag_ms}"
            );
        }
    }

    #[test]
    fn what_has_waited_too_long_is_cleaned_however_little_it_is() {
        let five = segments(5);
        for (max_lag_ms, cleaned_to, expected) in [
            (700, 30, None),
            (699, 30, Some((30, 40))),
            (800, 20, None),
            (799, 20, Some((20, 40))),
            (1, 40, None),
            (i64::MAX, 20, None),
        ] {
            let situation = Situation {
                cleaned_to: Some(cleaned_to),
                ..situation(&five)
            };
            let rules = Compaction {
                max_lag_ms,
                ..rules(1.0)
            };
            let found = pass(look(&situation, &rules));
            assert_eq!(found, expected, "{max_lag_ms} ms, clean to {cleaned_to}");
        }
        let mut of_1970 = segments(3);
        of_1970[1].first_ms = Some(0);
        let situation = Situation {
            cleaned_to: Some(10),
            ..situation(&of_1970)
        };
        let rules = Compaction {
            max_lag_ms: 1,
            ..rules(1.0)
        };
        assert_eq!(look(&situation, &rules), Need::Nothing, "no timestamp is no age");
    }

    #[test]
    fn what_is_not_known_is_asked_for_only_where_it_matters() {
        let mut five = segments(5);
        five[2].newest_ms = None;
        five[3].first_ms = None;
        let at = |cleaned_to, rules: Compaction| {
            let situation = Situation {
                cleaned_to: Some(cleaned_to),
                ..situation(&five)
            };
            look(&situation, &rules)
        };
        let lag = Compaction {
            min_lag_ms: 1,
            ..rules(0.0)
        };
        assert_eq!(at(10, lag), Need::NewestFrom(20));
        assert_eq!(pass(at(30, lag)), Some((30, 40)));
        assert_eq!(pass(at(10, rules(0.0))), Some((10, 40)));
        let late = Compaction {
            max_lag_ms: 100_000,
            ..rules(1.0)
        };
        assert_eq!(at(10, late), Need::FirstFrom(30));
    }

    #[test]
    fn a_checkpoint_that_cannot_be_means_that_all_is_dirty() {
        let five = segments(5);
        for (log_start_offset, cleaned_to, expected) in [(0, 51, 0), (15, 10, 15), (0, -1, 0), (15, 30, 30)] {
            let situation = Situation {
                log_start_offset,
                cleaned_to: Some(cleaned_to),
                ..situation(&five)
            };
            assert_eq!(first_dirty_offset(&situation), expected);
        }
    }
}
