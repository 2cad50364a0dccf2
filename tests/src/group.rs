//! Consumer groups by hand: each request of the classic protocol as a call, and what a group has committed.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::raw::{Connection, name};
use crate::{Broker, PATIENCE, code, wait_for};

/// The version of JoinGroup that most requests here use.
pub const JOIN_VERSION: i16 = 9;
/// The version of SyncGroup that most requests here use.
pub const SYNC_VERSION: i16 = 5;
/// The version of OffsetCommit that most requests here use.
pub const COMMIT_VERSION: i16 = 9;

/// A string of the crate kafka-protocol.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A group id of the crate kafka-protocol.
pub fn group_id(group: &str) -> GroupId {
    GroupId::from(text(group))
}

/// A connection to the coordinator, which is loaded when this returns.
pub fn coordinator(broker: &Broker, group: &str) -> Connection {
    let mut connection = Connection::open(broker.bootstrap());
    wait_for("the coordinator is there", PATIENCE, || {
        let found = find(&mut connection, group);
        let error = found
            .coordinators
            .first()
            .map_or(found.error_code, |one| one.error_code);
        if error != code::NONE {
            return None;
        }
        let answer = fetch_all(&mut connection, group);
        (answer.error_code == code::NONE).then_some(())
    });
    connection
}

/// FindCoordinator of a group.
pub fn find(connection: &mut Connection, group: &str) -> FindCoordinatorResponse {
    let request = FindCoordinatorRequest::default()
        .with_key_type(0)
        .with_coordinator_keys(vec![text(group)]);
    connection.call(6, &request)
}

/// A JoinGroup with one protocol, `range`, and a session of 10 s.
pub fn join_request(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("range", &subscription(&[]))])
}

/// A protocol a member can follow, with its metadata.
pub fn protocol(name: &str, metadata: &[u8]) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol::default()
        .with_name(text(name))
        .with_metadata(Bytes::copy_from_slice(metadata))
}

/// A consumer's subscription, version 0: the metadata of its protocols.
pub fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend_from_slice(&(topics.len() as i32).to_be_bytes());
    for topic in topics {
        out.extend_from_slice(&(topic.len() as i16).to_be_bytes());
        out.extend_from_slice(topic.as_bytes());
    }
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out
}

/// A SyncGroup with assignments by member id.
pub fn sync_request(
    group: &str,
    generation: i32,
    member: &str,
    assignments: &[(&str, &[u8])],
) -> SyncGroupRequest {
    let assignments = assignments
        .iter()
        .map(|(member, bytes)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(Bytes::copy_from_slice(bytes))
        })
        .collect();
    SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assignments)
}

/// Joins with a member id of the broker's choice, as every client does: refused once, to learn the id.
pub fn join(connection: &mut Connection, request: &JoinGroupRequest) -> JoinGroupResponse {
    let refused = connection.call(JOIN_VERSION, request);
    assert_eq!(refused.error_code, code::MEMBER_ID_REQUIRED);
    let request = request.clone().with_member_id(refused.member_id);
    connection.call(JOIN_VERSION, &request)
}

/// The only member of a group, which is stable: its id and generation.
pub fn alone(connection: &mut Connection, group: &str, topics: &[&str]) -> (String, i32) {
    let request = join_request(group, "").with_protocols(vec![protocol("range", &subscription(topics))]);
    let joined = join(connection, &request);
    assert_eq!(joined.error_code, code::NONE);
    let member = joined.member_id.to_string();
    let synced = sync(
        connection,
        group,
        joined.generation_id,
        &member,
        &[(&member, b"all")],
    );
    assert_eq!(
        (synced.error_code, &synced.assignment[..]),
        (code::NONE, &b"all"[..])
    );
    (member, joined.generation_id)
}

/// SyncGroup.
pub fn sync(
    connection: &mut Connection,
    group: &str,
    generation: i32,
    member: &str,
    assignments: &[(&str, &[u8])],
) -> SyncGroupResponse {
    connection.call(
        SYNC_VERSION,
        &sync_request(group, generation, member, assignments),
    )
}

/// Heartbeat, and its error.
pub fn heartbeat(connection: &mut Connection, group: &str, generation: i32, member: &str) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(generation)
        .with_member_id(text(member));
    connection.call(4, &request).error_code
}

/// An OffsetCommit of one partition.
pub fn commit_request(
    group: &str,
    generation: i32,
    member: &str,
    topic: &str,
    offset: i64,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("")));
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(text(member))
        .with_topics(vec![
            OffsetCommitRequestTopic::default()
                .with_name(name(topic))
                .with_partitions(vec![partition]),
        ])
}

/// OffsetCommit of partition 0, and its error.
pub fn commit(
    connection: &mut Connection,
    version: i16,
    group: &str,
    generation: i32,
    member: &str,
    topic: &str,
    offset: i64,
) -> i16 {
    let request = commit_request(group, generation, member, topic, offset);
    let answer = connection.call(version, &request);
    answer.topics[0].partitions[0].error_code
}

/// What a group has committed of these partitions of a topic; -1 is nothing. `Err` is the coordinator's error.
pub fn committed(
    connection: &mut Connection,
    group: &str,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, i64>, i16> {
    try_committed(connection, group, topic, partitions).expect("an answer")
}

/// The same, of a broker that may go away meanwhile.
pub fn try_committed(
    connection: &mut Connection,
    group: &str,
    topic: &str,
    partitions: &[i32],
) -> io::Result<Result<BTreeMap<i32, i64>, i16>> {
    let wanted = OffsetFetchRequestTopics::default()
        .with_name(name(topic))
        .with_partition_indexes(partitions.to_vec());
    let answer = fetch_offsets(connection, group, Some(vec![wanted]))?;
    if answer.error_code != code::NONE {
        return Ok(Err(answer.error_code));
    }
    let partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
    let offsets = partitions.map(|one| match one.error_code {
        code::NONE => Ok((one.partition_index, one.committed_offset)),
        error => Err(error),
    });
    Ok(offsets.collect())
}

/// All that a group has committed.
pub fn fetch_all(connection: &mut Connection, group: &str) -> OffsetFetchResponseGroup {
    fetch_offsets(connection, group, None).expect("an answer")
}

fn fetch_offsets(
    connection: &mut Connection,
    group: &str,
    topics: Option<Vec<OffsetFetchRequestTopics>>,
) -> io::Result<OffsetFetchResponseGroup> {
    let wanted = OffsetFetchRequestGroup::default()
        .with_group_id(group_id(group))
        .with_member_epoch(-1)
        .with_topics(topics);
    let answer = connection.try_call(9, &OffsetFetchRequest::default().with_groups(vec![wanted]))?;
    Ok(answer.groups.into_iter().next().expect("the group's answer"))
}

/// Asks for a group's committed offsets all the time, and remembers whether one went back.
#[derive(Debug)]
pub struct Commits {
    state: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    asker: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    known: BTreeMap<i32, i64>,
    answers: usize,
    backwards: Vec<String>,
}

impl Commits {
    /// Starts to ask the broker at `bootstrap`, which may come and go.
    pub fn watch(bootstrap: &str, group: &str, topic: &str, partitions: i32) -> Commits {
        let (state, over) = (
            Arc::new(Mutex::new(Seen::default())),
            Arc::new(AtomicBool::new(false)),
        );
        let (written, stop) = (Arc::clone(&state), Arc::clone(&over));
        let (bootstrap, group, topic) = (bootstrap.to_owned(), group.to_owned(), topic.to_owned());
        let all: Vec<i32> = (0..partitions).collect();
        let asker = std::thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                // A connection for each question: the broker may be killed in between.
                let asked = Connection::try_open(&bootstrap)
                    .and_then(|mut connection| try_committed(&mut connection, &group, &topic, &all));
                if let Ok(Ok(offsets)) = asked {
                    written.lock().expect("no panic while held").enter(offsets);
                }
                std::thread::park_timeout(Duration::from_millis(50));
            }
        });
        Commits {
            state,
            over,
            asker: Some(asker),
        }
    }

    /// Ends the questions and gives the offsets of the last answer.
    ///
    /// # Panics
    /// When an offset ever went back, or nothing was ever answered.
    pub fn finish(mut self) -> BTreeMap<i32, i64> {
        self.over.store(true, Ordering::Release);
        self.asker
            .take()
            .expect("not finished")
            .join()
            .expect("it asks to the end");
        let seen = self.state.lock().expect("no panic while held");
        assert!(seen.answers > 0, "no answer");
        assert!(
            seen.backwards.is_empty(),
            "committed offsets went back: {:?}",
            seen.backwards
        );
        seen.known.clone()
    }

    /// How many answers came.
    pub fn answers(&self) -> usize {
        self.state.lock().expect("no panic while held").answers
    }
}

impl Seen {
    fn enter(&mut self, offsets: BTreeMap<i32, i64>) {
        self.answers += 1;
        for (partition, offset) in offsets {
            let before = self.known.insert(partition, offset).unwrap_or(-1);
            if offset < before {
                self.backwards
                    .push(format!("partition {partition}: {offset} after {before}"));
            }
        }
    }
}
