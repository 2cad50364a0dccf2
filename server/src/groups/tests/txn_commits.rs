//! TxnOffsetCommit, and OffsetFetch of offsets that a transaction may still change: behaviour 31 (KIP-98, KIP-447).

use super::commits::{commit, committing};
use super::*;
use crate::wire::group_records::{OffsetCommitKey, OffsetCommitValue};
use crate::wire::offset_fetch::{OffsetFetchRequestTopics, OffsetFetchResponseGroup};
use crate::wire::txn_offset_commit::*;

/// The newest version.
const TXN_COMMIT: i16 = 5;

/// A commit for group `g` in the transaction of producer 7.
pub fn in_transaction(topics: &[(&str, &[(i32, i64)])]) -> TxnOffsetCommitRequest {
    let topics = topics.iter().map(|(name, offsets)| TxnOffsetCommitRequestTopic {
        name: (*name).to_owned(),
        partitions: offsets.iter().copied().map(of).collect(),
    });
    TxnOffsetCommitRequest {
        transactional_id: "x".to_owned(),
        group_id: "g".to_owned(),
        producer_id: 7,
        producer_epoch: 3,
        topics: topics.collect(),
        ..Default::default()
    }
}

fn of((partition_index, committed_offset): (i32, i64)) -> TxnOffsetCommitRequestPartition {
    TxnOffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_leader_epoch: 4,
        committed_metadata: Some("note".to_owned()),
    }
}

/// Topics, partitions and errors, as they are in the answer.
pub fn txn_commit(bench: &mut Bench, request: TxnOffsetCommitRequest) -> Vec<(String, i32, ErrorCode)> {
    let GroupResponse::TxnCommit(response) = bench.get(TXN_COMMIT, GroupRequest::TxnCommit(request)) else {
        panic!("not committed");
    };
    let mut all = Vec::new();
    for topic in response.topics {
        all.extend(topic.partitions.iter().map(|partition| {
            let error = ErrorCode::from_code(partition.error_code);
            (topic.name.clone(), partition.partition_index, error)
        }));
    }
    all
}

/// The offset of a partition of `t` is committed in the transaction of a producer.
pub fn txn_commit_by(bench: &mut Bench, producer_id: i64, partition: i32, offset: i64) {
    let request = TxnOffsetCommitRequest {
        producer_id,
        ..in_transaction(&[("t", &[(partition, offset)])])
    };
    let answer = txn_commit(bench, request);
    assert_eq!(answer, [("t".to_owned(), partition, ErrorCode::None)]);
}

fn fetch(bench: &mut Bench, partitions: Option<&[i32]>, require_stable: bool) -> OffsetFetchResponseGroup {
    let topics = partitions.map(|partitions| {
        vec![OffsetFetchRequestTopics {
            name: "t".to_owned(),
            partition_indexes: partitions.to_vec(),
            ..Default::default()
        }]
    });
    let group = OffsetFetchRequestGroup {
        group_id: "g".to_owned(),
        topics,
        ..Default::default()
    };
    let request = GroupRequest::Fetch {
        group,
        require_stable,
    };
    match bench.get(9, request) {
        GroupResponse::Fetch(group) => group,
        other => panic!("not fetched: {other:?}"),
    }
}

/// The offset of partition 0 of `t`, pending ones left out.
pub fn offset(bench: &mut Bench) -> i64 {
    fetch(bench, Some(&[0]), false).topics[0].partitions[0].committed_offset
}

/// Offset and error of a partition of `t` for who requires stable offsets.
pub fn stable_offset(bench: &mut Bench, partition: i32) -> (i64, ErrorCode) {
    let answer = fetch(bench, Some(&[partition]), true);
    let partition = &answer.topics[0].partitions[0];
    (
        partition.committed_offset,
        ErrorCode::from_code(partition.error_code),
    )
}

const UNSTABLE: (i64, ErrorCode) = (-1, ErrorCode::UnstableOffsetCommit);

/// Topic `t` with three partitions.
pub fn with_topic() -> Bench {
    let mut bench = Bench::new();
    bench.create_topic("t", 3, 1);
    bench
}

#[test]
fn behaviour_31_offsets_of_a_transaction_are_seen_once_it_is_committed() {
    let mut bench = with_topic();
    let id = bench.create_topic("u", 1, 1);
    let answer = txn_commit(&mut bench, in_transaction(&[("t", &[(0, 5)]), ("u", &[(0, 6)])]));
    let expected = ["t", "u"].map(|topic| (topic.to_owned(), 0, ErrorCode::None));
    assert_eq!(answer, expected);
    assert_eq!(bench.offsets("g"), []);
    bench.end_transaction(7, true);
    let offsets = bench.offsets("g");
    let of = |topic: usize| offsets[topic].partitions[0].committed_offset;
    assert_eq!((offsets.len(), of(0), of(1)), (2, 5, 6));
    let partition = &offsets[0].partitions[0];
    assert_eq!(
        (partition.committed_leader_epoch, partition.metadata.as_deref()),
        (4, Some("note"))
    );
    let Some(GroupRecord::OffsetCommit(key, Some(value))) = bench.log.last() else {
        panic!("no record");
    };
    assert_eq!((key.group.as_str(), key.topic.as_str()), ("g", "u"));
    let expected = OffsetCommitValue {
        offset: 6,
        leader_epoch: 4,
        metadata: "note".to_owned(),
        commit_timestamp: START_MS,
        expire_timestamp: -1,
        topic_id: id,
    };
    assert_eq!(value, &expected);
}

#[test]
fn behaviour_31_offsets_of_an_aborted_transaction_are_forgotten() {
    let mut bench = with_topic();
    commit(&mut bench, 9, committing(&[("t", &[(0, 3)])]));
    txn_commit_by(&mut bench, 7, 0, 5);
    txn_commit_by(&mut bench, 7, 1, 6);
    bench.end_transaction(7, false);
    assert_eq!((offset(&mut bench), bench.offsets("g").len()), (3, 1));
    assert_eq!(stable_offset(&mut bench, 0), (3, ErrorCode::None));
    assert_eq!(stable_offset(&mut bench, 1), (-1, ErrorCode::None));
    bench.end_transaction(7, true);
    assert_eq!(offset(&mut bench), 3, "nothing is left to be committed");
}

#[test]
fn behaviour_31_who_requires_stable_offsets_is_told_of_those_that_may_change() {
    let mut bench = with_topic();
    commit(&mut bench, 9, committing(&[("t", &[(0, 3), (1, 4)])]));
    txn_commit_by(&mut bench, 7, 0, 5);
    txn_commit_by(&mut bench, 7, 2, 6);
    assert_eq!(offset(&mut bench), 3, "the last stable one");
    assert_eq!(stable_offset(&mut bench, 0), UNSTABLE);
    assert_eq!(stable_offset(&mut bench, 1), (4, ErrorCode::None));
    assert_eq!(stable_offset(&mut bench, 2), UNSTABLE);
    let all = fetch(&mut bench, None, true);
    let partitions = all.topics[0].partitions.iter();
    let of_all = partitions.map(|found| {
        (
            found.partition_index,
            found.committed_offset,
            found.committed_leader_epoch,
            found.error_code,
        )
    });
    // One that has no offset yet is not among all.
    assert_eq!(
        of_all.collect::<Vec<_>>(),
        [(0, -1, -1, ErrorCode::UnstableOffsetCommit.code()), (1, 4, 7, 0)]
    );
    let of_all = all.topics[0].partitions[0].metadata.as_deref();
    assert_eq!((all.error_code, of_all), (0, Some("")));
    bench.end_transaction(7, true);
    assert_eq!(stable_offset(&mut bench, 0), (5, ErrorCode::None));
    assert_eq!(stable_offset(&mut bench, 2), (6, ErrorCode::None));
}

#[test]
fn of_a_commit_and_one_of_a_transaction_the_newer_record_counts() {
    let mut bench = with_topic();
    commit(&mut bench, 9, committing(&[("t", &[(0, 3)])]));
    txn_commit_by(&mut bench, 7, 0, 5);
    bench.end_transaction(7, true);
    assert_eq!(offset(&mut bench), 5);
    txn_commit_by(&mut bench, 7, 0, 6);
    commit(&mut bench, 9, committing(&[("t", &[(0, 4)])]));
    assert_eq!((offset(&mut bench), stable_offset(&mut bench, 0)), (4, UNSTABLE));
    bench.end_transaction(7, true);
    assert_eq!(stable_offset(&mut bench, 0), (4, ErrorCode::None));
    txn_commit_by(&mut bench, 7, 0, 8);
    commit(&mut bench, 9, committing(&[("t", &[(0, 4)])]));
    // Written again it is the newest.
    txn_commit_by(&mut bench, 7, 0, 9);
    bench.end_transaction(7, true);
    assert_eq!(offset(&mut bench), 9);
}

#[test]
fn of_two_transactions_the_newer_record_counts_whichever_ends_last() {
    let mut bench = with_topic();
    for (first, second, expected) in [((7, true), (8, true), 6), ((8, true), (7, true), 6)] {
        txn_commit_by(&mut bench, 7, 0, 5);
        txn_commit_by(&mut bench, 8, 0, 6);
        bench.end_transaction(first.0, first.1);
        assert_eq!(stable_offset(&mut bench, 0), UNSTABLE, "one has not ended");
        bench.end_transaction(second.0, second.1);
        assert_eq!(stable_offset(&mut bench, 0), (expected, ErrorCode::None));
    }
    txn_commit_by(&mut bench, 7, 0, 15);
    txn_commit_by(&mut bench, 8, 0, 16);
    bench.end_transaction(8, false);
    bench.end_transaction(7, true);
    assert_eq!(offset(&mut bench), 15, "what was aborted outdates nothing");
}

#[test]
fn a_transaction_ends_for_its_own_producer_alone() {
    let mut bench = with_topic();
    txn_commit_by(&mut bench, 7, 0, 5);
    bench.end_transaction(8, true);
    bench.end_transaction(-1, true);
    assert_eq!(stable_offset(&mut bench, 0), UNSTABLE);
}

#[test]
fn offsets_of_open_transactions_survive_a_restart() {
    let mut bench = with_topic();
    txn_commit_by(&mut bench, 7, 0, 5);
    txn_commit_by(&mut bench, 8, 1, 6);
    txn_commit_by(&mut bench, 9, 2, 7);
    commit(&mut bench, 9, committing(&[("t", &[(2, 4)])]));
    bench.restart();
    let unstable = [0, 1, 2].map(|partition| stable_offset(&mut bench, partition));
    assert_eq!(unstable, [UNSTABLE; 3]);
    bench.end_transaction(7, true);
    bench.end_transaction(8, false);
    bench.end_transaction(9, true);
    bench.restart();
    let stable = [0, 1, 2].map(|partition| stable_offset(&mut bench, partition).0);
    assert_eq!(stable, [5, -1, 4]);
}

#[test]
fn what_a_transaction_commits_must_exist_and_be_short_enough() {
    let mut bench = with_topic();
    let mut request = in_transaction(&[("u", &[(0, 1)]), ("t", &[(0, 2), (3, 3), (1, 4)])]);
    request.topics[1].partitions[2].committed_metadata = Some("x".repeat(4097));
    let answer = txn_commit(&mut bench, request);
    let (unknown, too_large) = (
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::OffsetMetadataTooLarge,
    );
    let expected = [
        ("u", 0, unknown),
        ("t", 3, unknown),
        ("t", 0, ErrorCode::None),
        ("t", 1, too_large),
    ];
    assert_eq!(
        answer,
        expected.map(|(topic, partition, error)| (topic.to_owned(), partition, error))
    );
    assert_eq!(bench.log.len(), 1);
}

#[test]
fn a_transaction_that_commits_nothing_makes_no_group_and_asks_none() {
    let mut bench = with_topic();
    let request = TxnOffsetCommitRequest {
        generation_id: 9,
        ..in_transaction(&[("u", &[(0, 1)])])
    };
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(txn_commit(&mut bench, request), [("u".to_owned(), 0, unknown)]);
    let mut request = in_transaction(&[("t", &[(0, 1)])]);
    request.topics[0].partitions[0].committed_metadata = Some("x".repeat(4097));
    txn_commit(&mut bench, request);
    assert_eq!(txn_commit(&mut bench, in_transaction(&[])), []);
    assert_eq!((bench.state(), bench.log.len()), ("Dead".to_owned(), 0));
}

#[test]
fn a_coordinator_that_is_not_there_refuses_each_partition() {
    let request = GroupRequest::TxnCommit(in_transaction(&[("t", &[(0, 1), (1, 2)]), ("u", &[(3, 4)])]));
    assert_eq!(request.group_id(), Some("g"));
    let errors = |response: &GroupResponse| {
        let GroupResponse::TxnCommit(response) = response else {
            panic!("{response:?}");
        };
        let topics = response.topics.iter();
        let of = |topic: &TxnOffsetCommitResponseTopic| {
            let partitions = topic.partitions.iter();
            let errors = partitions.map(|partition| (partition.partition_index, partition.error_code));
            (topic.name.clone(), errors.collect::<Vec<_>>())
        };
        topics.map(of).collect::<Vec<_>>()
    };
    let refused = request.refuse(ErrorCode::NotCoordinator);
    let expected = |code| {
        vec![
            ("t".to_owned(), vec![(0, code), (1, code)]),
            ("u".to_owned(), vec![(3, code)]),
        ]
    };
    assert_eq!(errors(&refused), expected(16));
    let refused = refused.refused(ErrorCode::InvalidProducerEpoch);
    assert_eq!(errors(&refused), expected(47));
}

#[test]
fn a_step_says_whose_transaction_its_records_belong_to() {
    let mut bench = with_topic();
    let request = GroupRequest::TxnCommit(in_transaction(&[("t", &[(0, 5), (1, 6)])]));
    let mut seen = Vec::new();
    for request in [
        request,
        GroupRequest::TxnCommit(in_transaction(&[])),
        GroupRequest::Commit(committing(&[("t", &[(0, 5)])])),
    ] {
        let caller = Caller {
            to: 0,
            version: TXN_COMMIT,
            client_id: String::new(),
            client_host: String::new(),
        };
        bench.step(|coordinator, ctx| {
            let step = coordinator.handle(ctx, caller, request);
            seen.push((step.records.len(), step.producer));
            Step {
                replies: Vec::new(),
                ..step
            }
        });
    }
    assert_eq!(seen, [(2, Some((7, 3))), (0, None), (1, None)]);
}

#[test]
fn replies_and_records_of_a_transaction_become_one_step() {
    let of = |producer, records| Step::<u32> {
        records,
        producer,
        replies: Vec::new(),
        ..Step::default()
    };
    let mut step = Step::default();
    step.and(of(Some((7, 0)), vec![an_offset()]));
    step.and(Step::default());
    step.and(of(Some((7, 0)), vec![an_offset()]));
    assert_eq!((step.records.len(), step.producer), (2, Some((7, 0))));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "records of a transaction beside others")]
fn records_of_a_transaction_have_no_others_beside_them() {
    let of = |producer| Step::<u32> {
        records: vec![an_offset()],
        producer,
        replies: Vec::new(),
        ..Step::default()
    };
    let mut step = of(Some((7, 0)));
    step.and(of(None));
}

fn an_offset() -> GroupRecord {
    let key = OffsetCommitKey {
        group: "g".to_owned(),
        topic: "t".to_owned(),
        partition: 0,
    };
    GroupRecord::OffsetCommit(key, Some(OffsetCommitValue::default()))
}
