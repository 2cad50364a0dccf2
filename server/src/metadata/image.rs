//! The metadata as of one offset of its log: what replaying every record up to there ([`super::replay`]) gives.
//!
//! Copies share what they have in common ([`super::chunked`]), so the controller can change its own while every
//! core reads an older one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringlog_engine::io::Durability;

use super::chunked::ChunkedMap;
use super::controller::names;
use super::quotas::{QuotaEntity, Quotas};
use super::records::level;
use crate::config::{Config, Layers, Settings, TopicSettings};
use crate::wire::Uuid;
use crate::wire::metadata_records::BrokerEndpoint;

/// The feature that says which records the log may hold.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature whose level says how transactions end.
pub const TRANSACTION_VERSION: &str = "transaction.version";
/// No broker leads.
pub const NO_LEADER: i32 = -1;

/// What a setting belongs to, as Kafka numbers the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ResourceType {
    /// A topic, by name.
    Topic = 2,
    /// A broker by number, or all brokers as the empty name.
    Broker = 4,
    /// A broker's loggers.
    BrokerLogger = 8,
    /// A telemetry subscription.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl ResourceType {
    /// The kind of a number.
    pub fn from_number(number: i8) -> Option<ResourceType> {
        let all = [
            Self::Topic,
            Self::Broker,
            Self::BrokerLogger,
            Self::ClientMetrics,
            Self::Group,
        ];
        all.into_iter().find(|kind| *kind as i8 == number)
    }
}

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its id, which outlives neither it nor its name.
    pub id: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// Its partitions by index; without gaps unless the log is another broker's.
    pub partitions: ChunkedMap<i32, Partition>,
}

/// Where a partition's replicas are, and who leads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partition {
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// Replicas being taken away.
    pub removing_replicas: Vec<i32>,
    /// Replicas being added.
    pub adding_replicas: Vec<i32>,
    /// The leader, or [`NO_LEADER`].
    pub leader: i32,
    /// 0 while the leader's log is complete, 1 while it recovers from an unclean election.
    pub leader_recovery_state: i8,
    /// How often leadership was decided.
    pub leader_epoch: i32,
    /// How often anything here changed.
    pub partition_epoch: i32,
    /// For each replica, the log directory it lies in.
    pub directories: Vec<Uuid>,
    /// Replicas out of sync that still hold everything acknowledged (KIP-966).
    pub eligible_leader_replicas: Vec<i32>,
    /// The last members of that set (KIP-966).
    pub last_known_elr: Vec<i32>,
}

impl Partition {
    /// Whether replicas out of sync are known to be complete, or were last (KIP-966).
    pub fn has_elr(&self) -> bool {
        !self.eligible_leader_replicas.is_empty() || !self.last_known_elr.is_empty()
    }
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Broker {
    /// Its number.
    pub id: i32,
    /// The offset of its registration.
    pub epoch: i64,
    /// What sets one run of it apart from the next.
    pub incarnation_id: Uuid,
    /// Its listeners.
    pub endpoints: Vec<BrokerEndpoint>,
    /// Where it stands.
    pub rack: Option<String>,
    /// Whether it is cut off from clients.
    pub fenced: bool,
    /// Whether it is handing over its partitions before a stop.
    pub in_controlled_shutdown: bool,
    /// Its log directories.
    pub log_dirs: Vec<Uuid>,
}

/// The name of a resource with settings: its kind's number and its name.
pub type ResourceName = (i8, String);

/// Kinds of records that are kept in the log, but whose promise this broker does not keep: how many were read.
pub type Unserved = BTreeMap<&'static str, usize>;

/// The metadata as of one offset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataImage {
    pub(super) topics: ChunkedMap<Arc<str>, Topic>,
    pub(super) names: ChunkedMap<Uuid, Arc<str>>,
    /// Names with `.` or `_`, by the form in which both read `_`: they may not differ in that alone.
    pub(super) unified: ChunkedMap<String, Arc<str>>,
    pub(super) partition_count: usize,
    pub(super) configs: ChunkedMap<ResourceName, Settings>,
    pub(super) brokers: BTreeMap<i32, Arc<Broker>>,
    pub(super) features: BTreeMap<String, i16>,
    pub(super) next_producer_id: i64,
    pub(super) quotas: ChunkedMap<QuotaEntity, Quotas>,
    /// How often quotas were set or removed.
    pub(super) quota_changes: u64,
    pub(super) unserved: Unserved,
    pub(super) applied: Option<(i64, i32)>,
}

impl MetadataImage {
    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// A topic by id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Topic> {
        self.topics.get(self.names.get(&id)?.as_ref())
    }

    /// A partition of one of its topics.
    pub fn partition<'a>(&self, topic: &'a Topic, index: i32) -> Option<&'a Partition> {
        topic.partitions.get(&index)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().map(|(_, topic)| topic)
    }

    /// The topics whose name is at least `name`, by name.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Topic> {
        self.topics.iter_from(name).map(|(_, topic)| topic)
    }

    /// Number of topics.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Number of partitions of all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// The topic whose name differs from `name` by `.` and `_` only.
    pub fn colliding_topic(&self, name: &str) -> Option<&str> {
        let found = self.unified.get(unify(name)?.as_str())?;
        Some(found.as_ref())
    }

    /// What is set on a resource; `None` when nothing is.
    pub fn settings(&self, kind: ResourceType, name: &str) -> Option<&Settings> {
        self.configs.get(&(kind as i8, name.to_owned()))
    }

    /// Every resource with settings.
    pub fn all_settings(&self) -> impl Iterator<Item = (&ResourceName, &Settings)> {
        self.configs.iter()
    }

    /// The layers of configuration that stand above each topic's own.
    pub fn layers<'a>(&'a self, config: &'a Config, node_id: i32) -> Layers<'a> {
        Layers {
            config,
            broker: self.settings(ResourceType::Broker, &node_id.to_string()),
            cluster: self.settings(ResourceType::Broker, ""),
        }
    }

    /// A topic's effective settings. A name that is no topic has the defaults.
    pub fn topic_settings(&self, config: &Config, node_id: i32, topic: &str) -> TopicSettings {
        let layers = self.layers(config, node_id);
        let settings = layers.topic_settings(self.settings(ResourceType::Topic, topic));
        TopicSettings {
            // What is decided there is told to other cores and to clients as decided.
            durability: match names::is_internal(topic) {
                true => Durability::Synced,
                false => settings.durability,
            },
            // Coordinators' own records are never refused.
            queue: settings.queue.filter(|_| !names::is_internal(topic)),
            ..settings
        }
    }

    /// A registered broker.
    pub fn broker(&self, id: i32) -> Option<&Broker> {
        self.brokers.get(&id).map(AsRef::as_ref)
    }

    /// Every registered broker, by number.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values().map(AsRef::as_ref)
    }

    /// The finalized level of a feature.
    pub fn feature(&self, name: &str) -> Option<i16> {
        self.features.get(name).copied()
    }

    /// Every finalized feature.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// The level that says which versions of records may be written.
    pub fn metadata_version(&self) -> i16 {
        self.feature(METADATA_VERSION).unwrap_or(level::V4_3)
    }

    /// The level that says how transactions end: with 2 a producer's epoch grows with each (KIP-890). 0 where it was never finalized.
    pub fn transaction_version(&self) -> i16 {
        self.feature(TRANSACTION_VERSION).unwrap_or(0)
    }

    /// The first producer id that was never handed out.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// What the log asks for and this broker does not do: worth a line at start.
    pub fn unserved(&self) -> &Unserved {
        &self.unserved
    }

    /// Offset and leader epoch of the last record applied.
    pub fn applied(&self) -> Option<(i64, i32)> {
        self.applied
    }
}

/// The name with every `.` as `_`, if it has either.
pub(super) fn unify(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}
