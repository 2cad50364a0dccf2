//! DescribeConfigs: every setting of a topic or broker with its type, source, synonyms and documentation.

use std::collections::HashSet;

use super::context::Context;
use super::incremental_alter_configs::kind;
use crate::config::broker::{BROKER_KEYS, broker_key, is_dynamic};
use crate::config::group::GROUP_KEYS;
use crate::config::kind::ConfigType;
use crate::config::topic::TOPIC_KEYS;
use crate::config::{Candidate, Effective, Source};
use crate::logging;
use crate::metadata::controller::settings::check_broker_name;
use crate::metadata::controller::{Refusal, names};
use crate::metadata::image::ResourceType;
use crate::wire::ErrorCode;
use crate::wire::describe_configs::*;

/// Describes every resource by itself, and each once: an answer is far larger than its question, so repeating the
/// question may not repeat it.
pub fn handle(ctx: &Context<'_>, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let mut seen = HashSet::new();
    let distinct = request
        .resources
        .iter()
        .filter(|one| seen.insert((one.resource_type, one.resource_name.as_str())));
    let results = distinct.map(|resource| {
        let mut result = DescribeConfigsResult {
            // Kafka sends an empty message, not none, with success.
            error_message: Some(String::new()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        match describe(ctx, resource) {
            Ok(rows) => result.configs = rows.into_iter().map(|row| row.answer(request)).collect(),
            Err(refusal) => {
                (result.error_code, result.error_message) = (refusal.code.into(), Some(refusal.message))
            }
        }
        result
    });
    DescribeConfigsResponse {
        results: results.collect(),
        ..Default::default()
    }
}

/// The logger that all others take their level from.
const ROOT_LOGGER: &str = "root";

/// A setting before the request's wishes about its details.
struct Row {
    name: String,
    effective: Effective,
    read_only: bool,
    config_type: ConfigType,
    documentation: String,
}

impl Row {
    fn answer(self, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
        let synonym = |candidate: &Candidate| DescribeConfigsSynonym {
            name: candidate.name.to_owned(),
            value: Some(candidate.value.clone()),
            source: candidate.source as i8,
        };
        let candidates = self
            .effective
            .candidates
            .iter()
            .filter(|one| request.include_synonyms && one.source != Source::BrokerLogger);
        let synonyms = candidates.map(synonym).collect();
        DescribeConfigsResourceResult {
            name: self.name,
            config_source: self.effective.source() as i8,
            value: self.effective.value,
            read_only: self.read_only,
            is_sensitive: false,
            synonyms,
            config_type: self.config_type as i8,
            documentation: request.include_documentation.then_some(self.documentation),
        }
    }
}

fn describe(ctx: &Context<'_>, resource: &DescribeConfigsResource) -> Result<Vec<Row>, Refusal> {
    let name = resource.resource_name.as_str();
    let rows = match kind(resource.resource_type)? {
        ResourceType::Topic => topic(ctx, name)?,
        ResourceType::Broker => {
            check_broker_name(name, ctx.node.id)?;
            if name.is_empty() {
                cluster(ctx)
            } else {
                broker(ctx)
            }
        }
        ResourceType::Group => group(ctx, name)?,
        ResourceType::BrokerLogger => logger(ctx, name)?,
        other => {
            let message = format!("settings of {other:?} resources are not supported");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    };
    let wanted = resource.configuration_keys.as_deref().unwrap_or_default();
    Ok(rows
        .into_iter()
        .filter(|row| wanted.is_empty() || wanted.contains(&row.name))
        .collect())
}

fn topic(ctx: &Context<'_>, name: &str) -> Result<Vec<Row>, Refusal> {
    names::check(name)?;
    ctx.image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let layers = ctx.image.layers(ctx.config, ctx.node.id);
    let own = ctx.image.settings(ResourceType::Topic, name);
    let rows = TOPIC_KEYS.iter().map(|key| Row {
        name: key.name.to_owned(),
        effective: layers.topic_value(key, own),
        read_only: false,
        config_type: key.kind.config_type(),
        documentation: key.doc.to_owned(),
    });
    // A setting without a value is for internal use, and not shown until someone sets it.
    Ok(rows.filter(|row| row.effective.value.is_some()).collect())
}

/// A group need not be there to have settings.
fn group(ctx: &Context<'_>, name: &str) -> Result<Vec<Row>, Refusal> {
    if name.is_empty() {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Group name must not be empty",
        ));
    }
    let layers = ctx.image.layers(ctx.config, ctx.node.id);
    let own = ctx.image.settings(ResourceType::Group, name);
    let rows = GROUP_KEYS.iter().map(|key| Row {
        name: key.name.to_owned(),
        effective: layers.group_value(key, own),
        read_only: false,
        config_type: key.kind.config_type(),
        documentation: key.doc.to_owned(),
    });
    Ok(rows.collect())
}

/// This broker's loggers: all lines have one level, which is that of Kafka's root logger. It cannot be changed while the broker runs.
fn logger(ctx: &Context<'_>, name: &str) -> Result<Vec<Row>, Refusal> {
    let refused = |message| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    match name.parse::<i32>() {
        _ if name.is_empty() => refused("Broker id must not be empty".to_owned()),
        Err(_) => refused(format!("Broker id must be an integer, but it is: {name}")),
        Ok(id) if id != ctx.node.id => refused(format!(
            "Unexpected broker id, expected {} but received {name}",
            ctx.node.id
        )),
        Ok(_) => {
            let level = logging::level_name().to_owned();
            Ok(vec![Row {
                name: ROOT_LOGGER.to_owned(),
                effective: Effective {
                    value: Some(level.clone()),
                    candidates: vec![Candidate {
                        name: ROOT_LOGGER,
                        value: level,
                        source: Source::BrokerLogger,
                    }],
                },
                read_only: true,
                // As in Kafka, where loggers have no definitions.
                config_type: ConfigType::Unknown,
                documentation: String::new(),
            }])
        }
    }
}

fn broker(ctx: &Context<'_>) -> Vec<Row> {
    let layers = ctx.image.layers(ctx.config, ctx.node.id);
    let rows = BROKER_KEYS.iter().map(|key| {
        let mut effective = layers.broker_value(key);
        effective.value = effective.value.or_else(|| found_at_start(ctx, key.name));
        Row {
            name: key.name.to_owned(),
            effective,
            read_only: !is_dynamic(key.name),
            config_type: key.kind.config_type(),
            documentation: key.doc.to_owned(),
        }
    });
    rows.collect()
}

/// Values that have no fixed default, and were found out from the machine or the data directory.
fn found_at_start(ctx: &Context<'_>, name: &str) -> Option<String> {
    match name {
        "node.id" => Some(ctx.node.id.to_string()),
        "ringlog.cores" => Some(ctx.config.cores.to_string()),
        "ringlog.memory" => Some(ctx.config.memory_bytes.to_string()),
        _ => None,
    }
}

/// What is set for all brokers at run time, and nothing else.
fn cluster(ctx: &Context<'_>) -> Vec<Row> {
    let settings = ctx.image.settings(ResourceType::Broker, "");
    let rows = settings.into_iter().flatten().map(|(name, value)| {
        let key = broker_key(name);
        let candidate = |name| Candidate {
            name,
            value: value.clone(),
            source: Source::DynamicDefault,
        };
        let candidates = key.map(|key| candidate(key.name)).into_iter().collect();
        Row {
            name: name.clone(),
            effective: Effective {
                value: Some(value.clone()),
                candidates,
            },
            read_only: !is_dynamic(name),
            config_type: key.map_or(ConfigType::Unknown, |key| key.kind.config_type()),
            documentation: key.map(|key| key.doc.to_owned()).unwrap_or_default(),
        }
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::{setting, topic as topic_records};

    fn ask(world: &World, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
        let configuration_keys = keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect());
        let resource = DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys,
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: true,
            include_documentation: true,
        };
        handle(&world.context(), &request).results.remove(0)
    }

    fn world() -> World {
        let mut log = topic_records("t", 1);
        log.push(setting(2, "t", "retention.ms", "5"));
        log.push(setting(4, "", "log.segment.bytes", "2000000"));
        World::new(&log, &[("log.roll.hours", "2")])
    }

    #[test]
    fn topics_are_described_in_full() {
        let world = world();
        let result = ask(&world, 2, "t", None);
        assert_eq!((result.error_code, result.configs.len()), (0, 39));
        let row = |name: &str| {
            result
                .configs
                .iter()
                .find(|row| row.name == name)
                .expect("listed")
        };
        for (name, value, source, kind) in [
            ("retention.ms", "5", 1, 5),
            ("segment.bytes", "2000000", 3, 3),
            ("segment.ms", "7200000", 4, 5),
            ("cleanup.policy", "delete", 5, 7),
            ("preallocate", "false", 5, 1),
            ("min.cleanable.dirty.ratio", "0.5", 5, 6),
            ("compression.type", "producer", 5, 2),
            ("ringlog.durability", "synced", 5, 2),
        ] {
            let row = row(name);
            let found = (row.value.as_deref(), row.config_source, row.config_type);
            assert_eq!(found, (Some(value), source, kind), "{name}");
            assert!(row.documentation.is_some() && !row.read_only && !row.is_sensitive);
        }
        let synonyms = &row("segment.bytes").synonyms;
        let synonyms: Vec<_> = synonyms.iter().map(|s| (s.name.as_str(), s.source)).collect();
        assert_eq!(synonyms, [("log.segment.bytes", 3), ("log.segment.bytes", 5)]);
    }

    #[test]
    fn brokers_are_described() {
        let world = world();
        let result = ask(&world, 4, "1", None);
        assert_eq!(result.configs.len(), BROKER_KEYS.len());
        let row = |name: &str| {
            result
                .configs
                .iter()
                .find(|row| row.name == name)
                .expect("listed")
        };
        assert_eq!(
            (row("node.id").value.as_deref(), row("node.id").read_only),
            (Some("1"), true)
        );
        assert_eq!(
            (
                row("log.segment.bytes").config_source,
                row("log.segment.bytes").read_only
            ),
            (3, false)
        );
        assert_eq!(
            (
                row("log.roll.hours").config_source,
                row("log.roll.ms").value.as_deref()
            ),
            (4, None)
        );
        let cluster = ask(&world, 4, "", None);
        assert_eq!(
            cluster
                .configs
                .iter()
                .map(|row| row.name.as_str())
                .collect::<Vec<_>>(),
            ["log.segment.bytes"]
        );
    }

    #[test]
    fn groups_are_described_whether_they_are_there_or_not() {
        let log = [setting(32, "g", "consumer.session.timeout.ms", "50000")];
        let world = World::new(&log, &[("group.consumer.heartbeat.interval.ms", "6000")]);
        let told = |name: &str| -> Vec<_> {
            let result = ask(&world, 32, name, None);
            let row = |row: DescribeConfigsResourceResult| {
                (row.value.expect("a value"), row.config_source, row.config_type)
            };
            result.configs.into_iter().map(row).collect()
        };
        let row = |value: &str, source| (value.to_owned(), source, 3);
        assert_eq!(told("g"), [row("1000", 5), row("6000", 4), row("50000", 8)]);
        assert_eq!(told("h"), [row("1000", 5), row("6000", 4), row("45000", 5)]);
        assert_eq!(ask(&world, 32, "", None).error_code, 42);
    }

    #[test]
    fn the_broker_has_one_logger() {
        let world = world();
        let told = ask(&world, 8, "1", None).configs;
        let row: Vec<_> = told
            .iter()
            .map(|row| {
                (
                    row.name.as_str(),
                    row.value.as_deref(),
                    row.config_source,
                    row.read_only,
                )
            })
            .collect();
        assert_eq!(row, [("root", Some("INFO"), 6, true)]);
        assert!(told[0].synonyms.is_empty());
        assert_eq!(ask(&world, 8, "1", Some(&["kafka"])).configs, []);
    }

    #[test]
    fn a_resource_is_described_once() {
        let world = world();
        let resource = DescribeConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            ..Default::default()
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource; 3],
            ..Default::default()
        };
        assert_eq!(handle(&world.context(), &request).results.len(), 1);
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let world = world();
        let keys = ["retention.ms", "no.such"];
        assert_eq!(ask(&world, 2, "t", Some(&keys)).configs.len(), 1);
        assert_eq!(ask(&world, 2, "t", Some(&[])).configs.len(), 39);
    }

    #[test]
    fn what_cannot_be_described_is_refused() {
        let world = world();
        for (kind, name, want) in [
            (2, "u", 3),
            (2, "a b", 17),
            (4, "2", 42),
            (4, "x", 42),
            (8, "2", 42),
            (8, "x", 42),
            (8, "", 42),
            (7, "", 42),
        ] {
            let result = ask(&world, kind, name, None);
            assert_eq!(
                (result.error_code, result.configs.len()),
                (want, 0),
                "{kind} {name}"
            );
        }
    }
}
