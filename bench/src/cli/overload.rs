//! The flags of `overload`, their defaults, and what they may be.

use clap::Args;

use crate::error::Error;
use crate::scenario::overload::Plan;

/// Flags of `overload` alone.
#[derive(Args, Clone, Debug, Default)]
pub struct OverloadFlags {
    /// overload: connections of the flood [default: 1000]
    #[arg(long, value_name = "N")]
    pub flood_connections: Option<u32>,
    /// overload: what the flood offers over what the broker was measured to take [default: 10]
    #[arg(long, value_name = "FACTOR")]
    pub flood_factor: Option<f64>,
    /// overload: bytes of the flood's batches at most [default: 16384]
    #[arg(long, value_name = "BYTES")]
    pub flood_batch_bytes: Option<usize>,
    /// overload: seconds for which what the broker takes is measured [default: 5]
    #[arg(long, value_name = "S")]
    pub probe_seconds: Option<f64>,
}

impl OverloadFlags {
    /// Which of them were given, by name.
    pub fn given(&self) -> [(bool, &'static str); 4] {
        [
            (self.flood_connections.is_some(), "flood-connections"),
            (self.flood_factor.is_some(), "flood-factor"),
            (self.flood_batch_bytes.is_some(), "flood-batch-bytes"),
            (self.probe_seconds.is_some(), "probe-seconds"),
        ]
    }

    /// The flood they ask for.
    ///
    /// # Errors
    /// [`Error::Usage`] for values that are out of range.
    pub fn plan(&self) -> Result<Plan, Error> {
        let plan = Plan {
            connections: self.flood_connections.unwrap_or(1000),
            factor: self.flood_factor.unwrap_or(10.0),
            probe_seconds: self.probe_seconds.unwrap_or(5.0),
            batch_bytes: self.flood_batch_bytes.unwrap_or(16 << 10),
        };
        let rules = [
            (
                !(1..=50_000).contains(&plan.connections),
                "--flood-connections is from 1 to 50000",
            ),
            (
                !(0.1..=1000.0).contains(&plan.factor),
                "--flood-factor is from 0.1 to 1000",
            ),
            (
                !(0.1..=3600.0).contains(&plan.probe_seconds),
                "--probe-seconds is from 0.1 to 3600",
            ),
            (
                !(128..=8 << 20).contains(&plan.batch_bytes),
                "--flood-batch-bytes is from 128 to 8388608",
            ),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, why)) => Err(Error::usage(*why)),
            None => Ok(plan),
        }
    }
}

/// A flood as reports state it: flag name without dashes, and value.
pub fn stated(plan: &Plan) -> [(&'static str, String); 4] {
    [
        ("flood-connections", plan.connections.to_string()),
        ("flood-factor", plan.factor.to_string()),
        ("flood-batch-bytes", plan.batch_bytes.to_string()),
        ("probe-seconds", plan.probe_seconds.to_string()),
    ]
}
