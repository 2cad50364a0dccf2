//! A made-up broker and the figures of a load on it.

use std::collections::BTreeMap;

use crate::report::figures::{cpu_s_per_gib, machine_use};
use crate::report::latency::{Second, heat_bucket, heat_edges_us, latency, new_histogram, worst};
use crate::report::model::*;

/// A small generator, so that a report is the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A normal deviate.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.next().max(1e-12).ln()).sqrt() * (self.next() * std::f64::consts::TAU).cos()
    }
}

/// What a made-up broker is like.
#[derive(Clone, Copy)]
pub(super) struct Broker {
    pub(super) seed: u64,
    pub(super) median_us: f64,
    pub(super) sigma: f64,
    /// A stall this long at second 14; zero for none.
    pub(super) stall_ms: f64,
    pub(super) rate: f64,
    pub(super) seconds: usize,
    pub(super) cpu_s_per_gib: f64,
    pub(super) rss_mib: u64,
}

impl Broker {
    /// One measured load; `distributions` besides the uncorrected one.
    pub(super) fn step(self, label: &str, distributions: &[&str]) -> Step {
        let mut random = Random(self.seed);
        let per_second: Vec<u64> = (0..self.seconds)
            .map(|_| (self.rate * (1.0 + random.normal() * 0.004)) as u64)
            .collect();
        let records = per_second.iter().sum::<u64>();
        let bytes = records * 1024;
        let mut latencies = BTreeMap::new();
        for (at, name) in distributions.iter().enumerate() {
            latencies.insert(
                (*name).to_owned(),
                self.latency(1.0 + at as f64 * 0.35, self.stall_ms),
            );
        }
        latencies.insert("ack_service".to_owned(), self.latency(0.9, 0.0));
        let flow = Flow {
            records,
            bytes,
            wire_bytes: bytes + records * 9,
            requests: records / 16,
            records_per_s: records as f64 / self.seconds as f64,
            mib_per_s: bytes as f64 / self.seconds as f64 / f64::from(1 << 20),
            per_second,
            errors: BTreeMap::new(),
        };
        Step {
            label: label.to_owned(),
            offered_per_s: Some(self.rate),
            seconds: self.seconds as f64,
            consumed: distributions.contains(&"end_to_end").then(|| flow.clone()),
            produced: Some(flow.clone()),
            latencies,
            schedule: Some(Schedule {
                intended: records,
                late_by_broker: records / 900,
                ..Default::default()
            }),
            ledger: Some(super::passed(records)),
            machine: Some(machine_use(
                self.cpu_s_per_gib * 1.1 * bytes as f64 / f64::from(1 << 30),
                Some(&flow),
            )),
            broker: Some(self.used(bytes, self.cpu_s_per_gib, &mut random)),
            client: Broker { rss_mib: 64, ..self }.used(bytes, 0.21, &mut random),
            events: self.events(),
            ..Step::default()
        }
    }

    fn events(self) -> Vec<Event> {
        match self.stall_ms > 0.0 {
            true => vec![Event {
                at_s: 14.0,
                what: "an answer took longer than 100 ms".to_owned(),
            }],
            false => Vec::new(),
        }
    }

    fn latency(self, slower: f64, stall_ms: f64) -> Latency {
        let mut random = Random(self.seed + (slower * 100.0) as u64);
        let mut histogram = new_histogram();
        let mut columns = Vec::new();
        let mut seconds = Vec::new();
        for second in 0..self.seconds {
            let mut column = BTreeMap::<u64, u64>::new();
            let mut kept = Second::default();
            for at in 0..2_000 {
                let mut us = self.median_us * slower * (random.normal() * self.sigma).exp();
                us *= if random.next() < 0.004 {
                    1.0 + random.next() * 9.0
                } else {
                    1.0
                };
                let waited_ms = stall_ms - f64::from(at) / 2.0;
                let stalled = second == 14 && waited_ms > 0.0;
                let ns = ((us + if stalled { waited_ms * 1e3 } else { 0.0 }) * 1e3) as u64;
                histogram.saturating_record_n(ns, 25);
                kept.record(ns, 25);
                *column.entry(heat_bucket(ns) as u64).or_default() += 25;
            }
            seconds.push(kept);
            columns.push(
                column
                    .into_iter()
                    .map(|(bucket, count)| [bucket, count])
                    .collect(),
            );
        }
        let heat = Heat {
            interval_s: 1.0,
            edges_us: heat_edges_us(),
            columns,
        };
        Latency {
            worst_second: worst(&seconds),
            ..latency(&histogram, heat)
        }
    }

    fn used(self, bytes: u64, per_gib: f64, random: &mut Random) -> ProcessUse {
        let total_s = per_gib * bytes as f64 / (1u64 << 30) as f64;
        let cores = total_s / self.seconds as f64;
        let mib = self.rss_mib as f64;
        let mut sample = |second: usize| {
            [
                second as f64,
                cores * (1.0 + random.normal() * 0.06),
                mib * (0.9 + second as f64 * 0.003),
            ]
        };
        let mut used = ProcessUse {
            pid: 4_242,
            user_s: total_s * 0.6,
            system_s: total_s * 0.4,
            cpu_s_per_gib: None,
            rss_bytes: self.rss_mib << 20,
            peak_rss_bytes: self.rss_mib << 20,
            context_switches: bytes / 20_000,
            disk_write_bytes: bytes + bytes / 90,
            disk_read_bytes: 0,
            samples: (0..self.seconds).map(&mut sample).collect(),
        };
        used.cpu_s_per_gib = cpu_s_per_gib(&used, bytes);
        used
    }
}
