//! Rules, and reports that get better, worse, or cannot be compared.

use super::*;
use crate::report::sample;

fn rule(text: &str) -> Rule {
    text.parse().expect(text)
}

/// `sample::produce` with its rate and broker's CPU multiplied.
fn changed(rate: f64, cpu: f64) -> Report {
    let mut report = sample::produce();
    let step = &mut report.sides[0].runs[0].steps[0];
    step.produced.as_mut().expect("a flow").records_per_s *= rate;
    let broker = step.broker.as_mut().expect("a broker");
    broker.cpu_s_per_gib = broker.cpu_s_per_gib.map(|value| value * cpu);
    report
}

#[test]
fn rules_are_read() {
    assert_eq!(
        rule("p99>5%"),
        Rule {
            key: "ack.p99".to_owned(),
            falls: false,
            percent: 5.0
        }
    );
    assert_eq!(
        rule(" end_to_end.p99.9 > 10.5 % ").to_string(),
        "end_to_end.p99.9>10.5%"
    );
    assert_eq!(
        rule("records_per_s<5%"),
        Rule {
            key: "records_per_s".to_owned(),
            falls: true,
            percent: 5.0
        }
    );
    for text in [
        "", "p99", "p99>5", ">5%", "p99>x%", "p99>-5%", "p99>NaN%", "p99=5%", "p 99>>5%", "<img>5%",
    ] {
        let error = text.parse::<Rule>().expect_err(text);
        assert!(
            matches!(&error, Error::Usage(what) if what.contains("records_per_s<5%")),
            "{error}"
        );
    }
}

#[test]
fn a_rule_fails_only_in_its_direction_and_beyond_its_limit() {
    let base = sample::produce();
    for (rate, cpu, text, passes) in [
        (1.0, 1.0, "p99>0%", true),
        (0.96, 1.0, "records_per_s<5%", true),
        (0.94, 1.0, "records_per_s<5%", false),
        (1.5, 1.0, "records_per_s<5%", true),
        (1.0, 1.04, "cpu_s_per_gib>5%", true),
        (1.0, 1.06, "cpu_s_per_gib>5%", false),
        (1.0, 0.5, "cpu_s_per_gib>5%", true),
        (1.0, 9.0, "rss>0%", true),
    ] {
        let found = compare(&base, &changed(rate, cpu), &[rule(text)]).expect("compared");
        assert_eq!(found.passed(), passes, "{rate} {cpu} {text}");
        assert_eq!(found.verdicts.len(), 1);
    }
}

#[test]
fn rounds_are_merged_and_sides_found_by_name() {
    let base = sample::versus();
    let mut new = sample::versus();
    new.sides.reverse();
    new.sides[0].runs.reverse();
    let found = compare(&base, &new, &[rule("p99.9>0.001%"), rule("end_to_end.max>0%")]).expect("compared");
    assert!(found.passed(), "{found}");
    assert_eq!(found.verdicts.len(), 4);
}

#[test]
fn sides_of_other_names_are_compared_by_position_with_a_warning() {
    let mut new = sample::produce();
    new.sides[0].name = "ringlog 2".to_owned();
    let found = compare(&sample::produce(), &new, &[]).expect("compared");
    assert!(
        found
            .warnings
            .iter()
            .any(|warning| warning.contains("by position")),
        "{found}"
    );
}

#[test]
fn a_failed_ledger_fails_whatever_the_figures() {
    let mut new = sample::produce();
    let ledger = new.sides[0].runs[0].steps[0].ledger.as_mut().expect("a ledger");
    (ledger.passed, ledger.lost) = (false, 3);
    let found = compare(&sample::produce(), &new, &[]).expect("compared");
    assert!(!found.passed());
    assert!(found.to_string().starts_with("LEDGER FAILED"), "{found}");
    assert!(found.to_string().contains("3 lost"), "{found}");
}

#[test]
fn what_cannot_be_compared_says_why() {
    let base = sample::produce();
    let other = Report {
        scenario: "tail".to_owned(),
        ..base.clone()
    };
    let old = Report {
        format: "ringlog-bench/0".to_owned(),
        ..base.clone()
    };
    let mut gone = base.clone();
    gone.sides[0].runs[0].steps[0].broker = None;
    for (new, text, expected) in [
        (&other, "p99>5%", "different scenarios"),
        (&old, "p99>5%", "different formats"),
        (&base, "fetch.p99>5%", "neither report has"),
        (&base, "p77>5%", "ack.p99"),
        (&gone, "rss>5%", "the new report does not have"),
    ] {
        let error = compare(&base, new, &[rule(text)])
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn other_loads_machines_and_kernels_are_warned_about() {
    let mut new = sample::produce();
    new.load.insert("acks".to_owned(), "1".to_owned());
    new.machine.kernel = "7.0".to_owned();
    new.machine.cores = 2;
    let found = compare(&sample::produce(), &new, &[]).expect("compared");
    for expected in ["--acks differs: all", "kernel differs", "machine differs"] {
        assert!(
            found.warnings.iter().any(|warning| warning.contains(expected)),
            "{expected}"
        );
    }
    assert!(compare(&new, &new, &[]).expect("compared").warnings.is_empty());
}

#[test]
fn the_text_has_rows_and_words() {
    let text = compare(
        &sample::produce(),
        &changed(0.5, 1.0),
        &[rule("records_per_s<5%")],
    )
    .expect("compared");
    let text = text.to_string();
    assert!(
        text.contains("-50.0 %") && text.contains("worse") && text.contains("FAILED"),
        "{text}"
    );
}
