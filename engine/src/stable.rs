//! The last stable offset of a partition: everything before it is decided, and stays so.
//!
//! ```text
//!   log start        last stable          high watermark      log end
//!      │                  │                     │                │
//!   ───▼──────────────────▼─────────────────────▼────────────────▼─────▶
//!      │ committed,       │ first record of the │ a marker here decides nothing yet: the power may take it
//!      │ aborted, neither │ earliest undecided  │
//! ```
//!
//! Transactions are kept in the order of their first offsets until the high watermark has passed their markers, so that an append, a commit and the
//! question each take a few steps however many are open.

use std::collections::{BTreeMap, VecDeque};

use crate::producers::{ProducerStates, TxnStep};
use crate::tail::Place;

/// The undecided transactions of a partition.
#[derive(Debug, Default)]
pub struct Undecided {
    /// First offset, and the place of the batch that has it, unless it is of an earlier run.
    txns: BTreeMap<i64, Option<Place>>,
    /// Those whose markers are not below the high watermark: offset of the marker and first offset, in the order of the markers.
    ended: VecDeque<(i64, i64)>,
}

impl Undecided {
    /// The transactions that are open in a log whose every record is below the high watermark.
    pub fn of(producers: &ProducerStates) -> Undecided {
        Undecided {
            txns: producers.open_firsts().map(|first| (first, None)).collect(),
            ended: VecDeque::new(),
        }
    }

    /// A batch was appended at `place`.
    pub fn note(&mut self, step: TxnStep, place: Place) {
        match step {
            TxnStep::None => {}
            TxnStep::Began(first_offset) => {
                self.txns.insert(first_offset, Some(place));
            }
            TxnStep::Ended {
                first_offset,
                marker_offset,
                ..
            } => self.ended.push_back((marker_offset, first_offset)),
        }
    }

    /// The high watermark has moved.
    pub fn committed_to(&mut self, high_watermark: i64) {
        while let Some((_, first)) = self.ended.pop_front_if(|(marker, _)| *marker < high_watermark) {
            self.txns.remove(&first);
        }
    }

    /// First offset of the earliest, and the place of its batch, if known.
    pub fn first(&self) -> Option<(i64, Option<Place>)> {
        self.txns.first_key_value().map(|(first, place)| (*first, *place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        segment_base: 0,
        position: 7,
    };

    fn first(undecided: &Undecided) -> Option<i64> {
        undecided.first().map(|f| f.0)
    }

    fn ended(first_offset: i64, marker_offset: i64) -> TxnStep {
        TxnStep::Ended {
            first_offset,
            marker_offset,
            aborted: None,
        }
    }

    /// Behaviour 27: the last stable offset is the first offset of the earliest transaction that is not decided below the high watermark.
    #[test]
    fn a_transaction_is_undecided_until_the_high_watermark_has_passed_its_marker() {
        let mut undecided = Undecided::default();
        undecided.note(TxnStep::Began(10), PLACE);
        undecided.note(TxnStep::Began(20), PLACE);
        undecided.note(TxnStep::None, PLACE);
        assert_eq!(undecided.first(), Some((10, Some(PLACE))));
        undecided.note(ended(10, 30), PLACE);
        undecided.note(TxnStep::Began(31), PLACE);
        undecided.committed_to(30);
        assert_eq!(first(&undecided), Some(10), "the marker itself is not below it");
        undecided.committed_to(31);
        assert_eq!(first(&undecided), Some(20));
        undecided.note(ended(31, 40), PLACE);
        undecided.note(ended(20, 41), PLACE);
        undecided.committed_to(41);
        assert_eq!(first(&undecided), Some(20), "only the later one is decided");
        undecided.committed_to(42);
        assert_eq!(first(&undecided), None);
    }
}
