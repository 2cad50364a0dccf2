//! Ringlog, the broker: wire codec, connections, handlers, metadata and the command line.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod handlers;
pub mod metadata;
pub mod wire;
