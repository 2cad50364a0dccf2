//! The table of topic settings: all of Kafka 4.3's, and `ringlog.durability`; their checks, and the typed view
//! of one topic's effective values that the rest of the broker uses.

use std::collections::BTreeMap;

use ringlog_engine::io::Durability;
use ringlog_engine::retention::Limits;
use ringlog_engine::shard::Compaction;

use super::kind::{Items, Kind};

/// One topic setting.
#[derive(Debug)]
pub struct TopicKey {
    /// Kafka's name.
    pub name: &'static str,
    /// Its type and range.
    pub kind: Kind,
    /// What holds when neither topic nor broker says otherwise. `None`: nothing does.
    pub default: Option<&'static str>,
    /// The broker settings that give its default, the strongest first.
    pub synonyms: &'static [Synonym],
    /// What it does.
    pub doc: &'static str,
}

/// A broker setting that stands in for a topic setting.
#[derive(Debug)]
pub struct Synonym {
    /// The broker setting.
    pub name: &'static str,
    /// What one unit of the broker setting is in units of the topic setting: hours to milliseconds, say.
    pub factor: i64,
}

const fn same_unit(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

const fn minutes(name: &'static str) -> Synonym {
    Synonym {
        name,
        factor: 60 * 1000,
    }
}

const fn hours(name: &'static str) -> Synonym {
    Synonym {
        name,
        factor: 60 * 60 * 1000,
    }
}

impl Synonym {
    /// The broker setting's value in the unit of the topic setting.
    pub fn convert(&self, value: &str) -> String {
        match value.trim().parse::<i64>() {
            // A negative number of hours means no limit, whatever the unit.
            Ok(n) if self.factor != 1 && n >= 0 => n.saturating_mul(self.factor).to_string(),
            _ => value.to_owned(),
        }
    }
}

/// `[min, )` for a 32-bit setting.
const fn int_from(min: i32) -> Kind {
    Kind::Int(min, i32::MAX)
}

/// `[min, )` for a 64-bit setting.
const fn long_from(min: i64) -> Kind {
    Kind::Long(min, i64::MAX)
}

macro_rules! key {
    ($name:literal, $kind:expr, $default:expr, [$($synonym:expr),*], $doc:literal) => {
        TopicKey { name: $name, kind: $kind, default: $default, synonyms: &[$($synonym),*], doc: $doc }
    };
}

/// Every topic setting, sorted by name.
pub static TOPIC_KEYS: &[TopicKey] = &[
    key!(
        "cleanup.policy",
        Kind::List(Items::OneOf(&["compact", "delete"])),
        Some("delete"),
        [same_unit("log.cleanup.policy")],
        "What becomes of old data: delete drops segments past the retention limits, compact keeps the last record \
         of each key, and both do both."
    ),
    key!(
        "compression.gzip.level",
        Kind::LevelOrDefault(1, 9),
        Some("-1"),
        [same_unit("compression.gzip.level")],
        "Level used if the broker compressed with gzip. Batches are kept as the producer sent them, so it has no effect."
    ),
    key!(
        "compression.lz4.level",
        Kind::Int(1, 17),
        Some("9"),
        [same_unit("compression.lz4.level")],
        "Level used if the broker compressed with lz4. Batches are kept as the producer sent them, so it has no effect."
    ),
    key!(
        "compression.type",
        Kind::Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        Some("producer"),
        [same_unit("compression.type")],
        "How batches are compressed on disk. Only producer is possible: batches stay exactly as they were sent."
    ),
    key!(
        "compression.zstd.level",
        Kind::Int(-131_072, 22),
        Some("3"),
        [same_unit("compression.zstd.level")],
        "Level used if the broker compressed with zstd. Batches are kept as the producer sent them, so it has no effect."
    ),
    key!(
        "delete.retention.ms",
        long_from(0),
        Some("86400000"),
        [same_unit("log.cleaner.delete.retention.ms")],
        "How long a compacted topic keeps the record that deletes a key, and the marker that ends a transaction, once it has been cleaned, in \
         milliseconds."
    ),
    key!(
        "file.delete.delay.ms",
        long_from(0),
        Some("60000"),
        [same_unit("log.segment.delete.delay.ms")],
        "How long the files of a deleted segment stay on disk, in milliseconds. They go as soon as nothing here needs them, so it has no effect."
    ),
    key!(
        "flush.messages",
        long_from(1),
        Some("9223372036854775807"),
        [same_unit("log.flush.interval.messages")],
        "After how many records Kafka forces a sync. Here every acknowledged record is synced already, unless \
         ringlog.durability says otherwise."
    ),
    key!(
        "flush.ms",
        long_from(0),
        Some("9223372036854775807"),
        [
            same_unit("log.flush.interval.ms"),
            same_unit("log.flush.scheduler.interval.ms")
        ],
        "After how many milliseconds Kafka forces a sync. Here every acknowledged record is synced already, unless \
         ringlog.durability says otherwise."
    ),
    key!(
        "follower.replication.throttled.replicas",
        Kind::List(Items::Replicas),
        Some(""),
        [],
        "The replicas whose catching up is throttled on the follower's side. Stored; a single node has no follower."
    ),
    key!(
        "index.interval.bytes",
        int_from(0),
        Some("4096"),
        [same_unit("log.index.interval.bytes")],
        "About how many bytes of log lie between two entries of the offset index."
    ),
    key!(
        "internal.segment.bytes",
        int_from(1),
        None,
        [],
        "Segment size without the lower limit of segment.bytes, which it outranks. For tests."
    ),
    key!(
        "leader.replication.throttled.replicas",
        Kind::List(Items::Replicas),
        Some(""),
        [],
        "The replicas whose catching up is throttled on the leader's side. Stored; a single node has no follower."
    ),
    key!(
        "local.retention.bytes",
        long_from(-2),
        Some("-2"),
        [same_unit("log.local.retention.bytes")],
        "Bytes kept on local disk when older segments live in remote storage; -2 follows retention.bytes. There is no remote storage."
    ),
    key!(
        "local.retention.ms",
        long_from(-2),
        Some("-2"),
        [same_unit("log.local.retention.ms")],
        "Milliseconds kept on local disk when older segments live in remote storage; -2 follows retention.ms. There is no remote storage."
    ),
    key!(
        "max.compaction.lag.ms",
        long_from(1),
        Some("9223372036854775807"),
        [same_unit("log.cleaner.max.compaction.lag.ms")],
        "The longest a record of a compacted topic may wait for cleaning, in milliseconds. A segment that old gives way to a new one with the next \
         record, and is cleaned whatever min.cleanable.dirty.ratio says."
    ),
    key!(
        "max.message.bytes",
        int_from(0),
        Some("1048588"),
        [same_unit("message.max.bytes")],
        "The largest record batch accepted, in bytes, its header included and as compressed by the producer."
    ),
    key!(
        "message.timestamp.after.max.ms",
        long_from(0),
        Some("3600000"),
        [same_unit("log.message.timestamp.after.max.ms")],
        "How far ahead of the broker's clock a record's timestamp may be, in milliseconds."
    ),
    key!(
        "message.timestamp.before.max.ms",
        long_from(0),
        Some("9223372036854775807"),
        [same_unit("log.message.timestamp.before.max.ms")],
        "How far behind the broker's clock a record's timestamp may be, in milliseconds."
    ),
    key!(
        "message.timestamp.type",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
        Some("CreateTime"),
        [same_unit("log.message.timestamp.type")],
        "Whose time a record carries: the producer's (CreateTime), or the broker's at arrival (LogAppendTime)."
    ),
    key!(
        "min.cleanable.dirty.ratio",
        Kind::Double(0.0, 1.0),
        Some("0.5"),
        [same_unit("log.cleaner.min.cleanable.ratio")],
        "The share of a compacted log that must be uncleaned before it is cleaned again, the segment that is appended to left aside."
    ),
    key!(
        "min.compaction.lag.ms",
        long_from(0),
        Some("0"),
        [same_unit("log.cleaner.min.compaction.lag.ms")],
        "The shortest a record of a compacted topic stays untouched, in milliseconds."
    ),
    key!(
        "min.insync.replicas",
        int_from(1),
        Some("1"),
        [same_unit("min.insync.replicas")],
        "How many replicas must hold a record before acks=all is answered; never more than the partition has, which is one."
    ),
    key!(
        "preallocate",
        Kind::Bool,
        Some("false"),
        [same_unit("log.preallocate")],
        "Whether Kafka allocates a whole segment file at once. Segments here are extended in growing steps either way."
    ),
    key!(
        "remote.log.copy.disable",
        Kind::Bool,
        Some("false"),
        [],
        "Whether copying to remote storage is paused. There is no remote storage."
    ),
    key!(
        "remote.log.delete.on.disable",
        Kind::Bool,
        Some("false"),
        [],
        "Whether turning remote storage off also deletes what is there. There is no remote storage."
    ),
    key!(
        "remote.storage.enable",
        Kind::Bool,
        Some("false"),
        [],
        "Whether old segments move to remote storage. Only false is possible."
    ),
    key!(
        "retention.bytes",
        Kind::Long(i64::MIN, i64::MAX),
        Some("-1"),
        [same_unit("log.retention.bytes")],
        "The size a partition may grow to before its oldest segments are deleted, in bytes; -1 sets no limit. Whole segments go, so a \
         partition has as much as a segment more."
    ),
    key!(
        "retention.ms",
        long_from(-1),
        Some("604800000"),
        [
            same_unit("log.retention.ms"),
            minutes("log.retention.minutes"),
            hours("log.retention.hours")
        ],
        "The age after which a segment may be deleted, in milliseconds, counted from its newest record; -1 sets no limit."
    ),
    key!(
        "ringlog.durability",
        Kind::Choice(&["synced", "written"]),
        Some("synced"),
        [same_unit("ringlog.durability")],
        "What an acknowledgement means. synced: the record is on stable storage and survives a power cut. written: \
         the disk has taken it; a killed process loses nothing, a power cut may."
    ),
    key!(
        "segment.bytes",
        int_from(1_048_576),
        Some("1073741824"),
        [same_unit("log.segment.bytes")],
        "The size at which a new segment is begun, in bytes."
    ),
    key!(
        "segment.index.bytes",
        int_from(4),
        Some("10485760"),
        [same_unit("log.index.size.max.bytes")],
        "The size at which an index is full and a new segment is begun, in bytes."
    ),
    key!(
        "segment.jitter.ms",
        long_from(0),
        Some("0"),
        [same_unit("log.roll.jitter.ms"), hours("log.roll.jitter.hours")],
        "A random part of this many milliseconds is taken off segment.ms, so that partitions do not all roll together."
    ),
    key!(
        "segment.ms",
        long_from(1),
        Some("604800000"),
        [same_unit("log.roll.ms"), hours("log.roll.hours")],
        "The age at which a new segment is begun although the old one is not full, in milliseconds of record time."
    ),
    key!(
        "unclean.leader.election.enable",
        Kind::Bool,
        Some("false"),
        [same_unit("unclean.leader.election.enable")],
        "Whether a replica that lags may lead, at the price of losing records. A single node has no other replica."
    ),
];

/// The setting of this name, if there is one.
pub fn topic_key(name: &str) -> Option<&'static TopicKey> {
    TOPIC_KEYS
        .binary_search_by(|key| key.name.cmp(name))
        .ok()
        .map(|index| &TOPIC_KEYS[index])
}

/// Checks a topic's own settings: every name known, every value in range and keepable, no two contradicting
/// each other or what `default_of` gives for the settings that are not among them.
///
/// # Errors
/// The sentence for an INVALID_CONFIG answer.
pub fn validate(
    overrides: &BTreeMap<String, String>,
    default_of: &dyn Fn(&'static TopicKey) -> Option<String>,
) -> Result<(), String> {
    for name in overrides.keys() {
        topic_key(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    }
    for (name, value) in overrides {
        let Some(key) = topic_key(name) else { continue };
        let value = key.kind.check(name, value)?;
        keepable(name, &value)?;
    }
    let effective = |name: &str| {
        let key = topic_key(name)?;
        let own = overrides
            .get(name)
            .and_then(|value| key.kind.check(name, value).ok());
        own.or_else(|| default_of(key))?.parse::<i64>().ok()
    };
    lag_order(
        effective("min.compaction.lag.ms"),
        effective("max.compaction.lag.ms"),
    )
}

fn lag_order(min_ms: Option<i64>, max_ms: Option<i64>) -> Result<(), String> {
    match (min_ms, max_ms) {
        (Some(min), Some(max)) if min > max => Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )),
        _ => Ok(()),
    }
}

/// Refuses a value that Kafka allows but whose promise this broker could not keep.
pub fn keepable(name: &str, value: &str) -> Result<(), String> {
    match (name, value) {
        ("remote.storage.enable", "true") => Err(
            "Invalid value true for configuration remote.storage.enable: Tiered Storage functionality is disabled \
             in the broker. Topic cannot be configured with remote log storage."
                .to_owned(),
        ),
        ("compression.type", other) if other != "producer" => Err(format!(
            "Invalid value {other} for configuration compression.type: this broker keeps batches as the producer \
             compressed them and never recompresses; only 'producer' is supported"
        )),
        _ => Ok(()),
    }
}

/// One topic's effective settings, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    /// Size at which a segment is full, in bytes.
    pub segment_bytes: u32,
    /// Age of record time at which a segment is full.
    pub segment_ms: i64,
    /// Upper limit of the random part taken off `segment_ms`.
    pub segment_jitter_ms: i64,
    /// Log bytes between two index entries.
    pub index_interval_bytes: u32,
    /// Size at which an index is full, in bytes.
    pub segment_index_bytes: u32,
    /// Largest batch accepted, in bytes.
    pub max_message_bytes: u32,
    /// Whether records get the broker's time of arrival.
    pub log_append_time: bool,
    /// How far behind the clock a timestamp may be.
    pub timestamp_before_max_ms: i64,
    /// How far ahead of the clock a timestamp may be.
    pub timestamp_after_max_ms: i64,
    /// Age after which a segment may go; -1 for never.
    pub retention_ms: i64,
    /// Size beyond which the oldest segments may go; -1 for never.
    pub retention_bytes: i64,
    /// Whether old segments are deleted.
    pub delete: bool,
    /// How the log is cleaned by key, if it is.
    pub compaction: Option<Compaction>,
    /// Replicas that must hold a record for acks=all.
    pub min_insync_replicas: i32,
    /// What an acknowledgement means.
    pub durability: Durability,
}

impl TopicSettings {
    /// How much of a log is kept. Without `delete` in the cleanup policy everything is.
    pub fn retention(&self) -> Limits {
        match self.delete {
            true => Limits {
                ms: self.retention_ms,
                bytes: self.retention_bytes,
            },
            false => Limits::NONE,
        }
    }

    /// Reads the effective values. A value that does not parse (an old record of another broker's log, say) falls
    /// back to the built-in default.
    pub fn from_effective(value_of: &dyn Fn(&'static TopicKey) -> Option<String>) -> TopicSettings {
        let text = |name: &str| -> String {
            let Some(key) = topic_key(name) else {
                return String::new();
            };
            let checked = value_of(key).and_then(|value| key.kind.check(name, &value).ok());
            checked
                .or_else(|| key.default.map(str::to_owned))
                .unwrap_or_default()
        };
        let long = |name: &str| text(name).parse::<i64>().unwrap_or(-1);
        let bytes = |name: &str| u32::try_from(long(name)).unwrap_or(u32::MAX);
        let policy = text("cleanup.policy");
        let internal = text("internal.segment.bytes");
        TopicSettings {
            segment_bytes: internal.parse().unwrap_or_else(|_| bytes("segment.bytes")),
            segment_ms: long("segment.ms"),
            segment_jitter_ms: long("segment.jitter.ms"),
            index_interval_bytes: bytes("index.interval.bytes"),
            segment_index_bytes: bytes("segment.index.bytes"),
            max_message_bytes: bytes("max.message.bytes"),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            retention_ms: long("retention.ms"),
            retention_bytes: long("retention.bytes"),
            delete: policy.split(',').any(|word| word == "delete"),
            compaction: policy
                .split(',')
                .any(|word| word == "compact")
                .then(|| Compaction {
                    min_cleanable_ratio: text("min.cleanable.dirty.ratio").parse().unwrap_or(1.0),
                    min_lag_ms: long("min.compaction.lag.ms"),
                    max_lag_ms: long("max.compaction.lag.ms"),
                    delete_retention_ms: long("delete.retention.ms"),
                }),
            min_insync_replicas: i32::try_from(long("min.insync.replicas")).unwrap_or(1),
            durability: durability(&text("ringlog.durability")),
        }
    }
}

/// The word of `ringlog.durability` as the engine's promise.
pub fn durability(word: &str) -> Durability {
    if word == "written" {
        Durability::Written
    } else {
        Durability::Synced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builtin(key: &'static TopicKey) -> Option<String> {
        key.default.map(str::to_owned)
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn the_table_is_sorted_complete_and_valid() {
        assert!(TOPIC_KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert_eq!(
            TOPIC_KEYS
                .iter()
                .filter(|key| !key.name.starts_with("ringlog."))
                .count(),
            34
        );
        for key in TOPIC_KEYS {
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
    fn bad_settings_are_refused_by_name() {
        for (pairs, part) in [
            (
                &[("no.such.key", "1")][..],
                "Unknown topic config name: no.such.key",
            ),
            (
                &[("retention.ms", "-2")],
                "Invalid value -2 for configuration retention.ms: Value must be at least -1",
            ),
            (&[("segment.bytes", "1024")], "at least 1048576"),
            (&[("remote.storage.enable", "true")], "remote.storage.enable"),
            (&[("compression.type", "zstd")], "compression.type"),
            (&[("compression.type", "brotli")], "String must be one of"),
            (&[("cleanup.policy", "shred")], "cleanup.policy"),
            (
                &[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "9")],
                "(10) > max.compaction.lag.ms (9)",
            ),
        ] {
            let said = validate(&map(pairs), &builtin).expect_err(part);
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_conflict_with_the_brokers_default_counts() {
        let default = |key: &'static TopicKey| match key.name {
            "max.compaction.lag.ms" => Some("5".to_owned()),
            _ => builtin(key),
        };
        assert!(validate(&map(&[("min.compaction.lag.ms", "10")]), &default).is_err());
        assert!(validate(&map(&[("min.compaction.lag.ms", "4")]), &default).is_ok());
    }

    #[test]
    fn good_settings_pass() {
        let pairs = [
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", " 5 "),
            ("ringlog.durability", "written"),
        ];
        assert_eq!(validate(&map(&pairs), &builtin), Ok(()));
    }

    #[test]
    fn settings_are_typed() {
        let mut settings = TopicSettings::from_effective(&builtin);
        assert_eq!(
            (settings.segment_bytes, settings.max_message_bytes),
            (1 << 30, 1_048_588)
        );
        assert!(
            settings.delete && settings.compaction.is_none() && settings.durability == Durability::Synced
        );
        settings = TopicSettings::from_effective(&|key| match key.name {
            "internal.segment.bytes" => Some("2000".to_owned()),
            "cleanup.policy" => Some("compact".to_owned()),
            "delete.retention.ms" => Some("7".to_owned()),
            "min.cleanable.dirty.ratio" => Some("0.25".to_owned()),
            "ringlog.durability" => Some("written".to_owned()),
            "retention.ms" => Some("nonsense".to_owned()),
            _ => builtin(key),
        });
        assert_eq!(
            (settings.segment_bytes, settings.retention_ms),
            (2000, 604_800_000)
        );
        let compaction = Compaction {
            min_cleanable_ratio: 0.25,
            delete_retention_ms: 7,
            ..Compaction::default()
        };
        assert_eq!(settings.compaction, Some(compaction));
        assert!(!settings.delete && settings.durability == Durability::Written);
    }

    #[test]
    fn only_the_policy_delete_sets_limits() {
        let retention = |policy: &'static str| {
            let value = |key: &'static TopicKey| match key.name {
                "cleanup.policy" => Some(policy.to_owned()),
                "retention.bytes" => Some("7".to_owned()),
                _ => builtin(key),
            };
            TopicSettings::from_effective(&value).retention()
        };
        let limits = Limits {
            ms: 604_800_000,
            bytes: 7,
        };
        assert_eq!(retention("delete"), limits);
        assert_eq!(retention("compact,delete"), limits);
        assert_eq!(retention("compact"), Limits::NONE);
    }

    #[test]
    fn hours_become_milliseconds() {
        assert_eq!(hours("log.retention.hours").convert("2"), "7200000");
        assert_eq!(hours("log.retention.hours").convert("-1"), "-1");
        assert_eq!(minutes("log.retention.minutes").convert("1"), "60000");
    }
}
