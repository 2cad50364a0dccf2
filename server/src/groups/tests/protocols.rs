//! Groups of the new protocol beside classic ones, and those that change from one to the other.

use super::commits::{commit, committing};
use super::txn_members::txn_commit_error;
use super::*;
use crate::groups::settings::Migration;
use crate::wire::consumer_group_heartbeat::*;
use crate::wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::wire::offset_commit::OffsetCommitRequest;

fn heartbeat(bench: &mut Bench, member_id: &str, member_epoch: i32) -> ConsumerGroupHeartbeatResponse {
    let joins = member_epoch == 0;
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        member_epoch,
        rebalance_timeout_ms: if joins { REBALANCE_MS } else { -1 },
        subscribed_topic_names: joins.then(|| vec!["t".to_owned()]),
        topic_partitions: joins.then(Vec::new),
        ..Default::default()
    };
    match bench.get(1, GroupRequest::ConsumerHeartbeat(request)) {
        GroupResponse::ConsumerHeartbeat(response) => response,
        other => panic!("no heartbeat: {other:?}"),
    }
}

fn types(bench: &Bench) -> Vec<String> {
    let all = bench.coordinator.list(&[], &[]);
    all.into_iter().map(|group| group.group_type).collect()
}

fn leave(bench: &mut Bench, version: i16, member_id: &str) -> ErrorCode {
    let request = LeaveGroupRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        members: vec![MemberIdentity {
            member_id: member_id.to_owned(),
            ..Default::default()
        }],
    };
    match bench.get(version, GroupRequest::Leave(request)) {
        GroupResponse::Leave(response) if version < 3 => ErrorCode::from_code(response.error_code),
        GroupResponse::Leave(response) => ErrorCode::from_code(response.members[0].error_code),
        other => panic!("not left: {other:?}"),
    }
}

#[test]
fn behaviour_31_producers_of_members_with_an_older_epoch_are_told_of_a_generation() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let epoch = heartbeat(&mut bench, "m", 0).member_epoch;
    for (member, expected) in [
        (("m", None, epoch), ErrorCode::None),
        (("m", None, epoch + 1), ErrorCode::IllegalGeneration),
        (("m", None, -1), ErrorCode::IllegalGeneration),
        (("n", None, epoch), ErrorCode::UnknownMemberId),
        (("", None, -1), ErrorCode::None),
    ] {
        assert_eq!(txn_commit_error(&mut bench, member), expected, "{member:?}");
    }
}

#[test]
fn a_group_comes_to_be_with_its_first_member_only() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let refused = heartbeat(&mut bench, "m", 3);
    assert_eq!(refused.error_code, ErrorCode::GroupIdNotFound.code());
    assert_eq!(
        heartbeat(&mut bench, "", 0).error_code,
        ErrorCode::InvalidRequest.code()
    );
    assert_eq!((types(&bench), bench.log.len()), (vec![], 0));
    let joined = heartbeat(&mut bench, "m", 0);
    assert_eq!(
        (joined.error_code, types(&bench)),
        (0, vec!["consumer".to_owned()])
    );
    bench.restart();
    let again = heartbeat(&mut bench, "m", joined.member_epoch);
    assert_eq!((again.error_code, again.member_epoch), (0, joined.member_epoch));
}

#[test]
fn a_group_that_only_has_offsets_is_no_consumer_group_to_a_member_with_an_epoch() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    commit(&mut bench, 9, committing(&[("t", &[(0, 5)])]));
    for epoch in [3, -1] {
        let refused = heartbeat(&mut bench, "m", epoch);
        assert_eq!(
            (refused.error_code, refused.error_message.as_deref()),
            (
                ErrorCode::GroupIdNotFound.code(),
                Some("Group g is not a consumer group.")
            )
        );
    }
    assert_eq!(types(&bench), ["classic"]);
}

#[test]
fn members_of_the_new_protocol_are_removed_when_they_are_silent_and_their_group_with_its_offsets() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    heartbeat(&mut bench, "m", 0);
    bench.pass_ms(45_000);
    assert_eq!(
        bench
            .coordinator
            .list(&["empty".to_owned()], &["consumer".to_owned()])
            .len(),
        1
    );
    bench.pass_ms(600_000);
    assert_eq!(types(&bench), [""; 0]);
}

#[test]
fn each_kind_is_described_by_its_own_request() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    heartbeat(&mut bench, "m", 0);
    let GroupResponse::Describe(classic) = bench.get(6, GroupRequest::Describe("g".to_owned())) else {
        panic!("not described");
    };
    assert_eq!(
        (classic.error_code, classic.group_state.as_str()),
        (ErrorCode::GroupIdNotFound.code(), "Dead")
    );
    assert_eq!(
        classic.error_message.as_deref(),
        Some("Group g is not a classic group.")
    );
    let mut describe =
        |group_id: &str| match bench.get(1, GroupRequest::ConsumerDescribe(group_id.to_owned())) {
            GroupResponse::ConsumerDescribe(group) => group,
            other => panic!("not described: {other:?}"),
        };
    assert_eq!(describe("g").members.len(), 1);
    assert_eq!(describe("").error_code, ErrorCode::InvalidGroupId.code());
    let missing = describe("nobody");
    assert_eq!(missing.error_code, ErrorCode::GroupIdNotFound.code());
    assert_eq!(missing.error_message.as_deref(), Some("Group nobody not found."));
}

#[test]
fn a_classic_group_nobody_is_in_gives_way_and_its_offsets_stay() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let ids = bench.stable(1);
    leave(&mut bench, LEAVE, &ids[0]);
    commit(&mut bench, 9, committing(&[("t", &[(0, 5)])]));
    let joined = heartbeat(&mut bench, "m", 0);
    assert_eq!(
        (joined.error_code, types(&bench)),
        (0, vec!["consumer".to_owned()])
    );
    assert_eq!(bench.offsets("g")[0].partitions[0].committed_offset, 5);
}

#[test]
fn a_group_of_the_new_protocol_nobody_is_in_gives_way_and_its_offsets_stay() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    heartbeat(&mut bench, "m", 0);
    heartbeat(&mut bench, "m", -1);
    commit(&mut bench, 9, committing(&[("t", &[(0, 5)])]));
    let refused = bench.join(JOIN, "nobody", None);
    assert_eq!(
        bench.joined(refused).error_code,
        ErrorCode::UnknownMemberId.code()
    );
    assert_eq!(types(&bench), ["consumer"]);
    let (joins, _) = bench.join_with_new_id();
    assert_eq!(types(&bench), ["classic"]);
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(joins).generation_id, 1);
    assert_eq!(bench.offsets("g")[0].partitions[0].committed_offset, 5);
}

#[test]
fn a_group_changes_its_protocol_with_its_members_in_it_and_back() {
    let mut bench = Bench::new();
    bench.create_topic("t", 2, 1);
    let ids = bench.stable_with_assignment(&[("t", &[0, 1])]);
    let joined = heartbeat(&mut bench, "m", 0);
    assert_eq!(
        (joined.error_code, types(&bench)),
        (0, vec!["consumer".to_owned()])
    );
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
    let again = bench.join(JOIN, &ids[0], None);
    let generation = bench.joined(again).generation_id;
    let synced = bench.sync(&ids[0], generation, &[]);
    assert_eq!(bench.synced(synced).error_code, 0);
    bench.restart();
    assert_eq!(types(&bench), ["consumer"]);
    assert_eq!(heartbeat(&mut bench, "m", -1).error_code, 0);
    assert_eq!(types(&bench), ["classic"]);
    assert_eq!(bench.state(), "PreparingRebalance");
    let again = bench.join(JOIN, &ids[0], None);
    let joined = bench.joined(again);
    assert_eq!((joined.error_code, joined.leader.as_str()), (0, ids[0].as_str()));
    let synced = bench.sync(&ids[0], joined.generation_id, &[&ids[0]]);
    assert_eq!(bench.synced(synced).error_code, 0);
    bench.restart();
    assert_eq!(bench.heartbeat(&ids[0], joined.generation_id), ErrorCode::None);
}

#[test]
fn the_last_consumer_of_the_new_protocol_that_falls_silent_leaves_a_classic_group() {
    let mut bench = Bench::new();
    bench.create_topic("t", 2, 1);
    let ids = bench.stable_with_assignment(&[("t", &[0, 1])]);
    heartbeat(&mut bench, "m", 0);
    let mut generation = 1;
    for _ in 0..10 {
        bench.pass_ms(5_000);
        if bench.heartbeat(&ids[0], generation) == ErrorCode::RebalanceInProgress {
            let again = bench.join(JOIN, &ids[0], None);
            let Some(GroupResponse::Join(joined)) = bench.answer(again).cloned() else {
                break;
            };
            generation = joined.generation_id;
            bench.sync(&ids[0], generation, &[&ids[0]]);
        }
    }
    assert_eq!(types(&bench), ["classic"]);
}

#[test]
fn members_whose_group_changes_its_protocol_are_sent_back() {
    let mut bench = Bench::new();
    bench.create_topic("t", 2, 1);
    bench.stable_with_assignment(&[("t", &[0, 1])]);
    let (waits, id) = bench.join_with_new_id();
    assert_eq!(bench.answer(waits), None);
    let upgraded = heartbeat(&mut bench, "m", 0);
    assert_eq!(
        (upgraded.error_code, types(&bench)),
        (0, vec!["consumer".to_owned()])
    );
    let sent_back = bench.joined(waits);
    assert_eq!(
        (sent_back.error_code, sent_back.member_id),
        (ErrorCode::RebalanceInProgress.code(), id)
    );
}

#[test]
fn a_group_that_may_not_change_its_protocol_does_not() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    bench.settings.consumer_migration = Migration::Disabled;
    bench.stable(1);
    let written = bench.log.len();
    let refused = heartbeat(&mut bench, "m", 0);
    assert_eq!(refused.error_code, ErrorCode::GroupIdNotFound.code());
    let refused = heartbeat(&mut bench, "m", 1);
    assert_eq!(refused.error_code, ErrorCode::GroupIdNotFound.code());
    assert_eq!(
        refused.error_message.as_deref(),
        Some("Group g is not a consumer group.")
    );
    assert_eq!(
        (types(&bench), bench.log.len()),
        (vec!["classic".to_owned()], written)
    );
}

#[test]
fn members_of_the_new_protocol_commit_and_fetch_with_their_epoch() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let epoch = heartbeat(&mut bench, "m", 0).member_epoch;
    let mut commit_as = |version, member_id: &str, epoch| {
        let request = OffsetCommitRequest {
            member_id: member_id.to_owned(),
            generation_id_or_member_epoch: epoch,
            ..committing(&[("t", &[(0, 5)])])
        };
        commit(&mut bench, version, request)[0].2
    };
    assert_eq!(commit_as(9, "m", epoch), ErrorCode::None);
    assert_eq!(commit_as(9, "m", epoch + 1), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit_as(8, "m", epoch), ErrorCode::UnsupportedVersion);
    assert_eq!(commit_as(9, "nobody", epoch), ErrorCode::UnknownMemberId);
    assert_eq!(commit_as(9, "", -1), ErrorCode::UnknownMemberId);
    let mut fetch_as = |version, member_id: Option<&str>, member_epoch| {
        let group = OffsetFetchRequestGroup {
            group_id: "g".to_owned(),
            member_id: member_id.map(str::to_owned),
            member_epoch,
            topics: Some(vec![crate::wire::offset_fetch::OffsetFetchRequestTopics {
                name: "t".to_owned(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
        };
        let request = GroupRequest::Fetch {
            group,
            require_stable: false,
        };
        match bench.get(version, request) {
            GroupResponse::Fetch(group) => group,
            other => panic!("not fetched: {other:?}"),
        }
    };
    let fetched = fetch_as(9, Some("m"), epoch);
    assert_eq!(
        (
            fetched.error_code,
            fetched.topics[0].partitions[0].committed_offset
        ),
        (0, 5)
    );
    let stale = fetch_as(9, Some("m"), epoch + 1);
    assert_eq!(
        (stale.error_code, stale.topics.len()),
        (ErrorCode::StaleMemberEpoch.code(), 0)
    );
    let unknown = fetch_as(9, Some("nobody"), epoch);
    assert_eq!(unknown.error_code, ErrorCode::UnknownMemberId.code());
    let oldest = fetch_as(1, Some("nobody"), epoch);
    assert_eq!(oldest.error_code, 0);
    assert_eq!(
        oldest.topics[0].partitions[0].error_code,
        ErrorCode::UnknownMemberId.code()
    );
    assert_eq!(fetch_as(9, None, -1).error_code, 0);
}

#[test]
fn an_administrator_removes_members_of_either_protocol() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    heartbeat(&mut bench, "m", 0);
    assert_eq!(leave(&mut bench, LEAVE, "nobody"), ErrorCode::UnknownMemberId);
    assert_eq!(leave(&mut bench, 2, "m"), ErrorCode::None);
    assert_eq!(leave(&mut bench, LEAVE, "m"), ErrorCode::UnknownMemberId);
}
