//! The cleaner's threads: passes are done in the order they were submitted, each by one thread, with what becomes of them in the submitter's inbox.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use crossbeam_queue::SegQueue;

use super::order::{CleanDone, CleanError, CleanOrder};
use super::pace::Pace;
use super::pass::Cleaner;
use crate::error::Error;
use crate::io::{Token, Waker};

/// Settings of the broker that all passes share. They are those of `log.cleaner.*`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerSettings {
    /// Threads, at least 1: `log.cleaner.threads`.
    pub threads: usize,
    /// Bytes of all maps of keys together: `log.cleaner.dedupe.buffer.size`.
    pub dedupe_buffer_bytes: u64,
    /// How full a map may get, above 0 and at most 1: `log.cleaner.io.buffer.load.factor`.
    pub load_factor: f64,
    /// Bytes of all read and write buffers together, while no batch is larger: `log.cleaner.io.buffer.size`.
    pub io_buffer_bytes: usize,
    /// Bytes read and written a second by all threads together: `log.cleaner.io.max.bytes.per.second`.
    pub max_bytes_per_second: f64,
    /// Most bytes that one batch may unpack to. One that unpacks to more ends the pass.
    pub max_unpacked_bytes: u64,
}

impl Default for CleanerSettings {
    /// Kafka's defaults.
    fn default() -> CleanerSettings {
        CleanerSettings {
            threads: 1,
            dedupe_buffer_bytes: 128 << 20,
            load_factor: 0.9,
            io_buffer_bytes: 512 << 10,
            max_bytes_per_second: f64::MAX,
            max_unpacked_bytes: 1 << 30,
        }
    }
}

/// How far the threads give way to others.
const NICENESS: i32 = 10;

/// What became of a pass.
#[derive(Debug)]
pub struct CleanReport {
    /// The submitter's.
    pub token: Token,
    /// The new segments, all durable, or why there are none.
    pub result: Result<CleanDone, CleanError>,
}

/// Where a core finds what became of its passes.
pub type CleanInbox = Arc<SegQueue<CleanReport>>;

struct Submitted {
    token: Token,
    order: CleanOrder,
    inbox: CleanInbox,
    waker: Option<Waker>,
}

/// The threads' entrance; they end when the last of these is gone.
#[derive(Clone)]
pub struct Cleaners {
    orders: Sender<Submitted>,
}

/// Passes that were submitted and wait to be done by whoever holds this, when they choose: for a simulation.
pub struct CleanBacklog {
    arriving: Receiver<Submitted>,
    cleaner: Cleaner,
}

impl CleanBacklog {
    /// Does the next pass, here and now. False when none waits.
    pub fn run_one(&self) -> bool {
        let next = self.arriving.try_recv();
        next.map(|submitted| work_off(&self.cleaner, submitted)).is_ok()
    }
}

impl Cleaners {
    /// Starts the threads. The memory of a map is taken for each pass, as much as that can use.
    ///
    /// # Errors
    /// The system's, when it gives no thread.
    pub fn start(settings: CleanerSettings) -> std::io::Result<Cleaners> {
        let (orders, arriving) = channel();
        let arriving = Arc::new(Mutex::new(arriving));
        let pace = Arc::new(Pace::new(settings.max_bytes_per_second));
        for number in 0..settings.threads.max(1) {
            let (arriving, cleaner) = (arriving.clone(), Cleaner::new(&settings, pace.clone()));
            let thread = std::thread::Builder::new().name(format!("cleaner-{number}"));
            thread.spawn(move || {
                // Beside the cores, not before them. Nothing depends on its being granted.
                let _ = rustix::process::setpriority_process(None, NICENESS);
                while let Some(submitted) = next(&arriving) {
                    work_off(&cleaner, submitted);
                }
            })?;
        }
        Ok(Cleaners { orders })
    }

    /// Without a thread: passes are done by whoever holds the backlog, and when they choose. No pace is kept.
    pub fn by_hand(settings: CleanerSettings) -> (Cleaners, CleanBacklog) {
        let (orders, arriving) = channel();
        let cleaner = Cleaner::new(&settings, Arc::new(Pace::new(f64::MAX)));
        (Cleaners { orders }, CleanBacklog { arriving, cleaner })
    }

    /// Gives the threads a pass; what became of it goes to `inbox`, then `waker` is woken.
    pub fn submit(&self, token: Token, order: CleanOrder, inbox: &CleanInbox, waker: Option<Waker>) {
        let submitted = Submitted {
            token,
            order,
            inbox: inbox.clone(),
            waker,
        };
        if let Err(lost) = self.orders.send(submitted) {
            let source = std::io::Error::other("the cleaner's threads have ended");
            let error = Error::io("clean", &lost.0.order.folder)(source);
            lost.0.done(Err(error.into()));
        }
    }
}

impl Submitted {
    fn done(self, result: Result<CleanDone, CleanError>) {
        self.inbox.push(CleanReport {
            token: self.token,
            result,
        });
        if let Some(waker) = self.waker {
            waker.wake();
        }
    }
}

/// The next pass; `None` when nobody can submit one any more. One thread waits in the channel, the others for the lock.
fn next(arriving: &Mutex<Receiver<Submitted>>) -> Option<Submitted> {
    let arriving = match arriving.lock() {
        Ok(arriving) => arriving,
        Err(poisoned) => poisoned.into_inner(),
    };
    arriving.recv().ok()
}

fn work_off(cleaner: &Cleaner, submitted: Submitted) {
    let result = cleaner.run(&submitted.order);
    submitted.done(result);
}
