//! What `--fail` takes: a figure, a direction and how far it may go.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// Names that mean the acknowledgement's distribution.
const QUANTILES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];
/// What a rule looks like, for the message of one that does not.
const EXAMPLES: &str =
    "write it as p99>5%, end_to_end.p99.9>10%, cpu_s_per_gib>5%, rss>20% or records_per_s<5%";

/// When a comparison fails: `FIGURE>N%` when the new figure is above the base by more than N percent, `FIGURE<N%`
/// when it is below by more.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// A figure's key, `ack.p99` for `p99`.
    pub key: String,
    /// Whether falling fails; else rising does.
    pub falls: bool,
    /// How far, in percent of the base.
    pub percent: f64,
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rule, Error> {
        let unclear = || Error::usage(format!("nobody understands the rule {text:?}: {EXAMPLES}"));
        let compact: String = text.split_whitespace().collect();
        let at = compact.find(['<', '>']).ok_or_else(unclear)?;
        let (name, rest) = compact.split_at(at);
        let percent: f64 = rest[1..]
            .strip_suffix('%')
            .and_then(|n| n.parse().ok())
            .ok_or_else(unclear)?;
        let named = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !named || !percent.is_finite() || percent < 0.0 {
            return Err(unclear());
        }
        let key = if QUANTILES.contains(&name) {
            format!("ack.{name}")
        } else {
            name.to_owned()
        };
        Ok(Rule {
            key,
            falls: rest.starts_with('<'),
            percent,
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}{}{}%",
            self.key,
            if self.falls { '<' } else { '>' },
            self.percent
        )
    }
}

impl Rule {
    /// Whether a change of this many percent is within the rule.
    pub(super) fn allows(&self, change_percent: f64) -> bool {
        if self.falls {
            change_percent >= -self.percent
        } else {
            change_percent <= self.percent
        }
    }
}
