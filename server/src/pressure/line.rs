//! Connections that wait for their turn, first come first served.

use std::collections::BTreeMap;
use std::time::Instant;

use ringlog_engine::io::ConnId;

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

/// A queue that can be left.
#[derive(Debug, Default)]
pub struct Line {
    waiting: BTreeMap<Place, (ConnId, Instant)>,
    next: u64,
}

impl Line {
    /// Puts a connection at the end. It must not be in the line.
    pub fn join(&mut self, id: ConnId, now: Instant) -> Place {
        let place = Place(self.next);
        self.next += 1;
        self.waiting.insert(place, (id, now));
        place
    }

    /// The connection at this place goes, or has gone.
    pub fn leave(&mut self, place: Place) {
        self.waiting.remove(&place);
    }

    /// Takes out the first.
    pub fn pop(&mut self) -> Option<ConnId> {
        self.waiting.pop_first().map(|(_, (id, _))| id)
    }

    /// Since when the first has been waiting.
    pub fn since(&self) -> Option<Instant> {
        self.waiting.values().next().map(|(_, since)| *since)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_order_and_who_has_left_is_passed_over() {
        let (mut line, now) = (Line::default(), Instant::now());
        let places = [4, 2, 9].map(|id| line.join(ConnId(id), now));
        line.leave(places[1]);
        assert_eq!((line.pop(), line.len()), (Some(ConnId(4)), 1));
        line.leave(places[0]);
        line.join(ConnId(4), now);
        assert_eq!(
            (line.pop(), line.pop(), line.pop()),
            (Some(ConnId(9)), Some(ConnId(4)), None)
        );
        assert!(line.is_empty() && line.since().is_none());
    }
}
