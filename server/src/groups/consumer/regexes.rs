//! Subscriptions by regular expression: which topics they match is looked up now and then, not at each heartbeat.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use super::Refusal;
use super::group::{ConsumerGroup, image_version};
use super::index::Resolved;
use super::member::Member;
use crate::groups::Ctx;
use crate::groups::timers::{Timer, Timers};
use crate::wire::code::ErrorCode;
use crate::wire::group_records::GroupRecord;

/// Between two look-ups of a group pass at least so many milliseconds.
const MIN_REFRESH_INTERVAL_MS: i64 = 10_000;
/// Expressions that are looked up in one step.
const REGEXES_AT_ONCE: usize = 8;
/// What a compiled expression, and the cache of one that is being matched, may take in memory.
const MAX_COMPILED_BYTES: usize = 1024 * 1024;
/// How often a part of an expression may be asked to repeat, as in RE2.
const MAX_REPEATS: u32 = 1_000;
/// How deep an expression may be nested.
const MAX_NESTING: u32 = 100;

impl ConsumerGroup {
    /// Refuses a member that comes with an expression that nobody has yet, if it is none.
    pub(super) fn refuse_new_regex_if_invalid(
        &self,
        before: &Member,
        updated: &Member,
    ) -> Result<(), Refusal> {
        match updated.regex() {
            Some(regex) if before.regex() != Some(regex) && !self.index.regexes.contains_key(regex) => {
                let reason = match compile(regex) {
                    Ok(_) if repeats_too_often(regex) => "invalid repeat count".to_owned(),
                    Ok(_) => return Ok(()),
                    Err(error) => reason(&error),
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
    let Ok(regex) = compile(regex) else {
        return Default::default();
    };
    let names = ctx.image.topics().map(|topic| topic.name.as_ref());
    names
        .filter(|name| regex.is_match(name))
        .map(str::to_owned)
        .collect()
}

/// An expression that must match a whole name. One that ends in a comment needs a line break before what follows.
fn compile(regex: &str) -> Result<Regex, regex::Error> {
    let regex = without_quotes(regex);
    limited(&regex)?;
    limited(&format!("\\A(?:{regex})\\z")).or_else(|_| limited(&format!("\\A(?:{regex}\n)\\z")))
}

fn limited(regex: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(regex)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .nest_limit(MAX_NESTING)
        .build()
}

/// `\Q…\E`, which RE2 has and the library has not, as single escapes.
fn without_quotes(regex: &str) -> String {
    let mut out = String::with_capacity(regex.len());
    let mut chars = regex.chars();
    while let Some(char) = chars.next() {
        match (char, chars.as_str().chars().next()) {
            ('\\', Some('Q')) => {
                let rest = &chars.as_str()[1..];
                let (quoted, after) = rest.split_once("\\E").unwrap_or((rest, ""));
                out.push_str(&regex::escape(quoted));
                chars = after.chars();
            }
            ('\\', Some(escaped)) => {
                chars.next();
                out.extend([char, escaped]);
            }
            _ => out.push(char),
        }
    }
    out
}

/// Whether a repetition asks for more than RE2 allows. A class of characters may hold what looks like one; nobody misses it.
fn repeats_too_often(regex: &str) -> bool {
    let regex = without_quotes(regex);
    let mut parts = regex.split('{');
    let mut escaped = is_escaped(parts.next().unwrap_or_default());
    for part in parts {
        let counts = part.split_once('}').map_or("", |(counts, _)| counts);
        let too_many = |count: &str| {
            let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
            digits && count.parse().map_or(true, |count: u32| count > MAX_REPEATS)
        };
        if !escaped && counts.split(',').any(too_many) {
            return true;
        }
        escaped = is_escaped(part);
    }
    false
}

/// Whether what follows the text is escaped by its end.
fn is_escaped(text: &str) -> bool {
    text.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// The last line of an error, which is its reason: those before draw the expression.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
