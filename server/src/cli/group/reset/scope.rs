//! Which partitions are reset: those of the command line, or all that the group has committed an offset for.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::client::{Client, no_such_partition, unknown_topic};
use crate::cli::error::{CliError, CliResult};
use crate::cli::group::args::{GroupResetArgs, TopicChoice};
use crate::cli::group::committed::Committed;

/// Partitions by topic.
pub(super) type Scope = BTreeMap<String, Vec<i32>>;

pub(super) fn find(client: &mut Client, args: &GroupResetArgs, committed: &Committed) -> CliResult<Scope> {
    match args.all_topics {
        true => of_group(client, &args.group, committed),
        false => named(client, &args.topic),
    }
}

fn named(client: &mut Client, choices: &[TopicChoice]) -> CliResult<Scope> {
    let mut scope: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for choice in choices {
        let partitions: Vec<i32> = client
            .load_topic(&choice.topic)?
            .partitions
            .keys()
            .copied()
            .collect();
        let chosen = chosen(choice, &partitions)?;
        scope.entry(choice.topic.clone()).or_default().extend(chosen);
    }
    Ok(scope
        .into_iter()
        .map(|(topic, chosen)| (topic, chosen.into_iter().collect()))
        .collect())
}

/// Those of a topic's partitions that were asked for.
fn chosen(choice: &TopicChoice, partitions: &[i32]) -> CliResult<Vec<i32>> {
    let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
    if let Some((first, last)) = choice.partitions.iter().find(|(_, last)| *last >= count) {
        return Err(no_such_partition(
            &choice.topic,
            (*first).max(count).min(*last),
            partitions.len(),
        ));
    }
    let is_chosen = |partition: &&i32| {
        let mut ranges = choice.partitions.iter();
        choice.partitions.is_empty() || ranges.any(|(first, last)| (first..=last).contains(partition))
    };
    Ok(partitions.iter().filter(is_chosen).copied().collect())
}

/// What the group has committed offsets for, but for what is not there any more.
fn of_group(client: &mut Client, group: &str, committed: &Committed) -> CliResult<Scope> {
    if committed.is_empty() {
        return Err(CliError::Refused(format!(
            "group {group:?} has no committed offsets; name topics with --topic"
        )));
    }
    let topics: Vec<&str> = committed.keys().map(String::as_str).collect();
    client.refresh(Some(&topics))?;
    let mut scope = Scope::new();
    for (topic, offsets) in committed {
        let Some(known) = client.topic(topic) else {
            eprintln!("ringlog: warning: left out: {}", unknown_topic(topic));
            continue;
        };
        let partitions = offsets
            .keys()
            .filter(|partition| known.partitions.contains_key(partition));
        scope.insert(topic.clone(), partitions.copied().collect());
    }
    Ok(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(choice: &str, count: i32) -> Result<Vec<i32>, String> {
        let choice = choice.parse().expect("a choice");
        let partitions: Vec<i32> = (0..count).collect();
        chosen(&choice, &partitions).map_err(|error| error.to_string())
    }

    #[test]
    fn a_topic_without_numbers_is_all_of_it() {
        assert_eq!(of("t", 3), Ok(vec![0, 1, 2]));
        assert_eq!(of("t:2,0-1,1", 4), Ok(vec![0, 1, 2]));
        assert_eq!(of("t:3", 4), Ok(vec![3]));
    }

    #[test]
    fn the_first_partition_that_the_topic_lacks_is_named() {
        for (choice, named) in [("t:3", "no partition 3"), ("t:0,1-2147483647", "no partition 2")] {
            let count = if choice == "t:3" { 3 } else { 2 };
            let error = of(choice, count).expect_err("not there");
            assert!(error.contains(named), "{error}");
        }
    }
}
