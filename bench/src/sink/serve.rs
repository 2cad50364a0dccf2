//! The threads: each has a ring, a listener and the connections it accepted, and listens for word from the others.

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio_uring::net::TcpStream;

use super::{Shared, connection, lock};

/// Submissions a ring holds before they are handed to the kernel.
const RING_ENTRIES: u32 = 1024;
/// How long nothing is accepted after that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Word to all threads: stop, or close the connections there are.
pub(super) struct Signals {
    stopped: AtomicBool,
    /// How often all connections were closed. A connection accepted afterwards is not meant.
    disconnects: AtomicU64,
    /// One a thread.
    wakers: Mutex<Vec<Option<Waker>>>,
}

/// What a thread is told.
enum Word {
    Stop,
    /// Close what was accepted before so many disconnects.
    Disconnect(u64),
}

impl Signals {
    pub(super) fn new(threads: usize) -> Signals {
        Signals {
            stopped: AtomicBool::new(false),
            disconnects: AtomicU64::new(0),
            wakers: Mutex::new(vec![None; threads]),
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn disconnect(&self) {
        self.disconnects.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    fn wake(&self) {
        for waker in lock(&self.wakers).iter().flatten() {
            waker.wake_by_ref();
        }
    }

    /// The next word to thread `index`, which knows of `seen` disconnects.
    async fn next(&self, index: usize, seen: u64) -> Word {
        std::future::poll_fn(|context| {
            // Before looking, so that what changes in between wakes us.
            lock(&self.wakers)[index] = Some(context.waker().clone());
            if self.stopped.load(Ordering::Acquire) {
                return Poll::Ready(Word::Stop);
            }
            match self.disconnects.load(Ordering::Acquire) {
                disconnects if disconnects > seen => Poll::Ready(Word::Disconnect(disconnects)),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

/// A thread's open connections, each with the number of disconnects before it was accepted.
#[derive(Default)]
struct Open(RefCell<Vec<(u64, Weak<TcpStream>)>>);

impl Open {
    fn add(&self, disconnects: u64, stream: &Rc<TcpStream>) {
        let mut open = self.0.borrow_mut();
        // Closed ones are swept out when the list would grow, so that a short-lived connection costs little.
        if open.len() == open.capacity() {
            open.retain(|(_, stream)| stream.strong_count() > 0);
        }
        open.push((disconnects, Rc::downgrade(stream)));
    }

    /// Shuts down what was accepted before so many disconnects; their tasks notice and end.
    fn shut(&self, disconnects: u64) {
        self.0.borrow_mut().retain(|(accepted, stream)| {
            if *accepted >= disconnects {
                return true;
            }
            if let Some(stream) = stream.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            false
        });
    }
}

/// One thread, from its ring's creation, of which it tells `ready`, to the word to stop.
pub(super) fn run(shared: &Arc<Shared>, listener: TcpListener, index: usize, ready: &Sender<io::Result<()>>) {
    let runtime = match tokio_uring::Runtime::new(&crate::net::ring(RING_ENTRIES)) {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let listener = tokio_uring::net::TcpListener::from_std(listener);
        let open = Rc::new(Open::default());
        tokio_uring::spawn(accept(shared.clone(), listener, open.clone()));
        let _ = ready.send(Ok(()));
        let mut seen = 0;
        while let Word::Disconnect(disconnects) = shared.signals.next(index, seen).await {
            open.shut(disconnects);
            seen = disconnects;
        }
        open.shut(u64::MAX);
    });
}

async fn accept(shared: Arc<Shared>, listener: tokio_uring::net::TcpListener, open: Rc<Open>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // A connection that ended before it was accepted, or no descriptor left, which passes when one is closed.
            shared.clock.sleep_until(Instant::now() + ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        shared.tally.connections.fetch_add(1, Ordering::Relaxed);
        let stream = Rc::new(stream);
        open.add(shared.signals.disconnects.load(Ordering::Acquire), &stream);
        let shared = shared.clone();
        tokio_uring::spawn(async move { connection::serve(&shared, stream).await });
    }
}
