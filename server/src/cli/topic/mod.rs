//! `ringlog topic`: create, list, describe and delete.

mod describe;

use super::args::{TopicCommand, TopicCreateArgs, TopicDeleteArgs, TopicListArgs};
use super::client::{Backoff, Client, describe as describe_error, unknown_topic};
use super::error::{CliError, CliResult};
use super::output::{Fields, Output, fields};
use crate::wire::code::ErrorCode;
use crate::wire::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreatableTopicResult, CreateTopicsRequest,
};
use crate::wire::delete_topics::{DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest};
use crate::wire::metadata::MetadataResponseTopic;

/// Carries out one of the four.
pub fn run(command: &TopicCommand) -> CliResult<()> {
    match command {
        TopicCommand::Create(args) => create(args),
        TopicCommand::List(args) => list(args),
        TopicCommand::Describe(args) => describe::run(args),
        TopicCommand::Delete(args) => delete(args),
    }
}

fn create(args: &TopicCreateArgs) -> CliResult<()> {
    let mut client = Client::connect(&args.connect)?;
    let request = create_request(args, timeout_ms(&client));
    let result = until_controller(&mut client, |client| {
        let response = client.call_controller(&request)?;
        let result = response
            .topics
            .into_iter()
            .next()
            .ok_or_else(|| empty_answer("CreateTopics"))?;
        Ok((result.error_code, result))
    })?;
    let mut out = Output::stdout(args.connect.json);
    match ErrorCode::from_code(result.error_code) {
        ErrorCode::None => {
            if !args.validate_only {
                client.await_topic(&args.topic)?;
            }
            out.fields_line("", &created(args, &result))?;
        }
        ErrorCode::TopicAlreadyExists if args.if_not_exists => {
            out.fields_line("", &fields! { kind: "exists", topic: args.topic.as_str() })?;
        }
        ErrorCode::TopicAlreadyExists => {
            return Err(CliError::refused(format!(
                "topic {:?} exists already; see `ringlog topic describe {}`",
                args.topic, args.topic
            )));
        }
        _ => {
            let reason = describe_error(result.error_code, result.error_message.as_deref());
            return Err(CliError::refused(format!(
                "cannot create topic {:?}: {reason}",
                args.topic
            )));
        }
    }
    out.flush()
}

fn create_request(args: &TopicCreateArgs, timeout_ms: i32) -> CreateTopicsRequest {
    let config = |pair: &super::values::ConfigPair| CreatableTopicConfig {
        name: pair.key.clone(),
        value: Some(pair.value.clone()),
    };
    CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: args.topic.clone(),
            num_partitions: args.partitions.unwrap_or(-1),
            replication_factor: args.replication_factor.unwrap_or(-1),
            assignments: Vec::new(),
            configs: args.configs.iter().map(config).collect(),
        }],
        timeout_ms,
        validate_only: args.validate_only,
    }
}

fn created(args: &TopicCreateArgs, result: &CreatableTopicResult) -> Fields {
    let kind = if args.validate_only {
        "would-create"
    } else {
        "created"
    };
    let mut shown = fields! { kind: kind, topic: args.topic.as_str() };
    if !result.topic_id.is_zero() {
        shown.extend(fields! { topic_id: result.topic_id.to_string() });
    }
    // Brokers before version 5 of the request do not say what they chose.
    if result.num_partitions > 0 {
        shown.extend(fields! {
            partitions: result.num_partitions, replication_factor: result.replication_factor,
        });
    }
    shown
}

fn list(args: &TopicListArgs) -> CliResult<()> {
    let mut client = Client::connect(&args.connect)?;
    let mut topics = client.refresh(None)?.topics;
    topics.retain(|topic| args.internal || !topic.is_internal);
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = Output::stdout(args.connect.json);
    if topics.is_empty() && !out.is_json() {
        eprintln!("no topics; create one with `ringlog topic create NAME`");
    }
    let width = topics
        .iter()
        .filter_map(|topic| topic.name.as_ref().map(String::len))
        .max()
        .unwrap_or(0);
    for topic in &topics {
        print_listed(&mut out, topic, width)?;
    }
    out.flush()
}

fn print_listed(out: &mut Output, topic: &MetadataResponseTopic, width: usize) -> CliResult<()> {
    let name = topic.name.as_deref().unwrap_or_default();
    let partitions = topic.partitions.len();
    let copies = topic
        .partitions
        .first()
        .map_or(0, |partition| partition.replica_nodes.len());
    let internal = if topic.is_internal { "  internal" } else { "" };
    match out.is_json() {
        true => out.json_line(&fields! {
            topic: name, topic_id: topic.topic_id.to_string(), partitions: partitions,
            replication_factor: copies, internal: topic.is_internal,
        }),
        false => out.text_line(&format!(
            "{name:width$}  partitions={partitions} replicas={copies}{internal}"
        )),
    }
}

fn delete(args: &TopicDeleteArgs) -> CliResult<()> {
    let mut client = Client::connect(&args.connect)?;
    let mut out = Output::stdout(args.connect.json);
    let mut failures = Vec::new();
    // One by one: versions before 6 answer for a repeated or unknown name in ways that differ.
    for topic in &args.topics {
        let result = delete_one(&mut client, topic)?;
        match ErrorCode::from_code(result.error_code) {
            ErrorCode::None => out.fields_line("", &fields! { kind: "deleted", topic: topic.as_str() })?,
            ErrorCode::UnknownTopicOrPartition if args.if_exists => {
                out.fields_line("", &fields! { kind: "absent", topic: topic.as_str() })?;
            }
            ErrorCode::UnknownTopicOrPartition => failures.push(unknown_topic(topic).to_string()),
            _ => failures.push(refused_deletion(topic, &result)),
        }
    }
    out.flush()?;
    if failures.is_empty() {
        Ok(())
    } else {
        Err(CliError::Refused(failures.join("\n")))
    }
}

fn delete_one(client: &mut Client, topic: &str) -> CliResult<DeletableTopicResult> {
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some(topic.to_owned()),
            ..Default::default()
        }],
        topic_names: vec![topic.to_owned()],
        timeout_ms: timeout_ms(client),
    };
    until_controller(client, |client| {
        let response = client.call_controller(&request)?;
        let result = response
            .responses
            .into_iter()
            .next()
            .ok_or_else(|| empty_answer("DeleteTopics"))?;
        Ok((result.error_code, result))
    })
}

fn refused_deletion(topic: &str, result: &DeletableTopicResult) -> String {
    let reason = describe_error(result.error_code, result.error_message.as_deref());
    match ErrorCode::from_code(result.error_code) {
        ErrorCode::TopicDeletionDisabled => {
            format!("cannot delete topic {topic:?}: the broker is configured with delete.topic.enable=false")
        }
        _ => format!("cannot delete topic {topic:?}: {reason}"),
    }
}

/// Asks until the answer comes from the controller: it may have moved since Metadata named it.
fn until_controller<T>(
    client: &mut Client,
    mut ask: impl FnMut(&mut Client) -> CliResult<(i16, T)>,
) -> CliResult<T> {
    let mut backoff = Backoff::new(client.timeout());
    loop {
        let (code, answer) = ask(client)?;
        if ErrorCode::from_code(code) != ErrorCode::NotController || !backoff.pause() {
            return Ok(answer);
        }
        client.refresh(Some(&[]))?;
    }
}

fn timeout_ms(client: &Client) -> i32 {
    i32::try_from(client.timeout().as_millis()).unwrap_or(i32::MAX)
}

fn empty_answer(api: &str) -> CliError {
    CliError::refused(format!("the broker's answer to {api} is empty"))
}
