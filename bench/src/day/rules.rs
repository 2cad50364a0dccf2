//! What a topic promises of its records, and how soon a broker must do what is due. The settings are Kafka's.

/// What `cleanup.policy` with `compact` promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// `min.compaction.lag.ms`: an overwritten record stays that long after the one that overwrote it.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`: a segment with an older record is cleaned whatever its share of dirt is.
    pub max_lag_ms: i64,
    /// `delete.retention.ms`: a tombstone stays that long.
    pub delete_retention_ms: i64,
    /// Whether overwritten records must go. Not of a broker that says that it does not clean.
    pub is_due: bool,
}

/// What one topic promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `retention.ms` where `cleanup.policy` has `delete`; `None` for no limit.
    pub retention_ms: Option<i64>,
    /// `retention.bytes` of a partition, likewise.
    pub retention_bytes: Option<u64>,
    /// Of a compacted topic.
    pub compaction: Option<Compaction>,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `log.retention.check.interval.ms`: between two looks for old segments.
    pub check_ms: i64,
    /// `log.cleaner.backoff.ms`: how long a cleaner that had nothing to do rests.
    pub cleaner_pause_ms: i64,
    /// How far behind the time of its sending a record's timestamp may be.
    pub late_ms: i64,
    /// What a broker may take for looking, deleting and cleaning, on a machine that is busy.
    pub slack_ms: i64,
}

impl Rules {
    /// How long a segment is appended to at most, while records keep coming.
    fn roll_ms(&self) -> i64 {
        let lag_ms = self
            .compaction
            .map_or(i64::MAX, |compaction| compaction.max_lag_ms);
        self.segment_ms.min(lag_ms).saturating_add(self.late_ms)
    }

    /// Age of the end of a segment's time of appending by which all of it must be gone; `None` if time ends nothing.
    pub(super) fn gone_by_age_ms(&self) -> Option<i64> {
        let done_ms = self.check_ms + self.slack_ms;
        self.retention_ms.map(|retention_ms| {
            retention_ms
                .saturating_add(self.roll_ms())
                .saturating_add(done_ms)
        })
    }

    /// How long ago the log must have been over its size for the segments that were too much to be gone.
    pub(super) fn gone_by_size_ms(&self) -> i64 {
        self.check_ms + self.slack_ms
    }

    /// After what time an overwritten record must be gone, counted from when the one that overwrote it was acknowledged.
    pub(super) fn cleaned_ms(&self) -> Option<i64> {
        let compaction = self.compaction.filter(|compaction| compaction.is_due)?;
        let waits_ms = compaction.max_lag_ms.max(compaction.min_lag_ms);
        let done_ms = self.cleaner_pause_ms + self.slack_ms;
        Some(self.roll_ms().saturating_add(waits_ms).saturating_add(done_ms))
    }

    /// The same of a tombstone, from when it was acknowledged: its time begins when it is cleaned, and a later cleaning removes it.
    pub(super) fn tombstone_gone_ms(&self) -> Option<i64> {
        let (cleaned_ms, compaction) = (self.cleaned_ms()?, self.compaction?);
        Some(
            cleaned_ms
                .saturating_mul(2)
                .saturating_add(compaction.delete_retention_ms),
        )
    }
}
