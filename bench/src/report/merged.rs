//! The rounds of a side put together: one [`Step`] a label, as if its rounds had been one long measurement.
//!
//! Distributions are merged, records, bytes, processor time and the ledger's counts are summed and their rates
//! computed again; memory and a scenario's own figures are the median of the rounds.

use std::collections::BTreeMap;

use super::figures::{cpu_s_per_gib, machine_use, main_flow};
use super::latency::merge;
use super::model::{Flow, Latency, LedgerResult, MachineUse, ProcessUse, Schedule, Side, Spread, Step};
use crate::error::Error;

const MIB: f64 = (1u64 << 20) as f64;
/// Lines of a merged ledger's notes.
const MAX_NOTES: usize = 12;

/// The steps of `side` in the order they were measured.
///
/// # Errors
/// A damaged histogram or heat maps that do not fit together.
pub fn merged(side: &Side) -> Result<Vec<Step>, Error> {
    labels(side)
        .into_iter()
        .map(|label| merge_steps(&rounds(side, label)))
        .collect()
}

/// Labels of a side's steps, each once, in the order they were measured.
pub fn labels(side: &Side) -> Vec<&str> {
    let mut labels: Vec<&str> = Vec::new();
    for step in side.runs.iter().flat_map(|run| &run.steps) {
        if !labels.contains(&step.label.as_str()) {
            labels.push(&step.label);
        }
    }
    labels
}

/// Median and range. `None` of nothing.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = match sorted.len() % 2 {
        1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    };
    Some(Spread { median, min, max })
}

/// A side's steps of one label with their rounds.
fn rounds<'a>(side: &'a Side, label: &str) -> Vec<(u32, &'a Step)> {
    let steps = side
        .runs
        .iter()
        .flat_map(|run| run.steps.iter().map(|step| (run.round, step)));
    steps.filter(|(_, step)| step.label == label).collect()
}

fn merge_steps(rounds: &[(u32, &Step)]) -> Result<Step, Error> {
    if let [(_, only)] = rounds {
        return Ok((*only).clone());
    }
    let steps: Vec<&Step> = rounds.iter().map(|round| round.1).collect();
    let first = steps[0];
    let seconds = steps.iter().map(|step| step.seconds).sum();
    let flow = |of: fn(&Step) -> Option<&Flow>| {
        let flows: Vec<_> = steps.iter().filter_map(|step| of(step)).collect();
        (!flows.is_empty()).then(|| merge_flows(&flows, seconds))
    };
    let mut step = Step {
        label: first.label.clone(),
        x: first.x,
        offered_per_s: first.offered_per_s,
        seconds,
        produced: flow(|step| step.produced.as_ref()),
        consumed: flow(|step| step.consumed.as_ref()),
        cold: flow(|step| step.cold.as_ref()),
        latencies: merge_latencies(&steps)?,
        schedule: merge_schedules(&steps),
        ledger: merge_ledgers(rounds),
        events: rounds
            .iter()
            .flat_map(|&(round, step)| numbered_events(round, step))
            .collect(),
        figures: merge_figures(&steps),
        ..Step::default()
    };
    let bytes = main_flow(&step).map_or(0, |flow| flow.bytes);
    let inside: Vec<_> = steps.iter().filter_map(|step| step.inside.as_ref()).collect();
    if inside.len() == steps.len() {
        step.inside = super::inside::merge(&inside);
    }
    let brokers: Vec<_> = steps.iter().filter_map(|step| step.broker.as_ref()).collect();
    step.broker = (brokers.len() == steps.len()).then(|| merge_processes(&brokers, bytes));
    step.machine = merge_machines(&steps, main_flow(&step));
    step.client = merge_processes(&steps.iter().map(|step| &step.client).collect::<Vec<_>>(), bytes);
    Ok(step)
}

/// Samples by second are left to the rounds: they do not add up.
fn merge_flows(flows: &[&Flow], seconds: f64) -> Flow {
    let sum = |of: fn(&Flow) -> u64| flows.iter().map(|flow| of(flow)).fold(0, u64::saturating_add);
    let per_second = |value: f64| if seconds > 0.0 { value / seconds } else { 0.0 };
    let mut errors = BTreeMap::new();
    for (name, count) in flows.iter().flat_map(|flow| &flow.errors) {
        let sum: &mut u64 = errors.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*count);
    }
    let (records, bytes) = (sum(|flow| flow.records), sum(|flow| flow.bytes));
    Flow {
        records,
        bytes,
        wire_bytes: sum(|flow| flow.wire_bytes),
        requests: sum(|flow| flow.requests),
        records_per_s: per_second(records as f64),
        mib_per_s: per_second(bytes as f64) / MIB,
        per_second: Vec::new(),
        errors,
    }
}

fn merge_latencies(steps: &[&Step]) -> Result<BTreeMap<String, Latency>, Error> {
    let mut by_name: BTreeMap<&String, Vec<&Latency>> = BTreeMap::new();
    for (name, latency) in steps.iter().flat_map(|step| &step.latencies) {
        by_name.entry(name).or_default().push(latency);
    }
    by_name
        .into_iter()
        .map(|(name, parts)| Ok((name.clone(), merge(&parts)?)))
        .collect()
}

fn merge_schedules(steps: &[&Step]) -> Option<Schedule> {
    steps
        .iter()
        .filter_map(|step| step.schedule.as_ref())
        .cloned()
        .reduce(|a, b| Schedule {
            intended: a.intended.saturating_add(b.intended),
            late_by_client: a.late_by_client.saturating_add(b.late_by_client),
            late_by_broker: a.late_by_broker.saturating_add(b.late_by_broker),
            unsent: a.unsent.saturating_add(b.unsent),
            unanswered: a.unanswered.saturating_add(b.unanswered),
        })
}

fn merge_ledgers(rounds: &[(u32, &Step)]) -> Option<LedgerResult> {
    let numbered = rounds.iter().filter_map(|&(round, step)| {
        let mut ledger = step.ledger.clone()?;
        ledger
            .notes
            .iter_mut()
            .for_each(|note| *note = format!("round {round}: {note}"));
        Some(ledger)
    });
    let mut all = numbered.reduce(|a, b| LedgerResult {
        passed: a.passed && b.passed,
        checked: a.checked && b.checked,
        acknowledged: a.acknowledged.saturating_add(b.acknowledged),
        verified: a.verified.saturating_add(b.verified),
        lost: a.lost.saturating_add(b.lost),
        duplicated: a.duplicated.saturating_add(b.duplicated),
        reordered: a.reordered.saturating_add(b.reordered),
        aborted: a.aborted.saturating_add(b.aborted),
        corrupt: a.corrupt.saturating_add(b.corrupt),
        overstayed: a.overstayed.saturating_add(b.overstayed),
        misplaced: a.misplaced.saturating_add(b.misplaced),
        unacknowledged_found: a.unacknowledged_found.saturating_add(b.unacknowledged_found),
        notes: a.notes.into_iter().chain(b.notes).collect(),
        held: [a.held, b.held]
            .into_iter()
            .filter(|held| !held.is_empty())
            .collect::<Vec<_>>()
            .join("; "),
    })?;
    all.notes.truncate(MAX_NOTES);
    Some(all)
}

fn merge_processes(uses: &[&ProcessUse], bytes: u64) -> ProcessUse {
    let sum = |of: fn(&ProcessUse) -> u64| uses.iter().map(|used| of(used)).fold(0, u64::saturating_add);
    let known = uses.iter().all(|used| used.cpu_s_per_gib.is_some());
    let memory: Vec<_> = uses.iter().map(|used| used.rss_bytes as f64).collect();
    let mut all = ProcessUse {
        pid: uses.first().map_or(0, |used| used.pid),
        user_s: uses.iter().map(|used| used.user_s).sum(),
        system_s: uses.iter().map(|used| used.system_s).sum(),
        cpu_s_per_gib: None,
        rss_bytes: spread(&memory).map_or(0, |spread| spread.median as u64),
        peak_rss_bytes: uses.iter().map(|used| used.peak_rss_bytes).max().unwrap_or(0),
        context_switches: sum(|used| used.context_switches),
        disk_write_bytes: sum(|used| used.disk_write_bytes),
        disk_read_bytes: sum(|used| used.disk_read_bytes),
        samples: Vec::new(),
    };
    all.cpu_s_per_gib = if known { cpu_s_per_gib(&all, bytes) } else { None };
    all
}

fn merge_machines(steps: &[&Step], flow: Option<&Flow>) -> Option<MachineUse> {
    let used = steps.iter().map(|step| step.machine.as_ref());
    let less_client_s = used
        .map(|used| used.map(|used| used.less_client_s))
        .sum::<Option<f64>>()?;
    Some(machine_use(less_client_s, flow))
}

fn merge_figures(steps: &[&Step]) -> BTreeMap<String, f64> {
    let mut by_name: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for (name, &value) in steps.iter().flat_map(|step| &step.figures) {
        by_name.entry(name).or_default().push(value);
    }
    by_name
        .into_iter()
        .filter_map(|(name, values)| Some((name.clone(), spread(&values)?.median)))
        .collect()
}

fn numbered_events(round: u32, step: &Step) -> impl Iterator<Item = super::model::Event> {
    step.events.iter().cloned().map(move |mut event| {
        event.what = format!("round {round}: {}", event.what);
        event
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::latency::{latency, new_histogram};
    use crate::report::model::{Event, Heat, Run};

    fn step(records: u64, latency_ns: u64, user_s: f64) -> Step {
        let mut histogram = new_histogram();
        histogram.saturating_record_n(latency_ns, records);
        let bytes = records << 20;
        let used = ProcessUse {
            user_s,
            rss_bytes: records,
            ..ProcessUse::default()
        };
        Step {
            seconds: 10.0,
            produced: Some(Flow {
                records,
                bytes,
                ..Flow::default()
            }),
            latencies: BTreeMap::from([("ack".to_owned(), latency(&histogram, Heat::default()))]),
            ledger: Some(LedgerResult {
                passed: records < 5_000,
                acknowledged: records,
                ..Default::default()
            }),
            broker: Some(ProcessUse {
                cpu_s_per_gib: cpu_s_per_gib(&used, bytes),
                ..used
            }),
            events: vec![Event {
                at_s: 1.0,
                what: "x".to_owned(),
            }],
            figures: BTreeMap::from([("ready_ms".to_owned(), user_s)]),
            ..Step::default()
        }
    }

    fn side(steps: Vec<Step>) -> Side {
        let runs = steps
            .into_iter()
            .zip(1..)
            .map(|(step, round)| Run {
                round,
                steps: vec![step],
            })
            .collect();
        Side {
            runs,
            ..Side::default()
        }
    }

    #[test]
    fn rounds_become_one_long_measurement() {
        let steps = vec![step(1_024, 1_000, 2.0), step(3_072, 5_000, 2.0)];
        let all = merged(&side(steps)).expect("merged");
        let [all] = &all[..] else {
            panic!("{} steps", all.len())
        };
        let flow = all.produced.as_ref().expect("a flow");
        assert_eq!(
            (flow.records, flow.records_per_s, flow.mib_per_s),
            (4_096, 204.8, 204.8)
        );
        assert_eq!(all.latencies["ack"].count, 4_096);
        assert!(all.latencies["ack"].p50_us >= 5.0);
        assert_eq!(
            all.broker.as_ref().and_then(|broker| broker.cpu_s_per_gib),
            Some(1.0)
        );
        assert_eq!(all.client.cpu_s_per_gib, None);
        assert_eq!(all.events[1].what, "round 2: x");
        assert_eq!(all.figures["ready_ms"], 2.0);
    }

    #[test]
    fn one_failed_ledger_fails_all() {
        let all = merged(&side(vec![step(1, 1, 1.0), step(5_000, 1, 1.0)])).expect("merged");
        let ledger = all[0].ledger.as_ref().expect("a ledger");
        assert!(!ledger.passed);
        assert_eq!(ledger.acknowledged, 5_001);
    }

    #[test]
    fn the_median_of_two_is_between_them() {
        assert_eq!(
            spread(&[4.0, 1.0]),
            Some(Spread {
                median: 2.5,
                min: 1.0,
                max: 4.0
            })
        );
        assert_eq!(spread(&[4.0, 1.0, 2.0]).map(|spread| spread.median), Some(2.0));
        assert_eq!(spread(&[]), None);
    }
}
