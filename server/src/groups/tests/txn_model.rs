//! Commits with and without transactions, their ends, deletions and restarts in any order, against a model that compares the places of records in the
//! log, as Kafka does.

use proptest::prelude::*;

use super::commits::committing;
use super::txn_commits::in_transaction;
use super::*;
use crate::wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::wire::offset_fetch::OffsetFetchRequestTopics;

const GROUPS: [&str; 2] = ["g", "h"];
const PARTITIONS: i32 = 3;
const PRODUCERS: i64 = 3;

/// Group and partition.
type Place = (usize, i32);

#[derive(Clone, Debug)]
enum Act {
    Commit(Place, i64),
    TxnCommit(i64, Place, i64),
    End(i64, bool),
    Delete(Place),
    DeleteGroup(usize),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let place = || (0..GROUPS.len(), 0..PARTITIONS);
    let act = prop_oneof![
        4 => (place(), 0..100i64).prop_map(|(place, offset)| Act::Commit(place, offset)),
        8 => (0..PRODUCERS, place(), 0..100i64).prop_map(|(id, place, offset)| Act::TxnCommit(id, place, offset)),
        5 => (0..PRODUCERS, any::<bool>()).prop_map(|(id, is_commit)| Act::End(id, is_commit)),
        2 => place().prop_map(Act::Delete),
        1 => (0..GROUPS.len()).prop_map(Act::DeleteGroup),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 1..60)
}

/// What counts and what is pending: offsets, with the places of their records in the log.
#[derive(Default)]
struct Model {
    end: u64,
    counting: BTreeMap<Place, (u64, i64)>,
    pending: BTreeMap<(i64, Place), (u64, i64)>,
}

impl Model {
    fn act(&mut self, act: &Act) {
        self.end += 1;
        match *act {
            Act::Commit(place, offset) => {
                self.counting.insert(place, (self.end, offset));
            }
            Act::TxnCommit(id, place, offset) => {
                self.pending.insert((id, place), (self.end, offset));
            }
            Act::End(id, is_commit) => {
                let pending = std::mem::take(&mut self.pending).into_iter();
                let (ended, pending): (Vec<_>, _) = pending.partition(|((of, _), _)| *of == id);
                self.pending = pending.into_iter().collect();
                for ((_, place), record) in ended.into_iter().filter(|_| is_commit) {
                    let counting = self.counting.entry(place).or_insert(record);
                    *counting = (*counting).max(record);
                }
            }
            Act::Delete(place) => self.remove(|removed| *removed == place),
            Act::DeleteGroup(group) => self.remove(|removed| removed.0 == group),
            Act::Restart => {}
        }
    }

    fn remove(&mut self, is_removed: impl Fn(&Place) -> bool) {
        self.counting.retain(|place, _| !is_removed(place));
        self.pending.retain(|(_, place), _| !is_removed(place));
    }

    fn offset(&self, place: Place) -> i64 {
        self.counting.get(&place).map_or(-1, |(_, offset)| *offset)
    }

    fn stable_offset(&self, place: Place) -> (i64, ErrorCode) {
        match self.pending.keys().any(|(_, pending)| *pending == place) {
            true => (-1, ErrorCode::UnstableOffsetCommit),
            false => (self.offset(place), ErrorCode::None),
        }
    }
}

fn act(bench: &mut Bench, act: &Act) {
    let group = |index: usize| GROUPS[index].to_owned();
    match *act {
        Act::Commit((index, partition), offset) => {
            let mut request = committing(&[("t", &[(partition, offset)])]);
            request.group_id = group(index);
            bench.get(9, GroupRequest::Commit(request));
        }
        Act::TxnCommit(id, (index, partition), offset) => {
            let mut request = in_transaction(&[("t", &[(partition, offset)])]);
            (request.group_id, request.producer_id) = (group(index), id);
            bench.get(5, GroupRequest::TxnCommit(request));
        }
        Act::End(id, is_commit) => bench.end_transaction(id, is_commit),
        Act::Delete((index, partition_index)) => {
            let request = OffsetDeleteRequest {
                group_id: group(index),
                topics: vec![OffsetDeleteRequestTopic {
                    name: "t".to_owned(),
                    partitions: vec![OffsetDeleteRequestPartition { partition_index }],
                }],
            };
            bench.get(0, GroupRequest::DeleteOffsets(request));
        }
        Act::DeleteGroup(index) => {
            bench.get(2, GroupRequest::Delete(group(index)));
        }
        Act::Restart => bench.restart(),
    }
}

fn fetch(bench: &mut Bench, (index, partition): Place, require_stable: bool) -> (i64, ErrorCode) {
    let group = OffsetFetchRequestGroup {
        group_id: GROUPS[index].to_owned(),
        topics: Some(vec![OffsetFetchRequestTopics {
            name: "t".to_owned(),
            partition_indexes: vec![partition],
            ..Default::default()
        }]),
        ..Default::default()
    };
    let request = GroupRequest::Fetch {
        group,
        require_stable,
    };
    let GroupResponse::Fetch(answer) = bench.get(9, request) else {
        panic!("not fetched");
    };
    let partition = &answer.topics[0].partitions[0];
    (
        partition.committed_offset,
        ErrorCode::from_code(partition.error_code),
    )
}

proptest! {
    #[test]
    fn whatever_is_committed_in_whatever_order_the_newest_record_counts(acts in acts()) {
        let (mut bench, mut model) = (Bench::new(), Model::default());
        bench.create_topic("t", PARTITIONS, 1);
        for next in &acts {
            act(&mut bench, next);
            model.act(next);
            for place in (0..GROUPS.len()).flat_map(|group| (0..PARTITIONS).map(move |index| (group, index))) {
                let told = fetch(&mut bench, place, false);
                prop_assert_eq!(told, (model.offset(place), ErrorCode::None), "{:?} after {:?}", place, next);
                let told = fetch(&mut bench, place, true);
                prop_assert_eq!(told, model.stable_offset(place), "{:?} after {:?}", place, next);
            }
        }
        // Once everything has ended nothing is kept of transactions.
        (0..PRODUCERS).for_each(|id| bench.end_transaction(id, false));
        prop_assert!(bench.coordinator.offsets.has_no_leftovers());
    }
}
