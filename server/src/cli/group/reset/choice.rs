//! The offset a partition is set to. Pure.

use crate::cli::group::args::ResetTo;

/// What is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// What the group has committed.
    pub(super) committed: Option<i64>,
    /// The first offset still kept.
    pub(super) earliest: i64,
    /// After the last record.
    pub(super) latest: i64,
    /// The first record at or after the time asked for, if there is one.
    pub(super) at_time: Option<i64>,
}

/// An offset, and why it is not the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) offset: i64,
    pub(super) bent: Option<Bent>,
}

/// Why an offset is not the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bent {
    /// The one asked for is not kept any more.
    BeforeStart(i64),
    /// The one asked for was not written yet.
    AfterEnd(i64),
    /// No record is at or after the time.
    NothingAtTime,
}

impl Bent {
    /// What happened, for people.
    pub(super) fn sentence(self, offset: i64) -> String {
        match self {
            Self::BeforeStart(wanted) => {
                format!(
                    "offset {wanted} is before the first one still kept, so {offset} is taken, which is that one"
                )
            }
            Self::AfterEnd(wanted) => {
                format!("offset {wanted} is after the end, so {offset} is taken, which is the end")
            }
            Self::NothingAtTime => {
                format!("no record is at or after that time, so the end is taken, which is {offset}")
            }
        }
    }
}

/// The new offset; `None` when a shift has nothing to start from. Offsets outside of the log are brought to its start or end, but for those
/// that the group itself has committed ([`ResetTo::Current`]), which stay as they are.
pub(super) fn choose(to: ResetTo, known: &Known) -> Option<Chosen> {
    let exactly = |offset| Some(Chosen { offset, bent: None });
    match to {
        ResetTo::Earliest => exactly(known.earliest),
        ResetTo::Latest => exactly(known.latest),
        ResetTo::Current => exactly(known.committed.unwrap_or(known.latest)),
        ResetTo::Offset(offset) => Some(within(offset, known)),
        ResetTo::Shift(count) => Some(within(known.committed?.saturating_add(count), known)),
        ResetTo::TimeMs(_) => Some(known.at_time.map_or(
            Chosen {
                offset: known.latest,
                bent: Some(Bent::NothingAtTime),
            },
            |offset| Chosen { offset, bent: None },
        )),
    }
}

fn within(wanted: i64, known: &Known) -> Chosen {
    if wanted < known.earliest {
        Chosen {
            offset: known.earliest,
            bent: Some(Bent::BeforeStart(wanted)),
        }
    } else if wanted > known.latest {
        Chosen {
            offset: known.latest,
            bent: Some(Bent::AfterEnd(wanted)),
        }
    } else {
        Chosen {
            offset: wanted,
            bent: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known = Known {
        committed: Some(50),
        earliest: 10,
        latest: 100,
        at_time: Some(70),
    };

    fn chosen(to: ResetTo, known: &Known) -> Option<(i64, Option<Bent>)> {
        choose(to, known).map(|chosen| (chosen.offset, chosen.bent))
    }

    #[test]
    fn an_offset_outside_of_the_log_is_brought_to_its_edge_and_told() {
        let cases = [
            (ResetTo::Earliest, 10, None),
            (ResetTo::Latest, 100, None),
            (ResetTo::Current, 50, None),
            (ResetTo::Offset(10), 10, None),
            (ResetTo::Offset(100), 100, None),
            (ResetTo::Offset(9), 10, Some(Bent::BeforeStart(9))),
            (ResetTo::Offset(101), 100, Some(Bent::AfterEnd(101))),
            (ResetTo::Shift(0), 50, None),
            (ResetTo::Shift(-40), 10, None),
            (ResetTo::Shift(-41), 10, Some(Bent::BeforeStart(9))),
            (ResetTo::Shift(51), 100, Some(Bent::AfterEnd(101))),
            (ResetTo::Shift(i64::MAX), 100, Some(Bent::AfterEnd(i64::MAX))),
            (
                ResetTo::Shift(i64::MIN),
                10,
                Some(Bent::BeforeStart(i64::MIN + 50)),
            ),
            (ResetTo::TimeMs(1), 70, None),
        ];
        for (to, offset, bent) in cases {
            assert_eq!(chosen(to, &KNOWN), Some((offset, bent)), "{to:?}");
        }
    }

    #[test]
    fn without_a_committed_offset_there_is_nothing_to_shift_and_the_current_one_is_the_end() {
        let known = Known {
            committed: None,
            ..KNOWN
        };
        assert_eq!(chosen(ResetTo::Shift(1), &known), None);
        assert_eq!(chosen(ResetTo::Current, &known), Some((100, None)));
    }

    #[test]
    fn a_time_after_all_records_is_the_end() {
        let known = Known {
            at_time: None,
            ..KNOWN
        };
        assert_eq!(
            chosen(ResetTo::TimeMs(1), &known),
            Some((100, Some(Bent::NothingAtTime)))
        );
    }

    #[test]
    fn a_committed_offset_that_expired_is_left_to_the_consumer() {
        let known = Known {
            committed: Some(3),
            ..KNOWN
        };
        assert_eq!(chosen(ResetTo::Current, &known), Some((3, None)));
    }
}
