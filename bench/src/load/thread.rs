//! What the tasks of one load thread share, and what all threads of a run share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::batch::{Stamp, Template};
use super::clock::Clock;
use super::settings::{Settings, partition_of};
use super::tally::Tally;
use super::text::Text;
use super::times::Times;
use crate::ledger::{Entry, Ledger, Sent};

/// How often whoever waits looks whether the run was ended early: seldom, for there may be thousands.
pub const LOOK_NS: u64 = 500_000_000;

/// What the whole run shares: the terminal reads it while the threads write.
#[derive(Default)]
pub struct Live {
    /// Records acknowledged (acks=0: sent).
    pub produced: AtomicU64,
    /// Records read.
    pub consumed: AtomicU64,
    /// Records that got an error or no answer.
    pub failed: AtomicU64,
    /// Lanes and readers that have work left.
    pub busy_lanes: AtomicU64,
    /// Readers that have not reached their end.
    pub busy_readers: AtomicU64,
    /// Set once no more is to be read or waited for.
    pub stop: AtomicBool,
    /// When the measurement was ended early, nanoseconds since the epoch; 0 while it was not.
    pub cut_ns: AtomicU64,
}

impl Live {
    /// Ends everything early, now.
    pub fn cut(&self, now_ns: u64) {
        // the first one counts
        let _ = self
            .cut_ns
            .compare_exchange(0, now_ns.max(1), Ordering::Relaxed, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// When the measurement was ended early, if it was.
    pub fn cut_at_ns(&self) -> Option<u64> {
        Some(self.cut_ns.load(Ordering::Relaxed)).filter(|at_ns| *at_ns > 0)
    }

    /// Whether all is over.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What a run's tasks need to know and cannot change.
pub struct Shared {
    /// The load.
    pub settings: Settings,
    /// Topic written and read.
    pub topic: String,
    /// Where batches are noted; none where nothing can be read back.
    pub ledger: Option<Arc<Ledger>>,
    /// Whether due times are kept until a record is read.
    pub end_to_end: bool,
    /// Nanoseconds after the window's end at which waiting for answers is given up.
    pub give_up_ns: u64,
    /// Progress.
    pub live: Arc<Live>,
    /// The numbers of the keys that go to each partition; empty for records without keys.
    pub keys: Vec<Vec<u32>>,
}

/// The numbers of the keys that go to each partition.
pub fn keys_by_partition(settings: &Settings) -> Vec<Vec<u32>> {
    if settings.keys == 0 {
        return Vec::new();
    }
    let mut keys = vec![Vec::new(); settings.partitions.max(1) as usize];
    for number in 0..settings.keys {
        let partition = partition_of(&Settings::key(number), settings.partitions);
        keys[partition as usize].push(number as u32);
    }
    keys
}

/// One thread's part.
pub struct Thread {
    /// The run.
    pub shared: Arc<Shared>,
    /// Timers.
    pub clock: Rc<Clock>,
    /// Counts.
    pub tally: RefCell<Tally>,
    /// By partition, or only the first one.
    templates: RefCell<Vec<Option<Box<Template>>>>,
    seed: u64,
    broker_lost: Cell<bool>,
}

impl Thread {
    /// The state of thread number `seed`.
    pub fn new(shared: Arc<Shared>, clock: Rc<Clock>, tally: Tally, seed: u64) -> Thread {
        Thread {
            shared,
            clock,
            tally: RefCell::new(tally),
            templates: RefCell::default(),
            seed,
            broker_lost: Cell::new(false),
        }
    }

    /// The template for a partition's records: one for all partitions where records have no key.
    pub fn template<T>(&self, partition: i32, act: impl FnOnce(&mut Template) -> T) -> T {
        let settings = &self.shared.settings;
        let which = if settings.keys == 0 {
            0
        } else {
            partition.max(0) as usize
        };
        let mut templates = self.templates.borrow_mut();
        if templates.len() <= which {
            templates.resize_with(which + 1, || None);
        }
        let template = templates[which].get_or_insert_with(|| {
            let numbers = self.shared.keys.get(partition as usize);
            let numbers = numbers.map_or(&[][..], |numbers| numbers.as_slice());
            let keys: Vec<Vec<u8>> = numbers
                .iter()
                .map(|number| Settings::key(*number as usize))
                .collect();
            let mut text = Text::new(self.seed << 32 | (which as u64) << 1 | 1);
            Box::new(Template::new(
                settings.codec,
                settings.batch_bytes,
                settings.batch_records,
                settings.value_bytes(),
                &keys,
                &mut text,
            ))
        });
        act(template)
    }

    /// Appends a batch of as many records as `times` has to `out` and notes it in the ledger. It is number `batches` of its lane, which
    /// counts on; in the rare case that another batch looks exactly alike it is stamped anew.
    pub fn write_batch(
        &self,
        out: &mut Vec<u8>,
        partition: i32,
        mut stamp: Stamp,
        batches: &mut u64,
        times: &Times,
    ) -> Entry {
        let from = out.len();
        self.template(partition, |template| {
            loop {
                stamp.batch = *batches;
                *batches += 1;
                let identity = template.write(out, partition, times.records(), stamp);
                let Some(ledger) = &self.shared.ledger else {
                    return Entry::default();
                };
                let sent = Sent {
                    lane: stamp.lane,
                    batch: stamp.batch,
                    records: times.records() as u32,
                    times: self.shared.end_to_end.then(|| times.clone()),
                };
                if let Some(entry) = ledger.sent(partition, identity, sent) {
                    return entry;
                }
                out.truncate(from);
            }
        })
    }

    /// Counts an answer after which the same is asked again, if it came within the measurement.
    pub fn retried(&self, at_ns: u64, name: impl FnOnce() -> String) {
        let mut tally = self.tally.borrow_mut();
        if tally.window().contains(at_ns) {
            *tally.transactions.retries.entry(name()).or_default() += 1;
        }
    }

    /// Notes, once until it answers again, that the broker is gone.
    pub fn lost(&self, why: &str) {
        if !self.broker_lost.replace(true) && !self.shared.live.stopped() {
            let now_ns = self.clock.now_ns();
            self.tally
                .borrow_mut()
                .event(now_ns, format!("the broker stopped answering ({why})"));
        }
    }

    /// Notes that a broker that was gone answers again.
    pub fn regained(&self) {
        if self.broker_lost.replace(false) {
            let now_ns = self.clock.now_ns();
            self.tally.borrow_mut().event(now_ns, "the broker answers again");
        }
    }

    /// Whether the run was ended early. What comes from then on is not measured.
    pub fn was_cut(&self) -> bool {
        let Some(cut_ns) = self.shared.live.cut_at_ns() else {
            return false;
        };
        self.tally.borrow_mut().cut(cut_ns);
        true
    }

    /// Sleeps, but not on when the run is ended early.
    pub async fn sleep_until(&self, deadline_ns: u64) {
        let clock = &self.clock;
        while clock.now_ns() + LOOK_NS < deadline_ns && !self.was_cut() {
            clock.sleep_until(clock.now_ns() + LOOK_NS).await;
        }
        if !self.was_cut() {
            clock.sleep_until(deadline_ns).await;
        }
    }

    /// The moment at which every wait ends.
    pub fn give_up_ns(&self) -> u64 {
        self.end_ns().saturating_add(self.shared.give_up_ns)
    }

    /// The moment after which a backlog is not sent any more: half of the wait is for the answers.
    pub fn last_send_ns(&self) -> u64 {
        self.end_ns().saturating_add(self.shared.give_up_ns / 2)
    }

    fn end_ns(&self) -> u64 {
        self.tally.borrow().window().end_ns
    }
}
