//! What a flood consists of.

use crate::load::settings::Settings;

/// The calm steps are this part of the flood's length, and at least so long.
const CALM_SHARE: f64 = 4.0;
const LEAST_CALM_SECONDS: f64 = 5.0;

/// After the flood's end its backlog is sent, and answers waited for, no longer than this altogether.
const MOST_DRAIN_SECONDS: f64 = 10.0;

/// A flood, as the flags say.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its connections, each a producer.
    pub connections: u32,
    /// What it offers over what the broker was measured to take.
    pub factor: f64,
    /// How long that is measured, in seconds.
    pub probe_seconds: f64,
    /// Bytes of a batch of the flood.
    pub batch_bytes: usize,
}

impl Plan {
    /// The flood's load; its rate is not known yet.
    pub fn flood(&self, modest: &Settings) -> Settings {
        Settings {
            producers: self.connections,
            batch_bytes: self.batch_bytes.max(modest.record_bytes),
            drain_seconds: modest.drain_seconds.min(MOST_DRAIN_SECONDS),
            ..modest.clone()
        }
    }

    /// How long the modest client is measured alone, when it is measured so long in the flood.
    pub fn calm_seconds(&self, seconds: f64) -> f64 {
        (seconds / CALM_SHARE).max(LEAST_CALM_SECONDS.min(seconds))
    }
}
