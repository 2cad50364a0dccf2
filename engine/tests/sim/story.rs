//! What happens in a life: topics made, deleted and made again, batches of all sizes, log starts moved, reads, a clean stop.

use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::background::FileJob;
use ringlog_engine::batch::BatchBuilder;
use ringlog_engine::io::Durability;
use ringlog_engine::shard::*;
use ringlog_engine::spares::PREFIX;

use crate::history::{Topic, Value};
use crate::life::{Life, Promise, Setup, Side, create_job, whole_batches};
use crate::random::Random;

/// Most topics at a time.
const TOPICS: usize = 7;

/// Settings as the seed has them.
pub fn setup(random: &mut Random) -> Setup {
    let journal_bytes = random.pick(&[24, 24, 32, 48, 200]) << 10;
    Setup {
        journal_bytes,
        journal_max_bytes: random.pick(&[journal_bytes, journal_bytes, journal_bytes, 2 << 20]),
        checkpoint_idle_ms: random.pick(&[1, 5, 20, 100, 10_000]),
        memory_bytes: 16 << 20,
        spare_bytes: random.pick(&[0, 200_000, 4 << 20, 4 << 20]),
        spares_at_first: random.pick(&[0, 3, 8]),
        most_cores: 1 + random.below(3),
        restless: false,
        expiring: false,
        compacting: false,
        forgets_early: false,
    }
}

/// Spare files full of intact batches of another time: whatever is taken for a log's end, a batch stands there, or not far from it.
pub fn spares(random: &mut Random, count: u64) -> Vec<(String, Vec<u8>)> {
    let spare = |number| {
        let bytes = random.pick(&[8_192, 12_288, 28_672]);
        let mut content = Vec::new();
        for offset in 0.. {
            let mut batch = BatchBuilder::new().record(0, None, Some(b"of old")).finish();
            batch[..8].copy_from_slice(&(offset as i64).to_be_bytes());
            content.extend(batch);
            if content.len() > bytes {
                break;
            }
        }
        content.truncate(bytes);
        (format!("{PREFIX}{number}"), content)
    };
    (0..count).map(spare).collect()
}

fn options(random: &mut Random) -> LogOptions {
    LogOptions {
        segment_bytes: random.pick(&[12_000, 30_000, 90_000]),
        index_interval_bytes: random.pick(&[256, 2_000, 8_000]),
        durability: if random.percent(15) {
            Durability::Written
        } else {
            Durability::Synced
        },
        // By hand nobody waits so long; it is only another order in which things go.
        file_delete_delay: random.pick(&[Duration::ZERO, Duration::from_secs(60)]),
        ..LogOptions::default()
    }
}

/// All records have the time at which the machine began.
fn limits(random: &mut Random) -> Limits {
    Limits {
        ms: random.pick(&[-1, -1, 0, 20, 3_600_000]),
        bytes: random.pick(&[-1, 0, 8_000, 20_000, 20_000]),
    }
}

fn value(random: &mut Random, most_bytes: usize) -> Vec<u8> {
    let most = random.pick(&[40, 400, 400, 3_000, 3_000, 6_000, 6_000, 80_000]);
    let bytes = (20 + random.below(most) as usize).min(most_bytes - 300);
    let records = random.pick(&[1, 1, 1, 3]);
    let value: Vec<u8> = std::iter::repeat_with(|| random.next().to_le_bytes())
        .take(bytes.div_ceil(8 * records))
        .flatten()
        .collect();
    let new = BatchBuilder::new().timestamp(1_000_000);
    (0..records)
        .fold(new, |batch, _| batch.record(0, None, Some(&value)))
        .finish()
}

impl Life {
    /// So many things happen, until something has failed for good.
    pub fn live(&mut self, steps: u64) -> Result<(), String> {
        for _ in 0..steps {
            if self.restless && self.random.percent(25) {
                self.go_to_and_fro()?;
            }
            if self.expiring && self.random.percent(20) {
                self.check_retention();
            }
            if self.compacting {
                (0..3).for_each(|_| self.append());
                self.clean_somewhere();
            }
            match self.random.below(100) {
                0..=4 => self.create(),
                5 => self.delete(),
                6..=8 => self.move_start(),
                9..=18 => self.check_a_read()?,
                19..=23 => {
                    // As one request may bring them.
                    for _ in 0..4 {
                        self.append();
                    }
                }
                24..=39 => self.append(),
                40..=59 => self.transact_somewhere(),
                60..=66 => self.go_elsewhere(),
                _ => (0..self.random.below(8)).for_each(|_| self.turn()),
            }
        }
        Ok(())
    }

    /// A few steps of a topic's producers.
    pub fn transact_somewhere(&mut self) {
        // What is left of transactions is for the cleaner's own tests.
        if self.compacting {
            return self.append();
        }
        let Some((topic, _)) = self.any_open() else {
            return;
        };
        for _ in 0..2 + self.random.below(6) {
            self.transact(topic);
        }
    }

    fn any_open(&mut self) -> Option<(usize, (usize, Slot))> {
        let open = self.slots.iter().enumerate();
        let open: Vec<_> = open.filter_map(|(i, slot)| Some((i, (*slot)?))).collect();
        (!open.is_empty()).then(|| self.random.pick(&open))
    }

    /// One topic, or several at once.
    pub fn create(&mut self) {
        let (count, most) = match self.compacting {
            true => (1, 2),
            false => (self.random.pick(&[1, 1, 6]), TOPICS),
        };
        for _ in 0..count {
            let is_there = |t: &Topic, name: &str| t.name == name && t.removed_at.is_none();
            let free = (0..most)
                .map(|i| format!("t-{i}"))
                .find(|name| !self.history.topics.iter().any(|t| is_there(t, name)));
            let Some(name) = free else { return };
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.random.next().to_le_bytes());
            let mut options = options(&mut self.random);
            if self.expiring {
                options.retention = limits(&mut self.random);
            }
            if self.compacting {
                options.compaction = Some(crate::compaction::rules(&mut self.random));
                options.segment_bytes = self.random.pick(&[3_000, 6_000, 12_000]);
            }
            let topic = Topic::new(name, id, options, self.position());
            let job = create_job(&self.dir, &topic);
            let token = self.history.topics.len() as u64;
            self.history.topics.push(topic);
            self.slots.push(None);
            self.background.submit(token, job, &self.inbox, None);
        }
    }

    fn delete(&mut self) {
        if let Some((topic, _)) = self.any_open() {
            self.delete_topic(topic);
        }
    }

    /// Deletes a topic, if it is open.
    pub fn delete_topic(&mut self, topic: usize) {
        let Some((core, slot)) = self.slots[topic] else {
            return;
        };
        let Side { machine, shard, .. } = &mut self.sides[core];
        shard.remove_partition(machine, slot);
        self.slots[topic] = None;
        let at = self.position();
        let unique = self.random.next();
        let deleted = &mut self.history.topics[topic];
        deleted.removed_at = Some(at);
        let job = FileJob::RemovePartition {
            folder: self.dir.join(&deleted.name),
            renamed: self.dir.join(format!("{}.{unique:016x}-delete", deleted.name)),
            delay: deleted.options.file_delete_delay,
        };
        self.background.submit(topic as u64, job, &self.inbox, None);
    }

    /// One topic goes elsewhere, is appended to there, goes on or back. Others may be on their way meanwhile.
    fn go_to_and_fro(&mut self) -> Result<(), String> {
        let Some((topic, _)) = self.any_open() else {
            return Ok(());
        };
        for _ in 0..1 + self.random.below(3) {
            let to = self.random.below(self.sides.len() as u64) as usize;
            self.depart(topic, to);
            self.until(|life| (life.failed.is_some() || life.slots[topic].is_some()).then_some(()))?;
            for _ in 0..self.random.below(3) {
                self.append_to(topic);
            }
        }
        Ok(())
    }

    fn go_elsewhere(&mut self) {
        if let Some((topic, _)) = self.any_open() {
            let to = self.random.below(self.sides.len() as u64) as usize;
            self.depart(topic, to);
        }
    }

    pub fn append(&mut self) {
        if let Some((topic, _)) = self.any_open() {
            self.append_to(topic);
        }
    }

    pub fn append_to(&mut self, topic: usize) {
        let Some((core, slot)) = self.slots[topic] else {
            return;
        };
        let most = self.history.topics[topic].options.segment_bytes as usize;
        let bytes = match self.compacting {
            true => crate::compaction::value(&mut self.random, most),
            false => value(&mut self.random, most),
        };
        // Who is refused tries again some time.
        for _ in 0..40 {
            let Side { machine, shard, .. } = &mut self.sides[core];
            match shard.append(machine, slot, &bytes) {
                Ok(appended) => return self.appended(topic, core, &appended, bytes),
                Err(AppendError::Busy) => self.turn(),
                Err(_) => return,
            }
        }
    }

    pub fn appended(&mut self, topic: usize, core: usize, appended: &Appended, bytes: Vec<u8>) {
        let at = self.position();
        let end_offset = appended.last_offset + 1;
        let there = &mut self.history.topics[topic];
        assert_eq!(
            appended.base_offset,
            there.end(),
            "{}: an offset twice, or none",
            there.name
        );
        there.values.push(Value {
            at,
            base_offset: appended.base_offset,
            end_offset,
            bytes: Rc::from(bytes),
        });
        if there.options.durability == Durability::Synced {
            self.promise(core, appended.ticket, Promise::End(topic, end_offset));
        }
    }

    fn move_start(&mut self) {
        let Some((topic, (core, slot))) = self.any_open() else {
            return;
        };
        let Some(offsets) = self.offsets((core, slot)) else {
            return;
        };
        let room = (offsets.high_watermark - offsets.log_start) as u64;
        let to = offsets.log_start + self.random.below(room + 1) as i64;
        let at = self.position();
        let Side { machine, shard, .. } = &mut self.sides[core];
        if let Ok((start, ticket)) = shard.delete_records(machine, slot, to) {
            self.started(topic, core, at, start, ticket);
        }
    }

    /// Some core looks for segments that have outlived their limits, in the turns that follow.
    fn check_retention(&mut self) {
        let core = self.random.below(self.sides.len() as u64) as usize;
        self.sides[core].shard.check_retention();
    }

    fn check_a_read(&mut self) -> Result<(), String> {
        let Some((topic, slot)) = self.any_open() else {
            return Ok(());
        };
        let Some(offsets) = self.offsets(slot) else {
            return Ok(());
        };
        let served = (offsets.high_watermark - offsets.log_start) as u64;
        if served == 0 {
            return Ok(());
        }
        let offset = offsets.log_start + self.random.below(served) as i64;
        let max_bytes = 1 << self.random.below(17);
        if self.random.percent(40) && !self.compacting {
            let name = self.history.topics[topic].name.clone();
            let checked = self.check_committed(topic, offset, max_bytes);
            return checked.map(drop).map_err(|wrong| format!("{name}: {wrong}"));
        }
        // A disk with faults may not give it; it gives nothing wrong.
        let Ok(bytes) = self.read(slot, offset, max_bytes) else {
            return Ok(());
        };
        for (header, bytes) in whole_batches(&bytes)? {
            let values = &self.history.topics[topic].values;
            if self.compacting {
                crate::compaction::check_batch(values, &header, &bytes)?;
                continue;
            }
            let value = values.iter().find(|v| v.base_offset == header.base_offset);
            if value.is_none_or(|v| v.bytes[16..] != bytes[16..]) {
                return Err(format!("another record is read at {}", header.base_offset));
            }
        }
        Ok(())
    }
}
