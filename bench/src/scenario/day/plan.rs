//! The topics of a day: their settings, an hour being a twenty-fourth of the run, and what each of them promises.

use std::collections::BTreeMap;

use crate::client::configs::Told;
use crate::day::{Compaction, Rules};
use crate::error::Error;
use crate::load::codec::Codec;

/// No hour is shorter: brokers look at their logs a few times a second at most.
const SHORTEST_HOUR_MS: i64 = 2000;
/// The smallest that brokers take.
const SEGMENT_BYTES: u64 = 1 << 20;
/// Of a partition of the topics with a limit of size.
const SIZE_BYTES: u64 = 2 << 20;
const BOTH_BYTES: u64 = 4 << 20;
/// Timestamps are behind the time of sending by up to this part of an hour.
const LATE: i64 = 10;
/// Kafka's default of `log.cleaner.backoff.ms`.
const CLEANER_PAUSE_MS: i64 = 15_000;
/// The run must hold so many looks for old segments.
const LOOKS: i64 = 10;

/// Broker settings, Kafka's names, that the scenarios `day` and `cleaning` need: looks once a second, at once from the start, and a cleaner that does
/// not rest long.
pub fn broker_settings() -> [(&'static str, &'static str); 3] {
    [
        ("log.retention.check.interval.ms", "1000"),
        ("log.initial.task.delay.ms", "0"),
        ("log.cleaner.backoff.ms", "500"),
    ]
}

/// What the broker says of itself, so far as a day depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// `log.retention.check.interval.ms`.
    pub check_ms: i64,
    /// `log.cleaner.backoff.ms`.
    pub cleaner_pause_ms: i64,
    /// Its own words where it says that it does not clean.
    pub does_not_clean: Option<String>,
}

impl Broker {
    /// From its settings and those of a topic.
    ///
    /// # Errors
    /// It looks for old segments too seldom for a run of so many seconds; how to start it otherwise.
    pub fn from(
        broker: &BTreeMap<String, Told>,
        topic: &BTreeMap<String, Told>,
        seconds: f64,
    ) -> Result<Broker, Error> {
        let number = |key: &str| broker.get(key).and_then(|told| told.value.parse::<i64>().ok());
        let check_ms = number("log.retention.check.interval.ms").unwrap_or(300_000);
        let most_ms = (seconds * 1e3) as i64 / LOOKS;
        if check_ms > most_ms {
            return Err(Error::usage(format!(
                "the broker looks for old segments every {check_ms} ms, and a run of {seconds} s needs a look every {most_ms} ms at least: \
                 start it with log.retention.check.interval.ms={} log.initial.task.delay.ms=0",
                most_ms.min(1000)
            )));
        }
        let idle = topic.get("cleanup.policy").and_then(Told::idle);
        let is_off = broker
            .get("log.cleaner.enable")
            .is_some_and(|told| told.value == "false");
        let off = is_off.then(|| "log.cleaner.enable=false".to_owned());
        Ok(Broker {
            check_ms,
            cleaner_pause_ms: number("log.cleaner.backoff.ms").unwrap_or(CLEANER_PAUSE_MS),
            does_not_clean: idle.map(str::to_owned).or(off),
        })
    }
}

/// Which keys its records have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Always the same: some often, some seldom.
    Same,
    /// New ones come all the time, and old ones are not written any more.
    Moving,
}

/// A topic.
#[derive(Clone, Debug)]
pub struct TopicPlan {
    /// What follows the run's name.
    pub name: &'static str,
    /// What it is made with.
    pub configs: Vec<(String, String)>,
    /// What that promises.
    pub rules: Rules,
    /// Batches take these in turn.
    pub codecs: &'static [Codec],
    /// Its keys.
    pub keys: Keys,
    /// Whether some records remove their key.
    pub tombstones: bool,
}

const PLAIN: &[Codec] = &[Codec::None];
const MIXED: &[Codec] = &[Codec::Zstd, Codec::None, Codec::Lz4, Codec::Gzip, Codec::Snappy];

/// An hour of a day of so many seconds.
pub fn hour_ms(seconds: f64) -> i64 {
    ((seconds * 1e3 / 24.0) as i64).max(SHORTEST_HOUR_MS)
}

/// The topics: by time, by time and packed, by size, by both, compacted, and both compacted and by time.
pub fn topics(broker: &Broker, seconds: f64, slack_ms: i64) -> Vec<TopicPlan> {
    let hour_ms = hour_ms(seconds);
    let base = Rules {
        retention_ms: None,
        retention_bytes: None,
        compaction: None,
        segment_ms: hour_ms / 6,
        segment_bytes: SEGMENT_BYTES,
        check_ms: broker.check_ms,
        cleaner_pause_ms: broker.cleaner_pause_ms,
        late_ms: hour_ms / LATE,
        slack_ms,
    };
    let compaction = Some(Compaction {
        min_lag_ms: hour_ms / 12,
        max_lag_ms: hour_ms / 2,
        delete_retention_ms: hour_ms,
        is_due: broker.does_not_clean.is_none(),
    });
    let by_time = Rules {
        retention_ms: Some(hour_ms),
        ..base
    };
    let by_size = Rules {
        retention_bytes: Some(SIZE_BYTES),
        ..base
    };
    let by_both = Rules {
        retention_bytes: Some(BOTH_BYTES),
        ..by_time
    };
    let compacted = Rules { compaction, ..base };
    let compacted_by_time = Rules {
        retention_ms: Some(2 * hour_ms),
        ..compacted
    };
    let plan = |name, rules: Rules, codecs, keys| TopicPlan {
        name,
        configs: configs(&rules),
        rules,
        codecs,
        keys,
        tombstones: rules.compaction.is_some(),
    };
    vec![
        plan("time", by_time, PLAIN, Keys::Same),
        plan("time-packed", by_time, MIXED, Keys::Same),
        plan("size", by_size, PLAIN, Keys::Same),
        plan("time-and-size", by_both, MIXED, Keys::Same),
        plan("compacted", compacted, MIXED, Keys::Same),
        // without compression, as the model adds up sizes there
        plan("compacted-and-time", compacted_by_time, PLAIN, Keys::Moving),
    ]
}

/// The settings that promise this.
fn configs(rules: &Rules) -> Vec<(String, String)> {
    let policy = match (
        rules.compaction,
        rules.retention_ms.is_some() || rules.retention_bytes.is_some(),
    ) {
        (None, _) => "delete",
        (Some(_), false) => "compact",
        (Some(_), true) => "compact,delete",
    };
    let mut all = vec![
        ("cleanup.policy", policy.to_owned()),
        ("segment.bytes", rules.segment_bytes.to_string()),
        ("segment.ms", rules.segment_ms.to_string()),
    ];
    if let Some(retention_ms) = rules.retention_ms {
        all.push(("retention.ms", retention_ms.to_string()));
    }
    if let Some(retention_bytes) = rules.retention_bytes {
        all.push(("retention.bytes", retention_bytes.to_string()));
    }
    if let Some(compaction) = rules.compaction {
        all.push(("min.compaction.lag.ms", compaction.min_lag_ms.to_string()));
        all.push(("max.compaction.lag.ms", compaction.max_lag_ms.to_string()));
        all.push(("delete.retention.ms", compaction.delete_retention_ms.to_string()));
        all.push(("min.cleanable.dirty.ratio", "0.2".to_owned()));
    }
    let owned = all.into_iter().map(|(key, value)| (key.to_owned(), value));
    owned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, &str)]) -> BTreeMap<String, Told> {
        let told = |(key, value): &(&str, &str)| {
            let told = Told {
                value: (*value).into(),
                documentation: (*value).into(),
            };
            ((*key).to_owned(), told)
        };
        pairs.iter().map(told).collect()
    }

    #[test]
    fn a_broker_that_looks_too_seldom_is_refused_with_what_it_needs() {
        let default = Broker::from(&told(&[]), &told(&[]), 600.0);
        let why = default.expect_err("five minutes are too long").to_string();
        assert!(why.contains("log.retention.check.interval.ms=1000"), "{why}");
        let quick = told(&[
            ("log.retention.check.interval.ms", "1000"),
            ("log.cleaner.backoff.ms", "7"),
        ]);
        let broker = Broker::from(&quick, &told(&[]), 600.0).expect("often enough");
        assert_eq!((broker.check_ms, broker.cleaner_pause_ms), (1000, 7));
        assert!(Broker::from(&quick, &told(&[]), 5.0).is_err());
    }

    #[test]
    fn a_broker_that_does_not_clean_need_not() {
        let quick = [("log.retention.check.interval.ms", "1000")];
        let idle = told(&[("cleanup.policy", "compact is stored, and has no effect yet.")]);
        for (broker, topic, due) in [
            (told(&quick), told(&[]), true),
            (told(&quick), idle, false),
            (
                told(&[quick[0], ("log.cleaner.enable", "false")]),
                told(&[]),
                false,
            ),
        ] {
            let broker = Broker::from(&broker, &topic, 60.0).expect("a broker");
            assert_eq!(broker.does_not_clean.is_none(), due);
            let topics = topics(&broker, 60.0, 1000);
            let compactions = topics.iter().filter_map(|topic| topic.rules.compaction);
            assert!(compactions.clone().count() == 2 && compactions.map(|c| c.is_due).all(|is| is == due));
        }
    }

    #[test]
    fn a_day_has_twenty_four_hours_that_are_not_too_short() {
        assert_eq!(
            (hour_ms(600.0), hour_ms(86_400.0), hour_ms(30.0)),
            (25_000, 3_600_000, 2000)
        );
    }
}
