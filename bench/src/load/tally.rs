//! What a thread counts while it runs, put together when all have ended.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::times::Times;
use crate::report::latency::{
    HEAT_BUCKETS, Second, heat_bucket, heat_edges_us, latency, new_histogram, worst,
};
use crate::report::model::{Event, Flow, Heat, Latency, Schedule};

/// A measurement shorter than this has a heat map of tenths of seconds.
const SHORT_NS: u64 = 30_000_000_001;

/// The part of a run that is measured, nanoseconds since the run's epoch, `[start, end)`. Before it is warm-up.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// First moment.
    pub start_ns: u64,
    /// First moment after; `u64::MAX` where the work's end ends it.
    pub end_ns: u64,
}

impl Window {
    /// Whether `at_ns` is measured.
    pub fn contains(&self, at_ns: u64) -> bool {
        (self.start_ns..self.end_ns).contains(&at_ns)
    }

    fn second(&self, at_ns: u64) -> usize {
        (at_ns.saturating_sub(self.start_ns) / 1_000_000_000) as usize
    }

    fn at_s(&self, at_ns: u64) -> f64 {
        (at_ns as f64 - self.start_ns as f64) / 1e9
    }
}

/// The distributions of a step; see [`crate::report::model::Step::latencies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// Due time to acknowledgement.
    Ack,
    /// Send to acknowledgement.
    AckService,
    /// Due time to whole fetch response.
    EndToEnd,
    /// Fetch request to whole response.
    Fetch,
    /// Begin of a transaction to its committed end.
    Transaction,
    /// EndTxn to its answer, of a commit.
    EndTxn,
    /// AddPartitionsToTxn to its answer.
    AddPartitions,
}

impl Tag {
    /// All of them.
    pub const ALL: [Tag; 7] = [
        Tag::Ack,
        Tag::AckService,
        Tag::EndToEnd,
        Tag::Fetch,
        Tag::Transaction,
        Tag::EndTxn,
        Tag::AddPartitions,
    ];

    /// Its name in the report and the `.hlog`.
    pub fn name(self) -> &'static str {
        match self {
            Tag::Ack => "ack",
            Tag::AckService => "ack_service",
            Tag::EndToEnd => "end_to_end",
            Tag::Fetch => "fetch",
            Tag::Transaction => "transaction",
            Tag::EndTxn => "end_txn",
            Tag::AddPartitions => "add_partitions",
        }
    }
}

/// Which of a step's flows records belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Acknowledged (at acks=0: sent).
    Produced,
    /// Read by consumers.
    Consumed,
    /// Read by the cold reader.
    Cold,
}

/// One distribution as it grows. Memory: one histogram (a quarter of a MiB), and a second one each second if `seconds` are kept.
struct Recorder {
    total: Histogram<u64>,
    each_second: Vec<Second>,
    columns: Vec<[u64; HEAT_BUCKETS]>,
    seconds: Option<Vec<Histogram<u64>>>,
}

impl Recorder {
    fn new(keep_seconds: bool) -> Recorder {
        let seconds = keep_seconds.then(Vec::new);
        Recorder {
            total: new_histogram(),
            each_second: Vec::new(),
            columns: Vec::new(),
            seconds,
        }
    }

    fn record(&mut self, (column, second): (usize, usize), value_ns: u64, count: u64) {
        self.total.saturating_record_n(value_ns, count);
        while self.columns.len() <= column {
            self.columns.push([0; HEAT_BUCKETS]);
        }
        self.columns[column][heat_bucket(value_ns)] += count;
        while self.each_second.len() <= second {
            self.each_second.push(Second::default());
        }
        self.each_second[second].record(value_ns, count);
        if let Some(seconds) = &mut self.seconds {
            while seconds.len() <= second {
                seconds.push(new_histogram());
            }
            seconds[second].saturating_record_n(value_ns, count);
        }
    }

    fn add(&mut self, other: &Recorder) {
        // all have the same bounds
        let _ = self.total.add(&other.total);
        for (at, column) in other.columns.iter().enumerate() {
            if self.columns.len() <= at {
                self.columns.push([0; HEAT_BUCKETS]);
            }
            for (sum, count) in self.columns[at].iter_mut().zip(column) {
                *sum += count;
            }
        }
        for (at, second) in other.each_second.iter().enumerate() {
            if self.each_second.len() <= at {
                self.each_second.push(Second::default());
            }
            self.each_second[at].add(second);
        }
        let (Some(seconds), Some(others)) = (&mut self.seconds, &other.seconds) else {
            return;
        };
        for (at, second) in others.iter().enumerate() {
            if seconds.len() <= at {
                seconds.push(new_histogram());
            }
            let _ = seconds[at].add(second);
        }
    }

    fn latency(&self, interval_ns: u64) -> Latency {
        Latency {
            worst_second: worst(&self.each_second),
            ..latency(&self.total, self.heat(interval_ns))
        }
    }

    fn heat(&self, interval_ns: u64) -> Heat {
        let sparse = |column: &[u64; HEAT_BUCKETS]| {
            let filled = column.iter().enumerate().filter(|(_, count)| **count > 0);
            filled.map(|(bucket, count)| [bucket as u64, *count]).collect()
        };
        Heat {
            interval_s: interval_ns as f64 / 1e9,
            edges_us: heat_edges_us(),
            columns: self.columns.iter().map(sparse).collect(),
        }
    }
}

#[derive(Default)]
struct Count {
    records: u64,
    bytes: u64,
    wire_bytes: u64,
    requests: u64,
    per_second: Vec<u64>,
    errors: BTreeMap<String, u64>,
    used: bool,
}

/// Transactions that ended within the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transactions {
    /// With a commit.
    pub committed: u64,
    /// With an abort.
    pub aborted: u64,
    /// Answers after which the same was asked again, by error name.
    pub retries: BTreeMap<String, u64>,
    /// That were due and never begun.
    pub unbegun: u64,
    /// Producers that gave up before their time; an event says why.
    pub given_up: u64,
}

/// Everything a thread counted.
pub struct Tally {
    window: Window,
    recorders: BTreeMap<Tag, Recorder>,
    counts: [Count; 3],
    /// Transactions.
    pub transactions: Transactions,
    /// How the schedule was kept.
    pub schedule: Schedule,
    /// What happened.
    pub events: Vec<Event>,
    /// When records last got through.
    pub last_flow_ns: u64,
    keep_seconds: bool,
    /// Width of the heat map's columns.
    column_ns: u64,
}

impl Tally {
    /// Nothing counted. `keep_seconds` keeps a histogram a second, for the `.hlog`.
    pub fn new(window: Window, keep_seconds: bool) -> Tally {
        Tally {
            window,
            recorders: BTreeMap::new(),
            counts: Default::default(),
            transactions: Transactions::default(),
            schedule: Schedule::default(),
            events: Vec::new(),
            last_flow_ns: window.start_ns,
            keep_seconds,
            column_ns: match window.end_ns - window.start_ns {
                SHORT_NS.. => 1_000_000_000,
                _ => 100_000_000,
            },
        }
    }

    /// The measured part.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Ends the measured part at `end_ns`, if it would have gone on.
    pub fn cut(&mut self, end_ns: u64) {
        self.window.end_ns = self.window.end_ns.min(end_ns.max(self.window.start_ns));
    }

    /// `count` values of `value_ns`, completed at `at_ns`.
    pub fn record(&mut self, tag: Tag, at_ns: u64, value_ns: u64, count: u64) {
        let place = self.place(at_ns);
        let keep = self.keep_seconds;
        let recorder = self.recorders.entry(tag).or_insert_with(|| Recorder::new(keep));
        recorder.record(place, value_ns, count);
    }

    /// One value for each of `times` that is in the window: from then to `at_ns`.
    pub fn record_since(&mut self, tag: Tag, at_ns: u64, times: &Times) {
        let (window, keep) = (self.window, self.keep_seconds);
        let place = self.place(at_ns);
        let recorder = self.recorders.entry(tag).or_insert_with(|| Recorder::new(keep));
        times.each(|due_ns, records| {
            if window.contains(due_ns) {
                recorder.record(place, at_ns.saturating_sub(due_ns), records);
            }
        });
    }

    /// The heat map's column and the second of a moment.
    fn place(&self, at_ns: u64) -> (usize, usize) {
        let since_ns = at_ns.saturating_sub(self.window.start_ns);
        ((since_ns / self.column_ns) as usize, self.window.second(at_ns))
    }

    /// Records that got through at `at_ns`, if that is in the window.
    pub fn flow(&mut self, stream: Stream, at_ns: u64, records: u64, bytes: u64, wire_bytes: u64) {
        let second = self.window.second(at_ns);
        let count = &mut self.counts[stream as usize];
        count.used = true;
        if !self.window.contains(at_ns) {
            return;
        }
        if records > 0 {
            self.last_flow_ns = self.last_flow_ns.max(at_ns);
        }
        count.records += records;
        count.bytes += bytes;
        count.wire_bytes += wire_bytes;
        if count.per_second.len() <= second {
            count.per_second.resize(second + 1, 0);
        }
        count.per_second[second] += records;
    }

    /// A request that got records through at `at_ns`, if that is in the window.
    pub fn request(&mut self, stream: Stream, at_ns: u64) {
        if self.window.contains(at_ns) {
            self.counts[stream as usize].requests += 1;
        }
    }

    /// Records that were refused or not answered.
    pub fn error(&mut self, stream: Stream, name: impl Into<String>, records: u64) {
        let count = &mut self.counts[stream as usize];
        count.used = true;
        *count.errors.entry(name.into()).or_default() += records;
    }

    /// Something that happened at `at_ns`.
    pub fn event(&mut self, at_ns: u64, what: impl Into<String>) {
        self.events.push(Event {
            at_s: self.window.at_s(at_ns),
            what: what.into(),
        });
    }

    /// Adds another thread's counts.
    pub fn add(&mut self, other: Tally) {
        for (tag, recorder) in &other.recorders {
            let keep = self.keep_seconds;
            let mine = self.recorders.entry(*tag).or_insert_with(|| Recorder::new(keep));
            mine.add(recorder);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            mine.add(theirs);
        }
        let (mine, theirs) = (&mut self.schedule, &other.schedule);
        mine.intended += theirs.intended;
        mine.late_by_client += theirs.late_by_client;
        mine.late_by_broker += theirs.late_by_broker;
        mine.unsent += theirs.unsent;
        mine.unanswered += theirs.unanswered;
        self.transactions.add(other.transactions);
        self.events.extend(other.events);
        self.last_flow_ns = self.last_flow_ns.max(other.last_flow_ns);
    }

    /// The distributions by name.
    pub fn latencies(&self) -> BTreeMap<String, Latency> {
        let named = self.recorders.iter();
        named
            .map(|(tag, recorder)| (tag.name().to_owned(), recorder.latency(self.column_ns)))
            .collect()
    }

    /// The histogram of each second, where they were kept.
    pub fn seconds(&self) -> impl Iterator<Item = (Tag, &[Histogram<u64>])> {
        self.recorders
            .iter()
            .filter_map(|(tag, recorder)| Some((*tag, recorder.seconds.as_deref()?)))
    }

    /// A stream's figures over `seconds`; `None` when the run had no such stream.
    pub fn stream(&self, stream: Stream, seconds: f64) -> Option<Flow> {
        let count = &self.counts[stream as usize];
        count.used.then(|| Flow {
            records: count.records,
            bytes: count.bytes,
            wire_bytes: count.wire_bytes,
            requests: count.requests,
            records_per_s: count.records as f64 / seconds,
            mib_per_s: count.bytes as f64 / (1 << 20) as f64 / seconds,
            per_second: count.per_second.clone(),
            errors: count.errors.clone(),
        })
    }
}

impl Transactions {
    fn add(&mut self, other: Transactions) {
        self.committed += other.committed;
        self.aborted += other.aborted;
        for (name, count) in other.retries {
            *self.retries.entry(name).or_default() += count;
        }
        self.unbegun += other.unbegun;
        self.given_up += other.given_up;
    }
}

impl Count {
    fn add(&mut self, other: Count) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.wire_bytes += other.wire_bytes;
        self.requests += other.requests;
        self.used |= other.used;
        if self.per_second.len() < other.per_second.len() {
            self.per_second.resize(other.per_second.len(), 0);
        }
        for (sum, records) in self.per_second.iter_mut().zip(&other.per_second) {
            *sum += records;
        }
        for (name, records) in other.errors {
            *self.errors.entry(name).or_default() += records;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        start_ns: 1_000_000_000,
        end_ns: 3_000_000_000,
    };

    #[test]
    fn the_warm_up_and_what_comes_after_do_not_count() {
        let mut tally = Tally::new(WINDOW, false);
        for at_ns in [500_000_000, 1_500_000_000, 2_500_000_000, 3_500_000_000] {
            tally.flow(Stream::Produced, at_ns, 10, 1000, 1200);
        }
        let flow = tally.stream(Stream::Produced, 2.0).expect("a stream");
        assert_eq!(
            (flow.records, flow.records_per_s, flow.per_second),
            (20, 10.0, vec![10, 10])
        );
        assert!(tally.stream(Stream::Cold, 2.0).is_none());
    }

    #[test]
    fn a_record_due_in_the_window_counts_whenever_it_is_acknowledged() {
        let mut tally = Tally::new(WINDOW, true);
        tally.record_since(
            Tag::Ack,
            3_600_000_000,
            &Times::Each([900_000_000, 1_600_000_000, 3_100_000_000].into()),
        );
        let ack = &tally.latencies()["ack"];
        assert_eq!(ack.count, 1);
        assert!((ack.max_us - 2_000_000.0).abs() < 2_000.0, "{}", ack.max_us);
        assert_eq!((ack.heat.columns.len(), ack.heat.interval_s), (27, 0.1));
        let kept: Vec<_> = tally
            .seconds()
            .map(|(tag, seconds)| (tag, seconds.len()))
            .collect();
        assert_eq!(kept, [(Tag::Ack, 3)]);
    }

    #[test]
    fn threads_are_merged_not_averaged() {
        let mut sum = Tally::new(WINDOW, false);
        for value_us in [100, 300] {
            let mut one = Tally::new(WINDOW, false);
            one.record(Tag::Ack, 1_200_000_000, value_us * 1000, 50);
            one.error(Stream::Produced, "REQUEST_TIMED_OUT", 3);
            sum.add(one);
        }
        let ack = &sum.latencies()["ack"];
        assert_eq!(ack.count, 100);
        assert!(ack.p50_us < 101.0 && ack.p90_us > 299.0);
        assert_eq!(
            sum.stream(Stream::Produced, 1.0).expect("errors").errors["REQUEST_TIMED_OUT"],
            6
        );
    }
}
