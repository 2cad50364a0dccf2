//! The log and the ring.

pub mod background;
pub mod batch;
pub mod checkpoint;
mod checkpointer;
pub mod epochs;
pub mod error;
mod flush;
pub mod index;
pub mod io;
pub mod journal;
pub mod log;
mod ops;
pub mod producers;
mod read;
pub mod recover;
pub mod scan;
pub mod segment;
pub mod shard;
mod stop;
pub mod tail;
mod times;

pub use error::Error;
