//! The report as one HTML file that needs no network: page, style and script with the report's JSON inside.
//!
//! The script builds everything with text nodes, so names from brokers are never markup; the JSON itself cannot end its
//! element because every `<`, `>` and `&` in it is written as an escape.

use serde::Serialize;

use super::model::{Report, Step};
use super::text::summary;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
/// Put together in this order inside one function.
const SCRIPTS: [&str; 10] = [
    include_str!("page/format.js"),
    include_str!("page/dom.js"),
    include_str!("page/chart.js"),
    include_str!("page/distribution.js"),
    include_str!("page/heat.js"),
    include_str!("page/time.js"),
    include_str!("page/steps.js"),
    include_str!("page/facts.js"),
    include_str!("page/stages.js"),
    include_str!("page/main.js"),
];

/// What the script reads.
#[derive(Serialize)]
struct Embedded<'a> {
    report: &'a Report,
    /// One list of steps a side: its rounds merged.
    merged: Vec<Vec<Step>>,
}

/// The whole page.
pub fn render(report: &Report) -> String {
    let fill = |name: &str| match name {
        "title" => escape(&title(report)),
        "style" => STYLE.to_owned(),
        "summary" => escape(&summary(report, false)),
        "data" => embed(report),
        _ => SCRIPTS.concat(),
    };
    let mut parts = PAGE.split("{{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        out.push_str(&fill(name));
        out.push_str(rest);
    }
    out
}

fn title(report: &Report) -> String {
    let names: Vec<_> = report.sides.iter().map(|side| side.name.as_str()).collect();
    format!("{}: {}", names.join(" and "), report.scenario)
}

/// JSON for a script element. Histograms stay out, and curves and heat maps are in the merged steps only.
fn embed(report: &Report) -> String {
    let mut small = report.clone();
    let mut merged: Vec<Vec<Step>> = Vec::new();
    for side in &report.sides {
        let steps = super::merged::merged(side).unwrap_or_else(|error| {
            small.warnings.push(format!("{}: {error}", side.name));
            Vec::new()
        });
        merged.push(steps);
    }
    let rounds = small
        .sides
        .iter_mut()
        .flat_map(|side| &mut side.runs)
        .flat_map(|run| &mut run.steps);
    for step in rounds {
        step.inside = None;
        for latency in step.latencies.values_mut() {
            latency.histogram.clear();
            latency.curve.clear();
            latency.heat = Default::default();
        }
    }
    for step in merged.iter_mut().flatten() {
        step.latencies
            .values_mut()
            .for_each(|latency| latency.histogram.clear());
        let stages = step.inside.iter_mut().flat_map(|inside| &mut inside.stages);
        stages.for_each(|stage| stage.buckets.clear());
    }
    let json = serde_json::to_string(&Embedded {
        report: &small,
        merged,
    });
    let json = json.expect("a report has string keys only");
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn hostile_names_are_text() {
        let html = render(&sample::failed());
        assert_eq!(html.matches("<script").count(), 2);
        assert_eq!(html.matches("</script>").count(), 2);
        assert!(!html.contains("<img") && !html.contains("<!--"));
        assert!(html.contains("\\u003c/script\\u003e\\u003cimg"));
        assert_eq!(html.matches("\"use strict\"").count(), 1);
        assert!(html.contains("\\u003c!--\\u001b[2J{{script}}"));
    }

    #[test]
    fn the_script_never_makes_markup_from_text_and_nothing_is_loaded() {
        for script in SCRIPTS {
            for way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "fetch(",
            ] {
                assert!(!script.contains(way), "{way}");
            }
        }
        let html = render(&sample::produce());
        for way in ["src=", "href=\"http", "url(", "@import"] {
            assert!(!html.contains(way), "{way}");
        }
    }

    #[test]
    fn the_data_are_the_report_without_its_histograms() {
        for (name, report) in sample::all() {
            let data = embed(&report);
            let value: serde_json::Value = serde_json::from_str(&data).expect("JSON");
            assert_eq!(value["report"]["scenario"], report.scenario.as_str());
            assert_eq!(value["merged"].as_array().map(Vec::len), Some(report.sides.len()));
            assert!(!data.contains("\"buckets\":[["), "{name}");
            let first = &report.sides[0].runs[0].steps[0].latencies;
            assert!(
                first.values().all(|latency| !data.contains(&latency.histogram)),
                "{name}"
            );
        }
    }

    #[test]
    fn a_side_that_cannot_be_merged_is_a_warning() {
        let mut report = sample::versus();
        report.sides[1].runs[0].steps[0]
            .latencies
            .values_mut()
            .for_each(|latency| latency.histogram.clear());
        assert!(embed(&report).contains("ringlog: a distribution's histogram is damaged"));
    }

    #[test]
    fn the_page_itself_is_small() {
        let assets = PAGE.len() + STYLE.len() + SCRIPTS.concat().len();
        assert!(assets < 60_000, "{assets} bytes");
    }

    /// Set `RINGLOG_BENCH_SAMPLES` to a folder to keep the pages and look at them.
    #[test]
    fn every_sample_becomes_a_page() {
        let temporary = tempfile::tempdir().expect("a folder");
        let kept = std::env::var_os("RINGLOG_BENCH_SAMPLES").map(std::path::PathBuf::from);
        let dir = kept.as_deref().unwrap_or(temporary.path());
        for (name, report) in sample::all() {
            let path = dir.join(format!("{name}.html"));
            crate::report::write_html(&path, &report).expect("written");
            crate::report::write_json(&dir.join(format!("{name}.json")), &report).expect("written");
            assert!(
                std::fs::read_to_string(&path)
                    .expect("read")
                    .ends_with("</html>\n")
            );
        }
    }
}
