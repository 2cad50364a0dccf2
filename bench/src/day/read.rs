//! Answers of fetches, and of the questions where a log starts and ends.

use super::entry::{Entry, Found};
use super::log::Log;
use super::verdict::{Kind, Verdict};

/// When a question was asked, and when its answer was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Before it was sent.
    pub asked_ms: i64,
    /// After it had come.
    pub answered_ms: i64,
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Whole batches.
    Records {
        /// Their records, in the order they came in.
        found: Vec<Found>,
        /// The offset after the last batch; the one asked for, if there was none.
        next: i64,
    },
    /// OFFSET_OUT_OF_RANGE.
    OutOfRange,
}

/// A fetch of one partition, and what it brought.
#[derive(Clone, Debug)]
pub struct ReadAnswer {
    /// The offset asked for.
    pub from: i64,
    /// Where the log starts, as told; -1 if it was not.
    pub log_start: i64,
    /// The rest.
    pub answer: Answer,
}

impl Log {
    /// Judges a fetch.
    pub fn judge_read(&mut self, read: &ReadAnswer, at: Asked, verdict: &mut Verdict) {
        verdict.reads += 1;
        match &read.answer {
            Answer::Records { found, next } => self.judge_records(read.from, found, *next, at, verdict),
            // the log ends before that offset, or starts behind it
            Answer::OutOfRange if read.from > self.end => {}
            Answer::OutOfRange => self.judge_missing(0, read.from + 1, at, verdict),
        }
        if read.log_start >= 0 {
            self.judge_start(read.log_start, at, verdict);
        }
    }

    fn judge_records(&mut self, from: i64, found: &[Found], next: i64, at: Asked, verdict: &mut Verdict) {
        let mut expected = from;
        // the first batch may begin before the offset asked for
        for one in found.iter().filter(|one| one.offset >= from) {
            if one.offset < expected {
                let (place, offset) = (&self.place, one.offset);
                verdict.add(Kind::Reordered, || {
                    format!("{place}: offset {offset} behind {}", expected - 1)
                });
                continue;
            }
            self.judge_absent(expected, one.offset, at, verdict);
            self.judge_found(one, at, verdict);
            expected = one.offset + 1;
        }
        self.judge_absent(expected, next, at, verdict);
        if next <= from {
            // nothing came: then there is nothing
            self.judge_missing(from, self.end, at, verdict);
        }
    }

    /// A record that is there.
    fn judge_found(&mut self, found: &Found, at: Asked, verdict: &mut Verdict) {
        let is_right = self.judge_presence(found.offset, at, verdict);
        let Some(entry) = self.entries.get_mut(&found.offset).filter(|_| is_right) else {
            return;
        };
        if entry.written != found.record {
            let (place, offset, sent) = (&self.place, found.offset, entry.written);
            verdict.add(Kind::Corrupt, || {
                format!(
                    "{place}: offset {offset} has {:?}, and {sent:?} was sent",
                    found.record
                )
            });
        } else if !std::mem::replace(&mut entry.is_found, true) {
            verdict.verified += 1;
        }
    }

    /// Whether a record may be there; if not, that was told.
    pub(super) fn judge_presence(&self, offset: i64, at: Asked, verdict: &mut Verdict) -> bool {
        let place = &self.place;
        let Some(entry) = self.entries.get(&offset) else {
            match offset >= self.sent_end {
                true => verdict.add(Kind::Corrupt, || {
                    format!("{place}: nobody has written to offset {offset}")
                }),
                false => verdict.add(Kind::Overstayed, || {
                    format!("{place}: offset {offset} has come back, long after it was gone")
                }),
            }
            return false;
        };
        let (start, known_ms) = self.start;
        let why = if entry.gone_ms < at.asked_ms {
            Some("has come back: an earlier answer did not have it")
        } else if offset < start && known_ms < at.asked_ms {
            Some("is below the start of the log that was told before")
        } else {
            self.had_to_go(offset, entry, at.asked_ms)
        };
        if let Some(why) = why {
            verdict.add(Kind::Overstayed, || {
                format!("{place}: offset {offset} is there, and {why}")
            });
        }
        why.is_none()
    }

    /// Offsets of `[from, to)` are not in an answer that goes beyond them: gone for good, or lost.
    fn judge_absent(&mut self, from: i64, to: i64, at: Asked, verdict: &mut Verdict) {
        if from >= to {
            return;
        }
        self.judge_missing(from, to, at, verdict);
        let absent: Vec<i64> = self.entries.range(from..to).map(|(offset, _)| *offset).collect();
        for offset in absent {
            self.is_gone(offset, at.answered_ms);
        }
    }

    /// Tells of records of `[from, to)` that must be there: they are not.
    fn judge_missing(&mut self, from: i64, to: i64, at: Asked, verdict: &mut Verdict) {
        if from >= to {
            return;
        }
        let must = |entry: &Entry| !entry.is_told && self.must_be_there(entry, at.asked_ms, at.answered_ms);
        let missing = self.entries.range(from..to).filter(|(_, entry)| must(entry));
        let missing: Vec<i64> = missing.map(|(offset, _)| *offset).collect();
        for offset in missing {
            let Some(entry) = self.entries.get_mut(&offset) else {
                continue;
            };
            entry.is_told = true;
            let (place, age_ms) = (&self.place, at.answered_ms - entry.written.timestamp_ms);
            let what = match (self.rules.compaction.is_some(), entry.overwritten) {
                (false, _) => "within its retention",
                (true, None) => "the newest of its key",
                (true, Some(_)) => "overwritten, but not so long ago that it may be cleaned",
            };
            verdict.add(Kind::Lost, || {
                format!("{place}: offset {offset} is not there, {age_ms} ms old and {what}")
            });
        }
    }

    /// Judges where the log is said to start.
    pub fn judge_start(&mut self, start: i64, at: Asked, verdict: &mut Verdict) {
        let (known, known_ms) = self.start;
        if start < known && known_ms < at.asked_ms {
            let place = &self.place;
            verdict.add(Kind::Reordered, || {
                format!("{place}: starts at {start}, and started at {known} before")
            });
        }
        if start > known {
            self.start = (start, at.answered_ms);
            let first = self.range().0;
            self.judge_missing(first, start, at, verdict);
        }
        let line = self.line(at.asked_ms);
        // a log that is cleaned may have nothing below that line though its start has not moved
        if !self.merges() && start < line {
            let place = &self.place;
            verdict.add(Kind::Overstayed, || {
                format!("{place}: starts at {start}, and all below {line} had to be gone")
            });
        }
    }

    /// Judges where the log is said to end.
    pub fn judge_end(&mut self, end: i64, acknowledged_before: i64, verdict: &mut Verdict) {
        let place = &self.place;
        if end < acknowledged_before {
            verdict.add(Kind::Lost, || {
                format!("{place}: ends at {end}, and {acknowledged_before} was acknowledged")
            });
        } else if end > self.sent_end {
            verdict.add(Kind::Corrupt, || {
                format!(
                    "{place}: ends at {end}, and {} was the end of what was sent",
                    self.sent_end
                )
            });
        }
    }
}
