//! `ringlog group list`: the groups of all brokers.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::ValueEnum;

use super::args::{GroupListArgs, GroupState, GroupType};
use crate::cli::client::{Backoff, CallError, Client, Connection, describe, is_retriable};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::{Fields, Output, fields};
use crate::cli::table::{Column, Table};
use crate::wire::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

/// The version from which groups can be asked for by state (KIP-518).
const STATES_FROM: i16 = 4;
/// The version from which groups can be asked for by type (KIP-848).
const TYPES_FROM: i16 = 5;

const COLUMNS: [Column; 4] = [
    Column::left("group"),
    Column::left("protocol type"),
    Column::left("state").if_any(),
    Column::left("type").if_any(),
];

/// What is said where there are none.
pub(super) const NO_GROUPS: &str =
    "no groups; one is there once a consumer has joined it or offsets are committed";

/// Groups by name.
pub(super) type Listed = BTreeMap<String, ListedGroup>;

pub(super) fn run(args: &GroupListArgs) -> CliResult<()> {
    let mut client = Client::connect(&args.connect)?;
    let groups = all(&mut client, &args.state, &args.types)?;
    let mut out = Output::stdout(args.connect.json);
    if out.is_json() {
        for group in groups.values() {
            out.json_line(&as_json(group))?;
        }
    } else if groups.is_empty() {
        let is_any = args.state.is_empty() && args.types.is_empty();
        eprintln!("{}", if is_any { NO_GROUPS } else { "no such groups" });
    } else {
        table(&groups).print(&mut out)?;
    }
    out.flush()
}

fn as_json(group: &ListedGroup) -> Fields {
    let mut shown = fields! { group: group.group_id.as_str(), protocol_type: group.protocol_type.as_str() };
    shown.insert("state".to_owned(), known(&group.group_state).into());
    shown.insert("type".to_owned(), known(&group.group_type).into());
    shown
}

fn table(groups: &Listed) -> Table {
    let mut table = Table::new(&COLUMNS);
    for group in groups.values() {
        table.push(vec![
            Some(group.group_id.clone()),
            known(&group.protocol_type),
            known(&group.group_state),
            known(&group.group_type),
        ]);
    }
    table
}

/// Versions before 4 do not tell the state, and those before 5 not the type; a group that only keeps offsets has no protocol.
fn known(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The groups that all brokers coordinate, in these states and of these types; no state and no type is any.
pub(super) fn all(client: &mut Client, states: &[GroupState], types: &[GroupType]) -> CliResult<Listed> {
    let request = ListGroupsRequest {
        states_filter: names(states),
        types_filter: names(types),
    };
    let mut listed = Listed::new();
    for broker in client.broker_ids() {
        let groups = of_broker(client, broker, &request)?;
        listed.extend(groups.into_iter().map(|group| (group.group_id.clone(), group)));
    }
    Ok(listed)
}

fn names<T: ValueEnum>(values: &[T]) -> Vec<String> {
    let named = values.iter().filter_map(ValueEnum::to_possible_value);
    named.map(|value| value.get_name().to_owned()).collect()
}

/// A broker that is still reading its groups answers with those it has: it is asked until it has all.
fn of_broker(client: &mut Client, broker: i32, request: &ListGroupsRequest) -> CliResult<Vec<ListedGroup>> {
    let mut backoff = Backoff::new(client.timeout());
    loop {
        let deadline = backoff.deadline();
        let obstacle =
            match client.with_broker(broker, deadline, |connection| ask(connection, request, deadline)) {
                Ok(response) if response.error_code == 0 => return Ok(response.groups),
                Ok(response) => {
                    let reason = describe(response.error_code, None);
                    if !is_retriable(response.error_code) {
                        return Err(CliError::Refused(format!("cannot list groups: {reason}")));
                    }
                    reason
                }
                Err(error) if error.is_retriable() => error.to_string(),
                Err(error) => return Err(error.into()),
            };
        if !backoff.pause() {
            return Err(CliError::Unreachable(format!(
                "groups not listed in time: {obstacle}"
            )));
        }
    }
}

/// An older broker would not see what the filters say, and answer with all groups.
fn ask(
    connection: &mut Connection,
    request: &ListGroupsRequest,
    deadline: Instant,
) -> Result<ListGroupsResponse, CallError> {
    let oldest = match (request.types_filter.is_empty(), request.states_filter.is_empty()) {
        (false, _) => TYPES_FROM,
        (true, false) => STATES_FROM,
        (true, true) => 0,
    };
    connection.version_from::<ListGroupsRequest>(oldest)?;
    connection.call(request, deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_go_out_under_kafkas_names() {
        let states = [GroupState::PreparingRebalance, GroupState::Empty];
        assert_eq!(names(&states), ["PreparingRebalance", "Empty"]);
        assert_eq!(
            names(&[GroupType::Classic, GroupType::Consumer]),
            ["classic", "consumer"]
        );
    }

    #[test]
    fn a_broker_that_tells_no_states_has_no_column_for_them() {
        let group = |state: &str| ListedGroup {
            group_id: "g".to_owned(),
            protocol_type: "consumer".to_owned(),
            group_state: state.to_owned(),
            ..Default::default()
        };
        let lines = |state: &str| table(&Listed::from([("g".to_owned(), group(state))])).lines();
        assert_eq!(lines(""), ["group  protocol type", "g      consumer"]);
        assert_eq!(
            lines("Stable"),
            ["group  protocol type  state", "g      consumer       Stable"]
        );
    }
}
