//! Offsets of open transactions when groups, offsets and topics are removed.

use super::commits::{commit, committing};
use super::txn_commits::{in_transaction, offset, stable_offset, txn_commit, txn_commit_by, with_topic};
use super::*;
use crate::wire::group_records::{GroupMetadataKey, OffsetCommitKey, OffsetCommitValue};
use crate::wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};

const WEEK_MS: i64 = 7 * 24 * 3_600_000;
const CHECK_MS: i64 = 600_000;
const NONE: (i64, ErrorCode) = (-1, ErrorCode::None);

fn is_tombstone(record: &GroupRecord, topic: &str, partition: i32) -> bool {
    matches!(record, GroupRecord::OffsetCommit(key, None) if key.topic == topic && key.partition == partition)
}

/// Deletes offsets of `t`, and returns what that appended.
fn delete_offsets(bench: &mut Bench, partitions: &[i32]) -> Vec<GroupRecord> {
    let before = bench.log.len();
    let partitions = partitions.iter().map(|index| OffsetDeleteRequestPartition {
        partition_index: *index,
    });
    let request = OffsetDeleteRequest {
        group_id: "g".to_owned(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "t".to_owned(),
            partitions: partitions.collect(),
        }],
    };
    let GroupResponse::DeleteOffsets(response) = bench.get(0, GroupRequest::DeleteOffsets(request)) else {
        panic!("not deleted");
    };
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let errors: Vec<i16> = partitions.map(|partition| partition.error_code).collect();
    assert_eq!((response.error_code, errors.iter().max()), (0, Some(&0)));
    bench.log[before..].to_vec()
}

#[test]
fn an_offset_that_is_deleted_takes_those_of_open_transactions_along() {
    let mut bench = with_topic();
    commit(&mut bench, 9, committing(&[("t", &[(0, 3)])]));
    for (producer_id, partition) in [(7, 0), (7, 1), (8, 1), (8, 2)] {
        txn_commit_by(&mut bench, producer_id, partition, 5);
    }
    let records = delete_offsets(&mut bench, &[0, 1]);
    assert_eq!(records.len(), 2, "one for each partition");
    assert!(is_tombstone(&records[0], "t", 0) && is_tombstone(&records[1], "t", 1));
    assert_eq!(
        [0, 1].map(|partition| stable_offset(&mut bench, partition)),
        [NONE; 2]
    );
    bench.end_transaction(7, true);
    bench.end_transaction(8, true);
    let left = [0, 1, 2].map(|partition| stable_offset(&mut bench, partition).0);
    assert_eq!(left, [-1, -1, 5]);
    assert_eq!(delete_offsets(&mut bench, &[0, 1]), [], "nothing is left of them");
}

#[test]
fn what_is_committed_after_a_deletion_in_the_same_transaction_counts() {
    let mut bench = with_topic();
    commit(&mut bench, 9, committing(&[("t", &[(0, 3)])]));
    txn_commit_by(&mut bench, 7, 0, 5);
    delete_offsets(&mut bench, &[0]);
    txn_commit_by(&mut bench, 7, 0, 4);
    bench.end_transaction(7, true);
    assert_eq!(offset(&mut bench), 4);
}

#[test]
fn a_group_that_is_deleted_takes_offsets_of_open_transactions_along() {
    let mut bench = with_topic();
    commit(&mut bench, 9, committing(&[("t", &[(0, 3)])]));
    for (producer_id, partition) in [(7, 0), (8, 0), (8, 1)] {
        txn_commit_by(&mut bench, producer_id, partition, 5);
    }
    let before = bench.log.len();
    let GroupResponse::Delete(result) = bench.get(2, GroupRequest::Delete("g".to_owned())) else {
        panic!("not deleted");
    };
    assert_eq!(result.error_code, 0);
    let records = &bench.log[before..];
    assert_eq!(records.len(), 3, "one for each partition, and the group's");
    assert!(is_tombstone(&records[0], "t", 0) && is_tombstone(&records[1], "t", 1));
    bench.end_transaction(7, true);
    bench.end_transaction(8, true);
    assert_eq!((bench.offsets("g").len(), bench.state().as_str()), (0, "Dead"));
}

#[test]
fn an_offset_that_a_transaction_may_change_does_not_expire() {
    let mut bench = with_topic();
    commit(&mut bench, 9, committing(&[("t", &[(0, 3), (1, 3)])]));
    txn_commit_by(&mut bench, 7, 0, 5);
    bench.pass_ms(WEEK_MS + CHECK_MS);
    assert_eq!(offset(&mut bench), 3);
    let left = bench.offsets("g");
    assert_eq!(left[0].partitions.len(), 1, "the other one has expired");
    bench.end_transaction(7, false);
    bench.pass_ms(CHECK_MS);
    assert_eq!((bench.offsets("g").len(), bench.state().as_str()), (0, "Dead"));
}

#[test]
fn a_group_stays_while_a_transaction_may_commit_for_it() {
    let mut bench = with_topic();
    txn_commit_by(&mut bench, 7, 0, 5);
    bench.pass_ms(2 * WEEK_MS);
    assert_eq!(bench.state(), "Empty");
    bench.end_transaction(7, true);
    // It ages from its commit on, not from the end of the transaction.
    assert_eq!(offset(&mut bench), 5);
    bench.pass_ms(CHECK_MS);
    assert_eq!((bench.offsets("g").len(), bench.state().as_str()), (0, "Dead"));
}

#[test]
fn a_group_that_only_an_aborted_transaction_made_goes_with_the_next_expiry() {
    let mut bench = with_topic();
    txn_commit_by(&mut bench, 7, 0, 5);
    bench.end_transaction(7, false);
    assert_eq!(bench.state(), "Empty");
    bench.pass_ms(CHECK_MS);
    assert_eq!(bench.state(), "Dead");
}

#[test]
fn offsets_of_open_transactions_go_with_their_topic() {
    let mut bench = Bench::new();
    let t = bench.create_topic("t", 1, 1);
    let u = bench.create_topic("u", 2, 1);
    commit(&mut bench, 9, committing(&[("u", &[(0, 3)])]));
    txn_commit(
        &mut bench,
        in_transaction(&[("t", &[(0, 5)]), ("u", &[(0, 6), (1, 7)])]),
    );
    let before = bench.log.len();
    bench.delete_topic(u);
    let records = &bench.log[before..];
    assert_eq!(records.len(), 2);
    assert!(is_tombstone(&records[0], "u", 0) && is_tombstone(&records[1], "u", 1));
    bench.create_topic("u", 2, 2);
    bench.end_transaction(7, true);
    let left = bench.offsets("g");
    assert_eq!((left.len(), left[0].name.as_str()), (1, "t"));
    bench.delete_topic(t);
    assert_eq!(bench.offsets("g"), []);
}

#[test]
fn offsets_of_open_transactions_do_not_pass_to_the_next_topic_of_that_name() {
    let mut bench = Bench::new();
    let id = bench.create_topic("t", 1, 1);
    txn_commit_by(&mut bench, 7, 0, 5);
    // Nobody was told in between.
    let records = [RemoveTopicRecord { topic_id: id }.into()];
    bench.metadata.apply_all(&records, 0, 0).expect("valid");
    bench.create_topic("t", 1, 2);
    bench.end_transaction(7, true);
    assert_eq!(bench.offsets("g"), []);
}

#[test]
fn nothing_is_kept_of_transactions_that_have_ended() {
    let mut bench = with_topic();
    for is_commit in [false, true] {
        txn_commit_by(&mut bench, 7, 0, 5);
        txn_commit_by(&mut bench, 8, 0, 6);
        bench.end_transaction(7, is_commit);
        assert!(!bench.coordinator.offsets.has_no_leftovers(), "8 has not ended");
        bench.end_transaction(8, is_commit);
        assert!(bench.coordinator.offsets.has_no_leftovers());
    }
    txn_commit_by(&mut bench, 7, 1, 5);
    delete_offsets(&mut bench, &[0, 1]);
    assert!(bench.coordinator.offsets.has_no_leftovers());
}

#[test]
fn what_kafka_wrote_in_a_transaction_goes_with_the_topic_too() {
    let mut bench = Bench::new();
    let id = bench.create_topic("t", 1, 1);
    let key = OffsetCommitKey {
        group: "g".to_owned(),
        topic: "t".to_owned(),
        partition: 0,
    };
    let value = OffsetCommitValue {
        offset: 4,
        ..Default::default()
    };
    let record = GroupRecord::OffsetCommit(key, Some(value));
    bench.found_in_log(record.clone(), Some(7));
    bench.create_topic("u", 1, 1);
    bench.end_transaction(7, true);
    assert_eq!(offset(&mut bench), 4);
    bench.found_in_log(record, Some(7));
    bench.delete_topic(id);
    bench.end_transaction(7, true);
    assert_eq!(bench.offsets("g"), []);
}

#[test]
fn a_group_whose_tombstone_is_older_than_an_open_transaction_is_there_when_it_is_loaded() {
    let mut bench = with_topic();
    txn_commit_by(&mut bench, 7, 0, 5);
    let key = GroupMetadataKey {
        group: "g".to_owned(),
    };
    bench.found_in_log(GroupRecord::GroupMetadata(key, None), None);
    assert_eq!(bench.state(), "Dead");
    bench.load();
    assert_eq!(bench.state(), "Empty");
    bench.end_transaction(7, true);
    assert_eq!(offset(&mut bench), 5);
    // From here on it is in the log again, for the comparison at the end.
    commit(&mut bench, 9, committing(&[("t", &[(1, 3)])]));
}
