//! For whom a transaction may commit offsets: behaviour 31 (KIP-447).

use super::txn_commits::{in_transaction, txn_commit, with_topic};
use super::*;
use crate::wire::txn_offset_commit::TxnOffsetCommitRequest;

/// Who commits: member id, instance id and generation.
pub type Member<'a> = (&'a str, Option<&'a str>, i32);

/// The error of a commit of one partition of `t`.
pub fn txn_commit_error(bench: &mut Bench, (member_id, instance_id, generation_id): Member<'_>) -> ErrorCode {
    let request = TxnOffsetCommitRequest {
        member_id: member_id.to_owned(),
        group_instance_id: instance_id.map(str::to_owned),
        generation_id,
        ..in_transaction(&[("t", &[(0, 5)])])
    };
    txn_commit(bench, request)[0].2
}

#[test]
fn a_group_that_does_not_exist_takes_what_names_no_generation() {
    let mut bench = with_topic();
    assert_eq!(
        txn_commit_error(&mut bench, ("m", None, 0)),
        ErrorCode::IllegalGeneration
    );
    assert_eq!(bench.state(), "Dead");
    assert_eq!(txn_commit_error(&mut bench, ("m", None, -1)), ErrorCode::None);
    assert_eq!(bench.state(), "Empty");
    let request = TxnOffsetCommitRequest {
        group_id: String::new(),
        ..in_transaction(&[("t", &[(0, 5)]), ("u", &[(0, 5)])])
    };
    let answer = txn_commit(&mut bench, request);
    let errors = answer.into_iter().map(|(topic, _, error)| (topic, error));
    assert_eq!(
        errors.collect::<Vec<_>>(),
        [
            ("u".to_owned(), ErrorCode::UnknownTopicOrPartition),
            ("t".to_owned(), ErrorCode::InvalidGroupId)
        ]
    );
}

#[test]
fn behaviour_31_members_are_checked_if_they_are_named() {
    let mut bench = with_topic();
    let ids = bench.stable(1);
    let id = ids[0].as_str();
    for (member, expected) in [
        ((id, None, 1), ErrorCode::None),
        // Producers before version 3 name nobody.
        (("", None, -1), ErrorCode::None),
        ((id, None, 0), ErrorCode::IllegalGeneration),
        ((id, None, -1), ErrorCode::IllegalGeneration),
        (("nobody", None, 1), ErrorCode::UnknownMemberId),
        (("nobody", None, -1), ErrorCode::UnknownMemberId),
        (("", None, 1), ErrorCode::UnknownMemberId),
        (("", Some("i"), -1), ErrorCode::UnknownMemberId),
    ] {
        assert_eq!(txn_commit_error(&mut bench, member), expected, "{member:?}");
    }
}

#[test]
fn behaviour_31_another_process_with_the_same_instance_id_is_fenced() {
    let mut bench = with_topic();
    let joins = bench.join(JOIN, "", Some("i"));
    bench.pass_ms(3_000);
    let id = bench.joined(joins).member_id;
    bench.sync(&id, 1, &[&id]);
    assert_eq!(
        txn_commit_error(&mut bench, ("old", Some("i"), 1)),
        ErrorCode::FencedInstanceId
    );
    assert_eq!(txn_commit_error(&mut bench, (&id, Some("i"), 1)), ErrorCode::None);
}

#[test]
fn a_rebalance_is_no_obstacle_to_a_transaction() {
    let mut bench = with_topic();
    let ids = bench.stable(1);
    bench.join_with_new_id();
    bench.join(JOIN, &ids[0], None);
    assert_eq!(bench.state(), "CompletingRebalance");
    assert_eq!(txn_commit_error(&mut bench, (&ids[0], None, 2)), ErrorCode::None);
    assert_eq!(
        txn_commit_error(&mut bench, (&ids[0], None, 1)),
        ErrorCode::IllegalGeneration
    );
}

#[test]
fn a_commit_of_a_transaction_does_not_keep_a_member_alive() {
    let mut bench = with_topic();
    let ids = bench.stable(1);
    bench.pass_ms(9_000);
    assert_eq!(txn_commit_error(&mut bench, (&ids[0], None, 1)), ErrorCode::None);
    bench.pass_ms(9_000);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::UnknownMemberId);
}
