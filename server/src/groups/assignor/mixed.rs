//! `uniform` when members want different topics: as even as their wishes allow.
//!
//! 1. Everybody keeps what it has and still wants.
//! 2. What is left goes, topic by topic, to whoever has least. Topics with many partitions for each member that wants them come first.
//! 3. Topic by topic, partitions move from whoever has most to whoever has least while these differ by more than one, until a round over
//!    all topics moves none.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Partitions, Sharing};
use crate::wire::uuid::Uuid;

/// Wishes that overlap in a chain even out by halves in each round, so this many rounds are enough, and bound the time.
const MAX_ROUNDS: usize = 16;

pub(super) fn assign(sharing: &Sharing<'_>) -> Vec<Partitions> {
    let mut topics = topics(sharing);
    let mut loads = vec![0; sharing.members.len()];
    keep(sharing, &mut topics, &mut loads);
    let mut order: Vec<&mut Topic> = topics.values_mut().collect();
    order.sort_by_key(|topic| {
        (
            Reverse(topic.owners.len() * PRECISION / topic.members.len()),
            topic.members.len(),
        )
    });
    for topic in &mut order {
        topic.hand_out(&mut loads);
    }
    for _ in 0..MAX_ROUNDS {
        let moved = order
            .iter_mut()
            .map(|topic| topic.balance(&mut loads))
            .fold(false, |any, moved| any | moved);
        if !moved {
            break;
        }
    }
    let mut shares = vec![Partitions::new(); sharing.members.len()];
    for (id, topic) in topics {
        for (partition, owner) in (0..).zip(topic.owners) {
            if let Some(owner) = owner {
                shares[owner].entry(id).or_default().insert(partition);
            }
        }
    }
    shares
}

/// Partitions for each member are compared in these parts of one.
const PRECISION: usize = 1 << 20;

/// A topic that somebody wants.
struct Topic {
    /// Who wants it, as indexes; never empty.
    members: Vec<usize>,
    /// The owner of each partition.
    owners: Vec<Option<usize>>,
}

fn topics(sharing: &Sharing<'_>) -> BTreeMap<Uuid, Topic> {
    let mut topics: BTreeMap<Uuid, Topic> = BTreeMap::new();
    for (index, member) in sharing.members.iter().enumerate() {
        for topic in member.topics.iter() {
            let Some(count) = sharing.partition_counts.get(topic) else {
                continue;
            };
            let new = || Topic {
                members: Vec::new(),
                owners: vec![None; usize::try_from(*count).unwrap_or(0)],
            };
            topics.entry(*topic).or_insert_with(new).members.push(index);
        }
    }
    topics
}

fn keep(sharing: &Sharing<'_>, topics: &mut BTreeMap<Uuid, Topic>, loads: &mut [usize]) {
    for (index, member) in sharing.members.iter().enumerate() {
        for (id, partitions) in member.has.iter().filter(|(id, _)| member.topics.contains(id)) {
            let Some(topic) = topics.get_mut(id) else { continue };
            for partition in partitions {
                let slot = usize::try_from(*partition)
                    .ok()
                    .and_then(|partition| topic.owners.get_mut(partition));
                if let Some(slot @ None) = slot {
                    *slot = Some(index);
                    loads[index] += 1;
                }
            }
        }
    }
}

impl Topic {
    /// Gives partitions without an owner to those who have least.
    fn hand_out(&mut self, loads: &mut [usize]) {
        if self.owners.iter().all(Option::is_some) {
            return;
        }
        let mut by_load: BTreeSet<(usize, usize)> = self
            .members
            .iter()
            .map(|member| (loads[*member], *member))
            .collect();
        for slot in self.owners.iter_mut().filter(|slot| slot.is_none()) {
            let Some((load, member)) = by_load.pop_first() else {
                return;
            };
            *slot = Some(member);
            loads[member] = load + 1;
            by_load.insert((load + 1, member));
        }
    }

    /// Moves partitions from those who have most to those who have least. Whether any moved.
    fn balance(&mut self, loads: &mut [usize]) -> bool {
        let mut by_load: BTreeSet<(usize, usize)> = self
            .members
            .iter()
            .map(|member| (loads[*member], *member))
            .collect();
        let uneven = |by_load: &BTreeSet<(usize, usize)>| match (by_load.first(), by_load.last()) {
            (Some((least, _)), Some((most, _))) => most - least > 1,
            _ => false,
        };
        if !uneven(&by_load) {
            return false;
        }
        let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (partition, owner) in self.owners.iter().enumerate() {
            if let Some(owner) = owner {
                owned.entry(*owner).or_default().push(partition);
            }
        }
        // Those who have nothing of this topic cannot give, but can take.
        let mut givers: BTreeSet<(usize, usize)> =
            owned.keys().map(|member| (loads[*member], *member)).collect();
        let mut moved = false;
        while let (Some((least, taker)), Some((most, giver))) =
            (by_load.first().copied(), givers.last().copied())
        {
            if most <= least + 1 {
                break;
            }
            givers.remove(&(most, giver));
            let Some(partition) = owned.get_mut(&giver).and_then(Vec::pop) else {
                continue;
            };
            givers.insert((most - 1, giver));
            for (member, before, after) in [(giver, most, most - 1), (taker, least, least + 1)] {
                loads[member] = after;
                by_load.remove(&(before, member));
                by_load.insert((after, member));
            }
            // A taker that is a giver too gives at its new load.
            if givers.remove(&(least, taker)) {
                givers.insert((least + 1, taker));
            }
            self.owners[partition] = Some(taker);
            moved = true;
        }
        moved
    }
}
