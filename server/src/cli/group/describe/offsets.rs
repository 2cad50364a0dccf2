//! A row for each partition that a group has read or has assigned: how far it is, how far it could be, and who reads it.

use std::collections::{BTreeMap, BTreeSet};

use super::View;
use crate::cli::args::Isolation;
use crate::cli::client::{Client, LATEST, Listed};
use crate::cli::error::{CliError, CliResult};
use crate::cli::group::committed::{AllCommitted, Committed};
use crate::cli::group::description::{Group, Member};
use crate::cli::group::refused;
use crate::cli::output::fields;
use crate::cli::table::Column;

const COLUMNS: [Column; 9] = [
    Column::left("group"),
    Column::left("topic"),
    Column::right("partition"),
    Column::right("committed"),
    Column::right("log end"),
    Column::right("lag"),
    Column::left("member").if_any(),
    Column::left("host").if_any(),
    Column::left("client").if_any(),
];

/// Where the logs end, by topic.
type Ends = BTreeMap<String, Listed>;

pub(super) fn view(client: &mut Client, groups: &[Group]) -> CliResult<View> {
    let names: BTreeSet<String> = groups.iter().map(|group| group.name.clone()).collect();
    let mut view = View::new(&COLUMNS);
    let mut committed = BTreeMap::new();
    for (name, outcome) in client.ask_groups(&AllCommitted, &names)? {
        match outcome {
            Ok(offsets) => drop(committed.insert(name, offsets)),
            Err(refusal) => view.failures.push(refused("read offsets of", &name, &refusal)),
        }
    }
    let none = Committed::new();
    let read: Vec<Vec<Row<'_>>> = groups
        .iter()
        .map(|group| rows(group, committed.get(&group.name).unwrap_or(&none)))
        .collect();
    let ends = ends(client, read.iter().flatten())?;
    for (group, rows) in groups.iter().zip(&read) {
        rows.iter().for_each(|row| push(&mut view, group, row, &ends));
        if rows.is_empty() {
            view.empty.push(format!(
                "group {:?} has no committed offsets and no assigned partitions",
                group.name
            ));
        }
    }
    Ok(view)
}

/// What a group has to do with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row<'a> {
    topic: &'a str,
    partition: i32,
    committed: Option<i64>,
    member: Option<&'a Member>,
}

/// The partitions that have a committed offset, a member or both, by topic and number.
fn rows<'a>(group: &'a Group, committed: &'a Committed) -> Vec<Row<'a>> {
    let mut found: BTreeMap<(&str, i32), Row<'a>> = BTreeMap::new();
    let without = |topic, partition| Row {
        topic,
        partition,
        committed: None,
        member: None,
    };
    for (topic, partitions) in committed {
        for (partition, offset) in partitions {
            let row = found
                .entry((topic, *partition))
                .or_insert_with(|| without(topic, *partition));
            row.committed = Some(*offset);
        }
    }
    for member in &group.members {
        for (topic, partition) in member.assignment.iter() {
            let row = found
                .entry((topic, partition))
                .or_insert_with(|| without(topic, partition));
            row.member = Some(member);
        }
    }
    found.into_values().collect()
}

/// Where the logs of these partitions end. Of one that is not there any more, or has no leader, nobody can tell.
fn ends<'a>(client: &mut Client, rows: impl Iterator<Item = &'a Row<'a>>) -> CliResult<Ends> {
    let mut wanted: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for row in rows {
        wanted.entry(row.topic).or_default().insert(row.partition);
    }
    let topics: Vec<&str> = wanted.keys().copied().collect();
    client.refresh(Some(&topics))?;
    let mut ends = Ends::new();
    for (topic, partitions) in wanted {
        let led: Vec<i32> = client
            .by_leader(topic, partitions)
            .into_values()
            .flatten()
            .collect();
        match client.list_offsets(topic, &led, LATEST, Isolation::ReadUncommitted) {
            Ok(listed) => drop(ends.insert(topic.to_owned(), listed)),
            Err(CliError::Refused(text)) => eprintln!("ringlog: warning: {text}"),
            Err(error) => return Err(error),
        }
    }
    Ok(ends)
}

fn push(view: &mut View, group: &Group, row: &Row<'_>, ends: &Ends) {
    let end = ends
        .get(row.topic)
        .and_then(|listed| listed.get(&row.partition))
        .copied();
    let lag = end
        .zip(row.committed)
        .map(|(end, committed)| end.saturating_sub(committed));
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    let of_member = |field: fn(&Member) -> &String| row.member.map(|member| field(member).clone());
    let (member_id, host, client_id) = (
        of_member(|member| &member.id),
        of_member(|member| &member.host),
        of_member(|member| &member.client_id),
    );
    let object = fields! {
        kind: "partition", group: group.name.as_str(), topic: row.topic, partition: row.partition,
        committed_offset: row.committed, log_end_offset: end, lag: lag,
        member_id: member_id.clone(), host: host.clone(), client_id: client_id.clone(),
    };
    let cells = vec![
        Some(group.name.clone()),
        Some(row.topic.to_owned()),
        Some(row.partition.to_string()),
        number(row.committed),
        number(end),
        number(lag),
        member_id,
        host,
        client_id,
    ];
    view.push(cells, object);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::group::args::GroupType;

    fn member(id: &str, partitions: &[i32]) -> Member {
        Member {
            id: id.to_owned(),
            client_id: "c".to_owned(),
            host: "10.0.0.1".to_owned(),
            assignment: [("orders".to_owned(), partitions.to_vec())].into_iter().collect(),
            ..Default::default()
        }
    }

    fn group(members: Vec<Member>) -> Group {
        Group {
            name: "billing".to_owned(),
            kind: GroupType::Classic,
            state: "Stable".to_owned(),
            assignor: None,
            epochs: None,
            members,
            unreadable: Vec::new(),
        }
    }

    fn shown(group: &Group, committed: &Committed, ends: &Ends) -> View {
        let mut view = View::new(&COLUMNS);
        for row in rows(group, committed) {
            push(&mut view, group, &row, ends);
        }
        view
    }

    #[test]
    fn every_partition_that_is_read_or_was_read_has_a_row() {
        let committed = Committed::from([
            ("gone".to_owned(), BTreeMap::from([(7, 12)])),
            ("orders".to_owned(), BTreeMap::from([(0, 5), (1, 100)])),
        ]);
        let ends = Ends::from([("orders".to_owned(), Listed::from([(0, 9), (1, 100), (2, 3)]))]);
        let view = shown(&group(vec![member("m", &[0, 2])]), &committed, &ends);
        assert_eq!(
            view.table.lines(),
            [
                "group    topic   partition  committed  log end  lag  member  host      client",
                "billing  gone            7         12        -    -  -       -         -",
                "billing  orders          0          5        9    4  m       10.0.0.1  c",
                "billing  orders          1        100      100    0  -       -         -",
                "billing  orders          2          -        3    -  m       10.0.0.1  c"
            ]
        );
        let json = serde_json::Value::Object(view.objects[3].clone()).to_string();
        assert_eq!(
            json,
            r#"{"kind":"partition","group":"billing","topic":"orders","partition":2,"committed_offset":null,"#
                .to_owned()
                + r#""log_end_offset":3,"lag":null,"member_id":"m","host":"10.0.0.1","client_id":"c"}"#
        );
    }

    #[test]
    fn a_group_without_members_has_no_columns_for_them() {
        let committed = Committed::from([("orders".to_owned(), BTreeMap::from([(0, 5)]))]);
        let view = shown(&group(Vec::new()), &committed, &Ends::new());
        assert_eq!(
            view.table.lines(),
            [
                "group    topic   partition  committed  log end  lag",
                "billing  orders          0          5        -    -"
            ]
        );
    }
}
