//! What is told of rebalances that begin.

use super::*;
use crate::groups::rebalances::Cause;
use crate::wire::leave_group::{LeaveGroupRequest, MemberIdentity};

/// The cause, the member and what the client said, of all that was told since the last look.
fn told(bench: &mut Bench) -> Vec<(Cause, Option<String>, Option<String>)> {
    let all = std::mem::take(&mut bench.rebalances).into_iter();
    all.map(|one| (one.cause, one.member_id, one.reason)).collect()
}

fn join_because(bench: &mut Bench, member_id: &str, reason: &str) -> u32 {
    let request = JoinGroupRequest {
        reason: Some(reason.to_owned()),
        ..joining(member_id, None)
    };
    bench.ask(JOIN, GroupRequest::Join(request))
}

#[test]
fn a_rebalance_is_told_of_once_with_who_began_it() {
    let mut bench = Bench::new();
    let ids = bench.stable(3);
    let first = (Cause::Joined, Some(ids[0].clone()), None);
    assert_eq!(
        told(&mut bench),
        [first],
        "the others came while it was on its way"
    );

    join_because(&mut bench, &ids[0], "cached metadata has changed");
    let reason = Some("cached metadata has changed".to_owned());
    assert_eq!(
        told(&mut bench),
        [(Cause::LeaderJoinedAgain, Some(ids[0].clone()), reason)]
    );
    join_because(&mut bench, &ids[1], "need to join again");
    assert_eq!(told(&mut bench), []);
}

#[test]
fn whoever_leaves_is_named_with_its_reason() {
    let mut bench = Bench::new();
    let ids = bench.stable(3);
    told(&mut bench);
    let leaving = |id: &str, reason: &str| MemberIdentity {
        member_id: id.to_owned(),
        group_instance_id: None,
        reason: Some(reason.to_owned()),
    };
    let request = LeaveGroupRequest {
        group_id: "g".to_owned(),
        members: vec![
            leaving("nobody", "unknown"),
            leaving(&ids[1], "the consumer is being closed"),
            leaving(&ids[2], "as well"),
        ],
        ..Default::default()
    };
    bench.get(LEAVE, GroupRequest::Leave(request));
    let told = std::mem::take(&mut bench.rebalances);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (
            told[0].group_id.as_ref(),
            told[0].generation,
            told[0].state.name()
        ),
        ("g", 1, "Stable")
    );
    assert_eq!(
        (told[0].member_id.as_deref(), told[0].reason.as_deref()),
        (Some(ids[1].as_str()), Some("the consumer is being closed"))
    );
}

#[test]
fn a_member_that_was_not_heard_of_is_named() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    told(&mut bench);
    bench.pass_ms(i64::from(SESSION_MS));
    assert_eq!(
        told(&mut bench),
        [(Cause::SessionEnded, Some(ids[0].clone()), None)]
    );
}
