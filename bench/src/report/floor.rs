//! What the disk and the way to it allow: the floor of an acknowledgement from stable storage, one record at a time.

use super::model::{Report, Step};

/// One and a half of what the sink takes: the way there and back, and as much again by half for a broker that does something.
const SINKS: f64 = 1.5;

/// Notes `floor_us` on each step of the brokers where the report has what it is made of: the disk's own 4 KiB write, a sink, and one
/// producer with one request in flight.
pub fn fill(report: &mut Report) {
    let is_one = |flag| report.load.get(flag).is_some_and(|value| value == "1");
    let (true, true, Some(disk)) = (is_one("producers"), is_one("in-flight"), &report.disk) else {
        return;
    };
    let disk_us = disk.write_4k.p50_us;
    let p50_us = |step: &Step| step.latencies.get("ack").map(|ack| ack.p50_us);
    let sink = report.sides.iter().find(|side| side.name == "sink");
    let sinks: Vec<(String, f64)> = sink
        .into_iter()
        .flat_map(|side| &side.runs)
        .flat_map(|run| &run.steps)
        .filter_map(|step| Some((step.label.clone(), p50_us(step)?)))
        .collect();
    let brokers = report.sides.iter_mut().filter(|side| side.name != "sink");
    let steps = brokers
        .flat_map(|side| &mut side.runs)
        .flat_map(|run| &mut run.steps);
    for step in steps {
        let sink = sinks.iter().find(|(label, _)| *label == step.label);
        if let (Some((_, sink_us)), true) = (sink, disk_us > 0.0) {
            let floor_us = disk_us + SINKS * sink_us;
            step.figures.insert("floor_us".into(), floor_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_floor_is_the_disk_and_one_and_a_half_sinks() {
        let mut report = sample::produce();
        let mut sink = report.sides[0].clone();
        sink.name = "sink".into();
        if let Some(ack) = sink.runs[0].steps[0].latencies.get_mut("ack") {
            ack.p50_us = 60.0;
        }
        report.sides.insert(0, sink);
        fill(&mut report);
        assert!(
            report.sides[1].runs[0].steps[0].figures.is_empty(),
            "two producers"
        );
        for flag in ["producers", "in-flight"] {
            report.load.insert(flag.into(), "1".into());
        }
        fill(&mut report);
        assert_eq!(report.sides[1].runs[0].steps[0].figures["floor_us"], 41.0 + 90.0);
        assert!(report.sides[0].runs[0].steps[0].figures.is_empty());
        crate::report::ratios::fill(&mut report);
        let text = crate::report::text::summary(&report, false);
        assert!(text.contains("floor      131 us: the disk"), "{text}");
    }
}
