//! Arguments to configuration to run to exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use ringlog::cli;
use ringlog::cli::args::{Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => cli::finish(ringlog::serve::run(&args)),
        Command::Dump(args) => cli::finish(cli::dump::run(&args)),
        Command::Topic(command) => cli::finish(cli::topic::run(&command)),
        Command::Group(command) => cli::finish(cli::group::run(&command)),
        Command::Produce(args) => cli::finish(cli::produce::run(&args)),
        Command::Consume(args) => cli::finish(cli::consume::run(&args)),
        Command::Cores(args) => cli::finish(cli::cores::run(&args)),
    }
}
