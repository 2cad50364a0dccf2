//! Offsets nobody needs any longer expire, and with its last one a group nobody is in.

use std::ops::Bound;
use std::sync::Arc;

use crate::groups::group::Group;
use crate::groups::timers::Timer;
use crate::groups::{Coordinator, Ctx, Step};
use crate::wire::group_records::{GroupRecord, OffsetCommitValue};

use super::tombstone;

/// Groups looked at in one step; the next step goes on from there.
pub const GROUPS_AT_ONCE: usize = 64;

impl<T> Coordinator<T> {
    /// Looks at the next groups, from the first one again after a pause.
    pub(in crate::groups) fn expire_offsets(&mut self, ctx: &mut Ctx<'_>, step: &mut Step<T>) {
        let from = match self.swept.take() {
            Some(last) => Bound::Excluded(last),
            None => Bound::Unbounded,
        };
        let next = self.groups.range::<Arc<str>, _>((from, Bound::Unbounded));
        let ids: Vec<Arc<str>> = next.map(|(id, _)| id.clone()).take(GROUPS_AT_ONCE).collect();
        for id in &ids {
            self.expire_group(ctx, id, step);
        }
        let pause_ms = match ids.len() {
            GROUPS_AT_ONCE => {
                self.swept = ids.last().cloned();
                0
            }
            _ => ctx.settings.offsets_retention_check_interval_ms.max(1),
        };
        self.timers
            .set(Timer::Offsets, ctx.now_ms.saturating_add(pause_ms));
    }

    fn expire_group(&mut self, ctx: &mut Ctx<'_>, id: &Arc<str>, step: &mut Step<T>) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        let mut records = Vec::new();
        let mut is_kept = self.offsets.has_pending(id);
        for (topic, partitions) in self.offsets.of_group(id).into_iter().flatten() {
            let is_subscribed = group.is_subscribed(topic);
            for (partition, value) in partitions {
                // While a transaction may still change it, it is in use.
                let is_pending = self.offsets.is_pending(id, topic, *partition);
                if !is_subscribed && !is_pending && has_expired(ctx, group, value) {
                    records.push(tombstone(id, topic, *partition));
                } else {
                    is_kept = true;
                }
            }
        }
        for record in records {
            self.apply(record, step);
        }
        if !is_kept {
            self.remove_if_empty(ctx, id, step);
        }
    }

    /// Appends a record, and does what it says.
    pub(in crate::groups) fn apply(&mut self, record: GroupRecord, step: &mut Step<T>) {
        debug_assert_eq!(step.producer, None, "a record beside those of a transaction");
        self.replay(record.clone(), None);
        step.records.push(record);
    }
}

/// Commits of old clients say when they expire; others do so when they, or the group, have aged.
fn has_expired<T>(ctx: &Ctx<'_>, group: &Group<T>, value: &OffsetCommitValue) -> bool {
    let Some(from_ms) = group.ages_from_ms(value.commit_timestamp) else {
        return false;
    };
    match value.expire_timestamp {
        -1 => ctx.wall_ms.saturating_sub(from_ms) >= ctx.settings.offsets_retention_ms,
        at_ms => ctx.wall_ms >= at_ms,
    }
}
