//! `range`: of each topic, every member that wants it gets a run of neighbouring partitions.
//!
//! Members stand in line by their instance id, those without one behind by their id. So all topics with as many partitions and the same
//! members are cut in the same places, which joins of topics rely on, and a static member that comes back finds what it had.

use std::collections::BTreeMap;

use super::{Candidate, Partitions, Sharing};
use crate::wire::uuid::Uuid;

pub(super) fn assign(sharing: &Sharing<'_>) -> Vec<Partitions> {
    let mut line: Vec<usize> = (0..sharing.members.len()).collect();
    line.sort_by_key(|index| place(&sharing.members[*index]));

    let mut wanted_by: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for index in line {
        for topic in sharing.members[index].topics.iter() {
            wanted_by.entry(*topic).or_default().push(index);
        }
    }
    let mut shares = vec![Partitions::new(); sharing.members.len()];
    for (topic, members) in wanted_by {
        let Some(count) = sharing.partition_counts.get(&topic) else {
            continue;
        };
        let members_count = i32::try_from(members.len()).unwrap_or(i32::MAX);
        let (least, extra) = (count / members_count, count % members_count);
        let mut start = 0;
        for (place, member) in (0..).zip(members) {
            let end = start + least + i32::from(place < extra);
            if start < end {
                shares[member].insert(topic, (start..end).collect());
            }
            start = end;
        }
    }
    shares
}

/// Static members first.
fn place<'a>(member: &Candidate<'a>) -> (bool, &'a str, &'a str) {
    (
        member.instance_id.is_none(),
        member.instance_id.unwrap_or_default(),
        member.id,
    )
}
