//! The log and the ring.

pub mod batch;
pub mod checkpoint;
pub mod epochs;
pub mod index;
pub mod io;
pub mod producers;
