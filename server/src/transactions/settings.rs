//! The broker's settings for transactions, named as Kafka names them.

/// Settings that hold for all transactional ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// `transaction.max.timeout.ms`: the longest timeout a producer may ask for.
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`: how long an id is remembered that nobody uses.
    pub id_expiration_ms: i64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: how often transactions that take too long are looked for.
    pub abort_interval_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often ids that nobody uses are looked for.
    pub remove_interval_ms: i64,
}

impl Default for TransactionSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        TransactionSettings {
            max_timeout_ms: 900_000,
            id_expiration_ms: 7 * 24 * 3_600_000,
            abort_interval_ms: 10_000,
            remove_interval_ms: 3_600_000,
        }
    }
}
