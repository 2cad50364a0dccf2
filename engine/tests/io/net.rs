//! Sockets: echo, slow and vanishing clients, back-pressure, ids.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog_engine::io::{Chunk, Class, ConnId, Event, Io, Piece, Ring, RingConfig};

use crate::{PATIENCE, connect, listen, pattern, poke, ring, ring_with, run, wait_for};

#[derive(Default)]
struct Echo {
    gathered: Vec<u8>,
    sending: bool,
    ended: bool,
}

impl Echo {
    /// Sends what has gathered, or closes when all is said.
    fn go_on(&mut self, ring: &mut Ring, conn: ConnId) {
        if self.sending {
            return;
        }
        if !self.gathered.is_empty() {
            self.sending = true;
            let bytes = Bytes::from(std::mem::take(&mut self.gathered));
            let middle = bytes.len() / 3;
            ring.send(
                conn,
                vec![
                    Piece::Bytes(bytes.slice(..middle)),
                    Piece::Bytes(bytes.slice(middle..)),
                ],
            );
        } else if self.ended {
            ring.close_connection(conn);
        }
    }
}

/// Echoes, one send at a time per connection, until as many connections are closed as were expected.
fn echo_until_closed(ring: &mut Ring, connections: usize) {
    let mut echoes: Vec<Echo> = Vec::new();
    let mut closed = 0;
    run(ring, |ring, event| {
        let conn = match event {
            Event::Accepted { conn, .. } => {
                echoes.resize_with(echoes.len().max(conn.0 as usize + 1), Echo::default);
                echoes[conn.0 as usize] = Echo::default();
                ring.receive(conn);
                return false;
            }
            Event::Closed { .. } => {
                closed += 1;
                return closed == connections;
            }
            Event::Received { conn, chunk } => {
                echoes[conn.0 as usize].gathered.extend_from_slice(&chunk);
                conn
            }
            Event::Sent { conn, result } => {
                result.expect("sent");
                echoes[conn.0 as usize].sending = false;
                conn
            }
            Event::Disconnected { conn, error } => {
                assert!(error.is_none(), "{error:?}");
                echoes[conn.0 as usize].ended = true;
                conn
            }
            other => panic!("unexpected {other:?}"),
        };
        echoes[conn.0 as usize].go_on(ring, conn);
        false
    });
}

/// Sends `len` bytes, reads them back and compares, then closes.
fn echo_client(address: SocketAddr, seed: u64, len: usize) {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut writer = stream.try_clone().expect("a clone");
    let sent = pattern(seed, len);
    let to_send = sent.clone();
    let sender = thread::spawn(move || {
        writer.write_all(&to_send).expect("written");
        writer.shutdown(Shutdown::Write).expect("shut down");
    });
    let mut received = Vec::with_capacity(len);
    stream.read_to_end(&mut received).expect("read");
    sender.join().expect("sender");
    assert!(
        received == sent,
        "seed {seed}: {} bytes came back of {len}",
        received.len()
    );
}

#[test]
fn echoes_many_connections() {
    let mut ring = ring();
    let address = listen(&mut ring);
    let client = move |t: u64| (0..50).for_each(|i| echo_client(address, t * 100 + i, 1 + 700 * i as usize));
    let clients: Vec<_> = (0..8).map(|t| thread::spawn(move || client(t))).collect();
    echo_until_closed(&mut ring, 400);
    clients
        .into_iter()
        .for_each(|client| client.join().expect("client"));
}

#[test]
fn echoes_large_messages() {
    large_echoes(ring());
}

#[test]
fn echoes_with_sockets_outside_the_table() {
    large_echoes(ring_with(RingConfig {
        sockets_in_table: false,
        ..RingConfig::default()
    }));
}

fn zero_copy() -> Ring {
    ring_with(RingConfig {
        zero_copy_send: true,
        ..RingConfig::default()
    })
}

#[test]
fn echoes_without_a_copy_where_the_kernel_can() {
    large_echoes(zero_copy());
}

#[test]
fn what_was_sent_without_a_copy_is_kept_until_it_is_needed_no_more() {
    let mut ring = zero_copy();
    let (conn, mut client) = connect(&mut ring);
    let mut sent = Vec::new();
    for round in 0..4 {
        let mut block = ring.block(Class::Huge).expect("memory");
        block.append(&pattern(round, 900_000));
        sent.extend_from_slice(block.bytes());
        // The block itself is dropped here: the sends alone hold its memory. A close must not let go of it either.
        ring.send(conn, vec![Piece::Slice(block.slice(0..900_000))]);
        let mut received = vec![0; 900_000];
        let reader = thread::scope(|scope| {
            let reader = scope.spawn(|| client.read_exact(&mut received));
            wait_for(&mut ring, |event| {
                matches!(event, Event::Sent { .. }).then_some(())
            });
            reader.join().expect("the reader")
        });
        reader.expect("received");
        assert!(received == sent[sent.len() - 900_000..], "round {round}");
    }
    ring.close_connection(conn);
    let deadline = Instant::now() + PATIENCE;
    while ring.memory().0 > 0 {
        assert!(
            Instant::now() < deadline,
            "{} bytes are still held",
            ring.memory().0
        );
        ring.turn(
            Some(Instant::now() + Duration::from_millis(20)),
            &mut || false,
            &mut Vec::new(),
        );
    }
}

fn large_echoes(mut ring: Ring) {
    let address = listen(&mut ring);
    let sizes = [1 << 20, 3 << 20, 8 << 20, (5 << 20) + 17];
    let start = |(len, seed)| thread::spawn(move || echo_client(address, seed, len));
    let clients: Vec<_> = sizes.into_iter().zip(1..).map(start).collect();
    echo_until_closed(&mut ring, sizes.len());
    clients
        .into_iter()
        .for_each(|client| client.join().expect("client"));
}

#[test]
fn sends_slices_of_blocks_to_a_slow_reader() {
    let mut ring = ring();
    let (conn, mut client) = connect(&mut ring);
    let expected = pattern(5, 8 << 20);
    let mut pieces = Vec::new();
    for part in expected.chunks(1 << 20) {
        let mut block = ring.block(Class::Huge).expect("memory");
        block.append(part);
        // Thousands of pieces: more than one message can carry.
        let starts = (0..part.len()).step_by(997);
        pieces.extend(starts.map(|at| Piece::Slice(block.slice(at..part.len().min(at + 997)))));
    }
    assert!(pieces.len() > 8000);
    ring.send(conn, pieces);
    let reader = thread::spawn(move || {
        let mut received = vec![0; 8 << 20];
        for part in received.chunks_mut(10_000) {
            client.read_exact(part).expect("read");
            thread::yield_now();
        }
        received
    });
    wait_for(&mut ring, |event| {
        matches!(event, Event::Sent { result: Ok(()), .. }).then_some(())
    });
    assert!(reader.join().expect("reader") == expected);
    assert_eq!(ring.memory().0, 0, "sent blocks came back");
}

#[test]
fn an_empty_send_is_sent() {
    let mut ring = ring();
    let (conn, _client) = connect(&mut ring);
    for pieces in [vec![Piece::Bytes(Bytes::new())], Vec::new()] {
        ring.send(conn, pieces);
        wait_for(&mut ring, |event| {
            matches!(event, Event::Sent { result: Ok(()), .. }).then_some(())
        });
    }
    ring.send(conn, Vec::new());
    ring.close_connection(conn);
    run(&mut ring, |_, event| {
        matches!(event, Event::Closed { .. }) || panic!("unexpected {event:?}")
    });
}

#[test]
fn closing_while_sending_gives_only_closed() {
    for sockets_in_table in [true, false] {
        close_while_sending(ring_with(RingConfig {
            sockets_in_table,
            ..RingConfig::default()
        }));
    }
}

fn close_while_sending(mut ring: Ring) {
    let (conn, mut client) = connect(&mut ring);
    ring.receive(conn);
    ring.send(conn, vec![Piece::Bytes(Bytes::from(vec![1; 64 << 20]))]);
    poke(&mut ring);
    ring.close_connection(conn);
    ring.close_connection(conn);
    run(&mut ring, |_, event| match event {
        Event::Closed { conn: closed } => closed == conn,
        other => panic!("unexpected {other:?}"),
    });
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest); // An end, or a reset: either way not all.
    assert!(rest.len() < 64 << 20);
}

#[test]
fn a_client_that_vanishes_while_we_send() {
    let mut ring = ring();
    for _ in 0..50 {
        let (conn, mut client) = connect(&mut ring);
        ring.stop_listening();
        ring.receive(conn);
        client.write_all(b"hello").expect("written");
        ring.send(conn, vec![Piece::Bytes(Bytes::from(vec![1; 32 << 20]))]);
        poke(&mut ring);
        let mut first = [0];
        client.read_exact(&mut first).expect("read");
        drop(client); // With our bytes unread: the kernel resets the connection.
        let (mut sent, mut ended) = (None, false);
        run(&mut ring, |_, event| {
            match event {
                Event::Sent { result, .. } => sent = Some(result),
                Event::Disconnected { .. } => ended = true,
                _ => {}
            }
            sent.is_some() && ended
        });
        assert!(sent.expect("an answer").is_err());
        ring.close_connection(conn);
        wait_for(&mut ring, |event| {
            matches!(event, Event::Closed { .. }).then_some(())
        });
    }
}

#[test]
fn ids_come_again_only_after_closed() {
    for sockets_in_table in [true, false] {
        ids_again(ring_with(RingConfig {
            sockets_in_table,
            ..RingConfig::default()
        }));
    }
}

fn ids_again(mut ring: Ring) {
    let address = listen(&mut ring);
    let clients = thread::spawn(move || {
        for round in 0..500u32 {
            let mut stream = TcpStream::connect(address).expect("connected");
            stream.write_all(&round.to_le_bytes()).expect("written");
            if round % 3 == 0 {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    });
    let (mut open, mut closed) = (Vec::<ConnId>::new(), 0);
    run(&mut ring, |ring, event| {
        match event {
            Event::Accepted { conn, .. } => {
                assert!(!open.contains(&conn), "{conn:?} is still open");
                open.push(conn);
                ring.receive(conn);
            }
            Event::Received { conn, .. } | Event::Disconnected { conn, .. } => {
                assert!(open.contains(&conn));
                ring.close_connection(conn);
            }
            Event::Closed { conn } => {
                open.retain(|&other| other != conn);
                closed += 1;
            }
            other => panic!("unexpected {other:?}"),
        }
        closed == 500
    });
    clients.join().expect("clients");
}

/// Takes in what arrives until a whole turn of 100 ms brings nothing.
fn until_quiet(ring: &mut Ring, received: &mut Vec<u8>) {
    let mut events = Vec::new();
    let give_up = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < give_up, "the pause had no effect");
        let deadline = Instant::now() + Duration::from_millis(100);
        ring.turn(Some(deadline), &mut || false, &mut events);
        if events.is_empty() && Instant::now() >= deadline {
            return;
        }
        for event in events.drain(..) {
            match event {
                Event::Received { chunk, .. } => received.extend_from_slice(&chunk),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

#[test]
fn a_pause_stops_the_client_and_receiving_goes_on() {
    let mut ring = ring();
    let (conn, client) = connect(&mut ring);
    let total = 64 << 20;
    let mut writer = client.try_clone().expect("a clone");
    let writer = thread::spawn(move || writer.write_all(&pattern(9, total)).expect("written"));
    ring.receive(conn);
    let mut received = Vec::new();
    run(&mut ring, |_, event| {
        if let Event::Received { chunk, .. } = &event {
            received.extend_from_slice(chunk);
        }
        !received.is_empty()
    });
    ring.pause(conn);
    ring.pause(conn);
    until_quiet(&mut ring, &mut received);
    assert!(
        received.len() < total,
        "{} bytes came through a pause",
        received.len()
    );
    ring.receive(conn);
    run(&mut ring, |_, event| {
        if let Event::Received { chunk, .. } = event {
            received.extend_from_slice(&chunk);
        }
        received.len() == total
    });
    writer.join().expect("writer");
    assert!(received == pattern(9, total));
}

#[test]
fn pausing_at_every_chunk_loses_nothing() {
    let mut ring = ring();
    let (conn, client) = connect(&mut ring);
    let total = 8 << 20;
    let mut writer = client.try_clone().expect("a clone");
    let writer = thread::spawn(move || writer.write_all(&pattern(10, total)).expect("written"));
    ring.receive(conn);
    let mut received = Vec::new();
    run(&mut ring, |ring, event| {
        if let Event::Received { chunk, .. } = event {
            received.extend_from_slice(&chunk);
            ring.pause(conn);
            ring.receive(conn);
        }
        received.len() == total
    });
    writer.join().expect("writer");
    assert!(received == pattern(10, total));
}

#[test]
fn holding_all_chunks_only_delays() {
    let mut ring = ring();
    let address = listen(&mut ring);
    let len = 4 << 20;
    let client = move |seed| {
        TcpStream::connect(address)
            .expect("connected")
            .write_all(&pattern(seed, len))
            .expect("written");
    };
    let clients: Vec<_> = (0..4u64)
        .map(|seed| thread::spawn(move || client(seed)))
        .collect();
    let (mut held, mut total) = (Vec::<Chunk>::new(), 0);
    let mut events = Vec::new();
    let give_up = Instant::now() + PATIENCE;
    while total < 4 * len {
        assert!(Instant::now() < give_up, "stuck at {total}");
        // All chunks are let go only when nothing comes any more: the kernel has run dry.
        ring.turn(
            Some(Instant::now() + Duration::from_millis(20)),
            &mut || false,
            &mut events,
        );
        if events.is_empty() {
            held.clear();
        }
        for event in events.drain(..) {
            match event {
                Event::Accepted { conn, .. } => ring.receive(conn),
                Event::Disconnected { conn, error: None } => ring.close_connection(conn),
                Event::Closed { .. } => {}
                Event::Received { chunk, .. } => {
                    total += chunk.len();
                    held.push(chunk);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        assert!(held.len() <= 128);
    }
    clients
        .into_iter()
        .for_each(|client| client.join().expect("client"));
}

#[test]
fn stop_listening_refuses_new_clients() {
    let mut ring = ring();
    let address = listen(&mut ring);
    poke(&mut ring);
    ring.stop_listening();
    ring.stop_listening();
    let give_up = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < give_up, "still accepting");
        poke(&mut ring);
    }
}

#[test]
fn two_cores_share_an_address() {
    let (mut one, mut two) = (ring(), ring());
    let address = listen(&mut one);
    assert_eq!(two.listen(address).expect("shared"), address);
    let _clients: Vec<_> = (0..64)
        .map(|_| TcpStream::connect(address).expect("connected"))
        .collect();
    let (mut accepted, mut events) = ([0, 0], Vec::new());
    let give_up = Instant::now() + PATIENCE;
    while accepted[0] + accepted[1] < 64 {
        assert!(Instant::now() < give_up, "{accepted:?}");
        for (ring, count) in [&mut one, &mut two].into_iter().zip(&mut accepted) {
            ring.turn(Some(Instant::now()), &mut || false, &mut events);
            *count += events
                .drain(..)
                .filter(|event| matches!(event, Event::Accepted { .. }))
                .count();
        }
    }
    assert!(accepted[0] > 0 && accepted[1] > 0, "{accepted:?}");
}

/// Receives on `ring` until `bytes` have come.
fn received(ring: &mut Ring, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    run(ring, |_, event| {
        if let Event::Received { chunk, .. } = event {
            all.extend_from_slice(&chunk);
        }
        all.len() >= bytes
    });
    all
}

fn move_between(mut from: Ring, mut to: Ring) {
    let (conn, mut client) = connect(&mut from);
    from.receive(conn);
    client.write_all(b"before").expect("written");
    assert_eq!(received(&mut from, 6), b"before");
    // Nobody has asked for these yet, or they are on their way up.
    client.write_all(b"on the way").expect("written");
    from.detach(conn);
    let mut seen = Vec::new();
    let mut socket = None;
    run(&mut from, |_, event| {
        match event {
            Event::Received { chunk, .. } => seen.extend_from_slice(&chunk),
            Event::Detached { conn: left, result } => {
                assert_eq!(left, conn);
                socket = Some(result.expect("detached"));
            }
            other => panic!("unexpected {other:?}"),
        }
        socket.is_some()
    });
    let moved = to.adopt(socket.expect("a socket"));
    client.write_all(b" and after").expect("written");
    to.receive(moved);
    seen.extend(received(&mut to, b"on the way and after".len() - seen.len()));
    assert_eq!(seen, b"on the way and after", "each byte once, in order");
    to.send(moved, vec![Piece::Bytes(Bytes::from_static(b"answer"))]);
    wait_for(&mut to, |event| matches!(event, Event::Sent { .. }).then_some(()));
    let mut answer = [0; 6];
    client.read_exact(&mut answer).expect("answered");
    assert_eq!(&answer, b"answer");
    // The ring it came from has nothing of it left: the client sees the end when the other one closes.
    drop(from);
    to.close_connection(moved);
    wait_for(&mut to, |event| {
        matches!(event, Event::Closed { .. }).then_some(())
    });
    assert_eq!(client.read(&mut answer).expect("the end"), 0);
}

#[test]
fn a_connection_moves_to_another_ring_with_every_byte() {
    move_between(ring(), ring());
}

#[test]
fn a_connection_outside_the_table_moves_to_another_ring() {
    let plain = || {
        ring_with(RingConfig {
            sockets_in_table: false,
            ..RingConfig::default()
        })
    };
    move_between(plain(), plain());
}

#[test]
fn closing_a_connection_that_is_leaving_leaves_nothing_open() {
    let mut ring = ring();
    let (conn, mut client) = connect(&mut ring);
    ring.receive(conn);
    ring.detach(conn);
    ring.close_connection(conn);
    let closed = wait_for(&mut ring, |event| match event {
        Event::Closed { conn } => Some(conn),
        Event::Detached { .. } => panic!("it was closed"),
        _ => None,
    });
    assert_eq!(closed, conn);
    assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
}
