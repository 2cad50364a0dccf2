//! The seam between the engine and the machine: disk, network, clock and the wake between cores.
//!
//! One [`Io`] belongs to one core and never leaves its thread. Every verb returns at once; what became of it
//! arrives later as an [`Event`] from [`Io::turn`], in the order the machine finished it. Buffers are owned by
//! the verb until its event gives them back, so nothing the kernel reads or writes can be freed beneath it.
//! Events are queued and handed out by `turn`; no verb ever calls back.
//!
//! [`ring::Ring`] is the real thing, one io_uring. A simulated disk, network and clock implement the same trait.
//! All `unsafe` of the project is below this folder, and nothing here knows what a batch, log or client is.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;

pub mod buffers;
pub mod counters;
pub mod files;
pub mod probe;
pub mod ring;

pub use buffers::{Block, Class, Slice};
pub use counters::IoCounters;

/// Direct I/O is done in multiples of this many bytes, at file positions that are multiples of it.
///
/// The largest logical block size in common use; a filesystem that asks for more is used buffered.
pub const ALIGN: usize = 4096;

/// What the caller wants back with the event of a verb. The seam never looks inside.
pub type Token = u64;

/// An open file of this core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// A connected socket of this core. Ids of closed sockets are used again, but never while an event for the
/// old socket can still arrive: [`Event::Closed`] is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// How a file is opened. Direct I/O is used wherever the filesystem has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Reads only; the file must exist.
    Read,
    /// Reads and writes; the file must exist.
    Write,
    /// Reads and writes; created empty when missing.
    Create,
}

/// What a finished write promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The device has taken the bytes; a power cut may lose them. A killed process does not.
    Written,
    /// The bytes, and the metadata needed to read them back, are on stable storage.
    Synced,
}

/// A piece of an answer, sent without being copied in user space.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Ordinary memory: headers, small answers.
    Bytes(Bytes),
    /// Record bytes straight from a tail buffer or a read buffer.
    Slice(Slice),
}

impl Piece {
    /// Number of bytes in this piece.
    pub fn len(&self) -> usize {
        match self {
            Piece::Bytes(b) => b.len(),
            Piece::Slice(s) => s.len(),
        }
    }

    /// Whether the piece holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What happened. I/O errors are the machine's own (`std::io::Error` from the errno).
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "token, conn, block, result and error are what their names and types say"
)]
pub enum Event {
    /// [`Io::open`] finished.
    Opened {
        token: Token,
        result: std::io::Result<FileId>,
    },
    /// [`Io::read`] finished. The block is filled with the bytes read: fewer than asked for only at the
    /// end of the file. It comes back also with an error.
    Read {
        token: Token,
        block: Block,
        result: std::io::Result<()>,
    },
    /// [`Io::write`] finished, in full (short writes are continued below the seam) or with an error.
    Wrote {
        token: Token,
        result: std::io::Result<()>,
    },
    /// [`Io::sync`] finished.
    Synced {
        token: Token,
        result: std::io::Result<()>,
    },
    /// [`Io::allocate`] finished.
    Allocated {
        token: Token,
        result: std::io::Result<()>,
    },
    /// A client connected to a listener of this core, from an address that is told if it is one of the internet.
    Accepted { conn: ConnId, peer: Option<SocketAddr> },
    /// Accepting failed (out of descriptors, say); the listener goes on after a pause.
    AcceptFailed { error: std::io::Error },
    /// Bytes arrived. The chunk goes back to the ring when dropped: copy what must stay, and drop it soon.
    Received { conn: ConnId, chunk: buffers::Chunk },
    /// The client closed its side, or the socket broke. No more bytes will arrive; what is being sent may
    /// still go out. The caller ends with [`Io::close_connection`].
    Disconnected {
        conn: ConnId,
        error: Option<std::io::Error>,
    },
    /// All pieces of the one [`Io::send`] under way were handed to the kernel, or the socket broke.
    Sent {
        conn: ConnId,
        result: std::io::Result<()>,
    },
    /// The socket is closed and its id free. Nothing arrives for it any more.
    Closed { conn: ConnId },
    /// [`Io::detach`] finished. With the socket the id is free and nothing arrives for it any more; with an error (out of
    /// descriptors, an old kernel) the connection is as before, not receiving.
    Detached {
        conn: ConnId,
        result: std::io::Result<OwnedFd>,
    },
}

/// One core's hold on the machine.
pub trait Io {
    /// Takes an empty buffer of the class from this core's pool, or `None` when the pool's budget is spent.
    /// A block (and every slice of it) may travel to any thread; its memory comes back here when the last is dropped.
    fn block(&mut self, class: Class) -> Option<Block>;

    /// An empty buffer of at least `bytes` for the rare case that no class is large enough (one batch larger than
    /// the largest class). Counts against the same budget.
    fn large_block(&mut self, bytes: usize) -> Option<Block>;

    /// Bytes of buffer memory handed out and not yet returned, and the budget in bytes.
    fn memory(&self) -> (usize, usize);

    /// Opens a file. The directory must exist.
    fn open(&mut self, path: PathBuf, how: Open, token: Token);

    /// Closes a file once what is under way on it is finished. Gives no event.
    fn close(&mut self, file: FileId);

    /// Reads `len` bytes (a multiple of [`ALIGN`], at most the block's capacity) at `position` (a multiple of
    /// [`ALIGN`]) into an empty block.
    fn read(&mut self, file: FileId, position: u64, len: usize, block: Block, token: Token);

    /// Writes the slice at `position`, a multiple of [`ALIGN`], as are its start within the block and its
    /// [`Slice::padded_len`] (see [`Block::slice_padded`]), which is what is written.
    fn write(&mut self, file: FileId, position: u64, slice: Slice, durability: Durability, token: Token);

    /// Makes all finished writes of the file durable, with the metadata needed to read them (fdatasync).
    fn sync(&mut self, file: FileId, token: Token);

    /// Extends the file with allocated space that reads as zeroes: bytes `[position, position + len)` (fallocate mode 0).
    fn allocate(&mut self, file: FileId, position: u64, len: u64, token: Token);

    /// Listens on the address and accepts from then on. Several cores may listen on the same one (SO_REUSEPORT);
    /// port 0 takes a free one. Returns the bound address. Sockets accepted have TCP_NODELAY and SO_KEEPALIVE set.
    fn listen(&mut self, address: SocketAddr) -> std::io::Result<SocketAddr>;

    /// Stops accepting on every listener of this core.
    fn stop_listening(&mut self);

    /// Starts, or starts again after [`Io::pause`], receiving from the socket. Idempotent.
    fn receive(&mut self, conn: ConnId);

    /// Stops receiving. A few chunks that were already on their way may still arrive. Idempotent.
    fn pause(&mut self, conn: ConnId);

    /// Sends the pieces in order. At most one send is under way per socket; the next may start after its [`Event::Sent`].
    fn send(&mut self, conn: ConnId, pieces: Vec<Piece>);

    /// Breaks the socket off, whatever is under way, and closes it; [`Event::Closed`] follows. An unfinished
    /// send gives no further event but that.
    fn close_connection(&mut self, conn: ConnId);

    /// Takes the socket away from this core, for another core to [`adopt`](Io::adopt). Receiving stops; nothing may be on its way out.
    /// Chunks that were on their way in arrive before [`Event::Detached`].
    fn detach(&mut self, conn: ConnId);

    /// Takes over a socket that another core gave up. Not receiving yet.
    fn adopt(&mut self, socket: OwnedFd) -> ConnId;

    /// Monotonic time, read once per turn.
    fn now(&self) -> Instant;

    /// Monotonic time at this moment. It costs as much as a small copy: what is done for every request takes [`Io::now`].
    fn clock(&self) -> Instant {
        self.now()
    }

    /// What was done since start. A simulated machine counts nothing.
    fn counters(&self) -> IoCounters {
        IoCounters::default()
    }

    /// Wall-clock milliseconds since 1970, read once per turn.
    fn wall_ms(&self) -> i64;

    /// Something any thread can hold to wake this core from a sleeping turn.
    fn waker(&self) -> Waker;

    /// Wakes another core, from this one: cheaper than [`Waker::wake`] where the ring can message the other ring.
    /// Does nothing when that core is awake. Takes effect with the next `turn`, or at once.
    fn wake(&mut self, other: &Waker);

    /// Submits what was asked for, appends what has happened to `events`, and sleeps when nothing has: until an
    /// event, a wake, or `deadline`. Before it sleeps it announces that it will, then asks `has_mail`: when that
    /// answers true it does not sleep, so a message placed before a wake is never slept over.
    fn turn(
        &mut self,
        deadline: Option<Instant>,
        has_mail: &mut dyn FnMut() -> bool,
        events: &mut Vec<Event>,
    );
}

pub use buffers::{Chunk, Pool};
pub use ring::{Ring, RingConfig, SyncMethod, Waker};
