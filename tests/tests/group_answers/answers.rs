//! Answers as text that no run and no broker changes: what the broker makes up is named, what comes in no order is sorted.

use std::fmt::Write as _;

use ringlog::wire::ErrorCode;
use ringlog::wire::consumer_group_describe::{self, ConsumerGroupDescribeResponse};
use ringlog::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
use ringlog::wire::delete_groups::DeleteGroupsResponse;
use ringlog::wire::describe_groups::DescribeGroupsResponse;
use ringlog::wire::find_coordinator::FindCoordinatorResponse;
use ringlog::wire::heartbeat::HeartbeatResponse;
use ringlog::wire::join_group::JoinGroupResponse;
use ringlog::wire::leave_group::LeaveGroupResponse;
use ringlog::wire::list_groups::ListGroupsResponse;
use ringlog::wire::offset_commit::OffsetCommitResponse;
use ringlog::wire::offset_delete::OffsetDeleteResponse;
use ringlog::wire::offset_fetch::OffsetFetchResponse;
use ringlog::wire::sync_group::SyncGroupResponse;

/// As many of one character in a row are printed as their number.
const RUN_CHARACTERS: usize = 64;
/// Characters of a random id as Java prints it, `8-4-4-4-12`.
const JAVA_UUID_CHARACTERS: usize = 36;
/// Characters of a random id as Kafka prints it, in base64.
const KAFKA_UUID_CHARACTERS: usize = 22;

/// What the broker made up in this run, and what is printed instead.
#[derive(Debug, Default)]
pub struct Names {
    known: Vec<(String, String)>,
    members: usize,
}

impl Names {
    /// Prints something made up under a name.
    pub fn add(&mut self, made_up: impl Into<String>, name: impl Into<String>) {
        self.known.push((made_up.into(), name.into()));
    }

    /// Names a member id by its number in the order of appearance. What the broker puts before the random part stays.
    fn meet(&mut self, member_id: &str) {
        let random = match member_id.len() {
            KAFKA_UUID_CHARACTERS => member_id,
            length if length > JAVA_UUID_CHARACTERS => {
                member_id.get(length - JAVA_UUID_CHARACTERS..).unwrap_or_default()
            }
            _ => return,
        };
        let dashes = random.bytes().filter(|&byte| byte == b'-').count();
        let made_up = random.len() == KAFKA_UUID_CHARACTERS || dashes == 4;
        if made_up && self.known.iter().all(|(known, _)| known != random) {
            self.members += 1;
            let name = format!("M{}", self.members);
            self.add(random, name);
        }
    }

    /// The text with everything made up replaced.
    fn stable(&self, text: &str) -> String {
        let replace = |text: String, (made_up, name): &(String, String)| text.replace(made_up, name);
        self.known.iter().fold(text.to_owned(), replace)
    }
}

/// An answer the script prints.
pub trait Answer: std::fmt::Debug {
    /// Learns what the broker made up, and sorts what comes in no order.
    fn tidy(&mut self, _: &mut Names) {}
}

impl Answer for SyncGroupResponse {}
impl Answer for HeartbeatResponse {}
impl Answer for OffsetCommitResponse {}
impl Answer for LeaveGroupResponse {}

impl Answer for DeleteGroupsResponse {
    fn tidy(&mut self, _: &mut Names) {
        self.results.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    }
}

impl Answer for OffsetDeleteResponse {
    fn tidy(&mut self, _: &mut Names) {
        for topic in &mut self.topics {
            topic
                .partitions
                .sort_by_key(|partition| partition.partition_index);
        }
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

impl Answer for FindCoordinatorResponse {
    fn tidy(&mut self, _: &mut Names) {
        let nobody = |port: i32| if port == -1 { -1 } else { 9092 };
        self.port = nobody(self.port);
        for coordinator in &mut self.coordinators {
            coordinator.port = nobody(coordinator.port);
        }
    }
}

impl Answer for JoinGroupResponse {
    fn tidy(&mut self, names: &mut Names) {
        names.meet(&self.member_id);
        for member in &self.members {
            names.meet(&member.member_id);
        }
        self.members.sort_by_key(|member| names.stable(&member.member_id));
    }
}

impl Answer for DescribeGroupsResponse {
    fn tidy(&mut self, names: &mut Names) {
        self.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        for group in &mut self.groups {
            group
                .members
                .sort_by_key(|member| names.stable(&member.member_id));
        }
    }
}

impl Answer for ListGroupsResponse {
    fn tidy(&mut self, _: &mut Names) {
        self.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    }
}

impl Answer for OffsetFetchResponse {
    fn tidy(&mut self, names: &mut Names) {
        for topic in &mut self.topics {
            topic
                .partitions
                .sort_by_key(|partition| partition.partition_index);
        }
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for group in &mut self.groups {
            for topic in &mut group.topics {
                topic
                    .partitions
                    .sort_by_key(|partition| partition.partition_index);
            }
            group
                .topics
                .sort_by_key(|topic| (topic.name.clone(), names.stable(&topic.topic_id.to_string())));
        }
    }
}

impl Answer for ConsumerGroupHeartbeatResponse {
    fn tidy(&mut self, names: &mut Names) {
        names.meet(self.member_id.as_deref().unwrap_or_default());
        if let Some(assignment) = &mut self.assignment {
            for topic in &mut assignment.topic_partitions {
                topic.partitions.sort_unstable();
            }
            assignment
                .topic_partitions
                .sort_by_key(|topic| names.stable(&topic.topic_id.to_string()));
        }
    }
}

impl Answer for ConsumerGroupDescribeResponse {
    fn tidy(&mut self, names: &mut Names) {
        self.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        for group in &mut self.groups {
            group
                .members
                .sort_by_key(|member| names.stable(&member.member_id));
            for member in &mut group.members {
                for assignment in [&mut member.assignment, &mut member.target_assignment] {
                    sort(assignment);
                }
                member.subscribed_topic_names.sort();
            }
        }
    }
}

fn sort(assignment: &mut consumer_group_describe::Assignment) {
    for topic in &mut assignment.topic_partitions {
        topic.partitions.sort_unstable();
    }
    assignment
        .topic_partitions
        .sort_by(|a, b| a.topic_name.cmp(&b.topic_name));
}

/// The fields of an answer.
pub fn fields(names: &mut Names, answer: &mut impl Answer) -> String {
    answer.tidy(names);
    let text = format!("{answer:?}");
    let fields = text.split_once(' ').map_or("", |(_, fields)| fields);
    runs(&errors(&without(&names.stable(fields), "throttle_time_ms: ")))
}

/// The text without a numeric field and the comma after it.
fn without(text: &str, field: &str) -> String {
    let mut parts = text.split(field);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once(", ").map_or("}", |(_, rest)| rest));
    }
    out
}

/// The text with the names of errors in the place of their numbers.
fn errors(text: &str) -> String {
    const FIELD: &str = "error_code: ";
    let mut parts = text.split(FIELD);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !c.is_ascii_digit() && c != '-')
            .unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        let code = ErrorCode::from_code(number.parse().unwrap_or(-1));
        out.push_str(FIELD);
        out.push_str(code.name());
        out.push_str(rest);
    }
    out
}

/// The text with long runs of one character as their length.
pub fn runs(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| c != first).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if run.len() < RUN_CHARACTERS {
            out.push_str(run);
        } else {
            let _ = write!(out, "<{} times {first:?}>", run.len());
        }
        rest = after;
    }
    out
}
