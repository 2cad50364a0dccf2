//! Offsets that expire, and groups that go with them.

use super::commits::{commit, committing};
use super::*;
use crate::wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::wire::offset_commit::OffsetCommitRequest;

const WEEK_MS: i64 = 7 * 24 * 3_600_000;
const CHECK_MS: i64 = 600_000;

fn names(bench: &mut Bench) -> Vec<String> {
    bench.offsets("g").into_iter().map(|topic| topic.name).collect()
}

/// Commits by a member of generation 1.
fn commit_as(bench: &mut Bench, member_id: &str, topics: &[(&str, &[(i32, i64)])]) {
    let request = OffsetCommitRequest {
        member_id: member_id.to_owned(),
        generation_id_or_member_epoch: 1,
        ..committing(topics)
    };
    commit(bench, 9, request);
}

#[test]
fn offsets_without_a_group_expire_by_the_time_of_their_commit_and_the_group_with_the_last() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    bench.create_topic("u", 1, 1);
    commit(&mut bench, 9, committing(&[("t", &[(0, 5)])]));
    bench.pass_ms(CHECK_MS);
    commit(&mut bench, 9, committing(&[("u", &[(0, 5)])]));
    bench.pass_ms(WEEK_MS - CHECK_MS);
    assert_eq!(names(&mut bench), ["u"]);
    bench.pass_ms(CHECK_MS);
    assert_eq!((names(&mut bench).len(), bench.state()), (0, "Dead".to_owned()));
    assert!(matches!(bench.log.last(), Some(GroupRecord::GroupMetadata(key, None)) if key.group == "g"));
}

#[test]
fn an_offset_that_is_committed_again_begins_anew() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    commit(&mut bench, 9, committing(&[("t", &[(0, 5)])]));
    bench.pass_ms(WEEK_MS - 1);
    commit(&mut bench, 9, committing(&[("t", &[(0, 6)])]));
    bench.pass_ms(WEEK_MS - CHECK_MS);
    assert_eq!(names(&mut bench), ["t"]);
}

#[test]
fn old_clients_say_themselves_when_an_offset_expires() {
    let mut bench = Bench::new();
    bench.create_topic("t", 2, 1);
    let request = OffsetCommitRequest {
        retention_time_ms: CHECK_MS - 1,
        ..committing(&[("t", &[(0, 5)])])
    };
    commit(&mut bench, 4, request);
    let (_, value) = bench.log[0].encode();
    assert_eq!(
        value.map(|value| value[..2].to_vec()),
        Some(vec![0, 1]),
        "in version 1"
    );
    let request = OffsetCommitRequest {
        retention_time_ms: i64::MAX,
        ..committing(&[("t", &[(1, 5)])])
    };
    commit(&mut bench, 4, request);
    bench.pass_ms(CHECK_MS);
    let left = bench.offsets("g");
    assert_eq!(left[0].partitions.len(), 1);
    bench.pass_ms(2 * WEEK_MS);
    assert_eq!(bench.offsets("g"), left);
    // Version 1 of the record has no leader epoch.
    bench.restart();
    assert_eq!(bench.offsets("g")[0].partitions[0].committed_leader_epoch, -1);
}

#[test]
fn a_stable_group_keeps_what_it_is_subscribed_to() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    bench.create_topic("u", 1, 1);
    bench.settings.offsets_retention_ms = CHECK_MS;
    bench.settings.max_session_timeout_ms = i32::MAX;
    let ids = bench.stable(1);
    commit_as(&mut bench, &ids[0], &[("t", &[(0, 5)]), ("u", &[(0, 5)])]);
    for _ in 0..300 {
        bench.pass_ms(5_000);
        bench.heartbeat(&ids[0], 1);
    }
    assert_eq!(
        (names(&mut bench), bench.state()),
        (vec!["t".to_owned()], "Stable".to_owned())
    );
}

#[test]
fn a_group_that_rebalances_or_is_of_another_kind_keeps_everything() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    bench.settings.offsets_retention_ms = 1;
    bench.settings.offsets_retention_check_interval_ms = 1_000;
    bench.restart();
    let mut request = joining("", Some("i"));
    request.protocol_type = "connect".to_owned();
    let joins = bench.ask(JOIN, GroupRequest::Join(request));
    bench.pass_ms(3_000);
    let id = bench.joined(joins).member_id;
    bench.sync(&id, 1, &[&id]);
    commit_as(&mut bench, &id, &[("t", &[(0, 5)])]);
    bench.pass_ms(9_000);
    assert_eq!((names(&mut bench).len(), bench.state()), (1, "Stable".to_owned()));
    bench.pass_ms(2_000);
    assert_eq!(bench.state(), "Dead", "its session ended, and everything was old");
}

#[test]
fn offsets_of_an_empty_group_age_from_when_it_fell_empty() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    bench.settings.offsets_retention_ms = 3 * CHECK_MS;
    let ids = bench.stable(1);
    commit_as(&mut bench, &ids[0], &[("t", &[(0, 5)])]);
    for _ in 0..120 {
        bench.pass_ms(5_000);
        bench.heartbeat(&ids[0], 1);
    }
    let leave = LeaveGroupRequest {
        group_id: "g".to_owned(),
        members: vec![MemberIdentity {
            member_id: ids[0].clone(),
            ..Default::default()
        }],
        ..Default::default()
    };
    bench.ask(LEAVE, GroupRequest::Leave(leave));
    let left_ms = bench.now_ms;
    bench.restart();
    while !names(&mut bench).is_empty() {
        bench.pass_ms(CHECK_MS);
    }
    let age_ms = bench.now_ms - left_ms;
    assert_eq!(age_ms, 3 * CHECK_MS);
    assert_eq!(bench.state(), "Dead");
}

#[test]
fn a_group_that_was_never_used_goes_at_the_next_look() {
    let mut bench = Bench::new();
    bench.join(JOIN, "", None);
    assert_eq!(bench.state(), "Empty");
    bench.pass_ms(CHECK_MS);
    assert_eq!(bench.state(), "Dead");
    assert_eq!(bench.log.len(), 2);
}

#[test]
fn many_groups_are_looked_at_in_slices() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let groups = crate::groups::offsets::GROUPS_AT_ONCE * 2 + 1;
    for group in 0..groups {
        let mut request = committing(&[("t", &[(0, 5)])]);
        request.group_id = format!("g{group}");
        commit(&mut bench, 9, request);
    }
    bench.settings.offsets_retention_ms = 1;
    bench.now_ms += CHECK_MS;
    let mut steps = Vec::new();
    for _ in 0..4 {
        let before = bench.log.len();
        bench.step(|coordinator, ctx| coordinator.expire(ctx, usize::MAX));
        steps.push((bench.log.len() - before) / 2);
    }
    let most = crate::groups::offsets::GROUPS_AT_ONCE;
    assert_eq!(steps, [most, most, 1, 0]);
    assert_eq!(bench.coordinator.deadline(), Some(bench.now_ms + CHECK_MS));
}
