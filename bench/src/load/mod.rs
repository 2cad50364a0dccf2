//! Load: what is sent when ([`schedule`], [`batch`]), and the threads that send and read it.

pub mod aborted;
pub mod answers;
pub mod batch;
pub mod beat;
pub mod clock;
pub mod codec;
pub mod frame;
pub mod lane;
pub mod reader;
pub mod reply;
pub mod run;
pub mod schedule;
pub mod settings;
pub mod source;
pub mod tally;
pub mod text;
pub mod thread;
pub mod times;
pub mod transactor;
