//! Requests about groups: taken apart into one question for each group's coordinator, and put together again.
//!
//! A group's coordinator is that of the partition of `__consumer_offsets` its id hashes to, as in Kafka, so that a directory may go
//! from one to the other.

use std::collections::HashSet;

use super::txn_offset_commit;
use crate::groups::{GroupRequest, GroupResponse};
use crate::metadata::image::{MetadataImage, Topic};
use crate::wire::consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use crate::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use crate::wire::list_groups::{ListGroupsRequest, ListGroupsResponse};
use crate::wire::offset_fetch::*;
use crate::wire::schema::Message;
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::wire::{ApiKey, Decoder, ErrorCode, WireError};

/// The topic in which groups and their offsets are kept.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The first version of SyncGroup that must name the protocol (KIP-559).
const SYNC_PROTOCOL_FROM: i16 = 5;
/// The first version of OffsetFetch that asks for many groups.
const FETCH_MANY_FROM: i16 = 8;
/// The first version of OffsetFetch whose answer has an error for all of it.
const FETCH_ERROR_FROM: i16 = 2;
/// Groups that one request may ask about: each is a question of its own between cores.
const MAX_QUESTIONS: usize = 100_000;
/// The operations on a group that an unrestricted client may do, one bit each: read, delete, describe, describe and alter settings (KIP-430).
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// A request taken apart.
#[derive(Debug)]
pub struct Apart {
    /// What is to be asked.
    pub questions: Vec<GroupRequest>,
    /// How the answers become one.
    pub form: Form,
}

/// How answers become a response.
#[derive(Debug)]
pub enum Form {
    /// The one answer is the response.
    One,
    /// The one answer in the older form of OffsetFetch, and the partitions that were asked for.
    OldFetch(Vec<OffsetFetchRequestTopic>),
    /// A SyncGroup that is refused without asking.
    Refused(ErrorCode),
    /// A row for each answer.
    Rows {
        /// Whether the operations that are allowed are wanted.
        operations: bool,
    },
}

/// What came of a question.
#[derive(Debug)]
pub enum Told {
    /// The coordinator's answer.
    Answer(GroupResponse),
    /// The groups of one coordinator cannot be listed.
    ListFailed(ErrorCode),
}

/// The partition of a group's coordinator: Java's hash of the id, without its sign, by the number of partitions.
pub fn partition_of(group_id: &str, partitions: usize) -> i32 {
    let hash = group_id.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % (partitions.max(1) as i32)
}

/// The topic in which groups are kept, if it is there.
pub fn offsets_topic(image: &MetadataImage) -> Option<&Topic> {
    image.topic(OFFSETS_TOPIC)
}

/// Decodes a request about groups and takes it apart.
///
/// # Errors
/// It is malformed, or about something else.
pub fn apart(
    key: ApiKey,
    version: i16,
    body: &mut Decoder<'_>,
    partitions: usize,
) -> Result<Apart, WireError> {
    fn read<M: Message>(body: &mut Decoder<'_>, version: i16) -> Result<M, WireError> {
        M::decode_as(body, version)
    }
    let one = |question| Apart {
        questions: vec![question],
        form: Form::One,
    };
    let rows = |questions: Vec<GroupRequest>, operations| Apart {
        questions,
        form: Form::Rows { operations },
    };
    let apart = match key {
        ApiKey::JoinGroup => one(GroupRequest::Join(read(body, version)?)),
        ApiKey::SyncGroup => sync(read(body, version)?, version),
        ApiKey::Heartbeat => one(GroupRequest::Heartbeat(read(body, version)?)),
        ApiKey::LeaveGroup => one(GroupRequest::Leave(read(body, version)?)),
        ApiKey::OffsetCommit => one(GroupRequest::Commit(read(body, version)?)),
        ApiKey::TxnOffsetCommit => one(GroupRequest::TxnCommit(read(body, version)?)),
        ApiKey::OffsetDelete => one(GroupRequest::DeleteOffsets(read(body, version)?)),
        ApiKey::ConsumerGroupHeartbeat => one(GroupRequest::ConsumerHeartbeat(read(body, version)?)),
        ApiKey::OffsetFetch => fetch(read(body, version)?, version),
        ApiKey::DescribeGroups => {
            let request: DescribeGroupsRequest = read(body, version)?;
            let groups = request.groups.into_iter().map(GroupRequest::Describe);
            rows(groups.collect(), request.include_authorized_operations)
        }
        ApiKey::DeleteGroups => {
            let request: DeleteGroupsRequest = read(body, version)?;
            // A group that is named twice is deleted once, and answered once.
            let mut named = HashSet::new();
            let once = request
                .groups_names
                .into_iter()
                .filter(|id| named.insert(id.clone()));
            rows(once.map(GroupRequest::Delete).collect(), false)
        }
        ApiKey::ConsumerGroupDescribe => {
            let request: ConsumerGroupDescribeRequest = read(body, version)?;
            let groups = request.group_ids.into_iter().map(GroupRequest::ConsumerDescribe);
            rows(groups.collect(), request.include_authorized_operations)
        }
        ApiKey::ListGroups => {
            let request: ListGroupsRequest = read(body, version)?;
            let question = GroupRequest::List {
                states: request.states_filter.into(),
                types: request.types_filter.into(),
            };
            rows(vec![question; partitions], false)
        }
        other => return Err(WireError::UnknownType(i32::from(other as i16))),
    };
    match apart.questions.len() {
        ..=MAX_QUESTIONS => Ok(apart),
        count => Err(WireError::TooManyElements(count)),
    }
}

fn sync(request: SyncGroupRequest, version: i16) -> Apart {
    let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= SYNC_PROTOCOL_FROM && !says_protocol {
        return Apart {
            questions: Vec::new(),
            form: Form::Refused(ErrorCode::InconsistentGroupProtocol),
        };
    }
    Apart {
        questions: vec![GroupRequest::Sync(request)],
        form: Form::One,
    }
}

fn fetch(request: OffsetFetchRequest, version: i16) -> Apart {
    let require_stable = request.require_stable;
    let question = |group| GroupRequest::Fetch {
        group,
        require_stable,
    };
    if version >= FETCH_MANY_FROM {
        return Apart {
            questions: request.groups.into_iter().map(question).collect(),
            form: Form::Rows { operations: false },
        };
    }
    let topics = request.topics.as_ref().map(|topics| {
        let named = topics.iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name.clone(),
            partition_indexes: topic.partition_indexes.clone(),
            ..Default::default()
        });
        named.collect()
    });
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..Default::default()
    };
    Apart {
        questions: vec![question(group)],
        form: Form::OldFetch(request.topics.unwrap_or_default()),
    }
}

/// The body of the response, appended to `out`, from one answer for each question, in their order.
pub fn together(key: ApiKey, version: i16, form: &Form, told: Vec<Told>, out: &mut Vec<u8>) {
    match form {
        Form::One => {
            if let Some(Told::Answer(answer)) = told.into_iter().next() {
                write_one(&answer, version, out);
            }
        }
        Form::Refused(code) => {
            let response = SyncGroupResponse {
                error_code: code.code(),
                ..Default::default()
            };
            response.encode(out, version);
        }
        Form::OldFetch(asked) => {
            if let Some(Told::Answer(GroupResponse::Fetch(group))) = told.into_iter().next() {
                old_fetch(group, asked, version).encode(out, version);
            }
        }
        Form::Rows { operations } => write_rows(key, version, *operations, told, out),
    }
}

fn write_one(answer: &GroupResponse, version: i16, out: &mut Vec<u8>) {
    match answer {
        GroupResponse::Join(response) => response.encode(out, version),
        GroupResponse::Sync(response) => response.encode(out, version),
        GroupResponse::Heartbeat(response) => response.encode(out, version),
        GroupResponse::Leave(response) => response.encode(out, version),
        GroupResponse::Commit(response) => response.encode(out, version),
        GroupResponse::TxnCommit(response) => txn_offset_commit::write(response, version, out),
        GroupResponse::DeleteOffsets(response) => response.encode(out, version),
        GroupResponse::ConsumerHeartbeat(response) => response.encode(out, version),
        // Those of requests with rows.
        GroupResponse::Fetch(_)
        | GroupResponse::Describe(_)
        | GroupResponse::Delete(_)
        | GroupResponse::List(_)
        | GroupResponse::ConsumerDescribe(_) => {}
    }
}

fn write_rows(key: ApiKey, version: i16, operations: bool, told: Vec<Told>, out: &mut Vec<u8>) {
    let authorized_operations = if operations { GROUP_OPERATIONS } else { i32::MIN };
    let (mut fetched, mut described, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    let (mut consumers, mut listed, mut failed) = (Vec::new(), Vec::new(), None);
    for told in told {
        match told {
            Told::ListFailed(code) => failed = Some(code),
            Told::Answer(GroupResponse::Fetch(row)) => fetched.push(row),
            Told::Answer(GroupResponse::Describe(mut row)) => {
                if row.error_code == 0 {
                    row.authorized_operations = authorized_operations;
                }
                described.push(row);
            }
            Told::Answer(GroupResponse::Delete(row)) => deleted.push(row),
            Told::Answer(GroupResponse::List(rows)) => listed.extend(rows),
            Told::Answer(GroupResponse::ConsumerDescribe(mut row)) => {
                if row.error_code == 0 {
                    row.authorized_operations = authorized_operations;
                }
                consumers.push(row);
            }
            Told::Answer(_) => {}
        }
    }
    match key {
        ApiKey::OffsetFetch => {
            let response = OffsetFetchResponse {
                groups: fetched,
                ..Default::default()
            };
            response.encode(out, version);
        }
        ApiKey::DescribeGroups => {
            let response = DescribeGroupsResponse {
                groups: described,
                ..Default::default()
            };
            response.encode(out, version);
        }
        ApiKey::DeleteGroups => {
            let response = DeleteGroupsResponse {
                results: deleted,
                ..Default::default()
            };
            response.encode(out, version);
        }
        ApiKey::ConsumerGroupDescribe => {
            let response = ConsumerGroupDescribeResponse {
                groups: consumers,
                ..Default::default()
            };
            response.encode(out, version);
        }
        _ => {
            let response = ListGroupsResponse {
                error_code: failed.unwrap_or_default().into(),
                groups: if failed.is_some() { Vec::new() } else { listed },
                ..Default::default()
            };
            response.encode(out, version);
        }
    }
}

/// An answer in the form of one group. Before there was an error for all of it, each partition carried it.
fn old_fetch(
    group: OffsetFetchResponseGroup,
    asked: &[OffsetFetchRequestTopic],
    version: i16,
) -> OffsetFetchResponse {
    let failed = group.error_code != 0;
    if failed && version < FETCH_ERROR_FROM {
        let topics = asked.iter().map(|topic| OffsetFetchResponseTopic {
            name: topic.name.clone(),
            partitions: topic
                .partition_indexes
                .iter()
                .map(|index| OffsetFetchResponsePartition {
                    partition_index: *index,
                    committed_offset: -1,
                    metadata: Some(String::new()),
                    error_code: group.error_code,
                    ..Default::default()
                })
                .collect(),
        });
        return OffsetFetchResponse {
            topics: topics.collect(),
            ..Default::default()
        };
    }
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
            })
            .collect(),
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::describe_groups::DescribedGroup;

    #[test]
    fn groups_hash_as_in_java() {
        // "group".hashCode() is 98629247, "polygenelubricants".hashCode() is the smallest int.
        assert_eq!(partition_of("group", 50), 47);
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        assert_eq!(partition_of("", 50), 0);
        // Beyond the basic plane a character is two units.
        assert_eq!(partition_of("😀", 50), (0xd83d * 31 + 0xde00) % 50);
    }

    #[test]
    fn an_error_is_in_each_partition_where_there_is_no_other_place() {
        let asked = [OffsetFetchRequestTopic {
            name: "t".into(),
            partition_indexes: vec![0, 1],
        }];
        let group = || OffsetFetchResponseGroup {
            group_id: "g".into(),
            error_code: 16,
            ..Default::default()
        };
        let codes = |response: &OffsetFetchResponse| -> Vec<i16> {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|partition| partition.error_code).collect()
        };
        let (first, second) = (old_fetch(group(), &asked, 1), old_fetch(group(), &asked, 2));
        assert_eq!((first.error_code, codes(&first)), (0, vec![16, 16]));
        assert_eq!((second.error_code, codes(&second)), (16, vec![]));
    }

    fn questions(key: ApiKey, version: i16, request: &impl Message) -> Apart {
        let mut bytes = Vec::new();
        request.encode_as(&mut bytes, version);
        let bytes = bytes.into();
        apart(key, version, &mut Decoder::new(&bytes), 50).expect("a good request")
    }

    #[test]
    fn a_sync_without_its_protocol_is_refused_from_version_5() {
        let mut request = SyncGroupRequest::default();
        for version in [4, 5] {
            let apart = questions(ApiKey::SyncGroup, version, &request);
            assert_eq!(apart.questions.len(), usize::from(version == 4), "{version}");
        }
        request.protocol_type = Some("consumer".into());
        let refused = questions(ApiKey::SyncGroup, 5, &request);
        let mut out = Vec::new();
        together(ApiKey::SyncGroup, 5, &refused.form, Vec::new(), &mut out);
        let response = SyncGroupResponse::decode(&mut Decoder::new(&out.into()), 5).expect("an answer");
        assert_eq!(response.error_code, 23);
        request.protocol_name = Some("range".into());
        assert_eq!(questions(ApiKey::SyncGroup, 5, &request).questions.len(), 1);
    }

    #[test]
    fn a_group_that_is_named_twice_is_deleted_once() {
        let request = DeleteGroupsRequest {
            groups_names: ["a", "b", "a"].map(String::from).to_vec(),
        };
        let apart = questions(ApiKey::DeleteGroups, 2, &request);
        let ids: Vec<_> = apart
            .questions
            .iter()
            .filter_map(GroupRequest::group_id)
            .collect();
        assert_eq!(ids, ["a", "b"]);
    }

    #[test]
    fn a_group_that_is_not_there_allows_nothing() {
        let row = |error_code| {
            let group = DescribedGroup {
                error_code,
                ..Default::default()
            };
            Told::Answer(GroupResponse::Describe(group))
        };
        let form = Form::Rows { operations: true };
        let mut out = Vec::new();
        together(ApiKey::DescribeGroups, 6, &form, vec![row(0), row(69)], &mut out);
        let response = DescribeGroupsResponse::decode(&mut Decoder::new(&out.into()), 6).expect("an answer");
        let operations = response.groups.iter().map(|group| group.authorized_operations);
        assert_eq!(operations.collect::<Vec<_>>(), [GROUP_OPERATIONS, i32::MIN]);
    }
}
