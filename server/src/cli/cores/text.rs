//! The cores as tables.

use super::difference::{Difference, Stage};
use crate::cli::error::CliResult;
use crate::cli::output::Output;
use crate::cli::table::{Align, lines};

const MIB: f64 = (1u64 << 20) as f64;

/// A row a core, then each core's stages and busiest partitions.
pub(super) fn print(out: &mut Output, cores: &[Difference]) -> CliResult<()> {
    table(out, &overview(cores))?;
    for core in cores {
        let stages = stages(core);
        if stages.len() > 1 {
            out.text_line("")?;
            table(out, &stages)?;
        }
    }
    let partitions = partitions(cores);
    if partitions.len() > 1 {
        out.text_line("")?;
        table(out, &partitions)?;
    }
    out.text_line("")
}

fn table(out: &mut Output, rows: &[Vec<String>]) -> CliResult<()> {
    let aligns = [Align::Left, Align::Right];
    lines(&aligns, rows)
        .iter()
        .try_for_each(|line| out.text_line(line))
}

fn overview(cores: &[Difference]) -> Vec<Vec<String>> {
    let heading = [
        "core",
        "busy",
        "connections",
        "partitions",
        "requests/s",
        "MiB/s in",
        "MiB/s out",
        "commits/s",
        "enters/request",
        "operations/request",
    ];
    let ratio = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let row = |core: &Difference| {
        vec![
            core.core.to_string(),
            format!("{:.0} %", core.busy * 100.0),
            core.connections.to_string(),
            core.partitions.to_string(),
            format!("{:.0}", core.rate("requests")),
            format!("{:.1}", core.rate("appended_bytes") / MIB),
            format!("{:.1}", core.rate("read_bytes") / MIB),
            format!("{:.0}", core.rate("journal_commits")),
            ratio(core.per_request("enters")),
            ratio(core.per_request("submissions")),
        ]
    };
    with_heading(&heading, cores.iter().map(row))
}

fn stages(core: &Difference) -> Vec<Vec<String>> {
    let title = format!("core {}", core.core);
    let heading = [title.as_str(), "count", "mean", "p50", "p99", "p99.9", "max"];
    let row = |stage: &Stage| {
        let quantiles = [0.5, 0.99, 0.999, 1.0].map(|share| time(stage.quantile_us(share)));
        let mut row = vec![
            stage.name.clone(),
            stage.count().to_string(),
            time(stage.mean_us()),
        ];
        row.extend(quantiles);
        row
    };
    let seen = core.stages.iter().filter(|stage| stage.count() > 0);
    with_heading(&heading, seen.map(row))
}

fn partitions(cores: &[Difference]) -> Vec<Vec<String>> {
    let heading = [
        "busiest partitions",
        "core",
        "batches/s in",
        "MiB/s in",
        "MiB/s out",
        "log end",
        "MiB on disk",
    ];
    let rows = cores.iter().flat_map(|core| {
        core.busiest.iter().map(|one| {
            vec![
                format!("{}-{}", one.topic, one.index),
                core.core.to_string(),
                format!("{:.0}", one.batches_in_per_s),
                format!("{:.1}", one.bytes_in_per_s / MIB),
                format!("{:.1}", one.bytes_out_per_s / MIB),
                one.log_end.to_string(),
                format!("{:.1}", one.size_bytes as f64 / MIB),
            ]
        })
    });
    with_heading(&heading, rows)
}

fn with_heading(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    let heading = heading.iter().map(|&name| name.to_owned()).collect();
    std::iter::once(heading).chain(rows).collect()
}

/// Three digits and a unit.
fn time(us: f64) -> String {
    match us {
        ..10.0 => format!("{us:.2} us"),
        ..100.0 => format!("{us:.1} us"),
        ..1_000.0 => format!("{us:.0} us"),
        ..10_000.0 => format!("{:.2} ms", us / 1e3),
        ..100_000.0 => format!("{:.1} ms", us / 1e3),
        ..1_000_000.0 => format!("{:.0} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let cases = [
            (0.0, "0.00 us"),
            (9.5, "9.50 us"),
            (64.0, "64.0 us"),
            (999.0, "999 us"),
            (1_500.0, "1.50 ms"),
            (64_000.0, "64.0 ms"),
            (640_000.0, "640 ms"),
            (17e6, "17.00 s"),
        ];
        for (us, text) in cases {
            assert_eq!(time(us), text);
        }
    }
}
