//! Overwritten records, tombstones, and what has been gone.

use super::*;

#[test]
fn the_newest_value_of_a_key_must_be_there_however_old() {
    let mut bench = Bench::new(COMPACTED);
    bench
        .write(&[1, 2, 3])
        .after(1000 * SECOND)
        .write(&[1])
        .after(4 * SECOND);
    bench.read(0, &[1, 2, 3], 4).holds();
    bench.read(0, &[1, 3], 4).fails(Kind::Lost, 1);
}

#[test]
fn an_overwritten_value_stays_for_the_minimum_lag_and_then_it_may_go() {
    let mut bench = Bench::new(COMPACTED);
    bench
        .write(&[1])
        .after(100 * SECOND)
        .write(&[1])
        .after(4 * SECOND);
    bench.read(0, &[1], 2).holds();
    let mut bench = Bench::new(COMPACTED);
    bench.write(&[1]).after(100 * SECOND).write(&[1]).after(SECOND);
    bench.read(0, &[1], 2).fails(Kind::Lost, 1);
}

#[test]
fn an_overwritten_value_must_go_where_the_broker_cleans() {
    let run = |is_due: bool, ms: i64| {
        let compaction = COMPACTED
            .compaction
            .map(|compaction| Compaction { is_due, ..compaction });
        let mut bench = Bench::new(Rules { compaction, ..RULES });
        bench
            .write(&[1])
            .write(&[1])
            .after(ms)
            .write(&[2])
            .read(0, &[0, 1, 2], 3);
        bench
    };
    run(true, CLEANED).holds();
    run(true, CLEANED + 1).fails(Kind::Overstayed, 1);
    run(false, 100 * CLEANED).holds();
    // nothing is appended any more: its segment does not close
    let mut bench = Bench::new(COMPACTED);
    bench
        .write(&[1, 1])
        .after(100 * CLEANED)
        .read(0, &[0, 1], 2)
        .holds();
}

#[test]
fn a_tombstone_stays_its_time_and_then_goes() {
    let mut bench = Bench::new(COMPACTED);
    bench
        .write(&[-1])
        .after(9 * SECOND)
        .write(&[2])
        .read(0, &[1], 2)
        .holds();
    let mut bench = Bench::new(COMPACTED);
    bench
        .write(&[-1])
        .after(7 * SECOND)
        .write(&[2])
        .read(0, &[1], 2)
        .fails(Kind::Lost, 1);
    let mut bench = Bench::new(COMPACTED);
    bench
        .write(&[-1])
        .after(2 * CLEANED + 9 * SECOND)
        .write(&[2])
        .read(0, &[0, 1], 2)
        .fails(Kind::Overstayed, 1);
}

#[test]
fn what_was_gone_does_not_come_back() {
    let mut bench = Bench::new(COMPACTED);
    bench
        .write(&[1, 1, 2])
        .after(5 * SECOND)
        .read(0, &[1, 2], 3)
        .holds();
    bench.read(0, &[0, 1, 2], 3).fails(Kind::Overstayed, 1);
    // not even after it is forgotten
    let mut bench = Bench::new(COMPACTED);
    bench
        .write(&[1, 1, 2])
        .after(5 * SECOND)
        .read(0, &[1, 2], 3)
        .after(70 * SECOND);
    bench.log.forget(bench.now_ms);
    assert_eq!(bench.log.len(), 2);
    bench.read(0, &[0, 1, 2], 3).fails(Kind::Overstayed, 1);
    // nor below where the log was said to start
    let mut bench = Bench::filled(BY_TIME, 15);
    bench
        .starts(4)
        .after(1)
        .read(3, &[3, 4], 5)
        .fails(Kind::Overstayed, 1);
}

#[test]
fn an_answer_to_an_older_question_may_have_what_is_gone_since() {
    let mut bench = Bench::new(COMPACTED);
    bench.write(&[1, 1, 2]).after(5 * SECOND);
    let early = bench.asked();
    bench.read(0, &[1, 2], 3);
    let found = [0, 1, 2].map(|offset| bench.found(offset)).to_vec();
    let late = Asked {
        answered_ms: bench.now_ms + 5,
        ..early
    };
    let read = ReadAnswer {
        from: 0,
        log_start: 0,
        answer: Answer::Records { found, next: 3 },
    };
    bench.log.judge_read(&read, late, &mut bench.verdict);
    bench.holds();
}

#[test]
fn with_both_policies_what_fills_a_segment_behind_a_record_has_taken_it_along() {
    let both = Rules {
        retention_ms: Some(10 * SECOND),
        ..COMPACTED
    };
    // 11 batches fill more than a segment
    let mut bench = Bench::filled(both, 12);
    bench.after(AGED).write(&[100]);
    bench.log.forget(bench.now_ms);
    bench
        .after(2)
        .starts(0)
        .read(2, &(2..13).collect::<Vec<_>>(), 13)
        .holds();
    bench
        .read(0, &(0..13).collect::<Vec<_>>(), 13)
        .fails(Kind::Overstayed, 2);
    // what was overwritten takes no room
    let mut bench = Bench::new(both);
    for _ in 0..12 {
        bench.write(&[7]);
    }
    bench.after(AGED).write(&[100]);
    bench.log.forget(bench.now_ms);
    assert_eq!(bench.log.line(bench.now_ms), 0);
}
