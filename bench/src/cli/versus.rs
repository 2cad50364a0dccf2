//! `versus`: two brokers, started in turn on fresh directories, under the same load: A B A B, and B over A.

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::Args;

use super::console::Terminal;
use super::flags::{Flags, Pid, parse_config};
use super::limits::raise_descriptors;
use super::scenario::{absorb, begin, finish, measure_disk, side};
use crate::error::Error;
use crate::launch::command::{file_name, quote};
use crate::launch::{Launch, Running, free_port, kafka_command, ringlog_command, start};
use crate::load::settings::Settings;
use crate::report::model::Report;
use crate::scenario::{Console, Scenario, Target, broker_settings};

/// Two brokers and a load.
#[derive(Args, Debug)]
pub struct VersusFlags {
    /// `kafka`: Apache Kafka, fetched from Maven Central and run with its defaults, as A (needs Java 17 and Maven)
    #[arg(value_parser = ["kafka"])]
    pub peer: Option<String>,
    /// Command that runs broker A in the foreground; {port} and {dir} are filled in
    #[arg(long, value_name = "CMD")]
    pub a: Option<String>,
    /// Command that runs broker B in the foreground [default: ringlog serve]
    #[arg(long, value_name = "CMD")]
    pub b: Option<String>,
    /// What tables call A [default: kafka, or the command's first word]
    #[arg(long, value_name = "NAME")]
    pub a_name: Option<String>,
    /// What tables call B [default: ringlog, or the command's first word]
    #[arg(long, value_name = "NAME")]
    pub b_name: Option<String>,
    /// With `kafka`: a line of its server.properties, as `log.flush.interval.messages=1`, which makes it sync each batch of every topic;
    /// may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_config)]
    pub kafka_config: Vec<(String, String)>,
    /// What to run on both
    #[arg(long, value_enum, default_value = "produce")]
    pub scenario: Scenario,
    /// How often each runs, in turn
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub rounds: u32,
    /// MiB written and deleted before each run, so that no run pays for memory and disk that the one before returned
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub condition_mib: u64,
    #[command(flatten)]
    pub flags: Flags,
}

/// Runs both; true when no ledger failed and nothing ended early.
pub fn run(versus: &VersusFlags) -> Result<bool, Error> {
    let settings = versus.flags.settings(versus.scenario)?;
    check(versus)?;
    versus.flags.output.check()?;
    let launches = launches(versus)?;
    raise_descriptors();
    let mut terminal = Terminal::open(&versus.flags.output)?;
    let mut report = begin(versus.scenario, &settings, &versus.flags);
    let directory = versus.flags.dir();
    measure_disk(&mut report, &directory, &mut terminal);
    let mut held = true;
    'rounds: for round in 1..=versus.rounds {
        for launch in &launches {
            terminal.tag_prefix = format!("{}.{round}.", launch.name);
            terminal.heading = format!("round {round} of {}, {}: ", versus.rounds, launch.name);
            let outcome = one(versus, &settings, launch, round, &mut report, &mut terminal);
            match outcome {
                Ok(good) => held &= good,
                Err(error) if report.sides.is_empty() => return Err(error),
                Err(error) => {
                    held = false;
                    report
                        .warnings
                        .push(format!("round {round}, {}: ended early: {error}", launch.name));
                }
            }
            if terminal.interrupted() {
                held = false;
                report
                    .warnings
                    .push("interrupted: later rounds are missing".into());
                break 'rounds;
            }
        }
    }
    if held {
        // what the brokers printed matters only when something went wrong
        for launch in &launches {
            let _ = fs::remove_file(directory.join(format!("{}.log", file_name(&launch.name))));
        }
        let _ = fs::remove_dir(&directory);
    }
    finish(&mut report, &versus.flags.output, &mut terminal)?;
    Ok(held)
}

/// One broker's one round on a fresh directory.
fn one(
    versus: &VersusFlags,
    settings: &Settings,
    launch: &Launch,
    round: u32,
    report: &mut Report,
    terminal: &mut Terminal,
) -> Result<bool, Error> {
    let parent = versus.flags.dir();
    fs::create_dir_all(&parent).map_err(|e| Error::failed(format!("{}: {e}", parent.display())))?;
    condition(&parent, versus.condition_mib)?;
    let directory = parent.join(format!("{}-{round}", file_name(&launch.name)));
    clear(&directory)?;
    let mut flags = versus.flags.clone();
    // restart starts and kills its brokers itself
    let mut broker: Option<Running> = None;
    let mut target = Target {
        name: launch.name.clone(),
        ..Target::default()
    };
    if versus.scenario == Scenario::Restart {
        flags.scenario.start = Some(launch.command.clone());
    } else {
        terminal.say("starting");
        let running = start(launch, &directory, free_port()?)?;
        target.bootstrap = running.address().to_string();
        target.pid = Some(running.pid());
        broker = Some(running);
    }
    target.start_command = launch.command.clone();
    target.keeps_records = true;
    let (mut measured, outcome) = side(versus.scenario, settings, &flags, target, round, terminal);
    measured.name = launch.name.clone();
    let held = absorb(report, measured, settings);
    if let Some(mut broker) = broker {
        // a broker that died was told of by the run
        let _ = broker.stop();
    }
    clear(&directory)?;
    outcome.map(|()| held)
}

fn check(versus: &VersusFlags) -> Result<(), Error> {
    let flags = &versus.flags;
    let rules = [
        (
            flags.bootstrap.is_some(),
            "versus starts its brokers itself: --bootstrap has no meaning",
        ),
        (
            flags.topic.is_some(),
            "versus starts its brokers on fresh directories: --topic cannot exist there",
        ),
        (
            matches!(flags.pid, Pid::Of(_)),
            "versus knows the processes it starts: --pid has no meaning",
        ),
        (
            flags.scenario.sink,
            "--sink is not for versus: run the scenario with it",
        ),
        (
            flags.scenario.start.is_some(),
            "versus takes its commands from --a and --b, not --start",
        ),
        (
            flags.scenario.durability.is_some(),
            "--durability would say the same of both brokers",
        ),
        (
            versus.rounds < 1 || versus.rounds > 100,
            "--rounds is from 1 to 100",
        ),
        (
            versus.peer.is_some() && versus.a.is_some(),
            "`kafka` and --a both say what A is",
        ),
        (
            versus.peer.is_none() && !versus.kafka_config.is_empty(),
            "--kafka-config is for `versus kafka`",
        ),
        (
            versus.peer.is_none() && versus.a.is_none(),
            "versus what? `versus kafka`, or --a CMD",
        ),
    ];
    match rules.iter().find(|(broken, _)| *broken) {
        Some((_, why)) => Err(Error::usage(*why)),
        None => Ok(()),
    }
}

fn launches(versus: &VersusFlags) -> Result<[Launch; 2], Error> {
    let (a, a_name) = match &versus.a {
        Some(command) => (command.clone(), first_word(command)),
        None => (
            with_config(
                with_needed(kafka_command()?, "", versus.scenario),
                &versus.kafka_config,
            ),
            "kafka".into(),
        ),
    };
    let (b, b_name) = match &versus.b {
        Some(command) => (command.clone(), first_word(command)),
        None => (
            with_needed(ringlog_command()?, "--set ", versus.scenario),
            "ringlog".into(),
        ),
    };
    let a_name = versus.a_name.clone().unwrap_or(a_name);
    let mut b_name = versus.b_name.clone().unwrap_or(b_name);
    if a_name == b_name {
        b_name.push_str("-b");
    }
    Ok([
        Launch {
            name: a_name,
            command: a,
        },
        Launch {
            name: b_name,
            command: b,
        },
    ])
}

/// A command with the broker settings that the scenario needs, each behind `before`.
fn with_needed(mut command: String, before: &str, scenario: Scenario) -> String {
    if matches!(scenario, Scenario::Day | Scenario::Cleaning) {
        for (key, value) in broker_settings() {
            command.push_str(&format!(" {before}{key}={value}"));
        }
    }
    command
}

/// The command that starts Kafka, with further lines of its properties.
fn with_config(mut command: String, config: &[(String, String)]) -> String {
    for (key, value) in config {
        command.push(' ');
        command.push_str(&quote(&format!("{key}={value}")));
    }
    command
}

/// The program's name without its directory.
fn first_word(command: &str) -> String {
    let word = command.split_whitespace().next().unwrap_or("broker");
    word.rsplit('/').next().unwrap_or(word).to_owned()
}

fn clear(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed(format!("{}: {error}", directory.display())))
        }
        _ => Ok(()),
    }
}

/// Writes and deletes a file of `mib` MiB.
fn condition(parent: &Path, mib: u64) -> Result<(), Error> {
    if mib == 0 {
        return Ok(());
    }
    let path = parent.join("condition");
    let write = || {
        let mut file = fs::File::create(&path)?;
        let block = vec![0x55; 1 << 20];
        for _ in 0..mib {
            file.write_all(&block)?;
        }
        file.sync_all()
    };
    let written = write();
    let removed = fs::remove_file(&path);
    written
        .and(removed)
        .map_err(|e| Error::failed(format!("{}: {e}", path.display())))
}
