//! Files: what cannot be written is said before the load, what is written can be read, and what is no report is refused.

mod common;

use std::path::Path;
use std::time::Instant;

use common::{Ended, against, arguments, broker, directory, file, one_sentence, tool};
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use ringlog_bench::report::write_json;

#[test]
fn a_report_that_cannot_be_written() {
    let broker = broker(None);
    let before = broker.counts().records;
    let folder = directory();
    for flag in ["json", "html", "hlog"] {
        let path = folder.path().join("nowhere").join("report");
        let line = format!(
            "produce --rate 1000 --seconds 0.2 --warmup-seconds 0 --pid none --dir {} --bootstrap {} --{flag} {}",
            folder.path().display(),
            broker.address(),
            path.display()
        );
        let output = tool(&line).output().expect("the tool starts");
        let ended = Ended::new(output, &path, Instant::now());
        one_sentence(&ended, 1, &path.display().to_string());
    }
    assert_eq!(broker.counts().records, before, "said before the load, not after");
}

fn compare(base: &Path, new: &Path, rules: &str) -> Ended {
    let begun = Instant::now();
    let line = format!("compare {} {} {rules}", base.display(), new.display());
    let output = tool(&line).output().expect("the tool starts");
    Ended::new(output, Path::new("/nonexistent"), begun)
}

#[test]
fn reports_that_are_none() {
    let broker = broker(None);
    let folder = directory();
    let good = folder.path().join("good.json");
    let line = format!(
        "produce --rate 2000 --record-bytes 100 --seconds 0.5 --warmup-seconds 0 --bootstrap {}{}",
        broker.address(),
        arguments(folder.path(), &good)
    );
    assert!(tool(&line).status().expect("the tool starts").success());
    let text = std::fs::read_to_string(&good).expect("a report");
    let bad = [
        folder.path().join("missing.json"),
        folder.path().to_path_buf(),
        file(&folder, "empty.json", ""),
        file(&folder, "cut.json", &text[..text.len() / 2]),
        file(&folder, "foreign.json", "{\"benchmark\": 1}"),
        file(&folder, "array.json", "[1, 2]"),
        file(&folder, "text.json", "no report at all"),
        file(
            &folder,
            "newer.json",
            &text.replace("ringlog-bench/1", "ringlog-bench/9"),
        ),
    ];
    for path in &bad {
        for (base, new) in [(path, &good), (&good, path)] {
            one_sentence(
                &compare(base, new, "--fail p99>5%"),
                1,
                &path.display().to_string(),
            );
        }
    }
    for rule in ["p99", "p99>5", "p99=5%", ">5%", "p99>-5%", "p99>NaN%"] {
        let ended = compare(&good, &good, &format!("--fail {rule}"));
        assert_eq!(ended.code, Some(2), "{rule}: {ended}");
    }
    one_sentence(
        &compare(&good, &good, "--fail p99.x>5%"),
        2,
        "neither report has the figure \"p99.x\"",
    );
    for rule in ["p99>0%", "records_per_s<0%", "ack.p99.9>100%"] {
        let ended = compare(&good, &good, &format!("--fail {rule}"));
        assert_eq!(ended.code, Some(0), "{rule}: {ended}");
    }
}

#[test]
fn a_rule_that_fails() {
    let broker = broker(None);
    let base = against(&broker, "produce --rate 1000 --seconds 0.3");
    let mut new = base.passed().report().clone();
    let produced = new.sides[0].runs[0].steps[0].produced.as_mut().expect("a flow");
    produced.records_per_s *= 0.75;
    let folder = directory();
    let [base_json, new_json] = ["base.json", "new.json"].map(|name| folder.path().join(name));
    write_json(&base_json, base.report()).expect("written");
    write_json(&new_json, &new).expect("written");
    let ended = compare(&base_json, &new_json, "--fail records_per_s<20%");
    assert!(
        ended.code == Some(1) && ended.stdout.contains("records_per_s<20%"),
        "{ended}"
    );
    let both = "--fail p99>5% --fail records_per_s<20%";
    assert_eq!(compare(&base_json, &new_json, both).code, Some(1));
    assert_eq!(
        compare(&base_json, &new_json, "--fail records_per_s<30%").code,
        Some(0)
    );
    assert_eq!(compare(&base_json, &new_json, "").code, Some(0));
}

#[test]
fn the_hlog_holds_what_the_report_holds() {
    let broker = broker(None);
    let folder = directory();
    let hlog = folder.path().join("run.hlog");
    let line = format!("tail --rate 2000 --seconds 1.2 --hlog {}", hlog.display());
    let ended = against(&broker, &line);
    let bytes = std::fs::read(&hlog).expect("a log");
    let mut counts = std::collections::BTreeMap::<String, (u64, u64)>::new();
    let mut last_s = 0.0;
    for entry in IntervalLogIterator::new(&bytes) {
        let LogEntry::Interval(interval) = entry.expect("an entry") else {
            continue;
        };
        let encoded = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            interval.encoded_histogram(),
        );
        let histogram: hdrhistogram::Histogram<u64> = Deserializer::new()
            .deserialize(&mut &encoded.expect("base64")[..])
            .expect("a histogram");
        let tag = interval.tag().expect("a tag").as_str().to_owned();
        let (count, max) = counts.entry(tag).or_default();
        *count += histogram.len();
        *max = (*max).max(histogram.max());
        let start_s = interval.start_timestamp().as_secs_f64();
        assert!(
            start_s >= last_s && start_s < ended.took.as_secs_f64(),
            "{start_s}"
        );
        last_s = start_s;
    }
    let step = ended.passed().step();
    for (name, latency) in &step.latencies {
        let found = counts.remove(&format!("2_000_s.{name}"));
        let expected = Some((latency.count, (latency.max_us * 1e3).round() as u64));
        assert_eq!(found, expected, "{name}: {ended}");
    }
    // and nothing else, but for the reading back
    assert!(counts.keys().all(|tag| tag.starts_with("reading")), "{counts:?}");
}
