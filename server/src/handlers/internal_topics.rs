//! The topics that the broker creates for its coordinators, when somebody needs one: how many partitions they have and which settings.

use super::context::Context;
use super::groups::OFFSETS_TOPIC;
use crate::config::Settings;
use crate::metadata::controller::topics::NewTopic;

/// The topic in which transactions are kept.
pub const TRANSACTION_TOPIC: &str = "__transaction_state";

/// The settings of the broker that say how a topic begins.
struct Names {
    partitions: &'static str,
    segment_bytes: &'static str,
}

fn names(topic: &str) -> Option<Names> {
    match topic {
        OFFSETS_TOPIC => Some(Names {
            partitions: "offsets.topic.num.partitions",
            segment_bytes: "offsets.topic.segment.bytes",
        }),
        TRANSACTION_TOPIC => Some(Names {
            partitions: "transaction.state.log.num.partitions",
            segment_bytes: "transaction.state.log.segment.bytes",
        }),
        _ => None,
    }
}

/// Whether the topic is a coordinator's, and so may be created for whoever asks for it.
pub fn is_of_coordinator(topic: &str) -> bool {
    names(topic).is_some()
}

/// Why a coordinator's topic cannot have more partitions than it began with, if it is one.
pub fn why_not_more(topic: &str) -> Option<String> {
    let (who, what) = match topic {
        OFFSETS_TOPIC => ("groups", "offsets"),
        TRANSACTION_TOPIC => ("transactional ids", "transactions"),
        _ => return None,
    };
    Some(format!(
        "{who} find their partition of {topic} by how many there are: more would make them lose their {what}"
    ))
}

/// What a coordinator's topic begins with, if it is one.
pub fn wish<'a>(ctx: &Context<'_>, topic: &'a str) -> Option<NewTopic<'a>> {
    let names = names(topic)?;
    let layers = ctx.image.layers(ctx.config, ctx.node.id);
    let segment_bytes = layers.broker_number(names.segment_bytes).to_string();
    // Kafka says of transactions that they are never compressed. Nor are they here: nobody but the coordinator writes them.
    let mut settings = vec![
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", segment_bytes),
    ];
    if topic == TRANSACTION_TOPIC {
        let min_isr = layers.broker_number("transaction.state.log.min.isr").to_string();
        settings.push(("min.insync.replicas", min_isr));
        settings.push(("unclean.leader.election.enable", "false".to_owned()));
    }
    let settings: Settings = settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Some(NewTopic {
        name: topic,
        partitions: i32::try_from(layers.broker_number(names.partitions)).unwrap_or(i32::MAX),
        replication_factor: 1,
        assignments: Vec::new(),
        settings,
    })
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::World;
    use super::*;

    #[test]
    fn the_topic_of_transactions_begins_as_in_kafka() {
        let set = [
            ("transaction.state.log.num.partitions", "7"),
            ("transaction.state.log.segment.bytes", "2097152"),
        ];
        let world = World::new(&[], &set);
        let wish = wish(&world.context(), TRANSACTION_TOPIC).expect("a topic of a coordinator");
        let settings: Vec<(&str, &str)> = wish
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!((wish.partitions, wish.replication_factor), (7, 1));
        assert_eq!(
            settings,
            [
                ("cleanup.policy", "compact"),
                ("compression.type", "producer"),
                ("min.insync.replicas", "1"),
                ("segment.bytes", "2097152"),
                ("unclean.leader.election.enable", "false"),
            ]
        );
    }

    #[test]
    fn nobody_else_has_topics_that_are_created_for_whoever_asks() {
        let names = [
            "__consumer_offsets",
            "__transaction_state",
            "__share_group_state",
            "t",
        ];
        assert_eq!(names.map(is_of_coordinator), [true, true, false, false]);
        assert_eq!(
            names.map(|name| why_not_more(name).is_some()),
            [true, true, false, false]
        );
    }
}
