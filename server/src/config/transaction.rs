//! The table of broker settings that are about transactions and their topic: what Kafka's `TransactionStateManagerConfig` and `TransactionLogConfig`
//! have and is served here.

use super::broker::BrokerKey;
use super::coordinator::key;
use super::kind::Kind;
use super::topic::topic_key;

const POSITIVE_INT: Kind = Kind::Int(1, i32::MAX);

/// The setting that may change at run time, as in Kafka.
pub const PARTITION_VERIFICATION: &str = "transaction.partition.verification.enable";

/// Every one of them, sorted by name.
pub static TRANSACTION_KEYS: &[BrokerKey] = &[
    key(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        POSITIVE_INT,
        "10000",
        "Milliseconds between two looks for transactions that take longer than their producer said they would.",
    ),
    key(
        "transaction.max.timeout.ms",
        POSITIVE_INT,
        "900000",
        "The longest transaction timeout a producer may ask for.",
    ),
    key(
        PARTITION_VERIFICATION,
        Kind::Bool,
        "true",
        "Whether a partition takes a transaction's batches only once it takes part in that transaction.",
    ),
    key(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        POSITIVE_INT,
        "3600000",
        "Milliseconds between two looks for transactional ids that nobody uses any more.",
    ),
    key(
        "transaction.state.log.min.isr",
        POSITIVE_INT,
        "1",
        "Only 1: there is one broker. Kafka's own default of 2 would keep it from writing to the topic.",
    ),
    key(
        "transaction.state.log.num.partitions",
        POSITIVE_INT,
        "50",
        "Partitions of __transaction_state when it is created: as many coordinators share the transactional ids.",
    ),
    key(
        "transaction.state.log.replication.factor",
        Kind::Short(1, i16::MAX),
        "1",
        "Only 1: there is one broker. Kafka's own default of 3 would keep it from creating the topic.",
    ),
    key(
        "transaction.state.log.segment.bytes",
        POSITIVE_INT,
        "104857600",
        "Setting segment.bytes of __transaction_state when it is created.",
    ),
    key(
        "transaction.two.phase.commit.enable",
        Kind::Bool,
        "false",
        "Only false: a transaction whose end another system decides is not served.",
    ),
    key(
        "transactional.id.expiration.ms",
        POSITIVE_INT,
        "604800000",
        "Milliseconds without a change after which a transactional id is forgotten, unless its transaction is under way.",
    ),
];

/// Refuses a value that Kafka allows but whose promise this broker could not keep.
///
/// # Errors
/// The sentence that says why.
pub fn keepable(name: &str, value: &str) -> Result<(), String> {
    let only = |want: &str, why: &str| match value == want {
        true => Ok(()),
        false => Err(format!(
            "Invalid value {value} for configuration {name}: {why}; only {want} is supported"
        )),
    };
    match name {
        "transaction.state.log.min.isr" | "transaction.state.log.replication.factor" => {
            only("1", "there is one broker")
        }
        "transaction.two.phase.commit.enable" => {
            only("false", "no other system may decide how a transaction ends")
        }
        // What the topic would be created with must be what a topic may have.
        "transaction.state.log.segment.bytes" => match topic_key("segment.bytes") {
            Some(key) => key.kind.check(name, value).map(drop),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn what_one_broker_cannot_keep_of_transactions_is_refused() {
        for (name, value, part) in [
            (
                "transaction.state.log.replication.factor",
                "3",
                "there is one broker; only 1 is supported",
            ),
            (
                "transaction.state.log.min.isr",
                "2",
                "there is one broker; only 1 is supported",
            ),
            (
                "transaction.two.phase.commit.enable",
                "true",
                "only false is supported",
            ),
            (
                "transaction.state.log.segment.bytes",
                "1024",
                "Value must be at least 1048576",
            ),
            (
                "transaction.state.log.num.partitions",
                "0",
                "Value must be at least 1",
            ),
            ("transaction.max.timeout.ms", "0", "Value must be at least 1"),
        ] {
            let said = Config::from_pairs(vec![(name.to_owned(), value.to_owned())])
                .expect_err("refused")
                .to_string();
            assert!(said.contains(name) && said.contains(part), "{said}");
        }
    }
}
