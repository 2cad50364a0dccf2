//! What goes on beside a load: the processes are sampled, the progress is shown, a load that is stuck is given up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Console;
use crate::client::cores::CoreCounts;
use crate::load::run::Watch;
use crate::load::thread::Shared;
use crate::measure::busy::MachineSampler;
use crate::measure::process::{ProcessSampler, own};
use crate::measure::stages::{StageProbe, between};
use crate::report::model::{Inside, ProcessUse};

/// A run whose end is its work's is given up when nothing moves for this long.
pub const STUCK_S: f64 = 30.0;

/// Counts by name, which only grow.
pub type Totals = BTreeMap<&'static str, u64>;

/// What runs beside a load and counts what it does.
pub trait Beside: Send + Sync {
    /// What it has done since it began.
    fn totals(&self) -> Totals;
}

/// Samples the two processes and shows the progress.
pub struct Observer<'a> {
    console: &'a mut dyn Console,
    client: Option<ProcessSampler>,
    broker: Option<ProcessSampler>,
    /// Asks the broker of its inside, where it tells.
    probe: Option<StageProbe>,
    /// What it told at the start.
    counts: Option<Vec<CoreCounts>>,
    inside: Option<Inside>,
    client_use: Option<ProcessUse>,
    broker_use: Option<ProcessUse>,
    /// What runs beside the load, and what it had done at the start.
    beside: Option<(Arc<dyn Beside>, Totals)>,
    done_beside: Totals,
    machine: Option<MachineSampler>,
    machine_busy_s: Option<f64>,
    /// Length of the measurement where the clock ends it.
    seconds: Option<f64>,
    interruptible: bool,
    marked: bool,
    next_sample_s: f64,
    moved: (u64, f64),
    stuck: bool,
}

/// What went on beside a load.
pub struct Seen {
    /// What this process used.
    pub client: ProcessUse,
    /// What the broker's process used, where it is known.
    pub broker: Option<ProcessUse>,
    /// What the broker told of its inside, where it does.
    pub inside: Option<Inside>,
    /// Processor seconds of the whole machine less the client's.
    pub less_client_s: Option<f64>,
    /// By how much the totals of what runs beside the load grew.
    pub done_beside: Totals,
    /// Whether the load was given up.
    pub stuck: bool,
}

impl<'a> Observer<'a> {
    /// Watches this process and `pid`; `seconds` is the measurement's length where the clock ends it;
    /// only what is `interruptible` ends when the console says so. `probe` is asked at the start and at the end.
    pub fn new(
        console: &'a mut dyn Console,
        pid: Option<u32>,
        mut probe: Option<StageProbe>,
        seconds: Option<f64>,
        interruptible: bool,
    ) -> Observer<'a> {
        let counts = probe.as_mut().and_then(StageProbe::ask);
        Observer {
            console,
            probe,
            counts,
            inside: None,
            beside: None,
            done_beside: Totals::new(),
            client: own().ok(),
            broker: pid.and_then(|pid| ProcessSampler::start(pid).ok()),
            client_use: None,
            broker_use: None,
            machine: MachineSampler::start(),
            machine_busy_s: None,
            seconds,
            interruptible,
            marked: false,
            next_sample_s: 1.0,
            moved: (0, 0.0),
            stuck: false,
        }
    }

    /// Counts what `beside` does meanwhile, too.
    pub fn with_beside(mut self, beside: Option<Arc<dyn Beside>>) -> Observer<'a> {
        self.beside = beside.map(|beside| {
            let totals = beside.totals();
            (beside, totals)
        });
        self
    }

    fn samplers(&mut self) -> impl Iterator<Item = &mut ProcessSampler> {
        self.client.iter_mut().chain(self.broker.iter_mut())
    }

    fn close(&mut self) {
        // what answers once has ended the account: a second call finds nothing to subtract from
        if let (Some(before), Some(probe)) = (self.counts.take(), &mut self.probe) {
            self.inside = probe.ask().and_then(|after| between(&before, &after));
        }
        if let Some((beside, before)) = self.beside.take() {
            let grown = |(name, after): (&'static str, u64)| (name, after - before.get(name).unwrap_or(&0));
            self.done_beside = beside.totals().into_iter().map(grown).collect();
        }
        if let Some(sampler) = self.client.take() {
            self.client_use = Some(sampler.finish(None));
            self.machine_busy_s = self.machine.as_ref().and_then(MachineSampler::busy_s);
        }
        if let Some(mut sampler) = self.broker.take() {
            sampler.sample();
            // of a process that ended nothing is known but what it used until some moment before
            self.broker_use = sampler.is_alive().then(|| sampler.finish(None));
        }
    }

    /// What was seen.
    pub fn finish(mut self) -> Seen {
        self.close();
        let client = self.client_use.unwrap_or_default();
        let client_s = client.user_s + client.system_s;
        Seen {
            less_client_s: self.machine_busy_s.map(|busy_s| (busy_s - client_s).max(0.0)),
            client,
            broker: self.broker_use,
            inside: self.inside,
            done_beside: self.done_beside,
            stuck: self.stuck,
        }
    }
}

impl Watch for Observer<'_> {
    fn look(&mut self, at_s: f64, shared: &Shared) -> bool {
        if !self.marked && at_s >= 0.0 {
            self.marked = true;
            // work without a clock may be half done when it is first looked at: it counts from before it began
            if self.seconds.is_some() {
                self.samplers().for_each(ProcessSampler::mark);
                self.machine = MachineSampler::start();
                self.counts = self.probe.as_mut().and_then(StageProbe::ask);
                if let Some((beside, before)) = &mut self.beside {
                    *before = beside.totals();
                }
            }
        }
        if self.marked && at_s >= self.next_sample_s {
            self.next_sample_s += 1.0;
            self.samplers().for_each(ProcessSampler::sample);
        }
        if self.seconds.is_some_and(|seconds| at_s >= seconds) {
            self.close();
        }
        self.console.progress(at_s, &shared.live);
        let live = &shared.live;
        let moved = live.produced.load(Ordering::Relaxed) + live.consumed.load(Ordering::Relaxed);
        if moved != self.moved.0 {
            self.moved = (moved, at_s);
        }
        self.stuck |= self.seconds.is_none() && at_s - self.moved.1 > STUCK_S;
        self.stuck || (self.interruptible && self.console.interrupted())
    }
}
