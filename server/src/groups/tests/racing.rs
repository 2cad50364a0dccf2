//! Commits racing a rebalance: which are taken, and what is left of those that are not.

use super::commits::{commit, commit_error, committing};
use super::*;
use crate::wire::offset_commit::OffsetCommitRequest;

#[test]
fn commits_racing_a_rebalance_are_taken_from_members_of_the_generation_that_is_not_over() {
    use ErrorCode::{IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    let taken = ErrorCode::None;
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let ids = bench.stable(2);
    let [leader, follower] = [0, 1].map(|index| ids[index].as_str());
    let (joins, joining) = bench.join_with_new_id();
    let answers = |bench: &mut Bench, state: &str, expected: &[(&str, i32, ErrorCode)]| {
        assert_eq!(bench.state(), state);
        for &(member, generation, error) in expected {
            // Members of a classic group are told the same in all versions.
            for version in [2, 8, 9] {
                let found = commit_error(bench, version, (member, None, generation));
                assert_eq!(
                    found, error,
                    "{member} in generation {generation}, {state}, version {version}"
                );
            }
        }
    };
    // One member joins, and all others are to join again: their generation lasts until they have. Who joins is a member of it like the others.
    let preparing = [
        (leader, 1, taken),
        (follower, 1, taken),
        (&joining, 1, taken),
        (&joining, -1, IllegalGeneration),
        (leader, 2, IllegalGeneration),
        ("nobody", 1, UnknownMemberId),
        ("", -1, UnknownMemberId),
    ];
    answers(&mut bench, "PreparingRebalance", &preparing);
    let again = bench.join(JOIN, leader, None);
    // The leader waits for the follower.
    assert_eq!(bench.answer(again), None);
    answers(&mut bench, "PreparingRebalance", &preparing);
    bench.join(JOIN, follower, None);
    assert_eq!(bench.joined(joins).generation_id, 2);
    let completing = [
        (leader, 1, IllegalGeneration),
        (leader, 2, RebalanceInProgress),
        (&joining, 2, RebalanceInProgress),
        (&joining, 3, IllegalGeneration),
        ("nobody", 2, UnknownMemberId),
        ("", -1, UnknownMemberId),
    ];
    answers(&mut bench, "CompletingRebalance", &completing);
    // A follower's sync changes nothing yet.
    bench.sync(follower, 2, &[]);
    answers(&mut bench, "CompletingRebalance", &completing);
    bench.sync(leader, 2, &[leader, follower, &joining]);
    let stable = [
        (leader, 2, taken),
        (&joining, 2, taken),
        (follower, 1, IllegalGeneration),
    ];
    answers(&mut bench, "Stable", &stable);
}

#[test]
fn a_commit_that_a_rebalance_refuses_changes_nothing() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let ids = bench.stable(1);
    let commit_of = |bench: &mut Bench, generation, offset| {
        let request = OffsetCommitRequest {
            member_id: ids[0].clone(),
            generation_id_or_member_epoch: generation,
            ..committing(&[("t", &[(0, offset)])])
        };
        commit(bench, 9, request)[0].2
    };
    bench.join_with_new_id();
    assert_eq!(commit_of(&mut bench, 1, 7), ErrorCode::None);
    bench.join(JOIN, &ids[0], None);
    let records = bench.log.len();
    assert_eq!(commit_of(&mut bench, 1, 6), ErrorCode::IllegalGeneration);
    assert_eq!(commit_of(&mut bench, 2, 8), ErrorCode::RebalanceInProgress);
    assert_eq!(bench.log.len(), records);
    assert_eq!(bench.offsets("g")[0].partitions[0].committed_offset, 7);
}
