//! The checker: from a history to the anomalies in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Anomaly;
use super::cycles::cycles;
use super::record::{History, Key, Outcome, Poll, Transaction, Value};

/// All anomalies of a history; none is what exactly-once promises.
pub fn check(history: &History) -> Vec<Anomaly> {
    let index = Index::new(history);
    let mut found = Vec::new();
    index.places(&mut found);
    index.aborted(&mut found);
    index.whole(&mut found);
    index.lost(&mut found);
    index.outputs(&mut found);
    index.stretches(&mut found);
    backwards_commits(history, &mut found);
    found.extend(cycles(history));
    found
}

/// Who wrote what, and what is there in the end.
struct Index<'a> {
    history: &'a History,
    writer: HashMap<&'a Value, &'a Transaction>,
    place: HashMap<&'a Value, (&'a Key, i64)>,
}

impl<'a> Index<'a> {
    fn new(history: &'a History) -> Index<'a> {
        let mut writer = HashMap::new();
        for transaction in &history.transactions {
            writer.extend(transaction.writes.iter().map(|write| (&write.value, transaction)));
        }
        let mut place = HashMap::new();
        for (key, records) in &history.finals {
            place.extend(records.iter().map(|(offset, value)| (value, (key, *offset))));
        }
        Index {
            history,
            writer,
            place,
        }
    }

    /// Everything that anybody saw, with where it was.
    fn seen(&self) -> impl Iterator<Item = (&'a Key, i64, &'a Value)> {
        let history = self.history;
        let finals = history
            .finals
            .iter()
            .flat_map(|(key, records)| records.iter().map(move |(offset, value)| (key, *offset, value)));
        let polls = history
            .polls
            .iter()
            .map(|poll| (&poll.key, poll.offset, &poll.value));
        let reads = history
            .transactions
            .iter()
            .flat_map(|one| &one.reads)
            .map(|read| (&read.key, read.offset, &read.value));
        finals.chain(polls).chain(reads)
    }

    /// Each value is at one place, each place holds one value, and a record is where it was acknowledged to be.
    fn places(&self, found: &mut Vec<Anomaly>) {
        let mut by_place: BTreeMap<(&Key, i64), &Value> = BTreeMap::new();
        let mut by_value: HashMap<&Value, (&Key, i64)> = HashMap::new();
        let (mut misplaced, mut duplicate, mut unwritten) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (key, offset, value) in self.seen() {
            if !self.writer.contains_key(value) {
                unwritten.insert((key, offset));
            }
            if *by_place.entry((key, offset)).or_insert(value) != value {
                misplaced.insert((key, offset));
            }
            if *by_value.entry(value).or_insert((key, offset)) != (key, offset) {
                duplicate.insert(value);
            }
        }
        for write in self.history.transactions.iter().flat_map(|one| &one.writes) {
            let seen = by_value.get(&write.value).copied();
            let acknowledged = write.offset.map(|offset| (&write.key, offset));
            if seen.is_some_and(|(key, _)| *key != write.key)
                || acknowledged.is_some() && seen.is_some() && acknowledged != seen
            {
                misplaced.extend(seen);
            }
        }
        found.extend(
            unwritten
                .into_iter()
                .map(|(key, offset)| Anomaly::Unwritten(key.clone(), offset)),
        );
        found.extend(
            misplaced
                .into_iter()
                .map(|(key, offset)| Anomaly::Misplaced(key.clone(), offset)),
        );
        found.extend(
            duplicate
                .into_iter()
                .map(|value| Anomaly::Duplicate(value.clone())),
        );
    }

    fn aborted(&self, found: &mut Vec<Anomaly>) {
        let mut aborted = BTreeSet::new();
        for (key, _, value) in self.seen() {
            let writer = self.writer.get(value);
            if writer.is_some_and(|one| one.outcome == Outcome::Aborted) {
                aborted.insert((key, value));
            }
        }
        found.extend(
            aborted
                .into_iter()
                .map(|(key, value)| Anomaly::AbortedRead(key.clone(), value.clone())),
        );
    }

    /// A transaction is to be seen in all its partitions or in none, whatever its client was told. So is what it consumed: see `outputs`.
    fn whole(&self, found: &mut Vec<Anomaly>) {
        for transaction in &self.history.transactions {
            let seen = transaction
                .writes
                .iter()
                .filter(|write| self.place.contains_key(&write.value))
                .count();
            if seen != 0 && seen != transaction.writes.len() {
                let values = transaction
                    .writes
                    .iter()
                    .map(|write| write.value.clone())
                    .collect();
                found.push(Anomaly::IntermediateRead(values));
            }
        }
        // What a reader was given must still be there.
        let mut gone = BTreeSet::new();
        for (_, _, value) in self.seen() {
            let Some(writer) = self.writer.get(value) else {
                continue;
            };
            if writer.outcome != Outcome::Aborted && !self.place.contains_key(value) {
                gone.insert(value);
            }
        }
        found.extend(
            gone.into_iter()
                .map(|value| Anomaly::IntermediateRead(vec![value.clone()])),
        );
    }

    fn lost(&self, found: &mut Vec<Anomaly>) {
        for transaction in &self.history.transactions {
            if transaction.outcome != Outcome::Committed {
                continue;
            }
            for write in &transaction.writes {
                if self.place.contains_key(&write.value) {
                    continue;
                }
                let last = self
                    .history
                    .finals
                    .get(&write.key)
                    .and_then(|records| records.last());
                let passed = last.is_some_and(|(last, _)| write.offset.is_none_or(|offset| offset < *last));
                let (key, value) = (write.key.clone(), write.value.clone());
                found.push(if passed {
                    Anomaly::LostWrite(key, value)
                } else {
                    Anomaly::Unseen(key, value)
                });
            }
        }
    }

    /// Each record that was to be consumed has one output.
    fn outputs(&self, found: &mut Vec<Anomaly>) {
        let mut outputs: BTreeMap<(u64, u32), Vec<&Value>> = BTreeMap::new();
        for value in self.place.keys() {
            outputs.entry((value.origin, value.hops)).or_default().push(value);
        }
        for (&(origin, hops), values) in &outputs {
            if values.len() > 1 {
                found.push(Anomaly::DoubleOutput((*values[0]).clone()));
            }
            if hops < self.history.hops && !outputs.contains_key(&(origin, hops + 1)) {
                found.push(Anomaly::NoOutput((*values[0]).clone()));
            }
        }
    }

    /// Within a stretch a reader goes from each committed record of a partition to the next one.
    fn stretches(&self, found: &mut Vec<Anomaly>) {
        let mut last: HashMap<(&(String, u64), &Key), i64> = HashMap::new();
        for poll in &self.history.polls {
            if let Some(before) = last.insert((&poll.stretch, &poll.key), poll.offset) {
                self.step(before, poll, found);
            }
        }
    }

    fn step(&self, before: i64, poll: &Poll, found: &mut Vec<Anomaly>) {
        let (reader, key) = (poll.stretch.0.clone(), poll.key.clone());
        if poll.offset <= before {
            found.push(Anomaly::Backwards(reader, key, poll.offset));
            return;
        }
        let records = self.history.finals.get(&poll.key).map_or(&[][..], Vec::as_slice);
        let between = records
            .iter()
            .find(|(offset, _)| before < *offset && *offset < poll.offset);
        if let Some(&(offset, _)) = between {
            found.push(Anomaly::Skipped(reader, key, offset));
        }
    }
}

fn backwards_commits(history: &History, found: &mut Vec<Anomaly>) {
    for ((group, key), offsets) in &history.committed {
        for pair in offsets.windows(2) {
            if pair[1] < pair[0] {
                found.push(Anomaly::Backwards(group.clone(), key.clone(), pair[1]));
            }
        }
    }
}
