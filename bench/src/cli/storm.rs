//! The flags of `storm`, their defaults, and what they may be.

use clap::Args;

use crate::error::Error;
use crate::scenario::storm::{Plan, Protocol};

/// Each member has a connection of its own.
const MAX_MEMBERS: u64 = 50_000;
/// A member whose turn comes more seldom would be taken for gone.
const LONGEST_ROUND_S: f64 = 10.0;

/// Flags of `storm` alone.
#[derive(Args, Clone, Debug, Default)]
pub struct StormFlags {
    /// storm: members of the large group [default: 1000]
    #[arg(long, value_name = "N")]
    pub members: Option<u32>,
    /// storm: small groups beside it [default: 200]
    #[arg(long, value_name = "N")]
    pub groups: Option<u32>,
    /// storm: members of each small group [default: 3]
    #[arg(long, value_name = "N")]
    pub group_members: Option<u32>,
    /// storm: requests a second of all members together, whatever the broker does (open loop) [default: 4000]
    #[arg(long, value_name = "N")]
    pub storm_rate: Option<f64>,
    /// storm: of each group's members, at least one, that leave after each rebalance and join again [default: 1]
    #[arg(long, value_name = "PERCENT")]
    pub churn: Option<f64>,
    /// storm: what the members speak [default: classic]
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub group_protocol: Option<Protocol>,
}

impl StormFlags {
    /// Which of them were given, by name.
    pub fn given(&self) -> [(bool, &'static str); 6] {
        [
            (self.members.is_some(), "members"),
            (self.groups.is_some(), "groups"),
            (self.group_members.is_some(), "group-members"),
            (self.storm_rate.is_some(), "storm-rate"),
            (self.churn.is_some(), "churn"),
            (self.group_protocol.is_some(), "group-protocol"),
        ]
    }

    /// The storm they ask for.
    ///
    /// # Errors
    /// [`Error::Usage`] for values that are out of range or contradict each other.
    pub fn plan(&self) -> Result<Plan, Error> {
        let plan = Plan {
            members: self.members.unwrap_or(1000),
            groups: self.groups.unwrap_or(200),
            group_members: self.group_members.unwrap_or(3),
            requests_per_s: self.storm_rate.unwrap_or(4000.0),
            churn_percent: self.churn.unwrap_or(1.0),
            protocol: self.group_protocol.unwrap_or_default(),
        };
        let rules = [
            (
                plan.members < 2 || plan.group_members < 2,
                "--members and --group-members are at least 2: a group of one has nobody to wait for",
            ),
            (
                plan.all_members() > MAX_MEMBERS,
                "--members and those of all --groups are at most 50000 together",
            ),
            (
                !(1.0..=1e6).contains(&plan.requests_per_s),
                "--storm-rate is from 1 to 1000000",
            ),
            (
                !(0.001..=100.0).contains(&plan.churn_percent),
                "--churn is from 0.001 to 100",
            ),
            (
                plan.all_members() as f64 > LONGEST_ROUND_S * plan.requests_per_s,
                "--storm-rate gives each member less than a request in 10 s: they would be taken for gone",
            ),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, why)) => Err(Error::usage(*why)),
            None => Ok(plan),
        }
    }
}

/// A storm as reports state it: flag name without dashes, and value.
pub fn stated(plan: &Plan) -> [(&'static str, String); 6] {
    [
        ("members", plan.members.to_string()),
        ("groups", plan.groups.to_string()),
        ("group-members", plan.group_members.to_string()),
        ("storm-rate", plan.requests_per_s.to_string()),
        ("churn", plan.churn_percent.to_string()),
        ("group-protocol", format!("{:?}", plan.protocol).to_lowercase()),
    ]
}
