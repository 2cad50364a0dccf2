//! Questions about segments that are being exchanged: they wait until that is done, some milliseconds.

use crate::io::Io;
use crate::shard::{ReadError, ReadOutcome, ReadRequest, Shard, ShardEvent, Slot, TimeOutcome};

/// Questions that wait at most, in one core.
const MOST_PARKED: usize = 4096;

/// A question that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// [`Shard::read`].
    Read(ReadRequest),
    /// [`Shard::offset_for_timestamp`].
    Time {
        /// The target.
        timestamp_ms: i64,
        /// The caller's.
        token: u64,
    },
    /// [`Shard::offset_for_largest_timestamp`].
    LargestTime {
        /// The caller's.
        token: u64,
    },
}

/// The questions that wait, in the order they came.
#[derive(Default)]
pub(super) struct Parked(Vec<(Slot, Question)>);

impl Shard {
    /// Has the question wait where it is about segments that are being exchanged; `base` is the oldest of them that it may be about. Gives the answer
    /// for now: `None` where it can be answered.
    pub(crate) fn park(
        &mut self,
        slot: Slot,
        base: i64,
        question: Question,
    ) -> Option<Result<(), ReadError>> {
        if let Some(why) = self.cleaning.holds(slot, base)? {
            return Some(Err(ReadError::Io(why.to_owned())));
        }
        let parked = &mut self.cleaning.parked.0;
        if parked.len() >= MOST_PARKED {
            self.was_busy = true;
            return Some(Err(ReadError::Busy));
        }
        parked.push((slot, question));
        Some(Ok(()))
    }

    fn take_parked(&mut self, slot: Slot) -> Vec<Question> {
        let parked = std::mem::take(&mut self.cleaning.parked.0);
        let (mine, others) = parked.into_iter().partition(|(of, _)| *of == slot);
        self.cleaning.parked.0 = others;
        let mine: Vec<(Slot, Question)> = mine;
        mine.into_iter().map(|(_, question)| question).collect()
    }

    /// Segments can be read again: who waited goes on.
    pub(super) fn go_on_parked(&mut self, io: &mut dyn Io, slot: Slot) {
        for question in self.take_parked(slot) {
            match question {
                Question::Read(request) => {
                    let outcome = self.read(io, slot, request);
                    self.read_answered(request.token, outcome);
                }
                Question::Time { timestamp_ms, token } => {
                    let outcome = self.offset_for_timestamp(io, slot, timestamp_ms, token);
                    self.time_answered(token, outcome);
                }
                Question::LargestTime { token } => {
                    let outcome = self.offset_for_largest_timestamp(io, slot, token);
                    self.time_answered(token, outcome);
                }
            }
        }
    }

    /// The partition is closed.
    pub(super) fn refuse_parked(&mut self, slot: Slot) {
        for question in self.take_parked(slot) {
            let gone = ReadError::NoSuchPartition;
            match question {
                Question::Read(request) => self.read_answered(request.token, ReadOutcome::Error(gone)),
                Question::Time { token, .. } | Question::LargestTime { token } => {
                    self.time_answered(token, TimeOutcome::Error(gone));
                }
            }
        }
    }

    fn read_answered(&mut self, token: u64, outcome: ReadOutcome) {
        let result = match outcome {
            ReadOutcome::Later => return,
            ReadOutcome::Now(data) => Ok(data),
            ReadOutcome::Error(error) => Err(error),
        };
        self.events.push(ShardEvent::ReadDone { token, result });
    }

    fn time_answered(&mut self, token: u64, outcome: TimeOutcome) {
        let result = match outcome {
            TimeOutcome::Later => return,
            TimeOutcome::Now(hit) => Ok(hit),
            TimeOutcome::Error(error) => Err(error),
        };
        self.events.push(ShardEvent::TimeDone { token, result });
    }
}
