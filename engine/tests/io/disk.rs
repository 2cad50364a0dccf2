//! Files: round trips in every mode, the end of a file, padding, the cap, errors.

use std::path::Path;

use ringlog_engine::io::{
    ALIGN, Block, Class, Durability, Event, FileId, Io, Open, Ring, RingConfig, SyncMethod,
};

use crate::{pattern, poke, ring, ring_with, run, wait_for};

pub(crate) fn open(ring: &mut Ring, path: &Path, how: Open) -> std::io::Result<FileId> {
    ring.open(path.to_path_buf(), how, 77);
    wait_for(ring, |event| match event {
        Event::Opened { token: 77, result } => Some(result),
        _ => None,
    })
}

pub(crate) fn read(ring: &mut Ring, file: FileId, position: u64, len: usize) -> Block {
    let block = ring.large_block(len).expect("memory");
    read_into(ring, file, position, len, block)
}

fn read_into(ring: &mut Ring, file: FileId, position: u64, len: usize, block: Block) -> Block {
    ring.read(file, position, len, block, 78);
    wait_for(ring, |event| match event {
        Event::Read {
            token: 78,
            block,
            result,
        } => {
            result.expect("read");
            Some(block)
        }
        _ => None,
    })
}

fn write(ring: &mut Ring, file: FileId, position: u64, bytes: &[u8], class: Class, durability: Durability) {
    let mut block = ring.block(class).expect("memory");
    assert_eq!(block.append(bytes), bytes.len());
    let end = block.pad_to_align();
    ring.write(file, position, block.slice_padded(0..end), durability, 79);
    drop(block);
    let result = wait_for(ring, |event| match event {
        Event::Wrote { token: 79, result } => Some(result),
        _ => None,
    });
    result.expect("written");
}

/// Writes with every class and durability, reads back, syncs, reads across and past the end.
fn round_trip(mut ring: Ring) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("segment.log");
    let file = open(&mut ring, &path, Open::Create).expect("created");
    let mut position = 0;
    for (class, seed) in Class::ALL.into_iter().zip(1..) {
        for durability in [Durability::Written, Durability::Synced] {
            let bytes = pattern(seed, class.bytes());
            write(&mut ring, file, position, &bytes, class, durability);
            let block = ring.block(class).expect("memory");
            let block = read_into(&mut ring, file, position, class.bytes(), block);
            assert!(block.bytes() == bytes, "{class:?} {durability:?}");
            position += class.bytes() as u64;
        }
    }
    ring.sync(file, 5);
    wait_for(&mut ring, |event| {
        matches!(
            event,
            Event::Synced {
                token: 5,
                result: Ok(())
            }
        )
        .then_some(())
    });
    assert_eq!(std::fs::metadata(&path).expect("metadata").len(), position);
    assert!(read(&mut ring, file, position, 2 * ALIGN).is_empty());
    assert_eq!(
        read(&mut ring, file, position - ALIGN as u64, 4 * ALIGN).len(),
        ALIGN
    );
    ring.close(file);
    poke(&mut ring);
}

#[test]
fn round_trip_with_the_sync_flag() {
    round_trip(ring());
}

#[test]
fn round_trip_with_fsync() {
    round_trip(ring_with(RingConfig {
        sync_method: SyncMethod::Fsync,
        ..RingConfig::default()
    }));
}

#[test]
fn round_trip_buffered_and_unregistered() {
    for sync_method in [SyncMethod::Flag, SyncMethod::Fsync] {
        let config = RingConfig {
            direct_io: false,
            register_memory: false,
            sync_method,
            ..RingConfig::default()
        };
        round_trip(ring_with(config));
    }
}

#[test]
fn padding_reaches_the_disk_as_zeroes() {
    let mut ring = ring();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("x.log");
    let file = open(&mut ring, &path, Open::Create).expect("created");
    write(&mut ring, file, 0, b"hello", Class::Small, Durability::Synced);
    let on_disk = std::fs::read(&path).expect("read");
    assert!(on_disk.len() == ALIGN && on_disk.starts_with(b"hello") && on_disk[5..].iter().all(|&b| b == 0));
}

#[test]
fn reads_end_at_an_unaligned_end() {
    for direct_io in [true, false] {
        let mut ring = ring_with(RingConfig {
            direct_io,
            ..RingConfig::default()
        });
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x.log");
        let content = pattern(3, 10_001);
        std::fs::write(&path, &content).expect("written");
        let file = open(&mut ring, &path, Open::Read).expect("opened");
        assert!(read(&mut ring, file, 0, 5 * ALIGN).bytes() == content);
        assert!(read(&mut ring, file, 8192, ALIGN).bytes() == &content[8192..]);
    }
}

#[test]
fn missing_files_and_bad_names_are_errors() {
    let mut ring = ring();
    let dir = tempfile::tempdir().expect("a folder");
    let missing = dir.path().join("none");
    for how in [Open::Read, Open::Write] {
        let error = open(&mut ring, &missing, how).expect_err("nothing there");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
    assert!(open(&mut ring, Path::new("a\0b"), Open::Create).is_err());
    assert!(ring.direct_io(), "these errors say nothing about direct I/O");
}

#[test]
fn allocated_space_reads_as_zeroes() {
    let mut ring = ring();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("x.log");
    let file = open(&mut ring, &path, Open::Create).expect("created");
    ring.allocate(file, 0, 1 << 20, 8);
    let result = wait_for(&mut ring, |event| match event {
        Event::Allocated { token: 8, result } => Some(result),
        _ => None,
    });
    result.expect("allocated");
    assert_eq!(std::fs::metadata(&path).expect("metadata").len(), 1 << 20);
    assert!(read(&mut ring, file, 0, 1 << 20).bytes().iter().all(|&b| b == 0));
}

#[test]
fn more_writes_than_the_cap_all_finish() {
    let mut ring = ring();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("x.log");
    let file = open(&mut ring, &path, Open::Create).expect("created");
    let count = 1000u64;
    for i in 0..count {
        let mut block = ring.block(Class::Small).expect("memory");
        block.append(&pattern(i + 1, ALIGN));
        let durability = if i % 50 == 0 {
            Durability::Synced
        } else {
            Durability::Written
        };
        ring.write(file, i * ALIGN as u64, block.slice(0..ALIGN), durability, i);
    }
    ring.close(file); // Takes effect after the writes.
    let mut seen = vec![false; count as usize];
    run(&mut ring, |_, event| {
        if let Event::Wrote { token, result } = event {
            result.expect("written");
            assert!(
                !std::mem::replace(&mut seen[token as usize], true),
                "{token} came twice"
            );
        }
        seen.iter().all(|&seen| seen)
    });
    let expected: Vec<u8> = (0..count).flat_map(|i| pattern(i + 1, ALIGN)).collect();
    assert!(std::fs::read(&path).expect("read") == expected);
    assert_eq!(ring.memory().0, 0);
}

#[test]
fn more_operations_than_the_queues_hold_all_finish() {
    let mut ring = ring();
    let dir = tempfile::tempdir().expect("a folder");
    let file = open(&mut ring, &dir.path().join("x.log"), Open::Create).expect("created");
    // More than the kernel's queues of 1024 and 8192 entries.
    let mut left = 12_000;
    (0..left).for_each(|token| ring.sync(file, token));
    run(&mut ring, |_, event| {
        left -= u64::from(matches!(event, Event::Synced { result: Ok(()), .. }));
        left == 0
    });
}

#[test]
fn a_write_to_a_file_opened_for_reading_fails() {
    let mut ring = ring();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("x.log");
    std::fs::write(&path, b"x").expect("written");
    let file = open(&mut ring, &path, Open::Read).expect("opened");
    let mut block = ring.block(Class::Small).expect("memory");
    block.append(&[1; ALIGN]);
    ring.write(file, 0, block.slice(0..ALIGN), Durability::Synced, 1);
    let failed = wait_for(&mut ring, |event| match event {
        Event::Wrote { token: 1, result } => Some(result.is_err()),
        _ => None,
    });
    assert!(failed);
}
