//! The simulated machine: [`Io`] with a clock of its own, on which everything takes as long as the seed says, and ends in the order that
//! follows from it. Bytes are in real files, for reading them; what of them is durable is the [`Disk`](crate::disk::Disk)'s to know.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringlog_engine::io::*;

use crate::disk::{Ino, SharedDisk, StepId};
use crate::faults::{SharedFaults, Verb};
use crate::random::Random;
use crate::state::SECTOR_BYTES;

/// How long a core that waits for nothing sleeps.
const NAP: Duration = Duration::from_millis(5);

struct Opened {
    path: PathBuf,
    file: File,
    ino: Ino,
    closing: bool,
    under_way: u32,
}

enum Work {
    Open {
        path: PathBuf,
        how: Open,
    },
    Read {
        file: FileId,
        position: u64,
        len: usize,
        block: Block,
    },
    Write {
        file: FileId,
        position: u64,
        bytes: Vec<u8>,
        done: usize,
        durability: Durability,
        step: StepId,
    },
    Sync {
        file: FileId,
        steps: Vec<StepId>,
    },
    Allocate {
        file: FileId,
        end: u64,
    },
    /// Done; only its event is late.
    Told(Event),
}

struct Doing {
    due: Instant,
    /// Among those due at the same time, the order they were started in.
    number: u64,
    token: Token,
    work: Work,
    error: Option<io::Error>,
}

/// See the module's text.
pub struct Machine {
    pool: Pool,
    random: Random,
    now: Instant,
    begun: Instant,
    files: HashMap<FileId, Opened>,
    next_file: u32,
    doing: Vec<Doing>,
    number: u64,
    waker: Waker,
    /// Remembers what is done, unless nobody asks.
    pub disk: Option<SharedDisk>,
    pub faults: SharedFaults,
}

impl Machine {
    pub fn new(
        memory_bytes: usize,
        disk: Option<SharedDisk>,
        faults: SharedFaults,
        random: Random,
    ) -> Machine {
        let now = Instant::now();
        Machine {
            pool: Pool::new(memory_bytes),
            random,
            now,
            begun: now,
            files: HashMap::new(),
            next_file: 0,
            doing: Vec::new(),
            number: 0,
            waker: Waker::detached(),
            disk,
            faults,
        }
    }

    fn latency(&mut self) -> Duration {
        let micros = match self.random.below(20) {
            0 => 5_000 + self.random.below(50_000),
            1..=3 => 500 + self.random.below(5_000),
            _ => 10 + self.random.below(300),
        };
        Duration::from_micros(micros)
    }

    fn begin(&mut self, token: Token, work: Work, error: Option<io::Error>) {
        let due = self.now + self.latency();
        self.number += 1;
        if let Some(file) = work.file().and_then(|file| self.files.get_mut(&file)) {
            assert!(
                !file.closing,
                "a verb on {}, which is closed",
                file.path.display()
            );
            file.under_way += 1;
        }
        self.doing.push(Doing {
            due,
            number: self.number,
            token,
            work,
            error,
        });
    }

    fn ask(&mut self, verb: Verb, file: FileId) -> Option<io::Error> {
        let path = &self.files.get(&file)?.path;
        self.faults.borrow_mut().ask(verb, path)
    }

    /// The index of what ends next.
    fn next(&self) -> Option<usize> {
        (0..self.doing.len()).min_by_key(|i| (self.doing[*i].due, self.doing[*i].number))
    }

    /// Goes on with an operation whose time has come.
    fn go_on(&mut self, mut doing: Doing, events: &mut Vec<Event>) {
        if let Work::Write { .. } = doing.work
            && self.write_short(&mut doing)
        {
            doing.due = self.now + self.latency();
            self.doing.push(doing);
            return;
        }
        let Doing {
            token, work, error, ..
        } = doing;
        if let Work::Told(event) = work {
            events.push(event);
            return;
        }
        let file = work.file();
        let event = self.finish(token, work, error);
        if let Some(file) = file {
            self.close_when_quiet(file);
        }
        // What is done is not always told at once.
        if self.random.percent(15) {
            self.begin(token, Work::Told(event), None);
        } else {
            events.push(event);
        }
    }

    /// Some writes stop short, at a sector, and go on later. True for one that did now.
    fn write_short(&mut self, doing: &mut Doing) -> bool {
        let is_short = self.random.percent(15) || doing.error.is_some();
        let Work::Write {
            file,
            position,
            bytes,
            done,
            ..
        } = &mut doing.work
        else {
            return false;
        };
        let sectors = ((bytes.len() - *done) / SECTOR_BYTES) as u64;
        if *done > 0 || !is_short || sectors < 2 {
            return false;
        }
        *done = (1 + self.random.below(sectors - 1)) as usize * SECTOR_BYTES;
        self.files[&*file]
            .file
            .write_all_at(&bytes[..*done], *position)
            .expect("a write");
        true
    }

    fn finish(&mut self, token: Token, work: Work, error: Option<io::Error>) -> Event {
        let result = match error {
            Some(error) => Err(error),
            None => Ok(()),
        };
        match work {
            Work::Open { path, how } => {
                let result = result.and_then(|()| self.open_now(path, how));
                Event::Opened { token, result }
            }
            Work::Read {
                file,
                position,
                len,
                mut block,
            } => {
                let result = result.and_then(|()| self.read_now(file, position, len, &mut block));
                Event::Read { token, block, result }
            }
            Work::Write {
                file,
                position,
                bytes,
                durability,
                step,
                ..
            } => {
                let result = result.and_then(|()| self.files[&file].file.write_all_at(&bytes, position));
                if let Some(disk) = &self.disk {
                    let mut disk = disk.borrow_mut();
                    match (&result, durability) {
                        (Err(_), _) => disk.lost(&[step]),
                        (Ok(()), Durability::Synced) => disk.landed_synced(step),
                        (Ok(()), Durability::Written) => disk.landed(step),
                    }
                }
                Event::Wrote { token, result }
            }
            Work::Sync { steps, .. } => {
                if let Some(disk) = &self.disk {
                    match result {
                        Ok(()) => disk.borrow_mut().synced(steps),
                        Err(_) => disk.borrow_mut().lost(&steps),
                    }
                }
                Event::Synced { token, result }
            }
            Work::Allocate { file, end } => {
                let result = result.and_then(|()| self.extend_now(file, end));
                Event::Allocated { token, result }
            }
            Work::Told(event) => event,
        }
    }

    fn open_now(&mut self, path: PathBuf, how: Open) -> io::Result<FileId> {
        if let (Some(disk), Open::Create) = (&self.disk, how) {
            // As the kernel would answer when the folder is gone.
            std::fs::metadata(path.parent().expect("a folder"))?;
            disk.borrow_mut().create(&path, false);
        }
        let mut options = OpenOptions::new();
        options.read(true).write(how != Open::Read);
        let file = options.create(how == Open::Create).truncate(false).open(&path)?;
        let ino = self.disk.as_ref().map_or(0, |disk| disk.borrow().file(&path));
        let id = FileId(self.next_file);
        self.next_file += 1;
        let opened = Opened {
            path,
            file,
            ino,
            closing: false,
            under_way: 0,
        };
        self.files.insert(id, opened);
        Ok(id)
    }

    fn read_now(&mut self, file: FileId, position: u64, len: usize, block: &mut Block) -> io::Result<()> {
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            match self.files[&file]
                .file
                .read_at(&mut bytes[done..], position + done as u64)?
            {
                0 => break,
                n => done += n,
            }
        }
        block.append(&bytes[..done]);
        Ok(())
    }

    fn extend_now(&mut self, file: FileId, end: u64) -> io::Result<()> {
        let opened = &self.files[&file];
        if opened.file.metadata()?.len() < end {
            opened.file.set_len(end)?;
            if let Some(disk) = &self.disk {
                disk.borrow_mut().extend(opened.ino, end);
            }
        }
        Ok(())
    }

    fn close_when_quiet(&mut self, file: FileId) {
        let Some(opened) = self.files.get_mut(&file) else {
            return;
        };
        opened.under_way -= 1;
        if opened.closing && opened.under_way == 0 {
            self.files.remove(&file);
        }
    }
}

impl Work {
    fn file(&self) -> Option<FileId> {
        match self {
            Work::Open { .. } | Work::Told(_) => None,
            Work::Read { file, .. } | Work::Write { file, .. } => Some(*file),
            Work::Sync { file, .. } | Work::Allocate { file, .. } => Some(*file),
        }
    }
}

impl Io for Machine {
    fn block(&mut self, class: Class) -> Option<Block> {
        self.pool.block(class)
    }

    fn large_block(&mut self, bytes: usize) -> Option<Block> {
        self.pool.large_block(bytes)
    }

    fn memory(&self) -> (usize, usize) {
        self.pool.memory()
    }

    fn open(&mut self, path: PathBuf, how: Open, token: Token) {
        let error = self.faults.borrow_mut().ask(Verb::Open, &path);
        self.begin(token, Work::Open { path, how }, error);
    }

    fn close(&mut self, file: FileId) {
        let opened = self.files.get_mut(&file).expect("an open file");
        assert!(!opened.closing, "a file closed twice");
        opened.closing = true;
        if opened.under_way == 0 {
            self.files.remove(&file);
        }
    }

    fn read(&mut self, file: FileId, position: u64, len: usize, block: Block, token: Token) {
        assert!(len.is_multiple_of(ALIGN) && position.is_multiple_of(ALIGN as u64));
        assert!(len <= block.capacity() && block.is_empty());
        let error = self.ask(Verb::Read, file);
        let work = Work::Read {
            file,
            position,
            len,
            block,
        };
        self.begin(token, work, error);
    }

    fn write(&mut self, file: FileId, position: u64, slice: Slice, durability: Durability, token: Token) {
        let bytes = slice.to_padded_vec();
        assert!(bytes.len().is_multiple_of(ALIGN) && position.is_multiple_of(ALIGN as u64));
        let error = self.ask(Verb::Write, file);
        let step = match &self.disk {
            Some(disk) => {
                let ino = self.files[&file].ino;
                disk.borrow_mut().write(ino, position, bytes.as_slice().into())
            }
            None => 0,
        };
        let work = Work::Write {
            file,
            position,
            bytes,
            done: 0,
            durability,
            step,
        };
        self.begin(token, work, error);
    }

    fn sync(&mut self, file: FileId, token: Token) {
        let error = self.ask(Verb::Sync, file);
        let ino = self.files[&file].ino;
        let steps = self
            .disk
            .as_ref()
            .map_or(Vec::new(), |disk| disk.borrow().unsynced(ino));
        self.begin(token, Work::Sync { file, steps }, error);
    }

    fn allocate(&mut self, file: FileId, position: u64, len: u64, token: Token) {
        let error = self.ask(Verb::Allocate, file);
        let end = position + len;
        self.begin(token, Work::Allocate { file, end }, error);
    }

    fn listen(&mut self, _: SocketAddr) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn stop_listening(&mut self) {}

    fn receive(&mut self, _: ConnId) {}

    fn pause(&mut self, _: ConnId) {}

    fn send(&mut self, _: ConnId, _: Vec<Piece>) {}

    fn close_connection(&mut self, _: ConnId) {}

    fn detach(&mut self, _: ConnId) {}

    fn adopt(&mut self, _: OwnedFd) -> ConnId {
        unreachable!("nothing connects to a simulated machine")
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn wall_ms(&self) -> i64 {
        1_000_000 + (self.now - self.begun).as_millis() as i64
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn wake(&mut self, _: &Waker) {}

    fn turn(
        &mut self,
        deadline: Option<Instant>,
        has_mail: &mut dyn FnMut() -> bool,
        events: &mut Vec<Event>,
    ) {
        if has_mail() {
            return;
        }
        let until = deadline.unwrap_or(self.now + NAP).max(self.now);
        match self.next() {
            Some(i) if self.doing[i].due <= until => {
                let doing = self.doing.swap_remove(i);
                self.now = self.now.max(doing.due);
                self.go_on(doing, events);
            }
            _ => self.now = until,
        }
    }
}
