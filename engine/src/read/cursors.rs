//! Where the readers of a partition's old data are. Pure.
//!
//! A reader that goes on where it stopped is known by the offset it asks for. It is spared the lookup in the index, its next bytes are
//! read ahead, and what it is coming to is kept for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::tail::Place;

/// Readers remembered per partition.
const READERS: usize = 16;
/// How long a reader that does not come back counts as on its way.
const ALIVE: Duration = Duration::from_secs(10);

/// A reader, or several at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The offset it will ask for.
    pub offset: i64,
    /// The start of the batch that has it.
    pub place: Place,
    /// Reads in a row that went on where the one before had stopped.
    pub run: u32,
    readers: u32,
    seen: Instant,
}

/// The readers of one partition, the one seen last at the end.
#[derive(Debug, Default)]
pub struct Cursors {
    list: VecDeque<Cursor>,
}

impl Cursors {
    /// The reader that will ask for this offset in this segment.
    pub fn find(&self, offset: i64, segment_base: i64) -> Option<Cursor> {
        let at = |c: &&Cursor| c.offset == offset && c.place.segment_base == segment_base;
        self.list.iter().rev().find(at).copied()
    }

    /// A reader asked for `from` and got everything before `next`, the offset of the batch at `place`. Gives how many of its reads
    /// went on where the one before had stopped.
    pub fn advance(&mut self, from: i64, next: i64, place: Place, now: Instant) -> u32 {
        let run = self.take(from).map_or(0, |c| c.run.saturating_add(1));
        let there = self
            .list
            .iter()
            .position(|c| c.offset == next && c.place == place);
        let readers = there.and_then(|i| self.list.remove(i)).map_or(0, |c| c.readers);
        self.list.push_back(Cursor {
            offset: next,
            place,
            run,
            readers: readers + 1,
            seen: now,
        });
        if self.list.len() > READERS {
            self.list.pop_front();
        }
        run
    }

    /// The segments that `is_gone` names are no more, or are others.
    pub fn forget(&mut self, is_gone: impl Fn(i64) -> bool) {
        self.list.retain(|cursor| !is_gone(cursor.place.segment_base));
    }

    /// One reader leaves the place where it was.
    fn take(&mut self, offset: i64) -> Option<Cursor> {
        let at = self.list.iter().rposition(|c| c.offset == offset)?;
        let cursor = self.list[at];
        self.list[at].readers -= 1;
        if self.list[at].readers == 0 {
            self.list.remove(at);
        }
        Some(cursor)
    }

    /// Whether a reader is on its way to bytes that end at `end`, from at most `reach_bytes` before it.
    pub fn comes_to(&self, end: Place, reach_bytes: u64, now: Instant) -> bool {
        self.list.iter().any(|c| {
            let behind = c.place.segment_base == end.segment_base && c.place.position < end.position;
            behind
                && end.position - c.place.position <= reach_bytes
                && now.saturating_duration_since(c.seen) < ALIVE
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(position: u64) -> Place {
        Place {
            segment_base: 0,
            position,
        }
    }

    #[test]
    fn readers_in_step_keep_a_place_each() {
        let now = Instant::now();
        let mut cursors = Cursors::default();
        for step in 0..5_i64 {
            for _ in 0..2 {
                let found = cursors.find(step * 10, 0);
                assert_eq!(found.is_some(), step > 0, "step {step}");
                let run = cursors.advance(step * 10, step * 10 + 10, place(step as u64 * 100 + 100), now);
                assert_eq!(i64::from(run), step);
            }
        }
        assert_eq!(cursors.list.len(), 1, "{cursors:?}");
    }

    #[test]
    fn a_reader_is_on_its_way_to_what_is_ahead_of_it_for_a_while() {
        let now = Instant::now();
        let mut cursors = Cursors::default();
        cursors.advance(0, 10, place(1000), now);
        let comes = |end, later| cursors.comes_to(place(end), 500, now + later);
        assert!(!comes(1000, Duration::ZERO));
        assert!(comes(1001, Duration::ZERO) && comes(1500, ALIVE / 2));
        assert!(!comes(1501, Duration::ZERO));
        assert!(!comes(1200, ALIVE));
        let elsewhere = Place {
            segment_base: 7,
            position: 1200,
        };
        assert!(!cursors.comes_to(elsewhere, 500, now));
    }

    #[test]
    fn the_oldest_place_is_forgotten_first() {
        let now = Instant::now();
        let mut cursors = Cursors::default();
        for reader in 0..READERS as i64 + 1 {
            cursors.advance(-1, reader, place(reader as u64), now);
        }
        assert_eq!(cursors.find(0, 0), None);
        assert!(cursors.find(1, 0).is_some());
        assert_eq!(cursors.find(1, 5), None, "in another segment");
    }
}
