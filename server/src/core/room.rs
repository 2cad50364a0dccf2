//! Core 0: looks how much room the disk has, and turns producers away when it is too little. The look itself is the files thread's.

use std::time::{Duration, Instant};

use ringlog_engine::background::{FileJob, JobOutput};
use ringlog_engine::error::Error;

use super::Core;
use crate::config::broker::{DISK_MIN_FREE_BYTES, broker_key};
use crate::config::kind::parse_bytes;
use crate::config::{Layers, Source};
use crate::watermark::{MOST_PART, Turn};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// While files that wait to be removed are being given back.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// After one that failed.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The times of the looks.
#[derive(Debug)]
pub(super) struct Looks {
    /// None while one is under way, and on all other cores.
    next: Option<Instant>,
    /// Number of the job under way.
    job: Option<u64>,
    /// Number of the one that gives room back.
    giving: Option<u64>,
}

impl Looks {
    /// The first look is due now.
    pub(super) fn new(core: usize, now: Instant) -> Looks {
        Looks {
            next: (core == 0).then_some(now),
            job: None,
            giving: None,
        }
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }
}

/// How many bytes are to be free on a filesystem of this size.
fn least_bytes(layers: &Layers<'_>, total_bytes: u64) -> u64 {
    let effective = broker_key(DISK_MIN_FREE_BYTES).map(|key| layers.broker_value(key));
    let is_set = effective
        .as_ref()
        .is_some_and(|it| it.source() != Source::Default);
    let value = effective.and_then(|effective| effective.value);
    let least = value.and_then(|value| parse_bytes(value.trim())).unwrap_or(0);
    match is_set {
        true => least,
        false => least.min(total_bytes / MOST_PART),
    }
}

impl Core {
    /// Core 0: has the files thread look, when it is time.
    pub(super) fn look_at_room(&mut self, now: Instant) {
        if self.room.next.is_none_or(|at| at > now) {
            return;
        }
        let path = self.shared.config.data_dir.clone();
        let job = self.partitions.job();
        (self.room.next, self.room.job) = (None, Some(job));
        self.submit(job, FileJob::LookAtRoom { path });
    }

    /// Whether what the files thread has done was to look at the disk's room.
    pub(super) fn took_room(&mut self, job: u64, result: &Result<JobOutput, Error>) -> bool {
        if self.room.giving == Some(job) {
            self.room.giving = None;
            return true;
        }
        if self.room.job != Some(job) {
            return false;
        }
        self.room.job = None;
        let Ok(JobOutput::Room(room)) = result else {
            self.room.next = Some(self.io.now() + RETRY_AFTER);
            return true;
        };
        self.room.next = Some(self.io.now() + LOOK_EVERY);
        let layers = self.image.layers(&self.shared.config, self.shared.node.id);
        let least = least_bytes(&layers, room.total_bytes);
        // A full disk gets the spare files back.
        let free = room.free_bytes.saturating_add(self.background.spares().bytes());
        let watermark = &self.shared.watermark;
        match watermark.observe(free, least) {
            Some(Turn::Low) => crate::warn!("producers are refused: {watermark}"),
            Some(Turn::Enough) => crate::info!("the disk has room again, {free} bytes: producers are served"),
            None => {}
        }
        if watermark.is_low() && self.background.has_room_to_give() {
            self.give_room_back();
        }
        true
    }

    /// What was removed and only waits for its time goes now, piece after piece, until there is room again.
    fn give_room_back(&mut self) {
        self.room.next = Some(self.io.now() + LOOK_AGAIN);
        if self.room.giving.is_none() {
            let job = self.partitions.job();
            self.room.giving = Some(job);
            self.submit(job, FileJob::GiveSpareBack);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Settings};

    #[test]
    fn a_default_leaves_small_filesystems_most_of_their_room() {
        let gib = 1u64 << 30;
        let config = Config::from_pairs(Vec::new()).expect("valid");
        let fixed = Layers::fixed(&config);
        assert_eq!(least_bytes(&fixed, 100 * gib), gib);
        assert_eq!(least_bytes(&fixed, 5 * gib), gib / 2);
        let own = |value: &str| Settings::from([(DISK_MIN_FREE_BYTES.to_owned(), value.to_owned())]);
        for (value, least) in [("7G", 7 * gib), ("0", 0), (" 5 ", 5)] {
            let own = own(value);
            let layers = Layers {
                broker: Some(&own),
                ..fixed
            };
            assert_eq!(least_bytes(&layers, 10 * gib), least, "{value}");
        }
    }
}
