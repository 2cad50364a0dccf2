//! One core's io_uring: the real [`Io`].
//!
//! Each turn is one system call: it hands over what the verbs have queued, and sleeps if nothing else is there to
//! do. Completions are taken from the queue afterwards and become events; nothing runs inside a verb.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use io_uring::{opcode, types};

use self::disk::Disk;
use self::net::{BUFFER_GROUP, Net};
use self::queue::{Completion, Kind, Queue};
use self::slab::Slab;
use self::table::BufferTable;
use super::buffers::{ChunkPool, Pool};
use super::{
    Block, Class, ConnId, Durability, Event, FileId, Io, IoCounters, Open, Piece, Slice, Token, probe,
};

mod disk;
mod net;
mod peer;
mod queue;
mod sending;
mod slab;
mod sync_choice;
mod table;
mod wake;
mod zero_copy;

pub use wake::Waker;

/// Receive buffers: this many at most, each of this many bytes.
const CHUNKS: u16 = 128;
const CHUNK_BYTES: u32 = 32 << 10;
/// How long a ring that is dropped waits for the kernel to let go of its memory.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Since this kernel a socket closed in the ring's table is closed at once.
const PROMPT_CLOSE_KERNEL: (u32, u32) = (6, 13);

/// How [`Durability::Synced`] writes reach stable storage. Which is better depends on the device and on who else uses the core
/// that serves its interrupts; `cargo bench -p ringlog-bench` measures both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMethod {
    /// Each write carries RWF_DSYNC: one operation, whose completion waits for a kernel worker. When other work keeps the
    /// cores busy that worker runs late (0.6 to 1 ms in the median, against 0.1 ms).
    Flag,
    /// The write is followed by fdatasync: two operations, and prompt also on busy cores.
    Fsync,
    /// Begins with fdatasync for small writes, whose latency somebody feels, and with the flag for large ones, of which there are many
    /// when throughput counts: it saves about a fifth of the broker's CPU. From then on each size goes the way that takes less time.
    #[default]
    Measured,
}

/// What a ring is made with.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// Most bytes of block memory this core may hold.
    pub memory_bytes: usize,
    /// Most files and sockets open at once; cut to the process's soft limit of open files.
    pub max_descriptors: u32,
    /// How synced writes are synced.
    pub sync_method: SyncMethod,
    /// Whether files bypass the page cache where the filesystem lets them.
    pub direct_io: bool,
    /// Whether sockets live in the ring's own table instead of the process's. By default from kernel 6.13 on: before, a
    /// socket closed there lived on until every older operation of the ring had finished, and a receive on an idle
    /// connection never does.
    pub sockets_in_table: bool,
    /// Whether block memory is registered with the kernel where the limit on locked memory lets it.
    pub register_memory: bool,
    /// Whether large sends leave the bytes where they are for the network card to read (IORING_OP_SENDMSG_ZC), except on connections
    /// where the kernel reports that it copied them. What is sent stays in memory until the client's machine has it.
    pub zero_copy_send: bool,
}

impl Default for RingConfig {
    fn default() -> RingConfig {
        RingConfig {
            memory_bytes: 256 << 20,
            max_descriptors: 16 << 10,
            sync_method: SyncMethod::default(),
            direct_io: true,
            sockets_in_table: probe::kernel_version() >= PROMPT_CLOSE_KERNEL,
            register_memory: true,
            zero_copy_send: false,
        }
    }
}

/// The share of block memory that zero-copy sends may keep.
const ZERO_COPY_SHARE: usize = 4;

/// One core's io_uring with its files, sockets and buffers.
pub struct Ring {
    // Dropped first: with it the kernel's hold on the memory below ends.
    queue: Queue,
    net: Net,
    disk: Disk,
    pool: Pool,
    table: BufferTable,
    waker: Waker,
    /// Bells for other cores under way.
    messages: Slab<Waker>,
    /// Events that no completion brings.
    ready: Vec<Event>,
    now: Instant,
    wall_ms: i64,
}

impl Ring {
    /// Makes the ring for the calling thread, which is the only one that can use it.
    ///
    /// # Errors
    /// The system's; [`probe::check`] says what they mean.
    pub fn new(config: &RingConfig) -> io::Result<Ring> {
        let queue = Queue::new()?;
        queue
            .uring
            .submitter()
            .register_files_sparse(config.max_descriptors.min(probe::open_files_limit()))?;
        let chunks = register_chunks(&queue)?;
        let table = BufferTable::new(&queue, config);
        // SAFETY: the descriptor belongs to `queue`, which outlives the borrow.
        let waker = Waker::new(unsafe { BorrowedFd::borrow_raw(queue.uring.as_raw_fd()) })?;
        let zero_copy = config
            .zero_copy_send
            .then_some(config.memory_bytes / ZERO_COPY_SHARE);
        let mut ring = Ring {
            queue,
            net: Net::new(chunks, config.sockets_in_table, zero_copy),
            disk: Disk::new(config.sync_method, config.direct_io),
            pool: Pool::new(config.memory_bytes),
            table,
            waker,
            messages: Slab::new(),
            ready: Vec::new(),
            now: Instant::now(),
            wall_ms: 0,
        };
        ring.watch_bell();
        ring.read_clock();
        Ok(ring)
    }

    /// Whether files bypass the page cache: `false` once a filesystem has refused, and then for all files opened later.
    pub fn direct_io(&self) -> bool {
        self.disk.direct
    }

    /// Whether block memory is registered: `false` once the kernel has refused (the limit on locked memory), which
    /// costs some CPU for each read and write.
    pub fn registered_memory(&self) -> bool {
        self.table.is_on()
    }

    /// Asks to be told of the bell that other threads ring.
    fn watch_bell(&mut self) {
        let Some(fd) = self.waker.event_fd() else { return };
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32)
            .multi(true)
            .build();
        // SAFETY: the entry points to no memory; the waker keeps the descriptor open.
        unsafe { self.queue.push(entry, Kind::Bell, 0) };
    }

    fn read_clock(&mut self) {
        self.now = Instant::now();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.wall_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    }

    /// How long a turn may sleep: `None` for not at all, `Some(None)` for without end.
    fn sleep_limit(&self, deadline: Option<Instant>) -> Option<Option<Duration>> {
        let deadline = deadline.into_iter().chain(self.net.next_deadline()).min();
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => None,
            limit => Some(limit),
        }
    }

    /// Enters the kernel, asleep if `may_sleep` and no mail is there. Whether the call was allowed to sleep.
    fn enter(
        &mut self,
        may_sleep: bool,
        deadline: Option<Instant>,
        has_mail: &mut dyn FnMut() -> bool,
    ) -> bool {
        if !may_sleep {
            self.queue.enter(None);
            return false;
        }
        self.waker.announce_sleep();
        let wait = if has_mail() {
            None
        } else {
            self.sleep_limit(deadline)
        };
        self.queue.enter(wait);
        self.waker.announce_awake();
        wait.is_some()
    }

    /// Turns completions into events until none is left.
    fn reap(&mut self, events: &mut Vec<Event>) {
        while let Some(done) = self.queue.next() {
            self.dispatch(done, events);
        }
    }

    fn dispatch(&mut self, done: Completion, events: &mut Vec<Event>) {
        let queue = &mut self.queue;
        match done.kind {
            Kind::Ignore | Kind::Wake => {}
            Kind::Bell if done.more() => {}
            Kind::Bell => self.watch_bell(),
            Kind::Message => self.on_message(done),
            Kind::Accept => self.net.on_accept(queue, done, self.now, events),
            Kind::Receive => self.net.on_receive(queue, done, events),
            Kind::ReceiveCancel => self.net.on_receive_cancel(queue, done, events),
            Kind::Send => self.net.on_send(queue, done, events),
            Kind::SendZeroCopy => self.net.on_zero_copy(queue, done, events),
            Kind::SocketCancel => self.net.on_socket_cancel(queue, done),
            Kind::SocketClose => self.net.on_socket_close(done, events),
            Kind::SocketInstall => self.net.on_socket_install(queue, done, events),
            Kind::Disk => self.disk.on_disk(queue, done, events),
            Kind::DiskLinked => self.disk.on_linked(queue, done, events),
            Kind::FileClose => self.disk.on_close(done),
        }
    }

    /// A message that did not arrive (the other ring is going away, or out of memory) becomes a bell.
    fn on_message(&mut self, done: Completion) {
        if let Some(other) = self.messages.remove(done.index).filter(|_| done.result < 0) {
            other.ring_bell();
        }
    }
}

/// Maps the receive buffers and tells the kernel.
fn register_chunks(queue: &Queue) -> io::Result<ChunkPool> {
    let chunks = ChunkPool::new(CHUNKS, CHUNK_BYTES).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the ring of entries and the buffers live in mappings that `Ring` drops after its io_uring, and leaks
    // when the kernel does not let go in time.
    unsafe {
        queue.uring.submitter().register_buf_ring_with_flags(
            chunks.ring_address(),
            chunks.entries(),
            BUFFER_GROUP,
            0,
        )?;
    }
    Ok(chunks)
}

impl Io for Ring {
    fn block(&mut self, class: Class) -> Option<Block> {
        self.pool.block_from(class, &mut self.table.with(&self.queue))
    }

    fn large_block(&mut self, bytes: usize) -> Option<Block> {
        self.pool
            .large_block_from(bytes, &mut self.table.with(&self.queue))
    }

    fn memory(&self) -> (usize, usize) {
        self.pool.memory()
    }

    fn open(&mut self, path: PathBuf, how: Open, token: Token) {
        if let Err(error) = self.disk.open(&mut self.queue, &path, how, token) {
            self.ready.push(Event::Opened {
                token,
                result: Err(error),
            });
        }
    }

    fn close(&mut self, file: FileId) {
        self.disk.close(&mut self.queue, file);
    }

    fn read(&mut self, file: FileId, position: u64, len: usize, block: Block, token: Token) {
        self.disk.read(&mut self.queue, file, position, len, block, token);
    }

    fn write(&mut self, file: FileId, position: u64, slice: Slice, durability: Durability, token: Token) {
        self.disk
            .write(&mut self.queue, file, position, slice, durability, token);
    }

    fn sync(&mut self, file: FileId, token: Token) {
        self.disk.sync(&mut self.queue, file, token);
    }

    fn allocate(&mut self, file: FileId, position: u64, len: u64, token: Token) {
        self.disk.allocate(&mut self.queue, file, position, len, token);
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.net.listen(&mut self.queue, address)
    }

    fn stop_listening(&mut self) {
        self.net.stop_listening(&mut self.queue);
    }

    fn receive(&mut self, conn: ConnId) {
        self.net.receive(&mut self.queue, conn);
    }

    fn pause(&mut self, conn: ConnId) {
        self.net.pause(&mut self.queue, conn);
    }

    fn send(&mut self, conn: ConnId, pieces: Vec<Piece>) {
        if !self.net.send(&mut self.queue, conn, pieces) {
            self.ready.push(Event::Sent { conn, result: Ok(()) });
        }
    }

    fn close_connection(&mut self, conn: ConnId) {
        self.net.close(&mut self.queue, conn);
        self.ready
            .retain(|event| !matches!(event, Event::Sent { conn: sent, .. } if *sent == conn));
    }

    fn detach(&mut self, conn: ConnId) {
        self.net.detach(&mut self.queue, conn, &mut self.ready);
    }

    fn adopt(&mut self, socket: OwnedFd) -> ConnId {
        self.net.adopt(socket)
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn clock(&self) -> Instant {
        Instant::now()
    }

    fn counters(&self) -> IoCounters {
        IoCounters {
            registrations: self.table.calls,
            ..self.queue.counters
        }
    }

    fn wall_ms(&self) -> i64 {
        self.wall_ms
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn wake(&mut self, other: &Waker) {
        if !other.claim() {
            return;
        }
        let Some(ring) = other.ring_fd() else { return };
        let entry = opcode::MsgRingData::new(types::Fd(ring), 0, Kind::Wake.tag(0), None).build();
        let index = self.messages.insert(other.clone());
        // SAFETY: the entry points to no memory; `messages` keeps the other ring's descriptor open.
        unsafe { self.queue.push(entry, Kind::Message, index) };
    }

    fn turn(
        &mut self,
        deadline: Option<Instant>,
        has_mail: &mut dyn FnMut() -> bool,
        events: &mut Vec<Event>,
    ) {
        self.pool.collect(&mut self.table.with(&self.queue));
        self.net.forget_detached();
        let begun = Instant::now();
        self.net.resume(&mut self.queue, begun);
        let may_sleep = self.ready.is_empty() && !self.queue.has_completions();
        events.append(&mut self.ready);
        let slept = self.enter(may_sleep, deadline, has_mail);
        self.read_clock();
        if slept {
            let asleep = self.now.saturating_duration_since(begun).as_nanos() as u64;
            self.queue.counters.asleep_ns += asleep;
        }
        self.reap(events);
    }
}

impl Drop for Ring {
    /// Breaks everything off and waits until the kernel has let go of our memory. What it will not let go of is
    /// leaked, never freed beneath it.
    fn drop(&mut self) {
        self.disk.drop_queued();
        self.net.close_all(&mut self.queue);
        let tag = Kind::Bell.tag(0);
        // SAFETY: the entry points to no memory.
        unsafe {
            self.queue
                .push(opcode::AsyncCancel::new(tag).build(), Kind::Ignore, 0)
        };
        let limit = Instant::now() + DRAIN_LIMIT;
        let mut dropped = Vec::new();
        while self.queue.outstanding() > 0 && Instant::now() < limit {
            self.queue.enter(Some(Some(Duration::from_millis(100))));
            while let Some(done) = self.queue.next() {
                if done.kind != Kind::Bell {
                    self.dispatch(done, &mut dropped);
                }
            }
            for event in dropped.drain(..) {
                if let Event::Accepted { conn, .. } = event {
                    self.net.close(&mut self.queue, conn);
                }
            }
        }
        if self.queue.outstanding() > 0 {
            self.disk.leak();
            self.net.leak();
        }
        // The duplicates that wakers hold keep the kernel's side of the ring alive; what it holds need not stay.
        let _ = self.queue.uring.submitter().unregister_buf_ring(BUFFER_GROUP);
        let _ = self.queue.uring.submitter().unregister_files();
        let _ = self.queue.uring.submitter().unregister_buffers();
    }
}
