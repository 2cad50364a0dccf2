//! The ring against the real kernel: loopback sockets, files in a temporary folder, other threads and rings.
//!
//! Every wait has a deadline; nothing sleeps to let something happen.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ringlog_engine::io::{ConnId, Event, Io, Ring, RingConfig, probe};

mod counters;
mod disk;
mod memory;
mod net;
mod wake;

/// What any single wait may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn ring() -> Ring {
    ring_with(RingConfig {
        memory_bytes: 64 << 20,
        ..RingConfig::default()
    })
}

fn ring_with(config: RingConfig) -> Ring {
    Ring::new(&config).unwrap_or_else(|error| panic!("{}", probe::explain(error)))
}

/// Turns the ring until `done` says so, giving it each event.
fn run(ring: &mut Ring, mut done: impl FnMut(&mut Ring, Event) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    let mut finished = false;
    while !finished {
        assert!(Instant::now() < deadline, "waited in vain");
        ring.turn(Some(deadline), &mut || false, &mut events);
        for event in events.drain(..) {
            finished |= done(ring, event);
        }
    }
}

/// The first event for which `pick` gives something. Events before it, and of the same turn, are dropped.
fn wait_for<T>(ring: &mut Ring, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let mut found = None;
    run(ring, |_, event| {
        found = found.take().or_else(|| pick(event));
        found.is_some()
    });
    found.expect("run ends when found")
}

/// One turn that does not sleep, its events dropped.
fn poke(ring: &mut Ring) {
    ring.turn(Some(Instant::now()), &mut || true, &mut Vec::new());
}

fn listen(ring: &mut Ring) -> SocketAddr {
    ring.listen("127.0.0.1:0".parse().expect("an address"))
        .expect("a listener")
}

fn connect(ring: &mut Ring) -> (ConnId, TcpStream) {
    let address = listen(ring);
    let client = TcpStream::connect(address).expect("connected");
    client.set_read_timeout(Some(PATIENCE)).expect("timeout");
    client.set_write_timeout(Some(PATIENCE)).expect("timeout");
    let conn = wait_for(ring, |event| match event {
        Event::Accepted { conn, .. } => Some(conn),
        _ => None,
    });
    (conn, client)
}

/// Bytes that differ from place to place and from seed to seed.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
