//! Members that leave, or are no longer heard of, go; the group's epoch rises, and what they had is free.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::group::ConsumerGroup;
use crate::groups::Ctx;
use crate::groups::timers::Timers;
use crate::wire::group_records::GroupRecord;

impl ConsumerGroup {
    /// Takes members out of the group. If only members of the classic protocol stay, the group becomes a classic one.
    pub(super) fn fence(
        &mut self,
        ctx: &Ctx<'_>,
        timers: &mut Timers,
        records: &mut Vec<GroupRecord>,
        member_ids: &[Arc<str>],
    ) {
        if member_ids.is_empty() {
            return;
        }
        for member in member_ids {
            self.cancel_timers(timers, member);
        }
        if self.becomes_classic_without(ctx.settings, member_ids) {
            return self.downgrade_without(ctx, timers, records, member_ids);
        }
        let regexes: BTreeSet<String> = member_ids
            .iter()
            .filter_map(|member| Some(self.members.get(member)?.regex()?.to_owned()))
            .collect();
        for member in member_ids {
            self.remove_member(records, member);
        }
        for regex in regexes {
            self.forget_regex_unless_wanted(records, &regex);
        }
        self.update_epoch(ctx, records, true);
    }

    /// Writes the tombstones of one member. Replay relies on their order.
    pub(super) fn remove_member(&mut self, records: &mut Vec<GroupRecord>, member_id: &str) {
        for record in [
            self.progress_record(member_id, None),
            self.target_record(member_id, None),
            self.member_tombstone(member_id),
        ] {
            self.write(records, record);
        }
    }
}
