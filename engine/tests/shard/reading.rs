//! Old data: read once for all, ahead of those who go on, and never in the way of producers.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use ringlog_engine::io::{Class, Io};
use ringlog_engine::shard::*;

use crate::dir;
use crate::faulty::Verb;
use crate::world::*;

const KIB: usize = 1 << 10;

/// A directory with `count` batches of 64 KiB and more in one partition, of an earlier run.
fn filled(dir: &Path, count: usize, setup: &Setup) {
    let mut w = World::open(dir, setup);
    let bytes = batch(1, 64 * KIB);
    let last = (0..count).map(|_| w.append(0, &bytes)).last().unwrap();
    w.until(|w| (w.committed >= last.ticket).then_some(()));
    w.stop();
}

/// Counts reads of log files from now on.
fn count_reads(w: &mut World) -> Rc<Cell<u32>> {
    let reads = Rc::new(Cell::new(0));
    let count = reads.clone();
    w.ring.set_fault(Some(Box::new(move |verb, path| {
        let is_read = verb == Verb::Read && path.extension().is_some_and(|e| e == "log");
        count.set(count.get() + u32::from(is_read));
        None
    })));
    reads
}

fn request(offset: i64, max_bytes: usize) -> ReadRequest {
    ReadRequest {
        offset,
        max_bytes,
        at_least_one: true,
        isolation: Isolation::Uncommitted,
        token: rand(),
    }
}

/// Starts reading; the answer if it is there at once.
fn begin(w: &mut World, request: ReadRequest) -> Option<ReadData> {
    match w.shard.read(&mut w.ring, Slot(0), request) {
        ReadOutcome::Now(data) => Some(data),
        ReadOutcome::Later => None,
        ReadOutcome::Error(e) => panic!("{e:?}"),
    }
}

fn finish(w: &mut World, token: u64) -> Result<ReadData, ReadError> {
    w.until(|w| {
        let done = |e: &ShardEvent| matches!(e, ShardEvent::ReadDone { token: t, .. } if *t == token);
        let at = w.events.iter().position(done)?;
        match w.events.remove(at) {
            ShardEvent::ReadDone { result, .. } => Some(result),
            _ => None,
        }
    })
}

#[test]
fn readers_of_the_same_bytes_share_one_read() {
    let dir = dir();
    let setup = Setup::default();
    filled(dir.path(), 100, &setup);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(
        w.try_read(0, 0, 1).map(|b| batches(&b).len()),
        Ok(1),
        "the index is loaded"
    );
    let reads = count_reads(&mut w);
    let requests: Vec<_> = (0..5).map(|_| request(0, 500 * KIB)).collect();
    let now: Vec<_> = requests.iter().map(|r| begin(&mut w, *r)).collect();
    for (request, now) in requests.iter().zip(now) {
        let data = now.map_or_else(|| finish(&mut w, request.token), Ok).unwrap();
        let bytes: Vec<u8> = data.slices.iter().flat_map(|s| s.to_vec()).collect();
        assert_eq!(batches(&bytes).len(), 7);
    }
    // A second pass, and a third, by others.
    for _ in 0..3 {
        assert_eq!(w.read_all(0, 0, 300 * KIB).len(), 100);
    }
    let chunks = (100 * 65 * KIB).div_ceil(256 * KIB) as u32;
    assert!(reads.get() <= chunks, "{} reads of {chunks} chunks", reads.get());
    let counters = w.shard.read_counters();
    assert!(counters.hits > 100, "{counters:?}");
}

#[test]
fn those_who_wait_for_the_same_chunk_wait_for_one_read() {
    let dir = dir();
    let setup = Setup::default();
    filled(dir.path(), 40, &setup);
    let mut w = World::open(dir.path(), &setup);
    // The index is loaded by a read elsewhere, which stays out of the cache.
    w.try_read(0, 30, 1).unwrap();
    let reads = count_reads(&mut w);
    let requests: Vec<_> = (0..20).map(|_| request(0, 100 * KIB)).collect();
    for request in &requests {
        assert!(begin(&mut w, *request).is_none());
    }
    for request in &requests {
        assert_eq!(finish(&mut w, request.token).unwrap().slices.len(), 1);
    }
    let counters = w.shard.read_counters();
    assert_eq!((counters.misses, counters.joined), (20, 19), "{counters:?}");
    assert!(
        reads.get() <= 1 + 5,
        "one, and what is read ahead: {}",
        reads.get()
    );
}

#[test]
fn what_a_sequential_reader_comes_to_is_there_before_it() {
    let dir = dir();
    let setup = Setup::default();
    filled(dir.path(), 200, &setup);
    let mut w = World::open(dir.path(), &setup);
    w.try_read(0, 0, 300 * KIB).unwrap();
    let mut offset = 4;
    let mut at_once = 0;
    while offset < 200 {
        (0..50).for_each(|_| w.turn());
        let request = request(offset, 300 * KIB);
        let now = begin(&mut w, request);
        at_once += i64::from(now.is_some());
        let data = now.map_or_else(|| finish(&mut w, request.token), Ok).unwrap();
        let bytes: Vec<u8> = data.slices.iter().flat_map(|s| s.to_vec()).collect();
        offset = batches(&bytes).last().unwrap().last_offset() + 1;
    }
    assert_eq!(at_once, 49, "all but the first");
    let counters = w.shard.read_counters();
    assert_eq!(counters.ahead_wasted, 0, "{counters:?}");
    assert!(counters.ahead_used > 20, "{counters:?}");
}

#[test]
fn who_jumps_about_reads_no_more_than_it_asks_for() {
    let dir = dir();
    let setup = Setup::default();
    filled(dir.path(), 200, &setup);
    let mut w = World::open(dir.path(), &setup);
    for offset in [150, 20, 90, 55, 199, 120] {
        assert_eq!(w.read_once(offset, 100), offset);
    }
    let counters = w.shard.read_counters();
    assert_eq!(
        (counters.loads, counters.alone),
        (0, 6 + 6),
        "each its batch's size, then the batch"
    );
}

impl World {
    /// The base offset of the first batch of an answer.
    fn read_once(&mut self, offset: i64, max_bytes: usize) -> i64 {
        let bytes = self.try_read(0, offset, max_bytes).unwrap();
        batches(&bytes)[0].base_offset
    }
}

#[test]
fn damage_is_told_however_often_it_is_read_and_gone_once_the_disk_is_good() {
    let dir = dir();
    let setup = Setup::default();
    filled(dir.path(), 40, &setup);
    let log = dir.path().join("t-0/00000000000000000000.log");
    let file = fs::OpenOptions::new().read(true).write(true).open(&log).unwrap();
    let size = batch(1, 64 * KIB).len() as u64;
    // The fourth batch lies across the end of the first chunk of 256 KiB: one bit on either side of it.
    assert!(3 * size < 256 << 10 && 4 * size > 256 << 10);
    for at in [3 * size + 1_000, 4 * size - 100] {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let mut w = World::open(dir.path(), &setup);
        for _ in 0..3 {
            let good = w.try_read(0, 0, 1 << 20).unwrap();
            assert_eq!(batches(&good).len(), 3);
            let bad = w.try_read(0, 3, 1 << 20);
            assert!(
                matches!(bad, Err(ReadError::Corrupt { offset: 3, .. })),
                "{bad:?}"
            );
        }
        assert_eq!(w.notices().matches("damaged on disk").count(), 1);
        file.write_all_at(&byte, at).unwrap();
        assert_eq!(w.read_all(0, 0, 1 << 20).len(), 40);
        w.stop();
    }
}

#[test]
fn what_was_deleted_is_not_served_from_memory() {
    let dir = dir();
    let options = LogOptions {
        segment_bytes: 1 << 20,
        ..LogOptions::default()
    };
    let setup = Setup {
        options,
        ..Setup::default()
    };
    filled(dir.path(), 60, &setup);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.read_all(0, 0, 300 * KIB).len(), 60);
    let (start, _) = w.shard.delete_records(&mut w.ring, Slot(0), 40).unwrap();
    assert_eq!(start, 40);
    assert!(matches!(w.try_read(0, 3, 1), Err(ReadError::OutOfRange { .. })));
    assert_eq!(w.read_all(0, 40, 300 * KIB).len(), 20);
    let used = w.ring.memory().0;
    w.shard.remove_partition(&mut w.ring, Slot(0));
    assert!(
        w.ring.memory().0 + (1 << 20) < used,
        "memory comes back with the partition"
    );
    assert_eq!(w.try_read(0, 40, 1), Err(ReadError::NoSuchPartition));
}

#[test]
fn a_read_that_waits_when_its_partition_goes_is_answered() {
    let dir = dir();
    let setup = Setup::default();
    filled(dir.path(), 40, &setup);
    let mut w = World::open(dir.path(), &setup);
    w.try_read(0, 30, 1).unwrap();
    let requests = [
        request(0, 100 * KIB),
        request(0, 900 * KIB),
        request(20, 100 * KIB),
    ];
    for request in requests {
        assert!(begin(&mut w, request).is_none());
    }
    w.shard.remove_partition(&mut w.ring, Slot(0));
    for request in requests {
        let result = finish(&mut w, request.token);
        assert_eq!(result.map(|d| d.bytes), Err(ReadError::NoSuchPartition));
    }
}

/// Fills the cache by reading, keeps what was read as slow clients do, and appends meanwhile: never busy for want of memory.
fn appends_go_on(memory_bytes: usize) {
    let dir = dir();
    let setup = Setup {
        memory_bytes,
        ..Setup::default()
    };
    filled(dir.path(), 3 * memory_bytes / (64 * KIB), &setup);
    let mut w = World::open(dir.path(), &setup);
    let bytes = batch(1, 20 * KIB);
    w.produce(0, &bytes);
    let end = w.shard.offsets(Slot(0)).unwrap().high_watermark;
    let (mut held, mut waiting) = (Vec::new(), 0);
    for offset in (0..end - 1).step_by(3) {
        match begin(&mut w, request(offset, 200 * KIB)) {
            Some(data) => held.push(data),
            None => waiting += 1,
        }
    }
    (0..100).for_each(|_| w.turn());
    // The answers that have come stay in the list of events.
    assert!(
        w.ring.memory().0 <= memory_bytes / 2 + (4 << 20),
        "{:?}",
        w.ring.memory()
    );
    for _ in 0..100 {
        let appended = w.try_append(0, &bytes).unwrap_or_else(|e| panic!("{e:?}"));
        w.until(|w| (w.committed >= appended.ticket).then_some(()));
    }
    held.clear();
    w.until(|w| {
        let before = w.events.len();
        w.events.retain(|e| !matches!(e, ShardEvent::ReadDone { .. }));
        waiting -= before - w.events.len();
        (waiting == 0).then_some(())
    });
    assert_eq!(w.read_all(0, 0, 1 << 20).len() as i64, end + 100);
}

#[test]
fn appends_never_wait_for_readers_of_old_data_with_much_memory_or_little() {
    for memory_mib in [8, 16, 32] {
        appends_go_on(memory_mib << 20);
    }
}

#[test]
fn memory_that_reads_hold_goes_to_whoever_appends() {
    let dir = dir();
    let setup = Setup {
        memory_bytes: 16 << 20,
        ..Setup::default()
    };
    filled(dir.path(), 300, &setup);
    let mut w = World::open(dir.path(), &setup);
    w.produce(0, &batch(1, 10));
    w.read_all(0, 0, 1 << 20);
    // All that is left.
    let mut held = Vec::new();
    for class in [Class::Huge, Class::Large, Class::Medium, Class::Small] {
        held.extend(std::iter::from_fn(|| w.ring.block(class)));
    }
    let evictions = w.shard.read_counters().evictions;
    for _ in 0..20 {
        let appended = w.try_append(0, &batch(1, 60 * KIB)).unwrap();
        w.until(|w| (w.committed >= appended.ticket).then_some(()));
    }
    assert!(w.shard.read_counters().evictions > evictions);
}

#[test]
fn a_failing_disk_is_told_to_all_who_wait_and_asked_again() {
    let dir = dir();
    let setup = Setup::default();
    filled(dir.path(), 40, &setup);
    let mut w = World::open(dir.path(), &setup);
    w.try_read(0, 30, 1).unwrap();
    let failing = Rc::new(Cell::new(true));
    let fails = failing.clone();
    w.ring.set_fault(Some(Box::new(move |verb, _| {
        (verb == Verb::Read && fails.get()).then_some(5)
    })));
    let requests: Vec<_> = (0..3).map(|_| request(0, 900 * KIB)).collect();
    for request in &requests {
        assert!(begin(&mut w, *request).is_none());
    }
    for request in &requests {
        assert!(matches!(finish(&mut w, request.token), Err(ReadError::Io(_))));
    }
    failing.set(false);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 40);
}
