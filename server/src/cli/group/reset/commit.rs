//! Offsets committed from outside of a group: without generation and member, which a coordinator takes only while the group has no members.

use std::collections::BTreeMap;

use super::Change;
use crate::cli::client::{GroupAnswer, GroupQuestion, GroupRefusal, describe};
use crate::wire::code::ErrorCode;
use crate::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};

/// Error numbers by topic and partition.
pub(super) type Outcomes = BTreeMap<(String, i32), i16>;

/// Sets a group's offsets.
pub(super) struct Commit<'a> {
    pub(super) changes: &'a [Change],
}

impl GroupQuestion for Commit<'_> {
    type Asked = OffsetCommitRequest;
    type Answer = Outcomes;
    /// The last version that names topics by name.
    const NEWEST: i16 = 9;
    /// A request is of one group, in every version.
    const MANY_FROM: i16 = i16::MAX;

    fn request(&self, groups: &[String]) -> OffsetCommitRequest {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for change in self.changes {
            topics
                .entry(&change.topic)
                .or_default()
                .push(OffsetCommitRequestPartition {
                    partition_index: change.partition,
                    committed_offset: change.new_offset,
                    committed_metadata: Some(String::new()),
                    ..Default::default()
                });
        }
        let topic = |(name, partitions): (&str, Vec<_>)| OffsetCommitRequestTopic {
            name: name.to_owned(),
            partitions,
            ..Default::default()
        };
        OffsetCommitRequest {
            group_id: groups.first().cloned().unwrap_or_default(),
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        }
    }

    /// A coordinator that has moved, or is still reading, says so of every partition.
    fn answers(&self, groups: &[String], response: OffsetCommitResponse) -> Vec<GroupAnswer<Outcomes>> {
        let mut outcomes = Outcomes::new();
        for topic in response.topics {
            let name = topic.name;
            let partitions = topic.partitions.iter();
            outcomes.extend(partitions.map(|p| ((name.clone(), p.partition_index), p.error_code)));
        }
        let elsewhere = outcomes
            .values()
            .copied()
            .find(|code| is_of_coordinator(*code))
            .unwrap_or(0);
        let group = groups.first().cloned().unwrap_or_default();
        vec![(group, GroupRefusal::or(elsewhere, None, outcomes))]
    }
}

fn is_of_coordinator(code: i16) -> bool {
    matches!(
        ErrorCode::from_code(code),
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator
    )
}

/// Why a partition's offset was not taken, if so.
pub(super) fn failure(code: i16) -> Option<String> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => None,
        ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress => {
            Some(format!(
                "a member has joined the group meanwhile; stop it first ({})",
                ErrorCode::from_code(code).name()
            ))
        }
        _ => Some(describe(code, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};

    fn answer(codes: &[i16]) -> Result<Outcomes, i16> {
        let partition = |(index, code): (usize, &i16)| OffsetCommitResponsePartition {
            partition_index: index as i32,
            error_code: *code,
        };
        let response = OffsetCommitResponse {
            topics: vec![OffsetCommitResponseTopic {
                name: "t".to_owned(),
                partitions: codes.iter().enumerate().map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut answers = Commit { changes: &[] }.answers(&["g".to_owned()], response);
        let (group, outcome) = answers.pop().expect("one group");
        assert_eq!(group, "g");
        outcome.map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_coordinator_that_has_moved_is_looked_for_again_and_a_partition_s_error_is_its_own() {
        assert_eq!(answer(&[16, 16]), Err(16));
        assert_eq!(answer(&[14]), Err(14));
        let outcomes = Outcomes::from([(("t".to_owned(), 0), 0), (("t".to_owned(), 1), 3)]);
        assert_eq!(answer(&[0, 3]), Ok(outcomes));
    }

    #[test]
    fn a_member_that_came_meanwhile_is_said_to_be_the_reason() {
        assert_eq!(failure(0), None);
        for code in [22, 25, 27] {
            assert!(
                failure(code).is_some_and(|text| text.contains("stop it first")),
                "{code}"
            );
        }
        assert!(failure(3).is_some_and(|text| text.contains("UNKNOWN_TOPIC_OR_PARTITION")));
    }

    #[test]
    fn a_commit_from_outside_names_no_member() {
        let change = |topic: &str, partition| Change {
            topic: topic.to_owned(),
            partition,
            old_offset: None,
            new_offset: 9,
        };
        let changes = [change("a", 0), change("b", 0), change("a", 1)];
        let request = Commit { changes: &changes }.request(&["g".to_owned()]);
        assert_eq!(
            (request.generation_id_or_member_epoch, request.member_id.as_str()),
            (-1, "")
        );
        let sent: Vec<(&str, usize)> = request
            .topics
            .iter()
            .map(|t| (t.name.as_str(), t.partitions.len()))
            .collect();
        assert_eq!(sent, [("a", 2), ("b", 1)]);
    }
}
