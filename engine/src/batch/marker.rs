//! Markers: the control batches that end a transaction.
//!
//! ```text
//! key    | version i16 | type i16: 0 abort, 1 commit |
//! value  | version i16 | coordinator epoch i32 |
//! ```

use super::{BatchBuilder, BatchHeader, Compression, HEADER_BYTES, NO_SEQUENCE, control_key};

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerKind {
    /// Its records are not for readers of what is committed.
    Abort,
    /// Its records count.
    Commit,
}

impl MarkerKind {
    /// The one of a transaction that was committed, or not.
    pub fn of(is_commit: bool) -> MarkerKind {
        match is_commit {
            true => MarkerKind::Commit,
            false => MarkerKind::Abort,
        }
    }
}

/// What a marker's record says. Whose transaction it ends is in the batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxn {
    /// How the transaction ended.
    pub kind: MarkerKind,
    /// Epoch of the transaction coordinator that had the marker written.
    pub coordinator_epoch: i32,
}

/// A batch with one marker, as Kafka writes it.
pub fn marker_batch(producer_id: i64, producer_epoch: i16, end: EndTxn, now_ms: i64) -> Vec<u8> {
    let kind = match end.kind {
        MarkerKind::Abort => 0,
        MarkerKind::Commit => 1,
    };
    let mut value = [0; 6];
    value[2..].copy_from_slice(&end.coordinator_epoch.to_be_bytes());
    BatchBuilder::new()
        .control()
        .transactional()
        .producer(producer_id, producer_epoch, NO_SEQUENCE)
        .timestamp(now_ms)
        .record(0, Some(&control_key(kind)), Some(&value))
        .finish()
}

impl EndTxn {
    /// The marker in a stored batch; `None` where it holds none: data, another kind of control record, or a marker that compaction took away.
    pub fn read(header: &BatchHeader, bytes: &[u8]) -> Option<EndTxn> {
        let is_marker = header.is_control() && header.has_producer_id() && header.record_count > 0;
        if !is_marker || header.compression() != Compression::None {
            return None;
        }
        let mut input = Input(bytes.get(HEADER_BYTES..)?);
        let (_record_bytes, _attributes) = (input.varint()?, input.take(1)?);
        let (_timestamp_delta, _offset_delta) = (input.varint()?, input.varint()?);
        let key = input.field()?;
        let value = input.field()?;
        let kind = match key {
            [_, _, 0, 0, ..] => MarkerKind::Abort,
            [_, _, 0, 1, ..] => MarkerKind::Commit,
            _ => return None,
        };
        let epoch = value.get(2..6)?.try_into().ok()?;
        Some(EndTxn {
            kind,
            coordinator_epoch: i32::from_be_bytes(epoch),
        })
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn varint(&mut self) -> Option<i64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take(1)?.try_into().ok()?;
            let byte: u8 = byte;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    /// A key or a value; one that is null has no bytes.
    fn field(&mut self) -> Option<&'a [u8]> {
        let bytes = self.varint()?;
        self.take(usize::try_from(bytes).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_marker_is_read_back() {
        for kind in [MarkerKind::Abort, MarkerKind::Commit] {
            let end = EndTxn {
                kind,
                coordinator_epoch: 77,
            };
            let bytes = marker_batch(5, 3, end, 1_000);
            let header = crate::batch::check_stored(&bytes).unwrap();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.producer_id, header.producer_epoch), (5, 3));
            assert_eq!(EndTxn::read(&header, &bytes), Some(end));
            let emptied = BatchHeader {
                record_count: 0,
                ..header
            };
            assert_eq!(EndTxn::read(&emptied, &bytes), None, "compaction took it away");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_on_arbitrary_records(records in prop::collection::vec(any::<u8>(), 0..60)) {
            let end = EndTxn { kind: MarkerKind::Abort, coordinator_epoch: 0 };
            let mut bytes = marker_batch(5, 3, end, 1_000);
            let header = BatchHeader::read(&bytes).unwrap();
            bytes.truncate(HEADER_BYTES);
            bytes.extend(records);
            let _ = EndTxn::read(&header, &bytes);
        }
    }
}
