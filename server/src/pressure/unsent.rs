//! Answers that clients of one core have not taken: their sum, and what follows from it for the next ones.
//!
//! Records in them are slices of the engine's buffers, which the engine bounds; readers of the same records share them. What is in memory of
//! its own is bounded here.

/// A fetch is answered with this much whenever it is answered at all.
const LEAST_ANSWER_BYTES: usize = 64 << 10;

/// The sums over the connections of one core.
#[derive(Debug, Default)]
pub struct Unsent {
    limit_bytes: usize,
    bytes: usize,
    own_bytes: usize,
}

impl Unsent {
    /// Nothing is unsent yet. `limit_bytes` is `ringlog.core.max.unsent.bytes`.
    pub fn new(limit_bytes: usize) -> Unsent {
        Unsent {
            limit_bytes,
            ..Unsent::default()
        }
    }

    /// A connection with `before` bytes has `after` now.
    pub fn recount(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes - before + after;
    }

    /// The same of what is in memory of its own.
    pub fn recount_own(&mut self, before: usize, after: usize) {
        self.own_bytes = self.own_bytes - before + after;
    }

    /// Whether no further fetch is started.
    pub fn is_full(&self) -> bool {
        self.own_bytes >= self.limit_bytes
    }

    /// Whether nothing else is started either, but for produces.
    pub fn is_overfull(&self) -> bool {
        self.own_bytes >= self.limit_bytes.saturating_mul(2)
    }

    /// The most the next fetch is answered with: the more is unsent the less, so that those who take nothing do not get all there is.
    pub fn answer_bytes(&self) -> usize {
        (self.limit_bytes.saturating_sub(self.bytes) / 2).max(LEAST_ANSWER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8 << 20;

    #[test]
    fn the_more_is_unsent_the_less_is_answered() {
        let mut unsent = Unsent::new(LIMIT);
        let mut answers = Vec::new();
        for _ in 0..9 {
            answers.push(unsent.answer_bytes());
            unsent.recount(0, unsent.answer_bytes());
        }
        assert_eq!(answers[..3], [4 << 20, 2 << 20, 1 << 20]);
        assert_eq!(answers[6..], [LEAST_ANSWER_BYTES; 3]);
        assert!(!unsent.is_full(), "the engine sees to its own");
    }

    #[test]
    fn what_is_in_memory_of_its_own_is_bounded() {
        let mut unsent = Unsent::new(LIMIT);
        unsent.recount_own(0, LIMIT - 1);
        assert!(!unsent.is_full());
        unsent.recount_own(1, 2);
        assert!(unsent.is_full() && !unsent.is_overfull());
        unsent.recount_own(0, LIMIT);
        assert!(unsent.is_overfull());
        unsent.recount_own(2 * LIMIT, 0);
        assert!(!unsent.is_full());
    }
}
