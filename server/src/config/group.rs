//! The table of settings that a group may have of its own: what Kafka's `GroupConfig` has for consumer groups. Those of share groups and streams
//! groups are unknown here, as the groups are.

use super::broker::broker_key;
use super::kind::Kind;
use super::layers::{Candidate, Effective, Layers, Settings, Source};

/// One setting of a group.
#[derive(Debug)]
pub struct GroupKey {
    /// Kafka's name.
    pub name: &'static str,
    /// Its type and range.
    pub kind: Kind,
    /// The broker setting that gives its default.
    pub synonym: &'static str,
    /// The broker settings between which its value must be.
    pub bounds: (&'static str, &'static str),
    /// What it does, for DescribeConfigs.
    pub doc: &'static str,
}

/// Every setting, sorted by name.
pub static GROUP_KEYS: &[GroupKey] = &[
    GroupKey {
        name: "consumer.assignment.interval.ms",
        kind: Kind::Int(0, i32::MAX),
        synonym: "group.consumer.assignment.interval.ms",
        bounds: (
            "group.consumer.min.assignment.interval.ms",
            "group.consumer.max.assignment.interval.ms",
        ),
        doc: "Milliseconds between two assignments of the group's partitions, at least.",
    },
    GroupKey {
        name: "consumer.heartbeat.interval.ms",
        kind: Kind::Int(1, i32::MAX),
        synonym: "group.consumer.heartbeat.interval.ms",
        bounds: (
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
        ),
        doc: "Milliseconds between two heartbeats that members of the group are told.",
    },
    GroupKey {
        name: "consumer.session.timeout.ms",
        kind: Kind::Int(1, i32::MAX),
        synonym: "group.consumer.session.timeout.ms",
        bounds: (
            "group.consumer.min.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
        ),
        doc: "Milliseconds without a heartbeat after which a member of the group is gone.",
    },
];

/// The setting of this name, if there is one.
pub fn group_key(name: &str) -> Option<&'static GroupKey> {
    GROUP_KEYS.iter().find(|key| key.name == name)
}

/// Checks a group's own settings: every name known, every value in the range the broker allows, a session longer than a heartbeat.
///
/// # Errors
/// The sentence for an INVALID_CONFIG answer, as Kafka says it.
pub fn validate(own: &Settings, layers: &Layers<'_>) -> Result<(), String> {
    for name in own.keys() {
        group_key(name).ok_or_else(|| format!("Unknown group config name: {name}"))?;
    }
    for (name, value) in own {
        if let Some(key) = group_key(name) {
            key.kind.check(name, value)?;
        }
    }
    let of = |name: &str| group_key(name).map_or(0, |key| layers.group_number(key, own));
    let (heartbeat, session) = ("consumer.heartbeat.interval.ms", "consumer.session.timeout.ms");
    for name in [heartbeat, session, "consumer.assignment.interval.ms"] {
        let Some(GroupKey {
            bounds: (min, max), ..
        }) = group_key(name)
        else {
            continue;
        };
        if of(name) < layers.broker_number(min) {
            return Err(format!("{name} must be greater than or equal to {min}"));
        }
        if of(name) > layers.broker_number(max) {
            return Err(format!("{name} must be less than or equal to {max}"));
        }
    }
    match of(session) > of(heartbeat) {
        true => Ok(()),
        false => Err(format!("{session} must be greater than {heartbeat}")),
    }
}

impl Layers<'_> {
    /// What holds for a group's setting, given what is set on the group itself.
    pub fn group_value(&self, key: &'static GroupKey, own: Option<&Settings>) -> Effective {
        let own = own
            .and_then(|settings| settings.get(key.name))
            .map(|value| Candidate {
                name: key.name,
                value: key.kind.check(key.name, value).unwrap_or_else(|_| value.clone()),
                source: Source::Group,
            });
        let of_broker = broker_key(key.synonym).map(|synonym| self.broker_value(synonym));
        let candidates = own
            .into_iter()
            .chain(of_broker.into_iter().flat_map(|value| value.candidates));
        let candidates: Vec<_> = candidates.collect();
        Effective {
            value: candidates.first().map(|candidate| candidate.value.clone()),
            candidates,
        }
    }

    /// The number that holds for a broker setting; 0 for one that is none.
    pub fn broker_number(&self, name: &str) -> i64 {
        let value = broker_key(name).and_then(|key| self.broker_value(key).value);
        value
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or_default()
    }

    fn group_number(&self, key: &'static GroupKey, own: &Settings) -> i64 {
        let own = own.get(key.name).and_then(|value| value.trim().parse().ok());
        own.unwrap_or_else(|| self.broker_number(key.synonym))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_table_is_sorted_and_its_synonyms_are_broker_settings() {
        assert!(GROUP_KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for key in GROUP_KEYS {
            for name in [key.synonym, key.bounds.0, key.bounds.1] {
                assert!(broker_key(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn values_outside_the_brokers_bounds_are_refused_in_kafkas_words() {
        let config = Config::from_pairs(Vec::new()).expect("valid");
        let layers = Layers::fixed(&config);
        for (name, value, want) in [
            (
                "share.session.timeout.ms",
                "50000",
                "Unknown group config name: share.session.timeout.ms",
            ),
            (
                "consumer.session.timeout.ms",
                "soon",
                "Invalid value soon for configuration consumer.session.timeout.ms: Not a number of type INT",
            ),
            (
                "consumer.session.timeout.ms",
                "0",
                "Invalid value 0 for configuration consumer.session.timeout.ms: Value must be at least 1",
            ),
            (
                "consumer.session.timeout.ms",
                "44999",
                "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                "consumer.heartbeat.interval.ms",
                "15001",
                "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms",
            ),
            (
                "consumer.assignment.interval.ms",
                "15001",
                "consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms",
            ),
        ] {
            assert_eq!(
                validate(&settings(&[(name, value)]), &layers),
                Err(want.to_owned())
            );
        }
        let both = settings(&[
            ("consumer.session.timeout.ms", "60000"),
            ("consumer.heartbeat.interval.ms", "15000"),
        ]);
        assert_eq!(validate(&both, &layers), Ok(()));
        assert_eq!(validate(&settings(&[]), &layers), Ok(()));
    }

    #[test]
    fn a_session_is_longer_than_a_heartbeat() {
        let pairs = settings(&[("group.consumer.min.session.timeout.ms", "5000")]);
        let config = Config::from_pairs(pairs.into_iter().collect()).expect("valid");
        let own = settings(&[("consumer.session.timeout.ms", "5000")]);
        let want = "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms";
        assert_eq!(validate(&own, &Layers::fixed(&config)), Err(want.to_owned()));
    }

    #[test]
    fn a_groups_own_value_outranks_the_brokers() {
        let pairs = settings(&[("group.consumer.session.timeout.ms", "50000")]);
        let config = Config::from_pairs(pairs.into_iter().collect()).expect("valid");
        let layers = Layers::fixed(&config);
        let key = group_key("consumer.session.timeout.ms").expect("known");
        let own = settings(&[("consumer.session.timeout.ms", " 55000 ")]);
        let value = layers.group_value(key, Some(&own));
        let told: Vec<_> = value
            .candidates
            .iter()
            .map(|one| (one.name, one.value.as_str(), one.source as i8))
            .collect();
        let synonym = "group.consumer.session.timeout.ms";
        let want = [
            ("consumer.session.timeout.ms", "55000", 8),
            (synonym, "50000", 4),
            (synonym, "45000", 5),
        ];
        assert_eq!((told, value.value.as_deref()), (want.to_vec(), Some("55000")));
        assert_eq!(layers.group_value(key, None).value.as_deref(), Some("50000"));
    }
}
