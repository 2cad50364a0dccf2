//! A history: what each client asked for, what it was told, and what it saw.

use std::collections::BTreeMap;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// What a record holds; no two writes of a run are alike. A value that was made from another one has a longer `path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// Where it comes from: number of the first record of its line.
    pub origin: u64,
    /// How often it was consumed and written again.
    pub hops: u32,
    /// The attempt: a consumed record may be written again by a transaction that follows one that was not committed.
    pub attempt: u64,
}

impl Value {
    /// As bytes of a record.
    pub fn encode(&self) -> String {
        format!("{}/{}/{}", self.origin, self.hops, self.attempt)
    }

    /// Back from bytes; `None` for what no write of a run has.
    pub fn decode(bytes: &[u8]) -> Option<Value> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut words = text.split('/');
        let value = Value {
            origin: words.next()?.parse().ok()?,
            hops: words.next()?.parse().ok()?,
            attempt: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(value)
    }
}

/// How a transaction ended, as its client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The commit was acknowledged.
    Committed,
    /// The abort was acknowledged, or the commit was refused for good before it could be decided, or it was never asked for.
    Aborted,
    /// The commit was asked for and never answered: either.
    Unknown,
}

/// A record that a transaction wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where to.
    pub key: Key,
    /// What.
    pub value: Value,
    /// Where it was acknowledged to be, if it was.
    pub offset: Option<i64>,
}

/// A record that a transaction consumed: its offset is committed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where from.
    pub key: Key,
    /// At which offset.
    pub offset: i64,
    /// What.
    pub value: Value,
}

/// One transaction of one client. Times are ticks of a counter that all clients of a run share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The client.
    pub client: String,
    /// Before its first request.
    pub begin: u64,
    /// After the answer to its last one.
    pub end: u64,
    /// What it consumed, in order.
    pub reads: Vec<Read>,
    /// What it wrote, in the order it was sent.
    pub writes: Vec<Write>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A record that a read_committed reader outside of transactions was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The reader, and which of its stretches: within one it goes on where it was.
    pub stretch: (String, u64),
    /// Where.
    pub key: Key,
    /// At which offset.
    pub offset: i64,
    /// What.
    pub value: Value,
}

/// Everything of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// All transactions, in any order.
    pub transactions: Vec<Transaction>,
    /// What readers saw, each reader's in its order.
    pub polls: Vec<Poll>,
    /// What a read_committed reader finds in each partition when everything has ended.
    pub finals: BTreeMap<Key, Vec<(i64, Value)>>,
    /// Committed offsets of groups, by group and partition, in the order they were seen.
    pub committed: BTreeMap<(String, Key), Vec<i64>>,
    /// Values with fewer hops than this were all to be consumed and written again, once.
    pub hops: u32,
}
