//! One partition: what was sent to it and acknowledged, and what of that must, may and must not be there at a time.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::entry::{Entry, Written};
use super::marks::{Mark, Marks};
use super::read::Asked;
use super::rules::Rules;
use super::verdict::{Kind, Verdict};

/// About what a remembered record takes, with its share of the maps.
pub const RECORD_BYTES: usize = 160;
/// Clocks are read in whole milliseconds, at different places.
const MARGIN_MS: i64 = 100;
/// What is gone is remembered so long, as a question may have been asked before; an answer takes no longer.
const REMEMBERED_MS: i64 = 60_000;
/// Offsets of a block of [`Log::blocks`].
pub(super) const BLOCK: i64 = 1024;
/// Between two walks over what a compacted log keeps.
const WALK_MS: i64 = 1000;
/// Walks that are remembered.
const WALKS: usize = (REMEMBERED_MS / WALK_MS) as usize;

/// One partition. It must be written by one producer with one request at a time, and by nobody else.
#[derive(Debug)]
pub struct Log {
    pub(super) place: String,
    pub(super) rules: Rules,
    /// By offset: all that was sent and is not forgotten.
    pub(super) entries: BTreeMap<i64, Entry>,
    /// Newest offset of each key, in a compacted topic.
    newest: HashMap<u64, i64>,
    /// Offset after the last acknowledged record, and after the last one sent.
    pub(super) end: i64,
    pub(super) sent_end: i64,
    /// Bytes of all batches sent.
    sent_bytes: u64,
    last_ack_ms: i64,
    marks: Marks,
    /// The latest start of the log that was told, and when.
    pub(super) start: (i64, i64),
    /// Largest timestamp of each [`BLOCK`] offsets.
    pub(super) blocks: BTreeMap<i64, i64>,
    /// What answers showed to be gone, and when: to be forgotten.
    gone: VecDeque<(i64, i64)>,
    /// Of a topic that is compacted and has a retention: below which offset all had to be gone, and when that was found.
    walks: VecDeque<(i64, i64)>,
    overwritten: u64,
    cleaned: u64,
}

impl Log {
    /// An empty partition, called `place` in examples.
    pub fn new(place: String, rules: Rules) -> Log {
        Log {
            place,
            rules,
            entries: BTreeMap::new(),
            newest: HashMap::new(),
            end: 0,
            sent_end: 0,
            sent_bytes: 0,
            last_ack_ms: 0,
            marks: Marks::default(),
            start: (0, 0),
            blocks: BTreeMap::new(),
            gone: VecDeque::new(),
            walks: VecDeque::new(),
            overwritten: 0,
            cleaned: 0,
        }
    }

    /// Records remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Offsets that are remembered: the first, and the one after the last that was acknowledged.
    pub fn range(&self) -> (i64, i64) {
        let first = self.entries.keys().next().copied();
        (first.unwrap_or(self.end), self.end)
    }

    /// Records that a later one of their key has overwritten so far; and how many of these answers showed to be gone.
    pub fn overwritten(&self) -> (u64, u64) {
        (self.overwritten, self.cleaned)
    }

    /// The start of the log that was told last.
    pub fn start(&self) -> i64 {
        self.start.0
    }

    /// The timestamp of the first remembered record from an offset on.
    pub fn timestamp_from(&self, offset: i64) -> Option<i64> {
        let (_, entry) = self.entries.range(offset..).next()?;
        Some(entry.written.timestamp_ms)
    }

    /// A batch of `bytes` is about to be sent: from now on it may be there.
    pub fn sending(&mut self, records: &[Written], bytes: u64) {
        let before = self.sent_bytes;
        self.sent_bytes += bytes;
        for written in records {
            let offset = self.sent_end;
            self.sent_end += 1;
            if self.rules.compaction.is_some()
                && let Some(older) = self.newest.insert(written.key, offset)
                && let Some(older) = self.entries.get_mut(&older)
            {
                older.overwritten = Some((offset, written.timestamp_ms));
                self.overwritten += 1;
            }
            let largest = self.blocks.entry(offset / BLOCK).or_insert(i64::MIN);
            *largest = written.timestamp_ms.max(*largest);
            let entry = Entry {
                written: *written,
                acked_ms: i64::MAX,
                bytes_before: before,
                share_bytes: bytes / records.len().max(1) as u64,
                overwritten: None,
                gone_ms: i64::MAX,
                is_found: false,
                is_told: false,
            };
            self.entries.insert(offset, entry);
        }
    }

    /// What was sent last is acknowledged at an offset: from now on it must be there.
    pub fn acknowledged(&mut self, base_offset: i64, at_ms: i64, verdict: &mut Verdict) {
        let expected = self.end;
        if base_offset != expected {
            let place = &self.place;
            verdict.add(Kind::Reordered, || {
                format!("{place}: acknowledged at offset {base_offset}, and {expected} was the next")
            });
        }
        for (_, entry) in self.entries.range_mut(self.end..self.sent_end) {
            entry.acked_ms = at_ms;
        }
        verdict.acknowledged += (self.sent_end - self.end) as u64;
        (self.end, self.last_ack_ms) = (self.sent_end, at_ms);
        self.marks.add(Mark {
            at_ms,
            end: self.end,
            bytes: self.sent_bytes,
        });
    }

    /// Forgets what nobody can find any more. To be called about once a second.
    pub fn forget(&mut self, now_ms: i64) {
        self.walk(now_ms);
        let long_ago_ms = now_ms - REMEMBERED_MS;
        let line = self.line(long_ago_ms);
        while let Some((&offset, _)) = self
            .entries
            .first_key_value()
            .filter(|(offset, _)| **offset < line)
        {
            self.remove(offset);
        }
        while let Some(&(_, offset)) = self.gone.front().filter(|(gone_ms, _)| *gone_ms < long_ago_ms) {
            self.gone.pop_front();
            self.remove(offset);
        }
        self.marks.forget_below(line);
        let first = self.range().0;
        while self
            .blocks
            .first_key_value()
            .is_some_and(|(block, _)| (block + 1) * BLOCK <= first)
        {
            self.blocks.pop_first();
        }
    }

    fn remove(&mut self, offset: i64) {
        let Some(entry) = self.entries.remove(&offset) else {
            return;
        };
        if self.newest.get(&entry.written.key) == Some(&offset) {
            self.newest.remove(&entry.written.key);
        }
    }

    /// Whether something was sent and not acknowledged at some time between question and answer.
    pub(super) fn was_on_its_way(&self, at: Asked) -> bool {
        self.sent_end > self.end || self.last_ack_ms >= at.asked_ms
    }

    /// An answer showed that a record is not there, which is allowed.
    pub(super) fn is_gone(&mut self, offset: i64, at_ms: i64) {
        if let Some(entry) = self
            .entries
            .get_mut(&offset)
            .filter(|entry| entry.gone_ms == i64::MAX)
        {
            entry.gone_ms = at_ms;
            self.cleaned += u64::from(entry.overwritten.is_some());
            self.gone.push_back((at_ms, offset));
        }
    }

    /// Whether a record must be in the answer to a question.
    pub(super) fn must_be_there(&self, entry: &Entry, asked_ms: i64, answered_ms: i64) -> bool {
        entry.acked_ms < asked_ms && !self.may_be_gone(entry, answered_ms)
    }

    /// Whether something allows that a record is gone by then.
    fn may_be_gone(&self, entry: &Entry, at_ms: i64) -> bool {
        let (rules, at_ms) = (&self.rules, at_ms + MARGIN_MS);
        let age_ms = at_ms - entry.written.timestamp_ms;
        let by_age = rules
            .retention_ms
            .is_some_and(|retention_ms| age_ms > retention_ms);
        // a segment goes if what is left is no smaller than the limit
        let from_it = self.sent_bytes - entry.bytes_before;
        let by_size = rules.retention_bytes.is_some_and(|limit| from_it > limit);
        let by_cleaning = rules.compaction.is_some_and(|compaction| {
            let overwritten = entry.overwritten;
            let is_tombstone = entry.written.value_crc.is_none();
            overwritten.is_some_and(|(_, timestamp_ms)| at_ms >= timestamp_ms + compaction.min_lag_ms)
                || (is_tombstone && age_ms >= compaction.delete_retention_ms)
        });
        by_age || by_size || by_cleaning
    }

    /// Why a record had to be gone by then, if it had.
    pub(super) fn had_to_go(&self, offset: i64, entry: &Entry, at_ms: i64) -> Option<&'static str> {
        if offset < self.line(at_ms) {
            return Some("is past its retention");
        }
        // segments close, and are cleaned, while records come
        let at_ms = at_ms.min(self.last_ack_ms);
        let cleaned_ms = self.rules.cleaned_ms()?;
        let next = entry.overwritten.and_then(|(next, _)| self.entries.get(&next));
        if next.is_some_and(|next| at_ms > next.acked_ms.saturating_add(cleaned_ms)) {
            return Some("was overwritten long ago");
        }
        let tombstone_ms = self.rules.tombstone_gone_ms()?;
        let is_old = entry.written.value_crc.is_none() && at_ms > entry.acked_ms.saturating_add(tombstone_ms);
        is_old.then_some("is a tombstone of long ago")
    }

    /// Below which offset all had to be gone by then, by time and size.
    pub(super) fn line(&self, at_ms: i64) -> i64 {
        if self.merges() {
            let behind = self.walks.partition_point(|(found_ms, _)| *found_ms <= at_ms);
            let last = behind.checked_sub(1).and_then(|last| self.walks.get(last));
            return last.map_or(0, |(_, line)| *line);
        }
        let by_age = self
            .rules
            .gone_by_age_ms()
            .and_then(|age_ms| self.marks.at(at_ms - age_ms));
        let by_size = self.rules.retention_bytes.and_then(|limit| {
            let then = self.marks.at(at_ms - self.rules.gone_by_size_ms())?;
            // the oldest segment stays if less than the limit were left without it
            let above = then.bytes.checked_sub(limit + self.rules.segment_bytes)?;
            self.marks.with_bytes(above)
        });
        by_age.max_by_end(by_size)
    }

    /// Whether cleaned segments are put together, old records with younger ones, so that a segment's age says less of its oldest record.
    pub(super) fn merges(&self) -> bool {
        self.rules.cleaned_ms().is_some()
            && (self.rules.retention_ms.is_some() || self.rules.retention_bytes.is_some())
    }

    /// Finds from which offset on what cleaning leaves fills a segment, of all that is so old that any segment of it must be gone. A record
    /// counts with its share of the batch it was sent in, so that such a topic is to be written without compression, with values of one size.
    fn walk(&mut self, now_ms: i64) {
        let is_time = self
            .walks
            .back()
            .is_none_or(|(found_ms, _)| now_ms - found_ms >= WALK_MS);
        let Some(age_ms) = self.rules.gone_by_age_ms().filter(|_| is_time && self.merges()) else {
            return;
        };
        let mut left = self.rules.segment_bytes;
        let old = self.marks.at(now_ms - age_ms).map_or(0, |mark| mark.end);
        let mut line = self.walks.back().map_or(0, |(_, line)| *line);
        for (offset, entry) in self.entries.range(line..old.max(line)).rev() {
            if entry.overwritten.is_some() || entry.written.value_crc.is_none() {
                continue;
            }
            match left.checked_sub(entry.share_bytes) {
                Some(less) => left = less,
                None => {
                    line = offset + 1;
                    break;
                }
            }
        }
        self.walks.push_back((now_ms, line));
        if self.walks.len() > 2 * WALKS {
            self.walks.pop_front();
        }
    }
}

/// The later of two marks, as an offset.
trait Later {
    fn max_by_end(self, other: Option<Mark>) -> i64;
}

impl Later for Option<Mark> {
    fn max_by_end(self, other: Option<Mark>) -> i64 {
        let end = |mark: Option<Mark>| mark.map_or(0, |mark| mark.end);
        end(self).max(end(other))
    }
}
