//! The broker's settings for groups, named as Kafka names them, and the settings that a group has of its own.

use crate::config::broker::broker_key;
use crate::config::group::{GroupKey, group_key};
use crate::config::kind::split_list;
use crate::config::{Layers, Settings};
use crate::metadata::image::{MetadataImage, ResourceType};

/// Settings that hold for all groups, unless a group has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`, of classic members.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`, of classic members.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long the first member of an empty classic group waits for others.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: members of a classic group.
    pub max_size: i32,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: i32,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
    /// `group.consumer.session.timeout.ms`.
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms` (KIP-1263).
    pub consumer_assignment_interval_ms: i32,
    /// `group.consumer.max.size`.
    pub consumer_max_size: i32,
    /// `group.consumer.assignors`, the first of which is the default.
    pub consumer_assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`.
    pub consumer_migration: Migration,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub consumer_regex_refresh_interval_ms: i64,
}

/// Who assigns partitions to members of a group of the new protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Everybody gets as many; moves as few as it can.
    Uniform,
    /// Everybody gets a range of each topic; the same range of topics with as many partitions.
    Range,
}

impl Assignor {
    /// Its name in settings and requests.
    pub const fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of a name, or of the name of the Java class that is Kafka's.
    fn of(word: &str) -> Option<Assignor> {
        match word
            .strip_prefix("org.apache.kafka.coordinator.group.assignor.")
            .unwrap_or(word)
        {
            "uniform" | "UniformAssignor" => Some(Assignor::Uniform),
            "range" | "RangeAssignor" => Some(Assignor::Range),
            _ => None,
        }
    }
}

/// Which groups may change their protocol while they have members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// Both ways.
    Bidirectional,
    /// From the classic protocol to the new one.
    Upgrade,
    /// From the new protocol to the classic one.
    Downgrade,
    /// None.
    Disabled,
}

impl Migration {
    fn of(word: &str) -> Migration {
        match word.to_ascii_lowercase().as_str() {
            "upgrade" => Migration::Upgrade,
            "downgrade" => Migration::Downgrade,
            "disabled" => Migration::Disabled,
            _ => Migration::Bidirectional,
        }
    }
}

impl GroupSettings {
    /// What the broker's settings come to, as they hold now.
    pub fn of(layers: &Layers<'_>) -> GroupSettings {
        let text = |name: &str| {
            broker_key(name)
                .and_then(|key| layers.broker_value(key).value)
                .unwrap_or_default()
        };
        let long = |name: &str| layers.broker_number(name);
        // Their range is in the table.
        let int = |name: &str| i32::try_from(long(name)).unwrap_or(i32::MAX);
        let mut assignors: Vec<Assignor> = Vec::new();
        for assignor in split_list(&text("group.consumer.assignors"))
            .into_iter()
            .filter_map(Assignor::of)
        {
            if !assignors.contains(&assignor) {
                assignors.push(assignor);
            }
        }
        GroupSettings {
            min_session_timeout_ms: int("group.min.session.timeout.ms"),
            max_session_timeout_ms: int("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms: int("group.initial.rebalance.delay.ms"),
            max_size: int("group.max.size"),
            offset_metadata_max_bytes: int("offset.metadata.max.bytes"),
            offsets_retention_ms: long("offsets.retention.minutes").saturating_mul(60_000),
            offsets_retention_check_interval_ms: long("offsets.retention.check.interval.ms"),
            consumer_session_timeout_ms: int("group.consumer.session.timeout.ms"),
            consumer_heartbeat_interval_ms: int("group.consumer.heartbeat.interval.ms"),
            consumer_assignment_interval_ms: int("group.consumer.assignment.interval.ms"),
            consumer_max_size: int("group.consumer.max.size"),
            consumer_assignors: assignors,
            consumer_migration: Migration::of(&text("group.consumer.migration.policy")),
            consumer_regex_refresh_interval_ms: long("group.consumer.regex.refresh.interval.ms"),
        }
    }

    /// The session timeout of a consumer group.
    pub fn session_timeout_of(&self, image: &MetadataImage, group: &str) -> i32 {
        own(image, group, "consumer.session.timeout.ms").unwrap_or(self.consumer_session_timeout_ms)
    }

    /// The heartbeat interval of a consumer group.
    pub fn heartbeat_interval_of(&self, image: &MetadataImage, group: &str) -> i32 {
        own(image, group, "consumer.heartbeat.interval.ms").unwrap_or(self.consumer_heartbeat_interval_ms)
    }

    /// The assignment interval of a consumer group.
    pub fn assignment_interval_of(&self, image: &MetadataImage, group: &str) -> i32 {
        own(image, group, "consumer.assignment.interval.ms").unwrap_or(self.consumer_assignment_interval_ms)
    }
}

/// What is set on the group. A value that is none (another broker's, say) is as good as none.
fn own(image: &MetadataImage, group: &str, name: &str) -> Option<i32> {
    let of_group = |settings: &Settings| settings.get(name).cloned();
    let value = image.settings(ResourceType::Group, group).and_then(of_group)?;
    let GroupKey { kind, .. } = group_key(name)?;
    kind.check(name, &value).ok()?.parse().ok()
}

impl Default for GroupSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        GroupSettings {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            offsets_retention_check_interval_ms: 600_000,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            consumer_assignment_interval_ms: 1_000,
            consumer_max_size: i32::MAX,
            consumer_assignors: vec![Assignor::Uniform, Assignor::Range],
            consumer_migration: Migration::Bidirectional,
            consumer_regex_refresh_interval_ms: 600_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::controller::testing::{config, image, setting};

    #[test]
    fn the_tables_defaults_are_these() {
        let config = config(&[]);
        assert_eq!(
            GroupSettings::of(&Layers::fixed(&config)),
            GroupSettings::default()
        );
    }

    #[test]
    fn every_setting_is_taken_from_the_configuration() {
        let config = config(&[
            ("group.min.session.timeout.ms", "1"),
            ("group.max.session.timeout.ms", "2"),
            ("group.initial.rebalance.delay.ms", "3"),
            ("group.max.size", "4"),
            ("offset.metadata.max.bytes", "5"),
            ("offsets.retention.minutes", "6"),
            ("offsets.retention.check.interval.ms", "7"),
            ("group.consumer.session.timeout.ms", "50000"),
            ("group.consumer.heartbeat.interval.ms", "6000"),
            ("group.consumer.assignment.interval.ms", "8"),
            ("group.consumer.max.size", "9"),
            (
                "group.consumer.assignors",
                "org.apache.kafka.coordinator.group.assignor.RangeAssignor,range",
            ),
            ("group.consumer.migration.policy", "UPGRADE"),
            ("group.consumer.regex.refresh.interval.ms", "10000"),
        ]);
        let want = GroupSettings {
            min_session_timeout_ms: 1,
            max_session_timeout_ms: 2,
            initial_rebalance_delay_ms: 3,
            max_size: 4,
            offset_metadata_max_bytes: 5,
            offsets_retention_ms: 360_000,
            offsets_retention_check_interval_ms: 7,
            consumer_session_timeout_ms: 50_000,
            consumer_heartbeat_interval_ms: 6_000,
            consumer_assignment_interval_ms: 8,
            consumer_max_size: 9,
            consumer_assignors: vec![Assignor::Range],
            consumer_migration: Migration::Upgrade,
            consumer_regex_refresh_interval_ms: 10_000,
        };
        assert_eq!(GroupSettings::of(&Layers::fixed(&config)), want);
    }

    #[test]
    fn a_groups_own_settings_outrank_the_brokers() {
        let log = [
            setting(32, "g", "consumer.session.timeout.ms", " 50000 "),
            setting(32, "g", "consumer.heartbeat.interval.ms", "nonsense"),
            setting(32, "g", "consumer.assignment.interval.ms", "0"),
        ];
        let (image, settings) = (image(&log), GroupSettings::default());
        let of = |group: &str| {
            (
                settings.session_timeout_of(&image, group),
                settings.heartbeat_interval_of(&image, group),
                settings.assignment_interval_of(&image, group),
            )
        };
        assert_eq!(of("g"), (50_000, 5_000, 0));
        assert_eq!(of("h"), (45_000, 5_000, 1_000));
    }
}
