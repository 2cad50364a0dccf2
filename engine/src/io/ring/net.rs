//! Sockets: listeners, receiving into provided buffers, sending pieces, and closing so that nothing arrives late.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use io_uring::types::{self, CancelBuilder};
use io_uring::{opcode, squeue};

use super::peer::Peer;
use super::queue::{Completion, Kind, Queue};
use super::sending::{Progress, Sending};
use super::slab::Slab;
use super::zero_copy::{REPORT_USAGE, Usage, ZeroCopy};
use crate::io::buffers::ChunkPool;
use crate::io::{ConnId, Event, Piece};

/// The one group of provided buffers.
pub(super) const BUFFER_GROUP: u16 = 0;
/// Connections the kernel finishes for us before we accept them.
const BACKLOG: i32 = 4096;
/// How long a listener rests after accepting failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a caller that names a connection promises.
const OPEN: &str = "a verb on a connection that is closed";
/// Receive buffers offered at first; doubled whenever the kernel runs dry.
const FIRST_CHUNKS: u16 = 4;

/// A socket, by its slot in the ring's table or by its number in the process's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Socket {
    Fixed(u32),
    Plain(i32),
}

/// Builds an entry for whichever kind of descriptor the socket has.
macro_rules! on_socket {
    ($socket:expr, $fd:ident => $build:expr) => {
        match $socket {
            Socket::Fixed(slot) => {
                let $fd = types::Fixed(slot);
                $build
            }
            Socket::Plain(number) => {
                let $fd = types::Fd(number);
                $build
            }
        }
    };
}

/// Where a connection's receive stands in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiving {
    Idle,
    Armed,
    /// A cancel is under way; the last completion is still to come.
    Cancelling,
    /// The kernel had no buffer; waits for one in the list of the starved.
    Starved,
}

/// Whether a connection leaves this ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moving {
    No,
    /// As soon as nothing is under way on it.
    Wanted,
    /// Its number in the process is being made.
    Installing,
    /// It has left. Kept until the caller has read of it, so that its id is not another's meanwhile.
    Gone,
}

struct Conn {
    socket: Socket,
    receiving: Receiving,
    /// Whether the caller wants bytes.
    wanted: bool,
    /// The client has closed its side, or the socket broke: no more receives.
    ended: bool,
    closing: bool,
    moving: Moving,
    /// Operations on the socket that will still complete. The descriptor is closed when there is none.
    pending: u32,
    sending: Option<Box<Sending>>,
    usage: Usage,
}

struct Listener {
    socket: OwnedFd,
    /// Where the kernel writes the address of the next client.
    peer: Box<Peer>,
    armed: bool,
    stopping: bool,
    rearm_at: Option<Instant>,
}

/// All sockets of one core.
pub(super) struct Net {
    listeners: Slab<Listener>,
    conns: Slab<Conn>,
    starved: VecDeque<u32>,
    /// Connections that have left since the last turn.
    gone: Vec<u32>,
    pub(super) chunks: Rc<ChunkPool>,
    /// Accepted sockets go straight into the ring's table.
    direct: bool,
    /// Zero-copy sends under way, where they are to be used.
    zero_copy: Option<ZeroCopy>,
}

impl Net {
    /// `direct` says whether sockets live in the ring's table, `zero_copy` whether zero-copy sends are used and how many bytes of them may be
    /// under way. The chunk pool is already registered.
    pub(super) fn new(chunks: ChunkPool, direct: bool, zero_copy: Option<usize>) -> Net {
        chunks.grow(FIRST_CHUNKS);
        let (listeners, conns, starved) = (Slab::new(), Slab::new(), VecDeque::new());
        Net {
            listeners,
            conns,
            starved,
            gone: Vec::new(),
            chunks: Rc::new(chunks),
            direct,
            zero_copy: zero_copy.map(ZeroCopy::new),
        }
    }

    // Listening.

    pub(super) fn listen(&mut self, queue: &mut Queue, address: SocketAddr) -> io::Result<SocketAddr> {
        let socket = bound_listener(address)?;
        let bound = rustix::net::getsockname(&socket)?.try_into()?;
        let listener = Listener {
            socket,
            peer: Peer::new(),
            armed: false,
            stopping: false,
            rearm_at: None,
        };
        let index = self.listeners.insert(listener);
        self.arm_accept(queue, index);
        Ok(bound)
    }

    pub(super) fn stop_listening(&mut self, queue: &mut Queue) {
        let all: Vec<u32> = self.listeners.iter().map(|(index, _)| index).collect();
        for index in all {
            let Some(listener) = self.listeners.get_mut(index) else {
                continue;
            };
            if !listener.armed {
                self.listeners.remove(index);
            } else if !listener.stopping {
                listener.stopping = true;
                cancel_by_tag(queue, Kind::Accept.tag(index), Kind::Ignore, 0);
            }
        }
    }

    fn arm_accept(&mut self, queue: &mut Queue, index: u32) {
        let Some(listener) = self.listeners.get_mut(index) else {
            return;
        };
        (listener.armed, listener.rearm_at) = (true, None);
        // One at a time: an accept that goes on by itself has no place for each client's address.
        let (address, length) = listener.peer.pointers();
        let accept = opcode::Accept::new(types::Fd(listener.socket.as_raw_fd()), address, length);
        let entry = match self.direct {
            true => accept
                .file_index(Some(types::DestinationSlot::auto_target()))
                .build(),
            false => accept.flags(libc::SOCK_CLOEXEC).build(),
        };
        // SAFETY: the listener keeps the address's memory and the socket until the accept has completed, or leaks them with the ring.
        unsafe { queue.push(entry, Kind::Accept, index) };
    }

    pub(super) fn on_accept(
        &mut self,
        queue: &mut Queue,
        done: Completion,
        now: Instant,
        events: &mut Vec<Event>,
    ) {
        let outcome = done.outcome();
        let peer = self
            .listeners
            .get_mut(done.index)
            .and_then(|listener| listener.peer.get());
        if let Ok(number) = outcome {
            let socket = if self.direct {
                Socket::Fixed(number)
            } else {
                Socket::Plain(number as i32)
            };
            events.push(Event::Accepted {
                conn: ConnId(self.conns.insert(Conn::new(socket))),
                peer,
            });
        }
        if done.more() {
            return;
        }
        let Some(listener) = self.listeners.get_mut(done.index) else {
            return;
        };
        listener.armed = false;
        if listener.stopping {
            self.listeners.remove(done.index);
            return;
        }
        match outcome {
            Err(error) if !is_passing(&error) => {
                listener.rearm_at = Some(now + ACCEPT_PAUSE);
                events.push(Event::AcceptFailed { error });
            }
            _ => self.arm_accept(queue, done.index),
        }
    }

    /// When a resting listener is to go on.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.listeners
            .iter()
            .filter_map(|(_, listener)| listener.rearm_at)
            .min()
    }

    /// Starts what has waited: listeners after their pause, receives for want of a buffer.
    pub(super) fn resume(&mut self, queue: &mut Queue, now: Instant) {
        while let Some(index) = self.first_due(now) {
            self.arm_accept(queue, index);
        }
        for _ in 0..self.chunks.offered() {
            let Some(index) = self.starved.pop_front() else {
                break;
            };
            let Some(conn) = self.conns.get_mut(index) else {
                continue;
            };
            if conn.receiving == Receiving::Starved {
                conn.receiving = Receiving::Idle;
                conn.arm_receive(queue, index);
            }
        }
    }

    fn first_due(&self, now: Instant) -> Option<u32> {
        let due = |listener: &Listener| listener.rearm_at.is_some_and(|at| at <= now);
        self.listeners
            .iter()
            .find(|(_, listener)| due(listener))
            .map(|(index, _)| index)
    }

    // Receiving.

    pub(super) fn receive(&mut self, queue: &mut Queue, id: ConnId) {
        let conn = self.conn(id);
        conn.wanted = true;
        conn.arm_receive(queue, id.0);
    }

    pub(super) fn pause(&mut self, queue: &mut Queue, id: ConnId) {
        let conn = self.conn(id);
        conn.wanted = false;
        match conn.receiving {
            Receiving::Armed => conn.cancel_receive(queue, id.0),
            Receiving::Starved => conn.receiving = Receiving::Idle,
            Receiving::Idle | Receiving::Cancelling => {}
        }
    }

    pub(super) fn on_receive(&mut self, queue: &mut Queue, done: Completion, events: &mut Vec<Event>) {
        let filled = done.result.max(0) as u32;
        let chunk = done.buffer().map(|buffer| self.chunks.take(buffer, filled));
        let Some(conn) = self.conns.get_mut(done.index) else {
            return;
        };
        let id = ConnId(done.index);
        if !done.more() {
            conn.receiving = Receiving::Idle;
            conn.pending -= 1;
        }
        if conn.closing {
            return self.close_when_quiet(queue, id.0);
        }
        if let Some(chunk) = chunk.filter(|chunk| !chunk.is_empty()) {
            events.push(Event::Received { conn: id, chunk });
        }
        match done.outcome() {
            Ok(0) => conn.end(id, None, events),
            Ok(_) if done.more() && !conn.wanted && conn.receiving == Receiving::Armed => {
                conn.cancel_receive(queue, id.0); // An earlier cancel came to nothing.
            }
            Ok(_) => conn.arm_receive(queue, id.0),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => self.starve(queue, id.0),
                Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => conn.arm_receive(queue, id.0),
                _ => conn.end(id, Some(error), events),
            },
        }
        self.detach_when_quiet(queue, done.index, events);
    }

    pub(super) fn on_receive_cancel(&mut self, queue: &mut Queue, done: Completion, events: &mut Vec<Event>) {
        let Some(conn) = self.conns.get_mut(done.index) else {
            return;
        };
        conn.pending -= 1;
        if done.result < 0 && conn.receiving == Receiving::Cancelling {
            // Not found: the receive goes on, or its last completion is near. `on_receive` sees to either.
            conn.receiving = Receiving::Armed;
        }
        if conn.closing {
            return self.close_when_quiet(queue, done.index);
        }
        self.detach_when_quiet(queue, done.index, events);
    }

    /// The kernel ran out of buffers: offers more if there are, or waits for one to come back.
    fn starve(&mut self, queue: &mut Queue, index: u32) {
        let more = self.chunks.grow(self.chunks.grown().max(FIRST_CHUNKS));
        let Some(conn) = self.conns.get_mut(index) else {
            return;
        };
        if more > 0 {
            conn.arm_receive(queue, index);
        } else if conn.wanted {
            conn.receiving = Receiving::Starved;
            self.starved.push_back(index);
        }
    }

    // Sending.

    /// `false` when there was nothing to send: it is sent already.
    pub(super) fn send(&mut self, queue: &mut Queue, id: ConnId, pieces: Vec<Piece>) -> bool {
        let conn = self.conns.get_mut(id.0).expect(OPEN);
        if conn.closing {
            return true;
        }
        let sending = conn.sending.get_or_insert_default();
        assert!(
            sending.is_idle(),
            "a second send on a connection before the first was sent"
        );
        sending.begin(pieces);
        if sending.is_idle() {
            return false;
        }
        conn.submit_send(queue, id.0, &mut self.zero_copy);
        true
    }

    /// A zero-copy send was taken, or its bytes are free again.
    pub(super) fn on_zero_copy(&mut self, queue: &mut Queue, done: Completion, events: &mut Vec<Event>) {
        let sent = self.zero_copy.as_mut().and_then(|all| all.completed(&done));
        if let Some(index) = sent {
            self.on_send(queue, Completion { index, ..done }, events);
        }
    }

    pub(super) fn on_send(&mut self, queue: &mut Queue, done: Completion, events: &mut Vec<Event>) {
        let Some(conn) = self.conns.get_mut(done.index) else {
            return;
        };
        conn.pending -= 1;
        let Some(sending) = conn.sending.as_mut() else {
            return;
        };
        if conn.closing {
            sending.abandon();
            return self.close_when_quiet(queue, done.index);
        }
        let id = ConnId(done.index);
        match sending.advance(done.outcome()) {
            Progress::Continue => conn.submit_send(queue, id.0, &mut self.zero_copy),
            Progress::Done(result) => {
                events.push(Event::Sent { conn: id, result });
                self.detach_when_quiet(queue, done.index, events);
            }
        }
    }

    // Moving to another ring.

    pub(super) fn detach(&mut self, queue: &mut Queue, id: ConnId, events: &mut Vec<Event>) {
        let conn = self.conn(id);
        if conn.closing || conn.moving != Moving::No {
            return;
        }
        conn.moving = Moving::Wanted;
        self.pause(queue, id);
        self.detach_when_quiet(queue, id.0, events);
    }

    /// Lets go of the descriptor once nothing is under way on it.
    fn detach_when_quiet(&mut self, queue: &mut Queue, index: u32, events: &mut Vec<Event>) {
        let Some(conn) = self.conns.get_mut(index) else {
            return;
        };
        if conn.moving != Moving::Wanted || conn.pending > 0 || conn.closing {
            return;
        }
        match conn.socket {
            Socket::Fixed(slot) => {
                conn.moving = Moving::Installing;
                let entry = opcode::FixedFdInstall::new(types::Fixed(slot), 0).build();
                // SAFETY: the entry points to no memory; the socket stays open while `pending`.
                unsafe { conn.submit(queue, entry, Kind::SocketInstall, index) };
            }
            Socket::Plain(number) => {
                // SAFETY: the number is this connection's own, and `leave` makes it forget it.
                let socket = unsafe { OwnedFd::from_raw_fd(number) };
                self.leave(index, socket, events);
            }
        }
    }

    pub(super) fn on_socket_install(&mut self, queue: &mut Queue, done: Completion, events: &mut Vec<Event>) {
        // SAFETY: the kernel has just made the descriptor, for nobody else.
        let result = done
            .outcome()
            .map(|number| unsafe { OwnedFd::from_raw_fd(number as i32) });
        let Some(conn) = self.conns.get_mut(done.index) else {
            return;
        };
        conn.pending -= 1;
        if conn.closing {
            return self.close_when_quiet(queue, done.index);
        }
        let id = ConnId(done.index);
        match (result, conn.socket) {
            (Ok(socket), Socket::Fixed(slot)) => {
                let entry = opcode::Close::new(types::Fixed(slot)).build();
                // SAFETY: the entry points to no memory; nothing else is under way on the slot, and nothing is started:
                // the connection leaves.
                unsafe { queue.push(entry, Kind::Ignore, 0) };
                self.leave(done.index, socket, events);
            }
            (result, _) => {
                conn.moving = Moving::No;
                events.push(Event::Detached { conn: id, result });
            }
        }
    }

    fn leave(&mut self, index: u32, socket: OwnedFd, events: &mut Vec<Event>) {
        if let Some(conn) = self.conns.get_mut(index) {
            conn.moving = Moving::Gone;
            self.gone.push(index);
        }
        events.push(Event::Detached {
            conn: ConnId(index),
            result: Ok(socket),
        });
    }

    /// Frees the ids of connections that have left: the caller has read of it.
    pub(super) fn forget_detached(&mut self) {
        for index in self.gone.drain(..) {
            self.conns.remove(index);
        }
    }

    pub(super) fn adopt(&mut self, socket: OwnedFd) -> ConnId {
        let socket = Socket::Plain(socket.into_raw_fd());
        ConnId(self.conns.insert(Conn::new(socket)))
    }

    // Closing.

    pub(super) fn close(&mut self, queue: &mut Queue, id: ConnId) {
        let conn = self.conn(id);
        if conn.closing || conn.moving == Moving::Gone {
            return;
        }
        (conn.closing, conn.wanted) = (true, false);
        if conn.receiving == Receiving::Starved {
            conn.receiving = Receiving::Idle;
        }
        if conn.pending > 0 {
            if let Socket::Plain(number) = conn.socket {
                shut_down(number);
            }
            conn.cancel_all(queue, id.0);
        }
        self.close_when_quiet(queue, id.0);
    }

    pub(super) fn on_socket_cancel(&mut self, queue: &mut Queue, done: Completion) {
        let Some(conn) = self.conns.get_mut(done.index) else {
            return;
        };
        conn.pending -= 1;
        if done.result <= 0 && conn.pending > 0 {
            conn.cancel_all(queue, done.index); // What is under way was between two states; try again.
        }
        self.close_when_quiet(queue, done.index);
    }

    pub(super) fn on_socket_close(&mut self, done: Completion, events: &mut Vec<Event>) {
        self.conns.remove(done.index);
        events.push(Event::Closed {
            conn: ConnId(done.index),
        });
    }

    /// Closes the descriptor once nothing is under way on it.
    fn close_when_quiet(&mut self, queue: &mut Queue, index: u32) {
        let Some(conn) = self.conns.get_mut(index) else {
            return;
        };
        if conn.pending > 0 {
            return;
        }
        let entry = on_socket!(conn.socket, fd => opcode::Close::new(fd).build());
        // SAFETY: the entry points to no memory; no other operation on the descriptor is under way, and none is
        // started while `closing`.
        unsafe { queue.push(entry, Kind::SocketClose, index) };
    }

    /// Breaks off every socket: the ring is about to go.
    pub(super) fn close_all(&mut self, queue: &mut Queue) {
        self.stop_listening(queue);
        let open: Vec<u32> = self.conns.iter().map(|(index, _)| index).collect();
        open.into_iter()
            .for_each(|index| self.close(queue, ConnId(index)));
    }

    /// Leaves all memory the kernel may still use where it is, for good.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::replace(&mut self.listeners, Slab::new()));
        std::mem::forget(std::mem::replace(&mut self.conns, Slab::new()));
        std::mem::forget(self.zero_copy.take());
        std::mem::forget(self.chunks.clone());
    }

    fn conn(&mut self, id: ConnId) -> &mut Conn {
        self.conns.get_mut(id.0).expect(OPEN)
    }
}

impl Conn {
    fn new(socket: Socket) -> Conn {
        let (receiving, sending) = (Receiving::Idle, None);
        Conn {
            socket,
            receiving,
            wanted: false,
            ended: false,
            closing: false,
            moving: Moving::No,
            pending: 0,
            sending,
            usage: Usage::default(),
        }
    }

    /// Starts receiving if that is wanted and not under way.
    fn arm_receive(&mut self, queue: &mut Queue, index: u32) {
        let stays = self.moving == Moving::No && !self.closing;
        if !self.wanted || self.ended || !stays || self.receiving != Receiving::Idle {
            return;
        }
        self.receiving = Receiving::Armed;
        let entry = on_socket!(self.socket, fd => opcode::RecvMulti::new(fd, BUFFER_GROUP).build());
        // SAFETY: the memory is the provided buffers', which live as long as the ring; the socket stays open while
        // `pending`.
        unsafe { self.submit(queue, entry, Kind::Receive, index) };
    }

    fn cancel_receive(&mut self, queue: &mut Queue, index: u32) {
        self.receiving = Receiving::Cancelling;
        self.pending += 1;
        cancel_by_tag(queue, Kind::Receive.tag(index), Kind::ReceiveCancel, index);
    }

    fn submit_send(&mut self, queue: &mut Queue, index: u32, zero_copy: &mut Option<ZeroCopy>) {
        let Some(sending) = self.sending.as_mut() else {
            return;
        };
        let message = sending.message();
        let flags = libc::MSG_NOSIGNAL as u32;
        if let Some(all) = zero_copy
            && self.usage.suits(sending.at_once_bytes())
            && all.has_room(sending.at_once_bytes())
        {
            let held = all.hold(index, &self.usage, sending.pieces_at_once());
            let entry = on_socket!(self.socket, fd => opcode::SendMsgZc::new(fd, message)
                .flags(flags)
                .ioprio(REPORT_USAGE)
                .build());
            // SAFETY: as below until the first completion; the bytes themselves are held until the notification, whatever
            // becomes of the connection.
            return unsafe { self.submit(queue, entry, Kind::SendZeroCopy, held) };
        }
        let entry = on_socket!(self.socket, fd => opcode::SendMsg::new(fd, message).flags(flags).build());
        // SAFETY: the message, its vector and the pieces belong to `sending`, which is boxed, and neither changed nor
        // dropped before the completion: `pending` keeps the connection.
        unsafe { self.submit(queue, entry, Kind::Send, index) };
    }

    fn cancel_all(&mut self, queue: &mut Queue, index: u32) {
        let matching = on_socket!(self.socket, fd => CancelBuilder::fd(fd).all());
        // SAFETY: the entry points to no memory.
        unsafe {
            self.submit(
                queue,
                opcode::AsyncCancel2::new(matching).build(),
                Kind::SocketCancel,
                index,
            )
        };
    }

    /// Queues an operation on this socket.
    ///
    /// # Safety
    /// As for [`Queue::push`].
    unsafe fn submit(&mut self, queue: &mut Queue, entry: squeue::Entry, kind: Kind, index: u32) {
        self.pending += 1;
        // SAFETY: the caller's promise.
        unsafe { queue.push(entry, kind, index) };
    }

    fn end(&mut self, id: ConnId, error: Option<io::Error>, events: &mut Vec<Event>) {
        if !self.ended {
            self.ended = true;
            events.push(Event::Disconnected { conn: id, error });
        }
    }
}

/// Cancels the one operation with this tag.
fn cancel_by_tag(queue: &mut Queue, tag: u64, kind: Kind, index: u32) {
    // SAFETY: the entry points to no memory.
    unsafe { queue.push(opcode::AsyncCancel::new(tag).build(), kind, index) };
}

/// Whether accepting can go on at once: the error was the client's.
fn is_passing(error: &io::Error) -> bool {
    let passing = [
        libc::ECONNABORTED,
        libc::EINTR,
        libc::EAGAIN,
        libc::EPROTO,
        libc::EPERM,
        libc::ECANCELED,
    ];
    error
        .raw_os_error()
        .is_some_and(|number| passing.contains(&number))
}

/// A listening socket. What is set here, accepted sockets inherit (Linux).
fn bound_listener(address: SocketAddr) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt};
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Tells the client now. Before kernel 6.13 a descriptor closed in the ring can live on inside it for long.
fn shut_down(number: i32) {
    // SAFETY: a plain system call on a descriptor that this connection owns and has not closed.
    unsafe { libc::shutdown(number, libc::SHUT_RDWR) };
}
