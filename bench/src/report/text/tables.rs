//! The tables of the summary: percentiles of one load, a row a load, B against A.

use crate::report::figures::{Figure, figures, main_flow, quantiles};
use crate::report::model::{Ratio, Report, Spread, Step};
use crate::report::table::Table;
use crate::report::units::{bytes, digits3, time_us, whole, with_unit};

/// Distributions in the order they are shown, with their names.
const DISTRIBUTIONS: [(&str, &str); 4] = [
    ("ack", "ack"),
    ("end_to_end", "end to end"),
    ("fetch", "fetch"),
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
            let (p50, p99) = (time_us(floor.p50_us), time_us(floor.p99_us));
            table.row(vec![name.to_owned(), p50, String::new(), p99]);
        }
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

/// B against A for one step.
pub(super) fn ratio_table(report: &Report, step: &str) -> Table {
    let mut table = Table::new(["", "A", "(range)", "B", "(range)", "B/A", "(range)", ""]);
    report
        .ratios
        .iter()
        .filter(|row| row.step == step)
        .for_each(|row| table.row(ratio_cells(row)));
    table
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
