//! What was found to be wrong, counted and with examples; and the ledger that comes of it.

use crate::report::model::LedgerResult;
use crate::report::units::whole;

/// Lines of examples.
const MAX_NOTES: usize = 12;
/// Of these at most so many of one kind.
const NOTES_A_KIND: u64 = 4;

/// A kind of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A record that must be there is not.
    Lost,
    /// A record is there that may not be there any more, or has come back; or the log starts before what had to be gone.
    Overstayed,
    /// Records in another order, at another offset than acknowledged, or a log whose start or end goes back.
    Reordered,
    /// Another record than was sent to that offset, or bytes that are none.
    Corrupt,
    /// A time lookup with another answer than the first record at or after that time.
    Misplaced,
}

/// What was judged so far.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    counts: [u64; 5],
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Of these, read at least once, as they were sent.
    pub verified: u64,
    /// Answers of reads judged.
    pub reads: u64,
    /// Answers of lookups judged.
    pub lookups: u64,
    /// Questions for the largest timestamp that were answered with none while a record was on its way.
    pub untold: u64,
    notes: Vec<String>,
}

impl Verdict {
    /// Adds a violation.
    pub fn add(&mut self, kind: Kind, what: impl FnOnce() -> String) {
        let count = &mut self.counts[kind as usize];
        *count += 1;
        if *count <= NOTES_A_KIND && self.notes.len() < MAX_NOTES {
            self.notes.push(what());
        }
    }

    /// How many of a kind there are.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts[kind as usize]
    }

    /// Whether nothing was wrong.
    pub fn holds(&self) -> bool {
        self.counts == [0; 5]
    }

    /// The examples.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// As the report has it. Where nothing was read, nothing is shown.
    pub fn ledger(&self) -> LedgerResult {
        LedgerResult {
            checked: self.reads > 0,
            passed: self.reads > 0 && self.holds(),
            acknowledged: self.acknowledged,
            verified: self.verified,
            lost: self.count(Kind::Lost),
            overstayed: self.count(Kind::Overstayed),
            reordered: self.count(Kind::Reordered),
            corrupt: self.count(Kind::Corrupt),
            misplaced: self.count(Kind::Misplaced),
            notes: self.notes.clone(),
            held: format!(
                "{} answers of reads and {} of time lookups held what must be there of {} acknowledged records, and nothing that may not; {} \
                 records were read as they were sent",
                whole(self.reads as f64),
                whole(self.lookups as f64),
                whole(self.acknowledged as f64),
                whole(self.verified as f64)
            ),
            ..LedgerResult::default()
        }
    }
}
