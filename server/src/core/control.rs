//! Core 0's control plane: one request at a time is decided, appended to the metadata log, applied once durable,
//! prepared and published on every core, and answered.
//!
//! ```text
//! decide -> records -> append -> committed -> apply -> Prepare -> all Ready -> Publish -> all Ready -> answer
//!        \-> none ------------------------------------------------------------------------------> answer
//! ```

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use ringlog_engine::shard::{AppendError, Slot, Ticket};

use super::Core;
use super::calls::{CallId, ReplyTo};
use super::cluster::{ClientRequest, Decision};
use super::mail::{ControlOrder, Mail, PartitionKey};
use super::relocate::Relocation;
use crate::conn::Answer;
use crate::handlers::move_partition;
use crate::metadata::batches;
use crate::metadata::image::{MetadataImage, Partition, ResourceType, Topic};
use crate::metadata::records::Record;
use crate::metadata::replay::Replay;
use crate::placement::Placement;

/// What only the controller can do.
#[derive(Debug)]
pub enum ControlRequest {
    /// A client's request.
    Client {
        /// Where the response goes.
        to: ReplyTo,
        /// What the client calls itself; empty when it does not say.
        client_id: String,
        /// What is asked.
        request: ClientRequest,
    },
    /// Create the topics a Metadata request asks for.
    AutoCreate {
        /// The request that waits for them.
        call: CallId,
        /// Their names.
        names: Vec<String>,
        /// The client whose quota they count for; nobody's when they are coordinators'.
        client_id: Option<String>,
    },
    /// A block of producer ids for a core.
    ProducerIds,
    /// Records that are decided already, from the start of the broker.
    Boot(Vec<Record>),
}

/// A partition that comes or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionChange {
    /// Which.
    pub key: PartitionKey,
    /// Its topic's name.
    pub topic: Arc<str>,
    /// The epoch of its leader.
    pub leader_epoch: i32,
}

/// The way from one image to the next.
#[derive(Debug)]
pub struct Update {
    /// The next image.
    pub image: Arc<MetadataImage>,
    /// Who owns which of its partitions.
    pub placement: Arc<Placement>,
    /// Partitions it has and the one before has not.
    pub opened: Vec<PartitionChange>,
    /// Partitions the one before has and it has not.
    pub closed: Vec<PartitionChange>,
    /// Partitions of both whose leader epoch differs.
    pub elected: Vec<PartitionChange>,
    /// Topics whose settings differ; `None`: a broker setting differs, so all may.
    pub reconfigured: Option<HashSet<Arc<str>>>,
}

impl Update {
    /// What changes from one image to the next. `placement` is that of the one before; new partitions are placed by how busy the cores are.
    pub fn between(
        before: &MetadataImage,
        image: Arc<MetadataImage>,
        placement: &Placement,
        busy: &[u64],
    ) -> Update {
        let (mut opened, mut closed, mut elected) = (Vec::new(), Vec::new(), Vec::new());
        for topic in image.topics() {
            let known = before.topic_by_id(topic.id);
            let of = |index: i32| known.and_then(|known| known.partitions.get(&index));
            opened.extend(changes(topic, |index, _| of(index).is_none()));
            let has_moved =
                |index: i32, epoch: i32| of(index).is_some_and(|known| known.leader_epoch != epoch);
            elected.extend(changes(topic, has_moved));
        }
        for topic in before.topics() {
            let known = image.topic_by_id(topic.id);
            let is_there = |index: i32| known.is_some_and(|known| known.partitions.contains_key(&index));
            closed.extend(changes(topic, |index, _| !is_there(index)));
        }
        let reconfigured = reconfigured(before, &image);
        let mut placement = placement.clone();
        closed
            .iter()
            .for_each(|change: &PartitionChange| placement.remove(&change.key));
        placement.place(opened.iter().map(|change: &PartitionChange| change.key), busy);
        Update {
            image,
            placement: Arc::new(placement),
            opened,
            closed,
            elected,
            reconfigured,
        }
    }

    /// Nothing changes but who owns what.
    fn of_placement(image: Arc<MetadataImage>, placement: Placement) -> Update {
        Update {
            image,
            placement: Arc::new(placement),
            opened: Vec::new(),
            closed: Vec::new(),
            elected: Vec::new(),
            reconfigured: Some(HashSet::new()),
        }
    }

    /// Whether the topic's settings may differ.
    pub fn changes_settings_of(&self, topic: &Arc<str>) -> bool {
        self.reconfigured
            .as_ref()
            .is_none_or(|topics| topics.contains(topic))
    }
}

/// The partitions of a topic for which index and leader epoch say so.
fn changes(topic: &Topic, differs: impl Fn(i32, i32) -> bool) -> Vec<PartitionChange> {
    let all = topic.partitions.iter();
    let differing = all.filter(|(index, partition)| differs(**index, partition.leader_epoch));
    let change = |(index, partition): (&i32, &Partition)| PartitionChange {
        key: PartitionKey {
            topic_id: topic.id,
            index: *index,
        },
        topic: topic.name.clone(),
        leader_epoch: partition.leader_epoch,
    };
    differing.map(change).collect()
}

fn reconfigured(before: &MetadataImage, after: &MetadataImage) -> Option<HashSet<Arc<str>>> {
    let brokers = |image: &MetadataImage| -> Vec<_> {
        let broker = ResourceType::Broker as i8;
        let all = image.all_settings().filter(|((kind, _), _)| *kind == broker);
        all.map(|(name, settings)| (name.clone(), settings.clone()))
            .collect()
    };
    if brokers(before) != brokers(after) {
        return None;
    }
    let differs = |topic: &&Topic| {
        before.settings(ResourceType::Topic, &topic.name) != after.settings(ResourceType::Topic, &topic.name)
    };
    Some(
        after
            .topics()
            .filter(differs)
            .map(|topic| topic.name.clone())
            .collect(),
    )
}

/// What happens once the records are in force.
#[derive(Debug)]
pub(super) enum After {
    /// The client gets its response.
    Answer(ReplyTo, Answer),
    /// A Metadata request is handled again.
    TopicsReady { core: usize, call: CallId },
    /// A core has producer ids.
    ProducerIds {
        core: usize,
        first: Option<i64>,
        count: i32,
    },
    /// The broker may listen.
    Booted,
    /// A partition is to be moved first; then the client gets its response.
    Relocate(ReplyTo, Relocation),
}

/// How far the request in progress has come.
#[derive(Debug)]
enum Phase {
    /// The engine had no room.
    Appending,
    /// In the log, not durable yet.
    Committing { ticket: Ticket, base_offset: i64 },
    /// Cores open and close partitions.
    Preparing { update: Arc<Update>, waiting: usize },
    /// Cores take up the image.
    Publishing { waiting: usize },
    /// A partition goes from core to core.
    Relocating,
}

#[derive(Debug)]
struct Work {
    records: Vec<Record>,
    after: After,
    phase: Phase,
}

/// The controller's side of core 0.
#[derive(Debug)]
pub struct Control {
    replay: Replay,
    slot: Slot,
    epoch: i32,
    queue: VecDeque<ControlOrder>,
    work: Option<Work>,
    boot: Vec<Record>,
}

impl Control {
    /// A controller over the state at start. `boot` records are appended before any request is served.
    pub fn new(replay: Replay, slot: Slot, epoch: i32, boot: Vec<Record>) -> Control {
        Control {
            replay,
            slot,
            epoch,
            queue: VecDeque::new(),
            work: None,
            boot,
        }
    }

    /// The metadata decisions are made from.
    pub fn image(&self) -> &MetadataImage {
        self.replay.image()
    }
}

impl Core {
    /// Core 0: appends what the start of the broker has decided.
    pub(super) fn begin_control(&mut self) {
        let Some(control) = &mut self.control else { return };
        let request = ControlRequest::Boot(std::mem::take(&mut control.boot));
        self.take_control(ControlOrder { core: 0, request });
    }

    /// Core 0: takes a request; it is dealt with when those before it are.
    pub(super) fn take_control(&mut self, order: ControlOrder) {
        let Some(control) = &mut self.control else { return };
        control.queue.push_back(order);
        self.next_control();
    }

    /// Whether core 0 has nothing to decide; other cores never have.
    pub(super) fn control_is_idle(&self) -> bool {
        self.control
            .as_ref()
            .is_none_or(|control| control.work.is_none() && control.queue.is_empty())
    }

    /// Deals with what waits, one after the other, until something takes longer.
    pub(super) fn next_control(&mut self) {
        while let Some(control) = &mut self.control
            && control.work.is_none()
        {
            let Some(order) = control.queue.pop_front() else {
                return;
            };
            let Some(Decision { records, after }) = self.decide(order) else {
                return;
            };
            let Some(control) = &mut self.control else { return };
            if let After::Relocate(_, relocation) = &after {
                let relocation = relocation.clone();
                control.work = Some(Work {
                    records,
                    after,
                    phase: Phase::Relocating,
                });
                self.begin_relocation(relocation);
            } else if records.is_empty() {
                self.conclude(after);
            } else {
                control.work = Some(Work {
                    records,
                    after,
                    phase: Phase::Appending,
                });
                self.append_control();
            }
        }
    }

    /// Appends the records of the work in progress.
    fn append_control(&mut self) {
        let Some(control) = &mut self.control else { return };
        let Some(work) = &mut control.work else { return };
        let version = control.replay.image().metadata_version();
        let batch = batches::encode(&work.records, version, control.epoch, self.io.wall_ms());
        match self.shard.append(&mut *self.io, control.slot, &batch) {
            Ok(appended) => {
                work.phase = Phase::Committing {
                    ticket: appended.ticket,
                    base_offset: appended.base_offset,
                };
            }
            Err(AppendError::Busy) => {}
            Err(error) => {
                let reason = format!("{error:?}");
                self.fail_control(&reason);
            }
        }
    }

    /// Core 0: the engine has room again.
    pub(super) fn retry_control(&mut self) {
        let appending = |work: &Work| matches!(work.phase, Phase::Appending);
        if self
            .control
            .as_ref()
            .is_some_and(|control| control.work.as_ref().is_some_and(appending))
        {
            self.append_control();
            self.next_control();
        }
    }

    /// Core 0: the records are durable: they are the truth now.
    pub(super) fn on_control_committed(&mut self, committed: Ticket) {
        let Some(control) = &mut self.control else { return };
        let Some(work) = &mut control.work else { return };
        let Phase::Committing { ticket, base_offset } = work.phase else {
            return;
        };
        if ticket > committed {
            return;
        }
        let before = control.replay.image().clone();
        if let Err(error) = control
            .replay
            .apply_all(&work.records, base_offset, control.epoch)
        {
            // What is in the log cannot be taken back, and this image can no longer be trusted to decide anything.
            crate::error!("the metadata log contradicts itself: {error}");
            self.fail_control("the metadata log contradicts itself");
            return self.next_control();
        }
        let busy = self.loads.recent(self.io.now());
        let image = Arc::new(control.replay.image().clone());
        let update = Arc::new(Update::between(&before, image, &self.placement, &busy));
        work.phase = Phase::Preparing {
            update: update.clone(),
            waiting: self.cores,
        };
        (0..self.cores).for_each(|core| self.post(core, Mail::Prepare(update.clone())));
    }

    /// Core 0: one more core has done its part.
    pub(super) fn on_ready(&mut self) {
        let cores = self.cores;
        let Some(work) = self.control.as_mut().and_then(|control| control.work.as_mut()) else {
            return;
        };
        match &mut work.phase {
            Phase::Preparing { update, waiting } => {
                *waiting -= 1;
                if *waiting == 0 {
                    let update = update.clone();
                    work.phase = Phase::Publishing { waiting: cores };
                    (0..cores).for_each(|core| self.post(core, Mail::Publish(update.clone())));
                }
            }
            Phase::Publishing { waiting } => {
                *waiting -= 1;
                if *waiting == 0 {
                    self.end_work();
                }
            }
            _ => {}
        }
    }

    /// Core 0: the partition is at its new owner, or stays where it was. Either way everybody may go on.
    pub(super) fn on_relocated(&mut self, result: Result<(), String>) {
        let cores = self.cores;
        let Some(work) = self.control.as_mut().and_then(|control| control.work.as_mut()) else {
            return;
        };
        let After::Relocate(to, relocation) = &work.after else {
            return;
        };
        let (to, mut placement) = (*to, Placement::clone(&self.placement));
        let Relocation {
            key, topic, to: core, ..
        } = relocation;
        match &result {
            Ok(()) => {
                crate::info!("partition {} of {topic} moved to core {core}", key.index);
                placement.put(*key, *core);
            }
            Err(why) => crate::warn!(
                "partition {} of {topic} does not move to core {core}: {why}",
                key.index
            ),
        }
        let response = move_partition::done(result);
        work.after = After::Answer(to, Answer::Bytes(to.encode(&response)));
        work.phase = Phase::Publishing { waiting: cores };
        let update = Arc::new(Update::of_placement(self.image.clone(), placement));
        (0..cores).for_each(|core| self.post(core, Mail::Publish(update.clone())));
    }

    fn end_work(&mut self) {
        if let Some(work) = self.control.as_mut().and_then(|control| control.work.take()) {
            self.conclude(work.after);
        }
        self.next_control();
    }

    fn conclude(&mut self, after: After) {
        match after {
            After::Answer(to, answer) => self.deliver(to, answer),
            After::TopicsReady { core, call } => self.post(core, Mail::TopicsReady { call }),
            After::ProducerIds { core, first, count } => {
                self.post(core, Mail::ProducerIds { first, count });
            }
            After::Booted => self.report(crate::broker::Report::Booted),
            // Answered when it is done, as After::Answer.
            After::Relocate(to, _) => self.deliver(to, Answer::Close),
        }
    }

    /// Core 0: the work in progress cannot be written down. The client's connection is closed: it finds out by asking
    /// again what holds. Work that is written down already goes on. What waits is the caller's to go on with.
    pub(super) fn fail_control(&mut self, reason: &str) {
        let unwritten = |work: &mut Work| matches!(work.phase, Phase::Appending | Phase::Committing { .. });
        let Some(control) = &mut self.control else { return };
        let Some(work) = control.work.take_if(unwritten) else {
            return;
        };
        crate::error!("a change of the metadata could not be stored: {reason}");
        match work.after {
            After::Answer(to, _) => self.deliver(to, Answer::Close),
            After::ProducerIds { core, .. } => self.post(
                core,
                Mail::ProducerIds {
                    first: None,
                    count: 0,
                },
            ),
            After::Booted => self.report(crate::broker::Report::Failed(reason.to_owned())),
            other => self.conclude(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::controller::testing::{id_of, image, setting, topic};
    use crate::wire::metadata_records::{PartitionChangeRecord, RemoveTopicRecord};

    fn between(before: &[Record], more: &[Record]) -> Update {
        let after = image(&[before, more].concat());
        Update::between(&image(before), Arc::new(after), &Placement::new(2), &[])
    }

    fn keys(changes: &[PartitionChange]) -> Vec<(String, i32)> {
        let key = |change: &PartitionChange| (change.topic.to_string(), change.key.index);
        changes.iter().map(key).collect()
    }

    #[test]
    fn topics_come_and_go() {
        let update = between(&topic("a", 1), &topic("b", 2));
        assert_eq!(keys(&update.opened), [("b".to_owned(), 0), ("b".to_owned(), 1)]);
        assert!(update.closed.is_empty() && update.elected.is_empty());
        let topic_id = id_of("a");
        let update = between(&topic("a", 2), &[RemoveTopicRecord { topic_id }.into()]);
        assert_eq!(keys(&update.closed), [("a".to_owned(), 0), ("a".to_owned(), 1)]);
        assert!(update.opened.is_empty());
    }

    #[test]
    fn an_election_is_told_and_opens_nothing() {
        let change = PartitionChangeRecord {
            partition_id: 1,
            topic_id: id_of("a"),
            leader: 1,
            ..Default::default()
        };
        let update = between(&topic("a", 2), &[change.into()]);
        assert_eq!(keys(&update.elected), [("a".to_owned(), 1)]);
        assert_eq!(update.elected[0].leader_epoch, 1);
        assert!(update.opened.is_empty() && update.closed.is_empty());
    }

    #[test]
    fn settings_reach_the_topics_they_are_for() {
        let before = [topic("a", 1), topic("b", 1)].concat();
        let of_a = between(&before, &[setting(2, "a", "retention.ms", "5")]);
        let names = ["a", "b"].map(Arc::<str>::from);
        assert_eq!(
            names.each_ref().map(|name| of_a.changes_settings_of(name)),
            [true, false]
        );
        let of_all = between(&before, &[setting(4, "", "log.retention.ms", "5")]);
        assert_eq!(
            names.each_ref().map(|name| of_all.changes_settings_of(name)),
            [true, true]
        );
    }
}
