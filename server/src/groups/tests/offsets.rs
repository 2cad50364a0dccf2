//! OffsetDelete, and offsets whose topic goes.

use super::commits::{commit, committing};
use super::*;
use crate::wire::offset_commit::OffsetCommitRequest;
use crate::wire::offset_delete::*;

fn delete(
    bench: &mut Bench,
    group_id: &str,
    topics: &[(&str, &[i32])],
) -> (ErrorCode, Vec<(String, i32, ErrorCode)>) {
    let topics = topics.iter().map(|(name, indexes)| OffsetDeleteRequestTopic {
        name: (*name).to_owned(),
        partitions: indexes
            .iter()
            .map(|index| OffsetDeleteRequestPartition {
                partition_index: *index,
            })
            .collect(),
    });
    let request = OffsetDeleteRequest {
        group_id: group_id.to_owned(),
        topics: topics.collect(),
    };
    let GroupResponse::DeleteOffsets(response) = bench.get(0, GroupRequest::DeleteOffsets(request)) else {
        panic!("not deleted");
    };
    let mut all = Vec::new();
    for topic in response.topics {
        all.extend(topic.partitions.iter().map(|partition| {
            let error = ErrorCode::from_code(partition.error_code);
            (topic.name.clone(), partition.partition_index, error)
        }));
    }
    (ErrorCode::from_code(response.error_code), all)
}

#[test]
fn offsets_nobody_is_subscribed_to_can_be_deleted() {
    let mut bench = Bench::new();
    bench.create_topic("t", 1, 1);
    bench.create_topic("u", 2, 1);
    let ids = bench.stable(1);
    let request = OffsetCommitRequest {
        member_id: ids[0].clone(),
        generation_id_or_member_epoch: 1,
        ..committing(&[("t", &[(0, 5)]), ("u", &[(0, 6)])])
    };
    commit(&mut bench, 9, request);
    let (error, partitions) = delete(&mut bench, "g", &[("t", &[0]), ("u", &[0, 1, 2]), ("v", &[0])]);
    assert_eq!(error, ErrorCode::None);
    let expected = [
        ("t", 0, ErrorCode::GroupSubscribedToTopic),
        ("u", 0, ErrorCode::None),
        ("u", 1, ErrorCode::None),
        ("u", 2, ErrorCode::UnknownTopicOrPartition),
        ("v", 0, ErrorCode::UnknownTopicOrPartition),
    ];
    assert_eq!(
        partitions,
        expected.map(|(topic, index, error)| (topic.to_owned(), index, error))
    );
    let left: Vec<String> = bench.offsets("g").into_iter().map(|topic| topic.name).collect();
    assert_eq!(left, ["t"]);
}

#[test]
fn only_groups_whose_subscription_is_known_let_offsets_be_deleted_while_members_are_there() {
    let mut bench = Bench::new();
    assert_eq!(delete(&mut bench, "", &[]), (ErrorCode::InvalidGroupId, vec![]));
    assert_eq!(
        delete(&mut bench, "g", &[("t", &[0])]),
        (ErrorCode::GroupIdNotFound, vec![])
    );
    let mut request = joining("", Some("i"));
    request.protocol_type = "connect".to_owned();
    bench.ask(JOIN, GroupRequest::Join(request));
    assert_eq!(
        delete(&mut bench, "g", &[("t", &[0])]),
        (ErrorCode::NonEmptyGroup, vec![])
    );
}

#[test]
fn offsets_go_with_their_topic() {
    let mut bench = Bench::new();
    let id = bench.create_topic("t", 1, 1);
    bench.create_topic("u", 1, 1);
    commit(&mut bench, 9, committing(&[("t", &[(0, 5)]), ("u", &[(0, 6)])]));
    let written = bench.log.len();
    bench.delete_topic(id);
    assert_eq!(bench.log.len(), written + 1);
    assert!(matches!(bench.log.last(), Some(GroupRecord::OffsetCommit(key, None)) if key.topic == "t"));
    assert_eq!(bench.offsets("g").len(), 1);
}

#[test]
fn offsets_of_a_topic_that_was_made_anew_meanwhile_go_too() {
    let mut bench = Bench::new();
    let id = bench.create_topic("t", 1, 1);
    commit(&mut bench, 9, committing(&[("t", &[(0, 5)])]));
    bench
        .metadata
        .apply_all(&[RemoveTopicRecord { topic_id: id }.into()], 0, 0)
        .expect("valid");
    let again = bench.create_topic("t", 1, 2);
    assert_ne!(again, id);
    assert_eq!(bench.offsets("g"), []);
    commit(&mut bench, 9, committing(&[("t", &[(0, 7)])]));
    bench.create_topic("u", 1, 1);
    assert_eq!(bench.offsets("g").len(), 1);
}

#[test]
fn an_offset_that_kafka_wrote_without_a_topic_id_stays_while_the_topic_does() {
    let mut bench = Bench::new();
    let id = bench.create_topic("t", 1, 1);
    let record = GroupRecord::OffsetCommit(
        crate::wire::group_records::OffsetCommitKey {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partition: 0,
        },
        Some(crate::wire::group_records::OffsetCommitValue {
            offset: 4,
            ..Default::default()
        }),
    );
    bench.log.push(record);
    bench.restart();
    bench.create_topic("u", 1, 1);
    assert_eq!(bench.offsets("g").len(), 1);
    bench
        .metadata
        .apply_all(&[RemoveTopicRecord { topic_id: id }.into()], 0, 0)
        .expect("valid");
    bench.create_topic("t", 1, 2);
    assert_eq!(bench.offsets("g"), []);
}
