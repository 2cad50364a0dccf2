//! Quotas in force: how fast a client may be, how fast it has been, and how long it has to wait (KIP-13, 55, 124, 219, 599, 612). Pure: no
//! socket, and the time comes in.
//!
//! ```text
//! image, user, client id --precedence--> entity and limit --tracked--> its rate, one for the whole broker
//! request or answer -> rate: so many bytes now -> over the limit? -> throttle time
//! ```
//!
//! Connections of one client lie on several cores, and what they do counts together. So the rate of an entity is shared between cores
//! ([`sliding`]): a few atomic additions for a client that has a quota, and nothing at all for one that has none.

pub mod addresses;
pub mod creation;
pub mod meters;
pub mod mutations;
pub mod precedence;
pub mod sliding;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod tracked;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QuotaKind {
    /// Bytes of Produce requests a second.
    Produce,
    /// Bytes of records in answers to Fetch a second.
    Fetch,
    /// Time of the broker's threads that requests take, in percent of one thread.
    Request,
    /// Partitions created and deleted a second (KIP-599).
    ControllerMutation,
    /// New connections of an address a second (KIP-612).
    Connection,
}

impl QuotaKind {
    /// The name of the limit in the metadata.
    pub fn key(self) -> &'static str {
        match self {
            QuotaKind::Produce => "producer_byte_rate",
            QuotaKind::Fetch => "consumer_byte_rate",
            QuotaKind::Request => "request_percentage",
            QuotaKind::ControllerMutation => "controller_mutation_rate",
            QuotaKind::Connection => "connection_creation_rate",
        }
    }
}

/// The user of everybody who has not shown who they are.
pub const ANONYMOUS: &str = "ANONYMOUS";

/// The windows a rate is measured over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// How many are remembered, the current one among them; at least 1, at most [`MAX_WINDOWS`].
    pub count: u32,
    /// How long each is, in milliseconds.
    pub length_ms: u64,
}

/// The most windows of one rate: each takes memory in every entity that is tracked.
pub const MAX_WINDOWS: u32 = 360;

impl Windows {
    /// From the settings `quota.window.num` and `quota.window.size.seconds`, or those of the controller.
    pub fn new(count: u32, length_seconds: u32) -> Windows {
        Windows {
            count: count.clamp(1, MAX_WINDOWS),
            length_ms: u64::from(length_seconds.max(1)) * 1000,
        }
    }

    /// How much may come at once, of what may come `per_second`, without being throttled for certain: as much as all windows but the
    /// current one hold.
    pub fn most_at_once(&self, per_second: f64) -> f64 {
        per_second * f64::from(self.count - 1) * self.length_ms as f64 / 1000.0
    }

    /// All of them together, in milliseconds.
    pub fn span_ms(&self) -> u64 {
        u64::from(self.count) * self.length_ms
    }
}

impl Default for Windows {
    /// Kafka's: 11 of 1 second.
    fn default() -> Windows {
        Windows::new(11, 1)
    }
}

/// The most that fits the field of an answer.
pub(crate) fn clamp_ms(ms: f64) -> u32 {
    // A cast of a float saturates, and NaN is 0.
    ms.round().min(f64::from(i32::MAX)) as u32
}
