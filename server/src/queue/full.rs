//! Why a batch has no room.

use std::fmt;
use std::sync::Arc;

use crate::config::queue::{MAX_BYTES, MAX_LAG};

/// A limit that a batch would go beyond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// The topic.
    pub topic: Arc<str>,
    /// The setting.
    pub limit: &'static str,
    /// Its value.
    pub most: i64,
    /// How much is there, in what the limit counts.
    pub held: i64,
    /// How much the batch would add.
    pub asked: i64,
    /// The group that is behind, if it is about one.
    pub group: Option<Arc<str>>,
    /// Whether its producer waits for room: there may be some in time.
    pub may_wait: bool,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Full {
            topic,
            limit,
            most,
            held,
            asked,
            ..
        } = self;
        let unit = match *limit {
            MAX_BYTES => "bytes",
            _ => "records",
        };
        write!(f, "the queue of topic {topic} is full: {limit} is {most}, ")?;
        match (&self.group, *limit) {
            (Some(group), MAX_LAG) => write!(f, "group {group} is {held} {unit} behind")?,
            _ => write!(f, "{held} {unit} are in it")?,
        }
        write!(f, ", and the batch has {asked}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::queue::MAX_RECORDS;

    #[test]
    fn a_refusal_names_topic_limit_value_and_how_full_it_is() {
        let full = |limit, group: Option<&str>| Full {
            topic: "orders".into(),
            limit,
            most: 100,
            held: 98,
            asked: 5,
            group: group.map(Arc::from),
            may_wait: false,
        };
        for (full, said) in [
            (
                full(MAX_BYTES, None),
                "the queue of topic orders is full: ringlog.queue.max.bytes is 100, 98 bytes are in it, and the batch has 5",
            ),
            (
                full(MAX_RECORDS, None),
                "the queue of topic orders is full: ringlog.queue.max.records is 100, 98 records are in it, and the batch has 5",
            ),
            (
                full(MAX_LAG, Some("g")),
                "the queue of topic orders is full: ringlog.queue.max.lag is 100, group g is 98 records behind, and the batch has 5",
            ),
        ] {
            assert_eq!(full.to_string(), said);
        }
    }
}
