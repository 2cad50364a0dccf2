//! Files of removed segments that become new ones.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ringlog_engine::io::files;
use ringlog_engine::shard::*;
use ringlog_engine::spares::{Limits, PREFIX};

use crate::faulty::Verb;
use crate::world::*;
use crate::{bases, dir, small_segments};

const ENOSPC: i32 = 28;

pub fn setup() -> Setup {
    Setup {
        spares: Limits {
            most_bytes: 4 << 20,
            least_bytes: 100_000,
            idle: Duration::from_secs(3600),
        },
        ..small_segments()
    }
}

fn spares(dir: &Path) -> usize {
    let entries = files::list(dir).unwrap();
    entries.iter().filter(|e| e.name.starts_with(PREFIX)).count()
}

/// Fills a few segments, and deletes them.
pub fn fill_and_delete(w: &mut World) {
    for _ in 0..40 {
        w.produce(0, &batch(1, 30_000));
    }
    let end = w.shard.offsets(Slot(0)).unwrap().high_watermark;
    w.shard.delete_records(&mut w.ring, Slot(0), end).unwrap();
    w.until(|w| (w.background.spares().bytes() > 600_000).then_some(()));
}

fn longest_log(dir: &Path) -> u64 {
    let logs = files::list(&dir.join("t-0")).unwrap().into_iter();
    let logs = logs.filter(|e| e.name.ends_with(".log"));
    logs.map(|e| e.bytes).max().unwrap_or(0)
}

#[test]
fn removed_segments_become_new_ones_and_nothing_of_them_comes_back() {
    let dir = dir();
    let mut w = World::open(dir.path(), &setup());
    fill_and_delete(&mut w);
    let kept = spares(dir.path());
    assert!(kept >= 3, "{kept}");
    let start = w.shard.offsets(Slot(0)).unwrap().log_start;
    // Small ones, so that the segment in use has old batches behind its end.
    let until = w.background.spares().bytes() / 2;
    let mut count = 0;
    w.until(|w| {
        w.produce(0, &batch(1, 3_000));
        count += 1;
        (w.background.spares().bytes() < until).then_some(())
    });
    assert_eq!(w.read_all(0, start, 1 << 20).len(), count);
    drop(w);
    // Killed: the journal says where the log ends.
    let mut w = World::open(dir.path(), &setup());
    assert_eq!(w.read_all(0, start, 1 << 20).len(), count);
    assert!(w.background.spares().bytes() > 0, "found again");
    w.produce(0, &batch(1, 10));
    let size = w.shard.size_bytes(Slot(0));
    w.stop();
    assert_eq!(spares(dir.path()), 0, "Apache Kafka finds none");
    let logs = files::list(&dir.path().join("t-0")).unwrap().into_iter();
    let bytes: u64 = logs.filter(|e| e.name.ends_with(".log")).map(|e| e.bytes).sum();
    assert_eq!(bytes, size, "each has its exact length");
    let mut w = World::open(dir.path(), &setup());
    assert_eq!(w.read_all(0, start, 1 << 20).len(), count + 1);
}

#[test]
fn a_spare_is_used_for_a_known_partition_only() {
    let dir = dir();
    let mut w = World::open(dir.path(), &setup());
    fill_and_delete(&mut w);
    drop(w);
    let partitions = vec!["t-0".into(), "new-0".into()];
    let mut w = World::open(
        dir.path(),
        &Setup {
            partitions,
            ..setup()
        },
    );
    let before = w.background.spares().bytes();
    assert!(before > 0);
    // Without a turn in between no checkpoint has the new one.
    let bytes = batch(1, 140_000);
    w.append(1, &bytes);
    w.append(1, &bytes);
    w.until(|w| {
        let log = fs::metadata(dir.path().join("new-0/00000000000000000000.log"));
        w.turn();
        (log.unwrap().len() > 0).then_some(())
    });
    assert_eq!(w.background.spares().bytes(), before);
    for _ in 0..8 {
        w.produce(1, &bytes);
    }
    w.until(|w| (w.background.spares().bytes() < before).then_some(()));
    assert_eq!(w.read_all(1, 0, 1 << 20).len(), 10);
}

#[test]
fn a_full_disk_does_not_wait_for_the_delay_of_removed_files() {
    let dir = dir();
    let options = LogOptions {
        file_delete_delay: Duration::from_secs(3600),
        ..setup().options
    };
    let mut w = World::open(dir.path(), &Setup { options, ..setup() });
    for _ in 0..40 {
        w.produce(0, &batch(1, 30_000));
    }
    let end = w.shard.offsets(Slot(0)).unwrap().high_watermark;
    w.shard.delete_records(&mut w.ring, Slot(0), end).unwrap();
    w.until(|w| w.background.has_room_to_give().then_some(()));
    assert_eq!(spares(dir.path()), 0, "they are no spares yet");
    let background = w.background.clone();
    w.ring.set_fault(Some(Box::new(move |verb, _| {
        (verb == Verb::Allocate && background.has_room_to_give()).then_some(ENOSPC)
    })));
    for _ in 0..60 {
        w.produce(0, &batch(1, 30_000));
    }
    w.until(|w| (!w.background.has_room_to_give()).then_some(()));
    assert!(!w.notices().contains("disk is full"), "{}", w.notices());
    w.until(|_| {
        bases(&dir.path().join("t-0"), ".log.deleted")
            .is_empty()
            .then_some(())
    });
}

#[test]
fn a_full_disk_gets_spares_back_before_producers_hear_of_it() {
    let dir = dir();
    let mut w = World::open(dir.path(), &setup());
    fill_and_delete(&mut w);
    let background = w.background.clone();
    w.ring.set_fault(Some(Box::new(move |verb, _| {
        (verb == Verb::Allocate && !background.spares().is_empty()).then_some(ENOSPC)
    })));
    for _ in 0..60 {
        w.produce(0, &batch(1, 30_000));
    }
    w.until(|w| w.background.spares().is_empty().then_some(()));
    assert!(!w.notices().contains("disk is full"), "{}", w.notices());
    // What waited for the disk gets to it then.
    w.until(|_| {
        let is_written = longest_log(dir.path()) > 0 && bases(&dir.path().join("t-0"), ".log").len() > 3;
        is_written.then_some(())
    });
}
