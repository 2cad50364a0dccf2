//! SyncGroup and Heartbeat.

use super::*;
use crate::wire::heartbeat::HeartbeatRequest;

fn error(bench: &Bench, number: u32) -> ErrorCode {
    ErrorCode::from_code(bench.synced(number).error_code)
}

/// Two members whose generation has begun.
fn completing(bench: &mut Bench) -> [String; 2] {
    let (_, first) = bench.join_with_new_id();
    let (_, second) = bench.join_with_new_id();
    bench.pass_ms(6_000);
    assert_eq!(bench.state(), "CompletingRebalance");
    [first, second]
}

fn ask(bench: &mut Bench, change: impl FnOnce(&mut SyncGroupRequest)) -> u32 {
    let mut request = SyncGroupRequest {
        group_id: "g".to_owned(),
        generation_id: 1,
        ..Default::default()
    };
    change(&mut request);
    bench.ask(SYNC, GroupRequest::Sync(request))
}

#[test]
fn members_wait_for_the_leader_and_get_what_it_assigned() {
    let mut bench = Bench::new();
    let [leader, follower] = completing(&mut bench);
    let waits = bench.sync(&follower, 1, &[]);
    assert_eq!(bench.answer(waits), None);
    assert_eq!(bench.log.len(), 1);
    let leads = bench.sync(&leader, 1, &[&leader, &follower, "nobody"]);
    assert_eq!(bench.synced(waits).assignment, follower.as_bytes());
    assert_eq!(bench.synced(leads).assignment, leader.as_bytes());
    assert_eq!(bench.synced(waits).protocol_name.as_deref(), Some("range"));
    assert_eq!(bench.synced(waits).protocol_type.as_deref(), Some("consumer"));
    assert_eq!((bench.state(), bench.log.len()), ("Stable".to_owned(), 2));
    let again = bench.sync(&follower, 1, &[]);
    assert_eq!(bench.synced(again).assignment, follower.as_bytes());
}

#[test]
fn the_record_of_a_generation_has_all_that_its_members_said() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let Some(GroupRecord::GroupMetadata(key, Some(value))) = bench.log.last() else {
        panic!("no record");
    };
    assert_eq!(key.group, "g");
    assert_eq!(
        (
            value.generation,
            value.protocol_type.as_str(),
            value.protocol.as_deref()
        ),
        (1, "consumer", Some("range"))
    );
    assert_eq!(value.leader.as_deref(), Some(ids[0].as_str()));
    assert_eq!(value.current_state_timestamp, START_MS + 3_000);
    let member = &value.members[0];
    assert_eq!(
        (member.client_id.as_str(), member.client_host.as_str()),
        ("client", "/127.0.0.1")
    );
    assert_eq!(
        (member.session_timeout, member.rebalance_timeout),
        (SESSION_MS, REBALANCE_MS)
    );
    assert_eq!(member.subscription, speaks("range", "t").metadata);
    assert_eq!(member.assignment, ids[0].as_bytes());
}

#[test]
fn a_member_the_leader_forgot_has_nothing() {
    let mut bench = Bench::new();
    let [leader, follower] = completing(&mut bench);
    let waits = bench.sync(&follower, 1, &[]);
    bench.sync(&leader, 1, &[&leader]);
    assert_eq!(
        (error(&bench, waits), bench.synced(waits).assignment.len()),
        (ErrorCode::None, 0)
    );
}

#[test]
fn what_is_wrong_with_a_sync_is_said_in_kafkas_order() {
    let mut bench = Bench::new();
    let [leader, _] = completing(&mut bench);
    type Change = fn(&mut SyncGroupRequest);
    let cases: [(Change, ErrorCode); 7] = [
        (|request| request.group_id.clear(), ErrorCode::InvalidGroupId),
        (
            |request| request.group_id = "other".to_owned(),
            ErrorCode::UnknownMemberId,
        ),
        (
            |request| request.member_id = "nobody".to_owned(),
            ErrorCode::UnknownMemberId,
        ),
        (
            |request| request.group_instance_id = Some("nobody".to_owned()),
            ErrorCode::UnknownMemberId,
        ),
        (|request| request.generation_id = 0, ErrorCode::IllegalGeneration),
        (
            |request| request.protocol_type = Some("connect".to_owned()),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            |request| request.protocol_name = Some("sticky".to_owned()),
            ErrorCode::InconsistentGroupProtocol,
        ),
    ];
    for (change, expected) in cases {
        let number = ask(&mut bench, |request| {
            request.member_id = leader.clone();
            change(request);
        });
        assert_eq!(error(&bench, number), expected);
    }
    let number = ask(&mut bench, |request| {
        request.member_id = leader.clone();
        request.protocol_type = Some("consumer".to_owned());
        request.protocol_name = Some("range".to_owned());
    });
    assert_eq!(error(&bench, number), ErrorCode::None);
}

#[test]
fn a_sync_during_a_rebalance_sends_the_member_back() {
    let mut bench = Bench::new();
    let [leader, follower] = completing(&mut bench);
    let waits = bench.sync(&follower, 1, &[]);
    bench.join(3, "", None);
    assert_eq!(error(&bench, waits), ErrorCode::RebalanceInProgress);
    assert_eq!(bench.state(), "PreparingRebalance");
    let late = bench.sync(&leader, 1, &[&leader]);
    assert_eq!(error(&bench, late), ErrorCode::RebalanceInProgress);
}

#[test]
fn members_that_do_not_ask_for_their_assignment_are_left_out() {
    let mut bench = Bench::new();
    let [leader, follower] = completing(&mut bench);
    let leads = bench.sync(&leader, 1, &[&leader, &follower]);
    assert_eq!(error(&bench, leads), ErrorCode::None);
    for _ in 0..12 {
        bench.pass_ms(5_000);
        bench.heartbeat(&leader, 1);
        bench.heartbeat(&follower, 1);
    }
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(bench.heartbeat(&follower, 1), ErrorCode::UnknownMemberId);
    let again = bench.join(JOIN, &leader, None);
    assert_eq!(bench.joined(again).members.len(), 1);
}

#[test]
fn a_leader_that_does_not_assign_is_replaced() {
    let mut bench = Bench::new();
    let [leader, follower] = completing(&mut bench);
    let waits = bench.sync(&follower, 1, &[]);
    for _ in 0..12 {
        bench.heartbeat(&leader, 1);
        bench.pass_ms(5_000);
    }
    assert_eq!(error(&bench, waits), ErrorCode::RebalanceInProgress);
    let again = bench.join(JOIN, &follower, None);
    assert_eq!(bench.joined(again).leader, follower);
}

#[test]
fn a_second_sync_of_the_same_member_takes_the_place_of_the_first() {
    let mut bench = Bench::new();
    let [leader, follower] = completing(&mut bench);
    let first = bench.sync(&follower, 1, &[]);
    let second = bench.sync(&follower, 1, &[]);
    assert_eq!(error(&bench, first), ErrorCode::RebalanceInProgress);
    bench.sync(&leader, 1, &[&leader, &follower]);
    assert_eq!(bench.synced(second).assignment, follower.as_bytes());
}

#[test]
fn a_member_that_waits_need_not_be_heard_of() {
    let mut bench = Bench::new();
    let [leader, follower] = completing(&mut bench);
    let waits = bench.sync(&follower, 1, &[]);
    for _ in 0..5 {
        bench.pass_ms(8_000);
        bench.heartbeat(&leader, 1);
    }
    assert_eq!(bench.answer(waits), None);
    bench.sync(&leader, 1, &[&leader, &follower]);
    assert_eq!(error(&bench, waits), ErrorCode::None);
    bench.pass_ms(9_999);
    assert_eq!(
        bench.heartbeat(&follower, 1),
        ErrorCode::None,
        "its session began anew"
    );
}

#[test]
fn a_member_that_is_not_heard_of_is_removed() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    bench.pass_ms(9_000);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::None);
    bench.pass_ms(1_000);
    assert_eq!(bench.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
    bench.pass_ms(10_000);
    assert_eq!(bench.state(), "Empty");
    let Some(GroupRecord::GroupMetadata(_, Some(value))) = bench.log.last() else {
        panic!("no record");
    };
    assert_eq!(
        (
            value.generation,
            value.members.len(),
            value.protocol_type.as_str()
        ),
        (2, 0, "consumer")
    );
    assert_eq!((&value.protocol, &value.leader), (&None, &None));
}

#[test]
fn sessions_begin_anew_with_the_coordinator() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    bench.pass_ms(9_000);
    bench.restart();
    assert_eq!(bench.state(), "Stable");
    bench.pass_ms(9_999);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::None);
    bench.pass_ms(10_000);
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn a_heartbeat_of_somebody_else_is_refused() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    assert_eq!(bench.heartbeat(&ids[0], 2), ErrorCode::IllegalGeneration);
    assert_eq!(bench.heartbeat(&ids[0], -1), ErrorCode::IllegalGeneration);
    assert_eq!(bench.heartbeat("nobody", 1), ErrorCode::UnknownMemberId);
    for (group_id, expected) in [
        ("", ErrorCode::InvalidGroupId),
        ("other", ErrorCode::UnknownMemberId),
    ] {
        let request = HeartbeatRequest {
            group_id: group_id.to_owned(),
            ..Default::default()
        };
        let GroupResponse::Heartbeat(response) = bench.get(HEARTBEAT, GroupRequest::Heartbeat(request))
        else {
            panic!("no heartbeat");
        };
        assert_eq!(response.error_code, expected.code());
    }
}

#[test]
fn whoever_waits_is_sent_to_another_coordinator() {
    let mut bench = Bench::new();
    let [_, follower] = completing(&mut bench);
    let waits = bench.sync(&follower, 1, &[]);
    bench.restart();
    assert_eq!(error(&bench, waits), ErrorCode::NotCoordinator);
    let joins = bench.join(3, "", None);
    bench.restart();
    assert_eq!(bench.joined(joins).error_code, ErrorCode::NotCoordinator.code());
}

#[test]
fn assignments_that_cannot_be_recorded_are_refused_and_members_agree_once_more() {
    let mut bench = Bench::new();
    let [leader, follower] = completing(&mut bench);
    let waits = bench.sync(&follower, 1, &[]);
    let leads = ask(&mut bench, |request| {
        request.member_id = leader.clone();
        request.assignments = vec![SyncGroupRequestAssignment {
            member_id: leader.clone(),
            assignment: Bytes::from(vec![7; 1_000_000]),
        }];
    });
    for number in [waits, leads] {
        assert_eq!(error(&bench, number), ErrorCode::UnknownServerError);
    }
    assert_eq!(
        (bench.state().as_str(), bench.log.len()),
        ("PreparingRebalance", 1)
    );
}
