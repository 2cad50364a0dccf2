//! JoinGroup.

use super::*;
use crate::wire::group_records::GroupMetadataValue;

fn error(bench: &Bench, number: u32) -> ErrorCode {
    ErrorCode::from_code(bench.joined(number).error_code)
}

fn ask(bench: &mut Bench, version: i16, change: impl FnOnce(&mut JoinGroupRequest)) -> u32 {
    let mut request = joining("", None);
    change(&mut request);
    bench.ask(version, GroupRequest::Join(request))
}

#[test]
fn a_request_that_cannot_be_right_is_refused_before_the_group_is_looked_at() {
    let mut bench = Bench::new();
    for (change, expected) in [
        (
            (|request| request.group_id.clear()) as fn(&mut JoinGroupRequest),
            ErrorCode::InvalidGroupId,
        ),
        (
            |request| request.session_timeout_ms = 5_999,
            ErrorCode::InvalidSessionTimeout,
        ),
        (
            |request| request.session_timeout_ms = 1_800_001,
            ErrorCode::InvalidSessionTimeout,
        ),
        (
            |request| request.session_timeout_ms = i32::MIN,
            ErrorCode::InvalidSessionTimeout,
        ),
        (
            |request| request.member_id = "nobody".to_owned(),
            ErrorCode::UnknownMemberId,
        ),
    ] {
        let number = ask(&mut bench, JOIN, change);
        assert_eq!(error(&bench, number), expected);
    }
    assert_eq!(bench.log, []);
}

#[test]
fn a_member_is_given_an_id_and_joins_with_it() {
    let mut bench = Bench::new();
    let first = bench.join(4, "", None);
    assert_eq!(error(&bench, first), ErrorCode::MemberIdRequired);
    let id = bench.joined(first).member_id;
    assert_eq!(id, "client-00000000-0000-0000-0000-000000000001");
    assert_eq!(bench.state(), "Empty");
    let second = bench.join(4, &id, None);
    assert_eq!(bench.answer(second), None);
    assert_eq!(bench.state(), "PreparingRebalance");
    bench.pass_ms(2_999);
    assert_eq!(bench.answer(second), None, "others may come");
    bench.pass_ms(1);
    let joined = bench.joined(second);
    assert_eq!(
        (joined.error_code, joined.generation_id, joined.leader),
        (0, 1, id.clone())
    );
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
    let members: Vec<_> = joined
        .members
        .iter()
        .map(|member| (&member.member_id, &member.metadata))
        .collect();
    assert_eq!(members, [(&id, &speaks("range", "t").metadata)]);
    assert_eq!(bench.state(), "CompletingRebalance");
}

#[test]
fn a_new_group_is_written_with_its_first_member_and_not_with_its_second() {
    let mut bench = Bench::new();
    bench.join(JOIN, "", None);
    let expected = GroupMetadataValue {
        current_state_timestamp: START_MS,
        ..Default::default()
    };
    let written = |bench: &Bench| match &bench.log[..] {
        [GroupRecord::GroupMetadata(_, Some(value))] => value.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(written(&bench), expected);
    bench.join(JOIN, "", None);
    assert_eq!(written(&bench), expected);
}

#[test]
fn old_clients_join_at_once() {
    let mut bench = Bench::new();
    let number = bench.join(3, "", None);
    assert_eq!(bench.answer(number), None);
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(number).error_code, 0);
}

#[test]
fn the_first_rebalance_waits_as_long_as_members_come_but_no_longer_than_one_may_take() {
    let mut bench = Bench::new();
    bench.settings.initial_rebalance_delay_ms = 40_000;
    let (first, _) = bench.join_with_new_id();
    bench.pass_ms(39_000);
    let (second, _) = bench.join_with_new_id();
    bench.pass_ms(20_000);
    assert_eq!(bench.answer(first), None, "of 60 s 59 have passed");
    let (third, _) = bench.join_with_new_id();
    bench.pass_ms(1_000);
    for number in [first, second, third] {
        assert_eq!(bench.joined(number).generation_id, 1);
    }
}

#[test]
fn an_id_that_is_not_used_is_forgotten_with_its_session() {
    let mut bench = Bench::new();
    let first = bench.join(JOIN, "", None);
    let id = bench.joined(first).member_id;
    bench.pass_ms(i64::from(SESSION_MS));
    let second = bench.join(JOIN, &id, None);
    assert_eq!(error(&bench, second), ErrorCode::UnknownMemberId);
}

#[test]
fn a_rebalance_waits_for_members_that_were_given_an_id() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let pending = bench.join(JOIN, "", None);
    let pending = bench.joined(pending).member_id;
    let again = bench.join(JOIN, &ids[0], None);
    assert_eq!(bench.answer(again), None);
    let new = bench.join(JOIN, &pending, None);
    assert_eq!(bench.joined(again).generation_id, 2);
    assert_eq!(bench.joined(new).leader, ids[0]);
    assert_eq!(bench.joined(new).members, [], "for the leader only");
}

#[test]
fn ids_that_wait_have_a_limit() {
    let mut bench = Bench::new();
    for _ in 0..crate::groups::classic::MAX_PENDING_MEMBERS {
        bench.join(JOIN, "", None);
    }
    let number = bench.join(JOIN, "", None);
    assert_eq!(error(&bench, number), ErrorCode::GroupMaxSizeReached);
}

#[test]
fn a_static_member_does_not_use_the_id_of_a_dynamic_one() {
    let mut bench = Bench::new();
    let first = bench.join(JOIN, "", None);
    let id = bench.joined(first).member_id;
    let number = bench.join(JOIN, &id, Some("i"));
    assert_eq!(error(&bench, number), ErrorCode::UnknownServerError);
}

#[test]
fn protocols_must_be_shared_by_all() {
    let mut bench = Bench::new();
    let number = ask(&mut bench, JOIN, |request| request.protocols.clear());
    assert_eq!(error(&bench, number), ErrorCode::InconsistentGroupProtocol);
    let number = ask(&mut bench, JOIN, |request| request.protocol_type.clear());
    assert_eq!(error(&bench, number), ErrorCode::InconsistentGroupProtocol);
    bench.stable(1);
    let number = ask(&mut bench, JOIN, |request| {
        request.protocols = vec![speaks("sticky", "t")]
    });
    assert_eq!(error(&bench, number), ErrorCode::InconsistentGroupProtocol);
    let number = ask(&mut bench, JOIN, |request| {
        request.protocol_type = "connect".to_owned()
    });
    assert_eq!(error(&bench, number), ErrorCode::InconsistentGroupProtocol);
    let number = ask(&mut bench, JOIN, |request| {
        request.protocols = vec![speaks("roundrobin", "t")]
    });
    assert_eq!(error(&bench, number), ErrorCode::MemberIdRequired);
}

#[test]
fn a_protocol_that_is_named_twice_counts_once() {
    let mut bench = Bench::new();
    let number = ask(&mut bench, 3, |request| {
        request.protocols = vec![speaks("range", "t"), speaks("range", "u")];
    });
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(number).protocol_name.as_deref(), Some("range"));
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut bench = Bench::new();
    bench.settings.max_size = 2;
    let ids = bench.stable(2);
    let third = bench.join(JOIN, "", None);
    assert_eq!(error(&bench, third), ErrorCode::GroupMaxSizeReached);
    let again = bench.join(JOIN, &ids[1], None);
    assert_eq!(bench.joined(again).error_code, 0);
}

#[test]
fn a_group_over_its_maximum_loses_who_joins_last() {
    let mut bench = Bench::new();
    let ids = bench.stable(3);
    bench.settings.max_size = 2;
    bench.restart();
    assert_eq!(bench.state(), "PreparingRebalance");
    let joins: Vec<u32> = ids.iter().map(|id| bench.join(JOIN, id, None)).collect();
    assert_eq!(error(&bench, joins[2]), ErrorCode::GroupMaxSizeReached);
    bench.pass_ms(i64::from(REBALANCE_MS));
    assert_eq!(bench.joined(joins[0]).generation_id, 2);
    assert_eq!(bench.joined(joins[0]).members.len(), 2);
}

#[test]
fn members_that_do_not_join_again_in_time_are_left_out_and_another_leads() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let (new, new_id) = bench.join_with_new_id();
    assert_eq!(bench.state(), "PreparingRebalance");
    for _ in 0..5 {
        assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
        assert_eq!(bench.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
        bench.pass_ms(9_000);
    }
    let again = bench.join(JOIN, &ids[1], None);
    bench.heartbeat(&ids[0], 1);
    bench.pass_ms(9_000);
    bench.heartbeat(&ids[0], 1);
    bench.pass_ms(5_999);
    assert_eq!(bench.answer(again), None);
    bench.pass_ms(1);
    assert_eq!(bench.joined(again).generation_id, 2);
    assert_eq!(bench.joined(again).leader, bench.joined(new).leader);
    assert!([&ids[1], &new_id].contains(&&bench.joined(new).leader));
    assert_eq!(bench.heartbeat(&ids[0], 2), ErrorCode::UnknownMemberId);
}

#[test]
fn a_new_member_whose_client_is_gone_does_not_wait_for_ever() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let mut request = joining("", None);
    request.rebalance_timeout_ms = 600_000;
    let new = bench.ask(3, GroupRequest::Join(request));
    for _ in 0..60 {
        bench.pass_ms(5_000);
        bench.heartbeat(&ids[0], 1);
    }
    assert_eq!(error(&bench, new), ErrorCode::UnknownMemberId);
    assert_eq!(bench.joined(new).member_id, "");
}

#[test]
fn a_follower_that_missed_the_answer_is_told_again() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let number = bench.join(JOIN, &ids[1], None);
    let joined = bench.joined(number);
    assert_eq!(
        (joined.generation_id, joined.leader, joined.members.len()),
        (1, ids[0].clone(), 0)
    );
    assert_eq!(bench.state(), "Stable");
}

#[test]
fn a_leader_that_joins_wants_a_rebalance() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let number = bench.join(JOIN, &ids[0], None);
    assert_eq!(bench.answer(number), None);
    assert_eq!(bench.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    bench.join(JOIN, &ids[1], None);
    assert_eq!(bench.joined(number).generation_id, 2);
    let again = bench.join(JOIN, &ids[0], None);
    assert_eq!(
        bench.joined(again).members.len(),
        2,
        "it missed the answer of this generation"
    );
}

#[test]
fn a_member_that_says_something_new_wants_a_rebalance() {
    let mut bench = Bench::new();
    let ids = bench.stable(2);
    let number = ask(&mut bench, JOIN, |request| {
        request.member_id = ids[1].clone();
        request.protocols = vec![speaks("roundrobin", "u")];
    });
    assert_eq!(bench.state(), "PreparingRebalance");
    bench.join(JOIN, &ids[0], None);
    assert_eq!(bench.joined(number).protocol_name.as_deref(), Some("roundrobin"));
    let other = ask(&mut bench, JOIN, |request| {
        request.member_id = ids[1].clone();
        request.protocols = vec![speaks("roundrobin", "v")];
    });
    assert_eq!(bench.answer(other), None, "also while assignments are made");
}

#[test]
fn a_second_request_of_the_same_member_takes_the_place_of_the_first() {
    let mut bench = Bench::new();
    let (first, id) = bench.join_with_new_id();
    let second = bench.join(JOIN, &id, None);
    assert_eq!(error(&bench, first), ErrorCode::RebalanceInProgress);
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(second).generation_id, 1);
}

#[test]
fn the_first_version_has_one_timeout_for_both() {
    let mut bench = Bench::new();
    let first = ask(&mut bench, 0, |request| request.rebalance_timeout_ms = -1);
    bench.pass_ms(3_000);
    let id = bench.joined(first).member_id;
    let assigned = bench.sync(&id, 1, &[&id]);
    assert_eq!(bench.synced(assigned).error_code, 0);
    let Some(GroupRecord::GroupMetadata(_, Some(value))) = bench.log.last() else {
        panic!("no record");
    };
    assert_eq!(value.members[0].rebalance_timeout, SESSION_MS);
}

#[test]
fn names_of_any_length_become_ids_that_fit() {
    let mut bench = Bench::new();
    let instance = "é".repeat(16_000);
    let number = bench.join(JOIN, "", Some(&instance));
    bench.pass_ms(3_000);
    let id = bench.joined(number).member_id;
    assert_eq!(id.len(), 248 + 37);
    let assigned = bench.sync(&id, 1, &[&id]);
    assert_eq!(bench.synced(assigned).error_code, 0);
}
