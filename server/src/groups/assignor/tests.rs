//! What holds for every assignment, whoever asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const ASSIGNORS: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

fn topic(number: u8) -> Uuid {
    Uuid([number; 16])
}

/// Partition counts by topic, and for each member, by its name, the topics it wants and what it has.
#[derive(Clone, Debug)]
struct Case {
    counts: BTreeMap<Uuid, i32>,
    members: BTreeMap<String, (BTreeSet<Uuid>, Partitions)>,
}

impl Case {
    fn new(counts: &[i32], members: &[(&str, &[u8])]) -> Case {
        let wants = |topics: &[u8]| topics.iter().map(|number| topic(*number)).collect();
        Case {
            counts: (0..)
                .zip(counts)
                .map(|(number, count)| (topic(number), *count))
                .collect(),
            members: members
                .iter()
                .map(|(name, topics)| ((*name).to_owned(), (wants(topics), Partitions::new())))
                .collect(),
        }
    }

    /// Lets an assignor assign, and gives everybody what it shall have. How many partitions went from one member to another.
    fn assign(&mut self, assignor: Assignor) -> usize {
        let shares = self.shares(assignor);
        let mut moved = 0;
        for ((_, has), share) in self.members.values_mut().zip(shares) {
            moved += flat(has).difference(&flat(&share)).count();
            *has = share;
        }
        moved
    }

    fn shares(&self, assignor: Assignor) -> Vec<Partitions> {
        let wishes: BTreeSet<&BTreeSet<Uuid>> = self.members.values().map(|(topics, _)| topics).collect();
        let members = self.members.iter().map(|(id, (topics, has))| Candidate {
            id,
            instance_id: None,
            topics: Arc::new(topics.clone()),
            has,
        });
        assign(
            assignor,
            &Sharing {
                members: members.collect(),
                partition_counts: self.counts.clone(),
                homogeneous: wishes.len() <= 1,
            },
        )
    }

    fn has(&self, member: &str) -> BTreeSet<(Uuid, i32)> {
        flat(&self.members[member].1)
    }

    fn loads(&self) -> Vec<usize> {
        self.members.keys().map(|member| self.has(member).len()).collect()
    }

    fn wanted(&self) -> BTreeSet<(Uuid, i32)> {
        let topics: BTreeSet<&Uuid> = self.members.values().flat_map(|(topics, _)| topics).collect();
        topics
            .into_iter()
            .flat_map(|topic| (0..self.counts[topic]).map(|partition| (*topic, partition)))
            .collect()
    }

    /// Everything that is wanted has one owner, who wants it.
    fn check_complete(&self) {
        let mut owned = BTreeSet::new();
        for (name, (topics, has)) in &self.members {
            for (topic, partition) in flat(has) {
                assert!(topics.contains(&topic), "{name} has {topic}");
                assert!(
                    owned.insert((topic, partition)),
                    "{topic}-{partition} has two owners"
                );
            }
        }
        assert_eq!(owned, self.wanted());
    }
}

fn flat(partitions: &Partitions) -> BTreeSet<(Uuid, i32)> {
    partitions
        .iter()
        .flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
        .collect()
}

#[test]
fn ranges_of_topics_with_as_many_partitions_are_cut_in_the_same_places() {
    let mut case = Case::new(&[5, 5], &[("a", &[0, 1]), ("b", &[0, 1])]);
    case.assign(Assignor::Range);
    let of = |partitions: std::ops::Range<i32>| -> BTreeSet<(Uuid, i32)> {
        partitions
            .flat_map(|partition| [(topic(0), partition), (topic(1), partition)])
            .collect()
    };
    assert_eq!((case.has("a"), case.has("b")), (of(0..3), of(3..5)));
}

#[test]
fn a_range_goes_by_instance_id_and_static_members_come_first() {
    let none = Partitions::new();
    let topics = Arc::new(BTreeSet::from([topic(0)]));
    let candidate = |id, instance_id| Candidate {
        id,
        instance_id,
        topics: topics.clone(),
        has: &none,
    };
    let members = vec![
        candidate("a", None),
        candidate("b", Some("y")),
        candidate("c", Some("x")),
    ];
    let sharing = Sharing {
        members,
        partition_counts: BTreeMap::from([(topic(0), 3)]),
        homogeneous: true,
    };
    let firsts: Vec<i32> = assign(Assignor::Range, &sharing)
        .iter()
        .map(|share| share[&topic(0)].first().copied().unwrap_or(-1))
        .collect();
    assert_eq!(firsts, [2, 1, 0]);
}

#[test]
fn a_range_with_fewer_partitions_than_members_leaves_the_last_ones_without() {
    let mut case = Case::new(&[2], &[("a", &[0]), ("b", &[0]), ("c", &[0])]);
    case.assign(Assignor::Range);
    assert_eq!(case.loads(), [1, 1, 0]);
}

#[test]
fn a_newcomer_gets_its_share_and_nothing_moves_between_the_others() {
    let mut case = Case::new(&[6, 4], &[("a", &[0, 1]), ("c", &[0, 1]), ("d", &[0, 1])]);
    case.assign(Assignor::Uniform);
    let wishes = case.members["a"].0.clone();
    case.members.insert("b".to_owned(), (wishes, Partitions::new()));
    let moved = case.assign(Assignor::Uniform);
    assert_eq!((case.has("b").len(), moved), (2, 2));
    case.check_complete();
}

#[test]
fn what_a_member_leaves_goes_to_those_who_have_least() {
    let mut case = Case::new(&[7], &[("a", &[0]), ("b", &[0]), ("c", &[0])]);
    case.assign(Assignor::Uniform);
    case.members.remove("b");
    assert_eq!(case.assign(Assignor::Uniform), 0);
    assert_eq!(case.loads(), [4, 3]);
}

#[test]
fn those_who_want_little_do_not_keep_others_from_an_even_share() {
    // Only `a` wants topic 1, so the others take topic 0.
    let mut case = Case::new(&[6, 3], &[("a", &[0, 1]), ("b", &[0]), ("c", &[0])]);
    case.assign(Assignor::Uniform);
    assert_eq!(case.loads(), [3, 3, 3]);
    case.check_complete();
}

#[test]
fn a_group_that_became_uneven_is_evened_out_with_few_moves() {
    let mut case = Case::new(&[8, 1], &[("a", &[0, 1])]);
    case.assign(Assignor::Uniform);
    case.members
        .insert("b".to_owned(), (BTreeSet::from([topic(0)]), Partitions::new()));
    assert_eq!(case.assign(Assignor::Uniform), 4);
    assert_eq!(case.loads(), [5, 4]);
}

#[test]
fn topics_that_are_gone_and_partitions_that_two_members_claim_are_no_obstacle() {
    for other_wishes in [&[0u8][..], &[0, 2]] {
        let mut case = Case::new(&[3], &[("a", &[0]), ("b", &[0])]);
        case.counts.insert(topic(2), 1);
        let claim = Partitions::from([
            (topic(0), BTreeSet::from([0, 1, 9, -1])),
            (topic(7), BTreeSet::from([0])),
        ]);
        for (_, has) in case.members.values_mut() {
            has.clone_from(&claim);
        }
        case.members.get_mut("b").expect("there").0 =
            other_wishes.iter().map(|number| topic(*number)).collect();
        case.assign(Assignor::Uniform);
        case.check_complete();
    }
}

#[test]
fn nobody_wants_anything_and_there_is_nobody() {
    for assignor in ASSIGNORS {
        let mut alone = Case::new(&[3], &[("a", &[])]);
        alone.assign(assignor);
        assert_eq!(alone.loads(), [0]);
        assert!(Case::new(&[3], &[]).shares(assignor).is_empty());
    }
}

#[test]
fn a_thousand_members_share_a_thousand_partitions() {
    let names: Vec<String> = (0..1_000).map(|number| format!("{number:04}")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &[0u8, 1][..])).collect();
    let mut case = Case::new(&[900, 100], &members);
    case.members.get_mut("0007").expect("there").0.remove(&topic(1));
    case.assign(Assignor::Uniform);
    assert!(case.loads().iter().all(|load| *load == 1));
}

fn cases(homogeneous: bool) -> impl Strategy<Value = Case> {
    let counts = prop::collection::vec(0i32..12, 1..5);
    let members = prop::collection::btree_map("[a-h]", (any::<u8>(), any::<u64>()), 1..8);
    (counts, members, any::<u8>()).prop_map(move |(counts, members, common)| {
        let mut case = Case::new(&counts, &[]);
        let topics: Vec<Uuid> = case.counts.keys().copied().collect();
        let wants = |mask: u8| {
            topics
                .iter()
                .copied()
                .enumerate()
                .filter(|(bit, _)| mask >> bit & 1 == 1)
                .map(|(_, topic)| topic)
                .collect()
        };
        for (name, (mask, claims)) in members {
            // What a member has may be anything: of topics it does not want, or what others have too.
            let mut has = Partitions::new();
            for (bit, topic) in topics.iter().enumerate() {
                let claimed: BTreeSet<i32> = (0..12)
                    .filter(|partition| claims >> (bit * 12 + *partition as usize) & 1 == 1)
                    .collect();
                if !claimed.is_empty() {
                    has.insert(*topic, claimed);
                }
            }
            let mask = if homogeneous { common } else { mask };
            case.members.insert(name, (wants(mask), has));
        }
        case
    })
}

proptest! {
    #[test]
    fn everything_wanted_has_one_owner_who_wants_it(mut case in prop_oneof![cases(true), cases(false)]) {
        for assignor in ASSIGNORS {
            case.assign(assignor);
            case.check_complete();
        }
    }

    #[test]
    fn an_assignment_that_is_right_stays(mut case in prop_oneof![cases(true), cases(false)]) {
        for assignor in ASSIGNORS {
            case.assign(assignor);
            prop_assert_eq!(case.assign(assignor), 0);
        }
    }

    #[test]
    fn members_that_want_the_same_get_as_many_and_keep_all_they_can(mut case in cases(true)) {
        let had: Vec<BTreeSet<(Uuid, i32)>> = case.members.keys().map(|member| case.has(member)).collect();
        case.assign(Assignor::Uniform);
        let loads = case.loads();
        let (least, most) = (loads.iter().min(), loads.iter().max());
        prop_assert!(most.unwrap_or(&0) - least.unwrap_or(&0) <= 1);
        // Whoever has less than it had gave something up only because it was over its share, or somebody else claimed it too.
        for (member, had) in case.members.keys().zip(&had) {
            let has = case.has(member);
            let lost = had.iter().filter(|partition| case.wanted().contains(partition) && !has.contains(partition)).count();
            let gained = has.difference(had).count();
            let contested = had.iter().filter(|partition| case.members.keys().any(|other| other != member && case.has(other).contains(partition)));
            prop_assert!(lost == 0 || gained == 0 || contested.count() > 0);
        }
    }

    #[test]
    fn nobody_could_give_to_somebody_who_has_two_less(mut case in cases(false)) {
        case.assign(Assignor::Uniform);
        let loads: BTreeMap<String, usize> = case.members.keys().cloned().zip(case.loads()).collect();
        for (giver, (_, has)) in &case.members {
            for (taker, (wants, _)) in &case.members {
                if has.keys().any(|topic| wants.contains(topic)) {
                    prop_assert!(loads[giver] <= loads[taker] + 1, "{giver} {taker} {loads:?}");
                }
            }
        }
    }
}
