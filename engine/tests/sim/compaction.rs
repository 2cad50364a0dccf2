//! Compacted topics in a life: batches of few keys, passes of the cleaner, and what must be found after a power cut: the newest value of each key, and nothing
//! that was not appended.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringlog_engine::batch::{BatchBuilder, BatchHeader};
use ringlog_engine::cleaner::CleanerSettings;
use ringlog_engine::shard::Compaction;
use ringlog_records::{Batches, DEFAULT_MAX_UNPACKED_BYTES};

use crate::history::{Found, Value};
use crate::life::{Life, Side};
use crate::random::Random;

/// Keys of a topic.
const KEYS: u64 = 12;

/// Memory for so few keys that a pass does not always come to the end of what is dirty.
pub fn cleaner() -> CleanerSettings {
    CleanerSettings {
        threads: 1,
        dedupe_buffer_bytes: 24 * 10,
        io_buffer_bytes: 16 << 10,
        ..CleanerSettings::default()
    }
}

pub fn rules(random: &mut Random) -> Compaction {
    Compaction {
        min_cleanable_ratio: random.pick(&[0.0, 0.0, 0.3]),
        min_lag_ms: random.pick(&[0, 0, 0, 20]),
        delete_retention_ms: random.pick(&[0, 10, 3_600_000]),
        ..Compaction::default()
    }
}

/// A batch of some keys, some of them deleted.
pub fn value(random: &mut Random, most_bytes: usize) -> Vec<u8> {
    let most = random.pick(&[400, 400, 1_000, 3_000]);
    let records = random.pick(&[1, 1, 1, 2, 3]);
    let bytes = (20 + random.below(most) as usize).min(most_bytes - 400);
    let mut batch = BatchBuilder::new().timestamp(1_000_000);
    for _ in 0..records {
        let key = random.below(KEYS).to_string();
        let value: Vec<u8> = std::iter::repeat_with(|| random.next().to_le_bytes())
            .take(bytes.div_ceil(8 * records))
            .flatten()
            .collect();
        let value = (!random.percent(20)).then_some(value);
        batch = batch.record(0, Some(key.as_bytes()), value.as_deref());
    }
    batch.finish()
}

/// Offset, key and value of each record.
type Records = BTreeMap<i64, (Vec<u8>, Option<Vec<u8>>)>;

/// The records of a batch; they stand at these offsets where it has this base offset.
fn records(bytes: &[u8], base_offset: i64) -> Result<Records, String> {
    let mut stored = bytes.to_vec();
    stored[..8].copy_from_slice(&base_offset.to_be_bytes());
    let mut found = Records::new();
    for batch in Batches::new(Bytes::from(stored)) {
        let batch = batch.map_err(|e| e.to_string())?;
        let all = batch.records(DEFAULT_MAX_UNPACKED_BYTES);
        for record in all.map_err(|e| e.to_string())? {
            let record = record.map_err(|e| e.to_string())?;
            let key = record.key.map(|key| key.to_vec()).unwrap_or_default();
            found.insert(record.offset, (key, record.value.map(|value| value.to_vec())));
        }
    }
    Ok(found)
}

fn appended_records<'a>(values: impl IntoIterator<Item = &'a Value>) -> Result<Records, String> {
    let mut all = Records::new();
    for value in values {
        all.append(&mut records(&value.bytes, value.base_offset)?);
    }
    Ok(all)
}

/// Whether what was read is what was appended, as far as it is there.
pub fn check_batch(values: &[Value], header: &BatchHeader, bytes: &[u8]) -> Result<(), String> {
    let overlapping = values
        .iter()
        .filter(|v| v.base_offset <= header.last_offset() && v.end_offset > header.base_offset);
    let appended = appended_records(overlapping)?;
    for (offset, record) in records(bytes, header.base_offset)? {
        if appended.get(&offset) != Some(&record) {
            return Err(format!("another record is read at {offset}"));
        }
    }
    Ok(())
}

/// Whether what was found is a legal rest of what was appended.
pub fn judge(appended: &[&Value], found: &Found) -> Result<(), String> {
    let there = found.start..found.end;
    let mut appended = appended_records(appended.iter().copied())?;
    appended.retain(|offset, _| *offset < found.end);
    let mut left = Records::new();
    for (base_offset, bytes) in &found.batches {
        left.append(&mut records(bytes, *base_offset)?);
    }
    for (offset, record) in &left {
        if appended.get(offset) != Some(record) {
            return Err(format!("a record at {offset} was never appended"));
        }
    }
    let mut newest: BTreeMap<&[u8], (i64, bool)> = BTreeMap::new();
    for (offset, (key, value)) in &appended {
        newest.insert(key, (*offset, value.is_some()));
    }
    for (key, (offset, is_value)) in newest {
        let key_text = String::from_utf8_lossy(key);
        let is_found = left.contains_key(&offset);
        if is_value && !is_found && there.contains(&offset) {
            return Err(format!(
                "the newest value of key {key_text}, at {offset}, is gone"
            ));
        }
        let older = left.iter().find(|(at, record)| **at < offset && record.0 == key);
        if let (false, false, Some((at, _))) = (is_value, is_found, older)
            && there.contains(&offset)
        {
            return Err(format!(
                "key {key_text} was deleted at {offset}, and is there again at {at}"
            ));
        }
    }
    Ok(())
}

impl Life {
    /// Some core looks for what is to be cleaned; the cleaner may do what waits already.
    pub fn clean_somewhere(&mut self) {
        if !self.compacting {
            return;
        }
        let core = self.random.below(self.sides.len() as u64) as usize;
        let Side { machine, shard, .. } = &mut self.sides[core];
        shard.check_cleaning(machine);
        for _ in 0..self.random.below(6) {
            self.turn();
        }
        if self.random.percent(50) {
            self.cleaning.run_one();
        }
    }
}
