//! The features of a cluster that this broker serves (KIP-584): levels that all its brokers agree on, and clients are told.

use super::image::{METADATA_VERSION, TRANSACTION_VERSION};
use super::records::level;

/// The level from which on consumer groups of KIP-848 are served.
pub const GROUP_VERSION: &str = "group.version";

/// A feature and the levels it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// The lowest level that is served. 0 is that of a feature nobody has heard of.
    pub oldest: i16,
    /// The highest level that is served, and that of a new cluster.
    pub newest: i16,
}

/// All of them. Others that a log of Kafka's has finalized stay as they are, and are told nobody.
pub const FEATURES: [Feature; 3] = [
    Feature {
        name: METADATA_VERSION,
        oldest: level::OLDEST,
        newest: level::V4_3,
    },
    Feature {
        name: GROUP_VERSION,
        oldest: 0,
        newest: 1,
    },
    Feature {
        name: TRANSACTION_VERSION,
        oldest: 0,
        newest: 2,
    },
];

/// The feature of a name.
pub fn feature(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}
