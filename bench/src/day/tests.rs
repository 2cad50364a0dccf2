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

impl Bench {
    /// As [`Bench::fails`], where no answer of a read was judged.
    #[track_caller]
    fn fails_with_reads(&mut self, kind: Kind) {
        self.verdict.reads += 1;
        self.fails(kind, 1);
    }
}

mod compaction;
mod lookups;
mod records;
mod retention;
