//! Arguments to configuration to run to exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use ringlog::cli;
use ringlog::cli::args::{Cli, Command};
use ringlog::cli::error::CliError;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(_args) => cli::finish(Err(CliError::refused("serve is not here yet"))),
        Command::Dump(args) => cli::finish(cli::dump::run(&args)),
        Command::Topic(command) => cli::finish(cli::topic::run(&command)),
        Command::Produce(args) => cli::finish(cli::produce::run(&args)),
        Command::Consume(args) => cli::finish(cli::consume::run(&args)),
    }
}
