//! The tables of the summary: percentiles of one load, a row a load, B against A.

use crate::report::figures::{Figure, figures, main_flow, quantiles};
use crate::report::model::{Ratio, Report, Spread, StageTime, Step};
use crate::report::table::Table;
use crate::report::units::{bytes, digits3, time_us, whole, with_unit};

/// Distributions in the order they are shown, with their names.
const DISTRIBUTIONS: [(&str, &str); 8] = [
    ("transaction", "transaction"),
    ("end_txn", "EndTxn"),
    ("add_partitions", "AddPartitionsToTxn"),
    ("ack", "ack"),
    ("end_to_end", "end to end"),
    ("fetch", "fetch"),
    ("lookup", "time lookup"),
    ("ack_service", "ack, uncorrected"),
];

/// Percentiles a row a distribution, then the disk's own.
pub(super) fn latency_table(report: &Report, step: &Step) -> Table {
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
            if floor.count == 0 {
                continue;
            }
            let (p50, p99) = (time_us(floor.p50_us), time_us(floor.p99_us));
            table.row(vec![name.to_owned(), p50, String::new(), p99]);
        }
    }
    table
}

/// A row a stage of the broker's that happened.
pub(super) fn stage_table(stages: &[StageTime]) -> Table {
    let mut table = Table::new(["", "count", "mean", "p50", "p99", "p99.9", "max"]);
    for stage in stages.iter().filter(|stage| stage.count > 0) {
        let times = [
            stage.mean_us,
            stage.p50_us,
            stage.p99_us,
            stage.p999_us,
            stage.max_us,
        ]
        .map(time_us);
        let mut cells = vec![stage.name.replace('_', " "), whole(stage.count as f64)];
        cells.extend(times);
        table.row(cells);
    }
    table
}

/// A row a load.
pub(super) fn step_table(steps: &[Step]) -> Table {
    let distribution = main_distribution(steps);
    let name = distribution.map_or("", |distribution| distribution.1);
    let quantile_names = ["p50", "p99", "p99.9", "max"];
    let mut table = Table::new(["step", "records/s", "MiB/s"]);
    table.extend_heading(&quantile_names.map(|quantile| format!("{name} {quantile}")));
    table.extend_heading(&["CPU-s/GiB", "machine", "memory"].map(str::to_owned));
    let own = own_figures(steps);
    table.extend_heading(&own.iter().map(|figure| figure.name.clone()).collect::<Vec<_>>());
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
        let machine = step.machine.as_ref().and_then(|machine| machine.cpu_s_per_gib);
        cells.push(machine.map_or(String::new(), digits3));
        cells.push(broker.map_or(String::new(), |broker| bytes(broker.rss_bytes)));
        cells.extend(own.iter().map(|figure| {
            step.figures
                .get(&figure.key)
                .map_or(String::new(), |&value| with_unit(value, figure.unit))
        }));
        table.row(cells);
    }
    table
}

/// What the table of steps shows: transactions, else end to end, where there are such.
fn main_distribution(steps: &[Step]) -> Option<(&'static str, &'static str)> {
    let has = |name| {
        steps
            .iter()
            .filter_map(|step| step.latencies.get(name))
            .any(|latency| latency.count > 0)
    };
    [
        DISTRIBUTIONS[0],
        DISTRIBUTIONS[4],
        DISTRIBUTIONS[3],
        DISTRIBUTIONS[5],
    ]
    .into_iter()
    .find(|distribution| has(distribution.0))
}

/// The scenario's own figures of all steps, each once.
fn own_figures(steps: &[Step]) -> Vec<Figure> {
    let mut own: Vec<Figure> = Vec::new();
    for step in steps {
        let of_step = figures(step)
            .into_iter()
            .filter(|figure| step.figures.contains_key(&figure.key));
        for figure in of_step {
            if !own.iter().any(|other| other.key == figure.key) {
                own.push(figure);
            }
        }
    }
    own
}

/// B against A where there is one step: a row a figure.
pub(super) fn ratio_table(report: &Report) -> Table {
    let mut table = Table::new(["", "A", "B", "B/A", "", ""]);
    report.ratios.iter().for_each(|row| table.row(ratio_cells(row)));
    table
}

fn ratio_cells(row: &Ratio) -> Vec<String> {
    let one_round = row.ratio.min == row.ratio.max;
    let word = match row.ratio.median {
        ratio if (0.99..=1.01).contains(&ratio) => "same",
        _ if one_round => "one round",
        _ if row.ratio.min < 1.0 && row.ratio.max > 1.0 => "not told apart",
        ratio if (ratio < 1.0) == row.lower_is_better => "B better",
        _ => "A better",
    };
    let (a, b) = (
        with_unit(row.a.median, &row.unit),
        with_unit(row.b.median, &row.unit),
    );
    vec![
        row.figure.clone(),
        a,
        b,
        times(row.ratio.median),
        range(row.ratio),
        word.to_owned(),
    ]
}

/// B over A where there are several: a row a step, a column a figure that matters most.
pub(super) fn ratio_step_table(report: &Report) -> Table {
    let figures = main_ratios(report);
    let mut table = Table::new(["B/A"]);
    table.extend_heading(&figures);
    let mut labels: Vec<&str> = report.ratios.iter().map(|row| row.step.as_str()).collect();
    labels.dedup();
    for label in labels {
        let cell = |figure: &String| {
            let mut rows = report.ratios.iter();
            let row = rows.find(|row| row.step == label && row.figure == *figure);
            row.map_or(String::new(), |row| times(row.ratio.median))
        };
        table.row(
            std::iter::once(label.to_owned())
                .chain(figures.iter().map(cell))
                .collect(),
        );
    }
    table
}

/// Rates, the main distribution's quantiles, the broker's processor time and the scenario's own figures.
fn main_ratios(report: &Report) -> Vec<String> {
    let steps: Vec<Step> = report
        .sides
        .iter()
        .flat_map(|side| &side.runs)
        .flat_map(|run| run.steps.clone())
        .collect();
    let distribution = main_distribution(&steps).map_or("", |distribution| distribution.1);
    let quantiles = ["p50", "p99", "p99.9"].map(|quantile| format!("{distribution} {quantile}"));
    let own = own_figures(&steps).into_iter().map(|figure| figure.name);
    let wanted = std::iter::once("records".to_owned())
        .chain(quantiles)
        .chain(["broker CPU", "machine CPU less client"].map(str::to_owned))
        .chain(own);
    wanted
        .filter(|name| report.ratios.iter().any(|row| row.figure == *name))
        .collect()
}

fn times(ratio: f64) -> String {
    format!("{}x", digits3(ratio))
}

fn range(spread: Spread) -> String {
    let (min, max) = (times(spread.min), times(spread.max));
    if min == max {
        String::new()
    } else {
        format!("{min} .. {max}")
    }
}
