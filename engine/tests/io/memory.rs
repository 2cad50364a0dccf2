//! Block memory on a real ring: the budget, registration, and letting go.

use std::io::{Read, Write};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use ringlog_engine::io::{Class, Durability, Event, Io, Open, Piece, RingConfig};

use crate::disk::{open, read};
use crate::{PATIENCE, connect, pattern, ring, ring_with, run};

#[test]
fn a_spent_budget_says_none_and_recovers() {
    let mut ring = ring_with(RingConfig {
        memory_bytes: 2 << 20,
        ..RingConfig::default()
    });
    let blocks: Vec<_> = std::iter::from_fn(|| ring.block(Class::Medium)).collect();
    assert_eq!((blocks.len(), ring.memory()), (32, (2 << 20, 2 << 20)));
    assert!(ring.large_block(1).is_none());
    thread::spawn(move || drop(blocks))
        .join()
        .expect("dropped elsewhere");
    assert!(ring.block(Class::Huge).is_some());
    assert!(ring.large_block(1500 << 10).is_some());
}

#[test]
fn memory_given_back_is_registered_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut ring = ring();
    let file = open(&mut ring, &dir.path().join("x.log"), Open::Create).expect("created");
    for round in 0..4u64 {
        let all: Vec<_> = std::iter::from_fn(|| ring.block(Class::Huge)).collect();
        assert_eq!(all.len(), 64);
        drop(all);
        let mut held: Vec<_> = (0..40)
            .map(|_| ring.block(Class::Huge).expect("memory"))
            .collect();
        for (block, i) in held.iter_mut().zip(0u64..) {
            block.append(&pattern(round * 100 + i + 1, 1 << 20));
            ring.write(file, i << 20, block.slice(0..1 << 20), Durability::Written, i);
        }
        let mut left = held.len();
        run(&mut ring, |_, event| {
            if let Event::Wrote { result, .. } = event {
                result.expect("written");
                left -= 1;
            }
            left == 0
        });
        for i in [0u64, 17, 39] {
            assert!(read(&mut ring, file, i << 20, 1 << 20).bytes() == pattern(round * 100 + i + 1, 1 << 20));
        }
    }
}

#[test]
fn a_ring_dropped_in_the_middle_lets_go_of_everything() {
    let dir = tempfile::tempdir().expect("a folder");
    let start = Instant::now();
    for _ in 0..10 {
        let mut ring = ring();
        let (conn, mut client) = connect(&mut ring);
        ring.receive(conn);
        client.write_all(b"some").expect("written");
        ring.send(conn, vec![Piece::Bytes(Bytes::from(vec![1; 32 << 20]))]);
        let file = open(&mut ring, &dir.path().join("x.log"), Open::Create).expect("created");
        for i in 0..200 {
            let mut block = ring.block(Class::Medium).expect("memory");
            block.append(&[7; 64 << 10]);
            ring.write(file, i << 16, block.slice(0..64 << 10), Durability::Synced, i);
        }
        drop(ring);
        let _ = client.read_to_end(&mut Vec::new()); // Ends, because the socket is closed.
    }
    assert!(start.elapsed() < PATIENCE);
}
