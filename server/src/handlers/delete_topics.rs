//! DeleteTopics, by name and from version 6 by id.

use std::collections::{BTreeMap, HashMap};

use super::context::Context;
use crate::metadata::controller::{Outcome, Refusal, topics};
use crate::metadata::image::Topic;
use crate::quotas::mutations::Budget;
use crate::wire::delete_topics::*;
use crate::wire::{ErrorCode, Uuid};

/// The first version whose clients know TOPIC_DELETION_DISABLED.
const DELETION_DISABLED_FROM: i16 = 3;

/// Decides about every topic by itself. Named twice, by name or id or both, a topic is not deleted.
pub fn handle(
    ctx: &Context<'_>,
    request: &DeleteTopicsRequest,
    budget: &mut Budget<'_>,
    version: i16,
) -> Outcome<DeleteTopicsResponse> {
    let named = request.topic_names.iter().map(|name| DeleteTopicState {
        name: Some(name.clone()),
        topic_id: Uuid::ZERO,
    });
    let wishes: Vec<DeleteTopicState> = named.chain(request.topics.iter().cloned()).collect();
    let mut outcome = Outcome::unchanged(DeleteTopicsResponse::default());
    let mut count: HashMap<&DeleteKey<'_>, usize> = HashMap::new();
    let keys: Vec<DeleteKey<'_>> = wishes
        .iter()
        .map(|wish| (wish.name.as_deref(), wish.topic_id))
        .collect();
    for key in &keys {
        *count.entry(key).or_default() += 1;
    }
    let mut found: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (wish, key) in wishes.iter().zip(&keys) {
        let result = match count.remove(key) {
            None => continue,
            Some(_) if !ctx.config.delete_topic => Err(disabled(version)),
            Some(times) => decide(ctx, wish, times),
        };
        if let Ok(topic) = &result {
            found
                .entry(topic.id)
                .or_default()
                .push(outcome.response.responses.len());
        }
        outcome
            .response
            .responses
            .push(row(wish, result.map(|topic| (topic.name.as_ref(), topic.id))));
    }
    for (id, rows) in found {
        match rows.as_slice() {
            [index] => {
                let Some(topic) = ctx.image.topic_by_id(id) else {
                    continue;
                };
                match budget.spend(topic.partitions.len()) {
                    Ok(()) => outcome.records.push(topics::delete(topic)),
                    Err(refusal) => refuse(&mut outcome.response.responses[*index], refusal),
                }
            }
            named_twice => named_twice
                .iter()
                .for_each(|index| refuse(&mut outcome.response.responses[*index], named_by_both())),
        }
    }
    outcome
}

type DeleteKey<'a> = (Option<&'a str>, Uuid);

fn disabled(version: i16) -> Refusal {
    if version < DELETION_DISABLED_FROM {
        ErrorCode::InvalidRequest.into()
    } else {
        ErrorCode::TopicDeletionDisabled.into()
    }
}

fn decide<'a>(ctx: &Context<'a>, wish: &DeleteTopicState, times: usize) -> Result<&'a Topic, Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    match (&wish.name, wish.topic_id) {
        (None, Uuid::ZERO) => invalid("Neither topic name nor id were specified."),
        (Some(_), id) if !id.is_zero() => invalid("You may not specify both topic name and topic id."),
        (Some(_), _) if times > 1 => invalid("Duplicate topic name."),
        (None, _) if times > 1 => invalid("Duplicate topic id."),
        (Some(name), _) => Ok(ctx.image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?),
        (None, id) => Ok(ctx.image.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId)?),
    }
}

fn row(wish: &DeleteTopicState, result: Result<(&str, Uuid), Refusal>) -> DeletableTopicResult {
    match result {
        Ok((name, topic_id)) => DeletableTopicResult {
            name: Some(name.to_owned()),
            topic_id,
            ..Default::default()
        },
        Err(refusal) => DeletableTopicResult {
            name: wish.name.clone(),
            topic_id: wish.topic_id,
            error_code: refusal.code.into(),
            error_message: Some(refusal.message),
        },
    }
}

fn named_by_both() -> Refusal {
    let message = "The provided topic name maps to an ID that was already supplied.";
    Refusal::new(ErrorCode::InvalidRequest, message)
}

fn refuse(row: &mut DeletableTopicResult, refusal: Refusal) {
    row.error_code = refusal.code.into();
    row.error_message = Some(refusal.message);
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::{id_of, topic};

    fn by_name(name: &str) -> DeleteTopicState {
        DeleteTopicState {
            name: Some(name.into()),
            topic_id: Uuid::ZERO,
        }
    }

    fn by_id(id: Uuid) -> DeleteTopicState {
        DeleteTopicState {
            name: None,
            topic_id: id,
        }
    }

    fn run(world: &World, topics: Vec<DeleteTopicState>) -> (Vec<i16>, usize) {
        let request = DeleteTopicsRequest {
            topics,
            ..Default::default()
        };
        let outcome = handle(&world.context(), &request, &mut Budget::unlimited(), 6);
        (
            outcome
                .response
                .responses
                .iter()
                .map(|row| row.error_code)
                .collect(),
            outcome.records.len(),
        )
    }

    #[test]
    fn topics_are_deleted_by_name_and_id() {
        let records = [topic("a", 2), topic("b", 1), topic("c", 1)].concat();
        let world = World::new(&records, &[]);
        assert_eq!(
            run(&world, vec![by_name("a"), by_id(id_of("b"))]),
            (vec![0, 0], 2)
        );
        let both = DeleteTopicState {
            name: Some("a".into()),
            topic_id: id_of("a"),
        };
        for (topics, want) in [
            (vec![by_name("x")], (vec![3], 0)),
            (vec![by_id(Uuid([1; 16]))], (vec![100], 0)),
            (vec![by_id(Uuid::ZERO)], (vec![42], 0)),
            (vec![both], (vec![42], 0)),
            (vec![by_name("a"), by_name("a"), by_name("b")], (vec![42, 0], 1)),
            (vec![by_id(id_of("a")), by_id(id_of("a"))], (vec![42], 0)),
            (
                vec![by_name("a"), by_id(id_of("a")), by_name("c")],
                (vec![42, 42, 0], 1),
            ),
        ] {
            assert_eq!(run(&world, topics.clone()), want, "{topics:?}");
        }
    }

    #[test]
    fn deletion_can_be_disabled() {
        let world = World::new(&topic("a", 2), &[("delete.topic.enable", "false")]);
        let request = DeleteTopicsRequest {
            topic_names: vec!["a".into()],
            ..Default::default()
        };
        for (version, want) in [(1, 42), (3, 73), (5, 73)] {
            let outcome = handle(&world.context(), &request, &mut Budget::unlimited(), version);
            assert_eq!(
                (outcome.response.responses[0].error_code, outcome.records.len()),
                (want, 0)
            );
        }
    }
}
