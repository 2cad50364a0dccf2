//! The table of broker settings that are about groups and their topic: what Kafka's `GroupCoordinatorConfig` has and is served here. Its settings
//! for threads, buffers and timeouts of a coordinator among several brokers have no counterpart, and are told of at start like any other that is not
//! supported.

use super::broker::BrokerKey;
use super::kind::{Items, Kind};
use super::topic::topic_key;

const ANY_INT: Kind = Kind::Int(i32::MIN, i32::MAX);
const POSITIVE_INT: Kind = Kind::Int(1, i32::MAX);
const INT: Kind = Kind::Int(0, i32::MAX);

/// A setting that has a default.
pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> BrokerKey {
    BrokerKey {
        name,
        kind,
        default: Some(default),
        doc,
    }
}

/// The setting that may change at run time, as in Kafka.
pub const ASSIGNMENT_INTERVAL: &str = "group.consumer.assignment.interval.ms";

/// Every one of them, sorted by name.
pub static COORDINATOR_KEYS: &[BrokerKey] = &[
    key(
        ASSIGNMENT_INTERVAL,
        INT,
        "1000",
        "Milliseconds between two assignments of a consumer group's partitions, at least; a group may have its own.",
    ),
    key(
        "group.consumer.assignors",
        Kind::List(Items::SomeOf(&[
            "uniform",
            "range",
            "org.apache.kafka.coordinator.group.assignor.UniformAssignor",
            "org.apache.kafka.coordinator.group.assignor.RangeAssignor",
        ])),
        "uniform,range",
        "Who may assign partitions to the members of consumer groups; the first does when a member names none.",
    ),
    key(
        "group.consumer.heartbeat.interval.ms",
        POSITIVE_INT,
        "5000",
        "Milliseconds between two heartbeats that members of consumer groups are told; a group may have its own.",
    ),
    key(
        "group.consumer.max.assignment.interval.ms",
        INT,
        "15000",
        "The largest consumer.assignment.interval.ms of a group.",
    ),
    key(
        "group.consumer.max.heartbeat.interval.ms",
        POSITIVE_INT,
        "15000",
        "The largest consumer.heartbeat.interval.ms of a group.",
    ),
    key(
        "group.consumer.max.session.timeout.ms",
        POSITIVE_INT,
        "60000",
        "The largest consumer.session.timeout.ms of a group.",
    ),
    key(
        "group.consumer.max.size",
        POSITIVE_INT,
        "2147483647",
        "The most members of a consumer group.",
    ),
    key(
        "group.consumer.migration.policy",
        Kind::AnyCase(&["bidirectional", "upgrade", "downgrade", "disabled"]),
        "bidirectional",
        "Which groups with members may change their protocol: to the new one (upgrade), to the classic one (downgrade), both, or none.",
    ),
    key(
        "group.consumer.min.assignment.interval.ms",
        INT,
        "0",
        "The smallest consumer.assignment.interval.ms of a group.",
    ),
    key(
        "group.consumer.min.heartbeat.interval.ms",
        POSITIVE_INT,
        "5000",
        "The smallest consumer.heartbeat.interval.ms of a group.",
    ),
    key(
        "group.consumer.min.session.timeout.ms",
        POSITIVE_INT,
        "45000",
        "The smallest consumer.session.timeout.ms of a group.",
    ),
    key(
        "group.consumer.regex.refresh.interval.ms",
        Kind::Int(10_000, i32::MAX),
        "600000",
        "Milliseconds after which topics are matched anew against the regular expressions that members subscribe to.",
    ),
    key(
        "group.consumer.session.timeout.ms",
        POSITIVE_INT,
        "45000",
        "Milliseconds without a heartbeat after which a member of a consumer group is gone; a group may have its own.",
    ),
    key(
        "group.initial.rebalance.delay.ms",
        ANY_INT,
        "3000",
        "Milliseconds for which the first member of an empty classic group waits for others.",
    ),
    key(
        "group.max.session.timeout.ms",
        ANY_INT,
        "1800000",
        "The longest session timeout a member of a classic group may ask for.",
    ),
    key(
        "group.max.size",
        POSITIVE_INT,
        "2147483647",
        "The most members of a classic group.",
    ),
    key(
        "group.min.session.timeout.ms",
        ANY_INT,
        "6000",
        "The shortest session timeout a member of a classic group may ask for.",
    ),
    key(
        "offset.metadata.max.bytes",
        ANY_INT,
        "4096",
        "The most bytes a client may store with an offset.",
    ),
    key(
        "offsets.retention.check.interval.ms",
        Kind::Long(1, i64::MAX),
        "600000",
        "Milliseconds between two looks for offsets that nobody needs any more.",
    ),
    key(
        "offsets.retention.minutes",
        POSITIVE_INT,
        "10080",
        "Minutes for which offsets are kept after their group has lost its last member, or its interest in the topic.",
    ),
    key(
        "offsets.topic.compression.codec",
        ANY_INT,
        "0",
        "Only 0: the records about groups are not compressed.",
    ),
    key(
        "offsets.topic.num.partitions",
        POSITIVE_INT,
        "50",
        "Partitions of __consumer_offsets when it is created: as many coordinators share the groups.",
    ),
    key(
        "offsets.topic.replication.factor",
        Kind::Short(1, i16::MAX),
        "1",
        "Only 1: there is one broker. Kafka's own default of 3 would keep it from creating the topic.",
    ),
    key(
        "offsets.topic.segment.bytes",
        POSITIVE_INT,
        "104857600",
        "Setting segment.bytes of __consumer_offsets when it is created.",
    ),
];

/// Refuses a value that Kafka allows but whose promise this broker could not keep.
///
/// # Errors
/// The sentence that says why.
pub fn keepable(name: &str, value: &str) -> Result<(), String> {
    let only = |want: &str, why: &str| match value == want {
        true => Ok(()),
        false => Err(format!(
            "Invalid value {value} for configuration {name}: {why}; only {want} is supported"
        )),
    };
    match name {
        "offsets.topic.replication.factor" => only("1", "there is one broker"),
        "offsets.topic.compression.codec" => only("0", "the records about groups are not compressed"),
        // What the topic would be created with must be what a topic may have.
        "offsets.topic.segment.bytes" => match topic_key("segment.bytes") {
            Some(key) => key.kind.check(name, value).map(drop),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Checks the settings that hold against each other, in Kafka's words.
///
/// # Errors
/// The sentence that names two settings.
pub fn check(value_of: &dyn Fn(&str) -> i64) -> Result<(), String> {
    for what in [
        "heartbeat.interval.ms",
        "session.timeout.ms",
        "assignment.interval.ms",
    ] {
        let [own, min, max] = ["", "min.", "max."].map(|bound| format!("group.consumer.{bound}{what}"));
        at_least(value_of, &max, &min)?;
        at_least(value_of, &own, &min)?;
        if value_of(&own) > value_of(&max) {
            return Err(format!("{own} must be less than or equal to {max}"));
        }
    }
    let (heartbeat, session) = (
        "group.consumer.heartbeat.interval.ms",
        "group.consumer.session.timeout.ms",
    );
    match value_of(heartbeat) < value_of(session) {
        true => Ok(()),
        false => Err(format!("{heartbeat} must be less than {session}")),
    }
}

fn at_least(value_of: &dyn Fn(&str) -> i64, name: &str, least: &str) -> Result<(), String> {
    match value_of(name) < value_of(least) {
        true => Err(format!("{name} must be greater than or equal to {least}")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn said(pairs: &[(&str, &str)]) -> String {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_pairs(pairs.collect())
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn what_one_broker_cannot_keep_is_refused() {
        for (name, value, part) in [
            (
                "offsets.topic.replication.factor",
                "3",
                "there is one broker; only 1 is supported",
            ),
            (
                "offsets.topic.replication.factor",
                "40000",
                "Not a number of type SHORT",
            ),
            ("offsets.topic.compression.codec", "2", "only 0 is supported"),
            (
                "offsets.topic.segment.bytes",
                "1024",
                "Value must be at least 1048576",
            ),
            ("offsets.topic.num.partitions", "0", "Value must be at least 1"),
            ("group.consumer.assignors", "", "must not be empty"),
            ("group.consumer.assignors", "sticky", "String must be one of"),
            (
                "group.consumer.migration.policy",
                "maybe",
                "String must be one of (case insensitive)",
            ),
            (
                "group.consumer.regex.refresh.interval.ms",
                "9999",
                "Value must be at least 10000",
            ),
        ] {
            let said = said(&[(name, value)]);
            assert!(said.contains(name) && said.contains(part), "{said}");
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        for (pairs, want) in [
            (
                &[("group.consumer.session.timeout.ms", "44999")][..],
                "group.consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                &[("group.consumer.heartbeat.interval.ms", "15001")],
                "group.consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms",
            ),
            (
                &[
                    ("group.consumer.max.assignment.interval.ms", "0"),
                    ("group.consumer.min.assignment.interval.ms", "5"),
                ],
                "group.consumer.max.assignment.interval.ms must be greater than or equal to \
                 group.consumer.min.assignment.interval.ms",
            ),
            (
                &[
                    ("group.consumer.max.heartbeat.interval.ms", "50000"),
                    ("group.consumer.heartbeat.interval.ms", "45000"),
                ],
                "group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms",
            ),
        ] {
            assert_eq!(said(pairs), want);
        }
    }
}
