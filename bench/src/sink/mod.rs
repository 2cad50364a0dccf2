//! The sink: a listener that speaks enough of Kafka's wire protocol to be produced to and fetched from, inside this process.
//!
//! It has two uses. With [`Keep::Nothing`] it reads, answers and stores nothing: what a load reaches against it is the ceiling,
//! the limit of the client, the loopback device and the kernel, and no broker can be faster. With [`Keep::Everything`] it is a
//! small broker in memory whose [`Fault`] is known, to prove that the ledger notices what a broker gets wrong.
//!
//! It is a test instrument. It listens on the loopback address only, trusts nobody with its disk because it has none, and closes
//! the connection that sends what it does not understand. Requests other than Produce are decoded by kafka-protocol, which
//! allocates what a hostile count asks for and may end the process with that: acceptable from ourselves, not from a network. Neither sequence numbers
//! nor transactions are looked at: a batch that is sent twice is stored twice.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

use crate::error::Error;

mod admin;
mod batch;
mod clock;
mod connection;
mod fault;
mod fetch;
mod log;
mod offsets;
mod produce;
mod serve;
mod topics;
mod wire;

#[cfg(test)]
mod tests;

use clock::Clock;
pub use fault::Fault;
use fault::Trouble;
use serve::Signals;
use topics::Topics;

/// Connections waiting to be accepted, a listener.
const BACKLOG: i32 = 4096;

/// What a sink does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkConfig {
    /// Threads that serve, each with its own ring and its own listener on the one port; at least 1.
    pub threads: usize,
    /// What becomes of the batches.
    pub keep: Keep,
    /// What it gets wrong; `None` for a sink that keeps its word.
    pub fault: Option<Fault>,
}

/// What becomes of a batch that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Offsets are counted and batches dropped, but for one a partition. A fetch below the high watermark is answered with
    /// copies of that one, each with the next base offset, so that a consumer has something to read at full speed. The
    /// offsets are dense, the records are not those that were sent, and where batches differ in record count the last copy
    /// may reach past the high watermark.
    Nothing,
    /// Batches are kept in memory and served as they came. Their checksum is verified first.
    Everything,
}

/// What a sink has seen since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Record batches taken: acknowledged without an error, whatever a fault made of them afterwards.
    pub batches: u64,
    /// Records in these batches.
    pub records: u64,
    /// Bytes of these batches, headers included, as they came over the wire.
    pub bytes: u64,
    /// Connections accepted.
    pub connections: u64,
}

/// A running sink. Dropping it closes all connections and joins its threads.
pub struct Sink {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Sink {
    /// Starts listening on a free port of 127.0.0.1; connections are served from the moment this returns.
    ///
    /// # Errors
    /// [`Error::Usage`] for no threads, a fault that needs [`Keep::Everything`], or one that happens every 0th batch;
    /// [`Error::Failed`] when the kernel refuses a socket, a thread or a ring.
    pub fn start(config: SinkConfig) -> Result<Sink, Error> {
        Sink::start_on(0, config)
    }

    /// Starts listening on `port` of 127.0.0.1; 0 for a free one.
    ///
    /// # Errors
    /// As [`Sink::start`], and a port that is taken.
    pub fn start_on(port: u16, config: SinkConfig) -> Result<Sink, Error> {
        check(&config)?;
        let listeners = listeners(port, config.threads)?;
        let address = listeners[0].local_addr().map_err(|e| failed("its address", &e))?;
        let clock = Clock::start().map_err(|e| failed("a thread", &e))?;
        let shared = Arc::new(Shared {
            config,
            address,
            topics: Topics::default(),
            tally: Tally::default(),
            next_producer_id: AtomicI64::new(1),
            clock,
            trouble: Trouble::default(),
            signals: Signals::new(config.threads),
        });
        // From here on a failure drops the sink, which stops the threads that did start.
        let mut sink = Sink {
            shared: shared.clone(),
            threads: Vec::new(),
        };
        let (ready, started) = mpsc::channel();
        for (index, listener) in listeners.into_iter().enumerate() {
            let (shared, ready) = (shared.clone(), ready.clone());
            let thread = std::thread::Builder::new()
                .name(format!("sink-{index}"))
                .spawn(move || serve::run(&shared, listener, index, &ready))
                .map_err(|e| failed("a thread", &e))?;
            sink.threads.push(thread);
        }
        drop(ready);
        for _ in 0..config.threads {
            started
                .recv()
                .map_err(|_| Error::failed("a thread of the sink ended before it served"))?
                .map_err(|e| failed("a ring (seccomp or sysctl kernel.io_uring_disabled?)", &e))?;
        }
        Ok(sink)
    }

    /// Where it listens: 127.0.0.1 and the port the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// What it has seen so far. The four figures are read one after the other while connections go on.
    pub fn counts(&self) -> SinkCounts {
        self.shared.tally.read()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.signals.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on stderr; its connections are closed all the same.
            let _ = thread.join();
        }
    }
}

/// What all threads of one sink hold together.
struct Shared {
    config: SinkConfig,
    address: SocketAddr,
    topics: Topics,
    tally: Tally,
    next_producer_id: AtomicI64,
    clock: Clock,
    trouble: Trouble,
    signals: Signals,
}

/// [`SinkCounts`] while they grow.
#[derive(Default)]
struct Tally {
    batches: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    connections: AtomicU64,
}

impl Tally {
    /// Adds what one request brought: a few atomics a request, not a batch.
    fn add(&self, taken: &SinkCounts) {
        self.batches.fetch_add(taken.batches, Ordering::Relaxed);
        self.records.fetch_add(taken.records, Ordering::Relaxed);
        self.bytes.fetch_add(taken.bytes, Ordering::Relaxed);
    }

    fn read(&self) -> SinkCounts {
        SinkCounts {
            batches: self.batches.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }
}

fn check(config: &SinkConfig) -> Result<(), Error> {
    if config.threads == 0 {
        return Err(Error::usage("a sink needs at least one thread"));
    }
    let Some(fault) = config.fault else { return Ok(()) };
    if fault.every() == Some(0) {
        return Err(Error::usage("a fault happens every n-th batch: n is at least 1"));
    }
    if fault.needs_storage() && config.keep == Keep::Nothing {
        return Err(Error::usage(format!(
            "{fault:?} happens to stored batches, and this sink stores none"
        )));
    }
    Ok(())
}

/// One listener a thread, all on the port that the first was given; the kernel spreads connections over them.
fn listeners(port: u16, threads: usize) -> Result<Vec<TcpListener>, Error> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut listeners = Vec::with_capacity(threads);
    for _ in 0..threads {
        let listener = listener(address).map_err(|e| failed("a listening socket", &e))?;
        address = listener.local_addr().map_err(|e| failed("its address", &e))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn failed(what: &str, error: &std::io::Error) -> Error {
    Error::failed(format!("the sink could not get {what}: {error}"))
}

/// The lock, also after a thread panicked while holding it: what it guards are counts and lists that are whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
