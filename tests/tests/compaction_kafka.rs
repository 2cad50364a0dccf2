//! The cleaner against Apache Kafka 4.3.1's: the same logs, cleaned at the same times, leave the same batches and records.
//!
//! `golden/compaction-4.3.1.txt` is what Kafka's own cleaner left of each case after each pass; `golden/Compaction.java` wrote it. The cases have keys that are
//! overwritten, tombstones, records without a key, every codec, both kinds of timestamps, idempotent and transactional producers, transactions that are
//! committed, aborted, empty and across segments, maps that are too small for a pass, and delete horizons that pass.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use ringlog_engine::aborted::{AbortedTxn, read_entries};
use ringlog_engine::background::segment_file;
use ringlog_engine::cleaner::{
    CleanDone, CleanInbox, CleanLimits, CleanOrder, CleanSegment, CleanerSettings, Cleaners, remove_cleaned,
};
use ringlog_records::{Batch, Batches, Headers};
use ringlog_tests::compaction::{CASES, Case};

#[test]
fn the_same_logs_cleaned_at_the_same_times_leave_the_same_records() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/compaction-4.3.1.txt");
    let expected = std::fs::read_to_string(golden).expect("what Kafka left");
    let mut found = String::new();
    for number in 0..CASES {
        clean(number, Case::new(number), &mut found);
    }
    let (mut theirs, mut ours) = (expected.lines(), found.lines());
    let mut pass = "";
    loop {
        match (theirs.next(), ours.next()) {
            (None, None) => break,
            (their, our) => {
                assert_eq!(our, their, "in {pass}: ours, then Kafka's");
                pass = their.filter(|line| line.starts_with("pass")).unwrap_or(pass);
            }
        }
    }
}

/// Cleans a case pass by pass, and writes down what is left each time.
fn clean(number: u64, mut case: Case, found: &mut String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    case.write(dir.path(), number).expect("writes");
    let folder = dir.path().join(format!("{number}-0"));
    let settings = CleanerSettings {
        dedupe_buffer_bytes: case.places * 24,
        load_factor: 0.5,
        ..CleanerSettings::default()
    };
    let (cleaners, backlog) = Cleaners::by_hand(settings);
    let mut first_dirty_offset = 0;
    for (pass, (now_ms, to)) in case.passes.clone().into_iter().enumerate() {
        if first_dirty_offset < to {
            let inbox = CleanInbox::default();
            cleaners.submit(
                0,
                order(&case, &folder, first_dirty_offset, now_ms, to),
                &inbox,
                None,
            );
            assert!(backlog.run_one());
            let done = inbox.pop().expect("a report").result.expect("is cleaned");
            first_dirty_offset = done.cleaned_to;
            put_in_place(&mut case, &folder, &done);
        }
        let line = format!("pass {number} {} {first_dirty_offset}\n", pass + 1);
        found.push_str(&line);
        print(&case, found);
    }
}

fn order(case: &Case, folder: &Path, first_dirty_offset: i64, now_ms: i64, to: i64) -> CleanOrder {
    let segments = case.segments.range(..to).map(|(base, bytes)| CleanSegment {
        base_offset: *base,
        size_bytes: bytes.len() as u64,
        aborted: case.aborted.get(base).map_or(0, Vec::len) as u32,
    });
    for (base, entries) in &case.aborted {
        let bytes: Vec<u8> = entries.iter().flat_map(AbortedTxn::encode).collect();
        std::fs::write(segment_file(folder, *base, ".txnindex"), bytes).expect("writes");
    }
    let later = case.aborted.range(to..).flat_map(|(_, entries)| entries);
    CleanOrder {
        folder: folder.to_path_buf(),
        segments: segments.collect(),
        log_start_offset: 0,
        first_dirty_offset,
        first_uncleanable_offset: to,
        limits: CleanLimits {
            segment_bytes: case.segment_bytes,
            index_max_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: 1 << 20,
            delete_retention_ms: case.delete_retention_ms,
        },
        now_ms,
        last_batches: case.last_batches.clone(),
        later_aborted: later.copied().filter(|txn| txn.first_offset < to).collect(),
        cancelled: Arc::new(AtomicBool::new(false)),
    }
}

/// Puts new segments in the place of the old ones, as a core would.
fn put_in_place(case: &mut Case, folder: &Path, done: &CleanDone) {
    for group in &done.groups {
        let base = group.replaces[0];
        for replaced in &group.replaces {
            case.segments.remove(replaced);
            case.aborted.remove(replaced);
            std::fs::remove_file(segment_file(folder, *replaced, ".log")).expect("is there");
        }
        let cleaned = segment_file(folder, base, ".log.cleaned");
        let log = std::fs::read(&cleaned).expect("is there");
        std::fs::rename(cleaned, segment_file(folder, base, ".log")).expect("renames");
        let entries = std::fs::read(segment_file(folder, base, ".txnindex.cleaned")).unwrap_or_default();
        let entries = read_entries(&entries, group.aborted, base, group.size_bytes).expect("entries");
        case.segments.insert(base, log);
        case.aborted.insert(base, entries);
        remove_cleaned(folder, [base]).expect("removes");
    }
}

/// As `Compaction.java` prints it.
fn print(case: &Case, out: &mut String) {
    for (base, bytes) in &case.segments {
        writeln!(out, "segment {base}").expect("a string");
        for batch in Batches::new(Bytes::copy_from_slice(bytes)) {
            print_batch(&batch.expect("a batch"), out);
        }
        for txn in case.aborted.get(base).into_iter().flatten() {
            let AbortedTxn {
                producer_id,
                first_offset,
                last_offset,
                last_stable_offset,
            } = txn;
            writeln!(
                out,
                "aborted {producer_id} {first_offset} {last_offset} {last_stable_offset}"
            )
            .expect("a string");
        }
    }
}

fn print_batch(batch: &Batch, out: &mut String) {
    batch.check_crc().expect("a sound batch");
    let h = &batch.header;
    let (base, last, count) = (h.base_offset, h.last_offset(), h.record_count);
    let times = format!("{} {} {}", h.attributes, h.base_timestamp_ms, h.max_timestamp_ms);
    let producer = format!("{} {} {}", h.producer_id, h.producer_epoch, h.base_sequence);
    let epoch = h.partition_leader_epoch;
    writeln!(out, "batch {base} {last} {count} {times} {producer} {epoch}").expect("a string");
    if h.is_control() {
        return;
    }
    for record in batch.records(1 << 20).expect("unpacks") {
        let record = record.expect("a record");
        let (key, value) = (text(record.key.as_ref()), text(record.value.as_ref()));
        let headers = headers(&record.headers);
        writeln!(
            out,
            "{} {} {key} {value} {headers}",
            record.offset, record.timestamp_ms
        )
        .expect("a string");
    }
}

fn headers(headers: &Headers) -> String {
    let shown = headers
        .iter()
        .map(|(key, value)| format!("{}={};", text(Some(&key)), text(value.as_ref())));
    match headers.is_empty() {
        true => "-".to_owned(),
        false => shown.collect(),
    }
}

fn text(bytes: Option<&Bytes>) -> String {
    bytes.map_or("null".to_owned(), |bytes| {
        String::from_utf8_lossy(bytes).into_owned()
    })
}
