//! One core's world: its ring, its connections, its partitions, its mailbox, and the loop over them.
//!
//! ```text
//! turn:  sleep until something happens -> mail -> events -> requests -> shard's tick -> answers -> flush mail, again
//! ```
//!
//! Everything a core does follows from an [`Event`] of its ring, a [`Mail`] from another core or itself, or a
//! deadline. Mail to itself takes the same way as mail to others, without leaving the thread, so that a request reads the same
//! wherever its partitions live. Nothing here waits, and nothing is shared but the metadata image and the
//! placement of partitions, which do not change, the rates of clients with quotas ([`crate::quotas`]), what topics with limits hold
//! ([`crate::queue`]), and whether the disk has room ([`crate::watermark`]).

mod admin;
pub mod ask;
pub mod calls;
mod cleaning;
pub mod cluster;
pub mod control;
mod coordinators;
pub mod describe;
mod dispatch;
pub mod fetch;
mod gather;
pub mod groups;
mod load;
mod looks;
pub mod mail;
pub mod moving;
pub mod net;
mod parked_appends;
pub mod partitions;
mod pressure;
pub mod produce;
mod producer_ids;
pub mod queue;
pub mod read;
pub mod relocate;
mod retention;
mod room;
pub mod stages;
pub mod stop;
mod throttle;
mod throttle_time;
pub mod transactions;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ringlog_engine::background::Background;
use ringlog_engine::io::{Event, Io, Waker};
use ringlog_engine::shard::{Shard, ShardEvent, Ticket};

use crate::broker::{Report, Shared};
use crate::groups::GroupSettings;
use crate::mesh::Port;
use crate::metadata::image::MetadataImage;
use crate::parked::Watches;
use crate::placement::Placement;
use crate::pressure::parked_fetches::ParkedFetches;
use crate::quotas::mutations::Mutations;
use crate::sessions::Sessions;
use crate::transactions::TransactionSettings;
use calls::{CallId, Calls};
use groups::Groups;
use mail::Mail;
use transactions::Transactions;

/// How soon a core with mail that did not fit a queue tries again.
const OUTBOX_RETRY: Duration = Duration::from_millis(1);

/// What a core starts with.
pub struct Seed {
    /// Its number.
    pub id: usize,
    /// Its ring.
    pub io: Box<dyn Io>,
    /// Its storage, with the partitions recovery found.
    pub shard: Shard,
    /// Its partitions, open in the shard.
    pub partitions: partitions::Partitions,
    /// Its end of the mesh.
    pub port: Port<Mail>,
    /// How to wake each core.
    pub wakers: Arc<Vec<Waker>>,
    /// What all cores share and none changes.
    pub shared: Arc<Shared>,
    /// The metadata at start.
    pub image: Arc<MetadataImage>,
    /// Who owns which partition at start.
    pub placement: Arc<Placement>,
    /// The thread for slow jobs on files.
    pub background: Background,
    /// Core 0 only: the controller.
    pub control: Option<control::Control>,
    /// Where the thread that started the broker hears of this core.
    pub reports: Sender<Report>,
}

/// One core.
pub struct Core {
    id: usize,
    cores: usize,
    io: Box<dyn Io>,
    shard: Shard,
    port: Port<Mail>,
    wakers: Arc<Vec<Waker>>,
    inbox: VecDeque<Mail>,
    shared: Arc<Shared>,
    image: Arc<MetadataImage>,
    placement: Arc<Placement>,
    relocating: relocate::Relocating,
    telling: load::Telling,
    /// Core 0: how busy the cores are.
    loads: load::Loads,
    /// The image that is being prepared for.
    preparing: Option<Arc<MetadataImage>>,
    background: Background,
    conns: net::Conns,
    calls: Calls,
    sessions: Sessions,
    partitions: partitions::Partitions,
    appends: produce::Appends,
    reads: read::Reads,
    questions: ask::Questions,
    groups: coordinators::Hosts<Groups>,
    group_settings: GroupSettings,
    rebalance_log: groups::RebalanceLog,
    transactions: coordinators::Hosts<Transactions>,
    transaction_settings: TransactionSettings,
    markers: transactions::markers::Markers,
    checks: transactions::verify::Checks,
    watches: Watches,
    /// Parked fetches by the time they must be answered.
    timers: BTreeSet<(Instant, CallId)>,
    parked_fetches: ParkedFetches,
    produce_sweep: Option<Instant>,
    producer_ids: producer_ids::ProducerIds,
    retention: looks::Looks,
    cleaning: looks::Looks,
    queues: queue::Queues,
    room: room::Looks,
    idle_producers: producer_ids::IdleProducers,
    committed: Ticket,
    stages: stages::Stages,
    control: Option<control::Control>,
    reports: Sender<Report>,
    stop: stop::Stop,
    business: moving::Business,
    throttled: throttle::Throttled,
    /// Core 0: what clients may change of the metadata.
    mutations: Mutations,
}

impl Core {
    /// Puts a core together.
    pub fn new(seed: Seed) -> Core {
        let Seed {
            id,
            io,
            shard,
            partitions,
            port,
            wakers,
            shared,
            image,
            placement,
            background,
            control,
            reports,
        } = seed;
        let cores = wakers.len();
        let stages = stages::Stages::new(io.now());
        let telling = load::Telling::new(io.now());
        let slots = shared.config.fetch_session_slots;
        let retention = retention::looks(&shared.config, io.now());
        let cleaning = cleaning::looks(&shared.config, io.now());
        let room = room::Looks::new(id, io.now());
        let layers = image.layers(&shared.config, shared.node.id);
        let group_settings = GroupSettings::of(&layers);
        let transaction_settings = TransactionSettings::of(&layers);
        let check = Duration::from_millis(shared.config.producer_id_check_interval_ms.max(1) as u64);
        let idle_producers = producer_ids::IdleProducers::new(io.now() + check);
        let groups = coordinators::Hosts::new(io.now());
        let transactions = coordinators::Hosts::new(io.now());
        let mutations = Mutations::new(shared.config.controller_quota_windows);
        let conns = net::Conns::new(&shared.config.limits);
        let appends = produce::Appends::new(&shared.config.limits, cores);
        let parked_fetches = ParkedFetches::new(shared.config.limits.core_parked_fetches);
        let remembered = shared.config.limits.core_session_partitions;
        Core {
            id,
            cores,
            io,
            shard,
            port,
            wakers,
            inbox: VecDeque::new(),
            shared,
            image,
            placement,
            relocating: relocate::Relocating::default(),
            telling,
            loads: load::Loads::default(),
            preparing: None,
            background,
            conns,
            calls: Calls::default(),
            sessions: Sessions::new(id, cores, slots, remembered),
            partitions,
            appends,
            reads: read::Reads::default(),
            questions: ask::Questions::default(),
            groups,
            group_settings,
            rebalance_log: groups::RebalanceLog::default(),
            transactions,
            transaction_settings,
            markers: transactions::markers::Markers::default(),
            checks: transactions::verify::Checks::default(),
            watches: Watches::default(),
            timers: BTreeSet::new(),
            parked_fetches,
            produce_sweep: None,
            producer_ids: producer_ids::ProducerIds::default(),
            retention,
            cleaning,
            queues: queue::Queues::default(),
            room,
            idle_producers,
            committed: 0,
            stages,
            control,
            reports,
            stop: stop::Stop::default(),
            business: moving::Business::new(Instant::now()),
            throttled: throttle::Throttled::default(),
            mutations,
        }
    }

    /// Runs until the broker stops.
    pub fn run(mut self) -> stop::Ended {
        let (mut events, mut from_shard) = (Vec::new(), Vec::new());
        self.begin_control();
        self.open_queues();
        self.host_coordinators();
        loop {
            self.work(&mut from_shard);
            let retry = self.flush_mail().then_some(OUTBOX_RETRY);
            if self.is_stopped() {
                return self.ended();
            }
            self.turn(retry, &mut events);
            self.port.receive(&mut self.inbox);
            self.read_mail();
            for event in events.drain(..) {
                self.on_event(event, &mut from_shard);
            }
            self.expire();
        }
    }

    /// Sleeps until something happens, and takes it.
    fn turn(&mut self, retry: Option<Duration>, events: &mut Vec<Event>) {
        let now = self.io.now();
        let timers = [
            self.timers.first().map(|(at, _)| *at),
            self.produce_sweep,
            self.conns.sweep_at(),
            self.conns.relief_at(),
            self.shard.next_deadline(),
            self.partitions.deadline(),
            self.groups.deadline(),
            self.transactions.deadline(),
            self.markers.deadline(),
            self.checks.deadline(),
            Some(self.idle_producers.deadline()),
            self.stop.deadline(),
            self.retention.deadline(),
            self.cleaning.deadline(),
            self.queue_deadline(now),
            self.room.deadline(),
            self.throttled.deadline(),
            retry.map(|pause| now + pause),
        ];
        let deadline = timers.into_iter().flatten().min();
        let (port, shard, jobs) = (&self.port, &self.shard, &self.partitions.inbox);
        let mut has_mail = || port.has_mail() || shard.has_mail() || !jobs.is_empty();
        self.io.turn(deadline, &mut has_mail, events);
        self.business.look(self.io.now(), load::processor_time);
        self.stages.turn(self.io.now());
        self.tell_load();
    }

    /// Does everything that can be done without waiting.
    fn work(&mut self, from_shard: &mut Vec<ShardEvent>) {
        loop {
            self.take_job_results();
            self.retry_folders();
            self.pump_all();
            self.note_decoded();
            self.read_mail();
            self.go_on_leaving();
            self.shard.tick(&mut *self.io, from_shard);
            // What follows from these, an append that had no room, say, is the next tick's to bring to disk.
            let is_settled = from_shard.is_empty();
            for event in from_shard.drain(..) {
                self.on_shard(event);
            }
            self.check_drained();
            if is_settled && self.inbox.is_empty() && !self.conns.has_dirty() {
                return;
            }
        }
    }

    fn on_event(&mut self, event: Event, from_shard: &mut Vec<ShardEvent>) {
        match event {
            Event::Accepted { .. }
            | Event::AcceptFailed { .. }
            | Event::Received { .. }
            | Event::Disconnected { .. }
            | Event::Sent { .. }
            | Event::Detached { .. }
            | Event::Closed { .. } => self.on_network(event),
            disk => {
                self.shard.on_event(&mut *self.io, disk, from_shard);
                for event in from_shard.drain(..) {
                    self.on_shard(event);
                }
            }
        }
    }

    fn on_shard(&mut self, event: ShardEvent) {
        match event {
            ShardEvent::Committed(ticket) => {
                self.committed = self.committed.max(ticket);
                self.on_committed(ticket);
                self.on_deletions_committed(ticket);
                self.on_decided_committed::<Groups>(ticket);
                self.on_decided_committed::<Transactions>(ticket);
                self.on_marks_committed(ticket);
                self.on_control_committed(ticket);
                self.retry_questions();
            }
            ShardEvent::Advanced(slot) => {
                self.on_advanced(slot);
                self.on_queue_advanced(slot);
            }
            ShardEvent::Shortened(slot) => self.on_queue_shortened(slot),
            ShardEvent::ReadDone { token, result } => {
                let result = self.on_machine_read::<Groups>(token, result);
                let result = result.and_then(|result| self.on_machine_read::<Transactions>(token, result));
                if let Some(result) = result {
                    self.on_disk_read(token, result);
                }
            }
            ShardEvent::TimeDone { token, result } => self.on_time_done(token, result),
            ShardEvent::Released { slot, released } => self.on_released(slot, *released),
            ShardEvent::Kept { reason, .. } => self.on_kept(reason),
            ShardEvent::Adopted { slot, is_durable } => self.on_adopted(slot, is_durable),
            ShardEvent::GivenBack {
                slot,
                released,
                reason,
            } => self.on_given_back(slot, *released, reason),
            ShardEvent::Progress => self.retry_all(),
            ShardEvent::Info(line) => crate::info!("{line}"),
            ShardEvent::Notice(line) => crate::warn!("{line}"),
            ShardEvent::Failed(reason) => {
                crate::error!("nothing can be acknowledged any more: {reason}");
                self.fail_waiting(&reason);
                self.fail_deletions();
                self.fail_machines::<Groups>();
                self.fail_machines::<Transactions>();
                self.fail_marks();
                self.fail_control(&reason);
                self.next_control();
                // What waits for room is refused now: nothing will make any.
                self.retry_all();
            }
        }
    }

    /// The engine may have room for what it had none for.
    fn retry_all(&mut self) {
        self.retry_parked();
        self.retry_waiting();
        self.retry_stalled_reads();
        self.retry_questions();
        self.retry_decided::<Groups>();
        self.retry_decided::<Transactions>();
        self.retry_marks();
        self.retry_control();
    }

    fn read_mail(&mut self) {
        while let Some(mail) = self.inbox.pop_front() {
            self.on_mail(mail);
        }
        self.flush_decided::<Groups>();
        self.flush_decided::<Transactions>();
        self.note_appended();
    }

    fn on_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Append(order) => self.take_append(order),
            Mail::Appended {
                call,
                results,
                posted,
            } => self.on_appended(call, results, posted),
            Mail::Waits { call, owner } => self.on_waits(call, owner),
            Mail::GiveUp { origin, call } => self.give_up((origin, call)),
            Mail::QueueRoom(topic_id) => self.on_queue_room(topic_id),
            Mail::Read(order) => self.take_read(order),
            Mail::ReadDone { call, round, parts } => self.on_read_done(call, round, parts),
            Mail::Moved { owner, call, round } => self.on_moved(owner, call, round),
            Mail::Unwatch { origin, call } => {
                self.reads.stop_watching((origin, call));
                self.watches.remove((origin, call));
            }
            Mail::MayMove { from, conn, serial } => self.on_may_move(from, conn, serial),
            Mail::MoveTo { conn, serial, to } => self.on_move_to(conn, serial, to),
            Mail::Adopt(moving) => self.adopt(*moving),
            Mail::Ask(order) => self.take_ask(order),
            Mail::Told { call, answers } => self.on_told(call, answers),
            Mail::Group(order) => self.take_offsets(order),
            Mail::Grouped { call, answers } => self.on_grouped(call, answers),
            Mail::Transaction(order) => self.take_transaction(*order),
            Mail::Transacted { call, answers } => self.on_transacted(call, answers),
            Mail::Checked { check, answer } => self.on_checked(check, answer),
            Mail::CheckAgain { check } => self.check_again(check),
            Mail::Mark(order) => self.take_marks(order),
            Mail::Marked { by, results } => self.on_marked(by, results),
            Mail::Short => self.close_stalled(),
            Mail::GoOnLoading => {
                self.go_on_loading::<Groups>();
                self.go_on_loading::<Transactions>();
            }
            Mail::Describe {
                origin,
                call,
                max_partitions,
                topic,
            } => self.take_describe(origin, call, max_partitions, topic.as_deref()),
            Mail::Described { call, description } => self.on_described(call, *description),
            Mail::Control(order) => self.take_control(*order),
            Mail::Answer { to, answer } => self.deliver(to, answer),
            Mail::Prepare(update) => self.prepare(&update),
            Mail::Publish(update) => self.publish(&update),
            Mail::Ready => self.on_ready(),
            Mail::Load { core, work } => self.on_load(core, work),
            Mail::Hold(relocation) => self.hold(relocation),
            Mail::Held(relocation) => self.on_held(relocation),
            Mail::TakeOver(transit) => self.take_over(*transit),
            Mail::TakeBack(transit, why) => self.take_back(*transit, why),
            Mail::TakenOver(relocation, is_durable) => self.on_taken_over(&relocation, is_durable),
            Mail::Relocated(result) => self.on_relocated(result),
            Mail::ProducerIds { first, count } => self.on_producer_ids(first, count),
            Mail::TopicsReady { call } => self.on_topics_ready(call),
            Mail::Listen(addresses) => self.listen(&addresses),
            Mail::Stop => self.begin_stop(),
            Mail::Drained => self.on_drained(),
            Mail::StopShard => self.stop_shard(),
        }
    }

    /// Sends a message to a core, or to this one.
    fn post(&mut self, core: usize, mail: Mail) {
        if core == self.id {
            self.inbox.push_back(mail)
        } else {
            self.port.send(core, mail)
        }
    }

    /// Whether mail is left that found no room.
    fn flush_mail(&mut self) -> bool {
        let (port, io, wakers) = (&mut self.port, &mut self.io, &self.wakers);
        port.flush(|core| io.wake(&wakers[core]))
    }

    fn expire(&mut self) {
        let now = self.io.now();
        while let Some((at, call)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, call));
            self.on_fetch_timer(call);
        }
        self.expire_machines::<Groups>(now);
        self.expire_machines::<Transactions>(now);
        self.retry_endings(now);
        self.retry_checks(now);
        self.expire_producers(now);
        self.sweep_produces(now);
        self.end_throttling(now);
        self.sweep_connections();
        self.check_retention(now);
        self.check_cleaning(now);
        self.tend_queues(now);
        self.look_at_room(now);
    }

    /// Tells the thread that started the broker; when that is gone there is nobody to tell.
    fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }

    /// Accepts connections from now on.
    fn listen(&mut self, addresses: &[SocketAddr]) {
        let bound: std::io::Result<Vec<SocketAddr>> =
            addresses.iter().map(|at| self.io.listen(*at)).collect();
        self.report(Report::Listening(bound.map(drop)));
    }

    /// Whether everything up to the ticket is as durable as promised.
    fn is_committed(&self, ticket: Ticket) -> bool {
        ticket <= self.committed
    }
}
