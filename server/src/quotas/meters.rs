//! What limits one connection: found when its client first asks for something, and again when quotas or its client id change.

use std::sync::Arc;
use std::time::Instant;

use super::precedence;
use super::sliding::SlidingRate;
use super::tracked::Tracked;
use super::{ANONYMOUS, QuotaKind};
use crate::metadata::image::MetadataImage;

/// Nanoseconds a second in one percent of a thread.
const NANOS_IN_PERCENT: f64 = 1e7;

/// A rate, and how high it may be.
#[derive(Clone, Debug)]
pub struct Meter {
    /// What came, shared with others.
    pub rate: Arc<SlidingRate>,
    /// The limit, in what the rate counts.
    pub per_second: f64,
}

impl Meter {
    /// Counts an amount, and tells how long its client has to wait, in milliseconds.
    pub fn count(&self, now_ms: u64, amount: u64) -> u32 {
        self.rate.add(now_ms, amount);
        self.throttle_ms(now_ms)
    }

    /// How long its client has to wait, in milliseconds.
    pub fn throttle_ms(&self, now_ms: u64) -> u32 {
        self.rate.measure(now_ms).throttle_ms(self.per_second)
    }

    /// The same, but no longer than one window: the time of requests and new connections are limited so (KIP-124).
    pub fn bounded_throttle_ms(&self, now_ms: u64) -> u32 {
        let longest = u32::try_from(self.rate.windows().length_ms).unwrap_or(u32::MAX);
        self.throttle_ms(now_ms).min(longest)
    }
}

/// The limits of one client.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of bytes it produces.
    pub produce: Option<Meter>,
    /// Of bytes it fetches.
    pub fetch: Option<Meter>,
    /// Of the time its requests take, in nanoseconds a second.
    pub request: Option<Meter>,
    /// Whether its changes of the metadata are limited; by how much, the controller knows.
    pub mutation: bool,
}

/// What is known of the limits of one connection.
#[derive(Debug, Default)]
pub struct Meters {
    /// [`MetadataImage::quotas_epoch`] when they were found.
    epoch: u64,
    client_id: String,
    /// Behind a pointer: most clients have none.
    limits: Option<Box<Limits>>,
}

impl Meters {
    /// The limits, as last found.
    pub fn limits(&self) -> Option<&Limits> {
        self.limits.as_deref()
    }

    /// Brings them up to date. Where no quota is set this is a comparison of two zeros.
    pub fn update(&mut self, image: &MetadataImage, tracked: &Tracked, client_id: &str, now: Instant) {
        let epoch = image.quotas_epoch();
        if epoch == self.epoch && (epoch == 0 || client_id == self.client_id) {
            return;
        }
        self.epoch = epoch;
        client_id.clone_into(&mut self.client_id);
        self.limits = match epoch {
            0 => None,
            _ => find(image, tracked, client_id, tracked.ms(now)).map(Box::new),
        };
    }
}

fn find(image: &MetadataImage, tracked: &Tracked, client_id: &str, now_ms: u64) -> Option<Limits> {
    let meter = |kind: QuotaKind, scale: f64| {
        let (entity, limit) = precedence::find(image, kind, ANONYMOUS, client_id)?;
        Some(Meter {
            rate: tracked.rate(kind, entity, now_ms),
            per_second: limit * scale,
        })
    };
    let limits = Limits {
        produce: meter(QuotaKind::Produce, 1.0),
        fetch: meter(QuotaKind::Fetch, 1.0),
        request: meter(QuotaKind::Request, NANOS_IN_PERCENT),
        mutation: precedence::find(image, QuotaKind::ControllerMutation, ANONYMOUS, client_id).is_some(),
    };
    let has_any =
        limits.produce.is_some() || limits.fetch.is_some() || limits.request.is_some() || limits.mutation;
    has_any.then_some(limits)
}
