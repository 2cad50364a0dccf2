//! Files that Apache Kafka 4.3.1 wrote, written again from the batches alone, byte for byte.
//!
//! `golden/produced.headers` holds the first 61 bytes of each batch of one partition: three idempotent producers, one
//! of them with lz4, timestamps that go back now and then. `golden/aborted.*` is all of another partition. The other files are what Kafka kept beside that log
//! after a clean stop, with `index.interval.bytes` at 4096.

use ringlog_engine::aborted::{AbortedTxns, read_entries};
use ringlog_engine::batch::{
    BatchHeader, Compression, EndTxn, HEADER_BYTES, check_stored, marker_batch, peek_size, stamp,
};
use ringlog_engine::checkpoint::{encode_clean_shutdown, encode_offsets, encode_partition_metadata};
use ringlog_engine::checkpoint::{parse_clean_shutdown, parse_offsets, parse_partition_metadata};
use ringlog_engine::epochs::LeaderEpochs;
use ringlog_engine::index::{SparseIndex, validate_offset_file, validate_time_file};
use ringlog_engine::producers::{ProducerStates, TxnStep, Verdict};
use ringlog_engine::shard::{Marker, Producing};

const HEADERS: &[u8] = include_bytes!("golden/produced.headers");
const BATCH: &[u8] = include_bytes!("golden/produced.batch");
const INDEX: &[u8] = include_bytes!("golden/produced.index");
const TIMEINDEX: &[u8] = include_bytes!("golden/produced.timeindex");
const SNAPSHOT: &[u8] = include_bytes!("golden/produced.snapshot");

const LOG_BYTES: u64 = 105_783;
const END_OFFSET: i64 = 235;

fn headers() -> impl Iterator<Item = BatchHeader> {
    HEADERS.chunks(HEADER_BYTES).map(|bytes| {
        let header = BatchHeader::read(bytes).expect("whole headers");
        assert_eq!(header.to_bytes(), bytes);
        header
    })
}

#[test]
fn a_whole_batch() {
    let header = check_stored(BATCH).unwrap();
    assert_eq!(header.compression(), Compression::Lz4);
    assert_eq!((header.producer_id, header.record_count), (1, 1));
}

#[test]
fn indexes() {
    let mut index = SparseIndex::new(4096);
    let mut position = 0;
    for header in headers() {
        let size_bytes = header.size_bytes() as u32;
        index.append(
            header.last_offset() as u32,
            position,
            size_bytes,
            header.max_timestamp_ms,
        );
        position += size_bytes;
    }
    index.close();
    assert_eq!(u64::from(position), LOG_BYTES);
    let unwritten = index.take_unwritten();
    assert_eq!(unwritten.offset_bytes, INDEX);
    assert_eq!(unwritten.time_bytes, TIMEINDEX);
    assert_eq!(
        validate_offset_file(INDEX, LOG_BYTES).unwrap().entries,
        index.offset_count()
    );
    assert_eq!(
        validate_time_file(TIMEINDEX, END_OFFSET as u32 - 1)
            .unwrap()
            .entries,
        index.time_count()
    );
}

#[test]
fn producer_snapshot() {
    let mut states = ProducerStates::new();
    for header in headers() {
        assert_eq!(states.check(&header, Producing::default()), Ok(Verdict::Accept));
        states.record(&header, header.base_offset, 0, None);
    }
    assert_eq!(states.end_offset(), END_OFFSET);
    assert_eq!(states.encode_snapshot(), SNAPSHOT);
    let loaded = ProducerStates::decode_snapshot(SNAPSHOT, END_OFFSET).unwrap();
    assert_eq!(loaded.encode_snapshot(), SNAPSHOT);
    let last = headers().last().unwrap();
    assert!(
        matches!(loaded.check(&last, Producing::default()), Ok(Verdict::Duplicate { last_offset, .. }) if last_offset == END_OFFSET - 1)
    );
}

/// Three transactions of one producer, from offset 237 on: the marker of one committed before, one aborted, one left open.
#[test]
fn producer_snapshots_across_transactions() {
    let mut log: &[u8] = include_bytes!("golden/transactions.log");
    let before = include_bytes!("golden/transactions-before.snapshot");
    let mut states = ProducerStates::decode_snapshot(before, 237).unwrap();
    assert_eq!(states.encode_snapshot(), before);
    while let Some(size) = peek_size(log) {
        let (batch, rest) = log.split_at(size.unwrap());
        let header = check_stored(batch).unwrap();
        let marker = EndTxn::read(&header, batch);
        assert_eq!(header.is_control(), marker.is_some());
        states.record(&header, header.base_offset, 0, marker);
        log = rest;
    }
    assert_eq!(states.end_offset(), 243);
    assert_eq!(
        states.encode_snapshot(),
        include_bytes!("golden/transactions-after.snapshot")
    );
}

/// Two producers that abort, one of them twice, one that commits, records outside any transaction, and a transaction left open, with transaction
/// version 2.
#[test]
fn aborted_transactions() {
    let log: &[u8] = include_bytes!("golden/aborted.log");
    let index = include_bytes!("golden/aborted.txnindex");
    let mut states = ProducerStates::new();
    let mut entries = AbortedTxns::default();
    let mut rest = log;
    while let Some(size) = peek_size(rest) {
        let (batch, behind) = rest.split_at(size.unwrap());
        let header = check_stored(batch).unwrap();
        let marker = EndTxn::read(&header, batch);
        if let Some(end) = marker {
            let (id, epoch) = (header.producer_id, header.producer_epoch);
            let mut written = marker_batch(id, epoch, end, header.max_timestamp_ms);
            stamp(&mut written, header.base_offset, header.partition_leader_epoch);
            assert_eq!(written, batch, "the marker at {}", header.base_offset);
            let marker = Marker {
                producer_id: id,
                producer_epoch: epoch,
                kind: end.kind,
                coordinator_epoch: end.coordinator_epoch,
                transaction_version: 2,
            };
            assert_eq!(states.check_marker(&marker), Ok(()));
        } else {
            let verified = Producing {
                is_verified: true,
                bumps_epochs: true,
                ..Producing::default()
            };
            assert_eq!(states.check(&header, verified), Ok(Verdict::Accept));
        }
        let step = states.record(&header, header.base_offset, 0, marker);
        if let TxnStep::Ended {
            aborted: Some(aborted),
            ..
        } = step
        {
            entries.push(aborted);
        }
        rest = behind;
    }
    assert_eq!((states.end_offset(), states.first_open()), (14, Some(11)));
    assert_eq!(entries.take_unwritten().bytes, index);
    let read = read_entries(index, 4, 0, log.len() as u64).unwrap();
    assert_eq!(read.len(), 4);
    assert_eq!(
        states.encode_snapshot(),
        include_bytes!("golden/aborted.snapshot")
    );
}

#[test]
fn text_files() {
    let recovery_point = "0\n2\ng 0 243\n__transaction_state 0 8\n";
    assert_eq!(
        encode_offsets(&parse_offsets(recovery_point).unwrap()),
        recovery_point
    );
    let epochs = LeaderEpochs::decode("0\n2\n0 0\n2 235\n").unwrap();
    assert_eq!(epochs.encode(), "0\n2\n0 0\n2 235\n");
    assert_eq!(epochs.end_offset_for(0, 243), (0, 235));
    let metadata = "version: 0\ntopic_id: zup6RdlmQKOBDOg_1C1AjQ";
    assert_eq!(
        encode_partition_metadata(parse_partition_metadata(metadata).unwrap()),
        metadata
    );
    let clean = "{\"version\":0,\"brokerEpoch\":13}";
    assert_eq!(
        parse_clean_shutdown(clean).map(encode_clean_shutdown).as_deref(),
        Some(clean)
    );
}
