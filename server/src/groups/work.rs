//! What a group may touch while it answers: the world, the deadlines, and what follows.

use crate::wire::group_records::GroupRecord;

use super::timers::{Timer, Timers};
use super::{Ctx, GroupResponse, Step};

/// One step of a coordinator under way.
pub struct Work<'a, 'c, T> {
    /// The world.
    pub ctx: &'a mut Ctx<'c>,
    /// The coordinator's deadlines.
    pub timers: &'a mut Timers,
    /// What follows so far.
    pub step: &'a mut Step<T>,
}

impl<T> Work<'_, '_, T> {
    /// Answers a request.
    pub fn reply(&mut self, to: T, response: GroupResponse) {
        self.step.replies.push((to, response));
    }

    /// Appends a record.
    pub fn append(&mut self, record: GroupRecord) {
        self.step.records.push(record);
    }

    /// Sets a deadline from now on. What has passed already is due at once.
    pub fn set(&mut self, timer: Timer, after_ms: i32) {
        self.timers
            .set(timer, self.ctx.now_ms.saturating_add(i64::from(after_ms)));
    }
}
