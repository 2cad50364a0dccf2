//! The table of broker settings: Kafka's names for what it shares with Kafka, `ringlog.` for what is its own.

use std::sync::LazyLock;

use super::cleaner::CLEANER_KEYS;
use super::coordinator::{self, COORDINATOR_KEYS};
use super::kind::{Items, Kind, split_list};
use super::limits::LIMIT_KEYS;
use super::topic::TOPIC_KEYS;
use super::transaction::{self, TRANSACTION_KEYS};
use crate::quotas::MAX_WINDOWS;

/// One broker setting.
#[derive(Debug)]
pub struct BrokerKey {
    /// Kafka's name, or ours with the prefix `ringlog.`.
    pub name: &'static str,
    /// Its type and range.
    pub kind: Kind,
    /// What holds when nothing is said. `None`: decided at start, or by another setting.
    pub default: Option<&'static str>,
    /// What it does, for help pages.
    pub doc: &'static str,
}

macro_rules! key {
    ($name:literal, $kind:expr, $default:expr, $doc:literal) => {
        BrokerKey {
            name: $name,
            kind: $kind,
            default: $default,
            doc: $doc,
        }
    };
}

const ANY_INT: Kind = Kind::Int(i32::MIN, i32::MAX);
const ANY_LONG: Kind = Kind::Long(i64::MIN, i64::MAX);
const POSITIVE_INT: Kind = Kind::Int(1, i32::MAX);
const POSITIVE_LONG: Kind = Kind::Long(1, i64::MAX);
const INT: Kind = Kind::Int(0, i32::MAX);
const LONG: Kind = Kind::Long(0, i64::MAX);
const QUOTA_WINDOWS: Kind = Kind::Int(1, MAX_WINDOWS as i32);
const MIB: u64 = 1 << 20;

/// The broker settings that are not about groups, transactions, the cleaner or limits of what clients hold, sorted by name.
static OWN_KEYS: &[BrokerKey] = &[
    key!(
        "advertised.listeners",
        Kind::List(Items::Any),
        None,
        "The addresses told to clients, as NAME://host:port, when they differ from listeners."
    ),
    key!(
        "auto.create.topics.enable",
        Kind::Bool,
        Some("true"),
        "Whether a client's Metadata request may create the topic it asks for."
    ),
    key!(
        "broker.id",
        ANY_INT,
        Some("-1"),
        "The older name of node.id; used when node.id is absent."
    ),
    key!(
        "broker.rack",
        Kind::Text,
        None,
        "Where this broker stands, told to clients that choose the nearest."
    ),
    key!(
        "compression.gzip.level",
        Kind::LevelOrDefault(1, 9),
        Some("-1"),
        "Default of the topic setting of that name."
    ),
    key!(
        "compression.lz4.level",
        Kind::Int(1, 17),
        Some("9"),
        "Default of the topic setting of that name."
    ),
    key!(
        "compression.type",
        Kind::Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        Some("producer"),
        "Only producer: batches stay compressed as they were sent."
    ),
    key!(
        "compression.zstd.level",
        Kind::Int(-131_072, 22),
        Some("3"),
        "Default of the topic setting of that name."
    ),
    key!(
        "connections.max.idle.ms",
        ANY_LONG,
        Some("600000"),
        "Milliseconds without a request after which a connection is closed; negative for never."
    ),
    key!(
        "controller.listener.names",
        Kind::List(Items::Any),
        Some(""),
        "Names in listeners that a Kafka controller would use. The embedded controller needs none: they are not opened."
    ),
    key!(
        "controller.quota.window.num",
        QUOTA_WINDOWS,
        Some("11"),
        "Windows over which changes of topics are counted for controller_mutation_rate: as much as comes in all of them may come at once."
    ),
    key!(
        "controller.quota.window.size.seconds",
        POSITIVE_INT,
        Some("1"),
        "The length of such a window, in seconds."
    ),
    key!(
        "default.replication.factor",
        POSITIVE_INT,
        Some("1"),
        "Replication factor of topics created without one. A single node can only create topics with 1."
    ),
    key!(
        "delete.topic.enable",
        Kind::Bool,
        Some("true"),
        "Whether topics can be deleted."
    ),
    key!(
        "fetch.max.bytes",
        Kind::Int(1024, i32::MAX),
        Some("57671680"),
        "The most bytes one fetch is answered with."
    ),
    key!(
        "listener.security.protocol.map",
        Kind::Text,
        Some("PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"),
        "Which security protocol each listener name stands for. Only PLAINTEXT is served."
    ),
    key!(
        "listeners",
        Kind::List(Items::Any),
        Some("PLAINTEXT://127.0.0.1:9092"),
        "Where to listen, as NAME://host:port; an empty host means every interface."
    ),
    key!(
        "log.cleaner.delete.retention.ms",
        LONG,
        Some("86400000"),
        "Default of the topic setting delete.retention.ms."
    ),
    key!(
        "log.cleaner.max.compaction.lag.ms",
        POSITIVE_LONG,
        Some("9223372036854775807"),
        "Default of the topic setting max.compaction.lag.ms."
    ),
    key!(
        "log.cleaner.min.cleanable.ratio",
        Kind::Double(0.0, 1.0),
        Some("0.5"),
        "Default of the topic setting min.cleanable.dirty.ratio."
    ),
    key!(
        "log.cleaner.min.compaction.lag.ms",
        LONG,
        Some("0"),
        "Default of the topic setting min.compaction.lag.ms."
    ),
    key!(
        "log.cleanup.policy",
        Kind::List(Items::OneOf(&["compact", "delete"])),
        Some("delete"),
        "Default of the topic setting cleanup.policy."
    ),
    key!(
        "log.dir",
        Kind::List(Items::Any),
        Some("./ringlog-data"),
        "The data directory; used when log.dirs is absent."
    ),
    key!(
        "log.dirs",
        Kind::List(Items::Any),
        None,
        "The data directory. Exactly one is supported."
    ),
    key!(
        "log.flush.interval.messages",
        POSITIVE_LONG,
        Some("9223372036854775807"),
        "Default of the topic setting flush.messages. Every acknowledged record is synced already."
    ),
    key!(
        "log.flush.interval.ms",
        ANY_LONG,
        None,
        "Default of the topic setting flush.ms. Every acknowledged record is synced already."
    ),
    key!(
        "log.flush.scheduler.interval.ms",
        ANY_LONG,
        Some("9223372036854775807"),
        "How often Kafka looks for logs to sync. Every acknowledged record is synced already."
    ),
    key!(
        "log.index.interval.bytes",
        INT,
        Some("4096"),
        "Default of the topic setting index.interval.bytes."
    ),
    key!(
        "log.index.size.max.bytes",
        Kind::Int(4, i32::MAX),
        Some("10485760"),
        "Default of the topic setting segment.index.bytes."
    ),
    key!(
        "log.initial.task.delay.ms",
        LONG,
        Some("30000"),
        "Milliseconds after the start at which segments past retention.ms and retention.bytes are looked for first."
    ),
    key!(
        "log.local.retention.bytes",
        Kind::Long(-2, i64::MAX),
        Some("-2"),
        "Default of the topic setting local.retention.bytes."
    ),
    key!(
        "log.local.retention.ms",
        Kind::Long(-2, i64::MAX),
        Some("-2"),
        "Default of the topic setting local.retention.ms."
    ),
    key!(
        "log.message.timestamp.after.max.ms",
        LONG,
        Some("3600000"),
        "Default of the topic setting message.timestamp.after.max.ms."
    ),
    key!(
        "log.message.timestamp.before.max.ms",
        LONG,
        Some("9223372036854775807"),
        "Default of the topic setting message.timestamp.before.max.ms."
    ),
    key!(
        "log.message.timestamp.type",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
        Some("CreateTime"),
        "Default of the topic setting message.timestamp.type."
    ),
    key!(
        "log.preallocate",
        Kind::Bool,
        Some("false"),
        "Default of the topic setting preallocate."
    ),
    key!(
        "log.retention.bytes",
        ANY_LONG,
        Some("-1"),
        "Default of the topic setting retention.bytes."
    ),
    key!(
        "log.retention.check.interval.ms",
        POSITIVE_LONG,
        Some("300000"),
        "Milliseconds between two looks for segments past their topics' retention.ms and retention.bytes."
    ),
    key!(
        "log.retention.hours",
        ANY_INT,
        Some("168"),
        "Default of the topic setting retention.ms, in hours, when neither log.retention.ms nor log.retention.minutes is set."
    ),
    key!(
        "log.retention.minutes",
        ANY_INT,
        None,
        "Default of the topic setting retention.ms, in minutes, when log.retention.ms is not set."
    ),
    key!(
        "log.retention.ms",
        ANY_LONG,
        None,
        "Default of the topic setting retention.ms."
    ),
    key!(
        "log.roll.hours",
        POSITIVE_INT,
        Some("168"),
        "Default of the topic setting segment.ms, in hours, when log.roll.ms is not set."
    ),
    key!(
        "log.roll.jitter.hours",
        INT,
        Some("0"),
        "Default of the topic setting segment.jitter.ms, in hours, when log.roll.jitter.ms is not set."
    ),
    key!(
        "log.roll.jitter.ms",
        ANY_LONG,
        None,
        "Default of the topic setting segment.jitter.ms."
    ),
    key!(
        "log.roll.ms",
        ANY_LONG,
        None,
        "Default of the topic setting segment.ms."
    ),
    key!(
        "log.segment.bytes",
        Kind::Int(1_048_576, i32::MAX),
        Some("1073741824"),
        "Default of the topic setting segment.bytes."
    ),
    key!(
        "log.segment.delete.delay.ms",
        LONG,
        Some("60000"),
        "Default of the topic setting file.delete.delay.ms, and how long the folder of a deleted partition stays on disk, under a name that ends in -delete."
    ),
    key!(
        "max.connection.creation.rate",
        INT,
        Some("2147483647"),
        "The most connections that all clients together may open a second. Those past it are read from when their time has come."
    ),
    key!(
        "max.incremental.fetch.session.cache.slots",
        INT,
        Some("1000"),
        "The most fetch sessions kept at a time."
    ),
    key!(
        "max.request.partition.size.limit",
        POSITIVE_INT,
        Some("2000"),
        "The most partitions one DescribeTopicPartitions answer holds."
    ),
    key!(
        "message.max.bytes",
        INT,
        Some("1048588"),
        "Default of the topic setting max.message.bytes."
    ),
    key!(
        "min.insync.replicas",
        POSITIVE_INT,
        Some("1"),
        "Default of the topic setting of that name."
    ),
    key!(
        "node.id",
        INT,
        None,
        "The number of this broker. When absent, the one in the data directory, or 1."
    ),
    key!(
        "num.partitions",
        POSITIVE_INT,
        Some("1"),
        "Partitions of a topic created without a number."
    ),
    key!(
        "process.roles",
        Kind::List(Items::OneOf(&["broker", "controller"])),
        Some("broker,controller"),
        "Always both: the controller is part of the broker."
    ),
    key!(
        "producer.id.expiration.check.interval.ms",
        POSITIVE_INT,
        Some("600000"),
        "Milliseconds between two looks for idempotent producers that are to be forgotten."
    ),
    key!(
        "producer.id.expiration.ms",
        POSITIVE_INT,
        Some("86400000"),
        "Milliseconds after its last record at which an idempotent producer is forgotten."
    ),
    key!(
        "quota.window.num",
        QUOTA_WINDOWS,
        Some("11"),
        "Windows over which the rates of clients with quotas are measured."
    ),
    key!(
        "quota.window.size.seconds",
        POSITIVE_INT,
        Some("1"),
        "The length of such a window, in seconds."
    ),
    key!(
        "ringlog.cores",
        Kind::Int(1, 1024),
        None,
        "How many cores, each with a thread and a ring of its own. When absent, all this process may run on."
    ),
    key!(
        "ringlog.disk.min.free.bytes",
        Kind::Bytes(0, 1 << 60),
        Some("1073741824"),
        "Below so many free bytes of the data directory's filesystem produce is refused with KAFKA_STORAGE_ERROR, until there is an eighth more; \
         fetches, deletions, retention and what coordinators write go on. Looked at once a second; spare files count as free. 0 turns it off. The \
         default leaves room for what was taken already, the journals and a second of a fast disk's writes; where nothing is set it is never more than \
         a tenth of the filesystem."
    ),
    key!(
        "ringlog.durability",
        Kind::Choice(&["synced", "written"]),
        Some("synced"),
        "Default of the topic setting of that name: what an acknowledgement means."
    ),
    key!(
        "ringlog.journal.bytes",
        Kind::Bytes(4 * MIB, 64 << 30),
        Some("134217728"),
        "The largest a core's journal may grow to. It starts small, and a restart reads at most this much."
    ),
    key!(
        "ringlog.memory",
        Kind::Bytes(32 * MIB, 1 << 46),
        None,
        "The memory for newest data, reads and requests in flight, over all cores. When absent, a quarter of the \
         machine's, at least 64 MiB and at most 256 MiB. It grows only with use."
    ),
    key!(
        "ringlog.send.zerocopy",
        Kind::Bool,
        Some("false"),
        "Whether large answers are read from the broker's memory by the network card instead of being copied for it \
         (SENDMSG_ZC). A connection on which the kernel copies all the same, as on loopback, goes back to plain sends."
    ),
    key!(
        "socket.request.max.bytes",
        POSITIVE_INT,
        Some("104857600"),
        "The largest request accepted, in bytes."
    ),
    key!(
        "unclean.leader.election.enable",
        Kind::Bool,
        Some("false"),
        "Default of the topic setting of that name."
    ),
];

/// How much room the data directory's filesystem keeps.
pub const DISK_MIN_FREE_BYTES: &str = "ringlog.disk.min.free.bytes";

/// Every broker setting, sorted by name.
pub static BROKER_KEYS: LazyLock<Vec<&'static BrokerKey>> = LazyLock::new(|| {
    let mut all: Vec<_> = OWN_KEYS
        .iter()
        .chain(CLEANER_KEYS)
        .chain(COORDINATOR_KEYS)
        .chain(LIMIT_KEYS)
        .chain(TRANSACTION_KEYS)
        .collect();
    all.sort_unstable_by_key(|key| key.name);
    all
});

/// The setting of this name, if there is one.
pub fn broker_key(name: &str) -> Option<&'static BrokerKey> {
    let at = BROKER_KEYS.binary_search_by(|key| key.name.cmp(name));
    at.ok().map(|index| BROKER_KEYS[index])
}

/// Whether a running broker takes up a change of this setting: as in Kafka, those that give topics their
/// defaults, under the name that ranks first, how often groups are assigned their partitions, and whether partitions
/// ask before they take a transaction's batches; and how much room the disk keeps.
pub fn is_dynamic(name: &str) -> bool {
    let mut of_topics = TOPIC_KEYS.iter();
    [
        DISK_MIN_FREE_BYTES,
        coordinator::ASSIGNMENT_INTERVAL,
        transaction::PARTITION_VERIFICATION,
    ]
    .contains(&name)
        || of_topics.any(|key| key.synonyms.first().is_some_and(|synonym| synonym.name == name))
}

/// The names under which the value of a broker setting may have been given, the strongest first (hours for
/// milliseconds, say).
pub fn family(name: &'static str) -> Vec<&'static str> {
    let families: [&[&'static str]; 4] = [
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
    ];
    // The scheduler's interval only stands in for the flush interval, never the other way round.
    let found = families
        .iter()
        .find(|names| names.contains(&name) && name != "log.flush.scheduler.interval.ms");
    found.map_or_else(|| vec![name], |names| names.to_vec())
}

/// An address in the form of Kafka's listeners: `NAME://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, upper case.
    pub name: String,
    /// Host or address; empty for every interface. IPv6 addresses without their brackets.
    pub host: String,
    /// Port; 0 for any free one.
    pub port: u16,
}

impl Endpoint {
    /// Reads one address.
    pub fn parse(text: &str) -> Option<Endpoint> {
        let (name, rest) = text.trim().split_once("://")?;
        let (host, port) = rest.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        if name.is_empty() || (host.contains(':') && !rest.starts_with('[')) {
            return None;
        }
        Some(Endpoint {
            name: name.to_ascii_uppercase(),
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// Reads a list of addresses, each name once.
    pub fn parse_all(text: &str) -> Result<Vec<Endpoint>, String> {
        let mut found: Vec<Endpoint> = Vec::new();
        for item in split_list(text) {
            let Some(endpoint) = Endpoint::parse(item) else {
                return Err(format!("'{item}' is not of the form NAME://host:port"));
            };
            if found.iter().any(|other| other.name == endpoint.name) {
                return Err(format!("the name {} appears twice", endpoint.name));
            }
            found.push(endpoint);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(BROKER_KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for key in BROKER_KEYS.iter() {
            if let Some(default) = key.default {
                assert_eq!(
                    key.kind.check(key.name, default).as_deref(),
                    Ok(default),
                    "{}",
                    key.name
                );
            }
            assert!(!key.doc.is_empty());
        }
    }

    #[test]
    fn every_topic_synonym_is_a_broker_setting() {
        for synonym in TOPIC_KEYS.iter().flat_map(|key| key.synonyms) {
            assert!(broker_key(synonym.name).is_some(), "{}", synonym.name);
        }
    }

    #[test]
    fn endpoints_are_read() {
        let endpoint = |name: &str, host: &str, port| Endpoint {
            name: name.into(),
            host: host.into(),
            port,
        };
        for (text, want) in [
            (
                "PLAINTEXT://127.0.0.1:9092",
                Some(endpoint("PLAINTEXT", "127.0.0.1", 9092)),
            ),
            ("plaintext://:0", Some(endpoint("PLAINTEXT", "", 0))),
            ("A://[::1]:1", Some(endpoint("A", "::1", 1))),
            ("A://::1:1", None),
            ("127.0.0.1:9092", None),
            ("A://h", None),
            ("A://h:70000", None),
        ] {
            assert_eq!(Endpoint::parse(text), want, "{text}");
        }
        assert!(Endpoint::parse_all("A://h:1,A://h:2").is_err());
    }

    #[test]
    fn changes_at_run_time_are_kafkas() {
        for (name, want) in [
            ("log.segment.bytes", true),
            ("group.consumer.assignment.interval.ms", true),
            ("group.consumer.session.timeout.ms", false),
            ("message.max.bytes", true),
            ("log.retention.ms", true),
            ("log.retention.hours", false),
            ("num.partitions", false),
            ("ringlog.durability", true),
            ("ringlog.memory", false),
        ] {
            assert_eq!(is_dynamic(name), want, "{name}");
        }
    }
}
