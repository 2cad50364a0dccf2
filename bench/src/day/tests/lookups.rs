//! Time lookups.

use super::*;

#[test]
fn a_time_lookup_tells_the_first_record_at_or_after_the_time() {
    // too late, too early, none though there are some, and one that is gone
    Bench::filled(BY_TIME, 9)
        .lookup(3_500, Some(5))
        .fails_with_reads(Kind::Misplaced);
    Bench::filled(BY_TIME, 9)
        .lookup(3_500, Some(3))
        .fails_with_reads(Kind::Misplaced);
    Bench::filled(BY_TIME, 9)
        .lookup(3_500, None)
        .fails_with_reads(Kind::Misplaced);
    let mut bench = Bench::filled(BY_TIME, 15);
    bench
        .starts(4)
        .after(1)
        .lookup(3_000, Some(3))
        .fails_with_reads(Kind::Overstayed);
    // a timestamp of another record
    let mut bench = Bench::filled(BY_TIME, 9);
    let at = bench.asked();
    let hit = Some(Hit {
        offset: 4,
        timestamp_ms: START + 5_000,
    });
    bench.log.judge_time(START + 4_000, hit, at, &mut bench.verdict);
    bench.fails_with_reads(Kind::Misplaced);
}

#[test]
fn a_time_lookup_looks_at_records_and_not_at_batches() {
    let mut bench = Bench::new(BY_TIME);
    let at = |ms: i64, key: u64| Written {
        key,
        value_crc: Some(1),
        timestamp_ms: START + ms,
    };
    bench
        .write_all(&[at(0, 0), at(500, 1), at(200, 2), at(900, 3)])
        .after(SECOND);
    bench
        .lookup(300, Some(1))
        .lookup(600, Some(3))
        .lookup(150, Some(1))
        .holds();
    bench.largest(Some(3)).holds();
    bench.lookup(600, Some(0)).fails_with_reads(Kind::Misplaced);
}

#[test]
fn the_largest_timestamp_is_the_largest() {
    Bench::filled(BY_TIME, 9)
        .largest(Some(7))
        .fails_with_reads(Kind::Misplaced);
    Bench::filled(BY_TIME, 9)
        .largest(None)
        .fails_with_reads(Kind::Misplaced);
    Bench::new(BY_TIME).largest(None).holds();
    // one that is on its way may be the largest, and is not readable yet
    let mut bench = Bench::filled(BY_TIME, 9);
    bench.log.sending(&[bench.sent[0]], 100);
    assert_eq!(bench.largest(None).holds().verdict.untold, 1);
}
