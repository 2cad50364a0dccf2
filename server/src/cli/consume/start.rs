//! Where a consumer starts and stops in each partition.

use std::collections::BTreeMap;

use super::fetcher::Cursor;
use crate::cli::args::{ConsumeArgs, Isolation};
use crate::cli::client::{Client, EARLIEST, LATEST, Listed, no_such_partition};
use crate::cli::error::{CliError, CliResult};
use crate::cli::values::StartAt;

/// A cursor for each partition asked for.
pub(super) fn cursors(client: &mut Client, args: &ConsumeArgs) -> CliResult<BTreeMap<i32, Cursor>> {
    let partitions = chosen(client, args)?;
    let starts = starts(client, args, &partitions)?;
    let ends = match args.until_end {
        true => Some(client.list_offsets(&args.topic, &partitions, LATEST, args.isolation)?),
        false => None,
    };
    let end = |partition: &i32| ends.as_ref().and_then(|ends| ends.get(partition).copied());
    Ok(starts
        .iter()
        .map(|(partition, start)| (*partition, Cursor::new(*start, end(partition))))
        .collect())
}

fn chosen(client: &mut Client, args: &ConsumeArgs) -> CliResult<Vec<i32>> {
    let topic = client.load_topic(&args.topic)?;
    if args.partitions.is_empty() {
        return Ok(topic.partitions.keys().copied().collect());
    }
    match args
        .partitions
        .iter()
        .find(|partition| !topic.partitions.contains_key(partition))
    {
        Some(missing) => Err(no_such_partition(&args.topic, *missing, topic.partitions.len())),
        None => Ok(args.partitions.clone()),
    }
}

fn starts(client: &mut Client, args: &ConsumeArgs, partitions: &[i32]) -> CliResult<Listed> {
    let mut list =
        |timestamp_ms| client.list_offsets(&args.topic, partitions, timestamp_ms, Isolation::ReadUncommitted);
    match args.from {
        StartAt::Beginning => list(EARLIEST),
        StartAt::End => list(LATEST),
        StartAt::Last(count) => Ok(before_end(&list(EARLIEST)?, list(LATEST)?, count)),
        StartAt::TimestampMs(timestamp_ms) => {
            let found = list(timestamp_ms)?;
            Ok(or_end(found, &list(LATEST)?))
        }
        StartAt::Offset(offset) => {
            let (earliest, latest) = (list(EARLIEST)?, list(LATEST)?);
            within(&args.topic, offset, &earliest, &latest)?;
            Ok(earliest
                .into_keys()
                .map(|partition| (partition, offset))
                .collect())
        }
    }
}

fn before_end(earliest: &Listed, latest: Listed, count: i64) -> Listed {
    let first = |partition: &i32| earliest.get(partition).copied().unwrap_or(0);
    latest
        .into_iter()
        .map(|(partition, end)| (partition, end.saturating_sub(count).max(first(&partition))))
        .collect()
}

/// Where no record is at or after the time, the end: what comes next will be.
fn or_end(found: Listed, latest: &Listed) -> Listed {
    let end = |partition: &i32| latest.get(partition).copied().unwrap_or(0);
    found
        .into_iter()
        .map(|(partition, at)| (partition, if at < 0 { end(&partition) } else { at }))
        .collect()
}

fn within(topic: &str, offset: i64, earliest: &Listed, latest: &Listed) -> CliResult<()> {
    for (partition, first) in earliest {
        let end = latest.get(partition).copied().unwrap_or(i64::MAX);
        if !(*first..=end).contains(&offset) {
            return Err(CliError::refused(format!(
                "partition {partition} of {topic:?} has no offset {offset}: its records are from {first} up to \
                 {end}, which is the next one written; choose partitions with --partition"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_stay_inside_the_partition() {
        let earliest = Listed::from([(0, 5), (1, 0)]);
        let latest = Listed::from([(0, 10), (1, 2)]);
        assert_eq!(
            before_end(&earliest, latest.clone(), 3),
            Listed::from([(0, 7), (1, 0)])
        );
        assert_eq!(
            before_end(&earliest, latest.clone(), i64::MAX),
            Listed::from([(0, 5), (1, 0)])
        );
        assert_eq!(
            or_end(Listed::from([(0, -1), (1, 1)]), &latest),
            Listed::from([(0, 10), (1, 1)])
        );
        assert!(within("t", 2, &earliest, &latest).is_err());
        assert!(within("t", 5, &Listed::from([(0, 5)]), &latest).is_ok());
        assert!(within("t", 10, &Listed::from([(0, 5)]), &latest).is_ok());
        assert!(within("t", 11, &Listed::from([(0, 5)]), &latest).is_err());
    }
}
