//! What may not happen.

use super::record::{Key, Value};

/// A finding of the checker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// G0: transactions that did not overlap, whose writes are in another order than they were. The clients' names. Transactions that
    /// overlap may interleave their writes: Kafka does not isolate writers from one another.
    WriteCycle(Vec<String>),
    /// G1a: a record of an aborted transaction was seen.
    AbortedRead(Key, Value),
    /// G1b: of a transaction's writes some are to be seen and some are not.
    IntermediateRead(Vec<Value>),
    /// G1c: transactions that depend on one another in a circle, by what they read and wrote, or on what was not yet written.
    Circular(Vec<String>),
    /// A committed record is gone, though later ones of its partition are there.
    LostWrite(Key, Value),
    /// A committed record at the end of a partition is not to be seen.
    Unseen(Key, Value),
    /// A value is at two places.
    Duplicate(Value),
    /// A consumed record has two outputs that are committed.
    DoubleOutput(Value),
    /// A committed record that was to be consumed has no output.
    NoOutput(Value),
    /// Two values at one place, or a record that is not where it was acknowledged to be.
    Misplaced(Key, i64),
    /// A reader, or a group's committed offset, went back.
    Backwards(String, Key, i64),
    /// A reader went past a committed record.
    Skipped(String, Key, i64),
    /// Somebody saw what nobody wrote.
    Unwritten(Key, i64),
}

impl std::fmt::Display for Anomaly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
