//! `lookup`: a log is filled to one size after the other, and at each of them single batches are fetched at random offsets, one at a
//! time, after the page cache was dropped.

use std::time::Instant;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest};

use super::Context;
use super::consume::fill;
use super::stage::{Stage, talk};
use crate::client::admin::topic_name;
use crate::client::connection::{Connection, check};
use crate::error::Error;
use crate::load::batch::{Batches, intact};
use crate::load::settings::Settings;
use crate::load::text::Text;
use crate::measure::ProcessSampler;
use crate::measure::page_cache::drop_page_cache;
use crate::report::latency::{latency, new_histogram};
use crate::report::model::{Event, Heat, LedgerResult, Step};
use crate::report::units;

const DEFAULT_MIB: [u64; 3] = [64, 256, 1024];
const DEFAULT_LOOKUPS: u64 = 1000;
/// Newest Fetch that names topics.
const FETCH_VERSION: i16 = 12;
/// Less than any batch: brokers then send one, whole (KIP-74).
const MAX_BYTES: i32 = 1;
const MAX_NOTES: usize = 12;

/// One step a size.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let mut settings = context.settings.clone();
    let stage = Stage::open(context, &mut settings, false)?;
    let sizes = context.flags.steps.clone();
    let mut sizes = sizes.unwrap_or_else(|| DEFAULT_MIB.to_vec());
    sizes.sort_unstable();
    let mut held_mib = 0;
    for mib in sizes {
        if context.console.interrupted() {
            break;
        }
        fill(context, &stage, &settings, mib - held_mib)?;
        held_mib = mib;
        steps.push(step(context, &stage, &settings, mib)?);
    }
    stage.close();
    Ok(())
}

fn step(context: &mut Context<'_>, stage: &Stage, settings: &Settings, mib: u64) -> Result<Step, Error> {
    let label = units::bytes(mib << 20);
    let ends = stage.ends()?;
    let mut events = Vec::new();
    if let Err(error) = drop_page_cache() {
        let what = error.to_string();
        events.push(Event { at_s: 0.0, what });
    }
    let lookups = context.flags.lookups.unwrap_or(DEFAULT_LOOKUPS);
    context.console.begin(&format!("{label}: looking up"), None, None);
    let broker = context.target.pid.and_then(|pid| ProcessSampler::start(pid).ok());
    let begun = Instant::now();
    let mut lookup = Lookup {
        stage,
        random: Text::new(mib + 1),
        histogram: new_histogram(),
        ledger: LedgerResult {
            checked: true,
            passed: true,
            ..LedgerResult::default()
        },
    };
    let looked = talk(lookup.run(lookups, &ends));
    context.console.end();
    looked?;
    let mut step = Step {
        label,
        x: (mib << 20) as f64,
        seconds: begun.elapsed().as_secs_f64(),
        events,
        broker: broker.map(|sampler| sampler.finish(None)),
        ..Step::default()
    };
    if let Some(broker) = &step.broker {
        let read = broker.disk_read_bytes as f64 / lookups.max(1) as f64;
        step.figures.insert("read_per_lookup_bytes".into(), read);
    }
    let records = ends
        .iter()
        .zip(&stage.starts)
        .map(|(end, start)| (end - start) as f64)
        .sum::<f64>();
    step.figures
        .insert("log_bytes".into(), records * settings.record_bytes as f64);
    let heat = Heat {
        interval_s: 1.0,
        ..Heat::default()
    };
    step.latencies
        .insert("fetch".into(), latency(&lookup.histogram, heat));
    step.ledger = Some(lookup.ledger);
    Ok(step)
}

struct Lookup<'a> {
    stage: &'a Stage,
    random: Text,
    histogram: hdrhistogram::Histogram<u64>,
    ledger: LedgerResult,
}

impl Lookup<'_> {
    async fn run(&mut self, lookups: u64, ends: &[i64]) -> Result<(), Error> {
        let partitions = &self.stage.topic.partitions;
        let filled = partitions.iter().filter(|at| {
            let at = at.partition as usize;
            ends[at] > self.stage.starts[at]
        });
        let filled: Vec<_> = filled.copied().collect();
        if filled.is_empty() {
            return Err(Error::failed("there is nothing in the log to look up"));
        }
        let mut connections: Vec<(std::net::SocketAddr, Connection)> = Vec::new();
        for leader in self.stage.topic.by_leader().into_keys() {
            connections.push((leader, Connection::open(leader).await?));
        }
        for _ in 0..lookups {
            let at = filled[(self.random.random() % filled.len() as u64) as usize];
            let start = self.stage.starts[at.partition as usize];
            let held = (ends[at.partition as usize] - start) as u64;
            let offset = start + (self.random.random() % held) as i64;
            let connection = connections.iter_mut().find(|(leader, _)| *leader == at.leader);
            if let Some((_, connection)) = connection {
                self.one(connection, at.partition, offset).await?;
            }
        }
        Ok(())
    }

    async fn one(&mut self, connection: &mut Connection, partition: i32, offset: i64) -> Result<(), Error> {
        let asked = FetchPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(MAX_BYTES);
        let topic = FetchTopic::default()
            .with_topic(topic_name(&self.stage.topic.name))
            .with_partitions(vec![asked]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(0)
            .with_min_bytes(1)
            .with_max_bytes(MAX_BYTES)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let begun = Instant::now();
        let (answer, _) = connection.call(&request, FETCH_VERSION).await?;
        let took_ns = begun.elapsed().as_nanos() as u64;
        self.histogram.saturating_record(took_ns);
        check("Fetch", answer.error_code, None)?;
        for data in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            check(&format!("Fetch at {offset}"), data.error_code, None)?;
            self.judge(partition, offset, data.records.as_deref().unwrap_or_default());
        }
        Ok(())
    }

    /// Whether what came begins with the batch that holds `offset`, as it was sent.
    fn judge(&mut self, partition: i32, offset: i64, section: &[u8]) {
        let found = Batches(section).next();
        let records = found
            .as_ref()
            .map_or(1, |(fetched, _)| u64::from(fetched.records.max(1)));
        let right = found.is_some_and(|(fetched, batch)| {
            let holds = (fetched.base_offset..fetched.next_offset).contains(&offset);
            let ledger = self.stage.ledger.as_ref();
            holds && ledger.is_none_or(|ledger| ledger.is_as_sent(partition, &fetched, intact(batch)))
        });
        self.ledger.acknowledged += records;
        if right {
            self.ledger.verified += records;
            return;
        }
        self.ledger.passed = false;
        self.ledger.lost += records;
        if self.ledger.notes.len() < MAX_NOTES {
            let note = format!("partition {partition}: not the batch that was written at offset {offset}");
            self.ledger.notes.push(note);
        }
    }
}
