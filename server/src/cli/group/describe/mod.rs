//! `ringlog group describe`: up to three tables, of states, of members, and of offsets by partition.

mod members;
mod offsets;
mod state;

use std::collections::BTreeSet;

use super::args::{GroupDescribeArgs, GroupType};
use super::description::{self, Group};
use super::{all_or, list, refused};
use crate::cli::client::Client;
use crate::cli::error::CliResult;
use crate::cli::output::{Fields, Output};
use crate::cli::table::{Column, Table};

/// Shows the groups; one that does not exist does not hide the others.
pub(super) fn run(args: &GroupDescribeArgs) -> CliResult<()> {
    let mut client = Client::connect(&args.connect)?;
    let names = names(&mut client, args)?;
    let mut groups = Vec::new();
    let mut failures = Vec::new();
    for (name, outcome) in description::ask(&mut client, &names)? {
        match outcome {
            Ok(group) => groups.push(group),
            Err(refusal) => failures.push(refused("describe", &name, &refusal)),
        }
    }
    let mut views = Vec::new();
    if args.state {
        views.push(state::view(&client, &groups));
    }
    if args.members {
        views.push(members::view(&groups));
    }
    if args.offsets || views.is_empty() {
        views.push(offsets::view(&mut client, &groups)?);
    }
    let mut out = Output::stdout(args.connect.json);
    print(&mut out, &views)?;
    out.flush()?;
    notes(&groups, &views, args.connect.json);
    failures.extend(views.into_iter().flat_map(|view| view.failures));
    all_or(&failures)
}

/// What is shown of the groups: the rows for people, and for programs an object for each.
struct View {
    table: Table,
    objects: Vec<Fields>,
    /// What there is nothing of, for groups without a row.
    empty: Vec<String>,
    /// What could not be learnt.
    failures: Vec<String>,
}

impl View {
    fn new(columns: &[Column]) -> Self {
        Self {
            table: Table::new(columns),
            objects: Vec::new(),
            empty: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn push(&mut self, row: Vec<Option<String>>, object: Fields) {
        self.table.push(row);
        self.objects.push(object);
    }
}

fn print(out: &mut Output, views: &[View]) -> CliResult<()> {
    let mut is_first = true;
    for view in views.iter().filter(|view| !view.objects.is_empty()) {
        if out.is_json() {
            view.objects.iter().try_for_each(|object| out.json_line(object))?;
            continue;
        }
        if !is_first {
            out.text_line("")?;
        }
        view.table.print(out)?;
        is_first = false;
    }
    Ok(())
}

/// What a reader of the tables would miss.
fn notes(groups: &[Group], views: &[View], json: bool) {
    for unreadable in groups.iter().flat_map(|group| &group.unreadable) {
        eprintln!("ringlog: warning: {unreadable}");
    }
    if !json {
        views
            .iter()
            .flat_map(|view| &view.empty)
            .for_each(|note| eprintln!("{note}"));
    }
}

fn names(client: &mut Client, args: &GroupDescribeArgs) -> CliResult<BTreeSet<String>> {
    if !args.all {
        return Ok(args.groups.iter().cloned().collect());
    }
    let listed = list::all(client, &[], &[])?.into_values();
    let consumers = listed.filter(|group| matches!(group.group_type.as_str(), "" | "classic" | "consumer"));
    let names: BTreeSet<String> = consumers.map(|group| group.group_id).collect();
    if names.is_empty() && !args.connect.json {
        eprintln!("{}", list::NO_GROUPS);
    }
    Ok(names)
}

/// The protocol of a group as Kafka calls it.
fn kind_name(kind: GroupType) -> &'static str {
    match kind {
        GroupType::Classic => "classic",
        GroupType::Consumer => "consumer",
    }
}
