//! Which scenarios have a use for which flag: others refuse it, and their help does not show it.

use clap::Command;

use crate::scenario::Scenario::{self, *};

/// They end with the clock, at a rate or as fast as it goes; the others end with their work.
const CLOCKED: &[Scenario] = &[
    Produce,
    Tail,
    Mixed,
    Steady,
    Sweep,
    Partitions,
    Connections,
    Small,
    Storm,
    Overload,
    Day,
    Cleaning,
];

/// Those, and what has no rate but ends with the clock.
const TIMED: &[Scenario] = &[
    Produce,
    Tail,
    Mixed,
    Steady,
    Sweep,
    Partitions,
    Connections,
    Small,
    Groups,
    Storm,
    Overload,
    Transactions,
    Day,
    Cleaning,
];

/// By the flag's name; a flag that is not here is of use to all.
const USERS: &[(&str, &[Scenario])] = &[
    ("fill-mib", &[Consume, Mixed, Steady]),
    ("keep-mib", &[Steady, Cleaning]),
    ("cold-mib-per-s", &[Mixed, Steady]),
    ("neighbours", &[Steady]),
    ("lookups", &[Lookup]),
    ("limit-ms", &[Sweep]),
    ("growth", &[Sweep]),
    ("members", &[Storm]),
    ("groups", &[Storm]),
    ("group-members", &[Storm]),
    ("storm-rate", &[Storm]),
    ("churn", &[Storm]),
    ("group-protocol", &[Storm]),
    ("flood-connections", &[Overload]),
    ("flood-factor", &[Overload]),
    ("flood-batch-bytes", &[Overload]),
    ("probe-seconds", &[Overload]),
    ("txn-version", &[Transactions]),
    ("txn-partitions", &[Transactions]),
    ("abort-percent", &[Transactions]),
    ("txn-retry-ms", &[Transactions]),
    ("txn-rate", &[Transactions]),
    ("txn-read", &[Transactions]),
    ("lookup-rate", &[Day]),
    ("slack-seconds", &[Day]),
    ("turns", &[Cleaning]),
    ("beside-rate", &[Cleaning]),
    ("beside-keys", &[Cleaning]),
    ("steps", &[Partitions, Connections, Restart, Lookup]),
    ("start", &[Restart]),
    ("sink", &[Produce, Consume, Small, Sweep, Partitions, Connections]),
    (
        "bootstrap",
        &[
            Produce,
            Consume,
            Tail,
            Mixed,
            Steady,
            Lookup,
            Sweep,
            Partitions,
            Connections,
            Small,
            Groups,
            Storm,
            Overload,
            Transactions,
            Day,
            Cleaning,
        ],
    ),
    ("topic", &[Produce, Tail, Small]),
    ("seconds", TIMED),
    ("warmup-seconds", TIMED),
    ("rate", CLOCKED),
];

/// By the flag's name, where all but these have a use for it.
const USELESS: &[(&str, &[Scenario])] = &[
    ("warmup-seconds", &[Day]),
    ("topic-config", &[Day]),
    ("batch-bytes", &[Day]),
    ("linger-ms", &[Day]),
    ("in-flight", &[Day]),
    ("drain-seconds", &[Day]),
    ("arrivals", &[Day]),
    ("acks", &[Day]),
    ("codec", &[Day]),
    ("idempotent", &[Day]),
    ("threads", &[Day]),
];

/// Whether `scenario` has a use for a flag, named without its dashes.
pub fn is_of_use(flag: &str, scenario: Scenario) -> bool {
    let is_useless = |(name, scenarios): &(&str, &[Scenario])| *name == flag && scenarios.contains(&scenario);
    if USELESS.iter().any(is_useless) {
        return false;
    }
    USERS
        .iter()
        .find(|(name, _)| *name == flag)
        .is_none_or(|(_, users)| users.contains(&scenario))
}

/// The command line with each scenario's help cut to what it has a use for.
pub fn with_own_help(command: Command) -> Command {
    let scenarios: Vec<Scenario> = <Scenario as clap::ValueEnum>::value_variants().to_vec();
    scenarios.into_iter().fold(command, |command, scenario| {
        command.mut_subcommand(scenario.name(), |own| {
            own.mut_args(|arg| {
                let hidden = arg.get_long().is_some_and(|long| !is_of_use(long, scenario));
                if hidden { arg.hide(true) } else { arg }
            })
        })
    })
}
