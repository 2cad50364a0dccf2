//! Measurements of Ringlog: see the crate's README.
fn main() {}
