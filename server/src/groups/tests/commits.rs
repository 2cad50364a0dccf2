//! OffsetCommit and OffsetFetch.

use super::*;
use crate::wire::offset_commit::*;
use crate::wire::offset_fetch::*;

/// A commit for group `g`: topics, and of each some partitions and their offsets.
pub fn committing(topics: &[(&str, &[(i32, i64)])]) -> OffsetCommitRequest {
    let topics = topics.iter().map(|(name, offsets)| OffsetCommitRequestTopic {
        name: (*name).to_owned(),
        topic_id: Uuid::ZERO,
        partitions: offsets.iter().copied().map(of).collect(),
    });
    OffsetCommitRequest {
        group_id: "g".to_owned(),
        topics: topics.collect(),
        ..Default::default()
    }
}

fn of((partition_index, committed_offset): (i32, i64)) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_leader_epoch: 7,
        committed_metadata: Some("note".to_owned()),
    }
}

pub fn commit(
    bench: &mut Bench,
    version: i16,
    request: OffsetCommitRequest,
) -> Vec<(String, i32, ErrorCode)> {
    let GroupResponse::Commit(response) = bench.get(version, GroupRequest::Commit(request)) else {
        panic!("not committed");
    };
    let all = response.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        let one = move |partition: OffsetCommitResponsePartition| {
            let error = ErrorCode::from_code(partition.error_code);
            (name.clone(), partition.partition_index, error)
        };
        topic.partitions.into_iter().map(one)
    });
    all.collect()
}

/// The error of a commit of one partition of `t`.
pub fn commit_error(bench: &mut Bench, version: i16, member: (&str, Option<&str>, i32)) -> ErrorCode {
    let (member_id, instance_id, generation) = member;
    let request = OffsetCommitRequest {
        member_id: member_id.to_owned(),
        group_instance_id: instance_id.map(str::to_owned),
        generation_id_or_member_epoch: generation,
        ..committing(&[("t", &[(0, 5)])])
    };
    commit(bench, version, request)[0].2
}

fn fetch(bench: &mut Bench, version: i16, group: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let request = GroupRequest::Fetch {
        group,
        require_stable: true,
    };
    match bench.get(version, request) {
        GroupResponse::Fetch(group) => group,
        other => panic!("not fetched: {other:?}"),
    }
}

fn fetching(group_id: &str, topics: &[(&str, Uuid, &[i32])]) -> OffsetFetchRequestGroup {
    let topics = topics
        .iter()
        .map(|(name, topic_id, indexes)| OffsetFetchRequestTopics {
            name: (*name).to_owned(),
            topic_id: *topic_id,
            partition_indexes: indexes.to_vec(),
        });
    OffsetFetchRequestGroup {
        group_id: group_id.to_owned(),
        topics: Some(topics.collect()),
        ..Default::default()
    }
}

/// Offsets and errors of a fetch.
fn found(group: &OffsetFetchResponseGroup) -> Vec<(i32, i64, ErrorCode)> {
    let all = group.topics.iter().flat_map(|topic| &topic.partitions);
    let one = |partition: &OffsetFetchResponsePartitions| {
        let error = ErrorCode::from_code(partition.error_code);
        (partition.partition_index, partition.committed_offset, error)
    };
    all.map(one).collect()
}

#[test]
fn whoever_is_in_no_group_commits_to_one_that_only_has_offsets() {
    let mut bench = Bench::new();
    let id = bench.create_topic("t", 2, 1);
    let answer = commit(&mut bench, 9, committing(&[("t", &[(0, 5), (1, -3)])]));
    let expected = [0, 1].map(|partition| ("t".to_owned(), partition, ErrorCode::None));
    assert_eq!(answer, expected);
    let Some(GroupRecord::OffsetCommit(key, Some(value))) = bench.log.first() else {
        panic!("no record");
    };
    assert_eq!(
        (key.group.as_str(), key.topic.as_str(), key.partition),
        ("g", "t", 0)
    );
    assert_eq!(
        (value.offset, value.leader_epoch, value.metadata.as_str()),
        (5, 7, "note")
    );
    assert_eq!(
        (value.commit_timestamp, value.expire_timestamp, value.topic_id),
        (START_MS, -1, id)
    );
    assert_eq!((bench.log.len(), bench.state()), (2, "Empty".to_owned()));
    let offsets = bench.offsets("g");
    let expected = OffsetFetchResponsePartitions {
        partition_index: 0,
        committed_offset: 5,
        committed_leader_epoch: 7,
        metadata: Some("note".to_owned()),
        error_code: 0,
    };
    assert_eq!((offsets.len(), &offsets[0].partitions[0]), (1, &expected));
    assert_eq!(offsets[0].partitions[1].committed_offset, -3);
}

#[test]
fn what_does_not_exist_is_not_committed_and_the_rest_is() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let request = committing(&[("t", &[(1, 5), (0, 6), (-1, 7)]), ("u", &[(0, 8)])]);
    let mut answer = commit(&mut bench, 9, request);
    answer.sort();
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let expected = [
        ("t", -1, unknown),
        ("t", 0, ErrorCode::None),
        ("t", 1, unknown),
        ("u", 0, unknown),
    ];
    assert_eq!(
        answer,
        expected.map(|(topic, partition, error)| (topic.to_owned(), partition, error))
    );
    assert_eq!(bench.log.len(), 1);
}

#[test]
fn a_commit_of_nothing_that_exists_does_not_ask_the_group() {
    let mut bench = Bench::new();
    let request = OffsetCommitRequest {
        generation_id_or_member_epoch: 9,
        ..committing(&[("u", &[(0, 8)])])
    };
    assert_eq!(
        commit(&mut bench, 9, request)[0].2,
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(bench.log, []);
}

#[test]
fn topics_are_known_by_their_ids_from_version_10_on() {
    let mut bench = Bench::new();
    let id = bench.create_topic("t", 1, 1);
    let mut request = committing(&[("", &[(0, 5), (1, 6)]), ("", &[(0, 7)])]);
    request.topics[0].topic_id = id;
    request.topics[1].topic_id = Uuid([9; 16]);
    let GroupResponse::Commit(response) = bench.get(10, GroupRequest::Commit(request)) else {
        panic!("not committed");
    };
    let mut errors: Vec<(Uuid, i32, i16)> = Vec::new();
    for topic in &response.topics {
        errors.extend(
            topic
                .partitions
                .iter()
                .map(|p| (topic.topic_id, p.partition_index, p.error_code)),
        );
    }
    errors.sort();
    let expected = [
        (Uuid([9; 16]), 0, ErrorCode::UnknownTopicId.code()),
        (id, 0, 0),
        (id, 1, ErrorCode::UnknownTopicOrPartition.code()),
    ];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(errors, expected);
    assert_eq!(response.topics.len(), 2);

    let answer = fetch(
        &mut bench,
        10,
        fetching("g", &[("", Uuid([9; 16]), &[0]), ("", id, &[0, 1])]),
    );
    assert_eq!(
        found(&answer),
        [
            (0, 5, ErrorCode::None),
            (1, -1, ErrorCode::None),
            (0, -1, ErrorCode::UnknownTopicId)
        ]
    );
    let all = fetch(
        &mut bench,
        10,
        OffsetFetchRequestGroup {
            group_id: "g".to_owned(),
            ..Default::default()
        },
    );
    assert_eq!(
        (all.topics[0].topic_id, found(&all)),
        (id, vec![(0, 5, ErrorCode::None)])
    );
}

#[test]
fn metadata_may_be_as_long_as_the_setting_says_in_utf_16() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    for (metadata, expected) in [
        (Some("x".repeat(4096)), ErrorCode::None),
        (Some("é".repeat(4096)), ErrorCode::None),
        (Some("x".repeat(4097)), ErrorCode::OffsetMetadataTooLarge),
        (Some("😀".repeat(2049)), ErrorCode::OffsetMetadataTooLarge),
        (None, ErrorCode::None),
    ] {
        let mut request = committing(&[("t", &[(0, 5)])]);
        request.topics[0].partitions[0].committed_metadata = metadata;
        assert_eq!(commit(&mut bench, 9, request)[0].2, expected);
    }
    assert_eq!(bench.offsets("g")[0].partitions[0].metadata.as_deref(), Some(""));
}

#[test]
fn metadata_that_is_too_long_makes_no_group() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let mut request = committing(&[("t", &[(0, 5)])]);
    request.topics[0].partitions[0].committed_metadata = Some("x".repeat(4097));
    commit(&mut bench, 9, request);
    assert_eq!(bench.state(), "Dead");
}

#[test]
fn a_group_that_does_not_exist_has_no_generation() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    assert_eq!(
        commit_error(&mut bench, 9, ("", None, 1)),
        ErrorCode::GroupIdNotFound
    );
    assert_eq!(
        commit_error(&mut bench, 8, ("", None, 0)),
        ErrorCode::IllegalGeneration
    );
    assert_eq!(
        commit_error(&mut bench, 8, ("anybody", None, -1)),
        ErrorCode::None
    );
}

#[test]
fn members_commit_with_their_generation() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let ids = bench.stable(1);
    let id = ids[0].as_str();
    for (member, expected) in [
        ((id, None, 1), ErrorCode::None),
        ((id, None, 0), ErrorCode::IllegalGeneration),
        ((id, None, -1), ErrorCode::IllegalGeneration),
        (("nobody", None, 1), ErrorCode::UnknownMemberId),
        (("", None, 1), ErrorCode::UnknownMemberId),
        (("", None, -1), ErrorCode::UnknownMemberId),
        ((id, Some("nobody"), 1), ErrorCode::UnknownMemberId),
    ] {
        assert_eq!(commit_error(&mut bench, 9, member), expected, "{member:?}");
    }
}

#[test]
fn a_commit_of_another_process_with_the_same_instance_id_is_fenced() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let joins = bench.join(JOIN, "", Some("i"));
    bench.pass_ms(3_000);
    let id = bench.joined(joins).member_id;
    bench.sync(&id, 1, &[&id]);
    assert_eq!(
        commit_error(&mut bench, 9, ("old", Some("i"), 1)),
        ErrorCode::FencedInstanceId
    );
    assert_eq!(commit_error(&mut bench, 9, (&id, Some("i"), 1)), ErrorCode::None);
}

#[test]
fn a_commit_keeps_a_member_alive() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let ids = bench.stable(1);
    bench.pass_ms(9_000);
    commit_error(&mut bench, 9, (&ids[0], None, 1));
    bench.pass_ms(9_000);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::None);
}

#[test]
fn what_was_not_committed_is_minus_one() {
    let mut bench = Bench::new();
    bench.create_topic("t", 2, 1);
    commit(&mut bench, 9, committing(&[("t", &[(0, 5)])]));
    let nothing = |partition| (partition, -1, ErrorCode::None);
    let answer = fetch(
        &mut bench,
        9,
        fetching("g", &[("t", Uuid::ZERO, &[0, 1, -1]), ("u", Uuid::ZERO, &[3])]),
    );
    assert_eq!(
        found(&answer),
        [(0, 5, ErrorCode::None), nothing(1), nothing(-1), nothing(3)]
    );
    let missing = &answer.topics[1].partitions[0];
    assert_eq!(
        (missing.committed_leader_epoch, missing.metadata.as_deref()),
        (-1, Some(""))
    );
    let answer = fetch(&mut bench, 9, fetching("nobody", &[("t", Uuid::ZERO, &[0])]));
    assert_eq!((answer.error_code, found(&answer)), (0, vec![nothing(0)]));
    assert_eq!(bench.offsets("nobody"), []);
}

#[test]
fn an_empty_group_id_is_a_group_for_offsets() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    let mut request = committing(&[("t", &[(0, 5)])]);
    request.group_id.clear();
    commit(&mut bench, 9, request);
    assert_eq!(bench.offsets("").len(), 1);
}

#[test]
fn by_id_an_offset_of_an_earlier_topic_of_that_name_is_none() {
    let mut bench = Bench::new();
    let id = bench.create_topic("t", 1, 1);
    commit(&mut bench, 9, committing(&[("t", &[(0, 5)])]));
    let records = [RemoveTopicRecord { topic_id: id }.into()];
    bench.metadata.apply_all(&records, 0, 0).expect("valid");
    bench.log.truncate(1);
    let old = std::mem::take(&mut bench.log);
    let new = bench.create_topic("t", 1, 2);
    bench.log = old;
    bench.restart();
    let by_id = fetch(&mut bench, 10, fetching("g", &[("", new, &[0])]));
    assert_eq!(found(&by_id), [(0, -1, ErrorCode::None)]);
    let by_name = fetch(&mut bench, 9, fetching("g", &[("t", Uuid::ZERO, &[0])]));
    assert_eq!(found(&by_name), [(0, 5, ErrorCode::None)]);
}
