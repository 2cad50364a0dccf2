//! Which core owns which partition, and where a new one goes. Pure.
//!
//! The table is one for all cores: core 0 makes the next one, every core takes it up with the metadata image it belongs to. It is not
//! stored: after a restart any core may own any partition, so the table is made anew.
//!
//! # Where a new partition goes
//!
//! To the core that has the fewest partitions of its topic, so that a topic goes round the cores; among those to the one with the least
//! load; among those to the next one round, from a start that the topic's random id gives. The load of a core is the number of its
//! partitions, and as many again as its share of the recent work is of all partitions: an idle core is filled up until it has as much
//! more as a busy one has work, and not for ever.

use crate::core::mail::PartitionKey;
use crate::metadata::chunked::ChunkedMap;
use crate::wire::Uuid;

/// Work a second below which cores count as equally idle, all of them together, in bytes: what a few clients that try something out
/// leave behind says nothing about what is to come.
const IDLE_BYTES: u64 = 4 << 20;

/// What a partition counts in the comparison of loads, so that shares of the work can be compared with whole partitions.
const UNIT: u128 = 1000;

/// Who owns what. A copy costs a pointer per hundred topics.
#[derive(Clone, Debug)]
pub struct Placement {
    owners: ChunkedMap<Uuid, ChunkedMap<i32, u16>>,
    /// Partitions of each core.
    counts: Vec<usize>,
}

impl Placement {
    /// A table without a partition, for so many cores.
    pub fn new(cores: usize) -> Placement {
        Placement {
            owners: ChunkedMap::default(),
            counts: vec![0; cores],
        }
    }

    /// The core that owns the partition. One that is in no table is asked for at core 0, which says that it has none.
    pub fn owner(&self, key: &PartitionKey) -> usize {
        let owners = self.owners.get(&key.topic_id);
        owners
            .and_then(|owners| owners.get(&key.index))
            .map_or(0, |core| usize::from(*core))
    }

    /// How many partitions each core has.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Places partitions one after the other. `busy`: for each core, bytes of work a second, recently. Those of one topic should follow
    /// each other.
    pub fn place(&mut self, keys: impl Iterator<Item = PartitionKey>, busy: &[u64]) {
        let all_busy = busy.iter().sum::<u64>();
        let there = match all_busy {
            ..IDLE_BYTES => 0,
            _ => self.counts.iter().sum::<usize>() as u128,
        };
        let work = |core: usize| {
            let busy = busy.get(core).copied().unwrap_or(0);
            there * UNIT * u128::from(busy) / u128::from(all_busy.max(1))
        };
        let work: Vec<u128> = (0..self.counts.len()).map(work).collect();
        let mut topic = (Uuid::ZERO, Vec::new());
        for key in keys {
            if topic.0 != key.topic_id || topic.1.is_empty() {
                topic = (key.topic_id, self.counts_of(key.topic_id));
            }
            let start = start_of(key.topic_id);
            let cores = self.counts.len();
            let load = |core: &usize| {
                let round = (core + cores - start % cores) % cores;
                (
                    topic.1[*core],
                    self.counts[*core] as u128 * UNIT + work[*core],
                    round,
                )
            };
            let Some(core) = (0..cores).min_by_key(load) else {
                return;
            };
            topic.1[core] += 1;
            self.put(key, core);
        }
    }

    /// Gives the partition to a core.
    pub fn put(&mut self, key: PartitionKey, core: usize) {
        self.remove(&key);
        if self.owners.get(&key.topic_id).is_none() {
            self.owners.insert(key.topic_id, ChunkedMap::default());
        }
        if let Some(owners) = self.owners.get_mut(&key.topic_id) {
            owners.insert(key.index, core as u16);
            self.counts[core] += 1;
        }
    }

    /// Forgets a partition.
    pub fn remove(&mut self, key: &PartitionKey) {
        let Some(owners) = self.owners.get_mut(&key.topic_id) else {
            return;
        };
        if let Some(core) = owners.remove(&key.index) {
            self.counts[usize::from(core)] -= 1;
        }
        if owners.is_empty() {
            self.owners.remove(&key.topic_id);
        }
    }

    fn counts_of(&self, topic_id: Uuid) -> Vec<usize> {
        let mut counts = vec![0; self.counts.len()];
        let owners = self.owners.get(&topic_id);
        for (_, core) in owners.into_iter().flat_map(ChunkedMap::iter) {
            counts[usize::from(*core)] += 1;
        }
        counts
    }
}

/// Where a topic starts to go round.
fn start_of(topic_id: Uuid) -> usize {
    topic_id.0.iter().fold(0usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(n: u32) -> Uuid {
        let mut id = [7; 16];
        id[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B9).to_be_bytes());
        Uuid(id)
    }

    fn keys(n: u32, partitions: i32) -> impl Iterator<Item = PartitionKey> {
        let topic_id = topic(n);
        (0..partitions).map(move |index| PartitionKey { topic_id, index })
    }

    fn owners(placement: &Placement, n: u32, partitions: i32) -> Vec<usize> {
        keys(n, partitions).map(|key| placement.owner(&key)).collect()
    }

    #[test]
    fn partitions_of_a_topic_go_round_the_cores() {
        for cores in [1, 2, 3, 8] {
            let mut placement = Placement::new(cores);
            placement.place(keys(1, 3 * cores as i32), &[]);
            let owners = owners(&placement, 1, 3 * cores as i32);
            for pair in owners.windows(2) {
                assert_eq!((pair[0] + 1) % cores, pair[1], "{owners:?}");
            }
        }
    }

    #[test]
    fn many_partitions_at_once_spread_evenly_whoever_is_busy() {
        for busy in [[0, 0, 0], [1 << 30, 0, 5 << 20]] {
            let mut placement = Placement::new(3);
            placement.place(keys(1, 1000), &busy);
            let (least, most) = (placement.counts().iter().min(), placement.counts().iter().max());
            assert_eq!((least, most), (Some(&333), Some(&334)), "{busy:?}");
        }
    }

    #[test]
    fn many_small_topics_spread_evenly() {
        let mut placement = Placement::new(4);
        (0..1000).for_each(|n| placement.place(keys(n, 1), &[]));
        assert_eq!(placement.counts(), [250; 4]);
        let starts = (0..1000).filter(|n| owners(&placement, *n, 1) == [0]).count();
        assert_eq!(starts, 250);
    }

    #[test]
    fn a_busy_core_gets_the_next_ones_last() {
        let mut placement = Placement::new(2);
        placement.place(keys(0, 10), &[]);
        // All of the work is at core 0: the other one has room for as many again as there are.
        let busy = [50 << 20, 0];
        let later: Vec<PartitionKey> = (1..=12).flat_map(|n| keys(n, 1)).collect();
        placement.place(later.into_iter(), &busy);
        let at_first: usize = (1..=12).filter(|n| owners(&placement, *n, 1) == [0]).count();
        assert_eq!(at_first, 1, "{:?}", placement.counts());
        // A little work says nothing.
        let mut placement = Placement::new(2);
        placement.place(keys(0, 10), &[]);
        let later: Vec<PartitionKey> = (1..=12).flat_map(|n| keys(n, 1)).collect();
        placement.place(later.into_iter(), &[5000, 0]);
        assert_eq!(placement.counts(), [11, 11]);
    }

    #[test]
    fn what_is_added_goes_where_the_topic_has_least() {
        let mut placement = Placement::new(2);
        placement.place(keys(1, 2), &[]);
        keys(1, 2).for_each(|key| placement.put(key, 0));
        assert_eq!(placement.counts(), [2, 0]);
        placement.place(keys(2, 1), &[]);
        placement.place(keys(1, 4).skip(2), &[]);
        assert_eq!(owners(&placement, 1, 4), [0, 0, 1, 1]);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut placement = Placement::new(2);
        placement.place(keys(1, 3), &[]);
        let before = placement.clone();
        keys(1, 3).for_each(|key| placement.remove(&key));
        placement.remove(&PartitionKey {
            topic_id: topic(9),
            index: 0,
        });
        assert_eq!(placement.counts(), [0, 0]);
        assert!(placement.owners.is_empty());
        assert_eq!(
            before.counts().iter().sum::<usize>(),
            3,
            "a copy keeps what it had"
        );
        assert_eq!(owners(&placement, 1, 3), [0, 0, 0]);
    }
}
