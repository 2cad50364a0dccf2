//! Each fault a produced batch can have, in a batch that is sound otherwise.

use super::*;
use proptest::prelude::*;

fn sound() -> BatchBuilder {
    BatchBuilder::new()
        .timestamp(1_000)
        .producer(7, 3, 5)
        .record(0, Some(b"k"), Some(b"v"))
        .record(20, None, Some(b"w"))
}

/// The batch after a change to its header, with the checksum made right again.
fn changed(change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut bytes = sound().finish();
    let mut header = BatchHeader::read(&bytes).unwrap();
    change(&mut header);
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    summed(bytes)
}

fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn a_sound_batch_is_read_and_accepted() {
    let bytes = sound().finish();
    let header = validate(&bytes).unwrap();
    assert_eq!(header.size_bytes(), bytes.len());
    assert_eq!(
        (header.base_offset, header.last_offset(), header.record_count),
        (0, 1, 2)
    );
    assert_eq!(
        (header.base_timestamp_ms, header.max_timestamp_ms),
        (1_000, 1_020)
    );
    assert_eq!(
        (header.producer_id, header.producer_epoch, header.base_sequence),
        (7, 3, 5)
    );
    assert_eq!(header.last_sequence(), 6);
    assert_eq!(header.compression(), Compression::None);
    assert_eq!(header.timestamp_type(), TimestampType::CreateTime);
    assert!(header.has_producer_id() && !header.is_control() && !header.is_transactional());
    assert_eq!(header.to_bytes(), bytes[..HEADER_BYTES]);
    assert_eq!(check_stored(&bytes), Ok(header));
}

#[test]
fn the_builder_writes_records_as_kafka_does() {
    let bytes = BatchBuilder::new()
        .record(-1, Some(b"key"), None)
        .record(300, None, Some(b""))
        .finish();
    let first = [18, 0, 1, 0, 6, b'k', b'e', b'y', 1, 0];
    let second = [14, 0, 0xd8, 0x04, 2, 1, 0, 0];
    assert_eq!(
        bytes[HEADER_BYTES..],
        [first.as_slice(), second.as_slice()].concat()
    );
}

#[test]
fn faults_in_the_header() {
    let count = |record_count, last_offset_delta| BatchError::Count {
        record_count,
        last_offset_delta,
    };
    let table = [
        (
            changed(|h| h.magic = 1),
            BatchError::Magic(1),
            Refusal::InvalidRecord,
        ),
        (changed(|h| h.magic = 3), BatchError::Magic(3), Refusal::Corrupt),
        (changed(|h| h.magic = -1), BatchError::Magic(-1), Refusal::Corrupt),
        (
            changed(|h| h.base_offset = 4),
            BatchError::BaseOffset(4),
            Refusal::InvalidRecord,
        ),
        (
            changed(|h| h.attributes = 5),
            BatchError::Compression(5),
            Refusal::UnsupportedCompression,
        ),
        (
            changed(|h| h.record_count = 0),
            BatchError::Empty { record_count: 0 },
            Refusal::InvalidRecord,
        ),
        (
            changed(|h| h.record_count = -1),
            BatchError::Empty { record_count: -1 },
            Refusal::InvalidRecord,
        ),
        (
            changed(|h| h.record_count = 3),
            count(3, 1),
            Refusal::InvalidRecord,
        ),
        (
            changed(|h| h.last_offset_delta = -1),
            count(2, -1),
            Refusal::InvalidRecord,
        ),
        (
            changed(|h| h.last_offset_delta = i32::MAX),
            count(2, i32::MAX),
            Refusal::InvalidRecord,
        ),
        (
            changed(|h| h.attributes = CONTROL_BIT),
            BatchError::Control,
            Refusal::InvalidRecord,
        ),
        (
            changed(|h| h.base_sequence = -1),
            BatchError::Sequence {
                producer_id: 7,
                base_sequence: -1,
            },
            Refusal::InvalidRecord,
        ),
        (
            changed(|h| h.attributes = TIMESTAMP_TYPE_BIT),
            BatchError::LogAppendTime,
            Refusal::InvalidTimestamp,
        ),
    ];
    for (bytes, error, refusal) in table {
        assert_eq!(validate(&bytes), Err(error));
        assert_eq!(error.refusal(), refusal, "{error}");
    }
}

#[test]
fn every_known_codec_is_accepted_unread() {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    for (codec, compression) in [(0, None), (1, Gzip), (2, Snappy), (3, Lz4), (4, Zstd)] {
        assert_eq!(
            validate(&changed(|h| h.attributes = codec))
                .unwrap()
                .compression(),
            compression
        );
    }
}

#[test]
fn faults_in_the_length() {
    let bytes = sound().finish();
    let have_bytes = bytes.len();
    assert_eq!(validate(&[]), Err(BatchError::TooShort { have_bytes: 0 }));
    assert_eq!(
        validate(&bytes[..11]),
        Err(BatchError::TooShort { have_bytes: 11 })
    );
    for cut in 12..have_bytes {
        let error = BatchError::Truncated {
            claimed_bytes: have_bytes as i64,
            have_bytes: cut,
        };
        assert_eq!(validate(&bytes[..cut]), Err(error));
        assert_eq!(error.refusal(), Refusal::InvalidRecord);
    }
    let two = [bytes.as_slice(), &bytes].concat();
    assert_eq!(
        validate(&two),
        Err(BatchError::MoreThanOneBatch {
            first_bytes: have_bytes,
            have_bytes: 2 * have_bytes
        })
    );
    for length in [i32::MIN, -1, 0, 48] {
        let error = BatchError::Length {
            claimed_bytes: 12 + i64::from(length),
            have_bytes,
        };
        assert_eq!(validate(&changed(|h| h.batch_length = length)), Err(error));
        assert_eq!(error.refusal(), Refusal::Corrupt);
    }
}

#[test]
fn any_flipped_bit_behind_the_magic_is_noticed() {
    let sound = sound().finish();
    for at in CRC_AT..sound.len() {
        for bit in 0..8 {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << bit;
            assert!(
                matches!(validate(&bytes), Err(BatchError::Crc { .. })),
                "byte {at} bit {bit}"
            );
        }
    }
}

#[test]
fn what_compaction_and_coordinators_leave_may_be_stored() {
    let stored = |bytes: &[u8]| check_stored(bytes).is_ok();
    assert!(stored(&changed(|h| (h.base_offset, h.record_count) = (77, 1))));
    assert!(stored(&changed(|h| h.record_count = 0)));
    assert!(stored(&changed(
        |h| h.attributes = CONTROL_BIT | TRANSACTIONAL_BIT
    )));
    assert!(stored(&changed(|h| h.attributes = TIMESTAMP_TYPE_BIT)));
    assert!(!stored(&changed(|h| h.record_count = -1)));
    assert!(!stored(&changed(|h| h.last_offset_delta = -1)));
    let marker = BatchBuilder::new()
        .control()
        .record(0, Some(&control_key(1)), Some(&[0; 6]))
        .finish();
    assert_eq!(marker.len(), 78);
    assert!(check_stored(&marker).unwrap().is_control());
}

#[test]
fn peek_size_walks_and_stops_at_zeroes() {
    let bytes = sound().finish();
    assert_eq!(peek_size(&bytes[..11]), None);
    assert_eq!(peek_size(&bytes[..12]), Some(Ok(bytes.len())));
    assert_eq!(
        peek_size(&[0; 64]),
        Some(Err(BatchError::Length {
            claimed_bytes: 12,
            have_bytes: 64
        }))
    );
}

#[test]
fn stamping_keeps_the_checksum_right() {
    let bytes = sound().finish();
    let mut stamped = bytes.clone();
    stamp(&mut stamped, 1 << 40, 9);
    let header = check_stored(&stamped).unwrap();
    assert_eq!(
        (
            header.base_offset,
            header.partition_leader_epoch,
            header.last_offset()
        ),
        (1 << 40, 9, (1 << 40) + 1)
    );
    let prefix = stamped_prefix(&validate(&bytes).unwrap(), 1 << 40, 9);
    assert_eq!([&prefix, &bytes[STAMPED_BYTES..]].concat(), stamped);
}

#[test]
fn stamping_the_time_of_the_append_sums_again() {
    let mut bytes = sound().finish();
    stamp_log_append_time(&mut bytes, 5_555);
    let header = check_stored(&bytes).unwrap();
    assert_eq!(
        (header.timestamp_type(), header.max_timestamp_ms),
        (TimestampType::LogAppendTime, 5_555)
    );
    assert_eq!(header.base_timestamp_ms, 1_000);
}

#[test]
fn timestamps_must_lie_around_now() {
    let header = |base, max| {
        let mut header = BatchHeader::read(&sound().finish()).unwrap();
        (header.base_timestamp_ms, header.max_timestamp_ms) = (base, max);
        header
    };
    let check = |base, max| check_timestamps(&header(base, max), 10_000, 100, 50);
    for (base, max) in [(9_900, 10_050), (10_000, 10_000), (-1, -1), (-1, 10_050)] {
        assert_eq!(check(base, max), Ok(()));
    }
    for (base, max, wrong) in [
        (9_899, 10_000, 9_899),
        (10_000, 10_051, 10_051),
        (i64::MIN, i64::MAX, i64::MIN),
    ] {
        assert_eq!(
            check(base, max),
            Err(TimestampError {
                timestamp_ms: wrong,
                earliest_ms: 9_900,
                latest_ms: 10_050
            })
        );
    }
    assert_eq!(
        check_timestamps(&header(0, 10_000), 10_000, i64::MAX, 3_600_000),
        Ok(())
    );
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(advance_sequence(i32::MAX, 1), 0);
    assert_eq!(advance_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(advance_sequence(0, i32::MAX), i32::MAX);
}

proptest! {
    #[test]
    fn nothing_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = validate(&bytes);
        let _ = check_stored(&bytes);
        let _ = peek_size(&bytes);
    }

    #[test]
    fn nothing_panics_on_arbitrary_headers(
        front in prop::array::uniform32(any::<u8>()),
        back in prop::array::uniform29(any::<u8>()),
        whole in any::<bool>(),
    ) {
        let mut bytes = [front.as_slice(), &back].concat();
        if whole {
            bytes[8..12].copy_from_slice(&49i32.to_be_bytes());
            bytes[16] = 2;
            bytes = summed(bytes);
        }
        let header = BatchHeader::read(&bytes).unwrap();
        prop_assert_eq!(header.to_bytes().to_vec(), bytes.clone());
        let _ = (header.size_bytes(), header.last_offset(), header.last_sequence(), header.compression());
        let _ = (validate(&bytes), check_stored(&bytes), check_timestamps(&header, 0, i64::MAX, i64::MAX));
        stamp(&mut bytes, i64::MIN, i32::MIN);
        stamp_log_append_time(&mut bytes, i64::MAX);
    }

    #[test]
    fn what_is_built_is_valid(
        records in prop::collection::vec(
            (0..100_000i64, prop::option::of(prop::collection::vec(any::<u8>(), 0..50)), prop::option::of(prop::collection::vec(any::<u8>(), 0..300))),
            1..20,
        ),
        sequence in 0..i32::MAX,
    ) {
        let mut builder = BatchBuilder::new().timestamp(1_700_000_000_000).producer(1, 0, sequence);
        for (delta, key, value) in &records {
            builder = builder.record(*delta, key.as_deref(), value.as_deref());
        }
        let header = validate(&builder.finish()).unwrap();
        prop_assert_eq!(header.record_count as usize, records.len());
        prop_assert!(header.last_sequence() >= 0);
    }
}
