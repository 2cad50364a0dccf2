//! Who may commit and fetch offsets.

use super::world::*;
use crate::groups::consumer::CommitCheck;
use crate::wire::code::ErrorCode::{self, StaleMemberEpoch, UnknownMemberId, UnsupportedVersion};

fn commit(world: &World, member: &str, epoch: i32, version: i16) -> Result<(), ErrorCode> {
    world
        .group
        .check_commit(member, None, epoch, version)
        .map(|_: CommitCheck<'_>| ())
}

#[test]
fn commits_are_for_members_with_their_epoch() {
    let mut world = World::new(&[("t", 1)]);
    assert_eq!(commit(&world, "", -1, 9), Ok(()));
    world.beat(&join("a", &["t"]));
    for (member, epoch, version, expected) in [
        ("a", 2, 9, Ok(())),
        ("a", 3, 9, Err(StaleMemberEpoch)),
        ("a", 2, 8, Err(UnsupportedVersion)),
        ("b", 2, 9, Err(UnknownMemberId)),
        ("", -1, 9, Err(UnknownMemberId)),
    ] {
        assert_eq!(
            commit(&world, member, epoch, version),
            expected,
            "{member} {epoch} {version}"
        );
    }
    for (member, epoch, expected) in [
        (None, -1, Ok(())),
        (Some("a"), 2, Ok(())),
        (Some("a"), 0, Err(StaleMemberEpoch)),
        (Some("b"), 2, Err(UnknownMemberId)),
        (None, 2, Err(UnknownMemberId)),
    ] {
        assert_eq!(
            world.group.check_fetch(member, epoch),
            expected,
            "{member:?} {epoch}"
        );
    }
}

#[test]
fn transactions_commit_for_members_with_their_epoch_or_for_nobody() {
    let mut world = World::new(&[("t", 1)]);
    let check = |world: &World, member: &str, instance, epoch| {
        let check = world.group.check_txn_commit(member, instance, epoch);
        check.and_then(|check| check.partition(id_of("t"), 0))
    };
    assert_eq!(check(&world, "b", None, -1), Ok(()), "nobody is in it");
    assert_eq!(check(&world, "b", None, 0), Err(UnknownMemberId));
    world.beat(&join("a", &["t"]));
    for (member, instance, epoch, expected) in [
        ("a", None, 2, Ok(())),
        ("a", None, 3, Err(StaleMemberEpoch)),
        ("a", None, 1, Err(StaleMemberEpoch)),
        ("a", None, -1, Err(StaleMemberEpoch)),
        ("b", None, 2, Err(UnknownMemberId)),
        ("b", None, -1, Err(UnknownMemberId)),
        ("", None, -1, Ok(())),
        ("", None, -2, Err(UnknownMemberId)),
        ("", Some("i"), -1, Err(UnknownMemberId)),
    ] {
        assert_eq!(
            check(&world, member, instance, epoch),
            expected,
            "{member} {instance:?} {epoch}"
        );
    }
}

#[test]
fn an_older_epoch_may_commit_what_the_member_has_had_since() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(&join("a", &["t"]));
    world.pass(1_000);
    world.beat(&join("b", &["t"]));
    world.beat(&having("a", 2, &[("t", &[0])]));
    world.beat(&at("b", 3));
    let check = |member: &str, epoch, partition| {
        let check = world
            .group
            .check_commit(member, None, epoch, 9)
            .expect("a member");
        check.partition(id_of("t"), partition)
    };
    // `a` is at 3 and has had partition 0 since 2; it gave partition 1 to `b`.
    assert_eq!(
        (check("a", 2, 0), check("a", 0, 0)),
        (Ok(()), Err(StaleMemberEpoch))
    );
    assert_eq!(
        (check("a", 2, 1), check("b", 2, 1)),
        (Err(StaleMemberEpoch), Err(StaleMemberEpoch))
    );
    assert_eq!(check("b", 3, 1), Ok(()));
}

/// Of each partition of `t`, whether it may be committed.
type Answers = [Result<(), ErrorCode>; 2];

fn may_commit(world: &World, member: &str, epoch: i32) -> Answers {
    let check = world.group.check_commit(member, None, epoch, 9);
    let partition = |partition| {
        check
            .as_ref()
            .map_err(|error| *error)?
            .partition(id_of("t"), partition)
    };
    [0, 1].map(partition)
}

#[test]
fn commits_racing_a_rebalance_are_taken_for_what_the_member_has_not_given_back() {
    const TAKEN: Result<(), ErrorCode> = Ok(());
    const STALE: Result<(), ErrorCode> = Err(StaleMemberEpoch);
    let mut world = World::new(&[("t", 2)]);
    world.beat(&join("a", &["t"]));
    world.pass(1_000);
    let check = |world: &mut World, expected: &[(&str, i32, Answers)]| {
        // A broker that starts anew in the midst of it decides the same.
        for _ in 0..2 {
            for (member, epoch, expected) in expected {
                assert_eq!(
                    may_commit(world, member, *epoch),
                    *expected,
                    "{member} in epoch {epoch}"
                );
            }
            world.restart();
        }
    };
    // The group is an epoch further, and `a` has not heard of it. In its own epoch a member is not asked what it has.
    world.beat(&join("b", &["t"]));
    let before = [
        ("a", 1, [STALE, STALE]),
        ("a", 2, [TAKEN, TAKEN]),
        ("a", 3, [STALE, STALE]),
        ("b", 2, [STALE, STALE]),
        ("b", 3, [TAKEN, TAKEN]),
        ("c", 3, [Err(UnknownMemberId); 2]),
    ];
    check(&mut world, &before);
    // It is told to give partition 1 back, and commits what it has read of it before it does.
    assert_eq!(world.beat(&at("a", 2)).member_epoch, 2);
    check(&mut world, &before);
    // It gave it back. The answer that raises its epoch and a commit may pass each other.
    assert_eq!(world.beat(&having("a", 2, &[("t", &[0])])).member_epoch, 3);
    let after = [
        ("a", 1, [STALE, STALE]),
        ("a", 2, [TAKEN, STALE]),
        ("a", 3, [TAKEN, TAKEN]),
        ("a", 4, [STALE, STALE]),
    ];
    check(&mut world, &after);
    world.beat(&at("b", 3));
    check(&mut world, &after);
    // What comes back to a member is not what it had before.
    world.beat(&at("b", -1));
    world.pass(1_000);
    assert_eq!(world.beat(&at("a", 3)).member_epoch, 4);
    let again = [
        ("a", 2, [TAKEN, STALE]),
        ("a", 3, [TAKEN, STALE]),
        ("a", 4, [TAKEN, TAKEN]),
        ("b", 3, [Err(UnknownMemberId); 2]),
    ];
    check(&mut world, &again);
}
