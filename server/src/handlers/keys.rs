//! What a compacted topic asks of a batch: each record needs a key, and the cleaner must be able to read it later. The one look into batches while a
//! producer waits, at compacted topics only.

use ringlog_engine::batch::{BatchHeader, HEADER_BYTES, check_stored};
use ringlog_records::header::COMPRESSION_MASK;
use ringlog_records::{Codec, RawRecords, RecordError, unpack_slice};

use super::produce::Refused;
use crate::wire::code::ErrorCode;

/// Most bytes that a batch for a compacted topic may unpack to. It is unpacked while others wait for the same core, so this is far below what the
/// cleaner reads. (Kafka has no limit.)
const MAX_UNPACKED_BYTES: u64 = 64 << 20;

/// Most records that an answer names. (Kafka names all.)
const MAX_NAMED: usize = 1000;

/// Records of a batch that have no key: the index of the first [`MAX_NAMED`], and how many there are.
#[derive(Debug, Default)]
struct Keyless {
    named: Vec<i32>,
    count: usize,
}

/// Why a compacted topic cannot take the batch, if it cannot. `partition` gives its name. A batch that is damaged, or is no batch, is left for the engine to
/// refuse.
pub fn refuse(records: &[u8], partition: impl FnOnce() -> String) -> Option<Refused> {
    let header = check_stored(records).ok()?;
    match keyless(&header, &records[HEADER_BYTES..]) {
        Ok(keyless) if keyless.count == 0 => None,
        Ok(keyless) => Some(name(&keyless, &partition())),
        // Producers take such a batch apart, and send it as smaller ones.
        Err(error @ RecordError::TooLarge { .. }) => {
            Some(Refused::because(ErrorCode::MessageTooLarge, error.to_string()))
        }
        // The engine's to say, as for other topics.
        Err(RecordError::UnknownCodec(_)) => None,
        Err(error) => Some(Refused::because(ErrorCode::InvalidRecord, error.to_string())),
    }
}

fn keyless(header: &BatchHeader, packed: &[u8]) -> Result<Keyless, RecordError> {
    let bits = (header.attributes & COMPRESSION_MASK) as u8;
    let codec = Codec::from_bits(bits).ok_or(RecordError::UnknownCodec(bits))?;
    let plain = unpack_slice(codec, packed, MAX_UNPACKED_BYTES)?;
    let mut keyless = Keyless::default();
    for (index, record) in RawRecords::new(header, &plain)?.enumerate() {
        let record = record?;
        if i32::try_from(index) != Ok(record.offset_delta) {
            let what = "its offset is not the one behind the record before";
            return Err(RecordError::Malformed { index, what });
        }
        if record.key.is_none() {
            keyless.count += 1;
            if keyless.named.len() < MAX_NAMED {
                keyless.named.push(record.offset_delta);
            }
        }
    }
    Ok(keyless)
}

/// Kafka's words (`LogValidator.validateKey`, `processRecordErrors`).
fn name(keyless: &Keyless, partition: &str) -> Refused {
    let each = format!("Compacted topic cannot accept message without key in topic partition {partition}");
    let shown = keyless.named.iter().take(3);
    let shown: Vec<String> = shown
        .map(|index| format!("RecordError(batchIndex={index}, message='{each}')"))
        .collect();
    let message = format!(
        "One or more records have been rejected due to {} record errors in total, and only showing the first three errors at most: [{}]",
        keyless.count,
        shown.join(", ")
    );
    Refused {
        records: keyless.named.clone(),
        record_message: Some(each),
        ..Refused::because(ErrorCode::InvalidRecord, message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringlog_records::header::{ATTRIBUTES_AT, CRC_AT};
    use ringlog_records::{BatchBuilder, NewRecord, Producer};

    use super::*;

    fn batch(codec: Codec, keys: &[Option<&str>]) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        for key in keys {
            builder.push(&NewRecord {
                key: key.map(Into::into),
                value: Some(b"value".to_vec()),
                ..NewRecord::default()
            });
        }
        builder.finish(codec, Producer::NONE).unwrap()
    }

    fn check(records: &[u8]) -> Option<Refused> {
        refuse(records, || "t-0".to_owned())
    }

    /// Changes a batch, and makes its checksum right.
    fn change(mut bytes: Vec<u8>, what: impl FnOnce(&mut [u8])) -> Vec<u8> {
        what(&mut bytes);
        let crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn records_without_a_key_are_named_in_every_codec() {
        for codec in Codec::ALL {
            assert_eq!(
                check(&batch(codec, &[Some("a"), Some("")])),
                None,
                "an empty key is a key"
            );
            let refused = check(&batch(codec, &[None, Some("a"), None])).unwrap();
            assert_eq!(
                (refused.code, refused.records),
                (ErrorCode::InvalidRecord, vec![0, 2])
            );
            let each = "Compacted topic cannot accept message without key in topic partition t-0";
            assert_eq!(refused.record_message.as_deref(), Some(each));
            let message = format!(
                "One or more records have been rejected due to 2 record errors in total, and only showing the first three errors at most: \
                 [RecordError(batchIndex=0, message='{each}'), RecordError(batchIndex=2, message='{each}')]"
            );
            assert_eq!(refused.message, Some(message));
        }
    }

    #[test]
    fn an_answer_names_a_bounded_number_of_records() {
        let refused = check(&batch(Codec::Zstd, &[None; 5000])).unwrap();
        assert_eq!(refused.records.len(), MAX_NAMED);
        assert!(refused.message.unwrap().contains("due to 5000 record errors"));
    }

    #[test]
    fn a_batch_that_unpacks_to_too_much_is_too_large() {
        let mut builder = BatchBuilder::default();
        builder.push(&NewRecord {
            key: Some(b"key".to_vec()),
            value: Some(vec![0; MAX_UNPACKED_BYTES as usize]),
            ..NewRecord::default()
        });
        let bomb = builder.finish(Codec::Zstd, Producer::NONE).unwrap();
        assert_eq!(check(&bomb).unwrap().code, ErrorCode::MessageTooLarge);
    }

    #[test]
    fn records_that_the_cleaner_could_not_read_are_refused() {
        let sound = batch(Codec::None, &[Some("a"), Some("b")]);
        let size = (sound.len() - HEADER_BYTES) / 2;
        // The second record's offset: behind its length, attributes and timestamp.
        let offset = change(sound.clone(), |bytes| bytes[HEADER_BYTES + size + 3] = 0);
        let length = change(sound, |bytes| bytes[HEADER_BYTES] ^= 2);
        let packed = change(batch(Codec::Gzip, &[Some("a")]), |bytes| bytes[HEADER_BYTES] = 0);
        for bytes in [offset, length, packed] {
            assert_eq!(check(&bytes).unwrap().code, ErrorCode::InvalidRecord);
        }
    }

    #[test]
    fn what_the_engine_refuses_is_left_to_it() {
        let sound = batch(Codec::None, &[None]);
        let mut wrong = sound.clone();
        wrong[HEADER_BYTES] ^= 1;
        let unknown = change(sound.clone(), |bytes| bytes[ATTRIBUTES_AT + 1] |= 7);
        for bytes in [&wrong[..], &sound[..sound.len() - 1], &[], &unknown] {
            assert_eq!(check(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_on_arbitrary_records(records in prop::collection::vec(any::<u8>(), 0..60), codec in 0..8u8, count in any::<i32>()) {
            let bytes = change(batch(Codec::None, &[Some("a")]), |_| ());
            let mut header = BatchHeader::read(&bytes).unwrap();
            header.attributes = i16::from(codec);
            header.record_count = count;
            header.batch_length = (HEADER_BYTES - 12 + records.len()) as i32;
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend(records);
            let _ = check(&change(bytes, |_| ()));
        }
    }
}
