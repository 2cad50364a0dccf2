//! The journal: where every acknowledged byte is first made durable, for all partitions of a core in one write.
//!
//! [`mod@format`] is its bytes, [`commit`] gathers appends into frames and writes them one at a time, [`space`] says where the next frame
//! may lie, [`states`] is the checkpoint that frees journal space, [`replay`] reads a journal back after a kill.

pub mod commit;
pub mod format;
pub mod replay;
pub mod space;
pub mod states;
