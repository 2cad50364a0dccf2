//! The broker's configuration: Kafka's names, types, defaults and ranges in one table each for the broker
//! ([`broker`]) and for topics ([`topic`]), read once at start and checked there.
//!
//! A value out of range is refused with the setting's name and range. A name the table does not have is kept in
//! [`Config::unsupported`], to be listed at start: a `server.properties` written for Kafka works as it is.

pub mod broker;
pub mod cleaner;
pub mod coordinator;
pub mod group;
pub mod kind;
pub mod layers;
pub mod limits;
pub mod local_retention;
mod nearest;
mod notices;
pub mod properties;
pub mod queue;
pub mod topic;
pub mod transaction;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ringlog_engine::io::Durability;

use crate::quotas::Windows;
use broker::{BROKER_KEYS, Endpoint, broker_key};
pub use layers::{Candidate, Effective, Layers, Settings, Source};
use limits::Limits;
pub use topic::TopicSettings;

/// What the names of all settings begin with that Kafka does not have.
const OWN_PREFIX: &str = "ringlog.";

/// What the command line says about the configuration, each stronger than the one before.
#[derive(Clone, Debug, Default)]
pub struct Origin<'a> {
    /// `--config`: a file of Java properties.
    pub file: Option<&'a Path>,
    /// `--set name=value`, in order.
    pub sets: &'a [String],
    /// `--data-dir`.
    pub data_dir: Option<&'a str>,
    /// `--listen host:port`.
    pub listen: Option<&'a str>,
    /// `--cores`.
    pub cores: Option<usize>,
}

/// Why the broker does not start with this configuration. Its text is a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A listener: where it listens, and what clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Name, upper case.
    pub name: String,
    /// Address to bind; empty for every interface.
    pub bind_host: String,
    /// Port to bind; 0 for any free one.
    pub bind_port: u16,
    /// Host told to clients.
    pub advertised_host: String,
    /// Port told to clients; 0 when it is the one that was bound.
    pub advertised_port: u16,
}

/// The checked configuration. Broker settings that change at run time, and topic settings, are asked for through
/// [`Layers`]; the rest are here, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Everything set by file or command line: name to checked value.
    pub fixed: Settings,
    /// Names that were set and are not supported, in order of appearance.
    pub unsupported: Vec<String>,
    /// What whoever set this should know, a line each, to be said at start.
    pub notices: Vec<String>,
    /// `node.id` or `broker.id` when set; otherwise the data directory's, or 1.
    pub node_id: Option<i32>,
    /// `log.dirs`.
    pub data_dir: PathBuf,
    /// `listeners` and `advertised.listeners`, at least one.
    pub listeners: Vec<Listener>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `ringlog.cores`, at least 1.
    pub cores: usize,
    /// `ringlog.memory`.
    pub memory_bytes: u64,
    /// `ringlog.journal.bytes`, for each core.
    pub journal_bytes: u64,
    /// `ringlog.send.zerocopy`.
    pub zero_copy_send: bool,
    /// `ringlog.durability`, as given at start.
    pub durability: Durability,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i32,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topic: bool,
    /// What bounds the memory that clients can make the broker hold.
    pub limits: Limits,
    /// `connections.max.idle.ms`; `None` for never.
    pub connections_max_idle_ms: Option<u64>,
    /// `max.connection.creation.rate`: connections a second.
    pub max_connection_creation_rate: u32,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_session_slots: usize,
    /// `log.initial.task.delay.ms`: from start to the first look for segments past their retention.
    pub initial_task_delay_ms: u64,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval_ms: u64,
    /// `log.cleaner.*`, as far as it is not about topics.
    pub cleaner: cleaner::CleanerConfig,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_id_check_interval_ms: i64,
    /// `max.request.partition.size.limit`.
    pub describe_partitions_limit: i32,
    /// `quota.window.num` and `quota.window.size.seconds`.
    pub quota_windows: Windows,
    /// `controller.quota.window.num` and `controller.quota.window.size.seconds`.
    pub controller_quota_windows: Windows,
}

impl Config {
    /// Reads file and command line, and checks every value.
    ///
    /// # Errors
    /// A sentence naming the file, or the setting with its allowed range.
    pub fn load(origin: &Origin<'_>) -> Result<Config, ConfigError> {
        let mut pairs = match origin.file {
            Some(path) => read_file(path)?,
            None => Vec::new(),
        };
        for set in origin.sets {
            let Some((name, value)) = set.split_once('=') else {
                return Err(ConfigError(format!("--set {set}: expected name=value")));
            };
            pairs.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        pairs.extend(origin.data_dir.map(|dir| ("log.dirs".to_owned(), dir.to_owned())));
        pairs.extend(
            origin
                .cores
                .map(|cores| ("ringlog.cores".to_owned(), cores.to_string())),
        );
        let replaced = match origin.listen {
            Some(address) => notices::listen(&mut pairs, address, origin.sets).map_err(ConfigError)?,
            None => None,
        };
        let mut config = Config::from_pairs(pairs)?;
        config.notices.extend(replaced);
        Ok(config)
    }

    /// Checks the settings, a later one of the same name outranking an earlier.
    ///
    /// # Errors
    /// A sentence naming the setting and its allowed range.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Result<Config, ConfigError> {
        let mut fixed = Settings::new();
        let mut unsupported: Vec<String> = Vec::new();
        let latest: BTreeMap<&str, &str> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        for (name, _) in &pairs {
            let value = latest.get(name.as_str()).copied().unwrap_or_default();
            match broker_key(name) {
                Some(_) => {
                    fixed.insert(name.clone(), check(name, value)?);
                }
                None if name.starts_with(OWN_PREFIX) => return Err(unknown(name)),
                None if unsupported.contains(name) => {}
                None => unsupported.push(name.clone()),
            }
        }
        resolve(fixed, unsupported)
    }
}

/// A name of Kafka's that is not served may stay in a file; one of our own can only be a slip.
fn unknown(name: &str) -> ConfigError {
    let known = BROKER_KEYS.iter().map(|key| key.name);
    let own = known.filter(|name| name.starts_with(OWN_PREFIX));
    let meant = nearest::nearest(name, own, OWN_PREFIX).map(|meant| format!("; did you mean {meant}?"));
    ConfigError(format!("unknown setting {name}{}", meant.unwrap_or_default()))
}

fn read_file(path: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|e| ConfigError(format!("cannot read {shown}: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| ConfigError(format!("{shown} is not UTF-8 text")))?;
    properties::parse(&text).map_err(|line| {
        ConfigError(format!(
            "{shown}, line {line}: broken \\u escape, expected four hex digits"
        ))
    })
}

/// Checks one broker setting, its type, its range, and whether it can be kept.
///
/// # Errors
/// A sentence with the name and the allowed values.
pub fn check(name: &str, value: &str) -> Result<String, ConfigError> {
    let Some(key) = broker_key(name) else {
        return Err(ConfigError(format!("unknown setting {name}")));
    };
    let checked = key
        .kind
        .check(name, value)
        .map_err(|said| match key.kind.range() {
            range if range.is_empty() => ConfigError(said),
            range => ConfigError(format!("{said} (allowed: {range})")),
        })?;
    topic::keepable(name, &checked).map_err(ConfigError)?;
    coordinator::keepable(name, &checked).map_err(ConfigError)?;
    transaction::keepable(name, &checked).map_err(ConfigError)?;
    Ok(checked)
}

/// Reads typed values off the checked settings. Every lookup falls back to the table's default, which is valid.
struct Reader<'a>(&'a Settings);

impl Reader<'_> {
    fn text(&self, name: &'static str) -> Option<&str> {
        let set = self.0.get(name).map(String::as_str);
        set.or_else(|| broker_key(name).and_then(|key| key.default))
    }

    fn set<T: std::str::FromStr>(&self, name: &'static str) -> Option<T> {
        self.0.get(name).and_then(|value| value.parse().ok())
    }

    fn number<T: std::str::FromStr + Default>(&self, name: &'static str) -> T {
        self.text(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or_default()
    }

    fn flag(&self, name: &'static str) -> bool {
        self.text(name) == Some("true")
    }
}

fn resolve(fixed: Settings, unsupported: Vec<String>) -> Result<Config, ConfigError> {
    let read = Reader(&fixed);
    let idle_ms: i64 = read.number("connections.max.idle.ms");
    let cores = read.set("ringlog.cores").unwrap_or_else(default_cores);
    let memory_bytes = read.set("ringlog.memory").unwrap_or_else(default_memory_bytes);
    limits::check(&read)?;
    let config = Config {
        node_id: node_id(&read)?,
        data_dir: data_dir(&read)?,
        listeners: listeners(&read)?,
        rack: read.set("broker.rack"),
        cores,
        memory_bytes,
        journal_bytes: read.number("ringlog.journal.bytes"),
        zero_copy_send: read.flag("ringlog.send.zerocopy"),
        durability: topic::durability(read.text("ringlog.durability").unwrap_or_default()),
        num_partitions: read.number("num.partitions"),
        default_replication_factor: read.number("default.replication.factor"),
        auto_create_topics: read.flag("auto.create.topics.enable"),
        delete_topic: read.flag("delete.topic.enable"),
        limits: limits::read(&read, cores, memory_bytes)?,
        connections_max_idle_ms: u64::try_from(idle_ms).ok(),
        max_connection_creation_rate: read.number("max.connection.creation.rate"),
        fetch_max_bytes: read.number("fetch.max.bytes"),
        fetch_session_slots: read.number("max.incremental.fetch.session.cache.slots"),
        initial_task_delay_ms: read.number("log.initial.task.delay.ms"),
        retention_check_interval_ms: read.number("log.retention.check.interval.ms"),
        cleaner: cleaner::CleanerConfig::read(&read).map_err(ConfigError)?,
        producer_id_expiration_ms: read.number("producer.id.expiration.ms"),
        producer_id_check_interval_ms: read.number("producer.id.expiration.check.interval.ms"),
        describe_partitions_limit: read.number("max.request.partition.size.limit"),
        quota_windows: Windows::new(
            read.number("quota.window.num"),
            read.number("quota.window.size.seconds"),
        ),
        controller_quota_windows: Windows::new(
            read.number("controller.quota.window.num"),
            read.number("controller.quota.window.size.seconds"),
        ),
        unsupported,
        notices: cleaner::notice(&fixed)
            .into_iter()
            .chain(notices::more_cores(cores, default_cores()))
            .collect(),
        fixed,
    };
    Layers::fixed(&config).check_defaults()?;
    Ok(config)
}

impl Layers<'_> {
    /// Checks that the broker settings make valid topic defaults together.
    fn check_defaults(&self) -> Result<(), ConfigError> {
        for key in topic::TOPIC_KEYS {
            let Some(value) = self.topic_default(key) else {
                continue;
            };
            let names: Vec<_> = key.synonyms.iter().map(|synonym| synonym.name).collect();
            key.kind.check(key.name, &value).map_err(|said| {
                let range = key.kind.range();
                ConfigError(format!(
                    "{said} (allowed: {range}; set through {})",
                    names.join(", ")
                ))
            })?;
        }
        topic::validate(&Settings::new(), &|key| self.topic_default(key)).map_err(ConfigError)?;
        coordinator::check(&|name| self.broker_number(name)).map_err(ConfigError)
    }
}

fn node_id(read: &Reader<'_>) -> Result<Option<i32>, ConfigError> {
    let node: Option<i32> = read.set("node.id");
    let broker: Option<i32> = read.set("broker.id").filter(|id| *id >= 0);
    match (node, broker) {
        (Some(node), Some(broker)) if node != broker => Err(ConfigError(format!(
            "node.id={node} and broker.id={broker} differ; set one of them, or both to the same number"
        ))),
        (node, broker) => Ok(node.or(broker)),
    }
}

fn data_dir(read: &Reader<'_>) -> Result<PathBuf, ConfigError> {
    let dirs = read.text("log.dirs").filter(|dirs| !dirs.is_empty());
    let dirs = dirs.or_else(|| read.text("log.dir")).unwrap_or_default();
    match kind::split_list(dirs).as_slice() {
        [dir] if !dir.is_empty() => Ok(PathBuf::from(dir)),
        other => Err(ConfigError(format!(
            "log.dirs: expected exactly one directory, found {}",
            other.len()
        ))),
    }
}

fn listeners(read: &Reader<'_>) -> Result<Vec<Listener>, ConfigError> {
    let parse = |name| {
        Endpoint::parse_all(read.text(name).unwrap_or_default())
            .map_err(|why| ConfigError(format!("Invalid value for configuration {name}: {why}")))
    };
    let advertised = parse("advertised.listeners")?;
    let controllers = kind::split_list(read.text("controller.listener.names").unwrap_or_default());
    // Kafka's own server.properties has listeners for controllers, and advertises them: nobody connects to them here.
    let is_controller = |name: &str| controllers.iter().any(|one| one.eq_ignore_ascii_case(name));
    let mut found = Vec::new();
    for bind in parse("listeners")? {
        if !is_controller(&bind.name) {
            plaintext_only(read, &bind.name)?;
            found.push(listener(bind, &advertised)?);
        }
    }
    if found.is_empty() {
        return Err(ConfigError("listeners: no address for clients".to_owned()));
    }
    match advertised
        .iter()
        .filter(|one| !is_controller(&one.name))
        .find(|one| found.iter().all(|listener| listener.name != one.name))
    {
        Some(stray) => Err(ConfigError(format!(
            "advertised.listeners: {} is not among listeners",
            stray.name
        ))),
        None => Ok(found),
    }
}

fn plaintext_only(read: &Reader<'_>, name: &str) -> Result<(), ConfigError> {
    let map = read.text("listener.security.protocol.map").unwrap_or_default();
    let entry = kind::split_list(map)
        .into_iter()
        .filter_map(|entry| entry.split_once(':'));
    let protocol = entry
        .filter(|(left, _)| left.eq_ignore_ascii_case(name))
        .map(|(_, right)| right)
        .next();
    match protocol {
        Some(protocol) if protocol.eq_ignore_ascii_case("PLAINTEXT") => Ok(()),
        Some(protocol) => Err(ConfigError(format!(
            "listeners: {name} asks for {protocol}; only PLAINTEXT is supported"
        ))),
        None => Err(ConfigError(format!(
            "listeners: {name} has no security protocol; name it in listener.security.protocol.map"
        ))),
    }
}

fn listener(bind: Endpoint, advertised: &[Endpoint]) -> Result<Listener, ConfigError> {
    let (advertised_host, advertised_port) = match advertised.iter().find(|one| one.name == bind.name) {
        Some(one) if is_everywhere(&one.host) && !one.host.is_empty() => {
            return Err(ConfigError(format!(
                "advertised.listeners: clients cannot connect to {}; name a host they can reach",
                one.host
            )));
        }
        Some(one) if one.host.is_empty() => (host_name(), one.port),
        Some(one) => (one.host.clone(), one.port),
        None if is_everywhere(&bind.host) => (host_name(), bind.port),
        None => (bind.host.clone(), bind.port),
    };
    Ok(Listener {
        name: bind.name,
        bind_host: bind.host,
        bind_port: bind.port,
        advertised_host,
        advertised_port,
    })
}

fn is_everywhere(host: &str) -> bool {
    matches!(host, "" | "0.0.0.0" | "::")
}

fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

fn default_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A quarter of the machine's memory, or of the control group's limit when that is less, in `[64 MiB, 256 MiB]`. More keeps more of the newest
/// data in memory, and costs the first touch of it: with 1 GiB a run that writes 1.5 GiB took half as much CPU again.
fn default_memory_bytes() -> u64 {
    let machine = rustix::system::sysinfo();
    // The field's width differs between machines.
    let total = (machine.totalram as u64).saturating_mul(u64::from(machine.mem_unit.max(1)));
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max");
    let limit = limit
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(u64::MAX);
    (total.min(limit) / 4).clamp(64 << 20, 256 << 20)
}

/// The names and values a person can set, for a help page: name, default, allowed values, what it does.
pub fn reference() -> impl Iterator<Item = (&'static str, Option<&'static str>, String, &'static str)> {
    BROKER_KEYS
        .iter()
        .map(|key| (key.name, key.default, key.kind.range(), key.doc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn config(list: &[(&str, &str)]) -> Config {
        Config::from_pairs(pairs(list)).expect("valid")
    }

    #[test]
    fn nothing_set_gives_the_defaults() {
        let config = config(&[]);
        assert_eq!(config.data_dir, PathBuf::from("./ringlog-data"));
        assert_eq!(config.listeners[0].advertised_host, "127.0.0.1");
        assert_eq!((config.listeners[0].bind_port, config.num_partitions), (9092, 1));
        assert!(config.auto_create_topics && config.delete_topic && config.node_id.is_none());
        assert_eq!(
            (
                config.limits.connection.frame_bytes,
                config.connections_max_idle_ms
            ),
            (104_857_600, Some(600_000))
        );
        assert_eq!(
            (config.fetch_max_bytes, config.fetch_session_slots),
            (57_671_680, 1000)
        );
        assert_eq!(
            (config.journal_bytes, config.durability),
            (128 << 20, Durability::Synced)
        );
        assert!((64 << 20..=256 << 20).contains(&config.memory_bytes) && config.cores >= 1);
    }

    #[test]
    fn the_command_line_outranks_the_file() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("server.properties");
        let text = "process.roles=broker,controller\nnum.partitions=3\nzookeeper.connect=a:1\nlog.dirs=/x\n\
                    listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\n";
        std::fs::write(&path, text).expect("written");
        let sets = ["num.partitions=5".to_owned(), "ringlog.memory=64M".to_owned()];
        let origin = Origin {
            file: Some(&path),
            sets: &sets,
            data_dir: Some("/y"),
            listen: Some("[::1]:0"),
            cores: Some(2),
        };
        let config = Config::load(&origin).expect("valid");
        assert_eq!(
            (config.num_partitions, config.memory_bytes, config.cores),
            (5, 64 << 20, 2)
        );
        assert_eq!(config.data_dir, PathBuf::from("/y"));
        assert_eq!(config.listeners.len(), 1);
        assert_eq!(
            (
                config.listeners[0].bind_host.as_str(),
                config.listeners[0].bind_port
            ),
            ("::1", 0)
        );
        assert_eq!(config.unsupported, ["zookeeper.connect"]);
    }

    #[test]
    fn bad_values_are_refused_with_name_and_range() {
        for (list, part) in [
            (
                &[("num.partitions", "0")][..],
                "num.partitions: Value must be at least 1 (allowed: 1 or more)",
            ),
            (
                &[("log.segment.bytes", "1k")],
                "Not a number of type INT (allowed: 1048576 or more)",
            ),
            (
                &[("ringlog.durability", "maybe")],
                "ringlog.durability: String must be one of: synced, written",
            ),
            (
                &[("ringlog.memory", "1M")],
                "ringlog.memory: Value must be at least 33554432 bytes",
            ),
            (&[("log.dirs", "/a,/b")], "exactly one directory, found 2"),
            (&[("listeners", "SSL://:9093")], "only PLAINTEXT is supported"),
            (&[("listeners", "FOO://:9093")], "listener.security.protocol.map"),
            (
                &[("listeners", "127.0.0.1:9092")],
                "not of the form NAME://host:port",
            ),
            (&[("listeners", "")], "no address for clients"),
            (
                &[("advertised.listeners", "PLAINTEXT://0.0.0.0:9092")],
                "clients cannot connect to 0.0.0.0",
            ),
            (
                &[("advertised.listeners", "OTHER://h:9092")],
                "OTHER is not among listeners",
            ),
            (&[("node.id", "1"), ("broker.id", "2")], "differ"),
            (&[("compression.type", "gzip")], "only 'producer' is supported"),
            (
                &[("log.retention.ms", "-5")],
                "retention.ms: Value must be at least -1",
            ),
            (
                &[
                    ("log.cleaner.min.compaction.lag.ms", "9"),
                    ("log.cleaner.max.compaction.lag.ms", "8"),
                ],
                "conflict",
            ),
        ] {
            let said = Config::from_pairs(pairs(list)).expect_err(part).to_string();
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_slip_in_a_setting_of_our_own_is_refused_with_what_was_meant() {
        for (name, said) in [
            (
                "ringlog.core",
                "unknown setting ringlog.core; did you mean ringlog.cores?",
            ),
            (
                "ringlog.durabilty",
                "unknown setting ringlog.durabilty; did you mean ringlog.durability?",
            ),
            (
                "ringlog.something.else.altogether",
                "unknown setting ringlog.something.else.altogether",
            ),
        ] {
            let refused = Config::from_pairs(pairs(&[(name, "1")])).expect_err(name);
            assert_eq!(refused.to_string(), said);
        }
    }

    #[test]
    fn advertised_addresses_follow_their_listener() {
        let all = [
            ("listeners", "IN://0.0.0.0:1,OUT://0.0.0.0:2"),
            ("listener.security.protocol.map", "IN:PLAINTEXT,OUT:PLAINTEXT"),
            ("advertised.listeners", "OUT://example.org:3"),
        ];
        let listeners = config(&all).listeners;
        assert_eq!(
            (
                listeners[1].advertised_host.as_str(),
                listeners[1].advertised_port
            ),
            ("example.org", 3)
        );
        assert!(!is_everywhere(&listeners[0].advertised_host));
    }

    #[test]
    fn the_file_that_comes_with_kafka_is_taken() {
        let all = [
            ("process.roles", "broker,controller"),
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            (
                "advertised.listeners",
                "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
            ),
            ("controller.listener.names", "CONTROLLER"),
        ];
        let listeners = config(&all).listeners;
        assert_eq!(
            (listeners.len(), listeners[0].advertised_host.as_str()),
            (1, "localhost")
        );
    }

    #[test]
    fn layers_rank_as_kafka_ranks_them() {
        let config = config(&[("log.retention.hours", "2"), ("log.segment.bytes", "2000000")]);
        let settings = |list: &[(&str, &str)]| pairs(list).into_iter().collect::<Settings>();
        let broker = settings(&[("log.segment.bytes", "3000000")]);
        let cluster = settings(&[("log.segment.bytes", "4000000"), ("log.retention.ms", "77")]);
        let own = settings(&[("segment.bytes", "5000000")]);
        let fixed = Layers::fixed(&config);
        let all = Layers {
            config: &config,
            broker: Some(&broker),
            cluster: Some(&cluster),
        };
        let key = |name| topic::topic_key(name).expect("known");
        for (layers, name, overrides, want) in [
            (fixed, "segment.bytes", None, ("2000000", Source::Static)),
            (all, "segment.bytes", None, ("3000000", Source::DynamicBroker)),
            (all, "segment.bytes", Some(&own), ("5000000", Source::Topic)),
            (fixed, "retention.ms", None, ("7200000", Source::Static)),
            (all, "retention.ms", None, ("77", Source::DynamicDefault)),
            (all, "segment.ms", None, ("604800000", Source::Default)),
        ] {
            let found = layers.topic_value(key(name), overrides);
            assert_eq!(
                (found.value.as_deref(), found.source()),
                (Some(want.0), want.1),
                "{name}"
            );
        }
        let ranked = all.topic_value(key("segment.bytes"), Some(&own)).candidates;
        let ranked: Vec<_> = ranked
            .iter()
            .map(|c| (c.name, c.value.as_str(), c.source as i8))
            .collect();
        let want = [
            ("segment.bytes", "5000000", 1),
            ("log.segment.bytes", "3000000", 2),
            ("log.segment.bytes", "4000000", 3),
            ("log.segment.bytes", "2000000", 4),
            ("log.segment.bytes", "1073741824", 5),
        ];
        assert_eq!(ranked, want);
        assert!(fixed.topic_value(key("segment.ms"), None).candidates.is_empty());
    }
}
