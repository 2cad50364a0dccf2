//! LeaveGroup.

use super::*;
use crate::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};

fn leave(bench: &mut Bench, version: i16, request: LeaveGroupRequest) -> LeaveGroupResponse {
    match bench.get(version, GroupRequest::Leave(request)) {
        GroupResponse::Leave(response) => response,
        other => panic!("not left: {other:?}"),
    }
}

/// Members by id and instance id.
fn leaving(members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let members = members.iter().map(|(id, instance_id)| MemberIdentity {
        member_id: (*id).to_owned(),
        group_instance_id: instance_id.map(str::to_owned),
        reason: None,
    });
    LeaveGroupRequest {
        group_id: "g".to_owned(),
        members: members.collect(),
        ..Default::default()
    }
}

fn errors(response: &LeaveGroupResponse) -> Vec<ErrorCode> {
    let all = response.members.iter();
    all.map(|member| ErrorCode::from_code(member.error_code))
        .collect()
}

#[test]
fn a_group_everybody_left_is_empty_and_so_recorded() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let left = leave(&mut bench, LEAVE, leaving(&[(&ids[0], None)]));
    assert_eq!((left.error_code, errors(&left)), (0, vec![ErrorCode::None]));
    assert_eq!(bench.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    let written = bench.log.len();
    leave(&mut bench, LEAVE, leaving(&[(&ids[1], None)]));
    assert_eq!(
        (bench.state(), bench.log.len()),
        ("Empty".to_owned(), written + 1)
    );
    let (again, _) = bench.join_with_new_id();
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(again).generation_id, 3);
}

#[test]
fn each_member_of_a_batch_has_its_own_answer() {
    let mut bench = Bench::new();
    let first = bench.join(JOIN, "", Some("a"));
    let second = bench.join(JOIN, "", Some("b"));
    let pending = bench.join(JOIN, "", None);
    let pending = bench.joined(pending).member_id;
    bench.pass_ms(6_000);
    let b = bench.joined(second).member_id;
    assert_eq!(bench.joined(first).error_code, 0);
    let request = leaving(&[
        ("", Some("a")),
        ("", Some("nobody")),
        ("", None),
        ("nobody", None),
        (&b, Some("a")),
        ("nobody", Some("b")),
        (&pending, None),
    ]);
    let left = leave(&mut bench, LEAVE, request.clone());
    let expected = [
        ErrorCode::None,
        ErrorCode::UnknownMemberId,
        ErrorCode::UnknownMemberId,
        ErrorCode::UnknownMemberId,
        ErrorCode::UnknownMemberId,
        ErrorCode::FencedInstanceId,
        ErrorCode::None,
    ];
    assert_eq!((left.error_code, errors(&left)), (0, expected.to_vec()));
    let named = left
        .members
        .iter()
        .map(|member| (&member.member_id, &member.group_instance_id));
    let asked = request
        .members
        .iter()
        .map(|member| (&member.member_id, &member.group_instance_id));
    assert!(named.eq(asked));
}

#[test]
fn old_versions_name_one_member_and_have_one_error() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let of = |id: &str| LeaveGroupRequest {
        group_id: "g".to_owned(),
        member_id: id.to_owned(),
        ..Default::default()
    };
    let left = leave(&mut bench, 2, of("nobody"));
    assert_eq!(
        (left.error_code, left.members.len()),
        (ErrorCode::UnknownMemberId.code(), 0)
    );
    let left = leave(&mut bench, 2, of(&ids[0]));
    assert_eq!((left.error_code, left.members.len()), (0, 0));
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn a_group_that_does_not_exist_has_no_members() {
    let mut bench = Bench::new();
    let left = leave(&mut bench, LEAVE, leaving(&[("a", None), ("", Some("b"))]));
    assert_eq!(
        (left.error_code, errors(&left)),
        (0, vec![ErrorCode::UnknownMemberId; 2])
    );
    let mut request = leaving(&[("a", None)]);
    request.group_id.clear();
    let left = leave(&mut bench, LEAVE, request);
    assert_eq!(
        (left.error_code, left.members.len()),
        (ErrorCode::InvalidGroupId.code(), 0)
    );
}

#[test]
fn whoever_waits_and_is_removed_is_told() {
    let mut bench = Bench::new();
    let (joins, id) = bench.join_with_new_id();
    leave(&mut bench, LEAVE, leaving(&[(&id, None)]));
    assert_eq!(bench.joined(joins).error_code, ErrorCode::UnknownMemberId.code());
    bench.pass_ms(3_000);
    assert_eq!(bench.state(), "Empty");
    let first = bench.join_with_new_id();
    let second = bench.join_with_new_id();
    bench.pass_ms(6_000);
    assert_eq!(bench.joined(first.0).leader, first.1);
    let waits = bench.sync(&second.1, 2, &[]);
    leave(&mut bench, LEAVE, leaving(&[(&second.1, None)]));
    assert_eq!(bench.synced(waits).error_code, ErrorCode::UnknownMemberId.code());
}

#[test]
fn the_last_one_missing_ends_the_rebalance_when_it_leaves() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let joins = bench.join(JOIN, &ids[0], None);
    leave(&mut bench, LEAVE, leaving(&[(&ids[1], None)]));
    assert_eq!(bench.joined(joins).members.len(), 1);
}
