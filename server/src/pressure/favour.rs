//! Unfinished requests that go on while memory is short: the oldest ones, as many as what they still miss has room for. Without them nothing
//! that is half here would ever be whole; and one that does not come on is closed, or its bytes would be held for ever.

use std::time::{Duration, Instant};

use ringlog_engine::io::ConnId;

/// How long an unfinished request that may go on is watched before it is judged.
pub const FAVOUR_FOR: Duration = Duration::from_secs(10);

/// What it must have brought in that time, unless less than that was missing: 16 KiB a second.
pub const LEAST_PROGRESS_BYTES: usize = 160 << 10;

/// The most that go on at a time.
pub const MOST_FAVOURED: usize = 128;

/// A connection with an unfinished request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// When its first byte came.
    pub since: Instant,
    /// The connection's socket.
    pub id: ConnId,
    /// Tells the connection from others with the same socket id.
    pub serial: u64,
    /// Bytes that are here.
    pub here_bytes: usize,
    /// Bytes that are not.
    pub missing_bytes: usize,
    /// Whether the connection would take them: not while its own earlier requests are in the way.
    pub can_go_on: bool,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    serial: u64,
    frame: Instant,
    /// When the watch began, and what was here then.
    began: Instant,
    bytes: usize,
}

/// The requests that go on.
#[derive(Debug, Default)]
pub struct Favoured {
    watched: Vec<Watched>,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// These are to be read from.
    pub go_on: Vec<ConnId>,
    /// These have had their time.
    pub give_up: Vec<ConnId>,
}

impl Favoured {
    /// Nothing is short any more.
    pub fn clear(&mut self) {
        self.watched.clear();
    }

    /// Whether the request of this connection that began then goes on.
    pub fn has(&self, serial: u64, since: Instant) -> bool {
        self.watched
            .iter()
            .any(|watched| (watched.serial, watched.frame) == (serial, since))
    }

    /// Chooses among all unfinished requests of the core.
    pub fn choose(&mut self, mut all: Vec<Unfinished>, reserve_bytes: usize, now: Instant) -> Choice {
        all.sort_unstable_by_key(|one| (one.since, one.serial));
        let (mut choice, mut watched, mut missing) = (Choice::default(), Vec::new(), 0usize);
        for one in all {
            missing = missing.saturating_add(one.missing_bytes);
            let is_first = watched.is_empty() && choice.give_up.is_empty();
            if watched.len() == MOST_FAVOURED || (missing > reserve_bytes && !is_first) {
                break;
            }
            match self.judge(&one, now) {
                Some(watch) => {
                    watched.push(watch);
                    choice.go_on.push(one.id);
                }
                None => choice.give_up.push(one.id),
            }
        }
        self.watched = watched;
        choice
    }

    /// Its watch from now on; nothing when it has not come on in its time.
    fn judge(&self, one: &Unfinished, now: Instant) -> Option<Watched> {
        let anew = Watched {
            serial: one.serial,
            frame: one.since,
            began: now,
            bytes: one.here_bytes,
        };
        let known = self
            .watched
            .iter()
            .find(|watched| (watched.serial, watched.frame) == (one.serial, one.since));
        match known {
            // Before its turn it may have been silent because nobody listened, and so it may while it cannot go on.
            Some(known) if one.can_go_on => {
                if now.saturating_duration_since(known.began) < FAVOUR_FOR {
                    return Some(*known);
                }
                let brought = one.here_bytes.saturating_sub(known.bytes);
                (brought >= LEAST_PROGRESS_BYTES).then_some(anew)
            }
            _ => Some(anew),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfinished(serial: u64, since: Instant, here_bytes: usize, missing_bytes: usize) -> Unfinished {
        Unfinished {
            since,
            id: ConnId(serial as u32),
            serial,
            here_bytes,
            missing_bytes,
            can_go_on: true,
        }
    }

    fn ids(ids: &[ConnId]) -> Vec<u32> {
        ids.iter().map(|id| id.0).collect()
    }

    #[test]
    fn the_oldest_go_on_as_far_as_there_is_room() {
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let mut favoured = Favoured::default();
        let all = vec![
            unfinished(1, at(3), 5, 100),
            unfinished(2, at(1), 5, 60),
            unfinished(3, at(2), 5, 40),
        ];
        assert_eq!(ids(&favoured.choose(all.clone(), 100, at(4)).go_on), [2, 3]);
        assert!(favoured.has(2, at(1)) && !favoured.has(2, at(2)) && !favoured.has(1, at(3)));
        // One goes on however much it misses.
        assert_eq!(ids(&favoured.choose(all, 10, at(4)).go_on), [2]);
    }

    #[test]
    fn what_does_not_come_on_is_given_up_and_the_next_has_its_turn() {
        let now = Instant::now();
        let mut favoured = Favoured::default();
        let (slow, other) = (unfinished(1, now, 9, 1 << 20), unfinished(2, now, 9, 1 << 20));
        favoured.choose(vec![slow, other], 1 << 20, now);
        // A byte now and then is nothing.
        let trickled = Unfinished {
            here_bytes: 12,
            ..slow
        };
        let early = favoured.choose(vec![trickled, other], 1 << 20, now + FAVOUR_FOR / 2);
        assert_eq!(early.give_up, []);
        let choice = favoured.choose(vec![trickled, other], 1 << 20, now + FAVOUR_FOR);
        assert_eq!((ids(&choice.give_up), choice.go_on.len()), (vec![1], 0));
        // The other was not listened to until now: its time begins.
        let later = now + FAVOUR_FOR * 2;
        assert_eq!(ids(&favoured.choose(vec![other], 1 << 20, later).go_on), [2]);
        let come = Unfinished {
            here_bytes: other.here_bytes + LEAST_PROGRESS_BYTES,
            ..other
        };
        assert_eq!(
            ids(&favoured.choose(vec![come], 1 << 20, later + FAVOUR_FOR).go_on),
            [2]
        );
    }

    #[test]
    fn nobody_is_judged_for_what_it_could_not_send() {
        let now = Instant::now();
        let mut favoured = Favoured::default();
        let one = unfinished(1, now, 9, 10);
        let blocked = Unfinished {
            can_go_on: false,
            ..one
        };
        favoured.choose(vec![one], 100, now);
        favoured.choose(vec![blocked], 100, now + FAVOUR_FOR);
        assert_eq!(
            favoured.choose(vec![one], 100, now + FAVOUR_FOR * 3 / 2).give_up,
            []
        );
        // A new request of the same connection is not judged for the one before.
        let next = unfinished(1, now + FAVOUR_FOR, 9, 10);
        assert_eq!(favoured.choose(vec![next], 100, now + FAVOUR_FOR * 9).give_up, []);
    }
}
