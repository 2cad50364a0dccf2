//! What the members of one group share: its name, who leaves it, what its leader hands out, and how far it has come.

use std::cell::Cell;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::counts::{Counts, count};
use super::plan::Churn;
use crate::client::admin::topic_name;
use crate::client::groups::{About, text};
use crate::error::Error;

/// As long as a consumer's may be by default.
const SESSION_TIMEOUT_MS: i32 = 45_000;
/// A rebalance waits no longer for who is gone, so that no answer takes longer than the client waits for it.
pub const REBALANCE_TIMEOUT_MS: i32 = 30_000;
/// Of the consumer protocol's messages, which every broker reads.
const PROTOCOL_VERSION: i16 = 0;

/// A group.
pub struct Group {
    /// Its name.
    pub name: String,
    /// Who leaves.
    pub churn: Churn,
    /// The topic all are subscribed to.
    pub topic: String,
    /// What its members say of themselves.
    pub about: About,
    partitions: i32,
    is_large: bool,
    counts: Arc<Counts>,
    /// The last generation or epoch that a member came to.
    generation: Cell<Option<i32>>,
}

impl Group {
    /// One nobody is in.
    ///
    /// # Errors
    /// The topic's name cannot be written.
    pub fn new(
        (name, is_large): (String, bool),
        churn: Churn,
        (topic, partitions): (&str, i32),
        counts: Arc<Counts>,
    ) -> Result<Group, Error> {
        let subscription = ConsumerProtocolSubscription::default().with_topics(vec![text(topic)]);
        Ok(Group {
            name,
            churn,
            topic: topic.to_owned(),
            about: About {
                session_timeout_ms: SESSION_TIMEOUT_MS,
                rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
                protocol_type: "consumer",
                protocol: "range",
                metadata: versioned(&subscription)?,
            },
            partitions,
            is_large,
            counts,
            generation: Cell::new(None),
        })
    }

    /// What the leader hands out: a partition each, as far as they go.
    ///
    /// # Errors
    /// The topic's name cannot be written.
    pub fn deal(&self, members: impl Iterator<Item = StrBytes>) -> Result<Vec<(StrBytes, Bytes)>, Error> {
        let none = versioned(&ConsumerProtocolAssignment::default())?;
        let one = |partition: i32| {
            let partitions = TopicPartition::default()
                .with_topic(topic_name(&self.topic))
                .with_partitions(vec![partition]);
            versioned(&ConsumerProtocolAssignment::default().with_assigned_partitions(vec![partitions]))
        };
        (0..)
            .zip(members)
            .map(|(at, member)| match at < self.partitions {
                true => Ok((member, one(at)?)),
                false => Ok((member, none.clone())),
            })
            .collect()
    }

    /// A member has its assignment of `generation`: the first to have it makes it a rebalance completed.
    pub fn came_to(&self, generation: i32) {
        match self.generation.get() {
            Some(known) if known >= generation => return,
            Some(_) if self.is_large => count(&self.counts.large_rebalances),
            Some(_) => count(&self.counts.small_rebalances),
            None => count(&self.counts.begun_groups),
        }
        self.generation.set(Some(generation));
    }
}

/// A message of the consumer protocol behind its version.
fn versioned(message: &impl Encodable) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(PROTOCOL_VERSION);
    message
        .encode(&mut bytes, PROTOCOL_VERSION)
        .map_err(|error| Error::failed(format!("the consumer protocol: {error}")))?;
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use kafka_protocol::protocol::Decodable;

    use super::super::plan::{Plan, Protocol};
    use super::*;

    fn group(counts: &Arc<Counts>) -> Group {
        let plan = Plan {
            members: 2,
            groups: 0,
            group_members: 2,
            requests_per_s: 1.0,
            churn_percent: 1.0,
            protocol: Protocol::Classic,
        };
        let name = ("g".to_owned(), true);
        Group::new(name, plan.churn(2), ("t", 2), Arc::clone(counts)).expect("a group")
    }

    #[test]
    fn a_generation_counts_when_its_first_member_is_in_it() {
        let counts = Arc::new(Counts::default());
        let group = group(&counts);
        for generation in [1, 1, 2, 1, 2, 5] {
            group.came_to(generation);
        }
        let begun = counts.begun_groups.load(Ordering::Relaxed);
        assert_eq!((begun, counts.totals()["large_group_rebalances"]), (1, 2));
        assert_eq!(counts.totals()["small_group_rebalances"], 0);
    }

    #[test]
    fn each_member_is_dealt_a_partition_while_there_are_some() {
        let group = group(&Arc::default());
        let dealt = group.deal(["a", "b", "c"].map(text).into_iter()).expect("dealt");
        let partitions = dealt.iter().map(|(_, assignment)| {
            let mut bytes = assignment.slice(2..);
            let found = ConsumerProtocolAssignment::decode(&mut bytes, PROTOCOL_VERSION).expect("decodes");
            let all = found.assigned_partitions.into_iter();
            all.flat_map(|topic| topic.partitions).collect::<Vec<_>>()
        });
        assert_eq!(partitions.collect::<Vec<_>>(), [vec![0], vec![1], vec![]]);
    }

    use crate::scenario::observer::Beside;
}
