//! Tokens for changes of the metadata: Kafka's `TokenBucket` (KIP-599). A burst is let through as a whole as long as a token is left, and then
//! nothing until what it took too much has come back.

use super::{Windows, clamp_ms};

/// The tokens of one entity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenBucket {
    /// Below 0 after a burst that took more than there was.
    tokens: f64,
    updated_ms: u64,
}

impl TokenBucket {
    /// A full one.
    pub fn new(per_second: f64, windows: Windows, now_ms: u64) -> TokenBucket {
        TokenBucket {
            tokens: burst(per_second, windows),
            updated_ms: now_ms,
        }
    }

    /// The time until no token is owed, in milliseconds; 0 when none is.
    pub fn throttle_ms(&mut self, per_second: f64, windows: Windows, now_ms: u64) -> u32 {
        self.refill(per_second, windows, now_ms);
        match self.tokens < 0.0 {
            true => clamp_ms(-self.tokens / per_second * 1000.0),
            false => 0,
        }
    }

    /// Takes tokens, whether they are there or not.
    pub fn take(&mut self, tokens: f64, per_second: f64, windows: Windows, now_ms: u64) {
        self.refill(per_second, windows, now_ms);
        self.tokens -= tokens;
    }

    /// When it was last looked at.
    pub fn updated_ms(&self) -> u64 {
        self.updated_ms
    }

    fn refill(&mut self, per_second: f64, windows: Windows, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.updated_ms);
        let refilled = self.tokens + per_second * elapsed_ms as f64 / 1000.0;
        self.tokens = refilled.min(burst(per_second, windows));
        self.updated_ms = self.updated_ms.max(now_ms);
    }
}

/// The most tokens there are at a time.
fn burst(per_second: f64, windows: Windows) -> f64 {
    per_second * windows.span_ms() as f64 / 1000.0
}
