//! The coordinator of the groups whose records are in one partition of `__consumer_offsets`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::wire::group_records::{GroupMetadataKey, GroupMetadataValue, GroupRecord};

use super::classic::ClassicGroup;
use super::group::Group;
use super::offsets::Offsets;
use super::timers::{Timer, Timers};
use super::work::Work;
use super::{Caller, Ctx, GroupRequest, GroupResponse, Step};

/// Groups, and the offsets they committed. `T` says where an answer goes.
#[derive(Debug)]
pub struct Coordinator<T> {
    pub(super) groups: BTreeMap<Arc<str>, Group<T>>,
    pub(super) offsets: Offsets,
    pub(super) timers: Timers,
    /// The last group whose offsets were looked at, while others are to be.
    pub(super) swept: Option<Arc<str>>,
}

impl<T> Default for Coordinator<T> {
    fn default() -> Self {
        Coordinator {
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            timers: Timers::default(),
            swept: None,
        }
    }
}

impl<T: Clone> Coordinator<T> {
    /// A coordinator that knows of no group. Before it is asked anything it replays the records there are, and is told that those were all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers a request, at once or with a later step.
    pub fn handle(&mut self, ctx: &mut Ctx<'_>, caller: Caller<T>, request: GroupRequest) -> Step<T> {
        let version = caller.version;
        match request {
            GroupRequest::Join(request) => self.join(ctx, caller, request),
            GroupRequest::Sync(request) => self.sync(ctx, caller, request),
            GroupRequest::Heartbeat(request) => self.heartbeat(ctx, caller, request),
            GroupRequest::Leave(request) => self.leave(ctx, caller, request),
            GroupRequest::Commit(request) => self.commit(ctx, caller, request),
            GroupRequest::TxnCommit(request) => self.txn_commit(ctx, caller, request),
            GroupRequest::Fetch {
                group,
                require_stable,
            } => Step::reply(
                caller.to,
                GroupResponse::Fetch(self.fetch(ctx, version, group, require_stable)),
            ),
            GroupRequest::DeleteOffsets(request) => self.delete_offsets(ctx, caller, request),
            GroupRequest::Describe(group_id) => Step::reply(
                caller.to,
                GroupResponse::Describe(self.describe(version, group_id)),
            ),
            GroupRequest::Delete(group_id) => self.delete(ctx, caller, group_id),
            GroupRequest::List { states, types } => {
                Step::reply(caller.to, GroupResponse::List(self.list(&states, &types)))
            }
            GroupRequest::ConsumerHeartbeat(request) => self.consumer_heartbeat(ctx, caller, request),
            GroupRequest::ConsumerDescribe(group_id) => Step::reply(
                caller.to,
                GroupResponse::ConsumerDescribe(self.consumer_describe(ctx, group_id)),
            ),
        }
    }

    /// What a group has committed of a topic, by partition.
    pub fn committed(&self, group: &str, topic: &str) -> impl Iterator<Item = (i32, i64)> {
        let topics = self.offsets.of_group(group);
        let partitions = topics.and_then(|topics| topics.get(topic));
        let partitions = partitions.into_iter().flatten();
        partitions.map(|(partition, value)| (*partition, value.offset))
    }

    /// When [`Coordinator::expire`] has something to do next, in milliseconds since 1970.
    pub fn deadline(&self) -> Option<i64> {
        self.timers.next_ms()
    }

    /// Does what was due by now, at most `most` deadlines' worth; [`Coordinator::deadline`] tells whether there is more.
    pub fn expire(&mut self, ctx: &mut Ctx<'_>, most: usize) -> Step<T> {
        let mut step = Step::default();
        for _ in 0..most {
            match self.timers.pop(ctx.now_ms) {
                None => break,
                Some(Timer::Offsets) => {
                    // Many groups in one: the rest waits for its turn.
                    self.expire_offsets(ctx, &mut step);
                    break;
                }
                Some(timer) => self.on_timer(ctx, &timer, &mut step),
            }
        }
        step
    }

    /// All records were replayed: sessions begin, and offsets may expire.
    pub fn loaded(&mut self, ctx: &mut Ctx<'_>) -> Step<T> {
        let mut step = Step::default();
        // A group whose tombstone was stored and whose successor was not has its offsets still.
        let orphaned: BTreeSet<Arc<str>> = self
            .offsets
            .groups()
            .filter(|id| !self.groups.contains_key(*id))
            .cloned()
            .collect();
        for id in orphaned {
            self.insert_simple_group(&id, ctx.wall_ms);
        }
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            match self.work_on(&id, ctx, &mut step) {
                (Some(Group::Classic(group)), mut work) => group.loaded(&mut work),
                (Some(Group::Consumer(group)), work) => group.loaded(work.ctx, work.timers),
                (None, _) => {}
            }
        }
        let pause_ms = ctx.settings.offsets_retention_check_interval_ms.max(1);
        self.timers
            .set(Timer::Offsets, ctx.now_ms.saturating_add(pause_ms));
        step
    }

    /// Topics came, went, or got more partitions: offsets of topics that are no more go too.
    pub fn on_topics_changed(&mut self, ctx: &mut Ctx<'_>) -> Step<T> {
        let mut step = Step::default();
        for record in self.offsets.orphans(ctx.image) {
            self.apply(record, &mut step);
        }
        self.tell_consumer_groups_of_topics(ctx);
        step
    }

    /// Another core coordinates these groups from now on. Everybody that waits is told so, and nothing is left here.
    pub fn resign(&mut self) -> Step<T> {
        let mut step = Step::default();
        for group in std::mem::take(&mut self.groups).into_values() {
            if let Group::Classic(mut group) = group {
                group.resign(&mut step);
            }
        }
        *self = Self::default();
        step
    }
}

impl<T> Coordinator<T> {
    /// Does what a record says: one of its own just now, or one of the log. A tombstone of what is not there changes nothing.
    ///
    /// `producer_id` is that of the record's batch if the batch is transactional. An offset of such a batch is pending until
    /// [`Coordinator::end_transaction`]; every other record counts at once, whatever its batch says. Which of two commits is the newer one follows
    /// from the order of calls alone: records, and ends of transactions among them, are to come in the order in which the log has them.
    pub fn replay(&mut self, record: GroupRecord, producer_id: Option<i64>) {
        match record {
            GroupRecord::OffsetCommit(key, Some(value)) => {
                let id = match self.groups.get_key_value(key.group.as_str()) {
                    Some((id, _)) => id.clone(),
                    None => self.insert_simple_group(&key.group, value.commit_timestamp),
                };
                match producer_id {
                    None => self.offsets.put(&id, &key.topic, key.partition, value),
                    Some(producer_id) => {
                        self.offsets
                            .put_pending(&id, &key.topic, key.partition, producer_id, value);
                    }
                }
            }
            GroupRecord::OffsetCommit(key, None) => {
                self.offsets.remove(&key.group, &key.topic, key.partition)
            }
            GroupRecord::GroupMetadata(key, value) => self.replay_classic(&key, value.as_ref()),
            GroupRecord::Other(_) => {}
            record => self.replay_consumer(record),
        }
    }

    /// A transaction of this producer has ended: the offsets that were pending count from now on, or are forgotten. A pending offset that is older in
    /// the log than one that counts already stays without effect, as in Kafka.
    ///
    /// For a marker that is appended now as for one that is read from the log; nothing else follows from it. It is to be told in the log's order:
    /// after all records before the marker, also those that were decided and not appended yet when the marker was asked for. A producer without
    /// pending offsets changes nothing.
    pub fn end_transaction(&mut self, producer_id: i64, is_commit: bool) {
        self.offsets.end_transaction(producer_id, is_commit);
    }

    fn replay_classic(&mut self, key: &GroupMetadataKey, value: Option<&GroupMetadataValue>) {
        match value {
            None => drop(self.groups.remove(key.group.as_str())),
            Some(value) => {
                let id: Arc<str> = key.group.as_str().into();
                let group = ClassicGroup::from_record(id.clone(), value);
                self.groups.insert(id, Group::Classic(group));
            }
        }
    }

    /// A group that has nothing but offsets. No record speaks of it.
    fn insert_simple_group(&mut self, group_id: &str, now_ms: i64) -> Arc<str> {
        let id: Arc<str> = group_id.into();
        let group = ClassicGroup::new(id.clone(), now_ms);
        self.groups.insert(id.clone(), Group::Classic(group));
        id
    }

    /// A group, and what it may touch.
    pub(super) fn work_on<'a, 'c>(
        &'a mut self,
        group_id: &str,
        ctx: &'a mut Ctx<'c>,
        step: &'a mut Step<T>,
    ) -> (Option<&'a mut Group<T>>, Work<'a, 'c, T>) {
        let timers = &mut self.timers;
        (self.groups.get_mut(group_id), Work { ctx, timers, step })
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, timer: &Timer, step: &mut Step<T>) {
        let (Timer::Join(group_id)
        | Timer::Sync(group_id)
        | Timer::Session(group_id, _)
        | Timer::Rebalance(group_id, _)
        | Timer::ClassicJoin(group_id, _)
        | Timer::ClassicSync(group_id, _)
        | Timer::Regex(group_id)) = timer
        else {
            return;
        };
        match (self.work_on(group_id, ctx, step), timer) {
            ((Some(Group::Classic(group)), mut work), Timer::Join(_)) => group.on_join_timer(&mut work),
            ((Some(Group::Classic(group)), mut work), Timer::Sync(_)) => group.on_sync_timer(&mut work),
            ((Some(Group::Classic(group)), mut work), Timer::Session(_, member_id)) => {
                group.on_session_timer(&mut work, member_id);
            }
            ((Some(Group::Consumer(_)), _), _) => self.on_consumer_timer(ctx, group_id, timer, step),
            // The group is no more, or of another protocol now.
            _ => {}
        }
    }

    /// Removes a group nobody is in.
    pub(super) fn remove_if_empty(&mut self, ctx: &mut Ctx<'_>, group_id: &str, step: &mut Step<T>) {
        let (group, mut work) = self.work_on(group_id, ctx, step);
        let Some(group) = group.filter(|group| group.is_empty()) else {
            return;
        };
        if let Group::Classic(group) = group {
            group.cancel_timers(&mut work);
        }
        for record in group.tombstones() {
            self.apply(record, step);
        }
        self.groups.remove(group_id);
    }
}
