//! The rates of all entities that have been seen, one for the whole broker. Client ids are chosen by clients, so there is a limit to how many
//! are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::precedence::Entity;
use super::sliding::SlidingRate;
use super::{QuotaKind, Windows};

/// The most rates kept at a time. When one more comes, those go that were used the longest ago. A connection that uses one that went keeps it
/// for itself; the next one of the same client begins anew.
pub const MAX_RATES: usize = 10_000;

/// The share of them that goes at a time, so that a new one seldom has to look at all.
const DROPPED_SHARE: usize = 4;

/// All rates. Looked up when a connection first has a use for one and when quotas change, not with every request: only that takes the lock.
#[derive(Debug)]
pub struct Tracked {
    began: Instant,
    windows: Windows,
    rates: Mutex<Rates>,
}

type Rates = HashMap<(QuotaKind, Entity), Arc<SlidingRate>>;

impl Tracked {
    /// None yet. Times are counted from `began`.
    pub fn new(windows: Windows, began: Instant) -> Tracked {
        Tracked {
            began,
            windows,
            rates: Mutex::default(),
        }
    }

    /// The time as rates count it.
    pub fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis() as u64
    }

    /// The windows rates are measured over.
    pub fn windows(&self) -> Windows {
        self.windows
    }

    /// How many rates are kept.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The rate of an entity: the one there is, or a new one.
    pub fn rate(&self, kind: QuotaKind, entity: Entity, now_ms: u64) -> Arc<SlidingRate> {
        // Nothing in here panics half-way; what another thread left behind is whole.
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind, entity);
        if let Some(rate) = rates.get(&key) {
            rate.note_used(now_ms);
            return rate.clone();
        }
        if rates.len() >= MAX_RATES {
            drop_oldest(&mut rates);
        }
        let rate = Arc::new(SlidingRate::new(self.windows, now_ms));
        rates.insert(key, rate.clone());
        rate
    }
}

fn drop_oldest(rates: &mut Rates) {
    let mut used: Vec<u64> = rates.values().map(|rate| rate.used_ms()).collect();
    let at = used.len() / DROPPED_SHARE;
    let (_, limit, _) = used.select_nth_unstable(at);
    let limit = *limit;
    // Of those used at the same time as the first that stays, some may go too: what counts is that there is room.
    let mut surplus = at + 1;
    rates.retain(|_, rate| {
        let goes = surplus > 0 && rate.used_ms() <= limit;
        surplus -= usize::from(goes);
        !goes
    });
}
