//! One partition's batches.

use std::collections::HashSet;

use super::store::{Index, List, Map};
use crate::load::batch::{Fetched, Identity};
use crate::load::times::Times;
use crate::report::model::LedgerResult;

/// A batch as its producer knows it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Which lane sent it.
    pub lane: u32,
    /// Its place among the lane's batches.
    pub batch: u64,
    /// Records in it.
    pub records: u32,
    /// When its records were due, for whoever measures end to end; dropped once found.
    pub times: Option<Times>,
}

/// A batch's place in its partition's ledger, by which its producer tells what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry(u32);

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged at this base offset.
    Acknowledged(i64),
    /// Refused with an error.
    Refused,
    /// Of a transaction that was aborted: whoever reads what is committed must not find it.
    Aborted,
    /// No answer: the connection broke, or the wait was over. May or may not be stored.
    Unknown,
}

/// What a batch that was read turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Sent by us and found for the first time; when each record was due, if that was kept.
    First(Option<Times>),
    /// Sent by us and found before, at another offset.
    Again,
    /// Read twice from the same offset (another reader, or a fetch that starts in the middle of a batch).
    Reread,
    /// Checksum wrong, or not of this run.
    Foreign,
}

/// No offset: not acknowledged, or not found. Brokers that get it wrong may tell any other.
const NOWHERE: i64 = i64::MIN;
/// Instead of an acknowledged offset, of a batch that was refused.
const REFUSED: i64 = i64::MIN + 1;
/// The same, of a batch whose transaction was aborted.
const ABORTED: i64 = i64::MIN + 2;
/// No batch is told, or found, below this.
const LOWEST: i64 = i64::MIN + 3;

/// Kept for every batch of a run, so it is small.
struct Batch {
    lane: u32,
    records: u32,
    batch: u64,
    /// The offset it was acknowledged at, or one of the three above.
    told: i64,
    found_at: i64,
}

/// See [`super::Ledger`]. Memory: about 60 bytes a batch.
pub struct PartitionLedger {
    /// Whether all that is sent is promised to be there, for nothing is acknowledged: acks=0.
    unacknowledged: bool,
    batches: List<Batch>,
    index: Index,
    /// Of batches that nobody has read yet.
    times: Map<u32, Times>,
    /// Records that are promised and not found.
    missing: u64,
    duplicated: u64,
    corrupt: u64,
    /// Offsets of batches that were counted as duplicated or corrupt.
    reported: HashSet<i64>,
    notes: Vec<String>,
}

impl PartitionLedger {
    pub fn new(acks: i16) -> PartitionLedger {
        PartitionLedger {
            unacknowledged: acks == 0,
            batches: List::default(),
            index: Index::default(),
            times: Map::default(),
            missing: 0,
            duplicated: 0,
            corrupt: 0,
            reported: HashSet::new(),
            notes: Vec::new(),
        }
    }

    pub fn sent(&mut self, identity: Identity, sent: Sent) -> Option<Entry> {
        if self.index.get(identity).is_some() {
            return None;
        }
        let at = self.batches.push(Batch {
            lane: sent.lane,
            records: sent.records,
            batch: sent.batch,
            told: NOWHERE,
            found_at: NOWHERE,
        });
        self.index.insert(identity, at);
        if let Some(times) = sent.times {
            self.times.insert(at, times);
        }
        if self.unacknowledged {
            self.missing += u64::from(sent.records);
        }
        Some(Entry(at))
    }

    pub fn outcome(&mut self, entry: Entry, outcome: Outcome) {
        let Some(batch) = self.batches.get_mut(entry.0) else {
            return;
        };
        batch.told = match outcome {
            Outcome::Acknowledged(at) => at.max(LOWEST),
            Outcome::Refused => REFUSED,
            Outcome::Aborted => ABORTED,
            Outcome::Unknown => NOWHERE,
        };
        if !self.unacknowledged && batch.acknowledged().is_some() && batch.found().is_none() {
            self.missing += u64::from(batch.records);
        }
    }

    pub fn found(&mut self, fetched: &Fetched, intact: bool, shared: bool) -> Finding {
        let at = self.index.get(fetched.identity).unwrap_or(u32::MAX);
        let batch = self.batches.get_mut(at);
        let Some(batch) = batch.filter(|batch| intact && batch.records == fetched.records) else {
            // what is read back after it was read is not damaged twice
            if (intact && shared) || !self.reported.insert(fetched.base_offset) {
                return Finding::Foreign;
            }
            self.corrupt += u64::from(fetched.records.max(1));
            let why = if intact {
                "that nobody sent"
            } else {
                "whose checksum is wrong"
            };
            self.note(format!("a batch {why} at offset {}", fetched.base_offset));
            return Finding::Foreign;
        };
        match batch.found_at {
            NOWHERE => {
                batch.found_at = fetched.base_offset.max(LOWEST);
                if self.unacknowledged || batch.acknowledged().is_some() {
                    self.missing -= u64::from(batch.records);
                }
                Finding::First(self.times.remove(&at))
            }
            found_at if found_at == fetched.base_offset => Finding::Reread,
            _ if !self.reported.insert(fetched.base_offset) => Finding::Again,
            found_at => {
                self.duplicated += u64::from(batch.records);
                let again_at = fetched.base_offset;
                self.note(format!("the batch at offset {found_at} again at {again_at}"));
                Finding::Again
            }
        }
    }

    pub fn is_as_told(&self, fetched: &Fetched) -> bool {
        let at = self.index.get(fetched.identity);
        let batch = at.and_then(|at| self.batches.get(at));
        batch.is_some_and(|batch| batch.records == fetched.records && batch.told == fetched.base_offset)
    }

    fn note(&mut self, what: String) {
        if self.notes.len() < super::MAX_NOTES {
            self.notes.push(what);
        }
    }

    pub fn take_unread(&mut self, each: &mut impl FnMut(&Times)) {
        for (at, times) in std::mem::take(&mut self.times) {
            if self
                .batches
                .get(at)
                .is_some_and(|batch| batch.told != REFUSED && batch.told != ABORTED)
            {
                each(&times);
            }
        }
    }

    pub fn missing(&self) -> u64 {
        self.missing
    }

    pub fn conclude(&mut self, partition: i32, result: &mut LedgerResult) {
        let mut batches: Vec<&Batch> = self.batches.iter().collect();
        batches.sort_unstable_by_key(|batch| (batch.lane, batch.batch));
        let mut notes = std::mem::take(&mut self.notes);
        let mut before: Option<(u32, i64)> = None;
        for batch in batches {
            let records = u64::from(batch.records);
            let promised = self.unacknowledged || batch.acknowledged().is_some();
            let Some(found_at) = batch.found() else {
                if promised {
                    result.acknowledged += records;
                    result.lost += records;
                    let at = batch
                        .acknowledged()
                        .map(|at| format!(", acknowledged at offset {at}"))
                        .unwrap_or_default();
                    notes.push(format!(
                        "{records} records of producer {} are missing{at}",
                        batch.lane
                    ));
                }
                continue;
            };
            if promised {
                result.acknowledged += records;
                result.verified += records;
            } else if batch.told == ABORTED {
                result.aborted += records;
                notes.push(format!(
                    "{records} records of an aborted transaction of producer {} at offset {found_at}",
                    batch.lane
                ));
            } else {
                result.unacknowledged_found += records;
            }
            let earlier = before.is_some_and(|(lane, offset)| lane == batch.lane && offset > found_at);
            let elsewhere = batch.acknowledged().is_some_and(|said| said != found_at);
            if promised && (earlier || elsewhere) {
                result.reordered += records;
                notes.push(batch.misplaced(found_at));
            }
            // one without an answer may have been stored after those of the next connection
            if promised && !earlier {
                before = Some((batch.lane, found_at));
            }
        }
        result.duplicated += self.duplicated;
        result.corrupt += self.corrupt;
        let named = notes
            .into_iter()
            .map(|note| format!("partition {partition}: {note}"));
        result.notes.extend(named);
    }
}

impl Batch {
    fn acknowledged(&self) -> Option<i64> {
        (self.told >= LOWEST).then_some(self.told)
    }

    fn found(&self) -> Option<i64> {
        (self.found_at != NOWHERE).then_some(self.found_at)
    }

    fn misplaced(&self, found_at: i64) -> String {
        match self.acknowledged() {
            Some(said) if said != found_at => {
                format!("a batch acknowledged at offset {said} is at {found_at}")
            }
            _ => format!(
                "the batch at offset {found_at} is before an earlier one of producer {}",
                self.lane
            ),
        }
    }
}
