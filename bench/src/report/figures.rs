//! Every single figure of a step, named once: the rows of the A/B table and of `compare`, and what `--fail` can ask for.

use super::model::{Flow, Latency, MachineUse, ProcessUse, Step};

/// One figure of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What `--fail` calls it: `ack.p99.9`, `records_per_s`, `rss`.
    pub key: String,
    /// What tables call it: `ack p99.9`, `records/s`, `broker memory`.
    pub name: String,
    /// Unit of `value`: `us`, `/s`, `MiB/s`, `CPU-s/GiB`, `MiB`, or nothing.
    pub unit: &'static str,
    /// Whether less is better.
    pub lower_is_better: bool,
    /// The figure.
    pub value: f64,
}

/// Distributions whose figures are compared; the uncorrected `ack_service` is only drawn.
const DISTRIBUTIONS: [(&str, &str); 7] = [
    ("transaction", "transaction"),
    ("end_txn", "EndTxn"),
    ("add_partitions", "AddPartitionsToTxn"),
    ("ack", "ack"),
    ("end_to_end", "end to end"),
    ("fetch", "fetch"),
    ("lookup", "time lookup"),
];

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

/// The figures a step has, in the order of tables; what was not measured is left out.
pub fn figures(step: &Step) -> Vec<Figure> {
    let mut all = Vec::new();
    for (prefix, flow) in flows(step) {
        push_flow(&mut all, prefix, flow);
    }
    for (key, name) in DISTRIBUTIONS {
        if let Some(latency) = step.latencies.get(key) {
            push_latency(&mut all, key, name, latency);
        }
    }
    push_processes(&mut all, step);
    for (key, &value) in &step.figures {
        let (name, unit) = split_unit(key);
        let lower_is_better = !key.ends_with("_per_s");
        all.push(Figure {
            key: key.clone(),
            name,
            unit,
            lower_is_better,
            value,
        });
    }
    all.retain(|figure| figure.value.is_finite());
    all
}

/// The flow a step is about: what was produced, else consumed.
pub fn main_flow(step: &Step) -> Option<&Flow> {
    step.produced.as_ref().or(step.consumed.as_ref())
}

/// Whether a distribution has enough values to tell a quantile from its maximum.
pub fn is_meaningful(count: u64, quantile: f64) -> bool {
    count as f64 * (1.0 - quantile) >= 1.0 - 1e-6
}

/// The named quantiles with the values a distribution is long enough for, and the maximum.
pub fn quantiles(latency: &Latency) -> impl Iterator<Item = (&'static str, f64)> {
    let count = latency.count;
    let named = [
        ("p50", 0.5, latency.p50_us),
        ("p90", 0.9, latency.p90_us),
        ("p99", 0.99, latency.p99_us),
        ("p99.9", 0.999, latency.p999_us),
        ("p99.99", 0.9999, latency.p9999_us),
        ("max", 0.0, latency.max_us),
    ];
    named
        .into_iter()
        .filter(move |named| is_meaningful(count, named.1))
        .map(|named| (named.0, named.2))
}

/// Processor seconds of the machine less the client over what `flow` got through meanwhile.
pub fn machine_use(less_client_s: f64, flow: Option<&Flow>) -> MachineUse {
    let per = |count: f64| (count > 0.0).then(|| less_client_s / count);
    MachineUse {
        less_client_s,
        cpu_s_per_gib: flow.and_then(|flow| per(flow.bytes as f64 / GIB)),
        us_per_request: flow.and_then(|flow| per(flow.requests as f64 / 1e6)),
    }
}

/// Processor seconds of a process over a number of bytes, in GiB.
pub fn cpu_s_per_gib(process: &ProcessUse, bytes: u64) -> Option<f64> {
    (bytes > 0).then(|| (process.user_s + process.system_s) / (bytes as f64 / GIB))
}

fn flows(step: &Step) -> impl Iterator<Item = (&'static str, &Flow)> {
    let both = step.produced.is_some() && step.consumed.is_some();
    let named = [
        ("", step.produced.as_ref()),
        (if both { "consumed" } else { "" }, step.consumed.as_ref()),
        ("cold", step.cold.as_ref()),
    ];
    named
        .into_iter()
        .filter_map(|(prefix, flow)| Some((prefix, flow?)))
}

fn push_flow(all: &mut Vec<Figure>, prefix: &str, flow: &Flow) {
    let (key, name) = match prefix {
        "" => (String::new(), String::new()),
        _ => (format!("{prefix}."), format!("{prefix} ")),
    };
    let figure = |what: &str, shown: &str, unit, value| Figure {
        key: format!("{key}{what}"),
        name: format!("{name}{shown}"),
        unit,
        lower_is_better: false,
        value,
    };
    all.push(figure("records_per_s", "records", "/s", flow.records_per_s));
    all.push(figure("mib_per_s", "data", "MiB/s", flow.mib_per_s));
}

fn push_latency(all: &mut Vec<Figure>, key: &str, name: &str, latency: &Latency) {
    all.extend(quantiles(latency).map(|(quantile, value)| Figure {
        key: format!("{key}.{quantile}"),
        name: format!("{name} {quantile}"),
        unit: "us",
        lower_is_better: true,
        value,
    }));
}

fn push_processes(all: &mut Vec<Figure>, step: &Step) {
    let mut push = |key: &str, name: &str, unit, value: Option<f64>| {
        let Some(value) = value else { return };
        all.push(Figure {
            key: key.to_owned(),
            name: name.to_owned(),
            unit,
            lower_is_better: true,
            value,
        });
    };
    let (records, bytes) = main_flow(step).map_or((0, 0), |flow| (flow.records, flow.bytes));
    let over = |value: u64, total: f64| (total > 0.0).then(|| value as f64 / total);
    if let Some(broker) = &step.broker {
        push("cpu_s_per_gib", "broker CPU", "CPU-s/GiB", broker.cpu_s_per_gib);
        let requests = main_flow(step).map_or(0, |flow| flow.requests);
        let busy_us = (broker.user_s + broker.system_s) * 1e6;
        let per_request = (requests > 0).then(|| busy_us / requests as f64);
        push("cpu_us_per_request", "broker CPU per request", "us", per_request);
        push("rss", "broker memory", "MiB", Some(broker.rss_bytes as f64 / MIB));
        let switches = over(broker.context_switches, records as f64 / 1e3);
        push(
            "context_switches",
            "context switches per 1,000 records",
            "",
            switches,
        );
        if step.produced.is_some() {
            let written = over(broker.disk_write_bytes, bytes as f64);
            push(
                "disk_write_bytes",
                "disk bytes written per byte of records",
                "",
                written,
            );
        }
    }
    if let Some(machine) = &step.machine {
        let name = "machine CPU less client";
        push("machine.cpu_s_per_gib", name, "CPU-s/GiB", machine.cpu_s_per_gib);
        let name = "machine CPU less client per request";
        push("machine.us_per_request", name, "us", machine.us_per_request);
    }
    push(
        "client.cpu_s_per_gib",
        "client CPU",
        "CPU-s/GiB",
        step.client.cpu_s_per_gib,
    );
}

/// `create_topic_ms` -> `create topic` in `ms`.
fn split_unit(key: &str) -> (String, &'static str) {
    const UNITS: [(&str, &str); 6] = [
        ("_per_s", "/s"),
        ("_us", "us"),
        ("_ms", "ms"),
        ("_s", "s"),
        ("_bytes", "B"),
        ("_mib", "MiB"),
    ];
    let found = UNITS
        .into_iter()
        .find_map(|(end, unit)| Some((key.strip_suffix(end)?, unit)));
    let (name, unit) = found.unwrap_or((key, ""));
    (name.replace('_', " "), unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn keys(step: &Step) -> Vec<String> {
        figures(step).into_iter().map(|figure| figure.key).collect()
    }

    #[test]
    fn a_step_that_measured_nothing_has_no_figures() {
        assert!(figures(&Step::default()).is_empty());
    }

    #[test]
    fn keys_are_unique() {
        for (_, report) in sample::all() {
            let mut keys = keys(&report.sides[0].runs[0].steps[0]);
            let count = keys.len();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), count);
        }
    }

    #[test]
    fn consumed_records_are_the_main_flow_where_nothing_is_produced() {
        let flow = Flow {
            records: 10,
            records_per_s: 5.0,
            ..Flow::default()
        };
        let consume = Step {
            consumed: Some(flow.clone()),
            ..Step::default()
        };
        assert_eq!(keys(&consume), ["records_per_s", "mib_per_s"]);
        let tail = Step {
            produced: Some(flow),
            ..consume
        };
        assert_eq!(keys(&tail)[2..], ["consumed.records_per_s", "consumed.mib_per_s"]);
    }

    #[test]
    fn a_quantile_needs_its_count() {
        let names = |count| {
            quantiles(&Latency {
                count,
                ..Latency::default()
            })
            .map(|q| q.0)
            .collect::<Vec<_>>()
        };
        assert_eq!(names(999), ["p50", "p90", "p99", "max"]);
        assert_eq!(names(10_000), ["p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    }

    #[test]
    fn the_unit_leaves_the_name() {
        assert_eq!(split_unit("create_topic_ms"), ("create topic".to_owned(), "ms"));
        assert_eq!(split_unit("ready"), ("ready".to_owned(), ""));
        assert_eq!(split_unit("replayed_per_s"), ("replayed".to_owned(), "/s"));
    }
}
