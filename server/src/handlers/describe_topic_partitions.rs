//! DescribeTopicPartitions: topics in the order of their names, a page of partitions at a time (KIP-966).

use std::collections::BTreeSet;

use super::context::{Context, TOPIC_OPERATIONS};
use crate::metadata::controller::names;
use crate::metadata::image::{Partition, Topic};
use crate::wire::describe_topic_partitions::*;
use crate::wire::{ErrorCode, Uuid};

/// Describes the topics named, or all when none is, from the cursor on.
pub fn handle(
    ctx: &Context<'_>,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let named: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
    if !is_valid(request, &named) {
        return refused(request);
    }
    let (start, first) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let limit = ctx
        .config
        .describe_partitions_limit
        .min(request.response_partition_limit)
        .max(1);
    let mut page = Page {
        ctx,
        response: DescribeTopicPartitionsResponse::default(),
        left: limit as usize,
    };
    let from = |name: &str| if name == start { first } else { 0 };
    if named.is_empty() {
        for topic in ctx.image.topics_from(start) {
            if !page.topic(&topic.name, Some(topic), from(&topic.name)) {
                break;
            }
        }
    } else {
        for name in named.range(start..) {
            if !page.topic(name, ctx.image.topic(name), from(name)) {
                break;
            }
        }
    }
    page.response
}

/// A cursor names a partition, and where topics are named, one of them.
fn is_valid(request: &DescribeTopicPartitionsRequest, named: &BTreeSet<&str>) -> bool {
    request.cursor.as_ref().is_none_or(|cursor| {
        cursor.partition_index >= 0 && (named.is_empty() || named.contains(cursor.topic_name.as_str()))
    })
}

fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let row = |topic: &TopicRequest| unknown(&topic.name, ErrorCode::InvalidRequest);
    DescribeTopicPartitionsResponse {
        topics: request.topics.iter().map(row).collect(),
        ..Default::default()
    }
}

fn unknown(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.into(),
        name: Some(name.to_owned()),
        topic_id: Uuid::ZERO,
        is_internal: names::is_internal(name),
        ..Default::default()
    }
}

struct Page<'a, 'b> {
    ctx: &'b Context<'a>,
    response: DescribeTopicPartitionsResponse,
    left: usize,
}

impl Page<'_, '_> {
    /// Adds a topic from its partition `first` on; false when the page is full and the cursor set.
    fn topic(&mut self, name: &str, topic: Option<&Topic>, first: i32) -> bool {
        if self.left == 0 {
            self.response.next_cursor = Some(Cursor {
                topic_name: name.to_owned(),
                partition_index: 0,
            });
            return false;
        }
        let Some(topic) = topic else {
            let code = match names::check(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(refusal) => refusal.code,
            };
            self.add(unknown(name, code));
            return true;
        };
        let mut rest = topic.partitions.iter_from(&first);
        let page = rest
            .by_ref()
            .take(self.left)
            .map(|(index, partition)| self.partition(*index, partition));
        let partitions: Vec<_> = page.collect();
        let next = rest.next().map(|(index, _)| *index);
        self.left -= partitions.len();
        self.add(DescribeTopicPartitionsResponseTopic {
            topic_id: topic.id,
            partitions,
            ..unknown(name, ErrorCode::None)
        });
        self.response.next_cursor = next.map(|partition_index| Cursor {
            topic_name: name.to_owned(),
            partition_index,
        });
        next.is_none()
    }

    fn add(&mut self, mut topic: DescribeTopicPartitionsResponseTopic) {
        topic.topic_authorized_operations = TOPIC_OPERATIONS;
        self.response.topics.push(topic);
    }

    fn partition(
        &self,
        partition_index: i32,
        partition: &Partition,
    ) -> DescribeTopicPartitionsResponsePartition {
        let (leader_id, error) = self.ctx.leader_of(partition);
        DescribeTopicPartitionsResponsePartition {
            error_code: error.into(),
            partition_index,
            leader_id,
            leader_epoch: partition.leader_epoch,
            replica_nodes: partition.replicas.clone(),
            isr_nodes: partition.isr.clone(),
            eligible_leader_replicas: Some(partition.eligible_leader_replicas.clone()),
            last_known_elr: Some(partition.last_known_elr.clone()),
            offline_replicas: self.ctx.offline_replicas(partition),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::topic;

    fn world() -> World {
        World::new(&[topic("a", 3), topic("b", 2), topic("c", 1)].concat(), &[])
    }

    fn ask(names: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> DescribeTopicPartitionsResponse {
        let request = DescribeTopicPartitionsRequest {
            topics: names
                .iter()
                .map(|name| TopicRequest { name: (*name).into() })
                .collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(name, index)| Cursor {
                topic_name: name.into(),
                partition_index: index,
            }),
        };
        handle(&world().context(), &request)
    }

    fn shape(response: &DescribeTopicPartitionsResponse) -> Vec<String> {
        let rows = response.topics.iter().map(|topic| {
            let indexes: Vec<_> = topic.partitions.iter().map(|p| p.partition_index).collect();
            format!(
                "{} {} {indexes:?}",
                topic.name.as_deref().unwrap_or_default(),
                topic.error_code
            )
        });
        let cursor = response
            .next_cursor
            .iter()
            .map(|c| format!("next {} {}", c.topic_name, c.partition_index));
        rows.chain(cursor).collect()
    }

    #[test]
    fn pages_follow_each_other() {
        for (names, limit, cursor, want) in [
            (&[][..], 100, None, vec!["a 0 [0, 1, 2]", "b 0 [0, 1]", "c 0 [0]"]),
            (&[], 2, None, vec!["a 0 [0, 1]", "next a 2"]),
            (&[], 2, Some(("a", 2)), vec!["a 0 [2]", "b 0 [0]", "next b 1"]),
            (&[], 3, None, vec!["a 0 [0, 1, 2]", "next b 0"]),
            (&[], 9, Some(("aa", 7)), vec!["b 0 [0, 1]", "c 0 [0]"]),
            (&[], 9, Some(("c", 7)), vec!["c 0 []"]),
            (&[], 0, None, vec!["a 0 [0]", "next a 1"]),
            (
                &["c", "a", "x", "a b"],
                9,
                None,
                vec!["a 0 [0, 1, 2]", "a b 17 []", "c 0 [0]", "x 3 []"],
            ),
            (&["a", "c"], 9, Some(("c", 0)), vec!["c 0 [0]"]),
            (&["a"], 9, Some(("c", 0)), vec!["a 42 []"]),
            (&["a"], 9, Some(("a", -1)), vec!["a 42 []"]),
        ] {
            assert_eq!(
                shape(&ask(names, limit, cursor)),
                want,
                "{names:?} {limit} {cursor:?}"
            );
        }
    }

    #[test]
    fn partitions_are_described() {
        let response = ask(&["c"], 9, None);
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.leader_id, &partition.isr_nodes[..]), (1, &[1][..]));
        assert_eq!(
            (
                &partition.eligible_leader_replicas,
                partition.offline_replicas.len()
            ),
            (&Some(vec![]), 0)
        );
        assert_eq!(response.topics[0].topic_authorized_operations, TOPIC_OPERATIONS);
    }
}
