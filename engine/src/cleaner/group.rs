//! Which neighbouring segments become one, so that segments do not shrink for ever.

use std::ops::Range;

use super::order::{CleanLimits, CleanSegment};

/// A segment and the bytes of its index files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sized {
    /// The segment.
    pub segment: CleanSegment,
    /// Bytes of its `.index`.
    pub index_bytes: u64,
    /// Bytes of its `.timeindex`.
    pub time_index_bytes: u64,
}

/// Ranges of `segments`, one behind the other, that become one segment each: as many as `segment.bytes` and `segment.index.bytes` allow, and as offsets
/// counted from the first one's base stay below 2^31. `end_offset` is the next segment's base offset.
pub fn group(segments: &[Sized], limits: &CleanLimits, end_offset: i64) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut from = 0;
    while from < segments.len() {
        let to = from + group_length(&segments[from..], limits, end_offset);
        groups.push(from..to);
        from = to;
    }
    groups
}

/// How many of these, from the first on; at least that one, however large it is.
fn group_length(segments: &[Sized], limits: &CleanLimits, end_offset: i64) -> usize {
    let Some(first) = segments.first() else { return 0 };
    let base_offset = first.segment.base_offset;
    let (mut log, mut index, mut time_index) = (0u64, 0u64, 0u64);
    for (i, next) in segments.iter().enumerate() {
        log = log.saturating_add(next.segment.size_bytes);
        index = index.saturating_add(next.index_bytes);
        time_index = time_index.saturating_add(next.time_index_bytes);
        let behind = segments.get(i + 1).map_or(end_offset, |s| s.segment.base_offset);
        let span = behind.saturating_sub(1).saturating_sub(base_offset);
        let fits = log <= u64::from(limits.segment_bytes)
            && index <= u64::from(limits.index_max_bytes)
            && time_index <= u64::from(limits.index_max_bytes)
            // An empty segment has no offset to count, and would otherwise stay for ever.
            && (next.segment.size_bytes == 0 || span <= i64::from(i32::MAX));
        if i > 0 && !fits {
            return i;
        }
    }
    segments.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: CleanLimits = CleanLimits {
        segment_bytes: 100,
        index_max_bytes: 10,
        index_interval_bytes: 1,
        max_message_bytes: 1,
        delete_retention_ms: 0,
    };

    fn sized(base_offset: i64, size_bytes: u64, index_bytes: u64, time_index_bytes: u64) -> Sized {
        let segment = CleanSegment {
            base_offset,
            size_bytes,
            aborted: 0,
        };
        Sized {
            segment,
            index_bytes,
            time_index_bytes,
        }
    }

    #[test]
    fn segments_are_grouped_up_to_the_size_of_one() {
        let segments: Vec<Sized> = (0..5).map(|i| sized(i, 40, 1, 1)).collect();
        assert_eq!(group(&segments, &LIMITS, 5), [0..2, 2..4, 4..5]);
    }

    #[test]
    fn a_segment_larger_than_the_limit_stays_alone() {
        let segments = [sized(0, 200, 1, 1), sized(1, 1, 1, 1)];
        assert_eq!(group(&segments, &LIMITS, 2), [0..1, 1..2]);
    }

    #[test]
    fn neither_index_outgrows_its_limit() {
        assert_eq!(
            group(&[sized(0, 1, 6, 1), sized(1, 1, 6, 1)], &LIMITS, 2),
            [0..1, 1..2]
        );
        assert_eq!(
            group(&[sized(0, 1, 1, 6), sized(1, 1, 1, 6)], &LIMITS, 2),
            [0..1, 1..2]
        );
    }

    #[test]
    fn offsets_of_a_group_stay_within_31_bits_of_its_base() {
        let most = i64::from(i32::MAX);
        let segments = [sized(0, 1, 1, 1), sized(10, 1, 1, 1)];
        assert_eq!(group(&segments, &LIMITS, most + 1).len(), 1);
        assert_eq!(group(&segments, &LIMITS, most + 2).len(), 2);
        let empty = [sized(0, 1, 1, 1), sized(10, 0, 0, 0)];
        assert_eq!(
            group(&empty, &LIMITS, most + 2).len(),
            1,
            "an empty segment has no offset"
        );
    }

    proptest! {
        #[test]
        fn every_segment_is_in_one_group(sizes in prop::collection::vec((0u64..150, 0u64..15), 0..30)) {
            let segments: Vec<Sized> = sizes.iter().enumerate().map(|(i, (log, index))| sized(i as i64, *log, *index, *index)).collect();
            let groups = group(&segments, &LIMITS, segments.len() as i64);
            let mut next = 0;
            for range in groups {
                prop_assert!(range.start == next && range.end > next);
                let log: u64 = segments[range.clone()].iter().map(|s| s.segment.size_bytes).sum();
                prop_assert!(range.len() == 1 || log <= 100);
                next = range.end;
            }
            prop_assert_eq!(next, segments.len());
        }
    }
}
