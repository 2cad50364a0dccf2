//! A shard against a model of it: random appends, reads, deletions, kills and clean stops, with little of everything.

use std::time::{Duration, Instant};

use ringlog_engine::batch::BatchBuilder;
use ringlog_engine::shard::*;

use crate::dir;
use crate::world::*;

/// xorshift64*: the same run for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A partition as it must be: what was appended, by offset; one record a batch.
#[derive(Default)]
struct Model {
    values: Vec<Vec<u8>>,
    /// Batches that are acknowledged: those behind may be lost by a kill.
    committed: usize,
    pending: Vec<(Ticket, usize)>,
    log_start: usize,
}

impl Model {
    fn note_committed(&mut self, ticket: Ticket) {
        while let Some(&(t, end)) = self.pending.first()
            && t <= ticket
        {
            self.committed = end;
            self.pending.remove(0);
        }
    }
}

/// The batch with the offset and epoch that the shard stamps are left out: all behind them.
const UNSTAMPED: usize = 16;

fn check_read(w: &mut World, model: &Model, slot: u32, offset: usize, max_bytes: usize, seed: u64) {
    let bytes = loop {
        match w.try_read(slot, offset as i64, max_bytes) {
            Err(ReadError::Busy) => w.turn(),
            other => break other.unwrap_or_else(|e| panic!("seed {seed}: {e:?}; {}", w.notices())),
        }
    };
    let headers = batches(&bytes);
    assert!(
        !headers.is_empty(),
        "seed {seed}: nothing at {offset} of {}",
        model.committed
    );
    let mut at = 0;
    for (i, header) in headers.iter().enumerate() {
        let size = header.size_bytes();
        assert_eq!(header.base_offset as usize, offset + i, "seed {seed}: dense");
        let same = bytes[at + UNSTAMPED..at + size] == model.values[offset + i][UNSTAMPED..];
        assert!(same, "seed {seed}: the bytes at {}", offset + i);
        at += size;
    }
}

fn run(seed: u64, until: Instant) {
    let mut random = Random(seed);
    let dir = dir();
    let partitions = 1 + random.below(6) as usize;
    let options = LogOptions {
        segment_bytes: 320_000 + random.below(1_000_000) as u32,
        index_interval_bytes: 1 << (8 + random.below(8)),
        ..LogOptions::default()
    };
    let setup = Setup {
        memory_bytes: (4 + random.below(8) as usize) << 20,
        journal_max_bytes: (4 + random.below(8)) << 20,
        checkpoint_idle_ms: 1 + random.below(200),
        options,
        partitions: (0..partitions).map(|i| format!("t-{i}")).collect(),
        cores: 1 + random.below(2) as usize,
        ..Setup::default()
    };
    let mut models: Vec<Model> = (0..partitions).map(|_| Model::default()).collect();
    while Instant::now() < until {
        let mut w = World::open(dir.path(), &setup);
        for (i, model) in models.iter_mut().enumerate() {
            let offsets = w.shard.offsets(Slot(i as u32)).unwrap();
            let end = offsets.log_end as usize;
            assert!(
                (model.committed..=model.values.len()).contains(&end),
                "seed {seed}: partition {i} ends at {end}, acknowledged {}, appended {}",
                model.committed,
                model.values.len()
            );
            assert_eq!(
                offsets.log_start as usize, model.log_start,
                "seed {seed}: partition {i}"
            );
            model.values.truncate(end);
            model.committed = end;
            model.pending.clear();
        }
        for _ in 0..20 + random.below(300) {
            step(&mut w, &mut models, &mut random, seed);
        }
        if random.below(3) == 0 {
            w.stop();
            models.iter_mut().for_each(|m| m.committed = m.values.len());
        }
    }
}

fn step(w: &mut World, models: &mut [Model], random: &mut Random, seed: u64) {
    let p = random.below(models.len() as u64) as usize;
    match random.below(20) {
        0..=12 => {
            let most = [200, 5_000, 60_000, 300_000][random.below(4) as usize];
            let value = vec![random.next() as u8; 100 + random.below(most - 100) as usize];
            let bytes = BatchBuilder::new()
                .timestamp(1000)
                .record(0, None, Some(&value))
                .finish();
            let appended = w.append(p as u32, &bytes);
            assert_eq!(
                appended.base_offset as usize,
                models[p].values.len(),
                "seed {seed}"
            );
            models[p].values.push(bytes);
            let end = models[p].values.len();
            models[p].pending.push((appended.ticket, end));
        }
        13..=17 => {
            let high = w.shard.offsets(Slot(p as u32)).unwrap().high_watermark as usize;
            let start = models[p].log_start;
            if high > start {
                let offset = start + random.below((high - start) as u64) as usize;
                let max_bytes = 1 << random.below(21);
                check_read(w, &models[p], p as u32, offset, max_bytes, seed);
            }
        }
        18 if random.below(8) == 0 && models[p].committed > models[p].log_start => {
            let start = models[p].log_start;
            let to = start + 1 + random.below((models[p].committed - start) as u64) as usize;
            let ticket = w.until(|w| {
                let deleted = w.shard.delete_records(&mut w.ring, Slot(p as u32), to as i64);
                deleted.ok().map(|(_, ticket)| ticket)
            });
            w.until(|w| (w.committed >= ticket).then_some(()));
            models[p].log_start = to;
        }
        _ => w.turn(),
    }
    let committed = w.committed;
    models.iter_mut().for_each(|m| m.note_committed(committed));
}

#[test]
fn whatever_happens_what_was_acknowledged_is_there_and_in_order() {
    let begun = Instant::now();
    let first = std::env::var("RINGLOG_SEED").ok().and_then(|s| s.parse().ok());
    for seed in first.map_or(1..7, |s: u64| s..s + 1) {
        let share = Duration::from_millis(1_500);
        run(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), Instant::now() + share);
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
}
