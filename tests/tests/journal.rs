//! The journal's end after a crash: torn frames are cut and counted, never believed, and never stop the start.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rdkafka::Offset;
use ringlog_tests::Broker;
use ringlog_tests::admin::create;
use ringlog_tests::client::{Outgoing, Producer, read_partition};
use ringlog_tests::files::with_prefix;
use ringlog_tests::oracle::Ledger;

/// Frames lie at multiples of this.
const ALIGN: usize = 4096;

/// A frame of the journal, as far as these tests look into it: magic `RLJF`, crc32, journal id, sequence, its bytes.
#[derive(Clone, Copy, Debug)]
struct Frame {
    at: usize,
    sequence: u64,
    bytes: usize,
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The last frame of the journal's present life.
fn last_frame(journal: &[u8]) -> Option<Frame> {
    assert_eq!(&journal[..8], b"RLJOURNL");
    let id = word(journal, 16);
    let frames = (ALIGN..journal.len())
        .step_by(ALIGN)
        .filter(|&at| journal[at..].starts_with(b"RLJF"));
    frames
        .filter(|&at| word(journal, at + 8) == id)
        .map(|at| {
            let bytes = u32::from_le_bytes(journal[at + 24..at + 28].try_into().expect("four bytes"));
            Frame {
                at,
                sequence: word(journal, at + 16),
                bytes: bytes as usize,
            }
        })
        .max_by_key(|frame| frame.sequence)
}

/// A killed broker of one core with 300 acknowledged records, and its journal.
fn killed(topic: &mut String, ledger: &mut Ledger) -> Option<(Broker, PathBuf)> {
    let mut broker = Broker::own().cores(1).start()?;
    *topic = create(&broker, "torn", 1, &[]);
    let producer = Producer::new(broker.bootstrap(), &[("batch.num.messages", "10")]);
    // Ten at a time, each acknowledged before the next: thirty frames at the least.
    for ten in 0..30 {
        let records: Vec<Outgoing> = (0..10)
            .map(|number| Outgoing::value(format!("record {}", ten * 10 + number)))
            .collect();
        ledger.enter(producer.send_all(topic, 0, &records));
    }
    broker.kill();
    let journals = with_prefix(broker.data(), "ringlog-journal-");
    assert_eq!(journals.len(), 1, "one core, one journal");
    let journal = journals.into_iter().next()?;
    Some((broker, journal))
}

fn write_at(path: &Path, at: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("the journal");
    file.write_all_at(bytes, at as u64).expect("written");
    file.sync_all().expect("synced");
}

/// What the log must say about a cut frame.
fn assert_counted(broker: &Broker) {
    let log = broker.log().to_lowercase();
    let counted = log
        .lines()
        .any(|line| line.contains("torn") && line.contains('1'));
    assert!(counted, "the log does not count the torn frame:\n{log}");
}

#[test]
fn a_frame_that_was_begun_and_not_finished_is_cut_and_counted() {
    let (mut topic, mut ledger) = (String::new(), Ledger::new());
    let Some((mut broker, journal)) = killed(&mut topic, &mut ledger) else {
        return;
    };
    let bytes = std::fs::read(&journal).expect("readable");
    let last = last_frame(&bytes).expect("a frame");
    // The next frame's first page came to the disk, the rest did not: its checksum cannot hold.
    let mut torn = bytes[last.at..last.at + ALIGN].to_vec();
    torn[16..24].copy_from_slice(&(last.sequence + 1).to_le_bytes());
    torn[ALIGN / 2..].fill(0);
    write_at(&journal, last.at + last.bytes, &torn);
    broker.restart();
    ledger.check(broker.bootstrap(), true);
    let producer = Producer::new(broker.bootstrap(), &[]);
    ledger.enter(producer.send_all(&topic, 0, &[Outgoing::value("after")]));
    assert_counted(&broker);
    broker.kill();
    broker.restart();
    ledger.check(broker.bootstrap(), true);
}

/// Not what a crash does (the frame was acknowledged) but what a bad disk may: what is before it is kept.
#[test]
fn a_damaged_last_frame_costs_only_itself() {
    for damage in ["flip", "cut"] {
        let (mut topic, mut ledger) = (String::new(), Ledger::new());
        let Some((mut broker, journal)) = killed(&mut topic, &mut ledger) else {
            return;
        };
        let bytes = std::fs::read(&journal).expect("readable");
        let last = last_frame(&bytes).expect("a frame");
        if damage == "flip" {
            write_at(&journal, last.at + 100, &[bytes[last.at + 100] ^ 1]);
        } else {
            let file = OpenOptions::new()
                .write(true)
                .open(&journal)
                .expect("the journal");
            file.set_len((last.at + 80) as u64).expect("cut");
        }
        broker.restart();
        let back = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
        assert!(
            back.len() >= 200,
            "{damage}: only {} records are left",
            back.len()
        );
        for (number, record) in back.iter().enumerate() {
            assert_eq!(record.offset, number as i64, "{damage}");
            assert_eq!(
                record.value,
                Some(format!("record {number}").into_bytes()),
                "{damage}"
            );
        }
        let producer = Producer::new(broker.bootstrap(), &[]);
        let next = producer
            .send_one(&topic, 0, &Outgoing::value("next"))
            .expect("acknowledged");
        assert_eq!(next.offset, back.len() as i64, "{damage}");
        if damage == "flip" {
            assert_counted(&broker);
        }
    }
}

#[test]
fn bytes_behind_the_last_frame_mean_nothing() {
    let (mut topic, mut ledger) = (String::new(), Ledger::new());
    let Some((mut broker, journal)) = killed(&mut topic, &mut ledger) else {
        return;
    };
    let bytes = std::fs::read(&journal).expect("readable");
    let last = last_frame(&bytes).expect("a frame");
    let garbage = ringlog_tests::Random::new(9).bytes(3 * ALIGN + 77);
    write_at(&journal, last.at + last.bytes, &garbage);
    broker.restart();
    ledger.check(broker.bootstrap(), true);
}

/// A journal of a later version must not be read as if it were ours: what it promises is unknown.
#[test]
fn a_journal_of_a_newer_version_is_refused_and_left_alone() {
    let (mut topic, mut ledger) = (String::new(), Ledger::new());
    let Some((mut broker, journal)) = killed(&mut topic, &mut ledger) else {
        return;
    };
    write_at(&journal, 8, &99u16.to_le_bytes());
    let newer = std::fs::read(&journal).expect("readable");
    let failure = broker.try_restart().expect_err("a newer journal");
    assert_eq!(
        failure.status.and_then(|status| status.code()),
        Some(1),
        "{failure}"
    );
    let path = journal.display().to_string();
    assert!(
        failure.stderr.contains("99") && failure.stderr.contains(&path),
        "{failure}"
    );
    assert!(
        std::fs::read(&journal).expect("readable") == newer,
        "the journal was written to"
    );
    write_at(&journal, 8, &1u16.to_le_bytes());
    broker.restart();
    ledger.check(broker.bootstrap(), true);
}
