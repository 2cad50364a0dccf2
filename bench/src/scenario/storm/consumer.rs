//! A member of a consumer group (KIP-848) in a storm: it heartbeats, owns what it is assigned as soon as it is told, and now and then leaves.

use std::rc::Rc;
use std::sync::Arc;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;

use super::counts::{Counts, count};
use super::group::{Group, REBALANCE_TIMEOUT_MS};
use crate::client::admin::topic_name;
use crate::client::connection::{Connection, check};
use crate::client::groups::{group_id, is_not_yet};
use crate::error::Error;

/// The version in which the broker gives members their ids.
const VERSION: i16 = 0;
/// The epoch of who joins, and of who leaves.
const JOINING: i32 = 0;
const LEAVING: i32 = -1;
/// What a member is told when it has to join anew.
const UNKNOWN_MEMBER_ID: i16 = 25;
const FENCED_MEMBER_EPOCH: i16 = 110;

/// A member.
pub struct ConsumerMember {
    group: Rc<Group>,
    counts: Arc<Counts>,
    number: u32,
    id: StrBytes,
    epoch: i32,
    /// What it was assigned and has not said yet that it owns.
    unsaid: Option<Vec<TopicPartitions>>,
}

impl ConsumerMember {
    /// Member `number` of a group, which has not joined.
    pub fn new(group: Rc<Group>, counts: Arc<Counts>, number: u32) -> ConsumerMember {
        ConsumerMember {
            group,
            counts,
            number,
            id: StrBytes::default(),
            epoch: JOINING,
            unsaid: None,
        }
    }

    /// One heartbeat and its answer.
    ///
    /// # Errors
    /// The connection broke, or the member was told something that no member should be.
    pub async fn turn(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let leaves = self.epoch != JOINING && self.group.churn.leaves(self.number, self.epoch);
        let request = self.request(leaves);
        let (answer, _) = connection.call(&request, VERSION).await?;
        match answer.error_code {
            0 if leaves => {
                count(&self.counts.leaves);
                self.forget();
                Ok(())
            }
            0 => {
                count(match self.epoch {
                    JOINING => &self.counts.joins,
                    _ => &self.counts.heartbeats,
                });
                self.take(answer);
                Ok(())
            }
            UNKNOWN_MEMBER_ID | FENCED_MEMBER_EPOCH => {
                self.forget();
                Ok(())
            }
            code if is_not_yet(code) => Ok(()),
            code => {
                let what = format!("a member of group {}", self.group.name);
                check(&what, code, answer.error_message.as_ref())
            }
        }
    }

    fn request(&mut self, leaves: bool) -> ConsumerGroupHeartbeatRequest {
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(&self.group.name))
            .with_member_id(self.id.clone())
            .with_rebalance_timeout_ms(-1);
        if leaves {
            return request.with_member_epoch(LEAVING);
        }
        if self.epoch == JOINING {
            return request
                .with_member_epoch(JOINING)
                .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
                .with_subscribed_topic_names(Some(vec![topic_name(&self.group.topic)]))
                .with_topic_partitions(Some(Vec::new()));
        }
        request
            .with_member_epoch(self.epoch)
            .with_topic_partitions(self.unsaid.take())
    }

    fn take(&mut self, answer: ConsumerGroupHeartbeatResponse) {
        if let Some(id) = answer.member_id {
            self.id = id;
        }
        self.epoch = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            let owned = assignment.topic_partitions.into_iter().map(|of_topic| {
                TopicPartitions::default()
                    .with_topic_id(of_topic.topic_id)
                    .with_partitions(of_topic.partitions)
            });
            self.unsaid = Some(owned.collect());
        }
        self.group.came_to(self.epoch);
    }

    fn forget(&mut self) {
        self.id = StrBytes::default();
        self.epoch = JOINING;
        self.unsaid = None;
    }
}
