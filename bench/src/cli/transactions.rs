//! The flags of `transactions`, their defaults, and what they may be.

use std::time::Duration;

use clap::Args;

use crate::client::transactions::TransactionVersion;
use crate::error::Error;
use crate::load::transactor::Plan;

/// Flags of `transactions` alone.
#[derive(Args, Clone, Debug, Default)]
pub struct TransactionFlags {
    /// transactions: version of the protocol: 2 (KIP-890) or the one before, in which partitions are added first [default: 2]
    #[arg(long, value_enum, value_name = "1|2")]
    pub txn_version: Option<TransactionVersion>,
    /// transactions: partitions, drawn at random, that each writes one batch to [default: 2]
    #[arg(long, value_name = "N")]
    pub txn_partitions: Option<u32>,
    /// transactions: how many of a hundred are aborted [default: 0]
    #[arg(long, value_name = "PERCENT")]
    pub abort_percent: Option<f64>,
    /// transactions: pause before what a coordinator is not ready for is asked again, in milliseconds [default: 1]
    #[arg(long, value_name = "MS")]
    pub txn_retry_ms: Option<f64>,
    /// transactions: so many a second of all producers together, due whatever the broker does (open loop) [default: each producer's as soon as the
    /// one before has ended]
    #[arg(long, value_name = "N")]
    pub txn_rate: Option<f64>,
    /// transactions: a consumer reads what is committed meanwhile: end to end from a transaction's begin until its records can be read
    #[arg(long)]
    pub txn_read: bool,
}

impl TransactionFlags {
    /// Which of them were given, by name.
    pub fn given(&self) -> [(bool, &'static str); 6] {
        [
            (self.txn_version.is_some(), "txn-version"),
            (self.txn_partitions.is_some(), "txn-partitions"),
            (self.abort_percent.is_some(), "abort-percent"),
            (self.txn_retry_ms.is_some(), "txn-retry-ms"),
            (self.txn_rate.is_some(), "txn-rate"),
            (self.txn_read, "txn-read"),
        ]
    }

    /// The transactions they ask for, on a topic of so many partitions.
    ///
    /// # Errors
    /// [`Error::Usage`] for values that are out of range.
    pub fn plan(&self, partitions: i32) -> Result<Plan, Error> {
        let retry_ms = self.txn_retry_ms.unwrap_or(1.0);
        let abort_percent = self.abort_percent.unwrap_or(0.0);
        let written = self.txn_partitions.unwrap_or(2.min(partitions.max(1) as u32));
        let rules = [
            (
                written < 1 || i64::from(written) > i64::from(partitions),
                "--txn-partitions is from 1 to --partitions",
            ),
            (
                !(0.0..=100.0).contains(&abort_percent),
                "--abort-percent is from 0 to 100",
            ),
            (
                !(0.01..=60_000.0).contains(&retry_ms),
                "--txn-retry-ms is from 0.01 to 60000",
            ),
            (
                self.txn_rate.is_some_and(|rate| !(0.1..=1e6).contains(&rate)),
                "--txn-rate is from 0.1 to 1000000",
            ),
        ];
        if let Some((_, why)) = rules.iter().find(|(broken, _)| *broken) {
            return Err(Error::usage(*why));
        }
        Ok(Plan {
            version: self.txn_version.unwrap_or_default(),
            partitions: written,
            abort_percent,
            retry: Duration::from_secs_f64(retry_ms / 1e3),
            per_second: self.txn_rate,
        })
    }

    /// The values in force, for the report.
    pub fn stated(&self, partitions: i32) -> Vec<(&'static str, String)> {
        let Ok(plan) = self.plan(partitions) else {
            return Vec::new();
        };
        vec![
            ("txn-version", plan.version.number().to_string()),
            ("txn-partitions", plan.partitions.to_string()),
            ("abort-percent", plan.abort_percent.to_string()),
            ("txn-retry-ms", (plan.retry.as_secs_f64() * 1e3).to_string()),
            (
                "txn-rate",
                plan.per_second.map_or("max".to_owned(), |rate| rate.to_string()),
            ),
            ("txn-read", self.txn_read.to_string()),
        ]
    }
}
