//! A broker that does right passes, and each thing that it may get wrong is found.

use super::*;

const SECOND: i64 = 1000;
const START: i64 = 1_000_000_000;
/// What all of these promises have: a look a second, five seconds of slack.
const RULES: Rules = Rules {
    retention_ms: None,
    retention_bytes: None,
    compaction: None,
    segment_ms: 2 * SECOND,
    segment_bytes: 1000,
    check_ms: SECOND,
    cleaner_pause_ms: SECOND,
    late_ms: SECOND,
    slack_ms: 5 * SECOND,
};
const BY_TIME: Rules = Rules {
    retention_ms: Some(10 * SECOND),
    ..RULES
};
const BY_SIZE: Rules = Rules {
    retention_bytes: Some(2000),
    ..RULES
};
const COMPACTED: Rules = Rules {
    compaction: Some(Compaction {
        min_lag_ms: 3 * SECOND,
        max_lag_ms: 6 * SECOND,
        delete_retention_ms: 8 * SECOND,
        is_due: true,
    }),
    ..RULES
};
/// By which time a record must be gone for its age, and an overwritten one for being cleaned.
const AGED: i64 = (2 + 1 + 10 + 1 + 5) * SECOND;
const CLEANED: i64 = (2 + 1 + 6 + 1 + 5) * SECOND;

/// A partition and what was judged of it.
struct Bench {
    log: Log,
    verdict: Verdict,
    now_ms: i64,
    sent: Vec<Written>,
}

impl Bench {
    fn new(rules: Rules) -> Bench {
        Bench {
            log: Log::new("t-0".into(), rules),
            verdict: Verdict::default(),
            now_ms: START,
            sent: Vec::new(),
        }
    }

    /// Sends a batch of 100 bytes with these keys, all of now, and has it acknowledged; a key below 0 is removed.
    fn write(&mut self, keys: &[i64]) -> &mut Bench {
        let written = |key: &i64| Written {
            key: key.unsigned_abs(),
            value_crc: (*key >= 0).then_some(self.sent.len() as u32),
            timestamp_ms: self.now_ms,
        };
        let batch: Vec<Written> = keys.iter().map(written).collect();
        self.write_all(&batch)
    }

    fn write_all(&mut self, batch: &[Written]) -> &mut Bench {
        self.log.sending(batch, 100);
        self.log
            .acknowledged(self.sent.len() as i64, self.now_ms, &mut self.verdict);
        self.sent.extend(batch);
        self
    }

    fn after(&mut self, ms: i64) -> &mut Bench {
        self.now_ms += ms;
        self
    }

    /// The question is asked now, and answered ten milliseconds later.
    fn asked(&mut self) -> Asked {
        self.now_ms += 11;
        Asked {
            asked_ms: self.now_ms - 10,
            answered_ms: self.now_ms,
        }
    }

    fn found(&self, offset: i64) -> Found {
        Found {
            offset,
            record: self.sent[offset as usize],
        }
    }

    /// A fetch from an offset that brings these, and goes on to an end.
    fn read(&mut self, from: i64, offsets: &[i64], next: i64) -> &mut Bench {
        let found = offsets.iter().map(|offset| self.found(*offset)).collect();
        self.answer(from, -1, Answer::Records { found, next })
    }

    fn answer(&mut self, from: i64, log_start: i64, answer: Answer) -> &mut Bench {
        let at = self.asked();
        let read = ReadAnswer {
            from,
            log_start,
            answer,
        };
        self.log.judge_read(&read, at, &mut self.verdict);
        self
    }

    fn starts(&mut self, start: i64) -> &mut Bench {
        let at = self.asked();
        self.log.judge_start(start, at, &mut self.verdict);
        self
    }

    /// A lookup of a time, so long after the start, and its answer.
    fn lookup(&mut self, ms: i64, told: Option<i64>) -> &mut Bench {
        let hit = told.map(|offset| Hit {
            offset,
            timestamp_ms: self.sent[offset as usize].timestamp_ms,
        });
        let at = self.asked();
        self.log.judge_time(START + ms, hit, at, &mut self.verdict);
        self
    }

    fn largest(&mut self, told: Option<i64>) -> &mut Bench {
        let hit = told.map(|offset| Hit {
            offset,
            timestamp_ms: self.sent[offset as usize].timestamp_ms,
        });
        let at = self.asked();
        self.log.judge_largest(hit, at, &mut self.verdict);
        self
    }

    #[track_caller]
    fn holds(&mut self) -> &mut Bench {
        assert!(self.verdict.holds(), "{:?}", self.verdict);
        self
    }

    /// Nothing but so many of one kind is wrong.
    #[track_caller]
    fn fails(&mut self, kind: Kind, count: u64) {
        let kinds = [
            Kind::Lost,
            Kind::Overstayed,
            Kind::Reordered,
            Kind::Corrupt,
            Kind::Misplaced,
        ];
        let counts = kinds.map(|kind| self.verdict.count(kind));
        let expected = kinds.map(|other| if other == kind { count } else { 0 });
        assert_eq!(counts, expected, "{:?}", self.verdict);
        let ledger = self.verdict.ledger();
        assert!(!ledger.passed && !ledger.notes.is_empty(), "{ledger:?}");
    }

    /// One record a second of a key of its own, for so many seconds.
    fn filled(rules: Rules, seconds: i64) -> Bench {
        let mut bench = Bench::new(rules);
        for key in 0..seconds {
            bench.write(&[key]).after(SECOND);
        }
        bench
    }
}

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

impl Bench {
    /// As [`Bench::fails`], where no answer of a read was judged.
    #[track_caller]
    fn fails_with_reads(&mut self, kind: Kind) {
        self.verdict.reads += 1;
        self.fails(kind, 1);
    }
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
