//! `ringlog group`: list, describe, reset-offsets and delete.

pub mod args;
mod assignment;
mod committed;
mod delete;
mod describe;
mod description;
mod list;
mod reset;
mod time;

use super::client::GroupRefusal;
use super::error::{CliError, CliResult};
use crate::wire::code::ErrorCode;
use args::GroupCommand;

/// Carries out one of the four.
pub fn run(command: &GroupCommand) -> CliResult<()> {
    match command {
        GroupCommand::List(args) => list::run(args),
        GroupCommand::Describe(args) => describe::run(args),
        GroupCommand::ResetOffsets(args) => reset::run(args),
        GroupCommand::Delete(args) => delete::run(args),
    }
}

/// Why something about a group was refused, and what to do.
fn refused(what: &str, group: &str, refusal: &GroupRefusal) -> String {
    match refusal.error() {
        ErrorCode::GroupIdNotFound => {
            format!("group {group:?} does not exist, or is no consumer group; see `ringlog group list`")
        }
        _ => format!("cannot {what} group {group:?}: {refusal}"),
    }
}

/// The end of a command in which some of what was asked for could not be done.
fn all_or(failures: &[String]) -> CliResult<()> {
    match failures.is_empty() {
        true => Ok(()),
        false => Err(CliError::Refused(failures.join("\n"))),
    }
}
