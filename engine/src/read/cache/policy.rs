//! Which chunk goes when memory is wanted. Pure: it knows names, not bytes.
//!
//! ```text
//!   loaded ─▶ newcomers ─── passed by two readers ──▶ shared
//!               │ oldest first                          │ only what is over its share, oldest first
//!               ▼                                       ▼
//!             gone                                    gone
//! ```
//!
//! Logs are read from front to back, so what was read last says little about what is read next: a chunk that its reader has passed is
//! of use only to a reader behind it. So chunks that a reader is coming to are spared; where all of them are, the one that was passed
//! last goes, because its next reader has the longest way to it. One pass over a long log goes through the newcomers alone and
//! leaves what several readers have shared where it is.

use std::collections::VecDeque;
use std::hash::Hash;

/// Chunks looked at from either end of a queue before something goes whether it is wanted or not.
const LOOK: usize = 32;
/// Readers that must have passed a chunk before it counts as shared.
const SHARED_PASSES: u8 = 2;
/// Shared chunks may take three parts of four.
const SHARED_QUARTERS: usize = 3;

/// What the owner of the chunks knows about one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Somebody uses its memory: to let it go would free nothing.
    pub held: bool,
    /// A reader is coming to it.
    pub wanted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Line<K> {
    key: K,
    /// Readers that passed it since it came to its queue.
    passes: u8,
}

/// The order in which chunks go. See the module's text.
#[derive(Debug)]
pub struct Policy<K> {
    newcomers: VecDeque<Line<K>>,
    shared: VecDeque<Line<K>>,
}

impl<K> Default for Policy<K> {
    fn default() -> Policy<K> {
        Policy {
            newcomers: VecDeque::new(),
            shared: VecDeque::new(),
        }
    }
}

impl<K: Copy + Eq + Hash> Policy<K> {
    /// A chunk was loaded.
    pub fn insert(&mut self, key: K) {
        self.newcomers.push_back(Line { key, passes: 0 });
    }

    /// A reader has read the chunk to its end.
    pub fn pass(&mut self, key: K) {
        if let Some(line) = self.shared.iter_mut().find(|l| l.key == key) {
            line.passes = line.passes.saturating_add(1);
            return;
        }
        // A reader is mostly at what came last.
        let Some(at) = self.newcomers.iter().rposition(|l| l.key == key) else {
            return;
        };
        self.newcomers[at].passes += 1;
        if self.newcomers[at].passes >= SHARED_PASSES {
            self.newcomers.remove(at);
            self.shared.push_back(Line { key, passes: 0 });
        }
    }

    /// The chunks that `is_gone` names are no more.
    pub fn forget(&mut self, mut is_gone: impl FnMut(&K) -> bool) {
        self.newcomers.retain(|l| !is_gone(&l.key));
        self.shared.retain(|l| !is_gone(&l.key));
    }

    /// Takes out a chunk that is of no use as far as one can see: no reader is coming to it, and it was not shared.
    pub fn idle(&mut self, mut look: impl FnMut(&K) -> Look) -> Option<K> {
        let at = unwanted(&self.newcomers, &mut look)?;
        self.newcomers.remove(at).map(|line| line.key)
    }

    /// Takes out the chunk that is to go; `None` when all are held.
    pub fn victim(&mut self, mut look: impl FnMut(&K) -> Look) -> Option<K> {
        let all = self.newcomers.len() + self.shared.len();
        let crowded = self.shared.len() * 4 > all * SHARED_QUARTERS;
        if crowded {
            self.fade(&mut look);
        }
        let (first, second) = match crowded {
            true => (&mut self.shared, &mut self.newcomers),
            false => (&mut self.newcomers, &mut self.shared),
        };
        let take = |queue: &mut VecDeque<Line<K>>, at: Option<usize>| {
            at.and_then(|at| queue.remove(at)).map(|line| line.key)
        };
        for queue in [&mut *first, &mut *second] {
            let at = unwanted(queue, &mut look).or_else(|| passed_last(queue, &mut look));
            if let Some(key) = take(queue, at) {
                return Some(key);
            }
        }
        for queue in [first, second] {
            let at = queue.iter().position(|l| !look(&l.key).held);
            if let Some(key) = take(queue, at) {
                return Some(key);
            }
        }
        None
    }

    /// Shared chunks that were passed since they were looked at last get another round.
    fn fade(&mut self, look: &mut impl FnMut(&K) -> Look) {
        for _ in 0..self.shared.len().min(LOOK) {
            let Some(front) = self.shared.front_mut() else {
                return;
            };
            if front.passes == 0 && !look(&front.key).wanted {
                return;
            }
            front.passes = 0;
            self.shared.rotate_left(1);
        }
    }
}

/// The oldest chunk that nobody is coming to.
fn unwanted<K>(queue: &VecDeque<Line<K>>, look: &mut impl FnMut(&K) -> Look) -> Option<usize> {
    queue
        .iter()
        .take(LOOK)
        .position(|line| look(&line.key) == Look::default())
}

/// The newest chunk that a reader has passed: one that nobody is coming to, if there is one.
fn passed_last<K>(queue: &VecDeque<Line<K>>, look: &mut impl FnMut(&K) -> Look) -> Option<usize> {
    let mut wanted = None;
    for (at, line) in queue.iter().enumerate().rev().take(LOOK) {
        let seen = look(&line.key);
        if seen.held || line.passes == 0 {
            continue;
        }
        if !seen.wanted {
            return Some(at);
        }
        wanted = wanted.or(Some(at));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Look = Look {
        held: false,
        wanted: false,
    };

    fn filled(keys: std::ops::Range<u32>) -> Policy<u32> {
        let mut policy = Policy::default();
        keys.for_each(|key| policy.insert(key));
        policy
    }

    fn keys(policy: &Policy<u32>) -> Vec<u32> {
        let lines = policy.newcomers.iter().chain(&policy.shared);
        lines.map(|l| l.key).collect()
    }

    #[test]
    fn a_pass_over_a_long_log_leaves_what_was_shared() {
        let mut policy = filled(0..10);
        for key in [2, 3, 4] {
            policy.pass(key);
            policy.pass(key);
        }
        for key in 100..10_100 {
            let gone = policy.victim(|_| FREE);
            assert!(gone.is_some_and(|gone| ![2, 3, 4].contains(&gone)), "{gone:?}");
            policy.insert(key);
            policy.pass(key);
        }
        assert!([2, 3, 4].iter().all(|key| keys(&policy).contains(key)));
    }

    #[test]
    fn what_was_shared_once_gives_way_to_what_is_shared_now() {
        let mut policy = filled(0..8);
        (0..8).for_each(|key| (0..2).for_each(|_| policy.pass(key)));
        for key in 100..200 {
            policy.victim(|_| FREE);
            policy.insert(key);
            (0..2).for_each(|_| policy.pass(key));
        }
        assert!(keys(&policy).iter().all(|key| *key >= 100), "{policy:?}");
        assert_eq!(keys(&policy).len(), 8);
    }

    #[test]
    fn what_a_reader_comes_to_is_spared_before_what_is_behind_all() {
        let mut policy = filled(0..10);
        (0..10).for_each(|key| policy.pass(key));
        let look = |key: &u32| Look {
            held: false,
            wanted: *key < 6,
        };
        let gone: Vec<_> = (0..4).filter_map(|_| policy.victim(look)).collect();
        assert_eq!(gone, [6, 7, 8, 9]);
        assert_eq!(policy.victim(look), Some(5), "then the farthest from its reader");
    }

    #[test]
    fn what_was_read_ahead_goes_after_what_was_passed() {
        let mut policy = filled(0..6);
        (0..3).for_each(|key| policy.pass(key));
        let look = |_: &u32| Look {
            held: false,
            wanted: true,
        };
        let gone: Vec<_> = (0..6).filter_map(|_| policy.victim(look)).collect();
        assert_eq!(gone, [2, 1, 0, 3, 4, 5]);
    }

    #[test]
    fn what_is_held_stays() {
        let mut policy = filled(0..100);
        let look = |key: &u32| Look {
            held: *key != 77,
            wanted: true,
        };
        assert_eq!(policy.victim(look), Some(77));
        assert_eq!(policy.victim(look), None);
        assert_eq!(keys(&policy).len(), 99);
    }

    #[test]
    fn what_is_forgotten_never_goes_again() {
        let mut policy = filled(0..4);
        (0..2).for_each(|_| policy.pass(1));
        policy.forget(|key| *key < 2);
        let gone: Vec<_> = std::iter::from_fn(|| policy.victim(|_| FREE)).collect();
        assert_eq!(gone, [2, 3]);
        policy.pass(1);
        assert_eq!(policy.victim(|_| FREE), None);
    }
}
