//! A full disk: spare files are given back first, then what was removed and waits for its time; then producers that need more are refused until it has room.

use std::time::{Duration, Instant};

use super::{Shard, ShardEvent, Slot};
use crate::background::{FileJob, JobOutput};
use crate::error::{Error, is_disk_full};
use crate::io::Io;
use crate::ops::Op;

/// How long after a failed allocation the disk is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// What is known of the disk's room.
#[derive(Debug, Default)]
pub(crate) struct DiskRoom {
    /// When it was found full, or was asked again, last.
    full_since: Option<Instant>,
    /// A spare file is being given back: who waits goes on waiting.
    giving_back: bool,
    /// It was full without anything to give back, and producers were told.
    told: bool,
}

impl DiskRoom {
    /// Whether producers that need more are refused.
    pub(crate) fn is_full(&self) -> bool {
        self.full_since.is_some() && self.told && !self.giving_back
    }

    /// When the disk is to be asked again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.full_since.map(|since| since + RETRY)
    }
}

impl Shard {
    /// The disk had no room. Appends that need more are refused until it has, unless there is a spare to give back.
    pub(crate) fn note_disk_full(&mut self, io: &dyn Io, e: &std::io::Error) {
        debug_assert!(is_disk_full(e));
        self.room.full_since = Some(io.now());
        if !self.give_spare_back(io) && !std::mem::replace(&mut self.room.told, true) {
            self.events.push(ShardEvent::Notice(format!(
                "the disk is full, producers are refused: {e}"
            )));
        }
        // Who waits is to hear of it.
        self.note_progress();
    }

    /// Has a spare file removed, or else something that was removed and waits for its time. False when there is none.
    pub(crate) fn give_spare_back(&mut self, io: &dyn Io) -> bool {
        if !self.room.giving_back {
            if !self.background.has_room_to_give() {
                return false;
            }
            self.room.giving_back = true;
            let token = self.ops.start(Op::GiveSpareBack);
            self.submit_job(io, token, FileJob::GiveSpareBack);
        }
        true
    }

    pub(crate) fn spare_given_back(&mut self, io: &dyn Io, result: Result<JobOutput, Error>) {
        self.room.giving_back = false;
        self.note_error("a spare file stays", result);
        if self.room.full_since.is_some() {
            self.ask_again(io);
        }
    }

    /// The disk gave space.
    pub(crate) fn note_disk_room(&mut self) {
        if self.room.full_since.take().is_none() {
            return;
        }
        if std::mem::take(&mut self.room.told) {
            self.events.push(ShardEvent::Notice(
                "the disk has room again, producers are served".into(),
            ));
        }
        self.note_progress();
    }

    /// After a while a full disk is asked again.
    pub(crate) fn retry_full_disk(&mut self, io: &dyn Io) {
        if self.room.deadline().is_some_and(|at| io.now() >= at) {
            self.ask_again(io);
        }
    }

    fn ask_again(&mut self, io: &dyn Io) {
        self.room.full_since = Some(io.now());
        let starved: Vec<Slot> = (0..self.logs.len() as u32)
            .map(Slot)
            .filter(|s| self.log(*s).is_some_and(|l| l.flush.starved))
            .collect();
        if starved.is_empty() && !self.journal_growing {
            self.room.full_since = None;
            self.room.told = false;
            self.note_progress();
        }
        for slot in starved {
            if let Some(log) = self.log_mut(slot) {
                log.flush.starved = false;
            }
            self.want_flush(slot);
        }
    }
}
