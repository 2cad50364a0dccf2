//! What there is here and in Apache Kafka 4.3.1, compared both ways: settings, error codes, requests.
//!
//! `golden/roster-4.3.1.txt` is what Kafka's own classes say; `golden/Roster.java` wrote it. Whatever differs is in a list here, with the reason. A list
//! that names something which does not differ, or is not there, fails as well.

use std::collections::{BTreeMap, BTreeSet};

use ringlog::config::broker::{BROKER_KEYS, is_dynamic};
use ringlog::config::group::GROUP_KEYS;
use ringlog::config::kind::{ConfigType, Kind};
use ringlog::config::topic::TOPIC_KEYS;
use ringlog::wire::api::TABLE;
use ringlog::wire::{ApiKey, ErrorCode};

/// A name, and why it is in the list.
type Reasons = &'static [(&'static str, &'static str)];

/// Settings that Kafka does not have.
const OWN_SETTINGS: Reasons = &[("ringlog.*", "what is Ringlog's own says so in its name")];

/// Settings of groups that are not served.
const GROUP_SETTINGS_NOT_SERVED: Reasons = &[
    ("share.*", "there are no share groups"),
    (
        "streams.*",
        "Kafka Streams runs on the classic protocol; there are no streams groups",
    ),
];

/// Settings of the broker that are not served: named at start when they are set.
const BROKER_SETTINGS_NOT_SERVED: Reasons = &[
    (
        "add.partitions.to.txn.*",
        "a producer that comes before its last transaction has ended is told so, and tries again itself",
    ),
    ("alter.config.policy.class.name", "a Java class"),
    ("alter.log.dirs.*", "there is one log directory"),
    ("authorizer.class.name", "a Java class"),
    ("auto.leader.rebalance.enable", "one broker leads all it holds"),
    ("background.threads", "one thread for slow file work"),
    ("broker.*", "one broker registers with itself"),
    ("client.quota.callback.class", "a Java class"),
    ("config.providers", "Java classes"),
    (
        "connection.failed.authentication.delay.ms",
        "there is no authentication yet",
    ),
    ("connections.max.reauth.ms", "there is no authentication yet"),
    ("controlled.shutdown.*", "nobody takes over from the only broker"),
    ("controller.*", "the controller is part of the broker"),
    ("cordoned.log.dirs", "there is one log directory"),
    ("create.topic.policy.class.name", "a Java class"),
    ("delegation.token.*", "there is no authentication yet"),
    (
        "delete.records.purgatory.purge.interval.requests",
        "waiting deletions are not kept in such a thing",
    ),
    ("early.start.listeners", "listeners start together"),
    (
        "fetch.purgatory.purge.interval.requests",
        "parked fetches are not kept in such a thing",
    ),
    ("follower.*", "there is no follower"),
    (
        "group.coordinator.*",
        "a coordinator has no threads and buffers of its own; both protocols of groups are served",
    ),
    ("group.share.*", "there are no share groups"),
    (
        "group.streams.*",
        "Kafka Streams runs on the classic protocol; there are no streams groups",
    ),
    (
        "initial.broker.registration.timeout.ms",
        "one broker registers with itself",
    ),
    ("inter.broker.listener.name", "there is one broker"),
    ("internal.metadata.*", "for Kafka's own tests"),
    ("kafka.metrics.*", "a Java virtual machine's"),
    ("leader.*", "one broker leads all it holds"),
    ("log.dir.failure.timeout.ms", "there is one log directory"),
    ("log.flush.*", "every acknowledged record is synced"),
    ("metadata.log.*", "the metadata log is a log like any other"),
    ("metadata.max.*", "the metadata log is a log like any other"),
    ("metric*", "a Java virtual machine's"),
    ("num.*", "one thread for each core, and one for slow file work"),
    ("offsets.commit.timeout.ms", "there is no replica to wait for"),
    (
        "offsets.load.buffer.size",
        "records of groups are read as others are",
    ),
    ("principal.builder.class", "a Java class"),
    (
        "producer.purgatory.purge.interval.requests",
        "waiting acknowledgements are not kept in such a thing",
    ),
    ("remote.*", "there is no tiered storage"),
    ("replica.*", "there is one broker"),
    ("replication.*", "there is one broker"),
    ("request.timeout.ms", "for requests between brokers"),
    ("sasl.*", "there is no authentication yet"),
    ("security.*", "there is no encryption yet"),
    ("server.max.startup.time.ms", "a start takes as long as it takes"),
    ("share.*", "there are no share groups"),
    (
        "socket.*",
        "buffers and queues are the kernel's to size, and there are no connections between brokers",
    ),
    ("ssl.*", "there is no encryption yet"),
    ("telemetry.*", "clients' telemetry is not taken"),
    (
        "transaction.state.log.load.buffer.size",
        "records of transactions are read as others are",
    ),
    (
        "unclean.leader.election.interval.ms",
        "there is no other replica to elect",
    ),
    ("unstable.*", "for Kafka's own tests"),
];

/// Settings whose default, type or range differs: the name, ours, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "controller.quota.window.num",
        "[1,...,360]",
        "each window takes memory for each client",
    ),
    (
        "quota.window.num",
        "[1,...,360]",
        "each window takes memory for each client",
    ),
    ("internal.segment.bytes", "[1,...]", "a segment holds something"),
    (
        "controller.listener.names",
        "",
        "the controller needs no listener",
    ),
    (
        "default.replication.factor",
        "[1,...]",
        "a topic has a replica; Kafka finds out when it makes one",
    ),
    (
        "listener.security.protocol.map",
        "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
        "the same in another order",
    ),
    (
        "listeners",
        "PLAINTEXT://127.0.0.1:9092",
        "nothing is open to the network that was not asked for",
    ),
    (
        "log.dir",
        "./ringlog-data",
        "data that is to last does not belong into /tmp",
    ),
    ("offsets.topic.replication.factor", "1", "there is one broker"),
    (
        "process.roles",
        "broker,controller",
        "the controller is part of the broker",
    ),
    ("transaction.state.log.min.isr", "1", "there is one broker"),
    (
        "transaction.state.log.replication.factor",
        "1",
        "there is one broker",
    ),
];

const CLEANER: &str = "the cleaner's threads, their memory and their pace are settled at start";

/// Broker settings that change at run time in Kafka and not here.
const DYNAMIC_IN_KAFKA: Reasons = &[
    ("listener.security.protocol.map", "listeners are opened at start"),
    ("listeners", "listeners are opened at start"),
    ("log.cleaner.backoff.ms", CLEANER),
    ("log.cleaner.dedupe.buffer.size", CLEANER),
    ("log.cleaner.io.*", CLEANER),
    ("log.cleaner.threads", CLEANER),
    (
        "max.connection.creation.rate",
        "the rate is shared by all cores and made at start",
    ),
    (
        "max.connections*",
        "how much memory connections may take is settled at start",
    ),
    ("producer.id.expiration.ms", "read once, at start"),
];

/// Requests of clients and administrators that are not served.
const REQUESTS_NOT_SERVED: Reasons = &[
    ("AddRaftVoter", "one node is the quorum"),
    ("AlterShareGroupOffsets", "there are no share groups"),
    ("AlterUserScramCredentials", "there is no authentication yet"),
    ("CreateAcls", "there is no authorizer yet"),
    ("CreateDelegationToken", "there is no authentication yet"),
    ("DeleteAcls", "there is no authorizer yet"),
    ("DeleteShareGroup*", "there are no share groups"),
    ("DescribeAcls", "there is no authorizer yet"),
    ("DescribeDelegationToken", "there is no authentication yet"),
    ("DescribeShareGroupOffsets", "there are no share groups"),
    ("ExpireDelegationToken", "there is no authentication yet"),
    ("GetTelemetrySubscriptions", "clients' telemetry is not taken"),
    ("InitializeShareGroupState", "there are no share groups"),
    ("PushTelemetry", "clients' telemetry is not taken"),
    ("ReadShareGroup*", "there are no share groups"),
    ("RemoveRaftVoter", "one node is the quorum"),
    ("RenewDelegationToken", "there is no authentication yet"),
    ("SaslAuthenticate", "there is no authentication yet"),
    ("SaslHandshake", "there is no authentication yet"),
    ("ShareAcknowledge", "there are no share groups"),
    ("ShareFetch", "there are no share groups"),
    ("ShareGroup*", "there are no share groups"),
    (
        "StreamsGroup*",
        "Kafka Streams runs on the classic protocol; there are no streams groups",
    ),
    ("UnregisterBroker", "the only broker does not leave its cluster"),
    ("WriteShareGroupState", "there are no share groups"),
];

#[derive(Debug, PartialEq)]
struct Setting {
    kind: &'static str,
    default: Option<&'static str>,
    range: &'static str,
    more: &'static str,
}

/// The rows of one kind, without it.
fn rows(of: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let all = include_str!("../golden/roster-4.3.1.txt").lines();
    let mut all: Vec<Vec<&str>> = all.map(|line| line.split('\t').collect()).collect();
    all.retain(|row| row.first() == Some(&of));
    assert!(!all.is_empty(), "{of}");
    all.into_iter().map(|row| row[1..].to_vec())
}

fn kafkas(of: &str) -> BTreeMap<&'static str, Setting> {
    let setting = |row: Vec<&'static str>| {
        let [name, kind, default, range, _, more] = row[..] else {
            panic!("{row:?}")
        };
        let default = match default {
            "-" => None,
            "''" => Some(""),
            text => Some(text),
        };
        let setting = Setting {
            kind,
            default,
            range,
            more,
        };
        (name, setting)
    };
    rows(of).map(setting).collect()
}

/// Whether a name is one of a list; a star at the end stands for anything.
fn is_in(list: Reasons, name: &str) -> bool {
    list.iter().any(|(pattern, _)| stands_for(pattern, name))
}

fn stands_for(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

/// Checks that names differ as the lists say, and that each list says nothing else.
fn compare(what: &str, ours: &BTreeSet<&str>, kafkas: &BTreeSet<&str>, own: Reasons, not_served: Reasons) {
    let more: Vec<_> = ours.difference(kafkas).filter(|name| !is_in(own, name)).collect();
    assert!(more.is_empty(), "{what} that Kafka does not have: {more:?}");
    let lacking: Vec<_> = kafkas
        .difference(ours)
        .filter(|name| !is_in(not_served, name))
        .collect();
    assert!(lacking.is_empty(), "{what} that are not served: {lacking:?}");
    for (pattern, reason) in not_served {
        let is_needed = kafkas.difference(ours).any(|name| stands_for(pattern, name));
        assert!(
            is_needed && !reason.is_empty(),
            "{what}: nothing is left out for {pattern}"
        );
    }
}

fn type_name(kind: ConfigType) -> &'static str {
    match kind {
        ConfigType::Boolean => "BOOLEAN",
        ConfigType::String => "STRING",
        ConfigType::Int => "INT",
        ConfigType::Short => "SHORT",
        ConfigType::Long => "LONG",
        ConfigType::Double => "DOUBLE",
        ConfigType::List => "LIST",
        ConfigType::Unknown => "",
    }
}

/// A range of numbers as Kafka's validators print it; `None` for what is not a range.
fn range_of(kind: Kind) -> Option<String> {
    let bounds = |min: String, has_min: bool, max: String, has_max: bool| match (has_min, has_max) {
        (false, _) => "-".to_owned(),
        (true, false) => format!("[{min},...]"),
        (true, true) => format!("[{min},...,{max}]"),
    };
    match kind {
        Kind::Short(min, max) => Some(bounds(
            min.to_string(),
            min > i16::MIN,
            max.to_string(),
            max < i16::MAX,
        )),
        Kind::Int(min, max) => Some(bounds(
            min.to_string(),
            min > i32::MIN,
            max.to_string(),
            max < i32::MAX,
        )),
        Kind::Long(min, max) => Some(bounds(
            min.to_string(),
            min > i64::MIN,
            max.to_string(),
            max < i64::MAX,
        )),
        _ => None,
    }
}

/// Checks type, default and range of a setting, but for what is known to differ.
fn same(differences: &mut Vec<String>, name: &str, kind: Kind, default: Option<&str>, kafkas: &Setting) {
    let ours = (type_name(kind.config_type()), default);
    let range = range_of(kind).unwrap_or_else(|| kafkas.range.to_owned());
    let told = [default.unwrap_or("-"), ours.0, range.as_str()];
    let is_known = DIFFERENT
        .iter()
        .any(|(known, own, _)| *known == name && told.contains(own));
    let is_same = ours == (kafkas.kind, kafkas.default) && range == kafkas.range;
    if is_same == is_known {
        differences.push(format!("{name}: {ours:?} {range}, in Kafka {kafkas:?}"));
    }
}

#[test]
fn settings_of_topics_are_kafkas() {
    let theirs = kafkas("topic");
    let names = TOPIC_KEYS.iter().map(|key| key.name).collect();
    compare(
        "settings of topics",
        &names,
        &theirs.keys().copied().collect(),
        OWN_SETTINGS,
        &[],
    );
    let mut differences = Vec::new();
    for key in TOPIC_KEYS {
        let Some(setting) = theirs.get(key.name) else {
            continue;
        };
        same(&mut differences, key.name, key.kind, key.default, setting);
        assert_eq!(
            key.synonyms.first().map_or("-", |synonym| synonym.name),
            setting.more,
            "{}",
            key.name
        );
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn settings_of_groups_are_kafkas() {
    let theirs = kafkas("group");
    let names = GROUP_KEYS.iter().map(|key| key.name).collect();
    let all = theirs.keys().copied().collect();
    compare("settings of groups", &names, &all, &[], GROUP_SETTINGS_NOT_SERVED);
    let mut differences = Vec::new();
    for key in GROUP_KEYS {
        let setting = &theirs[key.name];
        let default = BROKER_KEYS
            .iter()
            .find(|one| one.name == key.synonym)
            .and_then(|one| one.default);
        same(&mut differences, key.name, key.kind, default, setting);
        assert_eq!(key.synonym, setting.more, "{}", key.name);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn settings_of_the_broker_are_kafkas() {
    let theirs = kafkas("broker");
    let names = BROKER_KEYS.iter().map(|key| key.name).collect();
    let all = theirs.keys().copied().collect();
    compare(
        "settings of the broker",
        &names,
        &all,
        OWN_SETTINGS,
        BROKER_SETTINGS_NOT_SERVED,
    );
    let mut differences = Vec::new();
    for key in BROKER_KEYS.iter() {
        let Some(setting) = theirs.get(key.name) else {
            continue;
        };
        same(&mut differences, key.name, key.kind, key.default, setting);
        let is_fixed_here = is_in(DYNAMIC_IN_KAFKA, key.name);
        if is_dynamic(key.name) != (setting.more == "dynamic" && !is_fixed_here) {
            differences.push(format!(
                "{}: changes at run time here: {}",
                key.name,
                is_dynamic(key.name)
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn error_codes_are_kafkas() {
    let theirs: BTreeMap<i16, (&str, &str)> = rows("error")
        .map(|row| (row[0].parse().expect("a number"), (row[1], row[2])))
        .collect();
    let known = |code: &i16| *code == -1 || ErrorCode::from_code(*code) != ErrorCode::UnknownServerError;
    let ours: BTreeMap<i16, (&str, &str)> = (i16::MIN..=i16::MAX)
        .filter(known)
        .map(|number| {
            let code = ErrorCode::from_code(number);
            (
                number,
                (
                    code.name(),
                    if code.is_retriable() {
                        "retriable"
                    } else {
                        "lasting"
                    },
                ),
            )
        })
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn requests_are_kafkas_in_all_their_versions() {
    let number = |text: &str| text.parse::<i16>().expect("a number");
    let theirs: BTreeMap<&str, [i16; 4]> = rows("api")
        .map(|row| {
            (
                row[1],
                [number(row[0]), number(row[2]), number(row[3]), number(row[4])],
            )
        })
        .collect();
    let public = || TABLE.iter().filter(|api| !api.key.is_private());
    let names = public().map(|api| api.key.name()).collect();
    let all: BTreeSet<&str> = theirs.keys().copied().collect();
    compare("requests", &names, &all, &[], REQUESTS_NOT_SERVED);
    for api in public() {
        // What is not flexible in any version says so by the next one.
        let from = api.flexible_from.min(api.max_version + 1);
        // What is in all versions there are was so in those that are no more, to Kafka.
        let flexible_from = if from <= api.min_version { 0 } else { from };
        let ours = [api.key as i16, api.min_version, api.max_version, flexible_from];
        assert_eq!(ours, theirs[api.key.name()], "{}", api.key);
    }
    for (name, [number, ..]) in theirs {
        assert_eq!(ApiKey::try_from(number).map(ApiKey::name), Ok(name));
    }
}
