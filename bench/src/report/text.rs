//! The report as the terminal shows it at the end: one screen, aligned, a failed ledger first.

use super::figures::{Figure, figures, main_flow, quantiles};
use super::merged::merged;
use super::model::{LedgerResult, ProcessUse, Ratio, Report, Side, Spread, Step};
use super::table::Table;
use super::units::{bytes, digits3, plain, time_us, whole, with_unit};

mod page;

use page::{Page, Style};

/// Distributions in the order they are shown, with their names.
const DISTRIBUTIONS: [(&str, &str); 4] = [
    ("ack", "ack"),
    ("end_to_end", "end to end"),
    ("fetch", "fetch"),
    ("ack_service", "ack, uncorrected"),
];

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
            let Some(ledger) = step
                .ledger
                .as_ref()
                .filter(|ledger| ledger.checked && !ledger.passed)
            else {
                continue;
            };
            let place = format!("{}, round {}, {}", side.name, run.round, step.label);
            page.line(
                Style::Bad,
                &format!("LEDGER FAILED  {place}: {}", ledger_counts(ledger)),
            );
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
        events(page, steps.iter());
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

fn one_step(page: &mut Page, report: &Report, step: &Step) {
    flows(page, step);
    page.table(&latency_table(report, step));
    for figure in figures(step)
        .iter()
        .filter(|figure| step.figures.contains_key(&figure.key))
    {
        page.field(&figure.name, &with_unit(figure.value, figure.unit));
    }
    if let Some(broker) = &step.broker {
        page.field("broker", &process(broker));
    }
    page.field("client", &process(&step.client));
    schedule(page, step);
    events(page, std::iter::once(step));
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
        for (error, count) in &flow.errors {
            page.line(
                Style::Warning,
                &format!("{:13}{} x {error}", "", whole(*count as f64)),
            );
        }
    }
}

fn latency_table(report: &Report, step: &Step) -> Table {
    let mut table = Table::new(["", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    for (key, name) in DISTRIBUTIONS {
        let Some(latency) = step.latencies.get(key).filter(|latency| latency.count > 0) else {
            continue;
        };
        let found: Vec<_> = quantiles(latency).collect();
        let cell = |quantile: &str| {
            found
                .iter()
                .find(|q| q.0 == quantile)
                .map_or("-".to_owned(), |q| time_us(q.1))
        };
        let cells = ["p50", "p90", "p99", "p99.9", "p99.99", "max"].map(cell);
        table.row(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    if let (false, Some(disk)) = (table.is_empty(), &report.disk) {
        for (name, floor) in [
            ("disk, 4 KiB", &disk.write_4k),
            ("disk, 128 KiB", &disk.write_128k),
        ] {
            let (p50, p99) = (time_us(floor.p50_us), time_us(floor.p99_us));
            table.row(vec![name.to_owned(), p50, String::new(), p99]);
        }
    }
    table
}

fn step_table(steps: &[Step]) -> Table {
    let distribution = main_distribution(steps);
    let name = distribution.map_or("", |distribution| distribution.1);
    let quantile_names = ["p50", "p99", "p99.9", "max"];
    let mut table = Table::new(["step", "records/s", "MiB/s"]);
    table.extend_heading(&quantile_names.map(|quantile| format!("{name} {quantile}")));
    table.extend_heading(&["CPU-s/GiB", "memory"].map(str::to_owned));
    table.extend_heading(&own_figures(steps).map(|figure| figure.name).collect::<Vec<_>>());
    for step in steps {
        let mut cells = vec![step.label.clone()];
        let flow = main_flow(step);
        cells.push(flow.map_or(String::new(), |flow| whole(flow.records_per_s)));
        cells.push(flow.map_or(String::new(), |flow| digits3(flow.mib_per_s)));
        let latency = distribution.and_then(|distribution| step.latencies.get(distribution.0));
        let found: Vec<_> = latency.into_iter().flat_map(quantiles).collect();
        let quantile = |name| {
            found
                .iter()
                .find(|q| q.0 == name)
                .map_or(String::new(), |q| time_us(q.1))
        };
        cells.extend(quantile_names.map(quantile));
        let broker = step.broker.as_ref();
        cells.push(
            broker
                .and_then(|broker| broker.cpu_s_per_gib)
                .map_or(String::new(), digits3),
        );
        cells.push(broker.map_or(String::new(), |broker| bytes(broker.rss_bytes)));
        cells.extend(own_figures(steps).map(|figure| {
            step.figures
                .get(&figure.key)
                .map_or(String::new(), |&value| with_unit(value, figure.unit))
        }));
        table.row(cells);
    }
    table
}

/// What the table of steps shows: end to end where there is one.
fn main_distribution(steps: &[Step]) -> Option<(&'static str, &'static str)> {
    let has = |name| {
        steps
            .iter()
            .filter_map(|step| step.latencies.get(name))
            .any(|latency| latency.count > 0)
    };
    [DISTRIBUTIONS[1], DISTRIBUTIONS[0], DISTRIBUTIONS[2]]
        .into_iter()
        .find(|distribution| has(distribution.0))
}

/// The scenario's own figures, by those of the first step.
fn own_figures(steps: &[Step]) -> impl Iterator<Item = Figure> {
    let first = steps.first();
    let all = first.map(figures).unwrap_or_default().into_iter();
    all.filter(move |figure| first.is_some_and(|step| step.figures.contains_key(&figure.key)))
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
    let sum =
        |of: fn(&LedgerResult) -> u64| whole(ledgers.iter().map(|ledger| of(ledger)).sum::<u64>() as f64);
    let extra = match first.unacknowledged_found {
        0 => String::new(),
        found => format!(
            "; {} found without an acknowledgement, which is allowed",
            whole(found as f64)
        ),
    };
    format!(
        "passed: all {} acknowledged records read back, once, in order, as sent{extra}",
        sum(|l| l.acknowledged)
    )
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

fn events<'a>(page: &mut Page, steps: impl Iterator<Item = &'a Step>) {
    const SHOWN: usize = 8;
    let all: Vec<_> = steps.flat_map(|step| &step.events).collect();
    for event in all.iter().take(SHOWN) {
        page.field("event", &format!("at {:.1} s: {}", event.at_s, event.what));
    }
    if all.len() > SHOWN {
        page.field("event", &format!("and {} more", all.len() - SHOWN));
    }
}

fn ratios(page: &mut Page, report: &Report) {
    let ([a, b], false) = (&report.sides[..], report.ratios.is_empty()) else {
        return;
    };
    let mut step = None;
    for first in &report.ratios {
        if step.replace(&first.step) == Some(&first.step) {
            continue;
        }
        let of_step = if first.step.is_empty() {
            String::new()
        } else {
            format!("  {}", first.step)
        };
        page.line(
            Style::Heading,
            &format!("A is {}, B is {}{of_step}", a.name, b.name),
        );
        let mut table = Table::new(["", "A", "(range)", "B", "(range)", "B/A", "(range)", ""]);
        report
            .ratios
            .iter()
            .filter(|row| row.step == first.step)
            .for_each(|row| table.row(ratio_cells(row)));
        page.table(&table);
    }
    page.gap();
}

fn ratio_cells(row: &Ratio) -> Vec<String> {
    let range = |spread: Spread, show: &dyn Fn(f64) -> String| {
        let (min, max) = (show(spread.min), show(spread.max));
        if min == max {
            String::new()
        } else {
            format!("({min} .. {max})")
        }
    };
    let value = |value: f64| with_unit(value, &row.unit);
    let times = |value: f64| format!("{}x", digits3(value));
    let word = match row.ratio.median {
        ratio if (0.99..=1.01).contains(&ratio) => "same",
        ratio if (ratio < 1.0) == row.lower_is_better => "B better",
        _ => "A better",
    };
    vec![
        row.figure.clone(),
        value(row.a.median),
        range(row.a, &value),
        value(row.b.median),
        range(row.b, &value),
        times(row.ratio.median),
        range(row.ratio, &times),
        word.to_owned(),
    ]
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
