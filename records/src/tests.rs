//! Round trips through every codec, bytes of other clients, and hostile bytes.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

const LIMIT_BYTES: u64 = 1 << 20;

fn record(value: &[u8]) -> NewRecord {
    NewRecord {
        timestamp_ms: 1_700_000_000_000,
        value: Some(value.to_vec()),
        ..NewRecord::default()
    }
}

fn batch_of(records: &[NewRecord], codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    records.iter().for_each(|record| builder.push(record));
    builder.finish(codec, Producer::NONE).expect("packs")
}

fn only_batch(bytes: Vec<u8>) -> Batch {
    let mut batches = Batches::new(Bytes::from(bytes));
    let batch = batches.next().expect("one").expect("whole");
    assert!(batches.next().is_none());
    batch
}

fn read_back(batch: &Batch) -> Vec<NewRecord> {
    batch.check_crc().expect("crc");
    batch
        .records(LIMIT_BYTES)
        .expect("unpacks")
        .map(|record| plain(record.expect("record")))
        .collect()
}

fn plain(record: Record) -> NewRecord {
    let text = |key: Bytes| String::from_utf8(key.to_vec()).expect("utf-8");
    NewRecord {
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(|key| key.to_vec()),
        value: record.value.map(|value| value.to_vec()),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (text(key), value.map(|v| v.to_vec())))
            .collect(),
    }
}

/// The bytes come from Python's gzip, the lz4 and zstd tools, and snappy's format page: nothing of ours took part.
#[test]
fn known_bytes_of_other_writers_unpack() {
    let known: [(Codec, &[u8]); 3] = [
        (
            Codec::Gzip,
            b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xcb\x48\xcd\xc9\xc9\xd7\x51\xc8\x40\xa2\0\x9f\xa1\xca\x09\x13\0\0\0",
        ),
        (
            Codec::Lz4,
            b"\x04\x22\x4d\x18\x64\x40\xa7\x10\0\0\0\x73hello, \x07\0\x50hello\0\0\0\0\x30\x66\x93\x58",
        ),
        (
            Codec::Zstd,
            b"\x28\xb5\x2f\xfd\x04\x58\x6d\0\0\x38hello, \x01\0\xe2\x8a\x11\x75\xf3\x98\x8e",
        ),
    ];
    for (codec, packed) in known {
        let plain = unpack(codec, Bytes::from_static(packed), LIMIT_BYTES);
        assert_eq!(plain, Ok(Bytes::from_static(b"hello, hello, hello")), "{codec}");
        let cut = unpack(
            codec,
            Bytes::from_static(&packed[..packed.len() - 9]),
            LIMIT_BYTES,
        );
        assert!(cut.is_err(), "{codec}");
    }
    let raw_snappy = Bytes::from_static(b"\x05\x10hello");
    assert_eq!(
        unpack(Codec::Snappy, raw_snappy, LIMIT_BYTES),
        Ok(Bytes::from_static(b"hello"))
    );
    let xerial =
        Bytes::from_static(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x07\x05\x10hello\0\0\0\x03\x01\x00!");
    assert_eq!(
        unpack(Codec::Snappy, xerial, LIMIT_BYTES),
        Ok(Bytes::from_static(b"hello!"))
    );
}

#[test]
fn a_bomb_stops_at_the_limit_in_every_codec() {
    let zeroes = record(&vec![0; 2 * LIMIT_BYTES as usize]);
    for codec in &Codec::ALL[1..] {
        let batch = only_batch(batch_of(std::slice::from_ref(&zeroes), *codec));
        let error = batch.records(LIMIT_BYTES).expect_err("too large");
        assert_eq!(
            error,
            RecordError::TooLarge {
                codec: *codec,
                limit_bytes: LIMIT_BYTES
            }
        );
    }
}

#[test]
fn a_batch_that_just_fits_is_not_a_bomb() {
    for codec in Codec::ALL {
        let mut packed = Vec::new();
        compress(codec, &[7; 1000], &mut packed).expect("packs");
        let packed = Bytes::from(packed);
        assert_eq!(
            unpack(codec, packed.clone(), 1000).expect("fits").len(),
            1000,
            "{codec}"
        );
        assert!(
            codec == Codec::None || unpack(codec, packed, 999).is_err(),
            "{codec}"
        );
    }
}

#[test]
fn a_snappy_claim_beyond_its_bytes_is_not_allocated_for() {
    let claims_4_gib = Bytes::from_static(b"\xff\xff\xff\xff\x0f\x00");
    assert!(matches!(
        unpack(Codec::Snappy, claims_4_gib, u64::MAX),
        Err(RecordError::Unpack { .. })
    ));
}

#[test]
fn a_cut_off_last_batch_is_left_over() {
    let bytes = Bytes::from(
        [
            batch_of(&[record(b"a")], Codec::None),
            batch_of(&[record(b"b")], Codec::None),
        ]
        .concat(),
    );
    for end in bytes.len() / 2..bytes.len() {
        let mut batches = Batches::new(bytes.slice(..end));
        assert!(batches.next().expect("first").is_ok());
        assert!(batches.next().is_none());
        assert_eq!(batches.rest().len(), end - bytes.len() / 2);
    }
}

#[test]
fn lengths_no_batch_has_are_errors() {
    for length in [-1, 0, 48, i32::MIN] {
        let mut bytes = batch_of(&[record(b"a")], Codec::None);
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let error = Batches::new(Bytes::from(bytes))
            .next()
            .expect("an answer")
            .expect_err("error");
        assert_eq!(error, RecordError::Length(length));
    }
}

#[test]
fn every_flipped_bit_after_the_epoch_is_found() {
    let bytes = batch_of(&[record(b"hello")], Codec::None);
    for bit in 17 * 8..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(only_batch(flipped).check_crc().is_err(), "bit {bit}");
    }
}

#[test]
fn log_append_time_is_the_batch_s() {
    let mut bytes = batch_of(&[record(b"a"), record(b"b")], Codec::None);
    bytes[22] |= 1 << 3;
    bytes[35..43].copy_from_slice(&42i64.to_be_bytes());
    let times: Vec<i64> = only_batch(bytes)
        .records(LIMIT_BYTES)
        .expect("records")
        .map(|r| r.expect("record").timestamp_ms)
        .collect();
    assert_eq!(times, [42, 42]);
}

#[test]
fn more_records_counted_than_there_are_is_an_error_once() {
    let mut bytes = batch_of(&[record(b"a")], Codec::None);
    bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    let results: Vec<_> = only_batch(bytes).records(LIMIT_BYTES).expect("records").collect();
    assert_eq!(results.len(), 2);
    assert_eq!(
        results[1],
        Err(RecordError::Malformed {
            index: 1,
            what: "length"
        })
    );
}

fn any_record() -> impl Strategy<Value = NewRecord> {
    let bytes = || option::of(vec(any::<u8>(), 0..300));
    let header = ("[a-zé]{0,8}", option::of(vec(any::<u8>(), 0..20)));
    (0..i64::MAX / 2, bytes(), bytes(), vec(header, 0..4)).prop_map(|(timestamp_ms, key, value, headers)| {
        NewRecord {
            timestamp_ms,
            key,
            value,
            headers,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_built_is_read_back(records in vec(any_record(), 1..20), codec in 0..5u8) {
        let codec = Codec::from_bits(codec).expect("codec");
        let batch = only_batch(batch_of(&records, codec));
        prop_assert_eq!(batch.header.last_offset(), records.len() as i64 - 1);
        prop_assert_eq!(batch.header.max_timestamp_ms, records.iter().map(|r| r.timestamp_ms).max().expect("some"));
        prop_assert_eq!(read_back(&batch), records);
    }

    #[test]
    fn varints_round_trip(value: i64) {
        let mut out = Vec::new();
        varint::write(&mut out, value);
        prop_assert_eq!(out.len(), varint::size(value));
        let mut bytes = Bytes::from(out.clone());
        prop_assert_eq!(varint::read_i64(&mut bytes), Some(value));
        prop_assert_eq!(varint::read_i32(&mut Bytes::from(out)), i32::try_from(value).ok());
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        for batch in Batches::new(Bytes::from(bytes.clone())).flatten() {
            drop(batch.records(LIMIT_BYTES).map(|records| records.for_each(drop)));
        }
        for codec in Codec::ALL {
            drop(unpack(codec, Bytes::from(bytes.clone()), LIMIT_BYTES));
        }
    }

    #[test]
    fn damaged_batches_never_panic(
        records in vec(any_record(), 1..5), codec in 0..5u8, at in 12..400usize, with: u8,
    ) {
        let mut bytes = batch_of(&records, Codec::from_bits(codec).expect("codec"));
        let at = at % bytes.len();
        bytes[at] = with;
        for batch in Batches::new(Bytes::from(bytes)).flatten() {
            drop(batch.records(LIMIT_BYTES).map(|records| {
                records.flatten().for_each(|record| record.headers.iter().for_each(drop));
            }));
        }
    }
}
