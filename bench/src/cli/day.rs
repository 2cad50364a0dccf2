//! The flags of `day`, their defaults, and what they may be.

use clap::Args;

use crate::error::Error;

/// Flags of `day` alone.
#[derive(Args, Clone, Debug, Default)]
pub struct DayFlags {
    /// day: time lookups and questions for the start and end of a log, a second [default: 50]
    #[arg(long, value_name = "N")]
    pub lookup_rate: Option<f64>,
    /// day: what the broker may take for what is due, on a machine that is busy, in seconds [default: 10]
    #[arg(long, value_name = "S")]
    pub slack_seconds: Option<f64>,
}

impl DayFlags {
    /// Which of them were given, by name.
    pub fn given(&self) -> [(bool, &'static str); 2] {
        [
            (self.lookup_rate.is_some(), "lookup-rate"),
            (self.slack_seconds.is_some(), "slack-seconds"),
        ]
    }

    /// Questions a second.
    pub fn lookup_rate(&self) -> f64 {
        self.lookup_rate.unwrap_or(50.0)
    }

    /// What the broker may take.
    pub fn slack_ms(&self) -> i64 {
        (self.slack_seconds.unwrap_or(10.0) * 1e3) as i64
    }

    /// Whether they make sense.
    ///
    /// # Errors
    /// [`Error::Usage`] for values that are out of range.
    pub fn check(&self) -> Result<(), Error> {
        if !(0.1..=100_000.0).contains(&self.lookup_rate()) {
            return Err(Error::usage("--lookup-rate is from 0.1 to 100000"));
        }
        if !(0..=3_600_000).contains(&self.slack_ms()) {
            return Err(Error::usage("--slack-seconds is from 0 to 3600"));
        }
        Ok(())
    }

    /// The values in force, for the report.
    pub fn stated(&self) -> [(&'static str, String); 2] {
        [
            ("lookup-rate", self.lookup_rate().to_string()),
            ("slack-seconds", (self.slack_ms() as f64 / 1e3).to_string()),
        ]
    }
}
