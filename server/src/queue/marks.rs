//! Where in a partition's offsets its bytes lie: after each batch a mark with the offset and the bytes before it, thinned out when there are many.
//! Between two marks bytes are shared out evenly.

use std::collections::VecDeque;

/// The most marks kept of a partition; then every other one goes.
const MOST_MARKS: usize = 2048;

/// Offsets and how many bytes lie before them, both ascending. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks(VecDeque<(i64, i64)>);

impl Marks {
    /// A log that starts at this offset, with so many bytes counted before it.
    pub fn starting_at(offset: i64, bytes: i64) -> Marks {
        Marks(VecDeque::from([(offset, bytes)]))
    }

    /// Up to this offset there are so many bytes. An offset that is not above the last mark's is passed over.
    pub fn push(&mut self, offset: i64, bytes: i64) {
        if self.last().0 >= offset {
            return;
        }
        if self.0.len() >= MOST_MARKS {
            let last = self.last();
            let mut at = 0;
            self.0.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            if self.last() != last {
                self.0.push_back(last);
            }
        }
        self.0.push_back((offset, bytes));
    }

    /// The last mark.
    pub fn last(&self) -> (i64, i64) {
        self.0.back().copied().unwrap_or_default()
    }

    /// Forgets what nobody asks about any more: marks below this offset, but for the last of them.
    pub fn forget_before(&mut self, offset: i64) {
        while self.0.get(1).is_some_and(|(second, _)| *second <= offset) {
            self.0.pop_front();
        }
    }

    /// The bytes before an offset.
    pub fn bytes_before(&self, offset: i64) -> i64 {
        let after = self.0.partition_point(|(mark, _)| *mark <= offset);
        let (Some(left), right) = (self.0.get(after.wrapping_sub(1)), self.0.get(after)) else {
            return self.0.front().map_or(0, |(_, bytes)| *bytes);
        };
        match right {
            None => left.1,
            Some(right) => left.1 + share(offset - left.0, right.0 - left.0, right.1 - left.1),
        }
    }

    /// The first offset with at least so many bytes before it; the end if there is none.
    pub fn offset_after(&self, bytes: i64) -> i64 {
        let at = self.0.partition_point(|(_, before)| *before < bytes);
        match (self.0.get(at.wrapping_sub(1)), self.0.get(at)) {
            (_, None) => self.last().0,
            (None, Some((offset, _))) => *offset,
            (Some(left), Some(right)) => {
                let (offsets, room) = (right.0 - left.0, right.1 - left.1);
                // Rounded up: with less than that there would be fewer bytes.
                left.0 + offsets - share(right.1 - bytes, room, offsets)
            }
        }
    }
}

/// `part` of `whole`, of an amount, rounded down.
fn share(part: i64, whole: i64, amount: i64) -> i64 {
    match whole {
        ..=0 => 0,
        _ => (i128::from(part) * i128::from(amount) / i128::from(whole)) as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(list: &[(i64, i64)]) -> Marks {
        let mut marks = Marks::starting_at(list[0].0, list[0].1);
        list[1..]
            .iter()
            .for_each(|(offset, bytes)| marks.push(*offset, *bytes));
        marks
    }

    #[test]
    fn bytes_lie_where_the_batches_were() {
        let marks = marks(&[(10, 0), (11, 1000), (111, 1100), (112, 9100)]);
        for (offset, bytes) in [
            (5, 0),
            (10, 0),
            (11, 1000),
            (61, 1050),
            (111, 1100),
            (112, 9100),
            (200, 9100),
        ] {
            assert_eq!(marks.bytes_before(offset), bytes, "before {offset}");
        }
        for (bytes, offset) in [
            (-1, 10),
            (0, 10),
            (1, 11),
            (1000, 11),
            (1001, 12),
            (1050, 61),
            (1100, 111),
            (1101, 112),
            (9100, 112),
            (9101, 112),
        ] {
            assert_eq!(marks.offset_after(bytes), offset, "after {bytes}");
        }
    }

    #[test]
    fn an_offset_always_frees_what_was_asked_for() {
        let marks = marks(&[(0, 0), (7, 100), (8, 101), (1000, 65_000), (1003, 65_001)]);
        for bytes in (0..=65_001).step_by(13) {
            let offset = marks.offset_after(bytes);
            assert!(marks.bytes_before(offset) >= bytes, "{bytes}: {offset}");
            let below = marks.bytes_before(offset - 1);
            assert!(offset == 0 || below < bytes, "{bytes}: no more than needed");
        }
    }

    #[test]
    fn many_marks_are_thinned_out_and_ends_stay() {
        let mut marks = Marks::starting_at(0, 0);
        for offset in 1..=1_000_000 {
            marks.push(offset, offset * 10);
        }
        assert!(marks.0.len() <= MOST_MARKS);
        assert_eq!(marks.last(), (1_000_000, 10_000_000));
        assert_eq!(marks.bytes_before(0), 0);
        assert_eq!(marks.bytes_before(123_456), 1_234_560);
        marks.forget_before(999_999);
        assert!(marks.0.len() < MOST_MARKS && marks.0[0].0 <= 999_999);
        assert_eq!(marks.bytes_before(999_999), 9_999_990);
        marks.forget_before(2_000_000);
        assert_eq!(marks.0.len(), 1);
        assert_eq!(
            (marks.bytes_before(2_000_000), marks.offset_after(1)),
            (10_000_000, 1_000_000)
        );
    }
}
