//! What changes in a group when a member says something new of itself.

use std::sync::Arc;

use super::group::ConsumerGroup;
use super::member::Member;
use crate::groups::Ctx;
use crate::groups::assignor::Partitions;
use crate::groups::timers::Timers;
use crate::wire::group_records::GroupRecord;

/// What a member has changed.
pub(super) struct Changes {
    /// The topics it wants, in any way.
    pub subscription: bool,
    /// What the target depends on. A regular expression that nobody has looked up yet does not count: the group's epoch rises once it
    /// was.
    pub raise_epoch: bool,
}

impl ConsumerGroup {
    /// Puts the heir of a static member into its place.
    pub(super) fn replace(
        &mut self,
        timers: &mut Timers,
        records: &mut Vec<GroupRecord>,
        old: &Arc<str>,
        heir: &Member,
    ) {
        let target = self
            .target
            .members
            .get(old)
            .cloned()
            .unwrap_or_else(Partitions::new);
        self.remove_member(records, old);
        self.cancel_timers(timers, old);
        for record in [
            self.member_record(heir),
            self.target_record(&heir.id, Some(&target)),
            self.progress_record(&heir.id, Some(heir)),
        ] {
            self.write(records, record);
        }
    }

    /// Writes what a member says of itself now.
    pub(super) fn put(
        &mut self,
        ctx: &Ctx<'_>,
        timers: &mut Timers,
        records: &mut Vec<GroupRecord>,
        before: &Member,
        updated: &Member,
    ) -> Changes {
        let names_changed = before.topic_names != updated.topic_names;
        let regex_changed = before.topic_regex != updated.topic_regex;
        let resolved_before = self.index.resolved.len();
        let is_new = updated
            .regex()
            .is_some_and(|regex| !self.index.regexes.contains_key(regex));
        if before != updated {
            let record = self.member_record(updated);
            self.write(records, record);
        }
        let mut raise_epoch = names_changed;
        if regex_changed {
            if let Some(old) = before.regex() {
                self.forget_regex_unless_wanted(records, old);
            }
            raise_epoch |= match updated.regex() {
                Some(new) => !is_new && self.index.resolved.contains_key(new),
                None => before.regex().is_some(),
            };
        }
        self.schedule_regexes(ctx, timers, regex_changed && is_new, resolved_before);
        Changes {
            subscription: names_changed || regex_changed,
            raise_epoch,
        }
    }

    /// Raises the group's epoch if it has to be, or if the topics that are wanted are not what they were; a record that Kafka wrote before
    /// there was a hash of topics is taken back.
    pub(super) fn refresh_epoch(&mut self, ctx: &Ctx<'_>, records: &mut Vec<GroupRecord>, must: bool) {
        self.update_epoch(ctx, records, must);
        if self.has_partition_metadata {
            let record = self.partition_metadata_tombstone();
            self.write(records, record);
        }
    }
}
