//! The log and the ring.
