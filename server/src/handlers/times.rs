//! Looks for a record by its time inside one batch, for ListOffsets. The only place where the broker unpacks a batch
//! while a client waits; what it may unpack to is bounded.

use bytes::Bytes;
use ringlog_engine::batch::TimestampType;
use ringlog_records::{Batch, Batches, Record, RecordError};

/// The most one batch may unpack to: far above what producers send, far below what would hurt.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;

/// Timestamp in milliseconds, offset, and leader epoch of a record.
pub type Found = (i64, i64, i32);

/// The first record with this time or a later one, of those from an offset on.
///
/// # Errors
/// The batch cannot be unpacked, or its records contradict their lengths.
pub fn first_at_or_after(
    batch: &[u8],
    timestamp_ms: i64,
    from_offset: i64,
) -> Result<Option<Found>, RecordError> {
    search(batch, |batch, records| {
        for record in records {
            let record = record?;
            let time = time_of(batch, &record);
            if time >= timestamp_ms && record.offset >= from_offset {
                return Ok(Some((time, record.offset)));
            }
        }
        Ok(None)
    })
}

/// The first of the records with the largest time.
///
/// # Errors
/// As [`first_at_or_after`].
pub fn largest(batch: &[u8]) -> Result<Option<Found>, RecordError> {
    search(batch, |batch, records| {
        let mut best: Option<(i64, i64)> = None;
        for record in records {
            let record = record?;
            let time = time_of(batch, &record);
            if best.is_none_or(|(largest, _)| time > largest) {
                best = Some((time, record.offset));
            }
        }
        Ok(best)
    })
}

fn search(
    bytes: &[u8],
    find: impl FnOnce(
        &Batch,
        &mut dyn Iterator<Item = Result<Record, RecordError>>,
    ) -> Result<Option<(i64, i64)>, RecordError>,
) -> Result<Option<Found>, RecordError> {
    let Some(batch) = Batches::new(Bytes::copy_from_slice(bytes)).next().transpose()? else {
        return Ok(None);
    };
    let found = find(&batch, &mut batch.records(MAX_UNPACKED_BYTES)?)?;
    Ok(found.map(|(time, offset)| (time, offset, batch.header.partition_leader_epoch)))
}

/// With LogAppendTime all records of a batch have the time of its arrival.
fn time_of(batch: &Batch, record: &Record) -> i64 {
    match batch.header.timestamp_type() {
        TimestampType::CreateTime => record.timestamp_ms,
        TimestampType::LogAppendTime => batch.header.max_timestamp_ms,
    }
}
