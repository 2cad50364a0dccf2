//! One scenario on one broker (and on the sink): the order of a run, and the report of it.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::console::Terminal;
use super::flags::{Flags, Output, Pid};
use super::limits::raise_descriptors;
use super::overload;
use super::relevance::is_of_use;
use super::sink::{self, SINK};
use super::storm;
use crate::error::Error;
use crate::launch::Running;
use crate::load::settings::{Rate, Settings};
use crate::measure::process::ProcessSampler;
use crate::measure::{disk, machine};
use crate::report::model::{FORMAT, Report, Side};
use crate::report::{floor, ratios, text, write_html, write_json};
use crate::scenario::{self, Console, Context, Scenario, Target, by_turn, once, warnings};

/// How long each size of the disk's floor is measured.
const FLOOR_SECONDS: f64 = 1.0;
/// A shorter measurement has few records beyond p99.9.
const SHORT_SECONDS: f64 = 5.0;

/// Runs `scenario`; true when nothing was lost and nothing ended it early.
pub fn run(scenario: Scenario, flags: &Flags) -> Result<bool, Error> {
    let settings = flags.settings(scenario)?;
    flags.output.check()?;
    if let Pid::Of(pid) = flags.pid {
        ProcessSampler::start(pid).map_err(|e| Error::usage(format!("--pid {pid}: {e}")))?;
    }
    raise_descriptors();
    let mut terminal = Terminal::open(&flags.output)?;
    let made = !flags.dir().exists();
    let sink = flags
        .scenario
        .sink
        .then(|| sink::launch(&flags.dir(), settings.threads))
        .transpose()?;
    let mut targets: Vec<Target> = sink.iter().map(sink_target).collect();
    if sink.is_none() || flags.bootstrap.is_some() {
        let mut target = Target::running(&flags.bootstrap(), flags.pid);
        target.stated_durability = flags.scenario.durability.clone();
        targets.push(target);
    }
    if scenario != Scenario::Restart {
        // before the disk is measured, which takes seconds
        targets.iter().try_for_each(Target::reach)?;
    }
    let mut report = begin(scenario, &settings, flags);
    measure_disk(&mut report, &flags.dir(), &mut terminal);
    let mut held = true;
    let several = targets.len() > 1;
    for target in targets {
        if several {
            terminal.tag_prefix = format!("{}.", target.name);
            terminal.heading = format!("{}: ", target.name);
        }
        let (side, outcome) = side(scenario, &settings, flags, target, 1, &mut terminal);
        let measured = side.runs.iter().any(|run| !run.steps.is_empty());
        held &= absorb(&mut report, side, &settings);
        match outcome {
            Ok(()) => {}
            Err(error @ Error::Usage(_)) => return Err(error),
            Err(error) if !measured => return Err(error),
            Err(error) => {
                held = false;
                report.warnings.push(format!("ended early: {error}"));
            }
        }
        if terminal.interrupted() {
            held = false;
            report
                .warnings
                .push("interrupted: the figures are of the time until then".into());
            break;
        }
    }
    end_sink(sink, &flags.dir(), made)?;
    finish(&mut report, &flags.output, &mut terminal)?;
    Ok(held)
}

/// One run of `scenario` on `target`: its side with one round, whatever was measured before an error.
pub fn side(
    scenario: Scenario,
    settings: &Settings,
    flags: &Flags,
    target: Target,
    round: u32,
    terminal: &mut Terminal,
) -> (Side, Result<(), Error>) {
    let mut context = Context {
        scenario,
        settings: settings.clone(),
        flags: flags.scenario.clone(),
        topic: flags.topic.clone(),
        topic_configs: flags.topic_config.clone(),
        stated_partitions: flags.partitions.is_some(),
        target,
        directory: flags.dir(),
        console: terminal,
    };
    let mut steps = Vec::new();
    let outcome = scenario::run(&mut context, &mut steps);
    let mut side = context.target.side();
    side.runs = by_turn(steps, round);
    (side, outcome)
}

/// Adds a side to the report, with what is to be said of its steps; false when a ledger failed.
pub fn absorb(report: &mut Report, side: Side, settings: &Settings) -> bool {
    let mut held = true;
    let is_sink = side.name == SINK;
    let mut said = Vec::new();
    for step in side.runs.iter().flat_map(|run| &run.steps) {
        held &= is_sink || step.ledger.as_ref().is_none_or(|ledger| ledger.passed);
        let found = warnings(step, settings, is_sink).into_iter();
        said.extend(found.map(|warning| format!("{}: {warning}", side.name)));
    }
    for warning in once(said) {
        if !report.warnings.contains(&warning) {
            report.warnings.push(warning);
        }
    }
    match report.sides.iter_mut().find(|known| known.name == side.name) {
        Some(known) => known.runs.extend(side.runs),
        None => report.sides.push(side),
    }
    held
}

/// A report with all that is known before the first load.
pub fn begin(scenario: Scenario, settings: &Settings, flags: &Flags) -> Report {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut report = Report {
        format: FORMAT.into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        command: std::env::args().collect(),
        started_unix_ms: now.as_millis() as u64,
        scenario: scenario.name().into(),
        load: load(settings),
        machine: machine::machine(),
        ..Report::default()
    };
    if !flags.topic_config.is_empty() {
        let configs = flags.topic_config.iter();
        let configs: Vec<_> = configs.map(|(key, value)| format!("{key}={value}")).collect();
        report.load.insert("topic-config".into(), configs.join(" "));
    }
    if scenario == Scenario::Day {
        report.load.retain(|flag, _| is_of_use(flag, scenario));
        let stated = flags.scenario.day.stated();
        report
            .load
            .extend(stated.map(|(name, value)| (name.to_owned(), value)));
    }
    if scenario == Scenario::Cleaning {
        let stated = flags.scenario.cleaning.stated();
        report
            .load
            .extend(stated.map(|(name, value)| (name.to_owned(), value)));
    }
    if scenario == Scenario::Storm
        && let Ok(plan) = flags.scenario.storm.plan()
    {
        let stated = storm::stated(&plan).map(|(name, value)| (name.to_owned(), value));
        report.load.extend(stated);
    }
    if scenario == Scenario::Overload
        && let Ok(plan) = flags.scenario.overload.plan()
    {
        let stated = overload::stated(&plan).map(|(name, value)| (name.to_owned(), value));
        report.load.extend(stated);
    }
    if scenario == Scenario::Transactions {
        let stated = flags
            .scenario
            .transactions
            .stated(settings.partitions)
            .into_iter();
        report
            .load
            .extend(stated.map(|(name, value)| (name.to_owned(), value)));
    }
    let clocked = !matches!(scenario, Scenario::Consume | Scenario::Lookup | Scenario::Restart);
    if !clocked {
        // they end with their work
        for flag in ["rate", "arrivals", "seconds", "warmup-seconds"] {
            report.load.remove(flag);
        }
    }
    if clocked && settings.seconds < SHORT_SECONDS {
        let warning = format!(
            "{} s are short: the highest percentiles rest on few records",
            settings.seconds
        );
        report.warnings.push(warning);
    }
    report
}

/// Measures what the disk below `directory` can do. Without it the report has no floor, and says why.
pub fn measure_disk(report: &mut Report, directory: &Path, terminal: &mut Terminal) {
    terminal.say("measuring the disk's own floor");
    let made = !directory.exists();
    let floor = std::fs::create_dir_all(directory)
        .map_err(|e| Error::failed(e.to_string()))
        .and_then(|()| disk::floor(directory, FLOOR_SECONDS));
    match floor {
        Ok(floor) => report.disk = Some(floor),
        Err(error) => report
            .warnings
            .push(format!("the disk's floor is not known: {error}")),
    }
    if made {
        // only when it is empty again
        let _ = std::fs::remove_dir(directory);
    }
}

/// Ratios, summary, files.
pub fn finish(report: &mut Report, output: &Output, terminal: &mut Terminal) -> Result<(), Error> {
    ratios::fill(report);
    floor::fill(report);
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    println!("{}", text::summary(report, colour).trim_end());
    terminal.finish()?;
    if let Some(path) = &output.json {
        write_json(path, report)?;
    }
    if let Some(path) = &output.html {
        write_html(path, report)?;
    }
    for path in [&output.json, &output.html, &output.hlog].into_iter().flatten() {
        terminal.say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn sink_target(sink: &Running) -> Target {
    Target {
        name: SINK.into(),
        bootstrap: sink.address().to_string(),
        pid: Some(sink.pid()),
        ..Target::default()
    }
}

/// Ends the sink and removes what it left below `directory`, and that too if it was `made` for it.
fn end_sink(sink: Option<Running>, directory: &Path, made: bool) -> Result<(), Error> {
    let Some(mut sink) = sink else { return Ok(()) };
    sink.stop()?;
    let _ = std::fs::remove_dir(sink.directory());
    let _ = std::fs::remove_file(sink.log());
    if made {
        let _ = std::fs::remove_dir(directory);
    }
    Ok(())
}

fn load(settings: &Settings) -> BTreeMap<String, String> {
    let rate = match settings.rate {
        Rate::Max => "max".to_owned(),
        Rate::PerSecond(rate) => rate.to_string(),
    };
    let acks = match settings.acks {
        -1 => "all".to_owned(),
        acks => acks.to_string(),
    };
    let pairs = [
        ("partitions", settings.partitions.to_string()),
        ("producers", settings.producers.to_string()),
        ("consumers", settings.consumers.to_string()),
        ("record-bytes", settings.record_bytes.to_string()),
        ("batch-bytes", settings.batch_bytes.to_string()),
        (
            "records-per-batch",
            match settings.batch_records {
                0 => "as many as fit".to_owned(),
                records => records.to_string(),
            },
        ),
        ("linger-ms", (settings.linger_ns as f64 / 1e6).to_string()),
        ("in-flight", settings.in_flight.to_string()),
        ("rate", rate),
        ("arrivals", format!("{:?}", settings.arrivals).to_lowercase()),
        ("seconds", settings.seconds.to_string()),
        ("warmup-seconds", settings.warmup_seconds.to_string()),
        ("drain-seconds", settings.drain_seconds.to_string()),
        ("acks", acks),
        ("codec", format!("{:?}", settings.codec).to_lowercase()),
        ("keys", settings.keys.to_string()),
        ("idempotent", settings.idempotent.to_string()),
        ("threads", settings.threads.to_string()),
    ];
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
