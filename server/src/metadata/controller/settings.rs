//! Changing the settings of topics and brokers.

use super::{Refusal, View, names};
use crate::config::broker::{broker_key, is_dynamic};
use crate::config::kind::{Kind, split_list};
use crate::config::topic::{self, keepable, topic_key};
use crate::config::{Layers, Settings, coordinator, group, local_retention, queue};
use crate::metadata::image::ResourceType;
use crate::metadata::records::Record;
use crate::wire::ErrorCode;
use crate::wire::metadata_records::ConfigRecord;

/// The longest value of a setting, in bytes.
pub const MAX_VALUE_BYTES: usize = i16::MAX as usize;

/// What is to become of one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// It gets this value.
    Set(&'a str),
    /// It goes back to its default.
    Delete,
    /// These items are added to its list.
    Append(&'a str),
    /// These items are taken from its list.
    Subtract(&'a str),
}

/// Decides about changes to a resource, each for one setting. What is not named stays.
///
/// # Errors
/// INVALID_REQUEST, INVALID_CONFIG, INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION.
pub fn alter(
    view: View<'_>,
    kind: ResourceType,
    name: &str,
    changes: &[(&str, Change<'_>)],
) -> Result<Vec<Record>, Refusal> {
    let before = view.image.settings(kind, name).cloned().unwrap_or_default();
    let mut after = before.clone();
    for (key, change) in changes {
        match changed(kind, key, &before, *change)? {
            Some(value) => after.insert((*key).to_owned(), value),
            None => after.remove(*key),
        };
    }
    decide(view, kind, name, &before, &after)
}

/// Decides about a resource's settings as a whole: what is not named goes back to its default.
///
/// # Errors
/// As [`alter`].
pub fn replace(
    view: View<'_>,
    kind: ResourceType,
    name: &str,
    after: &Settings,
) -> Result<Vec<Record>, Refusal> {
    let before = view.image.settings(kind, name).cloned().unwrap_or_default();
    decide(view, kind, name, &before, after)
}

/// Checks a topic's own settings.
///
/// # Errors
/// INVALID_CONFIG.
pub fn check_topic(view: View<'_>, own: &Settings) -> Result<(), Refusal> {
    check_lengths(own)?;
    let layers = view.image.layers(view.config, view.node_id);
    topic::validate(own, &|key| layers.topic_default(key))
        .map_err(|message| Refusal::new(ErrorCode::InvalidConfig, message))
}

fn decide(
    view: View<'_>,
    kind: ResourceType,
    name: &str,
    before: &Settings,
    after: &Settings,
) -> Result<Vec<Record>, Refusal> {
    match kind {
        ResourceType::Topic => check_topic_resource(view, name, after)?,
        ResourceType::Broker => check_broker(view, name, before, after)?,
        ResourceType::Group => check_group(view, name, after)?,
        other => {
            let message = format!("settings of {other:?} resources are not supported");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    }
    let gone = before
        .keys()
        .filter(|key| !after.contains_key(*key))
        .map(|key| (key, None));
    let set = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value));
    let set = set.map(|(key, value)| (key, Some(value.clone())));
    Ok(gone
        .chain(set)
        .map(|(key, value)| record(kind, name, key, value))
        .collect())
}

fn record(kind: ResourceType, resource: &str, name: &str, value: Option<String>) -> Record {
    let resource_name = resource.to_owned();
    ConfigRecord {
        resource_type: kind as i8,
        resource_name,
        name: name.to_owned(),
        value,
    }
    .into()
}

/// The value of a setting after a change, `None` for its default.
fn changed(
    kind: ResourceType,
    key: &str,
    before: &Settings,
    change: Change<'_>,
) -> Result<Option<String>, Refusal> {
    let (items, verb) = match change {
        Change::Set(value) => return Ok(Some(value.to_owned())),
        Change::Delete => return Ok(None),
        Change::Append(items) => (items, "APPEND"),
        Change::Subtract(items) => (items, "SUBTRACT"),
    };
    let Some(default) = list_default(kind, key) else {
        let message = format!("Can't {verb} to key {key} because its type is not LIST.");
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    };
    let now = before.get(key).map_or(default, String::as_str);
    let mut list: Vec<&str> = split_list(now);
    for item in split_list(items) {
        if verb == "SUBTRACT" {
            list.retain(|other| *other != item);
        } else if !list.contains(&item) {
            list.push(item);
        }
    }
    Ok(Some(list.join(",")))
}

/// The built-in value of a list setting; `None` when it is not one.
fn list_default(kind: ResourceType, key: &str) -> Option<&'static str> {
    let (kind, default) = match kind {
        ResourceType::Topic => topic_key(key).map(|key| (key.kind, key.default))?,
        // None of theirs is a list.
        ResourceType::Group => return None,
        _ => broker_key(key).map(|key| (key.kind, key.default))?,
    };
    matches!(kind, Kind::List(_)).then(|| default.unwrap_or_default())
}

fn check_lengths(settings: &Settings) -> Result<(), Refusal> {
    match settings.values().any(|value| value.len() > MAX_VALUE_BYTES) {
        false => Ok(()),
        true => Err(Refusal::new(
            ErrorCode::InvalidConfig,
            format!("a value is longer than the maximum size of {MAX_VALUE_BYTES} bytes"),
        )),
    }
}

fn check_topic_resource(view: View<'_>, name: &str, after: &Settings) -> Result<(), Refusal> {
    if names::is_internal(name)
        && after
            .get("ringlog.durability")
            .is_some_and(|word| word != "synced")
    {
        let message = format!("ringlog.durability: what coordinators keep in {name} is always synced");
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    }
    check_internal(name, after)?;
    if name.is_empty() {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Default topic resources are not allowed.",
        ));
    }
    names::check(name)?;
    check_topic(view, after)?;
    match view.image.topic(name) {
        Some(_) => Ok(()),
        None => {
            let message = format!("The topic '{name}' does not exist.");
            Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message))
        }
    }
}

/// Coordinators' own records are never refused, and never dropped.
///
/// # Errors
/// INVALID_CONFIG.
pub fn check_internal(topic: &str, own: &Settings) -> Result<(), Refusal> {
    let limit = own.keys().find(|key| key.starts_with(queue::PREFIX));
    match limit.filter(|_| names::is_internal(topic)) {
        Some(key) => {
            let message = format!("{key}: what coordinators keep in {topic} has no limits");
            Err(Refusal::new(ErrorCode::InvalidConfig, message))
        }
        None => Ok(()),
    }
}

fn check_group(view: View<'_>, name: &str, after: &Settings) -> Result<(), Refusal> {
    if name.is_empty() {
        let message = "Default group resources are not allowed.";
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    check_lengths(after)?;
    let layers = view.image.layers(view.config, view.node_id);
    group::validate(after, &layers).map_err(|message| Refusal::new(ErrorCode::InvalidConfig, message))
}

/// The name of a broker resource: this broker's number, or empty for all brokers.
///
/// # Errors
/// INVALID_REQUEST.
pub fn check_broker_name(name: &str, node_id: i32) -> Result<(), Refusal> {
    let refused = |message| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    match name.parse::<i32>() {
        _ if name.is_empty() => Ok(()),
        Ok(id) if id == node_id => Ok(()),
        Ok(_) => refused(format!(
            "Unexpected broker id, expected {node_id}, but received {name}"
        )),
        Err(_) => refused(format!("Node id must be an integer, but it is: {name}")),
    }
}

/// Kafka answers INVALID_REQUEST to a broker's setting that cannot be, and so does this, except for values it allows
/// and this broker cannot keep.
fn check_broker(view: View<'_>, name: &str, before: &Settings, after: &Settings) -> Result<(), Refusal> {
    check_broker_name(name, view.node_id)?;
    check_lengths(after)?;
    // What another broker left in the log may stay; only what is set now is checked.
    for (key, value) in after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value))
    {
        check_broker_setting(key, value)?;
    }
    let layers = view.image.layers(view.config, view.node_id);
    let layers = match name {
        "" => Layers {
            cluster: Some(after),
            ..layers
        },
        _ => Layers {
            broker: Some(after),
            ..layers
        },
    };
    let refused = |message| Refusal::new(ErrorCode::InvalidRequest, message);
    for key in topic::TOPIC_KEYS {
        if let Some(value) = layers.topic_default(key) {
            key.kind.check(key.name, &value).map_err(refused)?;
        }
    }
    topic::validate(&Settings::new(), &|key| layers.topic_default(key)).map_err(refused)?;
    let number = |name: &str| layers.topic_default(topic_key(name)?)?.trim().parse().ok();
    local_retention::check(&number).map_err(refused)?;
    coordinator::check(&|name| layers.broker_number(name)).map_err(refused)
}

fn check_broker_setting(name: &str, value: &str) -> Result<(), Refusal> {
    let refused = |message| Refusal::new(ErrorCode::InvalidRequest, message);
    let Some(key) = broker_key(name) else {
        return Err(Refusal::new(
            ErrorCode::InvalidConfig,
            format!("Unknown or unsupported broker config: {name}"),
        ));
    };
    if !is_dynamic(name) {
        return Err(refused(format!(
            "Cannot update these configs dynamically: [{name}]"
        )));
    }
    let value = key.kind.check(name, value).map_err(refused)?;
    keepable(name, &value).map_err(|message| Refusal::new(ErrorCode::InvalidConfig, message))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    use Change::{Append, Delete, Set, Subtract};
    use ResourceType::{Broker, Group, Topic};

    /// What is set on the resource afterwards, or the code of the refusal.
    fn after(
        records: &[Record],
        kind: ResourceType,
        name: &str,
        changes: &[(&str, Change<'_>)],
    ) -> Result<Vec<String>, ErrorCode> {
        let config = config(&[]);
        let now = image(records);
        let made = alter(view(&now, &config), kind, name, changes).map_err(|refusal| refusal.code)?;
        let then = image(&[records, &made].concat());
        let settings = then.settings(kind, name).cloned().unwrap_or_default();
        Ok(settings
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect())
    }

    #[test]
    fn topics_are_changed() {
        use ErrorCode as E;
        let records = [topic("t", 1), vec![setting(2, "t", "retention.ms", "5")]].concat();
        let kept = "retention.ms=5";
        for (changes, want) in [
            (
                &[("segment.bytes", Set("2000000"))][..],
                Ok(vec![kept, "segment.bytes=2000000"]),
            ),
            (&[("retention.ms", Delete)], Ok(vec![])),
            (&[("retention.ms", Set("6"))], Ok(vec!["retention.ms=6"])),
            (&[("segment.ms", Delete)], Ok(vec![kept])),
            (
                &[("cleanup.policy", Append("compact"))],
                Ok(vec!["cleanup.policy=delete,compact", kept]),
            ),
            (
                &[("cleanup.policy", Append("delete"))],
                Ok(vec!["cleanup.policy=delete", kept]),
            ),
            (
                &[("cleanup.policy", Subtract("delete"))],
                Ok(vec!["cleanup.policy=", kept]),
            ),
            (&[("retention.ms", Append("7"))], Err(E::InvalidConfig)),
            (&[("no.such", Set("7"))], Err(E::InvalidConfig)),
            (&[("no.such", Delete)], Ok(vec![kept])),
            (&[("retention.ms", Set("-2"))], Err(E::InvalidConfig)),
            (&[("remote.storage.enable", Set("true"))], Err(E::InvalidConfig)),
        ] {
            let want = want.map(|list| list.into_iter().map(str::to_owned).collect());
            assert_eq!(after(&records, Topic, "t", changes), want, "{changes:?}");
        }
        let set = &[("retention.ms", Set("1"))];
        assert_eq!(after(&records, Topic, "u", set), Err(E::UnknownTopicOrPartition));
        assert_eq!(after(&records, Topic, "", set), Err(E::InvalidRequest));
        assert_eq!(after(&records, Topic, "a b", set), Err(E::InvalidTopicException));
        let long = "1".repeat(40_000);
        assert_eq!(
            after(&records, Topic, "t", &[("retention.ms", Set(&long))]),
            Err(E::InvalidConfig)
        );
    }

    #[test]
    fn brokers_are_changed() {
        use ErrorCode as E;
        for (name, changes, want) in [
            (
                "1",
                &[("log.segment.bytes", Set("2000000"))][..],
                Ok(vec!["log.segment.bytes=2000000".to_owned()]),
            ),
            (
                "",
                &[("ringlog.durability", Set("written"))],
                Ok(vec!["ringlog.durability=written".to_owned()]),
            ),
            (
                "2",
                &[("log.segment.bytes", Set("2000000"))],
                Err(E::InvalidRequest),
            ),
            (
                "x",
                &[("log.segment.bytes", Set("2000000"))],
                Err(E::InvalidRequest),
            ),
            ("", &[("log.segment.bytes", Set("1"))], Err(E::InvalidRequest)),
            ("", &[("num.partitions", Set("1"))], Err(E::InvalidRequest)),
            ("", &[("no.such", Set("1"))], Err(E::InvalidConfig)),
            ("", &[("compression.type", Set("zstd"))], Err(E::InvalidConfig)),
            ("", &[("log.retention.ms", Set("-9"))], Err(E::InvalidRequest)),
            (
                "",
                &[("log.local.retention.ms", Set("604800001"))],
                Err(E::InvalidRequest),
            ),
            (
                "",
                &[("log.local.retention.ms", Set("604800000"))],
                Ok(vec!["log.local.retention.ms=604800000".to_owned()]),
            ),
            (
                "",
                &[
                    ("log.cleaner.max.compaction.lag.ms", Set("1")),
                    ("log.cleaner.min.compaction.lag.ms", Set("2")),
                ],
                Err(E::InvalidRequest),
            ),
        ] {
            assert_eq!(after(&[], Broker, name, changes), want, "{name} {changes:?}");
        }
    }

    #[test]
    fn groups_are_changed() {
        use ErrorCode as E;
        let name = "consumer.session.timeout.ms";
        let records = [setting(32, "g", name, "50000")];
        let kept = || vec!["consumer.session.timeout.ms=50000".to_owned()];
        for (group, changes, want) in [
            ("g", &[("consumer.heartbeat.interval.ms", Set("6000"))][..], {
                Ok([vec!["consumer.heartbeat.interval.ms=6000".to_owned()], kept()].concat())
            }),
            ("g", &[(name, Delete)], Ok(vec![])),
            ("h", &[(name, Set("50000"))], Ok(kept())),
            ("", &[(name, Set("50000"))], Err(E::InvalidRequest)),
            ("g", &[(name, Set("1"))], Err(E::InvalidConfig)),
            ("g", &[(name, Append("1"))], Err(E::InvalidConfig)),
            (
                "g",
                &[("share.session.timeout.ms", Set("50000"))],
                Err(E::InvalidConfig),
            ),
        ] {
            assert_eq!(
                after(&records, Group, group, changes),
                want,
                "{group} {changes:?}"
            );
        }
        let interval = "group.consumer.assignment.interval.ms";
        assert_eq!(
            after(&[], Broker, "", &[(interval, Set("15001"))]),
            Err(E::InvalidRequest)
        );
        assert_eq!(
            after(&[], Broker, "1", &[(interval, Set("0"))]),
            Ok(vec![format!("{interval}=0")])
        );
    }

    #[test]
    fn what_another_broker_left_may_stay() {
        let foreign = [setting(4, "", "num.io.threads", "9")];
        let want = vec![
            "log.segment.bytes=2000000".to_owned(),
            "num.io.threads=9".to_owned(),
        ];
        assert_eq!(
            after(&foreign, Broker, "", &[("log.segment.bytes", Set("2000000"))]),
            Ok(want)
        );
    }

    #[test]
    fn replacing_drops_what_is_not_named() {
        let config = config(&[]);
        let records = [topic("t", 1), vec![setting(2, "t", "retention.ms", "5")]].concat();
        let now = image(&records);
        let whole = Settings::from([("segment.bytes".to_owned(), "2000000".to_owned())]);
        let made = replace(view(&now, &config), Topic, "t", &whole).expect("granted");
        let then = image(&[records, made].concat());
        assert_eq!(then.settings(Topic, "t"), Some(&whole));
        let same = replace(view(&then, &config), Topic, "t", &whole).expect("granted");
        assert!(same.is_empty());
    }
}
