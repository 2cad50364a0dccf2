//! `uniform` when all members want the same topics: everybody gets as many, give or take one, and keeps what it can.

use super::{Partitions, Sharing};
use crate::wire::uuid::Uuid;

/// Balance comes first: with `p` partitions and `m` members, `p % m` members get `p / m + 1` and the others `p / m`. Those that have more
/// than `p / m` are the first to get one more, so as few partitions as possible move.
pub(super) fn assign(sharing: &Sharing<'_>) -> Vec<Partitions> {
    let Some(first) = sharing.members.first() else {
        return Vec::new();
    };
    let mut free: Partitions = first
        .topics
        .iter()
        .filter_map(|topic| Some((*topic, (0..*sharing.partition_counts.get(topic)?).collect())))
        .collect();
    let total: usize = free.values().map(|partitions| partitions.len()).sum();
    let (least, mut extra) = (total / sharing.members.len(), total % sharing.members.len());

    let mut shares: Vec<Share> = sharing
        .members
        .iter()
        .map(|member| Share::claim(member.has, &mut free))
        .collect();
    for more_than_least in [true, false] {
        for share in shares
            .iter_mut()
            .filter(|share| (share.count > least) == more_than_least)
        {
            share.quota = least + usize::from(extra > 0);
            extra = extra.saturating_sub(1);
        }
    }
    for share in &mut shares {
        share.give_back(&mut free);
    }
    let mut free = free
        .into_iter()
        .flat_map(|(topic, partitions)| partitions.into_iter().map(move |partition| (topic, partition)));
    for share in &mut shares {
        let missing = share.quota - share.count;
        share.take(free.by_ref().take(missing));
    }
    shares.into_iter().map(|share| share.partitions).collect()
}

/// One member's part.
#[derive(Default)]
struct Share {
    partitions: Partitions,
    count: usize,
    quota: usize,
}

impl Share {
    /// What a member has of what is still free.
    fn claim(has: &Partitions, free: &mut Partitions) -> Share {
        let mut share = Share::default();
        for (topic, partitions) in has {
            let Some(free) = free.get_mut(topic) else { continue };
            share.take(
                partitions
                    .iter()
                    .filter(|partition| free.remove(*partition))
                    .map(|partition| (*topic, *partition)),
            );
        }
        share
    }

    fn take(&mut self, partitions: impl Iterator<Item = (Uuid, i32)>) {
        for (topic, partition) in partitions {
            self.partitions.entry(topic).or_default().insert(partition);
            self.count += 1;
        }
    }

    /// Frees what is more than the quota, the last ones first.
    fn give_back(&mut self, free: &mut Partitions) {
        while self.count > self.quota {
            let Some(mut last) = self.partitions.last_entry() else {
                return;
            };
            if let Some(partition) = last.get_mut().pop_last() {
                free.entry(*last.key()).or_default().insert(partition);
                self.count -= 1;
            }
            if last.get().is_empty() {
                last.remove();
            }
        }
    }
}
