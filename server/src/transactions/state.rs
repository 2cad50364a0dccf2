//! How far a transaction has come.

/// The states that are stored. Kafka's two others, `Dead` and `PrepareEpochFence`, never are, and here nothing is ever in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnState {
    /// A producer has the id, and has begun nothing.
    Empty,
    /// Partitions take part.
    Ongoing,
    /// It is committed; markers are being written.
    PrepareCommit,
    /// It is aborted; markers are being written.
    PrepareAbort,
    /// All markers of a commit are written.
    CompleteCommit,
    /// All markers of an abort are written.
    CompleteAbort,
}

/// Names that a filter may have and that nothing ever matches.
const NEVER: [&str; 2] = ["Dead", "PrepareEpochFence"];

impl TxnState {
    /// All of them.
    pub const ALL: [TxnState; 6] = [
        TxnState::Empty,
        TxnState::Ongoing,
        TxnState::PrepareCommit,
        TxnState::PrepareAbort,
        TxnState::CompleteCommit,
        TxnState::CompleteAbort,
    ];

    /// The number in records.
    pub const fn number(self) -> i8 {
        match self {
            TxnState::Empty => 0,
            TxnState::Ongoing => 1,
            TxnState::PrepareCommit => 2,
            TxnState::PrepareAbort => 3,
            TxnState::CompleteCommit => 4,
            TxnState::CompleteAbort => 5,
        }
    }

    /// The state of a number, unless it is one that is never stored.
    pub fn of(number: i8) -> Option<TxnState> {
        TxnState::ALL.into_iter().find(|state| state.number() == number)
    }

    /// The name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            TxnState::Empty => "Empty",
            TxnState::Ongoing => "Ongoing",
            TxnState::PrepareCommit => "PrepareCommit",
            TxnState::PrepareAbort => "PrepareAbort",
            TxnState::CompleteCommit => "CompleteCommit",
            TxnState::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether Kafka has a state of this name.
    pub fn is_name(name: &str) -> bool {
        NEVER.contains(&name) || TxnState::ALL.iter().any(|state| state.name() == name)
    }

    /// The state in which markers are written.
    pub const fn preparing(is_commit: bool) -> TxnState {
        match is_commit {
            true => TxnState::PrepareCommit,
            false => TxnState::PrepareAbort,
        }
    }

    /// Whether the transaction has ended or is ending, and then whether with a commit.
    pub const fn decision(self) -> Option<bool> {
        match self {
            TxnState::PrepareCommit | TxnState::CompleteCommit => Some(true),
            TxnState::PrepareAbort | TxnState::CompleteAbort => Some(false),
            TxnState::Empty | TxnState::Ongoing => None,
        }
    }

    /// Whether markers are being written.
    pub const fn is_ending(self) -> bool {
        matches!(self, TxnState::PrepareCommit | TxnState::PrepareAbort)
    }

    /// Whether nothing is under way, so that the id may expire.
    pub const fn is_at_rest(self) -> bool {
        !self.is_ending() && !matches!(self, TxnState::Ongoing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_by_its_number_and_the_states_that_are_never_stored_are_not() {
        assert!(
            TxnState::ALL
                .iter()
                .all(|state| TxnState::of(state.number()) == Some(*state))
        );
        assert_eq!([-1, 6, 7].map(TxnState::of), [None; 3]);
        assert!(TxnState::is_name("PrepareEpochFence") && !TxnState::is_name("ongoing"));
    }
}
