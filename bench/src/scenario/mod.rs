//! The scenarios, each one word, and what they share: a broker to talk to and a load to measure on it.

mod cleaning;
mod consume;
mod day;
mod groups;
mod lookup;
mod measure;
mod mixed;
mod observer;
pub mod overload;
mod produce;
mod restart;
mod stage;
mod steady;
mod steps;
pub mod storm;
mod sweep;
mod target;
mod transactions;
mod trim;
mod turns;
mod verify;
mod warnings;

pub use day::plan::broker_settings;
pub use measure::Console;
pub use target::Target;
pub use turns::by_turn;
pub use warnings::{once, warnings};

use std::path::PathBuf;

use crate::cli::flags::ScenarioFlags;
use crate::error::Error;
use crate::load::settings::Settings;
use crate::report::model::Step;

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Write, and read back for the ledger afterwards.
    Produce,
    /// Catch up from the start of a topic written before.
    Consume,
    /// Write and read at once: end to end.
    Tail,
    /// Tail, and then tail while another consumer reads old data.
    Mixed,
    /// One load for minutes, with a cold reader and old records being deleted.
    Steady,
    /// Single fetches at random offsets, by the size of the log.
    Lookup,
    /// Raise the rate until p99.9 passes a limit.
    Sweep,
    /// One load over more and more partitions.
    Partitions,
    /// One load over more and more connections.
    Connections,
    /// Small keyed records from many producers.
    Small,
    /// Members of groups that commit offsets, then heartbeat.
    Groups,
    /// Producers alone, and then while groups rebalance without end.
    Storm,
    /// A modest client before, during and after a flood of many times what the broker takes.
    Overload,
    /// Producers that write to some partitions and commit, one transaction after the other.
    Transactions,
    /// Topics whose records end, and a model that knows which may and must be there.
    Day,
    /// What producers feel of retention and of the cleaner.
    Cleaning,
    /// kill -9, and the time until the broker answers again, by the size of its log.
    Restart,
}

impl Scenario {
    /// Its one word.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Produce => "produce",
            Scenario::Consume => "consume",
            Scenario::Tail => "tail",
            Scenario::Mixed => "mixed",
            Scenario::Steady => "steady",
            Scenario::Lookup => "lookup",
            Scenario::Sweep => "sweep",
            Scenario::Partitions => "partitions",
            Scenario::Connections => "connections",
            Scenario::Small => "small",
            Scenario::Groups => "groups",
            Scenario::Storm => "storm",
            Scenario::Overload => "overload",
            Scenario::Transactions => "transactions",
            Scenario::Day => "day",
            Scenario::Cleaning => "cleaning",
            Scenario::Restart => "restart",
        }
    }
}

/// What a scenario runs with.
pub struct Context<'a> {
    /// Which.
    pub scenario: Scenario,
    /// The load.
    pub settings: Settings,
    /// The flags of single scenarios.
    pub flags: ScenarioFlags,
    /// An existing topic to use.
    pub topic: Option<String>,
    /// What a topic that is made gets, name and value.
    pub topic_configs: Vec<(String, String)>,
    /// Whether the number of partitions was given, and an existing topic must have it.
    pub stated_partitions: bool,
    /// The broker.
    pub target: Target,
    /// Where brokers that a scenario starts itself keep their data.
    pub directory: PathBuf,
    /// The terminal, the interrupt and the `.hlog`.
    pub console: &'a mut dyn Console,
}

/// Runs a scenario to its end. Steps that were measured are in `steps` also when a later one fails.
///
/// # Errors
/// The broker cannot be reached or refuses; nothing can be measured any more.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    match context.scenario {
        Scenario::Produce | Scenario::Small => produce::run(context, steps),
        Scenario::Tail => produce::tail(context, steps),
        Scenario::Consume => consume::run(context, steps),
        Scenario::Mixed => mixed::run(context, steps),
        Scenario::Steady => steady::run(context, steps),
        Scenario::Groups => groups::run(context, steps),
        Scenario::Lookup => lookup::run(context, steps),
        Scenario::Sweep => sweep::run(context, steps),
        Scenario::Partitions => steps::partitions(context, steps),
        Scenario::Connections => steps::connections(context, steps),
        Scenario::Storm => storm::run(context, steps),
        Scenario::Overload => overload::run(context, steps),
        Scenario::Transactions => transactions::run(context, steps),
        Scenario::Day => day::run(context, steps),
        Scenario::Cleaning => cleaning::run(context, steps),
        Scenario::Restart => restart::run(context, steps),
    }
}
