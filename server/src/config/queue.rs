//! The settings of a topic that is a queue with an end: how much it holds, what happens when it is full, and what of that contradicts itself.

use std::sync::Arc;

use super::kind::split_list;

/// What the names of all of them begin with.
pub const PREFIX: &str = "ringlog.queue.";
/// The setting that says what happens when a queue is full.
pub const WHEN_FULL: &str = "ringlog.queue.when.full";
/// The setting with the most bytes.
pub const MAX_BYTES: &str = "ringlog.queue.max.bytes";
/// The setting with the most records.
pub const MAX_RECORDS: &str = "ringlog.queue.max.records";
/// The setting with the most a group may be behind.
pub const MAX_LAG: &str = "ringlog.queue.max.lag";
/// The setting with the names of those groups.
pub const LAG_GROUPS: &str = "ringlog.queue.lag.groups";

/// The most groups whose lag is looked at.
const MOST_GROUPS: usize = 16;

/// What becomes of a batch for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused at once.
    Reject,
    /// Its producer waits.
    Block,
    /// The oldest records go.
    DropOldest,
}

/// How much a topic holds before it is full. At least one limit is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes of batches, of all partitions.
    pub max_bytes: Option<i64>,
    /// Offsets from log start to log end, of all partitions.
    pub max_records: Option<i64>,
    /// Offsets from where a group is to the log end, of all partitions.
    pub max_lag: Option<i64>,
    /// The groups that is about; none without `max_lag`.
    pub lag_groups: Vec<Arc<str>>,
    /// What happens then.
    pub when_full: WhenFull,
}

impl QueueLimits {
    /// Reads the effective values; nothing when none is a limit.
    pub fn from_effective(text: &dyn Fn(&str) -> String) -> Option<QueueLimits> {
        let limit = |name| limit(&text(name));
        let mut limits = QueueLimits {
            max_bytes: limit(MAX_BYTES),
            max_records: limit(MAX_RECORDS),
            max_lag: limit(MAX_LAG),
            lag_groups: Vec::new(),
            when_full: when_full(&text(WHEN_FULL)),
        };
        if limits.max_lag.is_some() {
            limits.lag_groups = groups(&text(LAG_GROUPS)).into_iter().map(Arc::from).collect();
        }
        let is_any = limits.max_bytes.is_some() || limits.max_records.is_some() || limits.max_lag.is_some();
        is_any.then_some(limits)
    }
}

fn limit(text: &str) -> Option<i64> {
    text.parse().ok().filter(|most| *most >= 0)
}

fn when_full(word: &str) -> WhenFull {
    match word {
        "block" => WhenFull::Block,
        "drop-oldest" => WhenFull::DropOldest,
        _ => WhenFull::Reject,
    }
}

/// The names in a list, each once.
fn groups(list: &str) -> Vec<&str> {
    let mut groups: Vec<&str> = Vec::new();
    for group in split_list(list) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

/// Checks that the settings of a queue do not contradict each other. `says_when_full`: the topic itself says what happens then.
///
/// # Errors
/// The sentence for an INVALID_CONFIG answer.
pub fn check(says_when_full: bool, effective: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    let text = |name: &str| effective(name).unwrap_or_default();
    let limits = QueueLimits::from_effective(&text);
    let list = text(LAG_GROUPS);
    let groups = groups(&list);
    let has_lag = limits.as_ref().is_some_and(|limits| limits.max_lag.is_some());
    if groups.iter().any(|group| group.is_empty()) {
        return Err(format!("{LAG_GROUPS} has a group without a name: {list}"));
    }
    if groups.len() > MOST_GROUPS {
        return Err(format!(
            "{LAG_GROUPS} has {} groups, at most {MOST_GROUPS} are possible",
            groups.len()
        ));
    }
    if has_lag && groups.is_empty() {
        return Err(format!(
            "{MAX_LAG} is set and {LAG_GROUPS} names no group whose lag that is"
        ));
    }
    if !has_lag && !groups.is_empty() {
        return Err(format!(
            "{LAG_GROUPS} names groups and {MAX_LAG} does not say how far they may be behind"
        ));
    }
    let Some(limits) = limits else {
        return match says_when_full {
            true => Err(format!(
                "{WHEN_FULL} is {} and nothing says when that is: set {MAX_BYTES}, {MAX_RECORDS} or {MAX_LAG} with it, or remove all of them together",
                text(WHEN_FULL)
            )),
            false => Ok(()),
        };
    };
    match limits.when_full {
        WhenFull::DropOldest => check_drop_oldest(&limits, &text),
        _ => Ok(()),
    }
}

/// What is dropped must leave the newest batch, and may be dropped at all.
fn check_drop_oldest(limits: &QueueLimits, text: &dyn Fn(&str) -> String) -> Result<(), String> {
    let all = [
        (MAX_BYTES, limits.max_bytes),
        (MAX_RECORDS, limits.max_records),
        (MAX_LAG, limits.max_lag),
    ];
    if let Some((name, _)) = all.into_iter().find(|(_, most)| *most == Some(0)) {
        return Err(format!(
            "{name} is 0 and {WHEN_FULL} is drop-oldest: nothing would be kept of what is acknowledged"
        ));
    }
    let largest = text("max.message.bytes").parse().unwrap_or(0);
    if let Some(most) = limits.max_bytes.filter(|most| *most < largest) {
        return Err(format!(
            "{MAX_BYTES} ({most}) is less than max.message.bytes ({largest}) and {WHEN_FULL} is drop-oldest: there would be batches for which \
             nothing that is dropped makes room"
        ));
    }
    let policy = text("cleanup.policy");
    let has = |word: &str| split_list(&policy).contains(&word);
    if has("compact") && !has("delete") {
        return Err(format!(
            "{WHEN_FULL} is drop-oldest and cleanup.policy is {policy}: what is kept by key is not dropped by age"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sentence, for settings of a topic with Kafka's defaults besides.
    fn said(own: &[(&str, &str)]) -> Result<(), String> {
        let effective = |name: &str| {
            let own = own.iter().find(|(key, _)| *key == name);
            let default = super::super::topic::topic_key(name).and_then(|key| key.default);
            own.map(|(_, value)| *value).or(default).map(str::to_owned)
        };
        check(own.iter().any(|(key, _)| *key == WHEN_FULL), &effective)
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused_with_both_names() {
        let many: Vec<String> = (0..17).map(|n| format!("g{n}")).collect();
        let many = many.join(",");
        for (own, parts) in [
            (&[(WHEN_FULL, "block")][..], [WHEN_FULL, MAX_BYTES]),
            (&[(WHEN_FULL, "reject")], [WHEN_FULL, MAX_RECORDS]),
            (&[(WHEN_FULL, "reject"), (MAX_BYTES, "-1")], [WHEN_FULL, MAX_LAG]),
            (&[(MAX_LAG, "5")], [MAX_LAG, LAG_GROUPS]),
            (&[(LAG_GROUPS, "g")], [MAX_LAG, LAG_GROUPS]),
            (&[(LAG_GROUPS, "g"), (MAX_RECORDS, "5")], [MAX_LAG, LAG_GROUPS]),
            (&[(LAG_GROUPS, "g,,h"), (MAX_LAG, "5")], [LAG_GROUPS, "g,,h"]),
            (&[(LAG_GROUPS, &many), (MAX_LAG, "5")], [LAG_GROUPS, "17 groups"]),
            (
                &[(WHEN_FULL, "drop-oldest"), (MAX_RECORDS, "0")],
                [WHEN_FULL, MAX_RECORDS],
            ),
            (
                &[(WHEN_FULL, "drop-oldest"), (MAX_BYTES, "1000")],
                ["max.message.bytes (1048588)", "1000"],
            ),
            (
                &[
                    (WHEN_FULL, "drop-oldest"),
                    (MAX_RECORDS, "9"),
                    ("cleanup.policy", "compact"),
                ],
                ["cleanup.policy", WHEN_FULL],
            ),
        ] {
            let said = said(own).expect_err("refused");
            assert!(parts.iter().all(|part| said.contains(part)), "{own:?}: {said}");
        }
    }

    #[test]
    fn settings_that_agree_are_taken() {
        for own in [
            &[][..],
            &[(MAX_BYTES, "0")],
            &[(MAX_BYTES, "1"), (WHEN_FULL, "block")],
            &[(MAX_LAG, "0"), (LAG_GROUPS, "g,h,g")],
            &[
                (MAX_BYTES, "1000"),
                ("max.message.bytes", "1000"),
                (WHEN_FULL, "drop-oldest"),
            ],
            &[
                (MAX_RECORDS, "1"),
                ("cleanup.policy", "compact,delete"),
                (WHEN_FULL, "drop-oldest"),
            ],
            &[(MAX_RECORDS, "1"), ("cleanup.policy", "compact")],
        ] {
            assert_eq!(said(own), Ok(()), "{own:?}");
        }
    }

    #[test]
    fn limits_are_typed() {
        let of = |own: &[(&str, &str)]| {
            let value = |name: &str| {
                own.iter()
                    .find(|(key, _)| *key == name)
                    .map_or("", |(_, value)| *value)
            };
            QueueLimits::from_effective(&|name| value(name).to_owned())
        };
        assert_eq!(of(&[(MAX_BYTES, "-1"), (LAG_GROUPS, "g")]), None);
        let limits = of(&[(MAX_LAG, "0"), (LAG_GROUPS, "g, h,g"), (WHEN_FULL, "block")]).expect("a limit");
        assert_eq!(
            (limits.max_bytes, limits.max_lag, limits.when_full),
            (None, Some(0), WhenFull::Block)
        );
        assert_eq!(limits.lag_groups, ["g".into(), "h".into()]);
    }
}
