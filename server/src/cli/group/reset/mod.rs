//! `ringlog group reset-offsets`: where a group without members goes on reading. Nothing is changed without `--execute`.

mod choice;
mod commit;
mod scope;

use std::collections::{BTreeMap, BTreeSet};

use super::args::{GroupResetArgs, ResetTo};
use super::committed::{AllCommitted, Committed};
use super::{all_or, description, refused};
use crate::cli::args::Isolation;
use crate::cli::client::{Client, EARLIEST, GroupRefusal, LATEST};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::{Output, fields};
use crate::cli::table::{Column, Table};
use crate::wire::code::ErrorCode;
use choice::Known;
use commit::Commit;
use scope::Scope;

const COLUMNS: [Column; 5] = [
    Column::left("group"),
    Column::left("topic"),
    Column::right("partition"),
    Column::right("old offset"),
    Column::right("new offset"),
];

/// The state of a group that keeps offsets and has no members.
const EMPTY: &str = "Empty";

/// A partition's offset, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    topic: String,
    partition: i32,
    old_offset: Option<i64>,
    new_offset: i64,
}

pub(super) fn run(args: &GroupResetArgs) -> CliResult<()> {
    let mut client = Client::connect(&args.connect)?;
    refuse_members(&mut client, &args.group)?;
    let committed = committed(&mut client, &args.group)?;
    let scope = scope::find(&mut client, args, &committed)?;
    let changes = changes(&mut client, args.target(), &scope, &committed)?;
    let (done, failures) = match args.execute {
        true => carry_out(&mut client, &args.group, changes)?,
        false => (changes, Vec::new()),
    };
    let mut out = Output::stdout(args.connect.json);
    print(&mut out, args, &done)?;
    out.flush()?;
    if !args.execute && !args.connect.json {
        eprintln!("This was a dry run: nothing is changed. Add --execute to set these offsets.");
    }
    all_or(&failures)
}

/// A member would go on from where it is and commit over what was set. So Kafka's coordinator refuses the commit; this says it before.
fn refuse_members(client: &mut Client, group: &str) -> CliResult<()> {
    let names = BTreeSet::from([group.to_owned()]);
    match description::ask(client, &names)?.remove(group) {
        Some(Ok(found)) if found.members.is_empty() && found.state == EMPTY => Ok(()),
        Some(Ok(found)) => Err(CliError::Refused(format!(
            "group {group:?} is in use: its state is {}, with {}; stop all members before its offsets are reset, see \
             `ringlog group describe {group} --members`",
            found.state,
            match found.members.len() {
                1 => "one member".to_owned(),
                count => format!("{count} members"),
            }
        ))),
        Some(Err(refusal)) if refusal.error() == ErrorCode::GroupIdNotFound => {
            eprintln!("group {group:?} does not exist yet: setting offsets makes it");
            Ok(())
        }
        Some(Err(refusal)) => Err(CliError::Refused(refused("describe", group, &refusal))),
        None => Err(CliError::refused(
            "the broker's answer to DescribeGroups is empty",
        )),
    }
}

fn committed(client: &mut Client, group: &str) -> CliResult<Committed> {
    let read = client.ask_group(&AllCommitted, group)?;
    read.or_else(|refusal: GroupRefusal| match refusal.error() {
        ErrorCode::GroupIdNotFound => Ok(Committed::new()),
        _ => Err(CliError::Refused(refused("read offsets of", group, &refusal))),
    })
}

/// The new offset of each partition; what had to be bent is told on stderr.
fn changes(client: &mut Client, to: ResetTo, scope: &Scope, committed: &Committed) -> CliResult<Vec<Change>> {
    let mut changes = Vec::new();
    for (topic, partitions) in scope {
        let mut list =
            |timestamp_ms| client.list_offsets(topic, partitions, timestamp_ms, Isolation::ReadUncommitted);
        let (earliest, latest) = (list(EARLIEST)?, list(LATEST)?);
        let at_time = match to {
            ResetTo::TimeMs(timestamp_ms) => list(timestamp_ms)?,
            _ => BTreeMap::new(),
        };
        for partition in partitions {
            let known = Known {
                committed: committed
                    .get(topic)
                    .and_then(|topic| topic.get(partition))
                    .copied(),
                earliest: earliest.get(partition).copied().unwrap_or(0),
                latest: latest.get(partition).copied().unwrap_or(0),
                at_time: at_time.get(partition).copied().filter(|offset| *offset >= 0),
            };
            let place = format!("partition {partition} of {topic:?}");
            let chosen = choice::choose(to, &known).ok_or_else(|| nothing_to_shift(&place))?;
            if let Some(bent) = chosen.bent {
                eprintln!("ringlog: warning: {place}: {}", bent.sentence(chosen.offset));
            }
            changes.push(Change {
                topic: topic.clone(),
                partition: *partition,
                old_offset: known.committed,
                new_offset: chosen.offset,
            });
        }
    }
    Ok(changes)
}

fn nothing_to_shift(place: &str) -> CliError {
    CliError::Refused(format!(
        "{place} has no committed offset that could be shifted; name it with another target, as --to-earliest, or leave it out"
    ))
}

/// Commits the changes; gives those that the coordinator took, and why it did not take the others.
fn carry_out(
    client: &mut Client,
    group: &str,
    changes: Vec<Change>,
) -> CliResult<(Vec<Change>, Vec<String>)> {
    let outcomes = match client.ask_group(&Commit { changes: &changes }, group)? {
        Ok(outcomes) => outcomes,
        Err(refusal) => return Err(CliError::Refused(refused("set offsets of", group, &refusal))),
    };
    let mut failures = Vec::new();
    let mut done = Vec::new();
    for change in changes {
        let code = outcomes.get(&(change.topic.clone(), change.partition)).copied();
        match commit::failure(code.unwrap_or(ErrorCode::UnknownServerError.code())) {
            None => done.push(change),
            Some(reason) => failures.push(format!(
                "cannot set the offset of group {group:?} in partition {} of {:?}: {reason}",
                change.partition, change.topic
            )),
        }
    }
    Ok((done, failures))
}

fn print(out: &mut Output, args: &GroupResetArgs, changes: &[Change]) -> CliResult<()> {
    if !out.is_json() {
        return table(&args.group, changes).print(out);
    }
    let kind = if args.execute { "reset" } else { "would-reset" };
    changes.iter().try_for_each(|change| {
        out.json_line(&fields! {
            kind: kind, group: args.group.as_str(), topic: change.topic.as_str(), partition: change.partition,
            old_offset: change.old_offset, new_offset: change.new_offset,
        })
    })
}

fn table(group: &str, changes: &[Change]) -> Table {
    let mut table = Table::new(&COLUMNS);
    for change in changes {
        table.push(vec![
            Some(group.to_owned()),
            Some(change.topic.clone()),
            Some(change.partition.to_string()),
            change.old_offset.map(|offset| offset.to_string()),
            Some(change.new_offset.to_string()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_with_what_was_before() {
        let change = |partition, old_offset, new_offset| Change {
            topic: "orders".to_owned(),
            partition,
            old_offset,
            new_offset,
        };
        assert_eq!(
            table("billing", &[change(0, Some(1200), 7), change(11, None, 0)]).lines(),
            [
                "group    topic   partition  old offset  new offset",
                "billing  orders          0        1200           7",
                "billing  orders         11           -           0"
            ]
        );
    }
}
