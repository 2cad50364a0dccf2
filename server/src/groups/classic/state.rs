//! Where a classic group stands.

/// The state of a classic group, as Kafka names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody is in it.
    Empty,
    /// Members are asked to join the next generation.
    PreparingRebalance,
    /// A generation has begun, and its leader has not said who reads what.
    CompletingRebalance,
    /// Everybody has an assignment, or can have it.
    Stable,
}

/// What clients are told of a group that does not exist.
pub const DEAD: &str = "Dead";

impl State {
    /// Its name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}
