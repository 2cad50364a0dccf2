//! When the requests of one connection began, were answered, and were sent their answers.

use std::collections::VecDeque;
use std::time::Instant;

/// What is known of a request before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Produce.
    Produce,
    /// Fetch.
    Fetch,
    /// Any other, and what is none.
    Other,
}

impl Kind {
    /// By the api key, which is in the first two bytes.
    pub fn of(frame: &[u8]) -> Kind {
        match frame {
            [0, 0, ..] => Kind::Produce,
            [0, 1, ..] => Kind::Fetch,
            _ => Kind::Other,
        }
    }
}

/// A request with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// What it was.
    pub kind: Kind,
    /// When its first byte came.
    pub began: Instant,
    /// When its answer was complete; before that, when it began.
    pub answered: Instant,
}

/// Answers whose last byte the socket has not taken yet. Places are bytes of answers since the connection began.
#[derive(Debug, Default)]
pub struct Departures {
    given: u64,
    due: VecDeque<(u64, Timed)>,
}

impl Departures {
    /// An answer was gathered; with it, `gathered` bytes wait to be given to the socket.
    pub fn add(&mut self, timed: Timed, gathered: usize) {
        if timed.kind != Kind::Other {
            self.due.push_back((self.given + gathered as u64, timed));
        }
    }

    /// The socket is given `bytes` more.
    pub fn give(&mut self, bytes: usize) {
        self.given += bytes as u64;
    }

    /// The socket has taken all it was given: the next answer that is wholly among it.
    pub fn pop_sent(&mut self) -> Option<Timed> {
        let (end, timed) = *self.due.front()?;
        if end > self.given {
            return None;
        }
        self.due.pop_front();
        Some(timed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_the_first_bytes() {
        for (frame, kind) in [
            (&[0u8, 0, 9][..], Kind::Produce),
            (&[0, 1], Kind::Fetch),
            (&[0, 3], Kind::Other),
            (&[1, 0], Kind::Other),
            (&[0], Kind::Other),
            (&[], Kind::Other),
        ] {
            assert_eq!(Kind::of(frame), kind, "{frame:?}");
        }
    }

    #[test]
    fn an_answer_has_left_with_its_last_byte() {
        let now = Instant::now();
        let timed = |kind| Timed {
            kind,
            began: now,
            answered: now,
        };
        let mut departures = Departures::default();
        departures.add(timed(Kind::Produce), 10);
        departures.add(timed(Kind::Other), 15);
        departures.add(timed(Kind::Fetch), 40);
        departures.give(20);
        assert_eq!(departures.pop_sent().map(|t| t.kind), Some(Kind::Produce));
        assert_eq!(departures.pop_sent(), None);
        departures.add(timed(Kind::Produce), 25);
        departures.give(20);
        assert_eq!(departures.pop_sent().map(|t| t.kind), Some(Kind::Fetch));
        assert_eq!(departures.pop_sent(), None);
        departures.give(5);
        assert_eq!(departures.pop_sent().map(|t| t.kind), Some(Kind::Produce));
    }
}
