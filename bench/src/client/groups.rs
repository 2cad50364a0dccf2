//! What members of classic groups ask: who coordinates their group, to join it, for their assignment, to be kept, to leave.
//!
//! What a coordinator refuses comes back as Kafka's number of the error: to a member most of them are news, not failures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::admin::resolve;
use super::connection::{Connection, check};
use crate::error::Error;

/// The newest versions that need no answer before the first (KIP-394), and name groups and members one at a time.
const FIND_VERSION: i16 = 2;
const JOIN_VERSION: i16 = 3;
const SYNC_VERSION: i16 = 2;
const HEARTBEAT_VERSION: i16 = 3;
const LEAVE_VERSION: i16 = 2;
/// How long a coordinator may take to be there: the topic for groups is made when the first is looked for.
const COORDINATOR_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
/// Kafka's errors of a coordinator that is not there yet: loading, not available, not the one.
const NOT_YET: [i16; 3] = [14, 15, 16];

/// A member, as its group knows it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The group.
    pub group: String,
    /// Its id; empty before the coordinator has given it one.
    pub id: StrBytes,
    /// The generation it joined last.
    pub generation: i32,
}

/// What a member says of itself when it joins.
#[derive(Clone, Debug)]
pub struct About {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// What kind of group it is; `consumer` has [`About::metadata`] read by the coordinator.
    pub protocol_type: &'static str,
    /// The one way of assigning that it knows.
    pub protocol: &'static str,
    /// For the leader.
    pub metadata: Bytes,
}

/// A string as requests have it.
pub fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// A group's name as requests have it.
pub fn group_id(value: &str) -> GroupId {
    GroupId(text(value))
}

/// Whether an error says that the coordinator is not there yet, so that the same may be asked again.
pub fn is_not_yet(code: i16) -> bool {
    NOT_YET.contains(&code)
}

/// Who coordinates a group, asked until somebody does.
///
/// # Errors
/// The broker's, by name; nobody does within a minute.
pub async fn coordinator(connection: &mut Connection, group: &str) -> Result<SocketAddr, Error> {
    let request = FindCoordinatorRequest::default().with_key(text(group));
    let until = Instant::now() + COORDINATOR_LIMIT;
    loop {
        let (found, _) = connection.call(&request, FIND_VERSION).await?;
        match found.error_code {
            0 => return resolve(&format!("{}:{}", found.host, found.port)),
            code if is_not_yet(code) && Instant::now() < until => tokio::time::sleep(PAUSE).await,
            code => check("FindCoordinator", code, None)?,
        }
    }
}

impl Member {
    /// One that nobody knows of yet.
    pub fn new(group: &str) -> Member {
        Member {
            group: group.to_owned(),
            id: StrBytes::default(),
            generation: -1,
        }
    }

    /// Joins, or joins again; waits until the group is together. Inside, the error it is refused with.
    ///
    /// # Errors
    /// The connection's.
    pub async fn join(
        &mut self,
        connection: &mut Connection,
        about: &About,
    ) -> Result<Result<JoinGroupResponse, i16>, Error> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str(about.protocol))
            .with_metadata(about.metadata.clone());
        let request = JoinGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_session_timeout_ms(about.session_timeout_ms)
            .with_rebalance_timeout_ms(about.rebalance_timeout_ms)
            .with_member_id(self.id.clone())
            .with_protocol_type(StrBytes::from_static_str(about.protocol_type))
            .with_protocols(vec![protocol]);
        let (joined, _) = connection.call(&request, JOIN_VERSION).await?;
        if joined.error_code != 0 {
            return Ok(Err(joined.error_code));
        }
        self.id = joined.member_id.clone();
        self.generation = joined.generation_id;
        Ok(Ok(joined))
    }

    /// Asks for its assignment; the leader brings everybody's. The error, 0 for none.
    ///
    /// # Errors
    /// The connection's.
    pub async fn sync(
        &self,
        connection: &mut Connection,
        assignments: Vec<(StrBytes, Bytes)>,
    ) -> Result<i16, Error> {
        let assignments = assignments.into_iter().map(|(id, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(id)
                .with_assignment(assignment)
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_assignments(assignments.collect());
        let (synced, _) = connection.call(&request, SYNC_VERSION).await?;
        Ok(synced.error_code)
    }

    /// Says that it is there. The error, 0 for none.
    ///
    /// # Errors
    /// The connection's.
    pub async fn heartbeat(&self, connection: &mut Connection) -> Result<i16, Error> {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        let (answer, _) = connection.call(&request, HEARTBEAT_VERSION).await?;
        Ok(answer.error_code)
    }

    /// Leaves the group. The error, 0 for none.
    ///
    /// # Errors
    /// The connection's.
    pub async fn leave(&self, connection: &mut Connection) -> Result<i16, Error> {
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_member_id(self.id.clone());
        let (answer, _) = connection.call(&request, LEAVE_VERSION).await?;
        Ok(answer.error_code)
    }
}
