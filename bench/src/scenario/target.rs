//! The broker under load, running already or started by us.

use std::net::SocketAddr;

use super::stage::talk;
use crate::cli::flags::Pid;
use crate::client::admin;
use crate::client::facts::Facts;
use crate::error::Error;
use crate::measure::listener::listener_pid;
use crate::measure::stages::StageProbe;
use crate::report::model::Side;

/// Where the load goes.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// What tables call it.
    pub name: String,
    /// `HOST:PORT[,...]`.
    pub bootstrap: String,
    /// Its process, where it is known.
    pub pid: Option<u32>,
    /// The command that started it, if we did.
    pub start_command: String,
    /// What it says of itself, once asked.
    pub facts: Option<Facts>,
    /// False for the sink: nothing can be read back.
    pub keeps_records: bool,
    /// `--durability`.
    pub stated_durability: Option<String>,
}

impl Target {
    /// A broker that runs already.
    pub fn running(bootstrap: &str, pid: Pid) -> Target {
        let first = bootstrap.split(',').next().unwrap_or(bootstrap).trim();
        let pid = match pid {
            Pid::Of(pid) => Some(pid),
            Pid::None => None,
            Pid::Auto => admin::resolve(first).ok().and_then(local_pid),
        };
        Target {
            name: first.to_owned(),
            bootstrap: bootstrap.to_owned(),
            pid,
            keeps_records: true,
            ..Target::default()
        }
    }

    /// Whether somebody answers there as a broker does.
    ///
    /// # Errors
    /// What each address of the bootstrap list said.
    pub fn reach(&self) -> Result<(), Error> {
        talk(admin::bootstrap(&self.bootstrap)).map(|_| ())
    }

    /// Somebody to ask a Ringlog broker of its inside; others have none.
    pub fn probe(&self) -> Option<StageProbe> {
        self.facts.as_ref().filter(|facts| facts.is_ringlog)?;
        let addresses = self
            .bootstrap
            .split(',')
            .filter_map(|one| admin::resolve(one.trim()).ok());
        addresses.into_iter().find_map(StageProbe::open)
    }

    /// Its side of the report, without runs.
    pub fn side(&self) -> Side {
        let facts = self.facts.clone().unwrap_or_default();
        let (durability, durability_reason) = match &self.stated_durability {
            Some(stated) => (stated.clone(), "as --durability says".into()),
            None if !self.keeps_records => ("none".into(), "the sink stores nothing".into()),
            None => (facts.durability, facts.reason),
        };
        Side {
            name: self.name.clone(),
            bootstrap: self.bootstrap.clone(),
            start_command: self.start_command.clone(),
            durability,
            durability_reason,
            settings: facts.settings,
            runs: Vec::new(),
        }
    }
}

fn local_pid(address: SocketAddr) -> Option<u32> {
    address
        .ip()
        .is_loopback()
        .then(|| listener_pid(address))
        .flatten()
}
