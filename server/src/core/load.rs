//! What each core had to do lately, told to core 0, which places new partitions by it.

use std::time::{Duration, Instant};

use ringlog_engine::stats::ShardCounters;
use rustix::time::{ClockId, clock_gettime};

use super::Core;
use super::mail::Mail;

/// How often a core that has something to do says so.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// A core that was not heard of for so long has nothing to do.
const HEARD_FOR: Duration = Duration::from_secs(3);
/// What a batch costs besides its bytes, in bytes that cost as much.
const BATCH_BYTES: u64 = 4096;

/// What a core told last, and when.
#[derive(Debug)]
pub(super) struct Telling {
    at: Instant,
    /// Work since start, then.
    work: u64,
}

impl Telling {
    pub(super) fn new(now: Instant) -> Telling {
        Telling { at: now, work: 0 }
    }

    /// Work a second since it was last told, if it is time to tell and there was any.
    fn due(&mut self, now: Instant, work: impl FnOnce() -> u64) -> Option<u64> {
        let passed = now.saturating_duration_since(self.at);
        if passed < TELL_EVERY {
            return None;
        }
        let done = work().saturating_sub(self.work);
        self.at = now;
        self.work += done;
        let a_second = u128::from(done) * 1000 / passed.as_millis();
        (done > 0).then_some(a_second as u64)
    }
}

/// Core 0: what the cores told, and when.
#[derive(Debug, Default)]
pub(super) struct Loads(Vec<Option<(Instant, u64)>>);

impl Loads {
    fn note(&mut self, core: usize, now: Instant, work: u64) {
        if self.0.len() <= core {
            self.0.resize(core + 1, None);
        }
        self.0[core] = Some((now, work));
    }

    /// Work a second of each core, as far as it was heard of lately.
    pub(super) fn recent(&self, now: Instant) -> Vec<u64> {
        let recent = |told: &Option<(Instant, u64)>| {
            told.filter(|(at, _)| now.saturating_duration_since(*at) <= HEARD_FOR)
                .map_or(0, |(_, work)| work)
        };
        self.0.iter().map(recent).collect()
    }
}

/// The calling thread's processor time, its time in the kernel included.
pub(super) fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// The work that follows from owning partitions, in bytes.
fn work(counters: &ShardCounters) -> u64 {
    counters.appended_bytes + counters.read_bytes + counters.appends * BATCH_BYTES
}

impl Core {
    /// Tells core 0 from time to time what there was to do. To be called once a turn.
    pub(super) fn tell_load(&mut self) {
        let (core, shard) = (self.id, &self.shard);
        if let Some(work) = self.telling.due(self.io.now(), || work(&shard.counters())) {
            self.post(0, Mail::Load { core, work });
        }
    }

    /// Core 0: a core had so much to do, a second.
    pub(super) fn on_load(&mut self, core: usize, work: u64) {
        let now = self.io.now();
        self.loads.note(core, now, work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_is_told_and_not_too_often() {
        let begin = Instant::now();
        let mut telling = Telling::new(begin);
        assert_eq!(
            telling.due(begin + TELL_EVERY / 2, || unreachable!("too soon")),
            None
        );
        assert_eq!(telling.due(begin + 2 * TELL_EVERY, || 500), Some(250));
        assert_eq!(telling.due(begin + 4 * TELL_EVERY, || 500), None, "nothing since");
        assert_eq!(telling.due(begin + 5 * TELL_EVERY, || 700), Some(200));
    }

    #[test]
    fn who_falls_silent_has_nothing_to_do() {
        let begin = Instant::now();
        let mut loads = Loads::default();
        loads.note(1, begin, 70);
        assert_eq!(loads.recent(begin + HEARD_FOR), [0, 70]);
        assert_eq!(loads.recent(begin + 2 * HEARD_FOR), [0, 0]);
    }
}
