//! State machines whose records are in the partitions of an internal topic: those of groups and those of transactions. Each lives on the
//! core that owns its partition.
//!
//! ```text
//! order ─▶ host ─▶ machine: records and outcomes
//!            (still loading, or no room: refused, or waits)
//!            end of the turn: one batch for each partition ... ticket
//!          Committed(ticket): the outcomes up to it are done
//! ```
//! Every outcome waits until all records before it are durable, also those of other orders: what a client is told is never taken back by a
//! restart.

mod host;
mod load;
mod loaded;
mod outcomes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog_engine::shard::{Origin, Producing, ReadData, ReadError, Ticket};

use super::Core;
use super::groups::Groups;
use super::transactions::Transactions;
use crate::wire::{ErrorCode, WireError};
use host::Appended;
pub use host::Host;
use loaded::Loaded;
use outcomes::Outcomes;

/// Timers that one look at the clock takes up at most, shared among the machines that have some, one each at least: other work gets its turn in between.
const TIMERS_AT_ONCE: usize = 64;

/// How long after the disk was full its records are tried again.
const DISK_FULL_RETRY: Duration = Duration::from_millis(500);

/// How a machine's records are appended. Those of a transaction were checked before it was asked.
const OWN_RECORDS: Producing = Producing {
    origin: Origin::Coordinator,
    is_verified: true,
    bumps_epochs: false,
};

/// Key and value of a record. Without a value it is a tombstone.
pub type EncodedRecord = (Vec<u8>, Option<Vec<u8>>);

/// What a machine has decided.
#[derive(Debug)]
pub struct Decision<O> {
    /// To be appended, in order.
    pub records: Vec<EncodedRecord>,
    /// Whose transaction the records belong to, as producer id and epoch.
    pub producer: Option<(i64, i16)>,
    /// To be done once the records and all before them are durable.
    pub outcomes: Vec<O>,
}

/// A record of the log, as a machine replays it.
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'a> {
    /// Its key.
    pub key: &'a Bytes,
    /// Its value; none makes it a tombstone.
    pub value: Option<&'a Bytes>,
    /// Whose transaction it belongs to.
    pub producer_id: Option<i64>,
}

/// A pure state machine of one partition of an internal topic.
pub trait Machine: Default + Debug + Sized + 'static {
    /// The topic.
    const TOPIC: &'static str;
    /// What it coordinates, in the broker's own log lines.
    const SUBJECT: &'static str;
    /// A question to it.
    type Order: Debug;
    /// An answer, or something else to be done.
    type Outcome: Debug;
    /// What it sees of the world during one step.
    type World<'a>;

    /// Says why an order cannot be taken now, whatever the machine thinks of it.
    ///
    /// # Errors
    /// What its sender is told.
    fn admit(_core: &Core, _partition: i32, _order: &Self::Order) -> Result<(), ErrorCode> {
        Ok(())
    }
    /// Deals with an order.
    fn take(&mut self, world: &mut Self::World<'_>, order: Self::Order) -> Decision<Self::Outcome>;
    /// When there is something to do, in milliseconds of [`Hosts::now_ms`].
    fn deadline_ms(&self) -> Option<i64>;
    /// Does some of what is due.
    fn expire(&mut self, world: &mut Self::World<'_>, most: usize) -> Decision<Self::Outcome>;
    /// Takes up a record of the log, and returns whether it is of a known type.
    ///
    /// # Errors
    /// It is malformed.
    fn replay(&mut self, record: Replayed<'_>) -> Result<bool, WireError>;
    /// The log has the end of a producer's transaction.
    fn replay_end(&mut self, producer_id: i64, is_commit: bool);
    /// All records were replayed.
    fn loaded(&mut self, world: &mut Self::World<'_>) -> Decision<Self::Outcome>;
    /// Topics have come, grown or gone.
    fn topics_changed(&mut self, world: &mut Self::World<'_>) -> Decision<Self::Outcome>;
    /// It ends here. Whoever waits is told.
    fn resign(&mut self) -> Vec<Self::Outcome>;
    /// The answer to an order that is refused.
    fn refuse(order: &Self::Order, code: ErrorCode) -> Option<Self::Outcome>;
    /// What is told instead when records could not be stored. What is not an answer is not done.
    fn refused(outcome: Self::Outcome, code: ErrorCode) -> Option<Self::Outcome>;
    /// The same, when they were more than a batch may have.
    fn too_large(outcome: Self::Outcome) -> Option<Self::Outcome>;

    /// Those of a core.
    fn hosts(core: &mut Core) -> &mut Hosts<Self>;
    /// Calls `step` for one of them with what it sees of the world.
    fn with_world<R>(
        core: &mut Core,
        partition: i32,
        step: impl FnOnce(&mut Host<Self>, &mut Self::World<'_>) -> R,
    ) -> Option<R>;
    /// Does what was decided. The machine of the partition is told of what comes of it, if it is to know.
    fn act(core: &mut Core, partition: i32, outcomes: Vec<Self::Outcome>);
}

/// The machines of one core, of one topic.
#[derive(Debug)]
pub struct Hosts<M: Machine> {
    /// By their partition.
    pub(super) by_partition: BTreeMap<i32, Host<M>>,
    /// Those with records that are not appended yet.
    touched: BTreeSet<i32>,
    /// What was decided and is not done yet, each with the partition of its machine.
    outcomes: Outcomes<(i32, M::Outcome)>,
    /// Reads of machines that load, by the read's number.
    loading: BTreeMap<u64, i32>,
    /// When a machine that had no memory to read reads again, and what a full disk did not take is tried again.
    retry_at: Option<Instant>,
    /// What was loaded since the log said so.
    loaded: Loaded,
    /// What deadlines are counted from: time passes for them as it does for the machine, whatever is done to its clock.
    epoch: Instant,
}

impl<M: Machine> Hosts<M> {
    /// None.
    pub fn new(now: Instant) -> Hosts<M> {
        Hosts {
            by_partition: BTreeMap::new(),
            touched: BTreeSet::new(),
            outcomes: Outcomes::default(),
            loading: BTreeMap::new(),
            retry_at: None,
            loaded: Loaded::default(),
            epoch: now,
        }
    }

    /// When one of them has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let next = self.by_partition.values().filter_map(Host::deadline_ms).min();
        let next = next.map(|at_ms| self.epoch + Duration::from_millis(at_ms.max(0) as u64));
        // What could not leave in one turn leaves in the next, without a wait.
        let at_once = self.outcomes.has_due().then_some(self.epoch);
        [next, self.retry_at, at_once].into_iter().flatten().min()
    }

    /// Whether nothing waits to become durable, or to be done.
    pub fn is_idle(&self) -> bool {
        self.outcomes.is_empty() && self.touched.is_empty()
    }

    /// Milliseconds since these came to this core: the clock of their deadlines.
    pub fn now_ms(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.epoch).as_millis() as i64
    }

    /// Whether the partition's machine has decided what finds no room, so that what comes next must wait for it.
    pub fn is_stalled(&self, partition: i32) -> bool {
        let host = self.by_partition.get(&partition);
        host.is_some_and(Host::is_stalled)
    }
}

impl Core {
    /// Owner: has a coordinator for each of its partitions that want one.
    pub(super) fn host_coordinators(&mut self) {
        self.host_machines::<Groups>();
        self.host_machines::<Transactions>();
    }

    /// Owner: an order for one of its machines.
    pub(super) fn take_order<M: Machine>(&mut self, partition: i32, order: M::Order) {
        let Some(host) = M::hosts(self).by_partition.get_mut(&partition) else {
            return self.refuse_order::<M>(partition, &order, ErrorCode::NotCoordinator);
        };
        if let Some(code) = host.refuses() {
            return self.refuse_order::<M>(partition, &order, code);
        }
        if host.is_stalled() {
            return match host.queue(order) {
                Ok(()) => {}
                // Memory or journal have been full for so long that this many wait.
                Err(order) => self.refuse_order::<M>(partition, &order, ErrorCode::CoordinatorNotAvailable),
            };
        }
        if let Err(code) = M::admit(self, partition, &order) {
            return self.refuse_order::<M>(partition, &order, code);
        }
        M::with_world(self, partition, |host, world| host.take(world, order));
        self.note_decided::<M>(partition);
    }

    pub(super) fn refuse_order<M: Machine>(&mut self, partition: i32, order: &M::Order, code: ErrorCode) {
        if let Some(outcome) = M::refuse(order, code) {
            M::act(self, partition, vec![outcome]);
        }
    }

    /// Owner: has one of its machines, if it runs, take a step.
    pub(super) fn step_machine<M: Machine>(
        &mut self,
        partition: i32,
        step: impl FnOnce(&mut M, &mut M::World<'_>) -> Decision<M::Outcome>,
    ) {
        M::with_world(self, partition, |host, world| host.step(world, step));
        self.note_decided::<M>(partition);
    }

    fn note_decided<M: Machine>(&mut self, partition: i32) {
        let hosts = M::hosts(self);
        if hosts.by_partition.get(&partition).is_some_and(Host::has_decided) {
            hosts.touched.insert(partition);
        }
    }

    /// Owner: appends what the machines have decided in this turn, and goes on with what waited for room.
    pub(super) fn flush_decided<M: Machine>(&mut self) {
        let mut stalled = BTreeSet::new();
        while let Some(partition) = M::hosts(self).touched.pop_first() {
            self.flush_host::<M>(partition);
            let Some(host) = M::hosts(self).by_partition.get_mut(&partition) else {
                continue;
            };
            if host.is_stalled() {
                stalled.insert(partition);
                continue;
            }
            for order in host.take_queue() {
                self.take_order::<M>(partition, order);
            }
        }
        M::hosts(self).touched = stalled;
        self.do_outcomes::<M>();
    }

    /// As many as may leave in this turn.
    fn do_outcomes<M: Machine>(&mut self) {
        while let Some((partition, outcome)) = M::hosts(self).outcomes.next() {
            M::act(self, partition, vec![outcome]);
        }
    }

    fn flush_host<M: Machine>(&mut self, partition: i32) {
        let wall_ms = self.io.wall_ms();
        loop {
            let Some(host) = M::hosts(self).by_partition.get(&partition) else {
                return;
            };
            let (key, Some(batch)) = (host.key, host.next_batch(wall_ms)) else {
                return;
            };
            let Some(slot) = self.partitions.slot(&key) else {
                return;
            };
            let result = match &batch {
                None => Ok(None),
                Some(bytes) => self
                    .shard
                    .append_as(&mut *self.io, slot, bytes, OWN_RECORDS)
                    .map(|appended| Some(appended.ticket)),
            };
            let Some(host) = M::hosts(self).by_partition.get_mut(&partition) else {
                return;
            };
            let Some(appended) = host.appended(result) else {
                return;
            };
            match appended {
                Appended::Wait(ticket, outcomes) => {
                    self.act_when_committed::<M>(partition, ticket, outcomes);
                }
                Appended::Stalled => return,
                Appended::DiskFull => {
                    let at = self.io.now() + DISK_FULL_RETRY;
                    M::hosts(self).retry_at.get_or_insert(at);
                    return;
                }
                Appended::TooLarge(outcomes) => {
                    crate::warn!(
                        "{}-{partition}: a change is larger than a record batch may be, and is refused",
                        M::TOPIC
                    );
                    let outcomes = outcomes.into_iter().filter_map(M::too_large).collect();
                    M::act(self, partition, outcomes);
                    return self.reload_host::<M>(partition);
                }
                Appended::Fenced(outcomes, reason) => {
                    // It was asked before whether they would be taken: nobody's request comes to this.
                    crate::error!("{}-{partition}: records of a transaction: {reason}", M::TOPIC);
                    let outcomes = outcomes
                        .into_iter()
                        .filter_map(|outcome| M::refused(outcome, ErrorCode::InvalidProducerEpoch));
                    let outcomes = outcomes.collect();
                    M::act(self, partition, outcomes);
                    return self.reload_host::<M>(partition);
                }
                Appended::Failed(outcomes, reason) => {
                    crate::error!(
                        "{}-{partition} cannot be written, its {} have no coordinator: {reason}",
                        M::TOPIC,
                        M::SUBJECT
                    );
                    self.refuse_outcomes::<M>(partition, outcomes);
                    return self.resign_host::<M>(partition, true);
                }
            }
        }
    }

    fn refuse_outcomes<M: Machine>(&mut self, partition: i32, outcomes: Vec<M::Outcome>) {
        let outcomes = host::refused::<M>(outcomes, ErrorCode::NotCoordinator);
        M::act(self, partition, outcomes);
    }

    fn act_when_committed<M: Machine>(&mut self, partition: i32, ticket: Ticket, outcomes: Vec<M::Outcome>) {
        if outcomes.is_empty() {
            return;
        }
        let is_committed = self.is_committed(ticket);
        let outcomes = outcomes.into_iter().map(|outcome| (partition, outcome)).collect();
        match is_committed {
            true => M::hosts(self).outcomes.add(outcomes),
            false => M::hosts(self).outcomes.wait(ticket, outcomes),
        }
    }

    /// Owner: everything up to the ticket is durable.
    pub(super) fn on_decided_committed<M: Machine>(&mut self, ticket: Ticket) {
        M::hosts(self).outcomes.committed(ticket);
        self.do_outcomes::<M>();
        self.go_on_loading::<M>();
    }

    /// Owner: there may be room for what could not be appended, or memory for what is to be read.
    pub(super) fn retry_decided<M: Machine>(&mut self) {
        self.flush_decided::<M>();
        self.go_on_loading::<M>();
    }

    /// Owner: the shard can store nothing any more.
    pub(super) fn fail_machines<M: Machine>(&mut self) {
        for (partition, outcome) in M::hosts(self).outcomes.take_waiting() {
            self.refuse_outcomes::<M>(partition, vec![outcome]);
        }
        for partition in self.hosted::<M>() {
            self.resign_host::<M>(partition, true);
        }
    }

    /// Before the end: whoever waits for a decision is sent away.
    pub(super) fn resign_machines<M: Machine>(&mut self) {
        for partition in self.hosted::<M>() {
            self.resign_host::<M>(partition, false);
        }
        self.flush_decided::<M>();
    }

    fn hosted<M: Machine>(&mut self) -> Vec<i32> {
        M::hosts(self).by_partition.keys().copied().collect()
    }

    fn resign_host<M: Machine>(&mut self, partition: i32, has_failed: bool) {
        let Some(host) = M::hosts(self).by_partition.get_mut(&partition) else {
            return;
        };
        let orders = host.take_queue();
        let outcomes = host.resign(has_failed);
        for order in orders {
            self.refuse_order::<M>(partition, &order, ErrorCode::NotCoordinator);
        }
        M::act(self, partition, outcomes);
    }

    /// Owner, once a turn: what is due by now, and outcomes that the last turn had no time for.
    pub(super) fn expire_machines<M: Machine>(&mut self, now: Instant) {
        let hosts = M::hosts(self);
        hosts.outcomes.begin_turn();
        let now_ms = hosts.now_ms(now);
        if hosts.retry_at.is_some_and(|at| at <= now) {
            hosts.retry_at = None;
            self.retry_decided::<M>();
        }
        let hosts = M::hosts(self).by_partition.iter();
        let due: Vec<i32> = hosts
            .filter(|(_, host)| host.deadline_ms().is_some_and(|at| at <= now_ms))
            .map(|(partition, _)| *partition)
            .collect();
        let most = (TIMERS_AT_ONCE / due.len().max(1)).max(1);
        for partition in due {
            self.step_machine::<M>(partition, |machine, world| machine.expire(world, most));
        }
        self.flush_decided::<M>();
    }

    /// Owner: topics have come, grown or gone.
    pub(super) fn tell_machines_of_topics<M: Machine>(&mut self) {
        for partition in self.hosted::<M>() {
            self.step_machine::<M>(partition, |machine, world| machine.topics_changed(world));
        }
    }

    /// Owner: a read from disk is finished, which may be that of a machine that loads. Gives back what is not.
    pub(super) fn on_machine_read<M: Machine>(
        &mut self,
        token: u64,
        result: Result<ReadData, ReadError>,
    ) -> Option<Result<ReadData, ReadError>> {
        let Some(partition) = M::hosts(self).loading.remove(&token) else {
            return Some(result);
        };
        self.on_loaded::<M>(partition, result);
        None
    }
}
