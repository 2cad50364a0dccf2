//! Answers that clients of one core have not taken: their sum, and what follows from it for the next ones. Their record bytes are the
//! engine's own buffers, so answers that nobody takes keep memory from producers.

/// A fetch is answered with this much whenever it is answered at all.
const LEAST_ANSWER_BYTES: usize = 64 << 10;

/// The sum over the connections of one core.
#[derive(Debug, Default)]
pub struct Unsent {
    limit_bytes: usize,
    bytes: usize,
}

impl Unsent {
    /// Nothing is unsent yet. `limit_bytes` is `ringlog.core.max.unsent.bytes`.
    pub fn new(limit_bytes: usize) -> Unsent {
        Unsent {
            limit_bytes,
            bytes: 0,
        }
    }

    /// A connection with `before` bytes has `after` now.
    pub fn recount(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes - before + after;
    }

    /// Whether no further fetch is started.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.limit_bytes
    }

    /// Whether nothing else is started either, but for produces.
    pub fn is_overfull(&self) -> bool {
        self.bytes >= self.limit_bytes.saturating_mul(2)
    }

    /// The most the next fetch is answered with: the less is left the less, so that those who take nothing do not get all there is.
    pub fn answer_bytes(&self) -> usize {
        (self.limit_bytes.saturating_sub(self.bytes) / 2).max(LEAST_ANSWER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_is_unsent_the_less_is_answered() {
        let mut unsent = Unsent::new(8 << 20);
        let mut answers = Vec::new();
        while !unsent.is_full() {
            answers.push(unsent.answer_bytes());
            unsent.recount(0, unsent.answer_bytes());
        }
        assert_eq!(answers[..3], [4 << 20, 2 << 20, 1 << 20]);
        assert_eq!((answers.last(), answers.len()), (Some(&LEAST_ANSWER_BYTES), 8));
        assert!(!unsent.is_overfull());
        unsent.recount(0, 8 << 20);
        assert!(unsent.is_overfull());
        unsent.recount(16 << 20, 100);
        assert!(!unsent.is_full());
    }
}
