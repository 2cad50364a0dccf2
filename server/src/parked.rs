//! What an owner watches for fetches that wait: enough new bytes in one of their partitions.
//!
//! A watch belongs to one round of one fetch and covers those of its partitions that this core owns. It fires once,
//! when the high watermarks have moved far enough, and is gone then; a newer round, or the end of the fetch, removes it.

use std::collections::HashMap;

use ringlog_engine::shard::Slot;

use crate::core::calls::CallId;

/// Who waits: a fetch of a core.
pub type Waiter = (usize, CallId);

#[derive(Debug)]
struct Watch {
    round: u32,
    /// Bytes still to come.
    needed_bytes: u64,
    /// The partitions, as they were when last looked at.
    slots: Vec<Watched>,
}

/// A partition that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Which.
    pub slot: Slot,
    /// Its bytes.
    pub size_bytes: u64,
    /// For a fetch of what is committed the last stable offset. New bytes are nothing to it until that moves.
    pub last_stable: Option<i64>,
}

/// The watches of one core's partitions.
#[derive(Debug, Default)]
pub struct Watches {
    by_waiter: HashMap<Waiter, Watch>,
    by_slot: HashMap<Slot, Vec<Waiter>>,
}

impl Watches {
    /// Starts to watch; the waiter's older watch is forgotten. `slots` come as they are now.
    pub fn add(&mut self, waiter: Waiter, round: u32, needed_bytes: u64, slots: Vec<Watched>) {
        self.remove(waiter);
        for watched in &slots {
            let waiters = self.by_slot.entry(watched.slot).or_default();
            if waiters.last() != Some(&waiter) {
                waiters.push(waiter);
            }
        }
        self.by_waiter.insert(
            waiter,
            Watch {
                round,
                needed_bytes,
                slots,
            },
        );
    }

    /// Stops watching for a waiter.
    pub fn remove(&mut self, waiter: Waiter) {
        let Some(watch) = self.by_waiter.remove(&waiter) else {
            return;
        };
        for watched in watch.slots {
            self.forget(watched.slot, waiter);
        }
    }

    fn forget(&mut self, slot: Slot, waiter: Waiter) {
        let Some(waiters) = self.by_slot.get_mut(&slot) else {
            return;
        };
        waiters.retain(|other| *other != waiter);
        if waiters.is_empty() {
            self.by_slot.remove(&slot);
        }
    }

    /// A partition's high watermark has moved; returns the waiters, with their rounds, that have enough now.
    pub fn moved(&mut self, slot: Slot, size_bytes: u64, last_stable: i64) -> Vec<(Waiter, u32)> {
        // Out of the map meanwhile: so many may watch one partition that each must not look for its place among the others.
        let Some(mut waiters) = self.by_slot.remove(&slot) else {
            return Vec::new();
        };
        let mut fired = Vec::new();
        waiters.retain(|waiter| {
            let Some(watch) = self.by_waiter.get_mut(waiter) else {
                return false;
            };
            let is_enough = watch.grow(slot, size_bytes, last_stable);
            if is_enough {
                fired.push((*waiter, watch.round));
            }
            !is_enough
        });
        fired.iter().for_each(|(waiter, _)| self.remove(*waiter));
        if !waiters.is_empty() {
            self.by_slot.insert(slot, waiters);
        }
        fired
    }

    /// The partition is gone: all who watch it are told to look again.
    pub fn closed(&mut self, slot: Slot) -> Vec<(Waiter, u32)> {
        let waiters = self.by_slot.remove(&slot).unwrap_or_default();
        let fired = waiters
            .into_iter()
            .filter_map(|w| self.by_waiter.get(&w).map(|watch| (w, watch.round)));
        let fired: Vec<_> = fired.collect();
        fired.iter().for_each(|(waiter, _)| self.remove(*waiter));
        fired
    }
}

impl Watch {
    /// Counts what a partition has grown by; whether it is enough.
    fn grow(&mut self, slot: Slot, size_bytes: u64, last_stable: i64) -> bool {
        let mut is_visible = true;
        if let Some(watched) = self.slots.iter_mut().find(|watched| watched.slot == slot) {
            let grown = size_bytes.saturating_sub(watched.size_bytes);
            watched.size_bytes = size_bytes;
            self.needed_bytes = self.needed_bytes.saturating_sub(grown);
            if let Some(known) = &mut watched.last_stable {
                is_visible = last_stable > *known;
                *known = last_stable;
            }
        }
        // One byte is always there when a high watermark moves, wherever the size was taken.
        is_visible && self.needed_bytes <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calls::Calls;

    fn waiters<const N: usize>() -> [Waiter; N] {
        let mut calls = Calls::default();
        std::array::from_fn(|core| (core, calls.reserve_for_test()))
    }

    fn at(slot: u32, size_bytes: u64) -> Watched {
        Watched {
            slot: Slot(slot),
            size_bytes,
            last_stable: None,
        }
    }

    #[test]
    fn what_is_not_stable_yet_wakes_nobody_who_reads_what_is_committed() {
        let [a] = waiters();
        let mut watches = Watches::default();
        let watched = Watched {
            last_stable: Some(7),
            ..at(0, 100)
        };
        watches.add(a, 1, 50, vec![watched]);
        assert_eq!(
            watches.moved(Slot(0), 160, 7),
            [],
            "enough, and of an open transaction"
        );
        assert_eq!(watches.moved(Slot(0), 161, 9), [(a, 1)]);
    }

    #[test]
    fn a_watch_fires_once_when_enough_has_come() {
        let [a, b] = waiters();
        let mut watches = Watches::default();
        watches.add(a, 1, 1, vec![at(0, 100), at(1, 0)]);
        watches.add(b, 4, 50, vec![at(0, 100), at(2, 10)]);
        assert_eq!(watches.moved(Slot(0), 120, 0), [(a, 1)]);
        assert_eq!(watches.moved(Slot(1), 10, 0), []);
        assert_eq!(watches.moved(Slot(2), 20, 0), []);
        assert_eq!(watches.moved(Slot(0), 140, 0), [(b, 4)]);
        assert!(watches.by_slot.is_empty() && watches.by_waiter.is_empty());
    }

    #[test]
    fn a_new_round_replaces_the_old_and_the_end_removes_it() {
        let [a] = waiters();
        let mut watches = Watches::default();
        watches.add(a, 1, 1, vec![at(0, 0)]);
        watches.add(a, 2, 1, vec![at(1, 0)]);
        assert_eq!(watches.moved(Slot(0), 9, 0), []);
        assert_eq!(watches.moved(Slot(1), 9, 0), [(a, 2)]);
        watches.add(a, 3, 1, vec![at(1, 0)]);
        watches.remove(a);
        assert_eq!(watches.moved(Slot(1), 9, 0), []);
    }

    #[test]
    fn a_closed_partition_wakes_its_waiters() {
        let [a, b] = waiters();
        let mut watches = Watches::default();
        watches.add(a, 1, 999, vec![at(0, 0), at(1, 0)]);
        watches.add(b, 1, 999, vec![at(1, 0)]);
        assert_eq!(watches.closed(Slot(0)), [(a, 1)]);
        assert_eq!(watches.closed(Slot(1)), [(b, 1)]);
        assert!(watches.by_slot.is_empty());
    }
}
