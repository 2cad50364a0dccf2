//! The processes of one broker: the group its shell leads, and the process that listens, should it have left that group.

use std::fs;
use std::io;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::measure::proc::{Stat, parse_memory, parse_stat};

/// Whom to signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The process group; its leader is the shell, a child of ours.
    pub group: u32,
    /// The listening process outside the group.
    pub outsider: Option<Outsider>,
}

/// A process with what tells it from a later one with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outsider {
    /// Its id.
    pub pid: u32,
    started_ticks: u64,
    /// Whether it leads a group of its own, which goes with it.
    leads: bool,
}

impl Family {
    /// The family of a shell just started.
    pub fn new(group: u32) -> Family {
        Family {
            group,
            outsider: None,
        }
    }

    /// Takes the listening process in, when it is outside the group. This process itself is never taken in.
    pub fn adopt(&mut self, pid: u32) {
        let stat = stat_of(pid).filter(|stat| stat.group != self.group && pid != std::process::id());
        self.outsider = stat.map(|stat| Outsider {
            pid,
            started_ticks: stat.started_ticks,
            leads: stat.group == pid,
        });
    }

    /// Sends a signal to all of them. Those that are gone already are not missed.
    pub fn signal(&self, signal: Signal) {
        if self.has_members() {
            send_to_group(self.group, signal);
        }
        match self.outsider {
            Some(outsider) if outsider.is_alive() && outsider.leads => send_to_group(outsider.pid, signal),
            Some(outsider) if outsider.is_alive() => send(outsider.pid, signal),
            _ => {}
        }
    }

    /// Whether any of them still runs.
    pub fn is_alive(&self) -> bool {
        self.has_members() || self.outsider.is_some_and(|outsider| outsider.is_alive())
    }

    fn has_members(&self) -> bool {
        self.members().next().is_some()
    }

    /// The group's processes that have not ended.
    fn members(&self) -> impl Iterator<Item = u32> {
        let group = self.group;
        pids().filter(move |pid| stat_of(*pid).is_some_and(|stat| stat.group == group && !stat.has_ended()))
    }

    /// The group's process with the most resident memory: the broker, by all likelihood.
    pub fn largest(&self) -> Option<u32> {
        self.members().max_by_key(|pid| {
            let status = fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
            parse_memory(&String::from_utf8_lossy(&status)).rss_bytes
        })
    }

    /// What `kill` takes as its targets: the group as a negative number, then the outsider.
    pub fn targets(&self) -> Vec<String> {
        let sign = |leads| if leads { "-" } else { "" };
        let outsider = self.outsider.map(|o| format!("{}{}", sign(o.leads), o.pid));
        [format!("-{}", self.group)].into_iter().chain(outsider).collect()
    }
}

impl Outsider {
    fn is_alive(&self) -> bool {
        stat_of(self.pid).is_some_and(|stat| stat.started_ticks == self.started_ticks && !stat.has_ended())
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn stat_of(pid: u32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&text))
}

fn send_to_group(group: u32, signal: Signal) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
