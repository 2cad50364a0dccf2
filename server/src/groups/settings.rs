//! The broker's settings for groups, named as Kafka names them.

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
    /// `group.consumer.assignment.interval.ms`: between two assignments of a group pass at least so many (KIP-1263).
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
