//! What a broker promised and what it then gives: a ledger of acknowledgements, and the check against it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use rdkafka::Offset;

use crate::client::{self, Incoming};

/// One acknowledged record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The offset the broker named; negative when the client learned only that it is in the log.
    pub offset: i64,
    /// What was in it, see [`digest`].
    pub digest: u64,
}

/// A fingerprint of a record's key and value.
pub fn digest(key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, value).hash(&mut hasher);
    hasher.finish()
}

/// Everything acknowledged so far, by topic and partition, then offset.
#[derive(Debug, Default)]
pub struct Ledger {
    partitions: BTreeMap<(String, i32), Promised>,
}

/// What is promised of one partition: contents at offsets, and contents at offsets nobody knows.
#[derive(Debug, Default)]
struct Promised {
    placed: BTreeMap<i64, u64>,
    somewhere: Vec<u64>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Enters acknowledgements.
    ///
    /// # Panics
    /// When an offset was given out for two different records: one of them must be lost.
    pub fn enter(&mut self, acknowledged: impl IntoIterator<Item = Acknowledged>) {
        for one in acknowledged {
            let place = self
                .partitions
                .entry((one.topic.clone(), one.partition))
                .or_default();
            if one.offset < 0 {
                place.somewhere.push(one.digest);
            } else if let Some(other) = place.placed.insert(one.offset, one.digest) {
                let what = format!("{}-{} offset {}", one.topic, one.partition, one.offset);
                assert_eq!(other, one.digest, "{what} was given to two records");
            }
        }
    }

    /// How many records are promised.
    pub fn len(&self) -> usize {
        self.partitions
            .values()
            .map(|promised| promised.placed.len() + promised.somewhere.len())
            .sum()
    }

    /// Whether nothing is promised.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads every partition of the ledger from its beginning and checks that each acknowledged record is there, at its
    /// offset, and that offsets are dense. With `exactly_once` no record's content may appear twice (all contents must
    /// differ); without, a record that was sent twice because its acknowledgement was lost is allowed.
    ///
    /// # Panics
    /// When a promise is broken; the message says which.
    pub fn check(&self, bootstrap: &str, exactly_once: bool) {
        for ((topic, partition), promised) in &self.partitions {
            let records = client::read_partition(bootstrap, topic, *partition, Offset::Beginning);
            let place = format!("{topic}-{partition}");
            dense(&place, &records);
            kept(&place, promised, &records);
            if exactly_once {
                once(&place, &records);
            }
        }
    }
}

fn dense(place: &str, records: &[Incoming]) {
    for (expected, record) in records.iter().enumerate() {
        assert_eq!(
            record.offset, expected as i64,
            "{place}: a hole or a repeated offset"
        );
    }
}

fn kept(place: &str, promised: &Promised, records: &[Incoming]) {
    let last = promised.placed.last_key_value().map_or(-1, |(&offset, _)| offset);
    let end = records.len() as i64;
    assert!(
        last < end,
        "{place}: offset {last} was acknowledged, and the log ends at {end}"
    );
    let found: Vec<u64> = records
        .iter()
        .map(|record| digest(record.key.as_deref(), record.value.as_deref()))
        .collect();
    for (&offset, &digest) in &promised.placed {
        assert_eq!(
            found[offset as usize], digest,
            "{place}: at offset {offset} is another record than was acknowledged"
        );
    }
    let found: HashSet<u64> = found.into_iter().collect();
    assert!(
        promised.somewhere.iter().all(|digest| found.contains(digest)),
        "{place}: an acknowledged record is missing"
    );
}

fn once(place: &str, records: &[Incoming]) {
    let mut seen = HashMap::new();
    for record in records {
        let digest = digest(record.key.as_deref(), record.value.as_deref());
        if let Some(first) = seen.insert(digest, record.offset) {
            panic!(
                "{place}: the record at offset {first} is there again at {}",
                record.offset
            );
        }
    }
}
