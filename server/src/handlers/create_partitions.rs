//! CreatePartitions.

use std::collections::HashMap;

use super::context::Context;
use super::internal_topics;
use crate::metadata::controller::{MAX_RECORDS, Outcome, Refusal, topics};
use crate::metadata::records::Record;
use crate::quotas::mutations::Budget;
use crate::wire::ErrorCode;
use crate::wire::create_partitions::*;

/// Decides about every topic by itself. Named twice, a topic stays as it is.
pub fn handle(
    ctx: &Context<'_>,
    request: &CreatePartitionsRequest,
    budget: &mut Budget<'_>,
) -> Outcome<CreatePartitionsResponse> {
    let mut outcome = Outcome::unchanged(CreatePartitionsResponse::default());
    let mut count: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *count.entry(topic.name.as_str()).or_default() += 1;
    }
    for topic in &request.topics {
        let result = match count.remove(topic.name.as_str()) {
            None => continue,
            Some(1) => decide(ctx, topic, budget, outcome.records.len()),
            Some(_) => Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
        };
        let mut row = CreatePartitionsTopicResult {
            name: topic.name.clone(),
            ..Default::default()
        };
        match result {
            Ok(records) => outcome.records.extend(records),
            Err(refusal) => {
                row.error_code = refusal.code.into();
                row.error_message = Some(refusal.message);
            }
        }
        outcome.response.results.push(row);
    }
    if request.validate_only {
        outcome.records.clear();
    }
    outcome
}

fn decide(
    ctx: &Context<'_>,
    topic: &CreatePartitionsTopic,
    budget: &mut Budget<'_>,
    so_far: usize,
) -> Result<Vec<Record>, Refusal> {
    if let Some(message) = internal_topics::why_not_more(&topic.name) {
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    let assignments = topic.assignments.as_ref();
    let assignments = assignments.map(|list| list.iter().map(|one| &one.broker_ids[..]).collect());
    let records = topics::add_partitions(ctx.view(), &topic.name, topic.count, assignments)?;
    if so_far + records.len() > MAX_RECORDS {
        let message = format!("at most {MAX_RECORDS} partitions can be added in one request");
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    budget.spend(records.len())?;
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::topic;

    fn wanted(name: &str, count: i32) -> CreatePartitionsTopic {
        CreatePartitionsTopic {
            name: name.into(),
            count,
            assignments: None,
        }
    }

    #[test]
    fn each_topic_gets_its_own_answer() {
        let world = World::new(&[topic("a", 2), topic("b", 1)].concat(), &[]);
        let topics = vec![
            wanted("a", 5),
            wanted("b", 1),
            wanted("c", 9),
            wanted("d", 1),
            wanted("d", 2),
        ];
        let mut request = CreatePartitionsRequest {
            topics,
            ..Default::default()
        };
        let outcome = handle(&world.context(), &request, &mut Budget::unlimited());
        let codes: Vec<_> = outcome
            .response
            .results
            .iter()
            .map(|row| row.error_code)
            .collect();
        assert_eq!((codes, outcome.records.len()), (vec![0, 37, 3, 42], 3));
        request.validate_only = true;
        assert!(
            handle(&world.context(), &request, &mut Budget::unlimited())
                .records
                .is_empty()
        );
    }
}
