//! What a scenario's load is where no flag says otherwise.

use crate::load::settings::Rate;
use crate::scenario::Scenario;

/// The values that differ by scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// `--partitions`.
    pub partitions: i32,
    /// `--producers`.
    pub producers: u32,
    /// `--consumers`, where there are as many partitions.
    pub consumers: u32,
    /// `--record-bytes`.
    pub record_bytes: usize,
    /// `--batch-bytes`.
    pub batch_bytes: usize,
    /// `--records-per-batch`; 0 for as many as fit.
    pub batch_records: usize,
    /// `--rate`.
    pub rate: Rate,
    /// `--seconds`.
    pub seconds: f64,
    /// `--warmup-seconds`.
    pub warmup_seconds: f64,
    /// `--keys`; 0 for records without.
    pub keys: usize,
}

impl Defaults {
    /// Of a scenario.
    pub fn of(scenario: Scenario) -> Defaults {
        let usual = Defaults {
            partitions: 8,
            producers: 4,
            consumers: 2,
            record_bytes: 1024,
            batch_bytes: 64 << 10,
            batch_records: 0,
            rate: Rate::Max,
            seconds: 20.0,
            warmup_seconds: 5.0,
            keys: 0,
        };
        let at = |per_second: f64| Defaults {
            rate: Rate::PerSecond(per_second),
            ..usual
        };
        let short = |per_second: f64| Defaults {
            seconds: 5.0,
            warmup_seconds: 2.0,
            ..at(per_second)
        };
        match scenario {
            Scenario::Produce
            | Scenario::Consume
            | Scenario::Lookup
            | Scenario::Groups
            | Scenario::Restart => usual,
            Scenario::Tail | Scenario::Mixed | Scenario::Storm => at(20_000.0),
            Scenario::Partitions | Scenario::Connections => short(10_000.0),
            Scenario::Sweep => short(5_000.0),
            Scenario::Small => Defaults {
                partitions: 64,
                producers: 100,
                record_bytes: 100,
                batch_bytes: 16 << 10,
                keys: 10_000,
                ..at(20_000.0)
            },
            Scenario::Transactions => Defaults {
                producers: 16,
                batch_records: 1,
                ..usual
            },
            Scenario::Overload => Defaults {
                seconds: 60.0,
                ..at(1_000.0)
            },
            Scenario::Steady => Defaults {
                consumers: 1,
                seconds: 600.0,
                ..at(100_000.0)
            },
            Scenario::Cleaning => Defaults {
                consumers: 1,
                seconds: 30.0,
                warmup_seconds: 15.0,
                ..at(100_000.0)
            },
            Scenario::Day => Defaults {
                partitions: 2,
                record_bytes: 512,
                batch_records: 20,
                seconds: 600.0,
                keys: 1000,
                ..at(4000.0)
            },
        }
    }
}
