//! DescribeGroups, ListGroups and DeleteGroups.

use super::commits::{commit, committing};
use super::*;
use crate::wire::describe_groups::DescribedGroup;

fn describe(bench: &mut Bench, version: i16, group_id: &str) -> DescribedGroup {
    match bench.get(version, GroupRequest::Describe(group_id.to_owned())) {
        GroupResponse::Describe(group) => group,
        other => panic!("not described: {other:?}"),
    }
}

fn list(bench: &mut Bench, states: &[&str], types: &[&str]) -> Vec<String> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let request = GroupRequest::List {
        states: owned(states).into(),
        types: owned(types).into(),
    };
    match bench.get(5, request) {
        GroupResponse::List(groups) => groups.into_iter().map(|group| group.group_id).collect(),
        other => panic!("not listed: {other:?}"),
    }
}

fn delete(bench: &mut Bench, group_id: &str) -> ErrorCode {
    match bench.get(2, GroupRequest::Delete(group_id.to_owned())) {
        GroupResponse::Delete(result) => ErrorCode::from_code(result.error_code),
        other => panic!("not deleted: {other:?}"),
    }
}

#[test]
fn a_group_that_does_not_exist_is_dead_and_from_version_6_on_an_error() {
    let mut bench = Bench::new();
    let old = describe(&mut bench, 5, "nobody");
    assert_eq!((old.error_code, old.group_state.as_str()), (0, "Dead"));
    assert_eq!(old.error_message, None);
    let new = describe(&mut bench, 6, "nobody");
    assert_eq!(
        (new.error_code, new.group_state.as_str()),
        (ErrorCode::GroupIdNotFound.code(), "Dead")
    );
    assert_eq!(new.error_message.as_deref(), Some("Group nobody not found."));
}

#[test]
fn a_stable_group_shows_what_its_members_said_and_got() {
    let mut bench = Bench::new();
    let ids = bench.stable(1);
    let group = describe(&mut bench, 6, "g");
    assert_eq!(
        (
            group.group_state.as_str(),
            group.protocol_type.as_str(),
            group.protocol_data.as_str()
        ),
        ("Stable", "consumer", "range")
    );
    let member = &group.members[0];
    assert_eq!(
        (member.client_id.as_str(), member.client_host.as_str()),
        ("client", "/127.0.0.1")
    );
    assert_eq!(member.member_metadata, speaks("range", "t").metadata);
    assert_eq!(member.member_assignment, ids[0].as_bytes());
    bench.join_with_new_id();
    let group = describe(&mut bench, 6, "g");
    assert_eq!(
        (
            group.group_state.as_str(),
            group.protocol_data.as_str(),
            group.members.len()
        ),
        ("PreparingRebalance", "", 2)
    );
    assert_eq!(group.members[0].member_metadata, Bytes::new());
}

#[test]
fn groups_are_listed_by_state_and_type_without_regard_to_case() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    bench.stable(1);
    let mut request = committing(&[("t", &[(0, 5)])]);
    request.group_id = "simple".to_owned();
    commit(&mut bench, 9, request);
    assert_eq!(list(&mut bench, &[], &[]), ["g", "simple"]);
    assert_eq!(list(&mut bench, &["sTABLE"], &[]), ["g"]);
    assert_eq!(
        list(&mut bench, &[" Empty ", "Stable"], &["CLASSIC"]),
        ["g", "simple"]
    );
    assert_eq!(list(&mut bench, &["PreparingRebalance"], &[]), [""; 0]);
    assert_eq!(list(&mut bench, &[], &["consumer"]), [""; 0]);
    assert_eq!(list(&mut bench, &["nonsense"], &[]), [""; 0]);
    assert_eq!(list(&mut bench, &[], &["nonsense"]), [""; 0]);
    let all = bench.coordinator.list(&[], &[]);
    let shown: Vec<_> = all
        .iter()
        .map(|group| {
            (
                group.protocol_type.as_str(),
                group.group_state.as_str(),
                group.group_type.as_str(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [("consumer", "Stable", "classic"), ("", "Empty", "classic")]
    );
}

#[test]
fn a_group_is_deleted_with_its_offsets_when_nobody_is_in_it() {
    let mut bench = Bench::new();
    bench.create_topic("t", 2, 1);
    assert_eq!(delete(&mut bench, "g"), ErrorCode::GroupIdNotFound);
    assert_eq!(delete(&mut bench, ""), ErrorCode::GroupIdNotFound);
    let ids = bench.stable(1);
    let mut request = committing(&[("t", &[(0, 5), (1, 6)])]);
    request.member_id = ids[0].clone();
    request.generation_id_or_member_epoch = 1;
    commit(&mut bench, 9, request);
    assert_eq!(delete(&mut bench, "g"), ErrorCode::NonEmptyGroup);
    bench.pass_ms(i64::from(SESSION_MS));
    let written = bench.log.len();
    assert_eq!(delete(&mut bench, "g"), ErrorCode::None);
    assert_eq!(bench.log.len(), written + 3);
    assert!(matches!(&bench.log[written], GroupRecord::OffsetCommit(_, None)));
    assert!(matches!(
        &bench.log[written + 2],
        GroupRecord::GroupMetadata(_, None)
    ));
    assert_eq!((bench.offsets("g"), bench.state()), (vec![], "Dead".to_owned()));
}
