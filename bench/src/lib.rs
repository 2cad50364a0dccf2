//! Measurements of Ringlog.
//!
//! - `benches/engine.rs`: the engine alone, no network: `cargo bench -p ringlog-bench`.
//! - `compare/`: Ringlog beside Apache Kafka on the same machine in the same run, with Kafka's own client.
//! - `peers/kafka/`: brings up Apache Kafka from Maven Central for that.
//!
//! Figures here are printed, never asserted: machines are noisy.
