//! Offsets, contents, ends, and the model's own memory.

use super::*;

#[test]
fn an_offset_keeps_its_record() {
    let mut bench = Bench::filled(BY_TIME, 3);
    let mut found = bench.found(1);
    found.record.value_crc = Some(77);
    let answer = Answer::Records {
        found: vec![found],
        next: 2,
    };
    bench.answer(1, -1, answer).fails(Kind::Corrupt, 1);
    let mut bench = Bench::filled(BY_TIME, 3);
    let mut nobodys = bench.found(2);
    nobodys.offset = 3;
    let answer = Answer::Records {
        found: vec![nobodys],
        next: 4,
    };
    bench.answer(3, -1, answer).fails(Kind::Corrupt, 1);
}

#[test]
fn records_come_in_order_and_once() {
    let mut bench = Bench::filled(BY_TIME, 3);
    assert_eq!(bench.read(0, &[0, 2, 1], 3).verdict.count(Kind::Reordered), 1);
    let mut bench = Bench::filled(BY_TIME, 3);
    bench.read(0, &[0, 1, 1, 2], 3).fails(Kind::Reordered, 1);
    let mut bench = Bench::filled(BY_TIME, 3);
    bench.log.sending(&[bench.sent[0]], 100);
    bench.log.acknowledged(2, bench.now_ms, &mut bench.verdict);
    bench.fails_with_reads(Kind::Reordered);
    let mut bench = Bench::filled(BY_TIME, 15);
    bench
        .starts(4)
        .after(1)
        .starts(3)
        .fails_with_reads(Kind::Reordered);
}

#[test]
fn a_record_that_is_not_acknowledged_yet_may_be_there_or_not() {
    let mut bench = Bench::filled(BY_TIME, 2);
    let on_its_way = Written {
        key: 9,
        value_crc: Some(9),
        timestamp_ms: bench.now_ms,
    };
    bench.log.sending(&[on_its_way], 100);
    bench.read(1, &[1], 2).holds();
    let found = Found {
        offset: 2,
        record: on_its_way,
    };
    let answer = Answer::Records {
        found: vec![found],
        next: 3,
    };
    bench.answer(2, -1, answer).holds();
}

#[test]
fn an_end_is_between_what_was_acknowledged_and_what_was_sent() {
    for (end, kind) in [(3, None), (2, Some(Kind::Lost)), (4, Some(Kind::Corrupt))] {
        let mut bench = Bench::filled(BY_TIME, 3);
        bench.log.judge_end(end, 3, &mut bench.verdict);
        match kind {
            None => assert!(bench.verdict.holds()),
            Some(kind) => bench.fails_with_reads(kind),
        }
    }
}

#[test]
fn what_is_remembered_stays_bounded() {
    let mut bench = Bench::new(Rules {
        retention_ms: Some(10 * SECOND),
        ..RULES
    });
    let mut most = 0;
    for key in 0..1000 {
        bench.write(&[key]).after(SECOND);
        bench.log.forget(bench.now_ms);
        most = most.max(bench.log.len());
    }
    assert!(most <= 60 + (AGED / SECOND) as usize + 2, "{most}");
    // a compacted log whose overwritten records are seen to be gone
    let mut bench = Bench::new(COMPACTED);
    for second in 0..1000 {
        bench.write(&[second % 5]).after(SECOND);
        let end = second + 1;
        let kept: Vec<i64> = ((end - 10).max(0)..end).collect();
        bench.read(0, &kept, end);
        bench.log.forget(bench.now_ms);
        most = most.max(bench.log.len());
    }
    bench.holds();
    assert!(most <= 90, "{most}");
}
