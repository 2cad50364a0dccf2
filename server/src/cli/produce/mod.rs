//! `ringlog produce`: lines, files or one value to records, records to batches, batches to their leaders.

mod input;
mod partitioner;
mod sender;

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use ringlog_records::{BatchBuilder, NewRecord};

use super::args::ProduceArgs;
use super::client::Client;
use super::error::CliResult;
use super::output::{Output, fields};
use partitioner::Partitioner;
use sender::{Acknowledged, Sender};

/// Sends everything, then says what was acknowledged and where it is.
pub fn run(args: &ProduceArgs) -> CliResult<()> {
    let mut client = Client::connect(&args.connect)?;
    let partitioner = Partitioner::new(client.load_topic(&args.topic)?, args)?;
    let sender = Sender::new(client, args)?;
    let mut producing = Producing {
        args,
        partitioner,
        sender,
        waiting: BTreeMap::new(),
        waiting_bytes: 0,
        totals: Totals::default(),
    };
    let mut out = Output::stdout(args.connect.json);
    let sent = producing.all(&input::start(args), &mut out);
    // What was sent before a failure is sent: the totals are shown either way, the failure last.
    let shown = match sent.is_err() && producing.totals.records == 0 {
        true => Ok(()),
        false => producing.show_totals(&mut out),
    };
    sent.and(shown)
}

struct Producing<'a> {
    args: &'a ProduceArgs,
    partitioner: Partitioner,
    sender: Sender,
    waiting: BTreeMap<i32, BatchBuilder>,
    waiting_bytes: usize,
    totals: Totals,
}

impl Producing<'_> {
    fn all(&mut self, input: &Receiver<CliResult<NewRecord>>, out: &mut Output) -> CliResult<()> {
        while let Ok(first) = input.recv() {
            self.add(&first?, out)?;
            // Whatever else is there already goes along; nothing waits for what is not.
            while let Ok(record) = input.try_recv() {
                self.add(&record?, out)?;
            }
            self.send(out)?;
        }
        Ok(())
    }

    fn add(&mut self, record: &NewRecord, out: &mut Output) -> CliResult<()> {
        let partition = self.partitioner.choose(record.key.as_deref());
        let batch = self.waiting.entry(partition).or_default();
        let before = batch.size_bytes();
        batch.push(record);
        self.waiting_bytes += batch.size_bytes() - before;
        match self.waiting_bytes >= self.args.batch_bytes as usize {
            true => self.send(out),
            false => Ok(()),
        }
    }

    fn send(&mut self, out: &mut Output) -> CliResult<()> {
        let batches = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        self.partitioner.next_batch();
        let totals = &mut self.totals;
        let mut shown = Ok(());
        let sent = self.sender.send(batches, &mut |acknowledged| {
            totals.add(&acknowledged);
            if shown.is_ok() {
                shown = show(self.args, &acknowledged, out);
            }
        });
        sent.and(shown)
    }

    fn show_totals(&self, out: &mut Output) -> CliResult<()> {
        if !out.is_json() {
            out.text_line(&self.totals.headline(self.args, self.sender.is_idempotent()))?;
            for (partition, range) in &self.totals.partitions {
                out.text_line(&format!("  partition {partition}: {}", range.sentence()))?;
            }
        }
        out.flush()
    }
}

/// In JSON mode, one line for each batch as it is acknowledged.
fn show(args: &ProduceArgs, acknowledged: &Acknowledged, out: &mut Output) -> CliResult<()> {
    if !out.is_json() {
        return Ok(());
    }
    let mut shown = fields! {
        topic: args.topic.as_str(), partition: acknowledged.partition, records: acknowledged.records,
    };
    if let Some(base_offset) = acknowledged.base_offset {
        let last_offset = base_offset + i64::from(acknowledged.records) - 1;
        shown.extend(fields! { base_offset: base_offset, last_offset: last_offset });
    }
    out.json_line(&shown)?;
    out.flush()
}

#[derive(Debug, Default)]
struct Totals {
    records: u64,
    partitions: BTreeMap<i32, Range>,
}

#[derive(Debug, Default)]
struct Range {
    records: u64,
    /// First and last offset known.
    offsets: Option<(i64, i64)>,
}

impl Totals {
    fn add(&mut self, acknowledged: &Acknowledged) {
        self.records += u64::from(acknowledged.records.unsigned_abs());
        let range = self.partitions.entry(acknowledged.partition).or_default();
        range.records += u64::from(acknowledged.records.unsigned_abs());
        if let Some(base_offset) = acknowledged.base_offset {
            let last = base_offset + i64::from(acknowledged.records) - 1;
            range.offsets = Some((range.offsets.map_or(base_offset, |(first, _)| first), last));
        }
    }

    fn headline(&self, args: &ProduceArgs, idempotent: bool) -> String {
        let promise = match (args.acks, idempotent) {
            (0, _) => "acks=0: sent, and nobody said whether they arrived",
            (1, _) => "acks=1: the leader has them",
            (_, true) => "acks=all, idempotent: every in-sync replica has them once",
            (_, false) => "acks=all: every in-sync replica has them",
        };
        let records = if self.records == 1 { "record" } else { "records" };
        format!("{} {records} to {} ({promise})", self.records, args.topic)
    }
}

impl Range {
    fn sentence(&self) -> String {
        let records = if self.records == 1 {
            "1 record".to_owned()
        } else {
            format!("{} records", self.records)
        };
        match self.offsets {
            None => records,
            Some((first, last)) if first == last => format!("{records}, offset {first}"),
            Some((first, last)) => format!("{records}, offsets {first} to {last}"),
        }
    }
}
