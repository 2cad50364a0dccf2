//! Unfinished requests while memory is short. The oldest go on, as many as what they still miss has room for: without them nothing that is half
//! here would ever be whole. When they are what is short of memory, and that lasts, the others are heard too, only to find out who is
//! silent: a request that does not come on is closed, or its bytes would be held for ever.
//!
//! ```text
//!   new ──▶ waits ── room for all of it ──▶ going ──▶ whole
//!             │                               └── it does not come on in its time ──▶ closed
//!             └──▶ heard ── it has brought a little ──▶ waits, and is not heard again
//!                    └── it has not, in its time ──▶ closed
//! ```

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ringlog_engine::io::ConnId;

/// How long an unfinished request is listened to before it is judged.
pub const HEARD_FOR: Duration = Duration::from_secs(5);

/// What it must have brought in that time: 6.4 KiB a second.
pub const LEAST_PROGRESS_BYTES: usize = 32 << 10;

/// The most that are heard at a time, beside those that go on.
pub const MOST_HEARD: usize = 128;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits,
    Heard,
    Known,
    Going,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    state: State,
    /// When the watch began, and what was here then.
    began: Instant,
    bytes: usize,
}

impl Watched {
    fn begin(state: State, one: &Unfinished, now: Instant) -> Watched {
        Watched {
            state,
            began: now,
            bytes: one.here_bytes,
        }
    }

    /// The watch goes on, in the same state or the next; nothing when the request has had its time.
    fn judge(self, one: &Unfinished, now: Instant) -> Option<Watched> {
        if !one.can_go_on {
            // It could not send.
            return Some(Watched::begin(self.state, one, now));
        }
        let is_over = now.saturating_duration_since(self.began) >= HEARD_FOR;
        let has_come_on = one.here_bytes.saturating_sub(self.bytes) >= LEAST_PROGRESS_BYTES;
        match (self.state, has_come_on, is_over) {
            (State::Waits | State::Known, ..) | (_, false, false) | (State::Going, true, false) => Some(self),
            (_, false, true) => None,
            (State::Heard, true, _) => Some(Watched::begin(State::Known, one, now)),
            (State::Going, true, true) => Some(Watched::begin(State::Going, one, now)),
        }
    }
}

/// The unfinished requests of a core: each by the serial of its connection and the time of its first byte.
#[derive(Debug, Default)]
pub struct Favoured {
    watched: HashMap<(u64, Instant), Watched>,
}

/// What may be done.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// What those that go on may bring.
    pub bytes: usize,
    /// Whether one goes on whatever it misses: unfinished requests are what memory is full of.
    pub at_least_one: bool,
    /// Whether others are heard: that has lasted.
    pub may_hear: bool,
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Whether the request of this connection that began then, and of which so much is here, is listened to.
    pub fn has(&self, serial: u64, since: Instant, here_bytes: usize) -> bool {
        let watched = self.watched.get(&(serial, since));
        watched.is_some_and(|watched| match watched.state {
            State::Heard => here_bytes < watched.bytes + LEAST_PROGRESS_BYTES,
            State::Waits | State::Known => false,
            State::Going => true,
        })
    }

    /// Chooses among all unfinished requests of the core.
    pub fn choose(&mut self, mut all: Vec<Unfinished>, may: Room, now: Instant) -> Choice {
        all.sort_unstable_by_key(|one| (one.since, one.serial));
        let (mut choice, mut watched) = (Choice::default(), HashMap::with_capacity(all.len()));
        let (mut room, mut heard, mut is_first) = (may.bytes, 0, may.at_least_one);
        for one in &all {
            let key = (one.serial, one.since);
            let known = self.watched.get(&key).copied();
            let Some(mut watch) = known.map_or_else(
                || Some(Watched::begin(State::Waits, one, now)),
                |known| known.judge(one, now),
            ) else {
                choice.give_up.push(one.id);
                continue;
            };
            let has_room = is_first || one.missing_bytes <= room;
            if watch.state != State::Going && has_room {
                watch = Watched::begin(State::Going, one, now);
            }
            if watch.state == State::Waits && may.may_hear && heard < MOST_HEARD {
                watch = Watched::begin(State::Heard, one, now);
            }
            match watch.state {
                State::Waits | State::Known => {}
                State::Going => room = room.saturating_sub(one.missing_bytes),
                State::Heard => heard += 1,
            }
            is_first = false;
            if matches!(watch.state, State::Going | State::Heard) {
                choice.go_on.push(one.id);
            }
            watched.insert(key, watch);
        }
        self.watched = watched;
        choice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfinished(serial: u64, since: Instant, missing_bytes: usize) -> Unfinished {
        Unfinished {
            since,
            id: ConnId(serial as u32),
            serial,
            here_bytes: 9,
            missing_bytes,
            can_go_on: true,
        }
    }

    fn come(one: Unfinished) -> Unfinished {
        Unfinished {
            here_bytes: one.here_bytes + LEAST_PROGRESS_BYTES,
            ..one
        }
    }

    fn room(bytes: usize) -> Room {
        Room {
            bytes,
            at_least_one: true,
            may_hear: true,
        }
    }

    fn ids(ids: &[ConnId]) -> Vec<u32> {
        ids.iter().map(|id| id.0).collect()
    }

    #[test]
    fn the_oldest_goes_on_and_others_as_far_as_there_is_room() {
        let now = Instant::now();
        let at = |s| now + Duration::from_secs(s);
        let mut favoured = Favoured::default();
        let [a, b, c] = [(1, 3, 100), (2, 1, 500), (3, 2, 900)]
            .map(|(serial, since, missing)| unfinished(serial, at(since), missing));
        // The second is heard only: there is no room for it.
        assert_eq!(
            ids(&favoured.choose(vec![a, b, c], room(1000), at(4)).go_on),
            [2, 3, 1]
        );
        // Once it has come on it waits for its turn.
        let choice = favoured.choose(vec![come(a), come(b), come(c)], room(1000), at(5));
        assert_eq!((ids(&choice.go_on), choice.give_up.len()), (vec![2, 1], 0));
        assert!(favoured.has(2, at(1), 9) && !favoured.has(3, at(2), 9) && !favoured.has(2, at(2), 9));
        // The first is whole: the next goes on however much it misses.
        assert_eq!(
            ids(&favoured.choose(vec![come(a), come(c)], room(10), at(6)).go_on),
            [3, 1]
        );
    }

    #[test]
    fn nobody_brings_more_while_requests_that_are_whole_fill_the_memory() {
        let now = Instant::now();
        let mut favoured = Favoured::default();
        let [a, b] = [(1, 100), (2, 50)].map(|(serial, missing)| unfinished(serial, now, missing));
        let choose = |favoured: &mut Favoured, bytes, may_hear, at| {
            let may = Room {
                bytes,
                at_least_one: false,
                may_hear,
            };
            let choice = favoured.choose(vec![a, b], may, at);
            assert!(choice.give_up.is_empty());
            ids(&choice.go_on)
        };
        assert!(choose(&mut favoured, 49, false, now).is_empty());
        // Nor is anybody judged for it.
        assert_eq!(choose(&mut favoured, 50, false, now + HEARD_FOR * 9), [2]);
        assert_eq!(choose(&mut favoured, 49, true, now + HEARD_FOR * 9), [1, 2]);
    }

    #[test]
    fn the_silent_are_found_out_together() {
        let now = Instant::now();
        let mut favoured = Favoured::default();
        let silent: Vec<_> = (0..200).map(|serial| unfinished(serial, now, 1 << 20)).collect();
        let heard = favoured.choose(silent.clone(), room(1 << 20), now).go_on;
        assert_eq!(heard.len(), MOST_HEARD + 1);
        let most = 9 + LEAST_PROGRESS_BYTES;
        assert!(
            favoured.has(1, now, most - 1) && !favoured.has(1, now, most),
            "heard, not read out"
        );
        // A byte now and then is nothing.
        let trickled: Vec<_> = silent
            .iter()
            .map(|one| Unfinished {
                here_bytes: 12,
                ..*one
            })
            .collect();
        assert_eq!(
            favoured
                .choose(trickled.clone(), room(1 << 20), now + HEARD_FOR / 2)
                .give_up,
            []
        );
        let choice = favoured.choose(trickled.clone(), room(1 << 20), now + HEARD_FOR);
        assert_eq!(
            (choice.give_up, choice.go_on.len()),
            (heard, 200 - MOST_HEARD - 1)
        );
        // The time of the others began only then.
        let rest = trickled[MOST_HEARD + 1..].to_vec();
        assert_eq!(
            favoured
                .choose(rest, room(1 << 20), now + HEARD_FOR * 3 / 2)
                .give_up,
            []
        );
    }

    #[test]
    fn who_goes_on_must_come_on() {
        let now = Instant::now();
        let at = |times: u32| now + HEARD_FOR * times;
        let mut favoured = Favoured::default();
        let mut one = unfinished(1, now, 1 << 30);
        favoured.choose(vec![one], room(0), now);
        for times in 1..4 {
            one = come(one);
            assert_eq!(ids(&favoured.choose(vec![one], room(0), at(times)).go_on), [1]);
        }
        assert_eq!(ids(&favoured.choose(vec![one], room(0), at(4)).give_up), [1]);
    }

    #[test]
    fn nobody_is_judged_for_what_it_could_not_send() {
        let now = Instant::now();
        let mut favoured = Favoured::default();
        let one = unfinished(1, now, 10);
        let blocked = Unfinished {
            can_go_on: false,
            ..one
        };
        favoured.choose(vec![one], room(100), now);
        favoured.choose(vec![blocked], room(100), now + HEARD_FOR);
        assert_eq!(
            favoured
                .choose(vec![one], room(100), now + HEARD_FOR * 3 / 2)
                .give_up,
            []
        );
        // A new request of the same connection is not judged for the one before.
        let next = unfinished(1, now + HEARD_FOR, 10);
        assert_eq!(
            favoured
                .choose(vec![next], room(100), now + HEARD_FOR * 9)
                .give_up,
            []
        );
    }
}
