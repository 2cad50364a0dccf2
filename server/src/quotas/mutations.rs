//! What clients may change of the metadata, as the controller keeps it: tokens by entity, and what one request takes of them (KIP-599).

use std::collections::HashMap;

use super::precedence::{self, Entity};
use super::tokens::TokenBucket;
use super::{ANONYMOUS, QuotaKind, Windows};
use crate::metadata::controller::Refusal;
use crate::metadata::image::MetadataImage;
use crate::wire::ErrorCode;

/// The most entities whose tokens are kept. When one more comes, those that were looked at the longest ago go, a quarter of them: after as long
/// as all windows their tokens are all there again anyway.
pub const MAX_BUCKETS: usize = 10_000;

/// The tokens of all entities.
#[derive(Debug)]
pub struct Mutations {
    windows: Windows,
    buckets: HashMap<Entity, TokenBucket>,
}

/// What one request may take.
#[derive(Debug)]
pub struct Budget<'a> {
    bucket: Option<Bucket<'a>>,
    is_strict: bool,
    throttle_ms: u32,
}

#[derive(Debug)]
struct Bucket<'a> {
    tokens: &'a mut TokenBucket,
    per_second: f64,
    windows: Windows,
    now_ms: u64,
}

impl Mutations {
    /// Nobody has taken anything.
    pub fn new(windows: Windows) -> Mutations {
        Mutations {
            windows,
            buckets: HashMap::new(),
        }
    }

    /// What a request of this client may take now. A strict one is refused what it has no token for; one of a version that does not know
    /// how to be refused takes it, and its client has to wait.
    pub fn budget(
        &mut self,
        image: &MetadataImage,
        client_id: &str,
        is_strict: bool,
        now_ms: u64,
    ) -> Budget<'_> {
        let limit = match image.quotas_epoch() {
            0 => None,
            _ => precedence::find(image, QuotaKind::ControllerMutation, ANONYMOUS, client_id),
        };
        let Some((entity, per_second)) = limit else {
            return Budget::unlimited();
        };
        if self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(&entity) {
            self.drop_oldest();
        }
        let windows = self.windows;
        let full = || TokenBucket::new(per_second, windows, now_ms);
        let bucket = Bucket {
            tokens: self.buckets.entry(entity).or_insert_with(full),
            per_second,
            windows,
            now_ms,
        };
        Budget {
            bucket: Some(bucket),
            is_strict,
            throttle_ms: 0,
        }
    }

    fn drop_oldest(&mut self) {
        let mut updated: Vec<u64> = self.buckets.values().map(TokenBucket::updated_ms).collect();
        let at = updated.len() / 4;
        let (_, limit, _) = updated.select_nth_unstable(at);
        let (limit, mut surplus) = (*limit, at + 1);
        self.buckets.retain(|_, bucket| {
            let goes = surplus > 0 && bucket.updated_ms() <= limit;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

impl Budget<'_> {
    /// Of a client without a quota.
    pub fn unlimited() -> Budget<'static> {
        Budget {
            bucket: None,
            is_strict: false,
            throttle_ms: 0,
        }
    }

    /// Takes a token for each partition that is created or deleted.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED, and nothing is taken.
    pub fn spend(&mut self, partitions: usize) -> Result<(), Refusal> {
        let Some(bucket) = &mut self.bucket else {
            return Ok(());
        };
        let (per_second, windows, now_ms) = (bucket.per_second, bucket.windows, bucket.now_ms);
        if self.is_strict {
            let throttle_ms = bucket.tokens.throttle_ms(per_second, windows, now_ms);
            if throttle_ms > 0 {
                self.throttle_ms = throttle_ms;
                let message = "The throttling quota has been exceeded.";
                return Err(Refusal::new(ErrorCode::ThrottlingQuotaExceeded, message));
            }
        }
        bucket.tokens.take(partitions as f64, per_second, windows, now_ms);
        if !self.is_strict {
            self.throttle_ms = bucket.tokens.throttle_ms(per_second, windows, now_ms);
        }
        Ok(())
    }

    /// How long the client has to wait, in milliseconds, as the answer says it.
    pub fn throttle_time_ms(&self) -> i32 {
        i32::try_from(self.throttle_ms).unwrap_or(i32::MAX)
    }
}
