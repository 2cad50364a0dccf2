//! Asking leaders for offsets: the first, the last, or the first at or after a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Backoff, CallError, Client, describe, is_retriable};
use crate::cli::args::Isolation;
use crate::cli::error::{CliError, CliResult};
use crate::wire::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};

/// Instead of a time: the offset after the last record.
pub const LATEST: i64 = -1;
/// Instead of a time: the first offset still kept.
pub const EARLIEST: i64 = -2;

/// What a leader answered for a partition; offset -1 when no record is at or after the time.
pub type Listed = BTreeMap<i32, i64>;

impl Client {
    /// The offsets of these partitions at `timestamp_ms`, or [`EARLIEST`] or [`LATEST`]; all of them or an error.
    pub fn list_offsets(
        &mut self,
        topic: &str,
        partitions: &[i32],
        timestamp_ms: i64,
        isolation: Isolation,
    ) -> CliResult<Listed> {
        let mut round = Round {
            topic,
            timestamp_ms,
            isolation,
            waiting: partitions.iter().copied().collect(),
            listed: Listed::new(),
            obstacle: "its partitions have no leader".to_owned(),
        };
        let mut backoff = Backoff::new(self.timeout());
        loop {
            round.ask(self, backoff.deadline())?;
            if round.waiting.is_empty() {
                return Ok(round.listed);
            }
            if !backoff.pause() {
                return Err(CliError::Unreachable(format!(
                    "no offsets of {topic:?} in time: {}",
                    round.obstacle
                )));
            }
            self.load_topic(topic)?;
        }
    }
}

/// The partitions not answered yet, and the last reason why.
#[derive(Debug)]
struct Round<'a> {
    topic: &'a str,
    timestamp_ms: i64,
    isolation: Isolation,
    waiting: BTreeSet<i32>,
    listed: Listed,
    obstacle: String,
}

impl Round<'_> {
    fn ask(&mut self, client: &mut Client, deadline: Instant) -> CliResult<()> {
        for (leader, partitions) in client.by_leader(self.topic, self.waiting.clone()) {
            let request = self.request(client, &partitions);
            match client.call_broker(leader, &request, deadline) {
                Ok(response) => self.take(&response)?,
                Err(error) if error.is_retriable() => self.obstacle = error.to_string(),
                Err(error) => return Err(CallError::into(error)),
            }
        }
        Ok(())
    }

    fn request(&self, client: &Client, partitions: &[i32]) -> ListOffsetsRequest {
        let partition = |index: &i32| ListOffsetsPartition {
            partition_index: *index,
            current_leader_epoch: client.leader_epoch(self.topic, *index),
            timestamp: self.timestamp_ms,
        };
        ListOffsetsRequest {
            replica_id: -1,
            isolation_level: self.isolation as i8,
            topics: vec![ListOffsetsTopic {
                name: self.topic.to_owned(),
                partitions: partitions.iter().map(partition).collect(),
            }],
            timeout_ms: i32::try_from(client.timeout().as_millis()).unwrap_or(i32::MAX),
        }
    }

    fn take(&mut self, response: &ListOffsetsResponse) -> CliResult<()> {
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let index = partition.partition_index;
            match partition.error_code {
                0 if self.waiting.remove(&index) => drop(self.listed.insert(index, partition.offset)),
                0 => {}
                code => self.obstacle = self.refusal(index, code)?,
            }
        }
        Ok(())
    }

    fn refusal(&self, partition: i32, code: i16) -> CliResult<String> {
        let text = format!(
            "partition {partition} of {:?}: {}",
            self.topic,
            describe(code, None)
        );
        if is_retriable(code) {
            Ok(text)
        } else {
            Err(CliError::Refused(text))
        }
    }
}
