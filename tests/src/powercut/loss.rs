//! How much a power cut takes of what was not synced.

use crate::Random;

/// A cut loses everything that was not synced, or what a seed says.
#[derive(Clone, Debug)]
pub struct Loss(Option<Random>);

impl Loss {
    /// Nothing survives that was not synced.
    pub fn everything() -> Loss {
        Loss(None)
    }

    /// A disk that was busy: of what was not synced, some changes survive, some are torn between two sectors, some are lost.
    pub fn some(seed: u64) -> Loss {
        Loss(Some(Random::new(seed)))
    }

    /// Whether the next change survives.
    pub(super) fn keeps(&mut self) -> bool {
        self.0.as_mut().is_some_and(|random| random.below(2) == 0)
    }

    /// How many of `count` changes survive, when those that do are the first ones.
    pub(super) fn keeps_first(&mut self, count: usize) -> usize {
        self.0.as_mut().map_or(0, |random| random.below(count + 1))
    }
}
