//! The broker's settings for transactions, named as Kafka names them.

use crate::config::Layers;
use crate::config::broker::broker_key;
use crate::config::transaction::PARTITION_VERIFICATION;

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
    /// `transaction.partition.verification.enable`: whether a partition asks before it takes a transaction's first batch (KIP-890).
    pub partition_verification: bool,
}

impl TransactionSettings {
    /// What the broker's settings come to, as they hold now.
    pub fn of(layers: &Layers<'_>) -> TransactionSettings {
        let verification = broker_key(PARTITION_VERIFICATION)
            .and_then(|key| layers.broker_value(key).value)
            .unwrap_or_default();
        // The range is in the table.
        let max_timeout_ms = layers.broker_number("transaction.max.timeout.ms");
        TransactionSettings {
            max_timeout_ms: i32::try_from(max_timeout_ms).unwrap_or(i32::MAX),
            id_expiration_ms: layers.broker_number("transactional.id.expiration.ms"),
            abort_interval_ms: layers
                .broker_number("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            remove_interval_ms: layers
                .broker_number("transaction.remove.expired.transaction.cleanup.interval.ms"),
            partition_verification: verification != "false",
        }
    }
}

impl Default for TransactionSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        TransactionSettings {
            max_timeout_ms: 900_000,
            id_expiration_ms: 7 * 24 * 3_600_000,
            abort_interval_ms: 10_000,
            remove_interval_ms: 3_600_000,
            partition_verification: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn of(pairs: &[(&str, &str)]) -> TransactionSettings {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::from_pairs(pairs.collect()).expect("settings");
        TransactionSettings::of(&Layers::fixed(&config))
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        assert_eq!(of(&[]), TransactionSettings::default());
    }

    #[test]
    fn each_setting_is_read_from_its_own_name() {
        let settings = of(&[
            ("transaction.max.timeout.ms", "1"),
            ("transactional.id.expiration.ms", "2"),
            ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "3"),
            ("transaction.remove.expired.transaction.cleanup.interval.ms", "4"),
            ("transaction.partition.verification.enable", "false"),
        ]);
        let want = TransactionSettings {
            max_timeout_ms: 1,
            id_expiration_ms: 2,
            abort_interval_ms: 3,
            remove_interval_ms: 4,
            partition_verification: false,
        };
        assert_eq!(settings, want);
    }
}
