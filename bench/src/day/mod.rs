//! Which records of a topic whose data ends must be there, and which may not be there any more: a model that is told what was sent and
//! acknowledged, and judges what a broker answers. Pure: times come in with the calls.
//!
//! ```text
//!   sending, acknowledged ─▶ Log ◀─ Rules (retention, compaction, how soon what is due must be done)
//!                             │
//!   an answer ─▶ judge_read, judge_time, judge_largest, judge_start, judge_end ─▶ Verdict
//! ```
//!
//! Between *must be there* and *must be gone* a record may be either, as a broker looks now and then, deletes whole segments, and cleans when
//! enough is dirty. A question is judged by its whole length: a record must be in the answer if it was acknowledged before the question and
//! nothing allows its end before the answer; it must not be there if it had to be gone when the question was asked. All clocks are one clock,
//! in milliseconds since 1970: the timestamps of records, the broker's and ours.
//!
//! Its memory is bounded by what may be there: a record is forgotten a minute after it had to be gone, or a minute after an answer
//! showed that it was. What is found where nothing is remembered has come back.

pub mod batch;
mod entry;
mod log;
mod lookup;
mod marks;
mod read;
mod rules;
#[cfg(test)]
mod tests;
mod verdict;

pub use entry::{Found, Written};
pub use log::{Log, RECORD_BYTES};
pub use lookup::Hit;
pub use read::{Answer, Asked, ReadAnswer};
pub use rules::{Compaction, Rules};
pub use verdict::{Kind, Verdict};
