//! Groups across cores: the connection's core takes a request apart and gathers the answers; the core that owns a partition of
//! `__consumer_offsets` runs its coordinator.
//!
//! ```text
//! connection's core              owner
//!   apart ------ Group ------▶   coordinator: records and replies
//!                                (still loading, or no room: refused, or waits)
//!                                end of the turn: one batch for each partition ... ticket
//!   together <-- Grouped -----   Committed(ticket): the replies up to it
//! ```
//!
//! Every reply waits until all records before it are durable, also those of other requests: what a client is told is never taken back by
//! a restart.

mod answers;
mod host;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringlog_engine::shard::Ticket;

use super::Core;
use super::calls::{Call, CallId, CallKind, ReplyTo, finish};
use super::cluster::new_id;
use super::control::ControlRequest;
use super::dispatch::Incoming;
use super::mail::{Mail, PartitionKey};
use crate::conn::Answer;
use crate::groups::{Caller, Ctx, GroupRequest, GroupResponse, GroupSettings};
use crate::handlers::find_coordinator;
use crate::handlers::groups::{self, Form, OFFSETS_TOPIC, Told};
use crate::metadata::image::MetadataImage;
use crate::wire::find_coordinator::FindCoordinatorRequest;
use crate::wire::{ErrorCode, WireError};
use answers::Answers;
use host::{Appended, Host};

/// Timers that one look at the clock takes up at most, shared among the coordinators that have some, one each at least: other work gets its turn in between.
const TIMERS_AT_ONCE: usize = 64;

/// Where an answer belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The connection's core.
    pub origin: usize,
    /// The request.
    pub call: CallId,
    /// Which of its questions.
    pub place: u32,
}

/// A question to the coordinator of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct GroupOrder {
    /// The partition's index.
    pub partition: i32,
    /// Who asks.
    pub caller: Caller<Asker>,
    /// What.
    pub request: GroupRequest,
}

/// A request about groups whose coordinators have not all answered.
#[derive(Debug)]
pub struct GroupCall {
    form: Form,
    told: Vec<Option<Told>>,
    remaining: usize,
}

/// What a core holds of groups.
#[derive(Debug)]
pub struct Groups {
    /// The coordinators of this core, by their partition.
    hosts: BTreeMap<i32, Host>,
    /// Those with records that are not appended yet.
    touched: BTreeSet<i32>,
    /// Replies that are not on their way yet.
    answers: Answers<(Asker, GroupResponse)>,
    /// Reads of coordinators that load, by the read's number.
    loading: BTreeMap<u64, i32>,
    /// When a coordinator that had no memory to read reads again.
    retry_at: Option<Instant>,
    settings: GroupSettings,
    /// What deadlines are counted from: time passes for them as it does for the machine, whatever is done to its clock.
    epoch: Instant,
}

impl Groups {
    /// No coordinators.
    pub fn new(now: Instant, settings: GroupSettings) -> Groups {
        Groups {
            hosts: BTreeMap::new(),
            touched: BTreeSet::new(),
            answers: Answers::default(),
            loading: BTreeMap::new(),
            retry_at: None,
            settings,
            epoch: now,
        }
    }

    /// From now on these settings hold.
    pub fn reconfigure(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    /// When a coordinator has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let next = self.hosts.values().filter_map(Host::deadline_ms).min();
        let next = next.map(|at_ms| self.epoch + Duration::from_millis(at_ms.max(0) as u64));
        // What could not leave in one turn leaves in the next, without a wait.
        let at_once = self.answers.has_due().then_some(self.epoch);
        [next, self.retry_at, at_once].into_iter().flatten().min()
    }

    /// Whether nothing waits to become durable, or to be answered.
    pub fn is_idle(&self) -> bool {
        self.answers.is_empty() && self.touched.is_empty()
    }

    /// Milliseconds since these groups came to this core: the clock of their deadlines.
    fn now_ms(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.epoch).as_millis() as i64
    }
}

/// Calls `step` with what a coordinator sees of the world.
fn with_ctx<R>(
    settings: &GroupSettings,
    image: &MetadataImage,
    (now_ms, wall_ms): (i64, i64),
    step: impl FnOnce(&mut Ctx<'_>) -> R,
) -> R {
    step(&mut Ctx {
        now_ms,
        wall_ms,
        settings,
        image,
        new_id: &mut new_id,
    })
}

impl Core {
    /// Connection's core: takes a request about groups apart and asks the coordinators.
    pub(super) fn start_groups(&mut self, mut incoming: Incoming<'_>) -> Result<(), WireError> {
        let reply = incoming.reply;
        let image = self.image.clone();
        let topic = groups::offsets_topic(&image);
        let partitions = topic.map_or(0, |topic| topic.partitions.len());
        let apart = groups::apart(reply.api_key, reply.version, &mut incoming.body, partitions)?;
        let is_list = matches!(apart.questions.first(), Some(GroupRequest::List { .. }));
        let remaining = apart.questions.len();
        let mut call = GroupCall {
            form: apart.form,
            told: Vec::new(),
            remaining,
        };
        call.told.resize_with(remaining, || None);
        if remaining == 0 {
            self.answer_groups(reply, call);
            return Ok(());
        }
        let id = self.calls.insert(Call {
            reply,
            kind: CallKind::Groups(Box::new(call)),
        });
        // Those who ask about groups in a row are not members: nobody keeps who they are.
        let (client_id, client_host) = match apart.questions.len() {
            1 => (incoming.client_id.unwrap_or_default(), self.host_of(reply)),
            _ => Default::default(),
        };
        let mut lost = Vec::new();
        for (place, request) in (0u32..).zip(apart.questions) {
            let partition = match request.group_id() {
                Some(group_id) => groups::partition_of(group_id, partitions),
                None => place as i32,
            };
            let Some(topic) = topic.filter(|topic| topic.partitions.contains_key(&partition)) else {
                // As from a broker that coordinates none of the groups: the client looks for the coordinator, and the topic is made.
                lost.push((place, told(&request, ErrorCode::NotCoordinator)));
                continue;
            };
            debug_assert_eq!(is_list, request.group_id().is_none());
            let key = PartitionKey {
                topic_id: topic.id,
                index: partition,
            };
            let order = GroupOrder {
                partition,
                caller: Caller {
                    to: Asker {
                        origin: self.id,
                        call: id,
                        place,
                    },
                    version: reply.version,
                    client_id: client_id.clone(),
                    client_host: client_host.clone(),
                },
                request,
            };
            self.post(self.placement.owner(&key), Mail::Group(Box::new(order)));
        }
        if !lost.is_empty() {
            self.on_grouped(id, lost);
        }
        Ok(())
    }

    fn host_of(&mut self, reply: ReplyTo) -> String {
        let peer = self.conns.current(reply).and_then(|open| open.conn.peer);
        // As Java prints an address without a name.
        peer.map_or(String::new(), |address| {
            format!("/{}", address.ip().to_canonical())
        })
    }

    /// Connection's core: a coordinator has answered.
    pub(super) fn on_grouped(&mut self, id: CallId, answers: Vec<(u32, Told)>) {
        let Some(Call {
            kind: CallKind::Groups(call),
            ..
        }) = self.calls.get_mut(id)
        else {
            return;
        };
        for (place, told) in answers {
            if let Some(slot @ None) = call.told.get_mut(place as usize) {
                *slot = Some(told);
                call.remaining -= 1;
            }
        }
        if call.remaining > 0 {
            return;
        }
        if let Some(Call {
            reply,
            kind: CallKind::Groups(call),
        }) = self.calls.remove(id)
        {
            self.answer_groups(reply, *call);
        }
    }

    fn answer_groups(&mut self, reply: ReplyTo, call: GroupCall) {
        let mut out = reply.begin();
        let told = call.told.into_iter().flatten().collect();
        groups::together(reply.api_key, reply.version, &call.form, told, &mut out);
        self.deliver(reply, Answer::Bytes(finish(out)));
    }

    /// Connection's core: says who coordinates a group. The topic for groups is made when the first one is looked for.
    pub(super) fn start_find_coordinator(
        &mut self,
        reply: ReplyTo,
        request: FindCoordinatorRequest,
        may_create: bool,
    ) {
        let is_missing = groups::offsets_topic(&self.image).is_none();
        if may_create && is_missing && find_coordinator::needs_offsets_topic(&request, reply.version) {
            let call = self.calls.insert(Call {
                reply,
                kind: CallKind::Coordinator(Box::new(request)),
            });
            return self.ask_controller(ControlRequest::AutoCreate {
                call,
                names: vec![OFFSETS_TOPIC.to_owned()],
            });
        }
        let (shared, image) = (self.shared.clone(), self.image.clone());
        let response = find_coordinator::handle(&shared.context(&image), &request, reply.version);
        self.deliver(reply, Answer::Bytes(reply.encode(&response)));
    }

    /// Owner: a question for one of its coordinators.
    pub(super) fn take_group(&mut self, order: GroupOrder) {
        let times = self.group_times();
        let Some(host) = self.groups.hosts.get_mut(&order.partition) else {
            let told = told(&order.request, ErrorCode::NotCoordinator);
            return self.tell_asker(order.caller.to, told);
        };
        if let Some(code) = host.refuses() {
            let told = told(&order.request, code);
            return self.tell_asker(order.caller.to, told);
        }
        if host.is_stalled() {
            return match host.queue(order) {
                Ok(()) => {}
                // Memory or journal have been full for so long that this many wait.
                Err(order) => {
                    let told = told(&order.request, ErrorCode::CoordinatorNotAvailable);
                    self.tell_asker(order.caller.to, told);
                }
            };
        }
        let partition = order.partition;
        let image = self.image.clone();
        with_ctx(&self.groups.settings, &image, times, |ctx| host.take(ctx, order));
        if host.has_decided() {
            self.groups.touched.insert(partition);
        }
    }

    /// What the clock of groups' deadlines says, and the time of day.
    fn group_times(&self) -> (i64, i64) {
        (self.groups.now_ms(self.io.now()), self.io.wall_ms())
    }

    fn tell_asker(&mut self, asker: Asker, told: Told) {
        let Asker { origin, call, place } = asker;
        self.post(
            origin,
            Mail::Grouped {
                call,
                answers: vec![(place, told)],
            },
        );
    }

    /// Owner: appends what the coordinators have decided in this turn, and goes on with what waited for room.
    pub(super) fn flush_groups(&mut self) {
        let mut stalled = BTreeSet::new();
        while let Some(partition) = self.groups.touched.pop_first() {
            self.flush_host(partition);
            let Some(host) = self.groups.hosts.get_mut(&partition) else {
                continue;
            };
            if host.is_stalled() {
                stalled.insert(partition);
                continue;
            }
            for order in host.take_queue() {
                self.take_group(order);
            }
        }
        self.groups.touched = stalled;
        self.hand_out_answers();
    }

    fn flush_host(&mut self, partition: i32) {
        let wall_ms = self.io.wall_ms();
        loop {
            let Some(host) = self.groups.hosts.get_mut(&partition) else {
                return;
            };
            let Some(slot) = self.partitions.slot(&host.key) else {
                return;
            };
            let Some(appended) = host.append_next(&mut self.shard, &mut *self.io, slot, wall_ms) else {
                return;
            };
            match appended {
                Appended::Wait(ticket, replies) => self.reply_when_committed(ticket, replies),
                Appended::Stalled => return,
                Appended::TooLarge(replies) => {
                    crate::warn!(
                        "{OFFSETS_TOPIC}-{partition}: a change of a group is larger than a record batch may be, and is refused"
                    );
                    let replies = replies.into_iter().map(|(asker, answer)| {
                        let code = match answer {
                            GroupResponse::Commit(_) => ErrorCode::InvalidCommitOffsetSize,
                            _ => ErrorCode::UnknownServerError,
                        };
                        (asker, answer.refused(code))
                    });
                    let replies = replies.collect();
                    self.send_group_replies(replies);
                    return self.reload_host(partition);
                }
                Appended::Failed(replies, reason) => {
                    crate::error!(
                        "{OFFSETS_TOPIC}-{partition} cannot be written, its groups have no coordinator: {reason}"
                    );
                    let replies = host::refused(replies, ErrorCode::NotCoordinator).collect();
                    self.send_group_replies(replies);
                    return self.resign_host(partition, true);
                }
            }
        }
    }

    fn reply_when_committed(&mut self, ticket: Ticket, replies: Vec<(Asker, GroupResponse)>) {
        if replies.is_empty() {
            return;
        }
        match self.is_committed(ticket) {
            true => self.groups.answers.add(replies),
            false => self.groups.answers.wait(ticket, replies),
        }
    }

    /// As many as may leave in this turn.
    fn hand_out_answers(&mut self) {
        while let Some((asker, answer)) = self.groups.answers.next() {
            self.tell_asker(asker, Told::Answer(answer));
        }
    }

    fn send_group_replies(&mut self, replies: Vec<(Asker, GroupResponse)>) {
        for (asker, answer) in replies {
            self.tell_asker(asker, Told::Answer(answer));
        }
    }

    /// Owner: everything up to the ticket is durable.
    pub(super) fn on_groups_committed(&mut self, ticket: Ticket) {
        self.groups.answers.committed(ticket);
        self.hand_out_answers();
        self.go_on_loading();
    }

    /// Owner: there may be room for what could not be appended, or memory for what is to be read.
    pub(super) fn retry_groups(&mut self) {
        self.flush_groups();
        self.go_on_loading();
    }

    /// Owner: the shard can store nothing any more.
    pub(super) fn fail_groups(&mut self) {
        let replies = self.groups.answers.take_waiting();
        let replies = host::refused(replies, ErrorCode::NotCoordinator).collect();
        self.send_group_replies(replies);
        let partitions: Vec<i32> = self.groups.hosts.keys().copied().collect();
        for partition in partitions {
            self.resign_host(partition, true);
        }
    }

    /// Before the end: whoever waits for a group to come together is sent away.
    pub(super) fn resign_groups(&mut self) {
        let partitions: Vec<i32> = self.groups.hosts.keys().copied().collect();
        for partition in partitions {
            self.resign_host(partition, false);
        }
        self.flush_groups();
    }

    fn resign_host(&mut self, partition: i32, has_failed: bool) {
        let Some(host) = self.groups.hosts.get_mut(&partition) else {
            return;
        };
        let orders = host.take_queue();
        let replies = host.resign(has_failed);
        for order in orders {
            let told = told(&order.request, ErrorCode::NotCoordinator);
            self.tell_asker(order.caller.to, told);
        }
        self.send_group_replies(replies);
    }

    /// Owner, once a turn: sessions that ended, rebalances that are due, answers that the last turn had no time for.
    pub(super) fn expire_groups(&mut self, now: Instant) {
        self.groups.answers.begin_turn();
        if self.groups.retry_at.is_some_and(|at| at <= now) {
            self.groups.retry_at = None;
            self.go_on_loading();
        }
        let times = self.group_times();
        let image = self.image.clone();
        let Groups {
            hosts,
            settings,
            touched,
            ..
        } = &mut self.groups;
        let is_due = |host: &Host| host.deadline_ms().is_some_and(|at| at <= times.0);
        let due = hosts.values().filter(|host| is_due(host)).count();
        let most = (TIMERS_AT_ONCE / due.max(1)).max(1);
        for (partition, host) in hosts.iter_mut().filter(|(_, host)| is_due(host)) {
            with_ctx(settings, &image, times, |ctx| host.expire(ctx, most));
            if host.has_decided() {
                touched.insert(*partition);
            }
        }
        self.flush_groups();
    }

    /// Owner: topics have come, grown or gone.
    pub(super) fn tell_groups_of_topics(&mut self) {
        let times = self.group_times();
        let image = self.image.clone();
        let Groups {
            hosts,
            settings,
            touched,
            ..
        } = &mut self.groups;
        for (partition, host) in hosts {
            with_ctx(settings, &image, times, |ctx| host.topics_changed(ctx));
            if host.has_decided() {
                touched.insert(*partition);
            }
        }
    }
}

fn told(request: &GroupRequest, code: ErrorCode) -> Told {
    match request {
        // A broker lists what it coordinates, which is nothing of this partition.
        GroupRequest::List { .. } if code != ErrorCode::NotCoordinator => Told::ListFailed(code),
        request => Told::Answer(request.refuse(code)),
    }
}
