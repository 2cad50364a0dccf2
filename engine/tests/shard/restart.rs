//! Restarts at bad moments.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use ringlog_engine::background::{self, FileJob};
use ringlog_engine::checkpoint;
use ringlog_engine::io::Durability;
use ringlog_engine::journal::states;
use ringlog_engine::recover::{self, Left, boot};
use ringlog_engine::shard::*;

use crate::faulty::Verb;
use crate::world::*;
use crate::{bases, dir, find, small_segments};

/// Ends with every frame freed by a checkpoint.
fn checkpointed(w: &mut World) {
    w.until(|w| (w.shard.journal_live_bytes() == 0).then_some(()));
}

#[test]
fn a_segment_the_checkpoint_speaks_of_is_not_removed_before_the_next_one() {
    let dir = dir();
    let setup = Setup {
        checkpoint_idle_ms: 300,
        ..small_segments()
    };
    let folder = dir.path().join("t-0");
    let mut w = World::open(dir.path(), &setup);
    for _ in 0..10 {
        w.produce(0, &batch(1, 20_000));
    }
    checkpointed(&mut w);
    w.ring.set_fault(None);
    // Rolls twice, and never leaves the time for another checkpoint.
    w.until(|w| {
        w.produce(0, &batch(1, 20_000));
        (bases(&folder, ".snapshot").len() >= 2).then_some(())
    });
    let start = w.shard.offsets(Slot(0)).unwrap().high_watermark;
    let (_, ticket) = w.shard.delete_records(&mut w.ring, Slot(0), start).unwrap();
    w.until(|w| (w.committed >= ticket).then_some(()));
    w.produce(0, &batch(1, 5));
    for _ in 0..20 {
        w.turn();
    }
    drop(w);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.shard.offsets(Slot(0)).unwrap().log_start, start);
    assert_eq!(w.read_all(0, start, 1 << 20).len(), 1);
}

#[test]
fn another_cores_older_checkpoint_does_not_bring_deleted_records_back() {
    let dir = dir();
    let setup = Setup {
        cores: 2,
        checkpoint_idle_ms: 1,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    for _ in 0..10 {
        w.produce(0, &batch(1, 20_000));
    }
    drop(w);
    let mut w = World::open(dir.path(), &setup);
    w.shard.delete_records(&mut w.ring, Slot(0), 7).unwrap();
    w.turn();
    checkpointed(&mut w);
    drop(w);
    let w = World::open(dir.path(), &setup);
    assert_eq!(w.shard.offsets(Slot(0)).unwrap().log_start, 7);
}

#[test]
fn another_cores_older_checkpoint_does_not_hide_a_topic_created_again() {
    let dir = dir();
    let mut setup = Setup {
        cores: 2,
        checkpoint_idle_ms: 1,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    w.produce(0, &batch(1, 20_000));
    drop(w);
    // Both cores' first checkpoints know the topic that is deleted now.
    let mut w = World::open(dir.path(), &setup);
    w.shard.remove_partition(&mut w.ring, Slot(0));
    fs::remove_dir_all(dir.path().join("t-0")).unwrap();
    setup.topic_id = [4; 16];
    let job = FileJob::CreatePartition {
        folder: dir.path().join("t-0"),
        metadata: checkpoint::encode_partition_metadata(setup.topic_id),
        epochs: "0\n0\n".into(),
    };
    background::run(&job).unwrap();
    let spec = PartitionSpec {
        topic_id: setup.topic_id,
        name: "t-0".into(),
        leader_epoch: 0,
        options: setup.options,
    };
    let slot = w.shard.add_partition(&w.ring, spec, None);
    for _ in 0..3 {
        w.produce(slot.0, &batch(1, 20_000));
    }
    checkpointed(&mut w);
    w.produce(slot.0, &batch(1, 20_000));
    drop(w);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 4);
    assert_eq!(w.report.scanned_segments, 0, "{:?}", w.report);
}

#[test]
fn a_stop_that_cannot_be_finished_keeps_the_journal() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    w.produce(0, &batch(1, 100));
    fs::create_dir(dir.path().join(".kafka_cleanshutdown.tmp")).unwrap();
    w.shard.begin_stop(&mut w.ring);
    w.until(|w| w.shard.is_stopped().then_some(()));
    assert!(boot::finish_stop(dir.path(), &w.shard.stopped(), 1).is_err());
    assert!(dir.path().join("ringlog-journal-0").exists());
    assert!(dir.path().join("ringlog-checkpoint-0").exists());
}

#[test]
fn a_small_batch_after_a_restart_is_found_by_its_time() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    for i in 0..3 {
        w.produce(0, &stamped_batch(1, 3_000, 1000 + i));
    }
    w.stop();
    let mut w = World::open(dir.path(), &Setup::default());
    w.produce(0, &stamped_batch(1, 100, 9_000));
    w.produce(0, &stamped_batch(1, 100, 9_001));
    for (time, offset) in [(0, 0), (1002, 2), (1003, 3), (9_000, 3), (9_001, 4)] {
        assert_eq!(find(&mut w, time), Some(offset), "time {time}");
    }
    assert_eq!(find(&mut w, 9_002), None);
}

#[test]
fn a_segment_rolled_to_and_never_written_is_no_hindrance_to_a_stop() {
    let dir = dir();
    let setup = Setup {
        memory_bytes: 4 << 20,
        ..small_segments()
    };
    let mut w = World::open(dir.path(), &setup);
    let mut appended = 0;
    // Ends when an append is refused, perhaps after it has rolled.
    while w.try_append(0, &batch(1, 90_000)).is_ok() {
        appended += 1;
    }
    w.stop();
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.report.scanned_segments, 0);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), appended);
}

#[test]
fn a_folder_that_a_power_cut_left_half_made_is_no_hindrance_to_a_start() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    w.produce(0, &batch(1, 100));
    drop(w);
    // As a rename that was durable before the bytes it names.
    fs::create_dir(dir.path().join("t-1")).unwrap();
    fs::write(dir.path().join("t-1/partition.metadata"), b"").unwrap();
    // Empty, or as an earlier start left it that was cut off too.
    for bytes in [&b""[..], b"\0"] {
        fs::write(dir.path().join("t-1/00000000000000000000.log"), bytes).unwrap();
        let recovered = recover::open(dir.path()).unwrap();
        assert_eq!(recovered.logs["t-1"].topic_id, [0; 16]);
    }
    let recovered = recover::open(dir.path()).unwrap();
    assert_eq!(recovered.logs["t-0"].end_offset, 1);
    // Where there are batches it is another matter.
    fs::write(dir.path().join("t-0/partition.metadata"), b"").unwrap();
    let damaged = recover::open(dir.path()).err().unwrap();
    assert!(
        damaged.to_string().contains("partition.metadata is damaged"),
        "{damaged}"
    );
}

#[test]
fn a_synced_frame_is_not_acknowledged_before_the_unsynced_ones_in_front_of_it_are_synced() {
    let dir = dir();
    let setup = Setup {
        partitions: vec!["t-0".into(), "t-1".into()],
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    let unsynced = LogOptions {
        durability: Durability::Written,
        ..LogOptions::default()
    };
    w.shard.set_options(Slot(0), unsynced);
    let syncs = Rc::new(Cell::new(0));
    let count = syncs.clone();
    w.ring.set_fault(Some(Box::new(move |verb, path| {
        let is_journal = path.to_string_lossy().contains("journal");
        count.set(count.get() + u32::from(verb == Verb::Sync && is_journal));
        None
    })));
    let mut syncs_after = |slot| {
        w.produce(slot, &batch(1, 100));
        syncs.get()
    };
    // A replay goes through the first two to get to the third, which is synced and alone would be lost with them.
    let counts: Vec<u32> = [0, 0, 1, 1, 0, 1].into_iter().map(&mut syncs_after).collect();
    assert_eq!(counts, [0, 0, 1, 1, 1, 2]);
}

#[test]
fn a_removed_partition_whose_folder_stayed_is_no_hindrance_to_a_start() {
    let dir = dir();
    let setup = Setup {
        partitions: vec!["t-0".into(), "t-1".into()],
        checkpoint_idle_ms: 300,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    w.produce(0, &batch(1, 100));
    w.produce(1, &batch(1, 100));
    checkpointed(&mut w);
    w.produce(0, &batch(1, 100));
    w.produce(1, &batch(1, 100));
    drop(w);
    // As when it is removed while a checkpoint is under way, and the disk refuses to rename its folder.
    let path = recover::checkpoint_path(dir.path(), 0);
    let known = states::decode_file(&fs::read(&path).unwrap(), 4096).ok().unwrap();
    let others = known.partitions.iter().filter(|p| p.name != "t-0");
    let others: Vec<Vec<u8>> = others.map(states::encode).collect();
    let others: Vec<&[u8]> = others.iter().map(Vec::as_slice).collect();
    let content = states::encode_file(known.journal_id, known.first_frame, known.position, &others);
    fs::write(&path, content).unwrap();
    let recovered = recover::open(dir.path()).unwrap();
    assert_eq!(recovered.logs["t-1"].end_offset, 2);
    assert_eq!(recovered.logs["t-0"].end_offset, 1, "what its segments have");
    assert_eq!(recovered.report.orphaned_entries, 1);
}

#[test]
fn journal_entries_of_a_partition_that_is_not_there_are_told() {
    let dir = dir();
    let setup = Setup {
        partitions: vec!["t-0".into(), "t-1".into()],
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    for slot in [0, 1, 0, 0] {
        w.produce(slot, &batch(1, 100));
    }
    drop(w);
    let recovered = recover::open(dir.path()).unwrap();
    assert_eq!(recovered.report.orphaned_entries, 0);
    assert_eq!(recovered.report.notices, [""; 0]);
    fs::remove_dir_all(dir.path().join("t-0")).unwrap();
    let recovered = recover::open(dir.path()).unwrap();
    assert_eq!(recovered.report.orphaned_entries, 3);
    let notice = recovered.report.notices.concat();
    assert!(
        notice.starts_with("3 journal entries of 1 partitions"),
        "{notice}"
    );
    assert!(notice.contains("t-0"), "{notice}");
    assert_eq!(recovered.logs["t-1"].end_offset, 1);
}

/// Segments' base offsets, and the offsets of the batches in each.
type Segments<'a> = &'a [(i64, &'a [i64])];

/// A folder with such segments.
fn make_folder(data_dir: &Path, name: &str, segments: Segments<'_>) {
    let folder = data_dir.join(name);
    let job = FileJob::CreatePartition {
        folder: folder.clone(),
        metadata: checkpoint::encode_partition_metadata([7; 16]),
        epochs: "0\n0\n".into(),
    };
    background::run(&job).unwrap();
    for (base, offsets) in segments {
        let stamped = offsets.iter().flat_map(|offset| {
            let mut bytes = batch(1, 100);
            bytes[..8].copy_from_slice(&offset.to_be_bytes());
            bytes
        });
        let log = background::segment_file(&folder, *base, ".log");
        fs::write(log, stamped.collect::<Vec<u8>>()).unwrap();
    }
}

#[test]
fn what_no_journal_knows_ends_where_an_offset_is_missing() {
    let cases: [(&str, Segments<'_>, i64); 4] = [
        ("without a gap", &[(0, &[0, 1]), (2, &[2]), (3, &[])], 3),
        ("a segment lost its bytes", &[(0, &[0, 1]), (2, &[]), (5, &[])], 2),
        (
            "and the one behind it did not",
            &[(0, &[]), (2, &[2, 3, 4]), (5, &[])],
            0,
        ),
        ("within a segment", &[(0, &[0, 1, 3]), (4, &[4])], 2),
    ];
    for (case, segments, end) in cases {
        let dir = dir();
        let mut w = World::open(dir.path(), &Setup::default());
        w.produce(0, &batch(1, 100));
        drop(w);
        make_folder(dir.path(), "t-1", segments);
        // Of an older partition that had this name: neither its log start nor its recovery point is the new one's.
        for name in ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint"] {
            fs::write(dir.path().join(name), "0\n1\nt 1 100\n").unwrap();
        }
        let recovered = recover::open(dir.path()).unwrap();
        assert_eq!(recovered.report.left, Left::Killed);
        let log = &recovered.logs["t-1"];
        assert_eq!((log.log_start_offset, log.end_offset), (0, end), "{case}");
        let left = bases(&dir.path().join("t-1"), ".log");
        let kept: Vec<i64> = log.segments.iter().map(|s| s.base_offset).collect();
        assert_eq!(left, kept, "{case}: nothing lies behind the end");
    }
}

#[test]
fn what_apache_kafka_compacted_keeps_its_gaps_and_its_empty_segments() {
    let dir = dir();
    make_folder(
        dir.path(),
        "t-1",
        &[(0, &[0, 3]), (5, &[]), (9, &[9, 12]), (20, &[])],
    );
    let recovered = recover::open(dir.path()).unwrap();
    assert_eq!(recovered.report.left, Left::Foreign);
    let log = &recovered.logs["t-1"];
    assert_eq!((log.end_offset, log.segments.len()), (20, 4));
}
