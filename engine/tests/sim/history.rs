//! What was appended, acknowledged, moved and made, and when, by the steps of the disk: what must be found after a power cut at any of
//! them, and what may.

use std::rc::Rc;

use ringlog_engine::shard::LogOptions;

/// Bytes of a batch that the shard stamps.
const STAMPED: usize = 16;

/// A batch that was appended.
#[derive(Clone, Debug)]
pub struct Value {
    /// Steps of the disk when it was.
    pub at: usize,
    pub base_offset: i64,
    pub end_offset: i64,
    pub bytes: Rc<[u8]>,
}

/// One partition's life. The numbers called `at` or first in a pair count steps of the disk.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    pub id: [u8; 16],
    pub options: LogOptions,
    pub asked_at: usize,
    pub made_at: Option<usize>,
    pub removed_at: Option<usize>,
    pub values: Vec<Value>,
    /// Log ends that were acknowledged.
    pub acknowledged: Vec<(usize, i64)>,
    /// Log starts that were asked for, and those that were acknowledged.
    pub starts_asked: Vec<(usize, i64)>,
    pub starts: Vec<(usize, i64)>,
}

/// What a restart found of a partition, by reading it as a client would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub start: i64,
    pub end: i64,
    /// Base offset and bytes of each batch from the one that holds `start` on.
    pub batches: Vec<(i64, Vec<u8>)>,
}

/// The topics a directory should have, in the same order as what was found of them.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub topics: Vec<Topic>,
    /// Recovery was done after so many steps.
    pub opened_at: usize,
    /// What holds before: another history, as of one of its steps.
    pub before: Option<(Rc<History>, usize)>,
}

fn latest(list: &[(usize, i64)], at: usize) -> i64 {
    list.iter().filter(|e| e.0 <= at).map(|e| e.1).max().unwrap_or(0)
}

impl Topic {
    pub fn new(name: String, id: [u8; 16], options: LogOptions, asked_at: usize) -> Topic {
        Topic {
            name,
            id,
            options,
            asked_at,
            made_at: None,
            removed_at: None,
            values: Vec::new(),
            acknowledged: Vec::new(),
            starts_asked: Vec::new(),
            starts: Vec::new(),
        }
    }

    /// End of the log as appended so far.
    pub fn end(&self) -> i64 {
        self.values.last().map_or(0, |v| v.end_offset)
    }

    /// The topic as it goes on after a restart at this step.
    fn resumed(&self, found: &Found, at: usize) -> Topic {
        let kept = self.values.iter().filter(|v| v.end_offset <= found.end);
        Topic {
            asked_at: 0,
            made_at: Some(at),
            removed_at: None,
            values: kept.map(|v| Value { at: 0, ..v.clone() }).collect(),
            // All that is served from now on is as good as acknowledged.
            acknowledged: vec![(at, found.end)],
            starts_asked: vec![(0, found.start)],
            starts: vec![(at, found.start)],
            ..self.clone()
        }
    }

    /// Whether what was found after a power cut at this step is right.
    fn judge(&self, found: Option<&Found>, at: usize) -> Result<(), String> {
        let is_made = self.made_at.is_some_and(|made| made <= at);
        let Some(found) = found else {
            return if is_made {
                Err("it was made, and is gone".into())
            } else {
                Ok(())
            };
        };
        let least = (latest(&self.starts, at), latest(&self.acknowledged, at));
        let appended = self.values.iter().filter(|v| v.at <= at);
        let most = (
            latest(&self.starts_asked, at),
            appended.clone().map(|v| v.end_offset).max().unwrap_or(0),
        );
        let (start, end) = (found.start, found.end);
        if end < least.1 {
            return Err(format!("it ends at {end}, and {} was acknowledged", least.1));
        }
        if end > most.1.max(least.1) {
            return Err(format!("it ends at {end}, and only {} was appended", most.1));
        }
        if start < least.0 || start > most.0.max(least.0) {
            return Err(format!(
                "it starts at {start}, and may from {} to {}",
                least.0, most.0
            ));
        }
        if self.options.compaction.is_some() {
            let appended: Vec<&Value> = appended.collect();
            return crate::compaction::judge(&appended, found);
        }
        let expected = appended.filter(|v| v.end_offset > start && v.base_offset < end);
        let mut batches = found.batches.iter();
        for value in expected {
            let Some((base_offset, bytes)) = batches.next() else {
                return Err(format!("nothing is read at {}", value.base_offset));
            };
            if *base_offset != value.base_offset || bytes[STAMPED..] != value.bytes[STAMPED..] {
                return Err(format!(
                    "another record than was appended is read at {base_offset}, {} expected",
                    value.base_offset
                ));
            }
        }
        match batches.next() {
            Some((offset, _)) => Err(format!("a batch at {offset} was never appended")),
            None => Ok(()),
        }
    }
}

impl History {
    /// The topics that the metadata has at this step; also those whose folder is still being made.
    pub fn topics_at(&self, at: usize) -> Vec<Topic> {
        match &self.before {
            Some((before, before_at)) if at < self.opened_at => before.topics_at(*before_at),
            _ => {
                let is_there =
                    |t: &&Topic| t.asked_at <= at && t.removed_at.is_none_or(|removed| at < removed);
                self.topics.iter().filter(is_there).cloned().collect()
            }
        }
    }

    /// Whether what a restart found of [`History::topics_at`] is right.
    pub fn judge(&self, found: &[Option<Found>], at: usize) -> Result<(), String> {
        if let Some((before, before_at)) = &self.before
            && at < self.opened_at
        {
            return before.judge(found, *before_at);
        }
        for (topic, found) in self.topics_at(at).iter().zip(found) {
            topic
                .judge(found.as_ref(), at)
                .map_err(|wrong| format!("{}: {wrong}", topic.name))?;
        }
        Ok(())
    }

    /// The history of a life that began at this step and found this.
    pub fn resumed(self: &Rc<History>, at: usize, found: &[Option<Found>], opened_at: usize) -> History {
        let empty = Found {
            start: 0,
            end: 0,
            batches: Vec::new(),
        };
        let topics = self.topics_at(at);
        let resumed = |(topic, found): (&Topic, &Option<Found>)| {
            topic.resumed(found.as_ref().unwrap_or(&empty), opened_at)
        };
        History {
            topics: topics.iter().zip(found).map(resumed).collect(),
            opened_at,
            before: Some((self.clone(), at)),
        }
    }
}
