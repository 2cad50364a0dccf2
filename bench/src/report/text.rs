//! The report as the terminal shows it at the end: one screen, aligned, a failed ledger first.

use super::figures::figures;
use super::inside::per_request;
use super::merged::merged;
use super::model::{LedgerResult, MachineUse, ProcessUse, Report, Side, Step};
use super::units::{bytes, digits3, plain, time_us, whole, with_unit};

mod page;
mod tables;

use page::{Page, Style};
use tables::{latency_table, ratio_step_table, ratio_table, stage_table, step_table};

/// The whole summary, lines ended; with ANSI colours if `colour`.
pub fn summary(report: &Report, colour: bool) -> String {
    let mut page = Page::new(colour);
    failures(&mut page, report);
    for side in &report.sides {
        match merged(side) {
            Ok(steps) => side_lines(&mut page, report, side, &steps),
            Err(error) => page.line(Style::Bad, &format!("{}: {error}", side.name)),
        }
        page.gap();
    }
    ratios(&mut page, report);
    for warning in &report.warnings {
        page.line(Style::Warning, &format!("warning  {warning}"));
    }
    disk(&mut page, report);
    page.field("machine", &machine(report));
    page.text()
}

/// The counts of a failed ledger, those that are not zero: `17 lost, 2 reordered of 1,402,127 acknowledged`.
pub fn ledger_counts(ledger: &LedgerResult) -> String {
    let named = [
        (ledger.lost, "lost"),
        (ledger.duplicated, "duplicated"),
        (ledger.reordered, "reordered"),
        (ledger.corrupt, "corrupt"),
        (ledger.aborted, "aborted and visible"),
        (ledger.overstayed, "there that had to be gone"),
        (ledger.misplaced, "time lookups answered wrongly"),
    ];
    let counts = named.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts
        .map(|(count, what)| format!("{} {what}", whole(*count as f64)))
        .collect();
    let counts = if counts.is_empty() {
        "not all read back".to_owned()
    } else {
        counts.join(", ")
    };
    format!("{counts} of {} acknowledged", whole(ledger.acknowledged as f64))
}

fn failures(page: &mut Page, report: &Report) {
    for side in &report.sides {
        for (run, step) in side
            .runs
            .iter()
            .flat_map(|run| run.steps.iter().map(move |step| (run, step)))
        {
            // a sink has acknowledged nothing that could be read back
            let Some(ledger) = step
                .ledger
                .as_ref()
                .filter(|ledger| !ledger.passed && (ledger.checked || ledger.acknowledged > 0))
            else {
                continue;
            };
            let place = format!("{}, round {}, {}", side.name, run.round, step.label);
            let verdict = match ledger.checked {
                true => format!("LEDGER FAILED  {place}: {}", ledger_counts(ledger)),
                false => format!("NOT READ BACK  {place}"),
            };
            page.line(Style::Bad, &verdict);
            ledger
                .notes
                .iter()
                .for_each(|note| page.line(Style::Bad, &format!("               {note}")));
        }
    }
}

fn side_lines(page: &mut Page, report: &Report, side: &Side, steps: &[Step]) {
    let rounds = if side.runs.len() > 1 {
        format!(", {} rounds", side.runs.len())
    } else {
        String::new()
    };
    page.line(
        Style::Heading,
        &format!("{}  {}  ({}{rounds})", report.scenario, side.name, side.bootstrap),
    );
    match steps {
        [step] => one_step(page, report, step),
        _ => page.table(&step_table(steps)),
    }
    page.field("ledger", &ledger_verdict(steps));
    if steps.len() > 1 {
        events(page, steps);
    }
    let reason = if side.durability_reason.is_empty() {
        String::new()
    } else {
        format!(": {}", side.durability_reason)
    };
    if !side.durability.is_empty() {
        page.field("durability", &format!("{}{reason}", side.durability));
    }
}

/// With two sides, what the table of ratios shows anyway is left to it.
fn one_step(page: &mut Page, report: &Report, step: &Step) {
    let alone = report.ratios.is_empty();
    if alone {
        flows(page, step);
    }
    errors(page, step);
    page.table(&latency_table(report, step));
    worst_second(page, step);
    if let Some(floor_us) = step.figures.get("floor_us").filter(|_| !alone) {
        let what = "the disk's own 4 KiB p50 and 1.5 times the sink's p50";
        page.field("floor", &format!("{}: {what}", time_us(*floor_us)));
    }
    if alone {
        own_figures(page, step);
        if let Some(broker) = &step.broker {
            page.field("broker", &process(broker));
        }
        if let Some(machine) = &step.machine {
            page.field("rest", &machine_use(machine));
        }
        page.field("client", &process(&step.client));
    }
    inside(page, step);
    schedule(page, step);
    events(page, std::slice::from_ref(step));
}

/// Of the distribution a step is about.
fn worst_second(page: &mut Page, step: &Step) {
    let named = [
        ("transaction", "transaction"),
        ("end_to_end", "end to end"),
        ("ack", "ack"),
    ];
    let found = named
        .iter()
        .find_map(|(key, name)| Some((*name, step.latencies.get(*key)?.worst_second.as_ref()?)));
    if let Some((name, worst)) = found {
        page.field(
            name,
            &format!(
                "worst second: {}, p99.9 {}, p99 {}; p99.9 of the second in the middle {}",
                worst.second,
                time_us(worst.p999_us),
                time_us(worst.p99_us),
                time_us(worst.median_p999_us)
            ),
        );
    }
}

fn own_figures(page: &mut Page, step: &Step) {
    for figure in figures(step)
        .iter()
        .filter(|figure| step.figures.contains_key(&figure.key))
    {
        page.field(&figure.name, &with_unit(figure.value, figure.unit));
    }
}

fn errors(page: &mut Page, step: &Step) {
    let flows = [&step.produced, &step.consumed, &step.cold].into_iter().flatten();
    for (error, count) in flows.flat_map(|flow| &flow.errors) {
        page.line(
            Style::Warning,
            &format!("  errors     {} x {error}", whole(*count as f64)),
        );
    }
}

fn flows(page: &mut Page, step: &Step) {
    let named = [
        ("produced", &step.produced),
        ("consumed", &step.consumed),
        ("cold reads", &step.cold),
    ];
    for (name, flow) in named
        .iter()
        .filter_map(|(name, flow)| Some((*name, flow.as_ref()?)))
    {
        let asked = step.offered_per_s.filter(|_| name == "produced");
        let asked = asked.map_or(String::new(), |rate| format!(" of {} asked for", whole(rate)));
        let rate = whole(flow.records_per_s);
        let mib = digits3(flow.mib_per_s);
        page.field(
            name,
            &format!(
                "{rate} records/s{asked}, {mib} MiB/s, {} records",
                whole(flow.records as f64)
            ),
        );
    }
}

fn ledger_verdict(steps: &[Step]) -> String {
    let ledgers: Vec<&LedgerResult> = steps.iter().filter_map(|step| step.ledger.as_ref()).collect();
    let Some(first) = ledgers.first() else {
        return "nothing was written".to_owned();
    };
    if let Some(failed) = ledgers.iter().find(|ledger| ledger.checked && !ledger.passed) {
        return format!("FAILED: {}", ledger_counts(failed));
    }
    if let Some(unchecked) = ledgers.iter().find(|ledger| !ledger.checked) {
        let why = unchecked
            .notes
            .first()
            .map_or(String::new(), |note| format!(": {note}"));
        return format!("not checked{why}");
    }
    if let Some(other) = ledgers.iter().find(|ledger| !ledger.held.is_empty()) {
        return format!("passed: {}", plain(&other.held));
    }
    let sum = |of: fn(&LedgerResult) -> u64| whole(ledgers.iter().map(|ledger| of(ledger) as f64).sum());
    let extra = match first.unacknowledged_found {
        0 => String::new(),
        found => format!(
            "; {} found without an acknowledgement, which is allowed",
            whole(found as f64)
        ),
    };
    let (acknowledged, verified) = (sum(|l| l.acknowledged), sum(|l| l.verified));
    if ledgers.iter().any(|ledger| ledger.lost > 0) {
        // only without acknowledgements does a ledger pass with something missing
        return format!(
            "passed: {verified} of {acknowledged} records sent were read back, and acks=0 promises none{extra}"
        );
    }
    format!("passed: all {acknowledged} acknowledged records read back, once, in order, as sent{extra}")
}

/// What a broker told of its inside.
fn inside(page: &mut Page, step: &Step) {
    let Some(inside) = &step.inside else { return };
    for (name, request, record) in per_request(step) {
        let record = record.map_or(String::new(), |record| format!(", {} a record", digits3(record)));
        page.field(
            "inside",
            &format!("{} {name} a request{record}", digits3(request)),
        );
    }
    let busy = inside.cores.iter().filter(|core| core.seconds > 0.0);
    let busy: Vec<String> = busy
        .map(|core| {
            format!(
                "core {} {:.0} % busy",
                core.core,
                core.cpu_s / core.seconds * 100.0
            )
        })
        .collect();
    page.field("inside", &busy.join(", "));
    page.line(Style::Plain, "  stages of the broker:");
    page.table(&stage_table(&inside.stages));
}

fn process(used: &ProcessUse) -> String {
    let per_gib = used
        .cpu_s_per_gib
        .map_or(String::new(), |value| format!("{} CPU-s/GiB, ", digits3(value)));
    format!(
        "{per_gib}user {} s, system {} s, {} resident, {} context switches, {} written to disk",
        digits3(used.user_s),
        digits3(used.system_s),
        bytes(used.rss_bytes),
        whole(used.context_switches as f64),
        bytes(used.disk_write_bytes)
    )
}

fn machine_use(used: &MachineUse) -> String {
    let each = [
        used.cpu_s_per_gib
            .map(|value| format!("{} CPU-s/GiB", digits3(value))),
        used.us_per_request
            .map(|value| format!("{} a request", time_us(value))),
        Some(format!("{} s", digits3(used.less_client_s))),
    ];
    let each: Vec<_> = each.into_iter().flatten().collect();
    format!("{} on the whole machine less the client", each.join(", "))
}

fn schedule(page: &mut Page, step: &Step) {
    let Some(schedule) = step.schedule.as_ref().filter(|schedule| schedule.intended > 0) else {
        return;
    };
    let share = |count: u64| format!("{:.2} %", count as f64 * 100.0 / schedule.intended as f64);
    page.field(
        "schedule",
        &format!(
            "sent late because of the broker {}, of the client {}; {} unsent, {} unanswered",
            share(schedule.late_by_broker),
            share(schedule.late_by_client),
            whole(schedule.unsent as f64),
            whole(schedule.unanswered as f64)
        ),
    );
}

fn events(page: &mut Page, steps: &[Step]) {
    const SHOWN: usize = 8;
    let all = steps
        .iter()
        .flat_map(|step| step.events.iter().map(move |event| (step, event)));
    for (step, event) in all.clone().take(SHOWN) {
        let place = if steps.len() > 1 {
            format!("{}, ", step.label)
        } else {
            String::new()
        };
        page.field("event", &format!("{place}at {:.1} s: {}", event.at_s, event.what));
    }
    let more = all.count().saturating_sub(SHOWN);
    if more > 0 {
        page.field("event", &format!("and {more} more"));
    }
}

fn ratios(page: &mut Page, report: &Report) {
    let ([a, b], false) = (&report.sides[..], report.ratios.is_empty()) else {
        return;
    };
    page.line(Style::Heading, &format!("A is {}, B is {}", a.name, b.name));
    match report.ratios.iter().all(|row| row.step.is_empty()) {
        true => page.table(&ratio_table(report)),
        false => page.table(&ratio_step_table(report)),
    }
    page.gap();
}

fn disk(page: &mut Page, report: &Report) {
    if let Some(disk) = &report.disk {
        page.field(
            "disk",
            &format!("{} on {} ({})", disk.directory, disk.device, disk.filesystem),
        );
    }
}

fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let mut parts = vec![
        machine.cpu.clone(),
        format!("{} cores", machine.cores),
        bytes(machine.memory_bytes),
    ];
    parts.push(format!("Linux {}", machine.kernel));
    if machine.virtual_machine {
        parts.push("virtual machine".to_owned());
    }
    if !machine.governor.is_empty() {
        parts.push(format!("governor {}", machine.governor));
    }
    plain(&parts.join(", "))
}

#[cfg(test)]
mod tests;
