//! Load: what is sent when ([`schedule`], [`batch`]), and the threads that send and read it.

pub mod batch;
pub mod clock;
pub mod codec;
pub mod frame;
pub mod schedule;
pub mod settings;
pub mod tally;
pub mod text;
