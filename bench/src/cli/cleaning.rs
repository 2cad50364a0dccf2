//! The flags of `cleaning`, their defaults, and what they may be.

use clap::Args;

use crate::error::Error;

/// Flags of `cleaning` alone.
#[derive(Args, Clone, Debug, Default)]
pub struct CleaningFlags {
    /// cleaning: how often its parts run, in turn [default: 2]
    #[arg(long, value_name = "N")]
    pub turns: Option<u32>,
    /// cleaning: records a second that overwrite the keys of the topic beside the load [default: 10000]
    #[arg(long, value_name = "N")]
    pub beside_rate: Option<f64>,
    /// cleaning: keys of that topic [default: 20000]
    #[arg(long, value_name = "N")]
    pub beside_keys: Option<u64>,
}

impl CleaningFlags {
    /// Which of them were given, by name.
    pub fn given(&self) -> [(bool, &'static str); 3] {
        [
            (self.turns.is_some(), "turns"),
            (self.beside_rate.is_some(), "beside-rate"),
            (self.beside_keys.is_some(), "beside-keys"),
        ]
    }

    /// How often the parts run.
    pub fn turns(&self) -> u32 {
        self.turns.unwrap_or(2)
    }

    /// Overwriting records a second.
    pub fn beside_rate(&self) -> f64 {
        self.beside_rate.unwrap_or(10_000.0)
    }

    /// Keys that they overwrite.
    pub fn beside_keys(&self) -> u64 {
        self.beside_keys.unwrap_or(20_000)
    }

    /// Whether they make sense.
    ///
    /// # Errors
    /// [`Error::Usage`] for values that are out of range.
    pub fn check(&self) -> Result<(), Error> {
        if !(1..=100).contains(&self.turns()) {
            return Err(Error::usage("--turns is from 1 to 100"));
        }
        if !(1.0..=1e6).contains(&self.beside_rate()) {
            return Err(Error::usage("--beside-rate is from 1 to 1000000"));
        }
        if self.beside_keys() == 0 {
            return Err(Error::usage("--beside-keys is from 1"));
        }
        Ok(())
    }

    /// The values in force, for the report.
    pub fn stated(&self) -> [(&'static str, String); 3] {
        [
            ("turns", self.turns().to_string()),
            ("beside-rate", self.beside_rate().to_string()),
            ("beside-keys", self.beside_keys().to_string()),
        ]
    }
}
