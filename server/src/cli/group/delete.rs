//! `ringlog group delete`: groups without members, with their offsets.

use std::collections::BTreeSet;

use super::args::GroupDeleteArgs;
use super::{all_or, refused};
use crate::cli::client::{Client, GroupAnswer, GroupQuestion, GroupRefusal};
use crate::cli::error::CliResult;
use crate::cli::output::{Output, fields};
use crate::wire::code::ErrorCode;
use crate::wire::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::wire::schema::Message;

/// Deletes each group; one that cannot be does not keep the others.
pub(super) fn run(args: &GroupDeleteArgs) -> CliResult<()> {
    let mut client = Client::connect(&args.connect)?;
    let groups: BTreeSet<String> = args.groups.iter().cloned().collect();
    let deleted = client.ask_groups(&Deletion, &groups)?;
    let mut out = Output::stdout(args.connect.json);
    let mut failures = Vec::new();
    for (group, outcome) in &deleted {
        match outcome {
            Ok(()) => out.fields_line("", &fields! { kind: "deleted", group: group.as_str() })?,
            Err(refusal) => failures.push(refused_deletion(group, refusal)),
        }
    }
    out.flush()?;
    all_or(&failures)
}

fn refused_deletion(group: &str, refusal: &GroupRefusal) -> String {
    match refusal.error() {
        ErrorCode::NonEmptyGroup => format!(
            "cannot delete group {group:?}: it has members; stop them first, see `ringlog group describe {group} --members`"
        ),
        _ => refused("delete", group, refusal),
    }
}

struct Deletion;

impl GroupQuestion for Deletion {
    type Asked = DeleteGroupsRequest;
    type Answer = ();
    const NEWEST: i16 = DeleteGroupsRequest::MAX_VERSION;
    const MANY_FROM: i16 = 0;

    fn request(&self, groups: &[String]) -> DeleteGroupsRequest {
        DeleteGroupsRequest {
            groups_names: groups.to_vec(),
        }
    }

    fn answers(&self, _groups: &[String], response: DeleteGroupsResponse) -> Vec<GroupAnswer<()>> {
        let results = response.results.into_iter();
        results
            .map(|result| (result.group_id, GroupRefusal::or(result.error_code, None, ())))
            .collect()
    }
}
