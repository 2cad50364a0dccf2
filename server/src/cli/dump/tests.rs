//! Every file format, whole and damaged.

use std::path::PathBuf;

use ringlog_engine::journal::format::{self, Entry, EntryKind, FrameHeader};
use ringlog_engine::journal::states;
use ringlog_records::{BatchBuilder, Codec, NewRecord, Producer};

use super::*;

/// Dumps bytes under this name, and gives how many findings were corrupt.
fn corrupt_in(name: &str, bytes: &[u8]) -> u64 {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join(name);
    fs::write(&path, bytes).expect("written");
    corrupt_at(path)
}

fn corrupt_at(path: PathBuf) -> u64 {
    let args = DumpArgs {
        files: vec![path],
        records: true,
        json: true,
        max_unpacked_bytes: 1 << 20,
    };
    let mut report = Report {
        out: Output::to(std::io::sink(), true),
        corrupt: 0,
    };
    dump_file(&args.files[0], &args, &mut report).expect("readable");
    report.corrupt
}

fn batch(base_offset: i64, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for value in values {
        builder.push(&NewRecord {
            value: Some(value.as_bytes().to_vec()),
            ..NewRecord::default()
        });
    }
    let mut bytes = builder.finish(Codec::Lz4, Producer::NONE).expect("packs");
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes
}

const LOG: &str = "00000000000000000005.log";

#[test]
fn a_sound_segment_has_no_finding() {
    let log = [batch(5, &["a", "b"]), batch(7, &["c"]), batch(100, &["d"])].concat();
    assert_eq!(corrupt_in(LOG, &log), 0);
    assert_eq!(corrupt_in(LOG, &[]), 0);
    assert_eq!(
        corrupt_in(LOG, &[log, vec![0; 5000]].concat()),
        0,
        "zeroes at the end are room, not damage"
    );
}

#[test]
fn damage_in_a_segment_is_found() {
    let log = [batch(5, &["a", "b"]), batch(7, &["c"])].concat();
    let mut flipped = log.clone();
    *flipped.last_mut().expect("a byte") ^= 1;
    let cases = [
        ("flipped bit", flipped),
        ("cut off", log[..log.len() - 1].to_vec()),
        ("offsets repeat", [log.clone(), log.clone()].concat()),
        ("offsets below the file's", batch(4, &["a"])),
        ("garbage", [&log[..], &[1; 100]].concat()),
        ("a byte after zeroes", [&log[..], &[0; 70_000], &[1]].concat()),
    ];
    for (case, bytes) in cases {
        assert!(corrupt_in(LOG, &bytes) > 0, "{case}");
    }
}

#[test]
fn an_offset_index_is_checked_against_its_segment() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let first = batch(5, &["a", "b"]);
    fs::write(dir.path().join(LOG), [&first[..], &batch(7, &["c"])].concat()).expect("written");
    let index = dir.path().join("00000000000000000005.index");
    let entry =
        |offset: i32, position: usize| [offset.to_be_bytes(), (position as i32).to_be_bytes()].concat();
    for (entries, expected) in [
        (entry(2, first.len()), 0),
        ([entry(2, first.len()), vec![0; 80]].concat(), 0),
        (entry(3, first.len()), 1),
        (entry(2, first.len() + 1), 1),
        (entry(2, 1 << 20), 1),
        ([entry(2, first.len()), entry(1, first.len())].concat(), 1),
        (entry(2, first.len())[..7].to_vec(), 1),
    ] {
        fs::write(&index, entries).expect("written");
        assert_eq!(corrupt_at(index.clone()), expected);
    }
}

#[test]
fn time_and_transaction_indexes_ascend() {
    let time =
        |timestamp_ms: i64, offset: i32| [&timestamp_ms.to_be_bytes()[..], &offset.to_be_bytes()].concat();
    assert_eq!(
        corrupt_in(
            "00000000000000000000.timeindex",
            &[time(10, 1), time(10, 2), time(20, 3)].concat()
        ),
        0
    );
    assert_eq!(
        corrupt_in(
            "00000000000000000000.timeindex",
            &[time(10, 1), time(9, 2)].concat()
        ),
        1
    );
    assert_eq!(
        corrupt_in(
            "00000000000000000000.timeindex",
            &[time(10, 2), time(11, 2)].concat()
        ),
        1
    );
    let aborted = |first: i64, last: i64| {
        let offsets = [2i64, first, last, 52].map(i64::to_be_bytes).concat();
        [&0i16.to_be_bytes()[..], &offsets].concat()
    };
    assert_eq!(corrupt_in("00000000000000000000.txnindex", &aborted(47, 51)), 0);
    assert_eq!(corrupt_in("00000000000000000000.txnindex", &aborted(52, 51)), 1);
}

#[test]
fn bytes_of_a_removed_segment_behind_a_logs_end_are_no_records() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let folder = dir.path().join("t-0");
    fs::create_dir(&folder).expect("a folder");
    let path = folder.join(LOG);
    let log = [batch(5, &["a"]), batch(6, &["b"]), batch(2, &["old"])].concat();
    fs::write(&path, log).expect("written");
    assert_eq!(
        corrupt_at(path.clone()),
        1,
        "a stopped broker's log has no such thing"
    );
    fs::write(dir.path().join("ringlog-checkpoint-0"), []).expect("written");
    assert_eq!(corrupt_at(path), 0);
}

#[test]
fn snapshots_are_checked() {
    let snapshot = |count: i32, entries: &[u8]| {
        let body = [&count.to_be_bytes()[..], entries].concat();
        [
            &1i16.to_be_bytes()[..],
            &crc_fast::crc32_iscsi(&body).to_be_bytes(),
            &body,
        ]
        .concat()
    };
    let name = "00000000000000000008.snapshot";
    assert_eq!(corrupt_in(name, &snapshot(0, &[])), 0);
    assert_eq!(corrupt_in(name, &snapshot(1, &[7; 46])), 0);
    assert_eq!(corrupt_in(name, &snapshot(2, &[7; 46])), 1);
    assert_eq!(corrupt_in(name, &snapshot(-1, &[7; 46])), 1);
    let mut flipped = snapshot(1, &[7; 46]);
    flipped[20] ^= 1;
    assert_eq!(corrupt_in(name, &flipped), 1);
    assert_eq!(corrupt_in(name, &[0, 1]), 1);
}

#[test]
fn text_files_are_checked() {
    let cases = [
        ("leader-epoch-checkpoint", "0\n2\n0 0\n3 17\n", 0),
        ("leader-epoch-checkpoint", "", 0),
        ("leader-epoch-checkpoint", "0\n2\n0 0\n", 1),
        ("leader-epoch-checkpoint", "1\n0\n", 1),
        ("replication-offset-checkpoint", "0\n1\norders 3 99\n", 0),
        ("replication-offset-checkpoint", "0\n1\norders three 99\n", 1),
        ("meta.properties", "#comment\nversion=1\nnode.id=1\n", 0),
        (
            "partition.metadata",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n",
            0,
        ),
        ("partition.metadata", "version\n", 1),
        (".kafka_cleanshutdown", "{\"version\":0,\"brokerEpoch\":11}", 0),
        ("quorum-state", "{", 1),
    ];
    for (name, text, expected) in cases {
        assert_eq!(corrupt_in(name, text.as_bytes()), expected, "{name} {text:?}");
    }
}

/// A journal frame with one batch, as the engine writes it.
fn frame(sequence: u64, data: &[u8]) -> Vec<u8> {
    let entry = Entry {
        kind: EntryKind::Batch,
        name: "t-0",
        topic_id: [7; 16],
        segment_base: 0,
        position: 0,
        base_offset: 5,
        data,
    };
    let mut payload = Vec::new();
    entry.write_head(&mut payload);
    payload.extend_from_slice(data);
    let frame_bytes = format::frame_bytes(payload.len());
    let header = FrameHeader {
        journal_id: 9,
        sequence,
        frame_bytes: frame_bytes as u32,
        payload_bytes: payload.len() as u32,
        entries: 1,
    };
    let mut bytes = header.encode(&payload).to_vec();
    bytes.extend_from_slice(&payload);
    bytes.resize(frame_bytes, 0);
    bytes
}

#[test]
fn a_journal_may_end_in_a_torn_frame_but_not_hold_one() {
    let first = format::file_header(9).to_vec();
    let frames = [
        frame(3, &batch(5, &["a"])),
        frame(4, &batch(6, &["b"])),
        frame(5, &batch(7, &["c"])),
    ];
    let journal = |frames: &[Vec<u8>]| [&first[..], &frames.concat(), &[0; 8192]].concat();
    assert_eq!(corrupt_in("ringlog-journal-0", &journal(&frames)), 0);
    let mut torn = frames.clone();
    torn[2][100] ^= 1;
    assert_eq!(corrupt_in("ringlog-journal-0", &journal(&torn)), 0);
    torn[1][100] ^= 1;
    assert_eq!(
        corrupt_in("ringlog-journal-0", &journal(&torn)),
        1,
        "only the last can be unfinished"
    );
    let mut holed = frames;
    holed[1][100] ^= 1;
    assert_eq!(corrupt_in("ringlog-journal-0", &journal(&holed)), 1);
    assert_eq!(corrupt_in("ringlog-journal-0", &[0; 4096]), 0);
    assert_eq!(corrupt_in("ringlog-journal-0", &[]), 0);
}

#[test]
fn a_journal_s_batches_are_checked() {
    let mut damaged = batch(5, &["a"]);
    *damaged.last_mut().expect("a byte") ^= 1;
    let journal = [format::file_header(9).to_vec(), frame(1, &damaged)].concat();
    assert_eq!(corrupt_in("ringlog-journal-0", &journal), 1);
}

#[test]
fn a_checkpoint_is_checked() {
    let sound = states::encode_file(9, 3, 4096, &[]);
    assert_eq!(corrupt_in("ringlog-checkpoint-1", &sound), 0);
    for at in 12..sound.len() {
        let mut flipped = sound.clone();
        flipped[at] ^= 1;
        assert_eq!(corrupt_in("ringlog-checkpoint-1", &flipped), 1, "byte {at}");
    }
}

#[test]
fn a_name_decides_what_a_file_is() {
    for (name, kind) in [
        (LOG, Some(Kind::Segment)),
        ("00000000000000000005.log.deleted", Some(Kind::Segment)),
        ("00000000000000000005.index.swap", Some(Kind::OffsetIndex)),
        ("00000000000000000100-0000000001.checkpoint", Some(Kind::Segment)),
        ("recovery-point-offset-checkpoint", Some(Kind::Checkpoint)),
        ("ringlog-journal-0", Some(Kind::Journal)),
        ("ringlog-checkpoint-12", Some(Kind::JournalCheckpoint)),
        ("notes.txt", None),
        ("log", None),
    ] {
        assert_eq!(Kind::of(name), kind, "{name}");
    }
    let missing = size_of_file(Path::new("/nowhere/x.log"))
        .expect_err("missing")
        .to_string();
    assert!(missing.contains("/nowhere/x.log"), "{missing}");
}
