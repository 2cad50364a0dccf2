//! What the tool says: [`model`] is the report itself, as JSON holds it.

pub mod latency;
pub mod model;
