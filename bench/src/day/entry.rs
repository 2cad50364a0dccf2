//! One record as the model remembers it.

/// A record as it was sent, and as it must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The eight bytes of its key.
    pub key: u64,
    /// CRC-32C of its value; `None` for a tombstone.
    pub value_crc: Option<u32>,
    /// Its timestamp.
    pub timestamp_ms: i64,
}

/// A record in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its offset.
    pub offset: i64,
    /// What it is.
    pub record: Written,
}

/// What is known of an offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub written: Written,
    /// When it was acknowledged; `i64::MAX` while it was not.
    pub acked_ms: i64,
    /// Bytes of batches sent before its own.
    pub bytes_before: u64,
    /// Bytes of its own batch by records.
    pub share_bytes: u64,
    /// The next record of the same key, in a compacted topic: its offset and timestamp.
    pub overwritten: Option<(i64, i64)>,
    /// When an answer first showed that it is gone; `i64::MAX` while none did.
    pub gone_ms: i64,
    /// Whether it was read, as it was sent.
    pub is_found: bool,
    /// Whether its loss was told of.
    pub is_told: bool,
}
