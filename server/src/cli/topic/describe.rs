//! `ringlog topic describe`: partitions with leaders and offsets, and settings with where they come from.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use crate::cli::args::{Isolation, TopicDescribeArgs};
use crate::cli::client::{Client, EARLIEST, LATEST, Listed, Topic, describe};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::{Fields, Output, fields};
use crate::handlers::describe_cores::MOST_PARTITIONS;
use crate::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use crate::wire::describe_cores::RinglogDescribeCoresRequest;

/// A topic, as a resource that has settings.
const TOPIC_RESOURCE: i8 = 2;

/// Shows each topic; an unknown one does not hide the others.
pub(super) fn run(args: &TopicDescribeArgs) -> CliResult<()> {
    let mut client = Client::connect(&args.connect)?;
    let mut out = Output::stdout(args.connect.json);
    let mut failures = Vec::new();
    for name in &args.topics {
        match Description::ask(&mut client, name, args.all_configs) {
            Ok(description) => description.print(&mut out)?,
            Err(CliError::Refused(text)) => failures.push(text),
            Err(error) => return Err(error),
        }
    }
    out.flush()?;
    if failures.is_empty() {
        Ok(())
    } else {
        Err(CliError::Refused(failures.join("\n")))
    }
}

#[derive(Debug)]
struct Description {
    name: String,
    topic: Topic,
    earliest: Listed,
    latest: Listed,
    configs: Vec<DescribeConfigsResourceResult>,
    /// Which core each partition is on; empty at brokers other than Ringlog.
    cores: BTreeMap<i32, i32>,
}

impl Description {
    fn ask(client: &mut Client, name: &str, all_configs: bool) -> CliResult<Self> {
        let topic = client.load_topic(name)?.clone();
        // A partition without a leader has offsets nobody can tell; it is shown without them.
        let led = topic
            .partitions
            .iter()
            .filter(|(_, partition)| partition.leader_id >= 0);
        let led: Vec<i32> = led.map(|(index, _)| *index).collect();
        let mut configs = ask_configs(client, name)?;
        let is_ringlog = configs.iter().any(|config| config.name == OURS);
        configs.retain(|config| all_configs || config.config_source == SET_ON_TOPIC);
        Ok(Self {
            name: name.to_owned(),
            earliest: client.list_offsets(name, &led, EARLIEST, Isolation::ReadUncommitted)?,
            latest: client.list_offsets(name, &led, LATEST, Isolation::ReadUncommitted)?,
            configs,
            cores: match is_ringlog {
                true => ask_cores(client, name, &topic),
                false => BTreeMap::new(),
            },
            topic,
        })
    }

    fn print(&self, out: &mut Output) -> CliResult<()> {
        if out.is_json() {
            return out.json_line(&self.as_json());
        }
        out.fields_line("", &self.head())?;
        for config in &self.configs {
            let source = source_name(config.config_source);
            out.text_line(&format!(
                "  config {}={}  ({source})",
                config.name,
                shown_value(config)
            ))?;
        }
        self.partitions()
            .try_for_each(|partition| out.fields_line("  ", &partition))
    }

    fn head(&self) -> Fields {
        let copies = self
            .topic
            .partitions
            .values()
            .next()
            .map_or(0, |partition| partition.replica_nodes.len());
        fields! {
            topic: self.name.as_str(), topic_id: self.topic.id.to_string(),
            partitions: self.topic.partitions.len(), replication_factor: copies,
            internal: self.topic.is_internal,
        }
    }

    fn as_json(&self) -> Fields {
        let mut shown = self.head();
        let configs: BTreeMap<&str, Value> = self
            .configs
            .iter()
            .map(|c| (c.name.as_str(), config_json(c)))
            .collect();
        shown.insert(
            "configs".to_owned(),
            configs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        );
        shown.insert(
            "partitions".to_owned(),
            self.partitions().map(Value::Object).collect(),
        );
        shown
    }

    fn partitions(&self) -> impl Iterator<Item = Fields> {
        self.topic.partitions.iter().map(|(index, partition)| {
            let mut shown = fields! {
                partition: *index, leader: partition.leader_id, leader_epoch: partition.leader_epoch,
                replicas: partition.replica_nodes.clone(), isr: partition.isr_nodes.clone(),
            };
            if let Some(core) = self.cores.get(index) {
                shown.extend(fields! { core: *core });
            }
            if let (Some(start), Some(end)) = (self.earliest.get(index), self.latest.get(index)) {
                shown.extend(fields! { start_offset: *start, end_offset: *end });
            }
            shown
        })
    }
}

/// The setting by which a topic of Ringlog's is known.
const OURS: &str = "ringlog.durability";

/// Which core each partition is on, as far as the broker says: it need not, and the topic is shown all the same.
fn ask_cores(client: &mut Client, name: &str, topic: &Topic) -> BTreeMap<i32, i32> {
    let request = RinglogDescribeCoresRequest {
        max_partitions: MOST_PARTITIONS,
        topic: Some(name.to_owned()),
    };
    let leader = topic
        .partitions
        .values()
        .map(|partition| partition.leader_id)
        .find(|id| *id >= 0);
    let deadline = Instant::now() + client.timeout();
    let response = leader.and_then(|id| client.call_broker(id, &request, deadline).ok());
    let cores = response.into_iter().flat_map(|response| response.cores);
    let places = cores.flat_map(|core| core.busiest.into_iter().map(move |load| (load, core.core)));
    places
        .filter(|(load, _)| load.topic == name)
        .map(|(load, core)| (load.partition_index, core))
        .collect()
}

/// All settings, by name.
fn ask_configs(client: &mut Client, name: &str) -> CliResult<Vec<DescribeConfigsResourceResult>> {
    let response = client.call(&DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: name.to_owned(),
            configuration_keys: None,
        }],
        ..Default::default()
    })?;
    let Some(result) = response.results.into_iter().next() else {
        return Ok(Vec::new());
    };
    if result.error_code != 0 {
        let reason = describe(result.error_code, result.error_message.as_deref());
        return Err(CliError::refused(format!("settings of topic {name:?}: {reason}")));
    }
    let mut configs = result.configs;
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(configs)
}

/// The source of a setting made on the topic itself.
const SET_ON_TOPIC: i8 = 1;

/// Kafka's names for where a setting's value comes from.
fn source_name(source: i8) -> &'static str {
    match source {
        SET_ON_TOPIC => "topic",
        2 => "broker, dynamic",
        3 => "all brokers, dynamic",
        4 => "broker, static",
        5 => "default",
        6 => "broker logger, dynamic",
        7 => "client metrics",
        8 => "group",
        _ => "unknown",
    }
}

fn shown_value(config: &DescribeConfigsResourceResult) -> &str {
    match config.is_sensitive {
        true => "(hidden)",
        false => config.value.as_deref().unwrap_or("(null)"),
    }
}

fn config_json(config: &DescribeConfigsResourceResult) -> Value {
    Value::Object(fields! { value: config.value.clone(), source: source_name(config.config_source) })
}
