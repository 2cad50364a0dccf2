//! Batches that have lost records, or got a delete horizon, in Kafka's bytes (`MemoryRecordsBuilder`, `DefaultRecordBatch.writeEmptyHeader`).

use ringlog_records::header::{ATTRIBUTES_AT, COMPRESSION_MASK, CRC_AT, DELETE_HORIZON_BIT};
use ringlog_records::{Codec, RawRecords, RecordError, compress};

use crate::batch::{BatchHeader, HEADER_BYTES, LOG_OVERHEAD, NO_TIMESTAMP, TimestampType};

/// A batch with those of its records that stay; `plain` are all of them, unpacked. Offsets, sequence numbers and codec are those of the batch. Where there
/// is a delete horizon it is the base timestamp; else that is the first record's.
///
/// # Errors
/// Records that cannot be read, and a batch of 2 GiB.
pub fn rewritten(
    header: &BatchHeader,
    plain: &[u8],
    which: &[bool],
    delete_horizon_ms: Option<i64>,
) -> Result<Vec<u8>, RecordError> {
    let mut records = Vec::with_capacity(plain.len());
    let mut base_ms = delete_horizon_ms;
    let (mut count, mut max_ms) = (0, NO_TIMESTAMP);
    for (record, stays) in RawRecords::new(header, plain)?.zip(which) {
        let record = record?;
        if *stays {
            let timestamp_ms = record.timestamp_ms(header);
            let base_ms = *base_ms.get_or_insert(timestamp_ms);
            record.write_at(timestamp_ms.wrapping_sub(base_ms), &mut records);
            max_ms = max_ms.max(timestamp_ms);
            count += 1;
        }
    }
    let horizon_bit = match delete_horizon_ms {
        Some(_) => DELETE_HORIZON_BIT,
        None => 0,
    };
    let bits = (header.attributes & COMPRESSION_MASK) as u8;
    let codec = Codec::from_bits(bits).ok_or(RecordError::UnknownCodec(bits))?;
    let mut out = vec![0; HEADER_BYTES];
    compress(codec, &records, &mut out)?;
    let new = BatchHeader {
        attributes: header.attributes & !DELETE_HORIZON_BIT | horizon_bit,
        base_timestamp_ms: base_ms.unwrap_or(NO_TIMESTAMP),
        max_timestamp_ms: match header.timestamp_type() {
            TimestampType::LogAppendTime => header.max_timestamp_ms,
            TimestampType::CreateTime => max_ms,
        },
        record_count: count,
        batch_length: i32::try_from(out.len() - LOG_OVERHEAD).map_err(|_| RecordError::TooLarge {
            codec,
            limit_bytes: i32::MAX as u64,
        })?,
        ..*header
    };
    finish(new, &mut out);
    Ok(out)
}

/// A batch without a record: what is left tells offsets, times and the producer.
pub fn emptied(header: &BatchHeader) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    let new = BatchHeader {
        attributes: header.attributes & !(COMPRESSION_MASK | DELETE_HORIZON_BIT),
        base_timestamp_ms: NO_TIMESTAMP,
        record_count: 0,
        batch_length: (HEADER_BYTES - LOG_OVERHEAD) as i32,
        ..*header
    };
    finish(new, &mut out);
    out
}

/// Puts the header in front, with the checksum of what it covers.
fn finish(header: BatchHeader, out: &mut [u8]) {
    out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    let crc = crc_fast::crc32_iscsi(&out[ATTRIBUTES_AT..]);
    out[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}
