//! Members of the classic protocol in a consumer group.

use bytes::Bytes;

use super::migrations::{classic_member, subscription, upgraded};
use super::world::*;
use crate::groups::timers::Timer;
use crate::wire::code::ErrorCode::{
    self, IllegalGeneration, InconsistentGroupProtocol, RebalanceInProgress, UnknownMemberId,
    UnknownServerError,
};
use crate::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::wire::sync_group::SyncGroupRequest;

#[test]
fn classic_members_of_a_consumer_group_are_checked_like_others() {
    let mut world = upgraded(vec![classic_member("a", &[("t", &[0, 1, 2])])]);
    world.beat(&join("c", &["t"]));
    assert_eq!(world.beat_classic("x", 5), UnknownMemberId);
    assert_eq!(world.beat_classic("c", 6), UnknownMemberId);
    assert_eq!(world.beat_classic("a", 4), IllegalGeneration);
    assert_eq!(world.group.check_fetch(Some("a"), 4), Err(IllegalGeneration));
    assert_eq!(
        world.group.check_commit("a", None, 6, 8).map(|_| ()),
        Err(IllegalGeneration)
    );
    assert_eq!(world.group.check_commit("a", None, 5, 8).map(|_| ()), Ok(()));
    let wrong = |change: fn(&mut JoinGroupRequest)| {
        let mut request = JoinGroupRequest {
            group_id: "g".to_owned(),
            member_id: "d".to_owned(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".to_owned(),
                metadata: subscription(&["t"], &[]),
            }],
            ..Default::default()
        };
        change(&mut request);
        request
    };
    for (request, expected) in [
        (
            wrong(|request| request.protocol_type = "connect".to_owned()),
            InconsistentGroupProtocol,
        ),
        (
            wrong(|request| request.protocols.clear()),
            InconsistentGroupProtocol,
        ),
        (
            wrong(|request| request.protocols[0].name = "mine".to_owned()),
            InconsistentGroupProtocol,
        ),
        (
            wrong(|request| request.protocols[0].metadata = Bytes::from_static(b"\0")),
            UnknownServerError,
        ),
        (
            wrong(|request| request.group_instance_id = Some("x".to_owned())),
            UnknownMemberId,
        ),
    ] {
        let (records, response) =
            world.step(|group, ctx, timers| group.classic_join(ctx, timers, "c", "/h", 9, &request));
        assert_eq!(
            (records, ErrorCode::from_code(response.error_code)),
            (vec![], expected)
        );
    }
    let mut sync = SyncGroupRequest {
        generation_id: 5,
        member_id: "a".to_owned(),
        protocol_name: Some("mine".to_owned()),
        ..Default::default()
    };
    let response = world.with(|group, ctx, timers| group.classic_sync(ctx, timers, &sync));
    assert_eq!(
        ErrorCode::from_code(response.error_code),
        InconsistentGroupProtocol
    );
    sync.protocol_name = None;
    let response = world.with(|group, ctx, timers| group.classic_sync(ctx, timers, &sync));
    assert_eq!(ErrorCode::from_code(response.error_code), RebalanceInProgress);
}

#[test]
fn classic_members_that_are_late_are_fenced() {
    for late in [
        Timer::Session as fn(_, _) -> Timer,
        Timer::ClassicJoin,
        Timer::ClassicSync,
    ] {
        let mut world = upgraded(vec![
            classic_member("a", &[("t", &[0])]),
            classic_member("b", &[("t", &[1, 2])]),
        ]);
        world.beat(&join("c", &["t"]));
        let records =
            world.with(|group, ctx, timers| group.on_timer(ctx, timers, &late("g".into(), "a".into())));
        assert_eq!(kinds(&records), ["-current", "-target", "-member", "epoch"]);
    }
}

#[test]
fn many_leave_with_one_request_and_each_is_told() {
    let mut world = upgraded(vec![
        classic_member("a", &[]),
        classic_member("b", &[]),
        classic_member("d", &[]),
    ]);
    world.beat(&join("c", &["t"]));
    let identity = |member: &str, instance: Option<&str>| MemberIdentity {
        member_id: member.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        reason: None,
    };
    let request = LeaveGroupRequest {
        members: vec![
            identity("a", None),
            identity("x", None),
            identity("b", None),
            identity("", Some("i")),
        ],
        ..Default::default()
    };
    let (records, response) = world.step(|group, ctx, timers| group.classic_leave(ctx, timers, &request));
    let codes: Vec<ErrorCode> = response
        .members
        .iter()
        .map(|member| ErrorCode::from_code(member.error_code))
        .collect();
    assert_eq!(
        codes,
        [ErrorCode::None, UnknownMemberId, ErrorCode::None, UnknownMemberId]
    );
    assert_eq!(
        kinds(&records),
        [
            "-current", "-target", "-member", "-current", "-target", "-member", "epoch"
        ]
    );
}

#[test]
fn a_member_that_changes_its_protocol_keeps_its_partitions() {
    let mut world = upgraded(vec![
        classic_member("a", &[("t", &[0, 1, 2])]),
        classic_member("b", &[]),
    ]);
    let response = world.beat(&join("a", &["t"]));
    assert_eq!(world.describe().members[0].member_type, 1);
    assert!(response.member_epoch >= 5);
}
