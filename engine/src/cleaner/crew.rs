//! Whose turn it is: the cleaner's threads are shared by all cores, and none takes more orders than are worked on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Cleaners;

/// Who works and who waits.
#[derive(Debug)]
struct Turns {
    /// Threads without an order.
    free: usize,
    /// Cores that have one for them, in the order they came.
    waiting: VecDeque<usize>,
}

/// The cleaner's threads, as the cores share them. An order that waits for a thread would keep its partition from everything else meanwhile: so a
/// core gives one only when a thread is free, and cores that find none have theirs in turn. Its lock is taken when a core looks for something to
/// clean and when a pass is over.
#[derive(Clone)]
pub struct Crew {
    /// The threads.
    pub cleaners: Cleaners,
    turns: Arc<Mutex<Turns>>,
}

impl Crew {
    /// So many threads.
    pub fn new(cleaners: Cleaners, threads: usize) -> Crew {
        let turns = Turns {
            free: threads.max(1),
            waiting: VecDeque::new(),
        };
        Crew {
            cleaners,
            turns: Arc::new(Mutex::new(turns)),
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a thread takes an order of this core now; [`Crew::give_back`] follows when that is done. Else the core waits for its turn, and asks
    /// again until it comes, or it [leaves](Crew::leave).
    pub fn take(&self, core: usize) -> bool {
        let mut turns = self.turns();
        let before = turns.waiting.iter().position(|waits| *waits == core);
        let ahead = before.unwrap_or(turns.waiting.len());
        let may = ahead < turns.free;
        match (may, before) {
            (true, _) => {
                turns.waiting.retain(|waits| *waits != core);
                turns.free -= 1;
            }
            (false, None) => turns.waiting.push_back(core),
            (false, Some(_)) => {}
        }
        may
    }

    /// An order is done.
    pub fn give_back(&self) {
        self.turns().free += 1;
    }

    /// The core has nothing to clean after all.
    pub fn leave(&self, core: usize) {
        self.turns().waiting.retain(|waits| *waits != core);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleaner::CleanerSettings;

    #[test]
    fn cores_have_their_turns_in_the_order_they_came() {
        let (cleaners, _backlog) = Cleaners::by_hand(CleanerSettings::default());
        let crew = Crew::new(cleaners, 1);
        assert!(crew.take(0));
        assert!(!crew.take(1));
        assert!(!crew.take(2));
        assert!(!crew.take(0));
        crew.give_back();
        assert!(!crew.take(0) && !crew.take(2), "core 1 came first");
        crew.leave(1);
        assert!(!crew.take(0));
        assert!(crew.take(2));
        crew.give_back();
        assert!(crew.take(0));
    }
}
