//! CreateTopics, and the creation a Metadata request may ask for.

use std::collections::{HashMap, HashSet};

use super::context::Context;
use super::internal_topics;
use crate::config::Settings;
use crate::config::topic::TOPIC_KEYS;
use crate::metadata::controller::topics::{self, Created, NewTopic};
use crate::metadata::controller::{MAX_RECORDS, Outcome, Refusal, names};
use crate::quotas::mutations::Budget;
use crate::wire::create_topics::*;
use crate::wire::{ErrorCode, Uuid};

/// Decides about every topic by itself. Named twice, a topic is not created. What is only checked takes from the budget too, as in Kafka.
pub fn handle(
    ctx: &Context<'_>,
    request: &CreateTopicsRequest,
    budget: &mut Budget<'_>,
    fresh_id: &mut dyn FnMut() -> Uuid,
) -> Outcome<CreateTopicsResponse> {
    let asked: usize = request
        .topics
        .iter()
        .map(|topic| partitions_asked(ctx, topic))
        .sum();
    let mut outcome = Outcome::unchanged(CreateTopicsResponse::default());
    let mut count: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *count.entry(topic.name.as_str()).or_default() += 1;
    }
    for topic in &request.topics {
        let name = topic.name.as_str();
        let result = match count.remove(name) {
            None => continue,
            Some(1) if asked > MAX_RECORDS => Err(too_many()),
            Some(1) => decide(ctx, topic, budget, fresh_id()),
            Some(_) => Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
        };
        let row = match result {
            Ok((created, settings)) => {
                let row = success(ctx, name, &created, &settings);
                outcome.records.extend(created.records);
                row
            }
            Err(refusal) => failure(name, refusal),
        };
        outcome.response.topics.push(row);
    }
    if request.validate_only {
        outcome.records.clear();
    }
    outcome
}

/// Creates the topics a request named and found missing, with the broker's defaults; those of coordinators with settings of their own.
/// Names that cannot be, or not now, are left out; the answer, made anew afterwards, tells.
pub fn auto_create(
    ctx: &Context<'_>,
    names: &[String],
    budget: &mut Budget<'_>,
    fresh_id: &mut dyn FnMut() -> Uuid,
) -> Outcome<()> {
    let mut outcome = Outcome::unchanged(());
    let mut done = HashSet::new();
    for name in names
        .iter()
        .filter(|name| done.insert(name.as_str()) && may_be_created(name))
    {
        let wish = internal_topics::wish(ctx, name).unwrap_or_else(|| NewTopic {
            name,
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            settings: Settings::new(),
        });
        if let Ok(created) = topics::create(ctx.view(), &wish, fresh_id())
            && outcome.records.len() + created.records.len() <= MAX_RECORDS
            && budget.spend(created.partitions as usize).is_ok()
        {
            outcome.records.extend(created.records);
        }
    }
    outcome
}

/// Whether a client may have a topic of this name created by asking for it.
pub fn may_be_created(name: &str) -> bool {
    internal_topics::is_of_coordinator(name) || !names::is_internal(name)
}

fn partitions_asked(ctx: &Context<'_>, topic: &CreatableTopic) -> usize {
    topics::partitions_asked(ctx.view(), topic.num_partitions, topic.assignments.len())
}

fn too_many() -> Refusal {
    Refusal::new(
        ErrorCode::PolicyViolation,
        "Excessively large number of partitions per request.",
    )
}

fn decide(
    ctx: &Context<'_>,
    topic: &CreatableTopic,
    budget: &mut Budget<'_>,
    id: Uuid,
) -> Result<(Created, Settings), Refusal> {
    names::check_new(ctx.image, &topic.name)?;
    let wish = NewTopic {
        name: &topic.name,
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|one| (one.partition_index, &one.broker_ids[..]))
            .collect(),
        settings: settings(topic)?,
    };
    let created = topics::create(ctx.view(), &wish, id)?;
    budget.spend(created.partitions as usize)?;
    Ok((created, wish.settings))
}

fn settings(topic: &CreatableTopic) -> Result<Settings, Refusal> {
    let null = topic.configs.iter().filter(|config| config.value.is_none());
    let null: Vec<&str> = null.map(|config| config.name.as_str()).collect();
    if !null.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", null.join(","));
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    }
    let pairs = topic
        .configs
        .iter()
        .map(|config| (config.name.clone(), config.value.clone().unwrap_or_default()));
    Ok(pairs.collect())
}

fn failure(name: &str, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        error_code: refusal.code.into(),
        error_message: Some(refusal.message),
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

fn success(ctx: &Context<'_>, name: &str, created: &Created, settings: &Settings) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        topic_id: created.id,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(effective(ctx, settings)),
        ..Default::default()
    }
}

/// Every setting of the new topic (KIP-525).
fn effective(ctx: &Context<'_>, settings: &Settings) -> Vec<CreatableTopicConfigs> {
    let layers = ctx.image.layers(ctx.config, ctx.node.id);
    let found = TOPIC_KEYS
        .iter()
        .map(|key| (key.name, layers.topic_value(key, Some(settings))));
    let shown = found.filter(|(_, effective)| effective.value.is_some());
    let row = |(name, effective): (&str, crate::config::Effective)| CreatableTopicConfigs {
        name: name.to_owned(),
        config_source: effective.source() as i8,
        value: effective.value,
        ..Default::default()
    };
    shown.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::topic;

    fn wanted(name: &str, partitions: i32, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
        let config = |(name, value): &(&str, Option<&str>)| CreatableTopicConfig {
            name: (*name).into(),
            value: value.map(str::to_owned),
        };
        CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        }
    }

    fn codes(response: &CreateTopicsResponse) -> Vec<(&str, i16)> {
        response
            .topics
            .iter()
            .map(|row| (row.name.as_str(), row.error_code))
            .collect()
    }

    #[test]
    fn each_topic_gets_its_own_answer() {
        let world = World::new(&topic("there", 1), &[]);
        let topics = vec![
            wanted("new", 2, &[("retention.ms", Some("5"))]),
            wanted("there", 1, &[]),
            wanted("twice", 1, &[]),
            wanted("twice", 1, &[]),
            wanted("null", 1, &[("retention.ms", None)]),
            wanted("bad", 1, &[("retention.ms", Some("x"))]),
            wanted("a b", 1, &[]),
        ];
        let request = CreateTopicsRequest {
            topics,
            ..Default::default()
        };
        let outcome = handle(
            &world.context(),
            &request,
            &mut Budget::unlimited(),
            &mut counting(),
        );
        let want = [
            ("new", 0),
            ("there", 36),
            ("twice", 42),
            ("null", 40),
            ("bad", 40),
            ("a b", 17),
        ];
        assert_eq!(codes(&outcome.response), want);
        assert_eq!(outcome.records.len(), 4);
        let row = &outcome.response.topics[0];
        assert_eq!(
            (row.num_partitions, row.replication_factor, row.topic_id),
            (2, 1, Uuid([1; 16]))
        );
        let configs = row.configs.as_deref().unwrap_or_default();
        assert_eq!(configs.len(), 39, "33 that Kafka shows and six of our own");
        let retention = configs.iter().find(|c| c.name == "retention.ms").expect("listed");
        assert_eq!(
            (retention.value.as_deref(), retention.config_source),
            (Some("5"), 1)
        );
        let then = World::after(&topic("there", 1), &outcome.records);
        assert_eq!(
            then.image.topic("new").map(|topic| topic.partitions.len()),
            Some(2)
        );
    }

    #[test]
    fn validation_changes_nothing() {
        let world = World::new(&[], &[]);
        let topics = vec![wanted("new", 2, &[])];
        let request = CreateTopicsRequest {
            topics,
            validate_only: true,
            ..Default::default()
        };
        let outcome = handle(
            &world.context(),
            &request,
            &mut Budget::unlimited(),
            &mut counting(),
        );
        assert_eq!(
            (codes(&outcome.response), outcome.records.len()),
            (vec![("new", 0)], 0)
        );
    }

    #[test]
    fn a_request_has_a_size() {
        let world = World::new(&[], &[]);
        let topics = vec![wanted("a", 9_999, &[]), wanted("b", 2, &[])];
        let request = CreateTopicsRequest {
            topics,
            ..Default::default()
        };
        let outcome = handle(
            &world.context(),
            &request,
            &mut Budget::unlimited(),
            &mut counting(),
        );
        assert_eq!(codes(&outcome.response), [("a", 44), ("b", 44)]);
        assert!(outcome.records.is_empty());
    }

    #[test]
    fn topics_are_created_on_demand() {
        let world = World::new(&topic("there", 1), &[("num.partitions", "3")]);
        let names = [
            "new",
            "new",
            "there",
            "a b",
            "__consumer_offsets",
            "__transaction_state",
            "__share_group_state",
        ]
        .map(str::to_owned);
        let outcome = auto_create(
            &world.context(),
            &names,
            &mut Budget::unlimited(),
            &mut counting(),
        );
        // A topic with three partitions, and those for groups and for transactions with their settings.
        assert_eq!(outcome.records.len(), 4 + 1 + 3 + 50 + 1 + 5 + 50);
    }
}
