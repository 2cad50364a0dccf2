//! The real ring with errors put in its way: a disk that is full, or fails, for as long as a test wants.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ringlog_engine::io::*;

/// What is asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Open,
    Read,
    Write,
    Sync,
    Allocate,
}

/// Decides whether a verb on a file fails, and with which errno.
pub type Fault = Box<dyn FnMut(Verb, &Path) -> Option<i32>>;

/// See the module's text.
pub struct Faulty {
    inner: Ring,
    fault: Option<Fault>,
    opening: HashMap<Token, PathBuf>,
    paths: HashMap<FileId, PathBuf>,
    injected: Vec<Event>,
    /// How far the wall clock has been set forward, or back.
    pub clock_shift_ms: i64,
}

impl Faulty {
    pub fn new(inner: Ring) -> Faulty {
        Faulty {
            inner,
            fault: None,
            opening: HashMap::new(),
            paths: HashMap::new(),
            injected: Vec::new(),
            clock_shift_ms: 0,
        }
    }

    /// From now on this decides; `None` for a disk without faults.
    pub fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    fn ask(&mut self, verb: Verb, path: &Path) -> Option<io::Error> {
        let errno = self.fault.as_mut()?(verb, path)?;
        Some(io::Error::from_raw_os_error(errno))
    }

    fn ask_file(&mut self, verb: Verb, file: FileId) -> Option<io::Error> {
        let path = self.paths.get(&file).cloned().unwrap_or_default();
        self.ask(verb, &path)
    }
}

impl Io for Faulty {
    fn block(&mut self, class: Class) -> Option<Block> {
        self.inner.block(class)
    }

    fn large_block(&mut self, bytes: usize) -> Option<Block> {
        self.inner.large_block(bytes)
    }

    fn memory(&self) -> (usize, usize) {
        self.inner.memory()
    }

    fn open(&mut self, path: PathBuf, how: Open, token: Token) {
        match self.ask(Verb::Open, &path) {
            Some(e) => self.injected.push(Event::Opened {
                token,
                result: Err(e),
            }),
            None => {
                self.opening.insert(token, path.clone());
                self.inner.open(path, how, token);
            }
        }
    }

    fn close(&mut self, file: FileId) {
        self.inner.close(file);
    }

    fn read(&mut self, file: FileId, position: u64, len: usize, block: Block, token: Token) {
        match self.ask_file(Verb::Read, file) {
            Some(e) => self.injected.push(Event::Read {
                token,
                block,
                result: Err(e),
            }),
            None => self.inner.read(file, position, len, block, token),
        }
    }

    fn write(&mut self, file: FileId, position: u64, slice: Slice, durability: Durability, token: Token) {
        match self.ask_file(Verb::Write, file) {
            Some(e) => self.injected.push(Event::Wrote {
                token,
                result: Err(e),
            }),
            None => self.inner.write(file, position, slice, durability, token),
        }
    }

    fn sync(&mut self, file: FileId, token: Token) {
        match self.ask_file(Verb::Sync, file) {
            Some(e) => self.injected.push(Event::Synced {
                token,
                result: Err(e),
            }),
            None => self.inner.sync(file, token),
        }
    }

    fn allocate(&mut self, file: FileId, position: u64, len: u64, token: Token) {
        match self.ask_file(Verb::Allocate, file) {
            Some(e) => self.injected.push(Event::Allocated {
                token,
                result: Err(e),
            }),
            None => self.inner.allocate(file, position, len, token),
        }
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.inner.listen(address)
    }

    fn stop_listening(&mut self) {
        self.inner.stop_listening();
    }

    fn receive(&mut self, conn: ConnId) {
        self.inner.receive(conn);
    }

    fn pause(&mut self, conn: ConnId) {
        self.inner.pause(conn);
    }

    fn send(&mut self, conn: ConnId, pieces: Vec<Piece>) {
        self.inner.send(conn, pieces);
    }

    fn close_connection(&mut self, conn: ConnId) {
        self.inner.close_connection(conn);
    }

    fn detach(&mut self, conn: ConnId) {
        self.inner.detach(conn);
    }

    fn adopt(&mut self, socket: OwnedFd) -> ConnId {
        self.inner.adopt(socket)
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn wall_ms(&self) -> i64 {
        self.inner.wall_ms() + self.clock_shift_ms
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn wake(&mut self, other: &Waker) {
        self.inner.wake(other);
    }

    fn turn(
        &mut self,
        deadline: Option<Instant>,
        has_mail: &mut dyn FnMut() -> bool,
        events: &mut Vec<Event>,
    ) {
        let waiting = !self.injected.is_empty();
        events.append(&mut self.injected);
        let from = events.len();
        self.inner.turn(deadline, &mut || waiting || has_mail(), events);
        for event in &events[from..] {
            if let Event::Opened { token, result } = event
                && let (Some(path), Ok(file)) = (self.opening.remove(token), result)
            {
                self.paths.insert(*file, path);
            }
        }
    }
}
