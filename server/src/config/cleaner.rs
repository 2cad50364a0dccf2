//! The table of broker settings that are about cleaning by key: what Kafka's `CleanerConfig` has, but for those that give topics their defaults.

use ringlog_engine::cleaner::CleanerSettings;

use super::broker::BrokerKey;
use super::coordinator::key;
use super::kind::Kind;
use super::{Reader, Settings};

const ANY_DOUBLE: Kind = Kind::Double(f64::MIN, f64::MAX);
const INT: Kind = Kind::Int(0, i32::MAX);
const ENABLE: &str = "log.cleaner.enable";
const LOAD_FACTOR: &str = "log.cleaner.io.buffer.load.factor";

/// Every one of them, sorted by name.
pub static CLEANER_KEYS: &[BrokerKey] = &[
    key(
        "log.cleaner.backoff.ms",
        Kind::Long(0, i64::MAX),
        "15000",
        "Milliseconds between two looks for compacted topics to clean, when there was none.",
    ),
    key(
        "log.cleaner.dedupe.buffer.size",
        Kind::Long(i64::MIN, i64::MAX),
        "134217728",
        "Memory for the keys of what is being cleaned, in bytes, over all threads of the cleaner; taken when it is first needed. Of a key \
         24 bytes are kept. A partition with more keys is cleaned in several passes.",
    ),
    key(
        ENABLE,
        Kind::Bool,
        "true",
        "Whether compacted topics are cleaned. Without it they keep every record.",
    ),
    key(
        LOAD_FACTOR,
        ANY_DOUBLE,
        "0.9",
        "How full the memory for keys may get, above 0 and at most 1. The fuller, the more keys in a pass, and the longer it takes to find one.",
    ),
    key(
        "log.cleaner.io.buffer.size",
        INT,
        "524288",
        "Memory for what the cleaner reads and writes, in bytes, over all its threads; more where a single batch is larger.",
    ),
    key(
        "log.cleaner.io.max.bytes.per.second",
        ANY_DOUBLE,
        "1.7976931348623157E308",
        "The most bytes the cleaner reads and writes a second, over all its threads.",
    ),
    key(
        "log.cleaner.threads",
        INT,
        "1",
        "Threads of the cleaner. They work beside the cores.",
    ),
];

/// How compacted topics are cleaned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`.
    pub is_enabled: bool,
    /// `log.cleaner.backoff.ms`.
    pub backoff_ms: u64,
    /// What the cleaner's threads share.
    pub settings: CleanerSettings,
}

impl CleanerConfig {
    /// Reads checked settings.
    ///
    /// # Errors
    /// The sentence for memory that is too little, or a load factor that cannot be.
    pub(super) fn read(read: &Reader<'_>) -> Result<CleanerConfig, String> {
        let (threads, bytes): (usize, i64) = (
            read.number("log.cleaner.threads"),
            read.number("log.cleaner.dedupe.buffer.size"),
        );
        // As in Kafka, where no thread is none too.
        let is_enough = i64::try_from(threads)
            .ok()
            .and_then(|threads| bytes.checked_div(threads))
            .is_some_and(|each| each > 1 << 20);
        if !is_enough {
            return Err(format!(
                "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread, of which there is at least one: it is {bytes} for {threads}"
            ));
        }
        let load_factor: f64 = read.number(LOAD_FACTOR);
        if !(load_factor > 0.0 && load_factor <= 1.0) {
            return Err(format!(
                "{LOAD_FACTOR} must be above 0 and at most 1, it is {load_factor}"
            ));
        }
        Ok(CleanerConfig {
            is_enabled: read.flag(ENABLE),
            backoff_ms: read.number("log.cleaner.backoff.ms"),
            settings: CleanerSettings {
                threads,
                dedupe_buffer_bytes: bytes as u64,
                load_factor,
                io_buffer_bytes: read.number("log.cleaner.io.buffer.size"),
                max_bytes_per_second: read.number("log.cleaner.io.max.bytes.per.second"),
                ..CleanerSettings::default()
            },
        })
    }
}

/// The line to be said where compacted topics are not cleaned. Kafka says it too.
pub(super) fn notice(fixed: &Settings) -> Option<String> {
    let is_off = fixed.get(ENABLE).is_some_and(|value| value == "false");
    is_off.then(|| {
        format!("{ENABLE}=false: compacted topics keep every record, __consumer_offsets and __transaction_state among them")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_pairs(pairs.collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_not_set_is_as_in_kafka() {
        let cleaner = config(&[]).expect("valid").cleaner;
        assert_eq!(cleaner.settings, CleanerSettings::default());
        assert_eq!((cleaner.is_enabled, cleaner.backoff_ms), (true, 15_000));
    }

    #[test]
    fn what_is_set_is_taken() {
        let set = [
            ("log.cleaner.threads", "3"),
            ("log.cleaner.dedupe.buffer.size", "9000000"),
            ("log.cleaner.io.buffer.load.factor", "1"),
            ("log.cleaner.io.buffer.size", "0"),
            ("log.cleaner.io.max.bytes.per.second", "1.5e6"),
            ("log.cleaner.backoff.ms", "1"),
        ];
        let found = config(&set).expect("valid");
        let settings = CleanerSettings {
            threads: 3,
            dedupe_buffer_bytes: 9_000_000,
            load_factor: 1.0,
            io_buffer_bytes: 0,
            max_bytes_per_second: 1_500_000.0,
            ..CleanerSettings::default()
        };
        assert_eq!((found.cleaner.settings, found.cleaner.backoff_ms), (settings, 1));
        assert!(found.notices.is_empty(), "{:?}", found.notices);
    }

    #[test]
    fn a_cleaner_that_could_not_work_is_refused() {
        for (set, part) in [
            (&[("log.cleaner.threads", "0")][..], "at least one"),
            (
                &[("log.cleaner.dedupe.buffer.size", "-1")],
                "1MB per cleaner thread",
            ),
            (
                &[
                    ("log.cleaner.dedupe.buffer.size", "4000000"),
                    ("log.cleaner.threads", "4"),
                ],
                "1MB per cleaner thread",
            ),
            (&[("log.cleaner.io.buffer.load.factor", "0")], "above 0"),
            (&[("log.cleaner.io.buffer.load.factor", "1.01")], "at most 1"),
            (&[("log.cleaner.io.buffer.load.factor", "NaN")], "at least"),
        ] {
            let said = config(set).expect_err(part);
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn that_nothing_is_cleaned_is_said() {
        let found = config(&[("log.cleaner.enable", "false")]).expect("valid");
        assert!(!found.cleaner.is_enabled);
        assert!(
            found
                .notices
                .iter()
                .any(|line| line.contains("log.cleaner.enable=false"))
        );
    }
}
