//! Which value of a setting holds: the topic's own, then this broker's dynamic one, then the cluster's dynamic
//! default, then the configuration file and command line, then the built-in default.

use std::collections::BTreeMap;

use super::Config;
use super::broker::{BrokerKey, broker_key, family};
use super::topic::{TopicKey, TopicSettings};

/// Settings of one resource: name to value.
pub type Settings = BTreeMap<String, String>;

/// Where a value comes from, as DescribeConfigs numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set at run time on this broker.
    DynamicBroker = 2,
    /// Set at run time as the default of all brokers.
    DynamicDefault = 3,
    /// Set in the configuration file or on the command line.
    Static = 4,
    /// Built in.
    Default = 5,
    /// The level of a logger.
    BrokerLogger = 6,
    /// Set on the group.
    Group = 8,
}

/// A value one layer offers for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The name it was set under.
    pub name: &'static str,
    /// The value as it was set.
    pub value: String,
    /// The layer.
    pub source: Source,
}

/// The value that holds, and everything it outranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The value, in the setting's own unit. `None` when nothing is set and nothing is built in.
    pub value: Option<String>,
    /// Every layer's offer, the strongest first.
    pub candidates: Vec<Candidate>,
}

impl Effective {
    /// Where the value comes from.
    pub fn source(&self) -> Source {
        self.candidates
            .first()
            .map_or(Source::Default, |candidate| candidate.source)
    }
}

/// The broker-wide layers, as they stand in one metadata image.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// Configuration file and command line.
    pub config: &'a Config,
    /// What was set at run time on this broker.
    pub broker: Option<&'a Settings>,
    /// What was set at run time for all brokers.
    pub cluster: Option<&'a Settings>,
}

impl<'a> Layers<'a> {
    /// Layers without anything set at run time.
    pub fn fixed(config: &'a Config) -> Layers<'a> {
        Layers {
            config,
            broker: None,
            cluster: None,
        }
    }

    /// What holds for a broker setting.
    pub fn broker_value(&self, key: &'static BrokerKey) -> Effective {
        let candidates = self.candidates(&family(key.name), key.name);
        let own = candidates.iter().find(|candidate| candidate.name == key.name);
        Effective {
            value: own.map(|candidate| candidate.value.clone()),
            candidates,
        }
    }

    /// What holds for a topic setting, given what is set on the topic itself.
    pub fn topic_value(&self, key: &'static TopicKey, overrides: Option<&Settings>) -> Effective {
        let own = overrides.and_then(|settings| settings.get(key.name));
        let own = own.map(|value| key.kind.check(key.name, value).unwrap_or_else(|_| value.clone()));
        let mut candidates: Vec<Candidate> = own
            .iter()
            .map(|value| Candidate {
                name: key.name,
                value: value.clone(),
                source: Source::Topic,
            })
            .collect();
        if let Some(primary) = key.synonyms.first() {
            candidates.extend(self.candidates(&family(primary.name), primary.name));
        }
        Effective {
            value: own.or_else(|| self.topic_default(key)),
            candidates,
        }
    }

    /// What holds for a topic setting on which the topic is silent.
    pub fn topic_default(&self, key: &'static TopicKey) -> Option<String> {
        for source in [Source::DynamicBroker, Source::DynamicDefault, Source::Static] {
            for synonym in key.synonyms {
                if let Some(value) = self.get(source, synonym.name) {
                    return Some(synonym.convert(value));
                }
            }
        }
        key.default.map(str::to_owned)
    }

    /// One topic's settings, typed.
    pub fn topic_settings(&self, overrides: Option<&Settings>) -> TopicSettings {
        TopicSettings::from_effective(&|key| self.topic_value(key, overrides).value)
    }

    fn get(&self, source: Source, name: &str) -> Option<&str> {
        let settings = match source {
            Source::DynamicBroker => self.broker?,
            Source::DynamicDefault => self.cluster?,
            Source::Static => &self.config.fixed,
            Source::Default => return broker_key(name)?.default,
            Source::Topic | Source::BrokerLogger | Source::Group => return None,
        };
        settings.get(name).map(String::as_str)
    }

    /// The offers of all broker layers under all the names. Built-in values of names that rank above `asked` by
    /// unit only (hours for milliseconds) are left out, unless a stronger layer offers something.
    fn candidates(&self, names: &[&'static str], asked: &str) -> Vec<Candidate> {
        let mut found = Vec::new();
        for source in [
            Source::DynamicBroker,
            Source::DynamicDefault,
            Source::Static,
            Source::Default,
        ] {
            for name in names {
                if let Some(value) = self.get(source, name) {
                    found.push(Candidate {
                        name,
                        value: value.to_owned(),
                        source,
                    });
                }
            }
        }
        let start = found
            .iter()
            .position(|c| c.name == asked || c.source != Source::Default);
        found.split_off(start.unwrap_or(found.len()))
    }
}
