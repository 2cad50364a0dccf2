//! By time and by size.

use super::*;

#[test]
fn a_broker_that_does_right_passes() {
    let mut bench = Bench::filled(BY_TIME, 15);
    // five are older than ten seconds: they may be there, or not
    bench
        .read(0, &[0, 1, 2, 3], 4)
        .starts(4)
        .read(4, &[4, 5, 6], 7)
        .read(5, &[5, 6, 7], 8);
    bench
        .lookup(6_000, Some(6))
        .lookup(5_500, Some(6))
        .lookup(15_000, None)
        .largest(Some(14));
    bench.lookup(0, Some(5)).holds();
    assert_eq!((bench.verdict.acknowledged, bench.verdict.verified), (15, 8));
    assert!(bench.verdict.ledger().passed);
}

#[test]
fn a_record_younger_than_the_retention_must_be_there() {
    Bench::filled(BY_TIME, 15)
        .read(4, &[5, 7], 8)
        .fails(Kind::Lost, 1);
    Bench::filled(BY_TIME, 15).starts(8).fails(Kind::Lost, 2);
    Bench::filled(BY_TIME, 15)
        .answer(9, -1, Answer::OutOfRange)
        .fails(Kind::Lost, 4);
    // nothing at all
    Bench::filled(BY_TIME, 15).read(8, &[], 8).fails(Kind::Lost, 7);
}

#[test]
fn out_of_range_is_right_below_the_start_and_behind_the_end() {
    let mut bench = Bench::filled(BY_TIME, 15);
    bench
        .answer(2, 5, Answer::OutOfRange)
        .answer(99, -1, Answer::OutOfRange)
        .holds();
}

#[test]
fn what_is_past_its_retention_must_be_gone() {
    let mut bench = Bench::filled(BY_TIME, 1);
    bench
        .after(AGED - SECOND - 20)
        .write(&[1])
        .read(0, &[0, 1], 2)
        .holds();
    bench.after(SECOND).read(0, &[0, 1], 2).fails(Kind::Overstayed, 1);
    let mut bench = Bench::filled(BY_TIME, 1);
    bench.after(AGED).write(&[1]).starts(0).fails(Kind::Overstayed, 1);
}

#[test]
fn what_fits_the_size_must_be_there_and_what_exceeds_it_by_a_segment_must_be_gone() {
    // batches of 100 bytes: 20 must be there, and 30 may
    let mut bench = Bench::filled(BY_SIZE, 40);
    bench.read(15, &(20..40).collect::<Vec<_>>(), 40).holds();
    bench
        .read(19, &(21..40).collect::<Vec<_>>(), 40)
        .fails(Kind::Lost, 1);
    // six seconds ago there were 35
    Bench::filled(BY_SIZE, 40).starts(5).holds();
    Bench::filled(BY_SIZE, 40).starts(4).fails(Kind::Overstayed, 1);
}
