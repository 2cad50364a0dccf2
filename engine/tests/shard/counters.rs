//! What a shard counts: every append once, per partition too, and when a commit was handed to the disk.

use ringlog_engine::batch::BatchBuilder;
use ringlog_engine::io::Io;
use ringlog_engine::shard::*;
use ringlog_engine::stats::Load;

use crate::world::*;
use crate::{checkpointed, dir};

#[test]
fn appends_are_counted_once_and_by_partition() {
    let dir = dir();
    let setup = Setup {
        partitions: vec!["t-0".into(), "t-1".into()],
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    let first = BatchBuilder::new()
        .producer(7, 0, 0)
        .record(0, None, Some(b"a"))
        .finish();
    w.produce(0, &first);
    assert!(w.produce(0, &first).duplicate);
    let second = batch(3, 500);
    w.produce(1, &second);
    w.shard.note_read(Slot(1), 40);
    let bytes = (first.len() + second.len()) as u64;
    let counters = w.shard.counters();
    assert_eq!(
        (counters.appends, counters.appended_bytes, counters.read_bytes),
        (2, bytes, 40)
    );
    assert_eq!((counters.journal.commits, counters.journal.entries), (2, 2));
    let load = |bytes_in: usize, bytes_out| Load {
        batches_in: 1,
        bytes_in: bytes_in as u64,
        bytes_out,
    };
    assert_eq!(w.shard.load(Slot(0)), load(first.len(), 0));
    assert_eq!(w.shard.load(Slot(1)), load(second.len(), 40));
    assert_eq!(w.shard.load(Slot(9)), Load::default());
}

#[test]
fn a_commit_knows_when_it_was_handed_to_the_disk() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    assert_eq!(w.shard.committed_frame(), None);
    for _ in 0..3 {
        let before = w.ring.clock();
        let ticket = w.produce(0, &batch(1, 10)).ticket;
        let frame = w.shard.committed_frame().unwrap();
        assert_eq!(frame.ticket, ticket);
        assert!(before <= frame.submitted && frame.submitted <= w.ring.now());
    }
}

#[test]
fn flushes_cold_reads_and_checkpoints_are_counted() {
    let dir = dir();
    let (setup, w) = checkpointed(dir.path());
    let counters = w.shard.counters();
    assert!(counters.checkpoints > 0 && counters.flushes > 0);
    assert!(counters.flushed_bytes >= 60 * 20_000, "{counters:?}");
    drop(w);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.read_all(0, 0, 100_000).len(), 60);
    assert!(w.shard.counters().cold_reads > 0);
}
