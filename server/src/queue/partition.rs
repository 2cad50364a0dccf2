//! One partition's part of its topic's queue, on the core that owns it.

use std::sync::Arc;

use super::full::Full;
use super::marks::Marks;
use super::topic::{GroupLag, TopicQueue};
use crate::config::queue::{MAX_BYTES, MAX_LAG, MAX_RECORDS, QueueLimits, WhenFull};

/// A segment as it is found: base offset and bytes.
pub type Extent = (i64, u64);

/// The log as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Oldest offset served.
    pub log_start: i64,
    /// Next offset to be given out.
    pub log_end: i64,
    /// Bytes of batches appended since the partition was opened on this core.
    pub appended_bytes: i64,
}

/// Where one group is, as far as this partition knows.
#[derive(Debug)]
struct Reader {
    group: Arc<GroupLag>,
    /// Of what its coordinator has told; 0 for nothing yet, then the group does not count.
    version: u64,
    committed: Option<i64>,
    counted: i64,
}

impl Reader {
    /// Where it is: offsets that are gone and such as do not exist yet are neither ahead nor behind.
    fn position(&self, view: &View) -> i64 {
        let committed = self.committed.unwrap_or(view.log_start);
        committed.max(view.log_start).min(view.log_end)
    }

    fn lag(&self, view: &View) -> i64 {
        match self.version {
            0 => 0,
            _ => view.log_end - self.position(view),
        }
    }

    /// What it counts from now on. True when that is less than before.
    fn count(&mut self, lag: i64) -> bool {
        let before = std::mem::replace(&mut self.counted, lag);
        self.group.add(lag - before);
        lag < before
    }
}

/// See the module's text. Dropping it takes what it counts out of the topic.
#[derive(Debug)]
pub struct PartitionQueue {
    topic: Arc<TopicQueue>,
    index: i32,
    /// None: it is counted, and not limited yet.
    limits: Option<QueueLimits>,
    /// Of the topic: an even share of the limits is what a partition keeps where the oldest go.
    partitions: i64,
    marks: Marks,
    /// What the marks' bytes are above [`View::appended_bytes`].
    before_bytes: i64,
    view: View,
    counted_bytes: i64,
    counted_records: i64,
    readers: Vec<Reader>,
    /// First offset of the newest batch.
    newest: i64,
}

impl PartitionQueue {
    /// Begins to count a partition as it is found.
    pub fn new(
        topic: Arc<TopicQueue>,
        index: i32,
        view: View,
        extents: impl Iterator<Item = Extent>,
    ) -> PartitionQueue {
        let mut queue = PartitionQueue {
            topic,
            index,
            limits: None,
            partitions: 1,
            marks: Marks::starting_at(view.log_start, 0),
            before_bytes: 0,
            view,
            counted_bytes: 0,
            counted_records: 0,
            readers: Vec::new(),
            newest: view.log_end,
        };
        queue.survey(view, extents);
        queue
    }

    /// Takes the bytes from the segments, because they have changed otherwise than at the ends. True when there are fewer.
    pub fn survey(&mut self, view: View, extents: impl Iterator<Item = Extent>) -> bool {
        let mut bytes = 0;
        let mut marks: Option<Marks> = None;
        for (base_offset, size_bytes) in extents {
            match &mut marks {
                None => marks = Some(Marks::starting_at(base_offset, 0)),
                Some(marks) => marks.push(base_offset, bytes),
            }
            bytes += i64::try_from(size_bytes).unwrap_or(i64::MAX);
        }
        self.marks = marks.unwrap_or(Marks::starting_at(view.log_start, 0));
        self.marks.push(view.log_end, bytes);
        self.before_bytes = bytes - view.appended_bytes;
        self.settle(view)
    }

    /// It is on another core now, which counts appended bytes anew.
    pub fn move_to(&mut self, view: View) {
        self.before_bytes += self.view.appended_bytes - view.appended_bytes;
        self.settle(view);
    }

    /// The topic it is of.
    pub fn topic(&self) -> &Arc<TopicQueue> {
        &self.topic
    }

    /// What holds from now on. The groups are known from now on; they count once their coordinators have told where they are.
    pub fn set_limits(&mut self, limits: Option<QueueLimits>, partitions: usize) {
        let names: &[Arc<str>] = limits.as_ref().map_or(&[], |limits| &limits.lag_groups);
        let groups = self.topic.set_groups(names);
        let is_same = |reader: &Reader, group: &Arc<GroupLag>| Arc::ptr_eq(&reader.group, group);
        self.readers.retain_mut(|reader| {
            let stays = groups.iter().any(|group| is_same(reader, group));
            if !stays {
                reader.count(0);
            }
            stays
        });
        for group in groups {
            if !self.readers.iter().any(|reader| is_same(reader, &group)) {
                self.readers.push(Reader {
                    group,
                    version: 0,
                    committed: None,
                    counted: 0,
                });
            }
        }
        self.limits = limits;
        self.partitions = i64::try_from(partitions.max(1)).unwrap_or(i64::MAX);
        self.settle(self.view);
    }

    /// Takes room for a batch, which [`PartitionQueue::settle`] gives back if it was not appended.
    ///
    /// # Errors
    /// There is none.
    pub fn take_room(&mut self, bytes: i64, records: i64) -> Result<(), Box<Full>> {
        let limits = self.limits.as_ref();
        let limits = limits.filter(|limits| limits.when_full != WhenFull::DropOldest);
        let most = |limit: Option<i64>| limit.unwrap_or(i64::MAX);
        let (max_bytes, max_records, max_lag) = limits.map_or((None, None, None), |limits| {
            (limits.max_bytes, limits.max_records, limits.max_lag)
        });
        if let Err(held) = self.topic.take_bytes(bytes, most(max_bytes)) {
            return Err(self.full(MAX_BYTES, max_bytes, held, bytes, None));
        }
        self.counted_bytes += bytes;
        if let Err(held) = self.topic.take_records(records, most(max_records)) {
            self.settle(self.view);
            return Err(self.full(MAX_RECORDS, max_records, held, records, None));
        }
        self.counted_records += records;
        let known = self.readers.iter_mut().filter(|reader| reader.version > 0);
        for reader in known {
            if let Err(held) = reader.group.take(records, most(max_lag)) {
                let group = reader.group.group().clone();
                self.settle(self.view);
                return Err(self.full(MAX_LAG, max_lag, held, records, Some(group)));
            }
            reader.counted += records;
        }
        Ok(())
    }

    fn full(
        &self,
        limit: &'static str,
        most: Option<i64>,
        held: i64,
        asked: i64,
        group: Option<Arc<str>>,
    ) -> Box<Full> {
        let most = most.unwrap_or(i64::MAX);
        let blocks = self
            .limits
            .as_ref()
            .is_some_and(|limits| limits.when_full == WhenFull::Block);
        Box::new(Full {
            topic: self.topic.name().clone(),
            limit,
            most,
            held,
            asked,
            group,
            // What is larger than the limit finds no room however long it waits.
            may_wait: blocks && asked <= most,
        })
    }

    /// Counts what is there. True when that is less than was counted before: who waits for room may have some.
    pub fn settle(&mut self, view: View) -> bool {
        let (end, bytes) = (view.log_end, self.before_bytes + view.appended_bytes);
        if end > self.view.log_end {
            self.newest = self.view.log_end;
        }
        self.marks.push(end, bytes);
        self.marks.forget_before(view.log_start);
        self.view = view;
        let bytes = (bytes - self.marks.bytes_before(view.log_start)).max(0);
        let records = (view.log_end - view.log_start).max(0);
        let (more_bytes, more_records) = (bytes - self.counted_bytes, records - self.counted_records);
        if (more_bytes, more_records) != (0, 0) {
            self.topic.add(more_bytes, more_records);
        }
        (self.counted_bytes, self.counted_records) = (bytes, records);
        let mut is_less = more_bytes < 0 || more_records < 0;
        for reader in &mut self.readers {
            if let Some((version, told)) = reader.group.told_since(reader.version) {
                reader.version = version;
                reader.committed = told.get(&self.index).copied().filter(|offset| *offset >= 0);
            }
            let lag = reader.lag(&view);
            is_less |= lag != reader.counted && reader.count(lag);
        }
        is_less
    }

    /// Where the log is to start so that the partition keeps to its share, if that is further on than now.
    pub fn trim_to(&self) -> Option<i64> {
        let limits = self.limits.as_ref()?;
        if limits.when_full != WhenFull::DropOldest {
            return None;
        }
        let share = |most: Option<i64>| most.map(|most| (most / self.partitions).max(1));
        let View {
            log_start, log_end, ..
        } = self.view;
        let mut wanted = log_start;
        if let Some(most) = share(limits.max_records) {
            wanted = wanted.max(log_end - most);
        }
        if let Some(most) = share(limits.max_bytes)
            && self.counted_bytes > most
        {
            wanted = wanted.max(self.marks.offset_after(self.marks.last().1 - most));
        }
        if let Some(most) = share(limits.max_lag) {
            let is_behind = |reader: &Reader| reader.lag(&self.view) > most;
            if self.readers.iter().any(is_behind) {
                wanted = wanted.max(log_end - most);
            }
        }
        let wanted = wanted.min(self.newest);
        (wanted > log_start).then_some(wanted)
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        self.topic.add(-self.counted_bytes, -self.counted_records);
        for reader in &mut self.readers {
            reader.count(0);
        }
    }
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
