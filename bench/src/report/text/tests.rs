//! What must stand in the summary, and where.

use super::*;
use crate::report::sample;

#[test]
fn one_load_on_one_broker() {
    let text = summary(&sample::produce(), false);
    for expected in [
        "produce  ringlog  (127.0.0.1:9092)",
        "records/s of 50,000 asked for",
        "passed: all 1,501,280 acknowledged",
        "durability stable storage: acks.durable is true",
        "broker     0.710 CPU-s/GiB",
        "inside     0.652 system calls (io_uring_enter) a request, 0.0408 a record",
        "inside     core 0 30 % busy, core 1 33 % busy",
        "stages of the broker:",
        "machine    AMD EPYC 9R14, 8 cores, 32.0 GiB, Linux 6.12.41, virtual machine",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    let row = |name: &str| {
        text.lines()
            .find(|line| line.trim_start().starts_with(name))
            .expect(name)
    };
    assert!(row("ack ").contains(" us") && row("disk, 4 KiB").contains("41.0 us"));
    assert_eq!(row("ack ").find("us"), row("disk, 4 KiB").find("us"));
    assert!(row("hand over").ends_with("160 us"), "{text}");
    assert!(text.lines().count() < 37, "{text}");
}

#[test]
fn a_failed_ledger_comes_first_and_nothing_steers_the_terminal() {
    let text = summary(&sample::failed(), false);
    let first = text.lines().next().expect("a line");
    assert!(first.starts_with("LEDGER FAILED"), "{first}");
    assert!(first.contains("17 lost of 1,402,127 acknowledged"), "{first}");
    assert!(text.contains("4,211 x connection lost"));
    assert!(text.contains("at 21.4 s: the broker stopped answering"));
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn colour_is_only_for_terminals() {
    assert!(summary(&sample::failed(), true).starts_with("\u{1b}[1;97;41mLEDGER FAILED"));
    assert!(!summary(&sample::versus(), false).contains('\u{1b}'));
}

#[test]
fn several_steps_are_a_row_each() {
    let text = summary(&sample::sweep(), false);
    assert!(
        text.lines()
            .any(|line| line.trim_start().starts_with("450,000/s") && line.contains("  404,")),
        "{text}"
    );
    let restart = summary(&sample::restart(), false);
    assert!(
        restart.contains("first ack") && restart.contains("16 GiB"),
        "{restart}"
    );
}

#[test]
fn two_sides_have_a_table_of_ratios() {
    let text = summary(&sample::versus(), false);
    assert!(text.contains("A is kafka, B is ringlog"), "{text}");
    let row = text
        .lines()
        .find(|line| line.trim_start().starts_with("ack p99.9 "))
        .expect("a row");
    assert!(
        row.contains("x") && row.contains(" .. ") && row.ends_with("B better"),
        "{row}"
    );
    assert!(
        text.lines().count() < 56 && text.lines().all(|line| line.len() < 130),
        "{text}"
    );
    assert!(text.contains("warning  the two brokers promise different things"));
}

#[test]
fn an_empty_report_does_not_fail() {
    let sides = vec![Side::default()];
    assert!(
        summary(
            &Report {
                sides,
                ..Report::default()
            },
            false
        )
        .contains("machine")
    );
}
