//! How large a storm is, and who leaves when.

/// What kind of groups the members make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// JoinGroup, SyncGroup, Heartbeat: the leader assigns.
    #[default]
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848): the broker assigns.
    Consumer,
}

/// A storm.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Members of the large group.
    pub members: u32,
    /// Small groups.
    pub groups: u32,
    /// Members of each of them.
    pub group_members: u32,
    /// Requests a second of all members together.
    pub requests_per_s: f64,
    /// Of a group's members, in per cent, that leave after a rebalance: one at least, and not all.
    pub churn_percent: f64,
    /// What they speak.
    pub protocol: Protocol,
}

/// Who leaves a group of a size: after each generation others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Churn {
    size: u32,
    leavers: u32,
}

impl Plan {
    /// All members of all groups.
    pub fn all_members(&self) -> u64 {
        u64::from(self.members) + u64::from(self.groups) * u64::from(self.group_members)
    }

    /// Its groups: the size of each, the large one first.
    pub fn sizes(&self) -> impl Iterator<Item = u32> {
        let small = std::iter::repeat_n(self.group_members, self.groups as usize);
        std::iter::once(self.members).chain(small)
    }

    /// Who leaves a group of `size` members, of which there are two at least.
    pub fn churn(&self, size: u32) -> Churn {
        let share = (f64::from(size) * self.churn_percent / 100.0).round() as u32;
        let most = size.saturating_sub(1).max(1);
        Churn {
            size: size.max(1),
            leavers: share.clamp(1, most),
        }
    }
}

impl Churn {
    /// Whether member `number` of the group leaves once it is in `generation`. Of every generation somebody does, so that no group comes to rest.
    pub fn leaves(self, number: u32, generation: i32) -> bool {
        let shift = u64::from(generation.unsigned_abs()) * u64::from(self.leavers);
        (u64::from(number) + shift) % u64::from(self.size) < u64::from(self.leavers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(churn_percent: f64) -> Plan {
        Plan {
            members: 1000,
            groups: 3,
            group_members: 2,
            requests_per_s: 1.0,
            churn_percent,
            protocol: Protocol::Classic,
        }
    }

    #[test]
    fn after_each_generation_the_share_leaves_and_never_nobody_or_all() {
        let cases = [
            (1000, 1.0, 10),
            (1000, 0.01, 1),
            (2, 1.0, 1),
            (3, 100.0, 2),
            (4, 50.0, 2),
        ];
        for (size, percent, expected) in cases {
            let churn = plan(percent).churn(size);
            for generation in [1, 2, 77, i32::MAX] {
                let leave = (0..size).filter(|number| churn.leaves(*number, generation));
                assert_eq!(leave.count(), expected, "{size} {percent} {generation}");
            }
        }
    }

    #[test]
    fn everybody_leaves_in_turn() {
        let churn = plan(1.0).churn(1000);
        let left = |number: &u32| (1..=100).any(|generation| churn.leaves(*number, generation));
        assert_eq!((0..1000).filter(left).count(), 1000);
    }

    #[test]
    fn the_large_group_is_the_first() {
        assert_eq!(plan(1.0).sizes().collect::<Vec<_>>(), [1000, 2, 2, 2]);
        assert_eq!(plan(1.0).all_members(), 1006);
    }
}
