//! The journal: where every acknowledged byte is first made durable, for all partitions of a core in one write.
//!
//! [`mod@format`] is its bytes, [`commit`] collects appends in frames and writes them one at a time, [`gather`] says when the next one starts,
//! [`space`] where it may lie, [`states`] is the checkpoint that frees journal space, [`replay`] reads a journal back after a kill.

pub mod commit;
pub mod format;
pub mod gather;
pub mod replay;
pub mod space;
pub mod states;
