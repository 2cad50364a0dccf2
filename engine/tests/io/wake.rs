//! Sleeping and waking: deadlines, mail, threads, other rings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringlog_engine::io::{Io, Ring, Waker};

use crate::{PATIENCE, poke, ring};

#[test]
fn a_turn_ends_at_its_deadline() {
    let mut ring = ring();
    let mut events = Vec::new();
    let start = Instant::now();
    let deadline = start + Duration::from_millis(30);
    while Instant::now() < deadline {
        ring.turn(Some(deadline), &mut || false, &mut events);
    }
    assert!(events.is_empty());
    assert!(ring.now() >= deadline && start.elapsed() < PATIENCE);
    ring.turn(Some(start), &mut || false, &mut events);
    assert!(ring.wall_ms() > 1_600_000_000_000);
}

#[test]
fn mail_left_before_sleep_is_not_slept_over() {
    let mut ring = ring();
    let start = Instant::now();
    for _ in 0..10 {
        ring.turn(Some(start + PATIENCE), &mut || true, &mut Vec::new());
    }
    assert!(start.elapsed() < PATIENCE / 2);
}

#[test]
fn wakes_from_a_thread_are_never_lost() {
    let mut ring = ring();
    let waker = ring.waker();
    let mail = Arc::new(AtomicBool::new(false));
    let (to, rounds) = (mail.clone(), 20_000);
    let sender = thread::spawn(move || {
        let give_up = Instant::now() + PATIENCE;
        for _ in 0..rounds {
            to.store(true, Ordering::Release);
            waker.wake();
            while to.load(Ordering::Acquire) {
                assert!(Instant::now() < give_up, "never taken");
                thread::yield_now();
            }
        }
    });
    take_mail(&mut ring, &mail, rounds, |_| {});
    sender.join().expect("sender");
}

/// Turns the ring until mail has come `rounds` times, answering each.
fn take_mail(ring: &mut Ring, mail: &AtomicBool, rounds: u32, mut answer: impl FnMut(&mut Ring)) {
    let start = Instant::now();
    let mut taken = 0;
    while taken < rounds {
        ring.turn(
            Some(start + PATIENCE),
            &mut || mail.load(Ordering::Acquire),
            &mut Vec::new(),
        );
        assert!(start.elapsed() < PATIENCE, "a wake was lost after {taken}");
        if mail.swap(false, Ordering::AcqRel) {
            taken += 1;
            answer(ring);
        }
    }
    poke(ring); // The last answer goes out with a turn.
}

#[test]
fn two_rings_wake_each_other() {
    let rounds = 5_000;
    let mail = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let (give, take) = mpsc::channel::<Waker>();
    let mut ring_a = ring();
    let (waker_a, mail_b) = (ring_a.waker(), mail.clone());
    let b = thread::spawn(move || {
        let mut ring_b = ring();
        give.send(ring_b.waker()).expect("sent");
        take_mail(&mut ring_b, &mail_b[1], rounds, |ring| {
            mail_b[0].store(true, Ordering::Release);
            ring.wake(&waker_a);
        });
    });
    let waker_b = take.recv().expect("a waker");
    let serve = |ring: &mut Ring| {
        mail[1].store(true, Ordering::Release);
        ring.wake(&waker_b);
    };
    serve(&mut ring_a);
    take_mail(&mut ring_a, &mail[0], rounds, serve);
    b.join().expect("the other ring");
}

#[test]
fn waking_a_ring_that_is_gone_does_nothing() {
    let mut ring = ring();
    let gone = thread::spawn(|| crate::ring().waker()).join().expect("a waker");
    gone.announce_sleep();
    ring.wake(&gone);
    gone.announce_sleep();
    gone.wake();
    poke(&mut ring);
    poke(&mut ring);
}
