//! What happens when nothing happens: sessions, revocations, look-ups of regular expressions.

use std::sync::Arc;

use super::group::ConsumerGroup;
use super::member::{Member, MemberState};
use crate::groups::Ctx;
use crate::groups::timers::{Timer, Timers};
use crate::wire::group_records::GroupRecord;

impl ConsumerGroup {
    /// A deadline of this group has come; those of another kind change nothing. The group may have become a classic one
    /// ([`ConsumerGroup::take_downgrade`]).
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>, timers: &mut Timers, timer: &Timer) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        match timer {
            Timer::Session(_, member_id)
            | Timer::ClassicJoin(_, member_id)
            | Timer::ClassicSync(_, member_id) => {
                self.fence_if_known(ctx, timers, &mut records, member_id);
            }
            Timer::Rebalance(_, member_id) => {
                let member = self.members.get(member_id);
                if member.is_some_and(|member| member.state == MemberState::UnrevokedPartitions) {
                    self.fence_if_known(ctx, timers, &mut records, member_id);
                }
            }
            Timer::Regex(_) => self.refresh_regexes(ctx, timers, &mut records),
            Timer::Join(_) | Timer::Sync(_) | Timer::Offsets => {}
        }
        records
    }

    /// All records of the log were replayed: members have a whole session to be heard of.
    pub fn loaded(&mut self, ctx: &mut Ctx<'_>, timers: &mut Timers) {
        self.on_topics_changed(ctx);
        let until_ms = ctx.now_ms.saturating_add(self.session_timeout_ms(ctx));
        for member in self.members.values() {
            timers.set(Timer::Session(self.id.clone(), member.id.clone()), until_ms);
            if member.state == MemberState::UnrevokedPartitions {
                self.watch_revocation(ctx, timers, member);
            }
        }
    }

    /// A member that has to give something back must do so within its rebalance timeout.
    pub(super) fn watch_revocation(&self, ctx: &Ctx<'_>, timers: &mut Timers, member: &Member) {
        let timer = Timer::Rebalance(self.id.clone(), member.id.clone());
        if member.state == MemberState::UnrevokedPartitions {
            timers.set(
                timer,
                ctx.now_ms.saturating_add(member.rebalance_timeout_ms.into()),
            );
        } else {
            timers.cancel(&timer);
        }
    }

    pub(super) fn cancel_timers(&self, timers: &mut Timers, member_id: &Arc<str>) {
        for timer in [
            Timer::Session,
            Timer::Rebalance,
            Timer::ClassicJoin,
            Timer::ClassicSync,
        ] {
            timers.cancel(&timer(self.id.clone(), member_id.clone()));
        }
    }

    fn fence_if_known(
        &mut self,
        ctx: &Ctx<'_>,
        timers: &mut Timers,
        records: &mut Vec<GroupRecord>,
        member_id: &Arc<str>,
    ) {
        if self.members.contains_key(member_id) {
            self.fence(ctx, timers, records, std::slice::from_ref(member_id));
        }
    }
}
