//! Static members (KIP-345) and leaders that need not assign anything (KIP-814).

use super::*;
use crate::wire::heartbeat::HeartbeatRequest;

/// A stable group of the static members `a`, which leads, and `b`.
fn stable(bench: &mut Bench) -> [String; 2] {
    let a = bench.join(JOIN, "", Some("a"));
    let b = bench.join(JOIN, "", Some("b"));
    bench.pass_ms(6_000);
    let ids = [bench.joined(a).member_id, bench.joined(b).member_id];
    assert_eq!(bench.joined(b).leader, ids[0]);
    bench.sync(&ids[1], 1, &[]);
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    bench.sync(&ids[0], 1, &names);
    assert_eq!(bench.state(), "Stable");
    ids
}

fn heartbeat(bench: &mut Bench, member_id: &str, instance_id: &str) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: "g".to_owned(),
        generation_id: 1,
        member_id: member_id.to_owned(),
        group_instance_id: Some(instance_id.to_owned()),
    };
    match bench.get(HEARTBEAT, GroupRequest::Heartbeat(request)) {
        GroupResponse::Heartbeat(response) => ErrorCode::from_code(response.error_code),
        other => panic!("no heartbeat: {other:?}"),
    }
}

#[test]
fn a_static_member_joins_at_once_and_is_known_by_its_name() {
    let mut bench = Bench::new();
    let [a, _] = stable(&mut bench);
    assert!(a.starts_with("a-"), "{a}");
    assert_eq!(heartbeat(&mut bench, &a, "a"), ErrorCode::None);
    assert_eq!(heartbeat(&mut bench, &a, "b"), ErrorCode::FencedInstanceId);
    assert_eq!(heartbeat(&mut bench, &a, "c"), ErrorCode::UnknownMemberId);
    let names = bench
        .joined(1)
        .members
        .into_iter()
        .map(|member| member.group_instance_id);
    assert_eq!(
        names.collect::<Vec<_>>(),
        [Some("a".to_owned()), Some("b".to_owned())]
    );
}

#[test]
fn a_follower_that_was_started_anew_disturbs_nobody() {
    let mut bench = Bench::new();
    let [a, b] = stable(&mut bench);
    let written = bench.log.len();
    let again = bench.join(JOIN, "", Some("b"));
    let joined = bench.joined(again);
    assert_ne!(joined.member_id, b);
    assert_eq!(
        (joined.generation_id, joined.leader, joined.skip_assignment),
        (1, a.clone(), false)
    );
    assert_eq!(
        (bench.state(), bench.log.len()),
        ("Stable".to_owned(), written + 1)
    );
    assert_eq!(heartbeat(&mut bench, &b, "b"), ErrorCode::FencedInstanceId);
    let assigned = bench.sync(&joined.member_id, 1, &[]);
    assert_eq!(
        bench.synced(assigned).assignment,
        b.as_bytes(),
        "what its former self had"
    );
    assert_eq!(heartbeat(&mut bench, &a, "a"), ErrorCode::None);
}

#[test]
fn a_leader_that_was_started_anew_is_told_not_to_assign() {
    let mut bench = Bench::new();
    let [a, _] = stable(&mut bench);
    let again = bench.join(JOIN, "", Some("a"));
    let joined = bench.joined(again);
    assert_eq!(
        (joined.skip_assignment, &joined.leader),
        (true, &joined.member_id)
    );
    assert_eq!(joined.members.len(), 2);
    let old = bench.join(8, "", Some("a"));
    let old = bench.joined(old);
    assert_eq!((old.skip_assignment, &old.leader), (false, &joined.member_id));
    assert_ne!(old.leader, old.member_id, "it would assign otherwise");
    assert_ne!(old.leader, a);
    assert_eq!(old.members, []);
}

#[test]
fn a_static_member_that_changes_the_vote_begins_a_rebalance() {
    let mut bench = Bench::new();
    let [a, b] = stable(&mut bench);
    let mut request = joining("", Some("b"));
    request.protocols = vec![speaks("roundrobin", "t")];
    let again = bench.ask(JOIN, GroupRequest::Join(request));
    assert_eq!(bench.answer(again), None);
    let leads = bench.join(JOIN, &a, Some("a"));
    assert_eq!(bench.joined(leads).protocol_name.as_deref(), Some("roundrobin"));
    assert_eq!(heartbeat(&mut bench, &b, "b"), ErrorCode::FencedInstanceId);
}

#[test]
fn whatever_its_former_self_waits_for_is_fenced() {
    let mut bench = Bench::new();
    let first = bench.join(JOIN, "", Some("a"));
    let second = bench.join(JOIN, "", Some("a"));
    assert_eq!(bench.joined(first).error_code, ErrorCode::FencedInstanceId.code());
    let other = bench.join(JOIN, "", Some("b"));
    bench.pass_ms(6_000);
    let [a, b] = [second, other].map(|number| bench.joined(number).member_id);
    let waits = bench.sync(&b, 1, &[]);
    let anew = bench.join(JOIN, "", Some("b"));
    assert_eq!(bench.synced(waits).error_code, ErrorCode::FencedInstanceId.code());
    assert_eq!(bench.state(), "PreparingRebalance", "the leader may be assigning");
    bench.join(JOIN, &a, Some("a"));
    assert_eq!(bench.joined(anew).generation_id, 2);
}

#[test]
fn a_static_member_stays_until_its_session_ends() {
    let mut bench = Bench::new();
    let [a, b] = stable(&mut bench);
    let mut request = joining(&a, Some("a"));
    request.rebalance_timeout_ms = 5_000;
    let leads = bench.ask(JOIN, GroupRequest::Join(request));
    bench.pass_ms(9_999);
    assert_eq!(bench.answer(leads), None, "the other has longer");
    assert_eq!(heartbeat(&mut bench, &b, "b"), ErrorCode::RebalanceInProgress);
    for _ in 0..10 {
        bench.pass_ms(6_000);
        heartbeat(&mut bench, &b, "b");
    }
    let joined = bench.joined(leads);
    assert_eq!(joined.generation_id, 2);
    assert_eq!(joined.members.len(), 2, "one of them did not join, and is in it");
}

#[test]
fn when_no_static_member_joins_their_sessions_decide() {
    let mut bench = Bench::new();
    let [_, b] = stable(&mut bench);
    let (_, new) = bench.join_with_new_id();
    let leave = crate::wire::leave_group::LeaveGroupRequest {
        group_id: "g".to_owned(),
        members: vec![crate::wire::leave_group::MemberIdentity {
            member_id: new,
            ..Default::default()
        }],
        ..Default::default()
    };
    bench.ask(LEAVE, GroupRequest::Leave(leave));
    for _ in 0..20 {
        bench.pass_ms(6_000);
        heartbeat(&mut bench, &b, "b");
    }
    assert_eq!(bench.state(), "PreparingRebalance");
    bench.pass_ms(10_000);
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn static_members_survive_a_restart() {
    let mut bench = Bench::new();
    let [a, _] = stable(&mut bench);
    bench.restart();
    assert_eq!(heartbeat(&mut bench, &a, "a"), ErrorCode::None);
    let again = bench.join(JOIN, "", Some("b"));
    assert_eq!(bench.joined(again).generation_id, 1);
    assert_eq!(bench.state(), "Stable");
}

#[test]
fn a_static_member_that_says_too_much_to_be_recorded_changes_nothing() {
    let mut bench = Bench::new();
    let [a, b] = stable(&mut bench);
    let written = bench.log.len();
    let mut request = joining("", Some("b"));
    request.protocols[0].metadata = Bytes::from(vec![7; 1_000_000]);
    let refused = bench.ask(JOIN, GroupRequest::Join(request));
    let refused = bench.joined(refused);
    assert_eq!(
        (refused.error_code, refused.member_id.as_str()),
        (ErrorCode::UnknownServerError.code(), "")
    );
    assert_eq!((bench.state().as_str(), bench.log.len()), ("Stable", written));
    for (id, instance_id) in [(&a, "a"), (&b, "b")] {
        assert_eq!(heartbeat(&mut bench, id, instance_id), ErrorCode::None);
    }
}
