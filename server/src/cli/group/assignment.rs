//! Which partitions a member has: read from both protocols, and shown in short.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;

use crate::wire::consumer_group_describe::Assignment as DescribedAssignment;
use crate::wire::consumer_protocol;
use crate::wire::error::WireError;

/// Partitions by topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Assignment(BTreeMap<String, BTreeSet<i32>>);

impl Assignment {
    /// What the leader of a classic group gave a member; a member that was given nothing yet has no bytes.
    ///
    /// # Errors
    /// The member's client wrote something else than Kafka's `ConsumerProtocolAssignment`.
    pub(super) fn of_classic(bytes: &Bytes) -> Result<Self, WireError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let assignment = consumer_protocol::assignment(bytes)?;
        let topics = assignment.assigned_partitions.into_iter();
        Ok(topics.map(|topic| (topic.topic, topic.partitions)).collect())
    }

    /// How many partitions.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Each partition with its topic, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, i32)> {
        self.0
            .iter()
            .flat_map(|(topic, partitions)| partitions_of(topic, partitions))
    }

    /// `orders:0-2,5 returns:0`; `None` without partitions.
    pub(super) fn as_text(&self) -> Option<String> {
        let topics = self.0.iter();
        let topics: Vec<String> = topics
            .map(|(topic, of)| format!("{topic}:{}", ranges(of)))
            .collect();
        (!topics.is_empty()).then(|| topics.join(" "))
    }

    /// `{"orders": [0, 1, 2, 5], "returns": [0]}`.
    pub(super) fn as_json(&self) -> Value {
        let numbers = |of: &BTreeSet<i32>| of.iter().copied().collect::<Value>();
        self.0
            .iter()
            .map(|(topic, of)| (topic.clone(), numbers(of)))
            .collect()
    }
}

fn partitions_of<'a>(topic: &'a str, partitions: &'a BTreeSet<i32>) -> impl Iterator<Item = (&'a str, i32)> {
    partitions.iter().map(move |partition| (topic, *partition))
}

impl From<DescribedAssignment> for Assignment {
    fn from(assignment: DescribedAssignment) -> Self {
        let topics = assignment.topic_partitions.into_iter();
        topics.map(|topic| (topic.topic_name, topic.partitions)).collect()
    }
}

impl FromIterator<(String, Vec<i32>)> for Assignment {
    fn from_iter<I: IntoIterator<Item = (String, Vec<i32>)>>(topics: I) -> Self {
        let mut all = Self::default();
        for (topic, partitions) in topics
            .into_iter()
            .filter(|(_, partitions)| !partitions.is_empty())
        {
            all.0.entry(topic).or_default().extend(partitions);
        }
        all
    }
}

/// `0-2,5`.
fn ranges(partitions: &BTreeSet<i32>) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for partition in partitions {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*partition) => *last = *partition,
            _ => ranges.push((*partition, *partition)),
        }
    }
    let shown = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::consumer_protocol::{ConsumerProtocolAssignment, TopicPartition, encode};

    fn assignment(topics: &[(&str, &[i32])]) -> Assignment {
        let topics = topics.iter();
        topics
            .map(|(topic, of)| ((*topic).to_owned(), of.to_vec()))
            .collect()
    }

    #[test]
    fn neighbours_are_a_range() {
        let shown = assignment(&[("b", &[5, 0, 2, 1]), ("a", &[i32::MAX]), ("none", &[])]);
        assert_eq!(shown.as_text().as_deref(), Some("a:2147483647 b:0-2,5"));
        assert_eq!(shown.len(), 5);
        assert_eq!(shown.as_json().to_string(), r#"{"a":[2147483647],"b":[0,1,2,5]}"#);
        assert_eq!(assignment(&[]).as_text(), None);
    }

    #[test]
    fn a_leader_s_bytes_are_read_and_other_bytes_are_an_error() {
        let given = ConsumerProtocolAssignment {
            assigned_partitions: vec![TopicPartition {
                topic: "t".to_owned(),
                partitions: vec![3, 4],
            }],
            user_data: None,
        };
        let read = Assignment::of_classic(&encode(&given, 1));
        assert_eq!(read, Ok(assignment(&[("t", &[3, 4])])));
        assert_eq!(Assignment::of_classic(&Bytes::new()), Ok(assignment(&[])));
        assert!(Assignment::of_classic(&Bytes::from_static(b"{\"connect\":1}")).is_err());
    }
}
