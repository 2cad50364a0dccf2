//! What coordinators say of groups: asked by the consumer protocol's request first, and for the groups that are not of it by the classic one.

use std::collections::{BTreeMap, BTreeSet};

use super::args::GroupType;
use super::assignment::Assignment;
use crate::cli::client::{Client, GroupAnswer, GroupQuestion, GroupRefusal, Outcome};
use crate::cli::error::CliResult;
use crate::wire::code::ErrorCode;
use crate::wire::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup as ModernGroup,
    Member as ModernMember,
};
use crate::wire::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup as ClassicGroup, DescribedGroupMember,
};
use crate::wire::schema::Message;

/// The protocol type of groups whose members' bytes are Kafka's `ConsumerProtocol`.
const CONSUMER_PROTOCOL: &str = "consumer";
/// The state of groups that are not there, in versions that have no error for it.
const DEAD: &str = "Dead";

/// A group, of either protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) kind: GroupType,
    /// Kafka's name of it.
    pub(super) state: String,
    /// Who assigns partitions to members; `None` while nobody does.
    pub(super) assignor: Option<String>,
    /// Of the consumer protocol.
    pub(super) epochs: Option<Epochs>,
    pub(super) members: Vec<Member>,
    /// What of the answer could not be read.
    pub(super) unreadable: Vec<String>,
}

/// How often a group of the consumer protocol has changed, and for which of its epochs assignments were computed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epochs {
    pub(super) group: i32,
    pub(super) assignment: i32,
}

/// A member, of either protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) host: String,
    /// Which epoch it has come to; of the consumer protocol.
    pub(super) epoch: Option<i32>,
    /// What it has.
    pub(super) assignment: Assignment,
    /// What it is to have; of the consumer protocol.
    pub(super) target: Option<Assignment>,
}

/// Asks for these groups. One that does not exist is refused with `GROUP_ID_NOT_FOUND`.
pub(super) fn ask(
    client: &mut Client,
    groups: &BTreeSet<String>,
) -> CliResult<BTreeMap<String, Outcome<Group>>> {
    let mut described = client.ask_groups(&Modern, groups)?;
    let not_modern = |outcome: &Outcome<Group>| {
        let code = outcome.as_ref().err().map(GroupRefusal::error);
        matches!(
            code,
            Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion)
        )
    };
    let rest = described.iter().filter(|(_, outcome)| not_modern(outcome));
    let rest: BTreeSet<String> = rest.map(|(group, _)| group.clone()).collect();
    described.extend(client.ask_groups(&Classic, &rest)?);
    Ok(described)
}

struct Modern;

impl GroupQuestion for Modern {
    type Asked = ConsumerGroupDescribeRequest;
    type Answer = Group;
    const NEWEST: i16 = ConsumerGroupDescribeRequest::MAX_VERSION;
    const MANY_FROM: i16 = 0;

    fn request(&self, groups: &[String]) -> ConsumerGroupDescribeRequest {
        ConsumerGroupDescribeRequest {
            group_ids: groups.to_vec(),
            include_authorized_operations: false,
        }
    }

    fn answers(
        &self,
        _groups: &[String],
        response: ConsumerGroupDescribeResponse,
    ) -> Vec<GroupAnswer<Group>> {
        response.groups.into_iter().map(modern_group).collect()
    }
}

fn modern_group(mut group: ModernGroup) -> GroupAnswer<Group> {
    let (name, code, message) = (
        group.group_id.clone(),
        group.error_code,
        group.error_message.take(),
    );
    let read = Group {
        name: group.group_id,
        kind: GroupType::Consumer,
        state: group.group_state,
        assignor: non_empty(group.assignor_name),
        epochs: Some(Epochs {
            group: group.group_epoch,
            assignment: group.assignment_epoch,
        }),
        members: group.members.into_iter().map(modern_member).collect(),
        unreadable: Vec::new(),
    };
    (name, GroupRefusal::or(code, message, read))
}

fn modern_member(member: ModernMember) -> Member {
    Member {
        id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        host: host(&member.client_host),
        epoch: Some(member.member_epoch),
        assignment: member.assignment.into(),
        target: Some(member.target_assignment.into()),
    }
}

struct Classic;

impl GroupQuestion for Classic {
    type Asked = DescribeGroupsRequest;
    type Answer = Group;
    const NEWEST: i16 = DescribeGroupsRequest::MAX_VERSION;
    const MANY_FROM: i16 = 0;

    fn request(&self, groups: &[String]) -> DescribeGroupsRequest {
        DescribeGroupsRequest {
            groups: groups.to_vec(),
            include_authorized_operations: false,
        }
    }

    fn answers(&self, _groups: &[String], response: DescribeGroupsResponse) -> Vec<GroupAnswer<Group>> {
        response.groups.into_iter().map(classic_group).collect()
    }
}

fn classic_group(mut group: ClassicGroup) -> GroupAnswer<Group> {
    let name = group.group_id.clone();
    let code = match group.error_code {
        0 if group.group_state == DEAD => ErrorCode::GroupIdNotFound.code(),
        code => code,
    };
    let message = group.error_message.take();
    let is_readable = group.protocol_type.is_empty() || group.protocol_type == CONSUMER_PROTOCOL;
    let mut unreadable = Vec::new();
    let members = group.members.into_iter();
    let members = members
        .map(|member| classic_member(member, is_readable, &mut unreadable))
        .collect();
    let read = Group {
        name: group.group_id,
        kind: GroupType::Classic,
        state: group.group_state,
        assignor: non_empty(group.protocol_data),
        epochs: None,
        members,
        unreadable,
    };
    (name, GroupRefusal::or(code, message, read))
}

fn classic_member(member: DescribedGroupMember, is_readable: bool, unreadable: &mut Vec<String>) -> Member {
    let mut assignment = Assignment::default();
    if is_readable {
        match Assignment::of_classic(&member.member_assignment) {
            Ok(read) => assignment = read,
            Err(error) => unreadable.push(format!(
                "the assignment of member {:?} has {error}",
                member.member_id
            )),
        }
    }
    Member {
        id: member.member_id,
        instance_id: member.group_instance_id,
        client_id: member.client_id,
        host: host(&member.client_host),
        assignment,
        ..Default::default()
    }
}

/// Brokers put a slash before an address without a name, as Java prints them.
fn host(shown: &str) -> String {
    shown.strip_prefix('/').unwrap_or(shown).to_owned()
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::consumer_group_describe::{Assignment as Described, TopicPartitions};
    use crate::wire::consumer_protocol::{ConsumerProtocolAssignment, TopicPartition, encode};

    fn partitions(topic: &str, partitions: &[i32]) -> Assignment {
        [(topic.to_owned(), partitions.to_vec())].into_iter().collect()
    }

    fn classic(protocol_type: &str, assignment: Bytes) -> ClassicGroup {
        ClassicGroup {
            group_id: "g".to_owned(),
            group_state: "Stable".to_owned(),
            protocol_type: protocol_type.to_owned(),
            protocol_data: "range".to_owned(),
            members: vec![DescribedGroupMember {
                member_id: "m".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                member_assignment: assignment,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn a_classic_group_is_read() {
        let given = ConsumerProtocolAssignment {
            assigned_partitions: vec![TopicPartition {
                topic: "t".to_owned(),
                partitions: vec![1],
            }],
            user_data: None,
        };
        let (_, group) = classic_group(classic("consumer", encode(&given, 0)));
        let group = group.expect("described");
        assert_eq!(
            (group.kind, group.assignor.as_deref()),
            (GroupType::Classic, Some("range"))
        );
        let member = &group.members[0];
        assert_eq!(
            (member.host.as_str(), &member.assignment),
            ("127.0.0.1", &partitions("t", &[1]))
        );
        assert_eq!((member.epoch, &member.target), (None, &None));
    }

    #[test]
    fn bytes_of_a_consumer_that_cannot_be_read_are_told_of_and_those_of_others_are_not() {
        let nonsense = || Bytes::from_static(b"??");
        let unreadable = |protocol_type: &str| {
            let (_, group) = classic_group(classic(protocol_type, nonsense()));
            group.expect("described").unreadable
        };
        assert_eq!(unreadable("consumer").len(), 1);
        assert!(unreadable("consumer")[0].contains("\"m\""));
        assert!(unreadable("connect").is_empty());
    }

    #[test]
    fn an_older_broker_s_dead_group_does_not_exist() {
        let dead = ClassicGroup {
            group_state: DEAD.to_owned(),
            ..classic("", Bytes::new())
        };
        let refusal = classic_group(dead).1.expect_err("not there");
        assert_eq!(refusal.error(), ErrorCode::GroupIdNotFound);
    }

    #[test]
    fn a_group_of_the_consumer_protocol_has_epochs_and_a_target() {
        let assigned = |partitions: &[i32]| Described {
            topic_partitions: vec![TopicPartitions {
                topic_name: "t".to_owned(),
                partitions: partitions.to_vec(),
                ..Default::default()
            }],
        };
        let (name, group) = modern_group(ModernGroup {
            group_id: "g".to_owned(),
            group_state: "Reconciling".to_owned(),
            group_epoch: 7,
            assignment_epoch: 6,
            members: vec![ModernMember {
                member_epoch: 5,
                assignment: assigned(&[0]),
                target_assignment: assigned(&[0, 1]),
                ..Default::default()
            }],
            ..Default::default()
        });
        let group = group.expect("described");
        assert_eq!((name.as_str(), group.assignor), ("g", None));
        assert_eq!(
            group.epochs,
            Some(Epochs {
                group: 7,
                assignment: 6
            })
        );
        assert_eq!(group.members[0].epoch, Some(5));
        assert_eq!(group.members[0].assignment, partitions("t", &[0]));
        assert_eq!(group.members[0].target, Some(partitions("t", &[0, 1])));
    }
}
