//! Counters: what was done is counted once, and a turn is one system call.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use ringlog_engine::io::{Class, Durability, Event, Io, IoCounters, Open, Piece, RingConfig, SyncMethod};

use crate::disk::{open, read};
use crate::{connect, poke, ring, ring_with, wait_for};

#[test]
fn files_and_syncs_are_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    for (sync_method, syncs) in [(SyncMethod::Fsync, 2), (SyncMethod::Flag, 1)] {
        let mut ring = ring_with(RingConfig {
            sync_method,
            ..RingConfig::default()
        });
        let file = open(&mut ring, &dir.path().join("x.log"), Open::Create).expect("created");
        let mut block = ring.block(Class::Small).expect("memory");
        block.append(&[7; 100]);
        let end = block.pad_to_align();
        ring.write(file, 0, block.slice_padded(0..end), Durability::Synced, 1);
        wait_for(&mut ring, |event| {
            matches!(event, Event::Wrote { .. }).then_some(())
        });
        ring.sync(file, 2);
        wait_for(&mut ring, |event| {
            matches!(event, Event::Synced { .. }).then_some(())
        });
        assert_eq!(read(&mut ring, file, 0, end).len(), end);
        let counters = ring.counters();
        assert_eq!(
            (counters.reads, counters.writes, counters.syncs),
            (1, 1, syncs),
            "{sync_method:?}"
        );
        assert!(counters.submissions > counters.reads + counters.writes + counters.syncs);
    }
}

#[test]
fn an_exchange_on_a_socket_is_counted() {
    let mut ring = ring();
    let (conn, mut client) = connect(&mut ring);
    let before = ring.counters();
    assert_eq!(before.accepts, 1);
    ring.receive(conn);
    client.write_all(b"question").expect("written");
    wait_for(&mut ring, |event| {
        matches!(event, Event::Received { .. }).then_some(())
    });
    ring.send(conn, vec![Piece::Bytes("answer".into())]);
    wait_for(&mut ring, |event| {
        matches!(event, Event::Sent { .. }).then_some(())
    });
    client.read_exact(&mut [0; 6]).expect("answered");
    let after = ring.counters();
    assert_eq!(
        (after.receives - before.receives, after.sends - before.sends),
        (1, 1)
    );
}

#[test]
fn a_turn_is_at_most_one_call_and_sleep_is_measured() {
    let mut ring = ring();
    poke(&mut ring);
    let before = ring.counters();
    let pause = Duration::from_millis(20);
    let begun = Instant::now();
    let mut turns = 0;
    while begun.elapsed() < pause {
        ring.turn(Some(begun + pause), &mut || false, &mut Vec::new());
        turns += 1;
    }
    let IoCounters {
        enters, asleep_ns, ..
    } = ring.counters();
    assert!(enters - before.enters <= turns);
    // Only the last look at the clock lies outside of the calls that may sleep.
    assert!(asleep_ns - before.asleep_ns > pause.as_nanos() as u64 / 2);
    assert!(asleep_ns - before.asleep_ns <= begun.elapsed().as_nanos() as u64);
}

#[test]
fn wakes_are_counted_on_both_sides() {
    let (mut one, mut other) = (ring(), ring());
    let waker = other.waker();
    waker.announce_sleep();
    one.wake(&waker);
    poke(&mut one);
    let deadline = Instant::now() + crate::PATIENCE;
    while other.counters().wakes_received == 0 {
        assert!(Instant::now() < deadline, "never woken");
        other.turn(Some(deadline), &mut || false, &mut Vec::new());
    }
    assert_eq!(
        (one.counters().wakes_sent, other.counters().wakes_received),
        (1, 1)
    );
    // An awake core is left alone.
    one.wake(&waker);
    poke(&mut one);
    assert_eq!(one.counters().wakes_sent, 1);
}
