//! How much came in the last windows of time: Kafka's `Rate` over a `SampledStat`, counted by many threads at once.
//!
//! ```text
//!   window:   41        42        43        44 (now)
//!   slots:  | sum   | sum     | (stale)  | sum  |        one more than there are windows
//!             oldest first ------------------ now        the time the sums are divided by
//! ```
//!
//! A window overlaps the time that is looked at as long as its last event lies within it, so there may be one more than `count`.
//! Kafka begins a window with the first event after the last one has ended; here they lie on a fixed grid that begins with the entity,
//! so that two threads agree about where one ends. What is measured differs by less than the time between two events.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Windows, clamp_ms};

/// Bits of a slot that count; the others say which window it counts for.
const SUM_BITS: u32 = 44;
const MAX_SUM: u64 = (1 << SUM_BITS) - 1;
/// Windows whose numbers are the same but for this are not told apart. At a second each that takes 12 days.
const TAG_MASK: u64 = (1 << (u64::BITS - SUM_BITS)) - 1;

/// What came, by window. Amounts are whole: bytes, nanoseconds, connections.
#[derive(Debug)]
pub struct SlidingRate {
    windows: Windows,
    /// When the grid begins.
    epoch_ms: u64,
    /// When something was last counted or asked for.
    used_ms: AtomicU64,
    slots: Box<[Slot]>,
}

/// One window.
#[derive(Debug, Default)]
struct Slot {
    /// The window's number and its sum in one word, so that no amount is counted for the wrong one.
    tagged_sum: AtomicU64,
    /// The times of its first and last event. Read beside the sum and not with it: they are clamped to the window.
    first_ms: AtomicU64,
    last_ms: AtomicU64,
}

/// What a rate is at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// What came within the windows.
    pub sum: u64,
    /// The time it is divided by, in milliseconds; at least 1.
    pub elapsed_ms: u64,
}

impl Measured {
    /// The time to wait until the rate is down to `per_second`, when nothing more comes, in milliseconds; 0 when it is not above.
    ///
    /// With a rate O over the time W and a limit T, the time X to wait is that with `O * W / (W + X) = T`.
    pub fn throttle_ms(&self, per_second: f64) -> u32 {
        let rate = self.sum as f64 * 1000.0 / self.elapsed_ms as f64;
        match rate <= per_second {
            true => 0,
            false => clamp_ms((rate - per_second) / per_second * self.elapsed_ms as f64),
        }
    }
}

impl SlidingRate {
    /// A rate that begins now.
    pub fn new(windows: Windows, now_ms: u64) -> SlidingRate {
        let slots = (0..=windows.count).map(|_| Slot::default()).collect();
        SlidingRate {
            windows,
            epoch_ms: now_ms,
            used_ms: AtomicU64::new(now_ms),
            slots,
        }
    }

    /// Counts an amount now.
    pub fn add(&self, now_ms: u64, amount: u64) {
        let window = self.window(now_ms);
        let Some(slot) = self.slot(window) else { return };
        let mut seen = slot.tagged_sum.load(Ordering::Relaxed);
        loop {
            let is_new = tag_of(seen) != window & TAG_MASK;
            let sum = if is_new { 0 } else { seen & MAX_SUM };
            let next = tagged(window, sum.saturating_add(amount));
            match slot
                .tagged_sum
                .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => {
                    if is_new {
                        slot.first_ms.store(now_ms, Ordering::Relaxed);
                    }
                    slot.last_ms.store(now_ms, Ordering::Relaxed);
                    return self.note_used(now_ms);
                }
                Err(other) => seen = other,
            }
        }
    }

    /// Takes back an amount that was counted at the same time and did not come after all.
    pub fn take_back(&self, now_ms: u64, amount: u64) {
        let window = self.window(now_ms);
        let Some(slot) = self.slot(window) else { return };
        let less = |seen: u64| {
            let is_same = tag_of(seen) == window & TAG_MASK;
            is_same.then(|| tagged(window, (seen & MAX_SUM).saturating_sub(amount)))
        };
        // A window that is over already keeps what is in it for somebody's next.
        let _ = slot
            .tagged_sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// What the rate is now.
    pub fn measure(&self, now_ms: u64) -> Measured {
        let Windows { count, length_ms } = self.windows;
        let (current, mut sum, mut oldest_ms) = (self.window(now_ms), 0u64, now_ms);
        for back in 0..=u64::from(count) {
            let Some(window) = current.checked_sub(back) else {
                break;
            };
            let Some(slot) = self.slot(window) else { break };
            let seen = slot.tagged_sum.load(Ordering::Relaxed);
            if tag_of(seen) != window & TAG_MASK {
                continue;
            }
            let begin_ms = self.epoch_ms + window * length_ms;
            let within = |at: &AtomicU64| at.load(Ordering::Relaxed).clamp(begin_ms, begin_ms + length_ms);
            if now_ms.saturating_sub(within(&slot.last_ms)) >= self.windows.span_ms() {
                continue;
            }
            sum += seen & MAX_SUM;
            oldest_ms = oldest_ms.min(within(&slot.first_ms));
        }
        let mut elapsed_ms = now_ms - oldest_ms;
        // A rate over less time than this would be too high: all windows but the current one are taken as over.
        let missing = u64::from(count - 1).saturating_sub(elapsed_ms / length_ms);
        elapsed_ms += missing * length_ms;
        Measured {
            sum,
            elapsed_ms: elapsed_ms.max(1),
        }
    }

    /// The windows it is measured over.
    pub fn windows(&self) -> Windows {
        self.windows
    }

    /// When something was last counted or asked for.
    pub fn used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    /// Somebody has a use for it.
    pub fn note_used(&self, now_ms: u64) {
        self.used_ms.store(now_ms, Ordering::Relaxed);
    }

    /// A core whose clock stands a little behind counts for the first window.
    fn window(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.epoch_ms) / self.windows.length_ms
    }

    fn slot(&self, window: u64) -> Option<&Slot> {
        self.slots.get((window % self.slots.len() as u64) as usize)
    }
}

fn tag_of(seen: u64) -> u64 {
    seen >> SUM_BITS
}

fn tagged(window: u64, sum: u64) -> u64 {
    (window & TAG_MASK) << SUM_BITS | sum.min(MAX_SUM)
}
