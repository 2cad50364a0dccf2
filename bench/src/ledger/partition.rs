//! One partition's batches.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::load::batch::{Fetched, Identity};
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
    /// When each record was due, for whoever measures end to end; dropped once found.
    pub times_ns: Option<Box<[u64]>>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged at this base offset.
    Acknowledged(i64),
    /// Refused with an error.
    Refused,
    /// No answer: the connection broke, or the wait was over. May or may not be stored.
    Unknown,
}

/// What a batch that was read turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Sent by us and found for the first time; when each record was due, if that was kept.
    First(Option<Box<[u64]>>),
    /// Sent by us and found before, at another offset.
    Again,
    /// Read twice from the same offset (another reader, or a fetch that starts in the middle of a batch).
    Reread,
    /// Checksum wrong, or not of this run.
    Foreign,
}

struct Batch {
    lane: u32,
    batch: u64,
    records: u32,
    outcome: Option<Outcome>,
    found_at: Option<i64>,
    times_ns: Option<Box<[u64]>>,
}

/// See [`super::Ledger`].
#[derive(Default)]
pub struct PartitionLedger {
    batches: HashMap<Identity, Batch>,
    duplicated: u64,
    corrupt: u64,
    /// Offsets of batches that were counted as duplicated or corrupt.
    reported: HashSet<i64>,
    notes: Vec<String>,
}

impl PartitionLedger {
    pub fn sent(&mut self, identity: Identity, sent: Sent) -> bool {
        let Entry::Vacant(vacant) = self.batches.entry(identity) else {
            return false;
        };
        vacant.insert(Batch {
            lane: sent.lane,
            batch: sent.batch,
            records: sent.records,
            outcome: None,
            found_at: None,
            times_ns: sent.times_ns,
        });
        true
    }

    pub fn outcome(&mut self, identity: Identity, outcome: Outcome) {
        if let Some(batch) = self.batches.get_mut(&identity) {
            batch.outcome = Some(outcome);
        }
    }

    pub fn found(&mut self, fetched: &Fetched, intact: bool, shared: bool) -> Finding {
        let batch = self.batches.get_mut(&fetched.identity);
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
            None => {
                batch.found_at = Some(fetched.base_offset);
                Finding::First(batch.times_ns.take())
            }
            Some(at) if at == fetched.base_offset => Finding::Reread,
            Some(_) if !self.reported.insert(fetched.base_offset) => Finding::Again,
            Some(at) => {
                self.duplicated += u64::from(batch.records);
                self.note(format!(
                    "the batch at offset {at} again at {}",
                    fetched.base_offset
                ));
                Finding::Again
            }
        }
    }

    fn note(&mut self, what: String) {
        if self.notes.len() < super::MAX_NOTES {
            self.notes.push(what);
        }
    }

    pub fn take_unread(&mut self, each: &mut impl FnMut(&[u64])) {
        let unread = |batch: &&mut Batch| batch.found_at.is_none() && batch.outcome != Some(Outcome::Refused);
        for batch in self.batches.values_mut().filter(unread) {
            if let Some(times_ns) = batch.times_ns.take() {
                each(&times_ns);
            }
        }
    }

    pub fn missing(&self, acks: i16) -> u64 {
        let missing = self
            .batches
            .values()
            .filter(|batch| batch.found_at.is_none() && (acks == 0 || batch.acknowledged().is_some()));
        missing.map(|batch| u64::from(batch.records)).sum()
    }

    pub fn conclude(&mut self, partition: i32, acks: i16, result: &mut LedgerResult) {
        let mut batches: Vec<&Batch> = self.batches.values().collect();
        batches.sort_unstable_by_key(|batch| (batch.lane, batch.batch));
        let mut notes = std::mem::take(&mut self.notes);
        let mut before: Option<(u32, i64)> = None;
        for batch in batches {
            let records = u64::from(batch.records);
            let promised = acks == 0 || batch.acknowledged().is_some();
            let Some(found_at) = batch.found_at else {
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
        match self.outcome {
            Some(Outcome::Acknowledged(at)) => Some(at),
            _ => None,
        }
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
