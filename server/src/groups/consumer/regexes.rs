//! Subscriptions by regular expression: which topics they match is looked up now and then, not at each heartbeat.

use std::collections::BTreeSet;

use super::Refusal;
use super::group::{ConsumerGroup, image_version};
use super::index::Resolved;
use super::member::Member;
use crate::expression;
use crate::groups::Ctx;
use crate::groups::timers::{Timer, Timers};
use crate::wire::code::ErrorCode;
use crate::wire::group_records::GroupRecord;

/// Between two look-ups of a group pass at least so many milliseconds.
const MIN_REFRESH_INTERVAL_MS: i64 = 10_000;
/// Expressions that are looked up in one step.
const REGEXES_AT_ONCE: usize = 8;

impl ConsumerGroup {
    /// Refuses a member that comes with an expression that nobody has yet, if it is none.
    pub(super) fn refuse_new_regex_if_invalid(
        &self,
        before: &Member,
        updated: &Member,
    ) -> Result<(), Refusal> {
        match updated.regex() {
            Some(regex) if before.regex() != Some(regex) && !self.index.regexes.contains_key(regex) => {
                let reason = match expression::compile(regex) {
                    Ok(_) => return Ok(()),
                    Err(reason) => reason,
                };
                Err(Refusal::new(
                    ErrorCode::InvalidRegularExpression,
                    format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {reason}."),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Sets the timer of a look-up, to run as soon as may be, when one is needed: there is an expression nobody has looked up, there are new topics, or
    /// the last one is long ago.
    pub(super) fn schedule_regexes(&self, ctx: &Ctx<'_>, timers: &mut Timers, new: bool, resolved: usize) {
        let timer = Timer::Regex(self.id.clone());
        if self.index.regexes.is_empty() || timers.is_set(&timer) {
            return;
        }
        let last = self.index.resolved.values().next();
        let age_ms = last.map_or(i64::MAX, |last| ctx.wall_ms.saturating_sub(last.timestamp_ms));
        if age_ms <= MIN_REFRESH_INTERVAL_MS {
            return;
        }
        let needed = new
            || self.index.regexes.len() != resolved
            || last.map_or(0, |last| last.version) < self.soft.topics_version
            || age_ms > ctx.settings.consumer_regex_refresh_interval_ms;
        if needed {
            timers.set(timer, ctx.now_ms);
        }
    }

    /// Looks up the expressions of the group, some at once: for the rest the timer is set again, so that a core has time for others in between.
    pub(super) fn refresh_regexes(
        &mut self,
        ctx: &Ctx<'_>,
        timers: &mut Timers,
        records: &mut Vec<GroupRecord>,
    ) {
        let mut changed = false;
        let is_fresh = |resolved: &Resolved| {
            let age_ms = ctx.wall_ms.saturating_sub(resolved.timestamp_ms);
            resolved.version >= image_version(ctx) && age_ms <= MIN_REFRESH_INTERVAL_MS
        };
        let due = |regex: &&String| !self.index.resolved.get(*regex).is_some_and(is_fresh);
        let mut regexes: Vec<String> = self
            .index
            .regexes
            .keys()
            .filter(due)
            .take(REGEXES_AT_ONCE + 1)
            .cloned()
            .collect();
        if regexes.len() > REGEXES_AT_ONCE {
            regexes.truncate(REGEXES_AT_ONCE);
            timers.set(Timer::Regex(self.id.clone()), ctx.now_ms);
        }
        for regex in regexes {
            let topics = matches(&regex, ctx);
            let before = self.index.resolved.get(&regex).map(|before| &before.topics);
            changed |= before.map_or(!topics.is_empty(), |before| *before != topics);
            let resolved = Resolved {
                topics,
                version: image_version(ctx),
                timestamp_ms: ctx.wall_ms,
            };
            let record = self.regex_record(&regex, Some(&resolved));
            self.write(records, record);
        }
        self.update_epoch(ctx, records, changed);
    }

    /// Forgets what an expression matches once nobody has it.
    pub(super) fn forget_regex_unless_wanted(&mut self, records: &mut Vec<GroupRecord>, regex: &str) {
        if !self.index.regexes.contains_key(regex) {
            let record = self.regex_record(regex, None);
            self.write(records, record);
        }
    }
}

/// The names of the topics that an expression matches as a whole. One that does not compile any more matches none.
fn matches(regex: &str, ctx: &Ctx<'_>) -> BTreeSet<String> {
    let Ok(regex) = expression::compile(regex) else {
        return Default::default();
    };
    let names = ctx.image.topics().map(|topic| topic.name.as_ref());
    names
        .filter(|name| regex.is_match(name))
        .map(str::to_owned)
        .collect()
}
