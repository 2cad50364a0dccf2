//! What a process used between two moments: processor, memory, context switches, disk; from `/proc/PID`.
//!
//! The kernel counts processor time and disk bytes for the whole process, its io_uring workers and the threads that ended
//! included. Context switches it counts only by thread: a thread that ends takes its count along. So the last count
//! seen of every thread is kept; missing is what a thread did after the last sample that saw it, and a thread that began and ended
//! between two samples.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::Error;
use crate::measure::proc::{
    DiskBytes, Memory, Stat, parse_context_switches, parse_io, parse_memory, parse_stat,
};
use crate::report::model::ProcessUse;

const MIB: f64 = (1 << 20) as f64;
/// A last interval shorter than this gets no row of its own: its processor time is known to 10 ms.
const MIN_INTERVAL_S: f64 = 0.2;

/// Watches one process. Once it is dead the figures stay as they were at the last sample.
pub struct ProcessSampler {
    pid: u32,
    folder: PathBuf,
    ticks_per_s: f64,
    threads: Threads,
    is_alive: bool,
    /// At the start of the measurement.
    base: Reading,
    /// At the last row.
    row: Reading,
    /// The newest.
    last: Reading,
    rows: Vec<[f64; 3]>,
}

/// Everything read at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    stat: Stat,
    memory: Memory,
    /// `None` when the process is somebody else's.
    disk: Option<DiskBytes>,
    context_switches: u64,
}

/// Watches this process.
///
/// # Errors
/// A sentence when `/proc` is not mounted.
pub fn own() -> Result<ProcessSampler, Error> {
    ProcessSampler::start(std::process::id())
}

impl ProcessSampler {
    /// Begins to watch; the measurement begins here too, until [`ProcessSampler::mark`] says otherwise.
    ///
    /// # Errors
    /// A sentence when there is no such process, or it has ended.
    pub fn start(pid: u32) -> Result<ProcessSampler, Error> {
        ProcessSampler::start_in(Path::new("/proc"), pid)
    }

    fn start_in(proc: &Path, pid: u32) -> Result<ProcessSampler, Error> {
        let folder = proc.join(pid.to_string());
        let told = |why: String| Error::failed(format!("process {pid} cannot be watched: {why}"));
        let mut threads = Threads::default();
        let first = match read(&folder, &mut threads) {
            Ok(reading) if reading.stat.has_ended() => return Err(told("it has ended".into())),
            Ok(reading) => reading,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(told("there is no such process".into()));
            }
            Err(error) => return Err(told(error.to_string())),
        };
        Ok(ProcessSampler {
            pid,
            folder,
            ticks_per_s: rustix::param::clock_ticks_per_second().max(1) as f64,
            threads,
            is_alive: true,
            base: first,
            row: first,
            last: first,
            rows: Vec::new(),
        })
    }

    /// The process watched.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it was alive when last looked at.
    pub fn is_alive(&self) -> bool {
        self.is_alive
    }

    /// Whether its disk bytes can be read; those of another user's process cannot, and are reported as 0.
    pub fn has_disk_bytes(&self) -> bool {
        self.last.disk.is_some()
    }

    /// Looks at the process and adds a row; to be called about once a second. Nothing happens once it is dead.
    pub fn sample(&mut self) {
        if self.look() {
            self.add_row();
        }
    }

    /// The measurement begins now: what was used before does not count.
    pub fn mark(&mut self) {
        self.look();
        self.last.at = Instant::now();
        (self.base, self.row) = (self.last, self.last);
        self.rows.clear();
    }

    /// The measurement ends now. `gib` is what was acknowledged or read meanwhile; without any there is no figure a GiB.
    pub fn finish(mut self, gib: Option<f64>) -> ProcessUse {
        if self.look() && (self.last.at - self.row.at).as_secs_f64() >= MIN_INTERVAL_S {
            self.add_row();
        }
        let (base, last) = (&self.base, &self.last);
        let user_s = self.seconds(base, |stat| stat.user_ticks);
        let system_s = self.seconds(base, |stat| stat.system_ticks);
        let disk = |of: fn(DiskBytes) -> u64| match (last.disk, base.disk) {
            (Some(last), Some(base)) => of(last).saturating_sub(of(base)),
            _ => 0,
        };
        ProcessUse {
            pid: self.pid,
            user_s,
            system_s,
            cpu_s_per_gib: gib.filter(|gib| *gib > 0.0).map(|gib| (user_s + system_s) / gib),
            rss_bytes: last.memory.rss_bytes,
            peak_rss_bytes: last.memory.peak_rss_bytes,
            context_switches: last.context_switches.saturating_sub(base.context_switches),
            disk_write_bytes: disk(|bytes| bytes.write_bytes),
            disk_read_bytes: disk(|bytes| bytes.read_bytes),
            samples: self.rows,
        }
    }

    /// Takes a new reading; false when the process is dead, and then the last one stays.
    fn look(&mut self) -> bool {
        if self.is_alive {
            match read(&self.folder, &mut self.threads) {
                // a process on its way out has no memory any more; another one has begun at another time
                Ok(now)
                    if now.stat.started_ticks == self.base.stat.started_ticks
                        && !now.stat.has_ended()
                        && (now.memory.rss_bytes > 0 || self.last.memory.rss_bytes == 0) =>
                {
                    self.last = now;
                }
                _ => self.is_alive = false,
            }
        }
        self.is_alive
    }

    fn add_row(&mut self) {
        let elapsed_s = (self.last.at - self.row.at).as_secs_f64();
        if elapsed_s > 0.0 {
            let busy_s = self.seconds(&self.row, |stat| stat.user_ticks + stat.system_ticks);
            let at_s = (self.last.at - self.base.at).as_secs_f64();
            let rss_mib = self.last.memory.rss_bytes as f64 / MIB;
            self.rows.push([at_s, busy_s / elapsed_s, rss_mib]);
            self.row = self.last;
        }
    }

    /// Seconds of processor time between a reading and the newest.
    fn seconds(&self, from: &Reading, ticks: fn(&Stat) -> u64) -> f64 {
        ticks(&self.last.stat).saturating_sub(ticks(&from.stat)) as f64 / self.ticks_per_s
    }
}

/// Reads everything; `stat` last, so that a process alive there was alive for all of it.
fn read(folder: &Path, threads: &mut Threads) -> io::Result<Reading> {
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "/proc has an unknown form");
    let status = fs::read(folder.join("status"))?;
    let disk = fs::read_to_string(folder.join("io"));
    threads.count(&folder.join("task"));
    let stat = fs::read(folder.join("stat"))?;
    Ok(Reading {
        at: Instant::now(),
        stat: parse_stat(&String::from_utf8_lossy(&stat)).ok_or_else(strange)?,
        memory: parse_memory(&String::from_utf8_lossy(&status)),
        disk: disk.ok().and_then(|text| parse_io(&text)),
        context_switches: threads.total(),
    })
}

/// Context switches of the threads seen so far.
#[derive(Default)]
struct Threads {
    alive: HashMap<u32, u64>,
    ended: u64,
}

impl Threads {
    /// Reads the folder of a process's threads.
    fn count(&mut self, tasks: &Path) {
        let Ok(entries) = fs::read_dir(tasks) else { return };
        let mut seen = HashMap::with_capacity(self.alive.len());
        for entry in entries.flatten() {
            let thread = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let status = fs::read(entry.path().join("status")).unwrap_or_default();
            let switches = parse_context_switches(&String::from_utf8_lossy(&status));
            if let (Some(thread), Some(switches)) = (thread, switches) {
                seen.insert(thread, switches);
            }
        }
        self.replace(seen);
    }

    /// A thread that is gone keeps its last count; one that counts less than before is another one with its number.
    fn replace(&mut self, seen: HashMap<u32, u64>) {
        for (thread, last) in &self.alive {
            if seen.get(thread).is_none_or(|now| now < last) {
                self.ended = self.ended.saturating_add(*last);
            }
        }
        self.alive = seen;
    }

    fn total(&self) -> u64 {
        self.alive
            .values()
            .fold(self.ended, |sum, n| sum.saturating_add(*n))
    }
}

#[cfg(test)]
mod tests;
