//! What the cluster is made of: topics, partitions, settings, brokers. Records appended to the metadata log
//! ([`records`], [`batches`]) are replayed into an [`image::MetadataImage`]; the [`controller`] decides which records
//! a request asks for. All of it is pure: no I/O but reading a directory at start ([`source`]), no clock, no locks.

pub mod batches;
pub mod chunked;
pub mod controller;
pub mod features;
pub mod image;
pub mod quotas;
pub mod records;
pub mod replay;
pub mod source;

pub use image::{MetadataImage, Partition, ResourceType, Topic};
pub use records::Record;
pub use replay::{Replay, ReplayError};
