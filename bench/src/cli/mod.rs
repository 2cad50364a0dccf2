//! The command line: what is asked for, the terminal, and the order of a run.

pub mod cleaning;
mod compare;
mod console;
pub mod day;
mod defaults;
pub mod flags;
mod limits;
pub mod overload;
mod relevance;
mod scenario;
mod sink;
pub mod storm;
pub mod transactions;
mod versus;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::Error;
use crate::scenario::Scenario;
use flags::Flags;
use relevance::with_own_help;

/// Load on any broker that speaks Kafka's wire protocol: open-loop, every acknowledged record read back, one picture.
///
/// Exit code: 0 when all was measured and the ledger holds; 1 when a broker could not be reached, a record was lost, the run was
/// interrupted, or a rule of compare failed; 2 for options that make no sense.
#[derive(Parser, Debug)]
#[command(name = "ringlog-bench", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Write, and read everything back afterwards
    Produce(Box<Flags>),
    /// Catch up: read a topic from its start
    Consume(Box<Flags>),
    /// Write and read at once: end-to-end latency
    Tail(Box<Flags>),
    /// Tail, then tail while another consumer reads old data
    Mixed(Box<Flags>),
    /// One load for minutes on a log that keeps its size, with a cold reader: is every second alike?
    Steady(Box<Flags>),
    /// Single fetches at random offsets of a log of several sizes, the page cache dropped before
    Lookup(Box<Flags>),
    /// Raise the rate until p99.9 passes a limit: the latency-throughput curve and its knee
    Sweep(Box<Flags>),
    /// One load over 1 to 10,000 partitions
    Partitions(Box<Flags>),
    /// One load over 1 to 5,000 connections
    Connections(Box<Flags>),
    /// 100-byte keyed records from many producers
    Small(Box<Flags>),
    /// Members of groups, one each, that commit offsets and then heartbeat as fast as they are answered
    Groups(Box<Flags>),
    /// Producers alone, and then while a thousand members of a group and many small groups rebalance without end
    Storm(Box<Flags>),
    /// A modest client alone, and while a thousand connections offer ten times what the broker takes
    Overload(Box<Flags>),
    /// Producers with transactional ids that write to some partitions and commit, one transaction after the other
    Transactions(Box<Flags>),
    /// A day in ten minutes: retention, compaction and time lookups against a model that knows which records may and must be there
    Day(Box<Flags>),
    /// Producers and consumers without limits, with retention, and beside the cleaner, in turn: do the tails move?
    Cleaning(Box<Flags>),
    /// kill -9, and the time to the first answer by size of the log
    Restart(Box<Flags>),
    /// Two brokers in turn under the same load, A B A B, and their ratio with its spread
    Versus(Box<versus::VersusFlags>),
    /// Show a report again: its summary, and its page with --html
    Report(compare::ReportFlags),
    /// A listener that reads, answers and stores nothing: what --sink measures against
    Sink(sink::SinkFlags),
    /// Compare two reports, for CI
    Compare(compare::CompareFlags),
}

/// Parses the arguments, does what they say, and returns the exit code.
pub fn main() -> i32 {
    let matches = with_own_help(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(cli.command) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            eprintln!("ringlog-bench: {error}");
            match error {
                Error::Usage(_) => 2,
                Error::Failed(_) => 1,
            }
        }
    }
}

/// True when all that was promised held.
fn run(command: Command) -> Result<bool, Error> {
    let (scenario, flags) = match command {
        Command::Produce(flags) => (Scenario::Produce, flags),
        Command::Consume(flags) => (Scenario::Consume, flags),
        Command::Tail(flags) => (Scenario::Tail, flags),
        Command::Mixed(flags) => (Scenario::Mixed, flags),
        Command::Steady(flags) => (Scenario::Steady, flags),
        Command::Lookup(flags) => (Scenario::Lookup, flags),
        Command::Sweep(flags) => (Scenario::Sweep, flags),
        Command::Partitions(flags) => (Scenario::Partitions, flags),
        Command::Connections(flags) => (Scenario::Connections, flags),
        Command::Small(flags) => (Scenario::Small, flags),
        Command::Groups(flags) => (Scenario::Groups, flags),
        Command::Storm(flags) => (Scenario::Storm, flags),
        Command::Overload(flags) => (Scenario::Overload, flags),
        Command::Transactions(flags) => (Scenario::Transactions, flags),
        Command::Day(flags) => (Scenario::Day, flags),
        Command::Cleaning(flags) => (Scenario::Cleaning, flags),
        Command::Restart(flags) => (Scenario::Restart, flags),
        Command::Versus(flags) => return versus::run(&flags),
        Command::Report(flags) => return compare::show(&flags),
        Command::Sink(flags) => return sink::run(&flags),
        Command::Compare(flags) => return compare::run(&flags),
    };
    scenario::run(scenario, &flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_a_scenario_shows_what_it_has_a_use_for() {
        let mut command = with_own_help(Cli::command());
        let mut help = |name| {
            let own = command.find_subcommand_mut(name).expect("a scenario");
            own.render_long_help().to_string()
        };
        for (name, shown, hidden) in [
            ("produce", "--topic <", "--fill-mib"),
            ("steady", "--keep-mib", "--limit-ms"),
            ("restart", "--start", "--bootstrap"),
            ("lookup", "--lookups", "--rate <"),
            ("storm", "--churn", "--fill-mib"),
            ("overload", "--flood-factor", "--churn"),
            ("mixed", "--fill-mib", "--churn"),
            ("transactions", "--abort-percent", "--rate <"),
            ("groups", "--producers", "--abort-percent"),
            ("day", "--slack-seconds", "--turns"),
            ("cleaning", "--turns", "--slack-seconds"),
        ] {
            let help = help(name);
            assert!(help.contains(shown) && !help.contains(hidden), "{help}");
        }
        let all = help("versus");
        assert!(all.contains("--keep-mib") && all.contains("--start"), "{all}");
    }
}
