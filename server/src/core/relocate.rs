//! Partitions that move from one core to another while clients use them.
//!
//! Core 0 does it as one piece of the control plane's work, so nothing is created, deleted or changed meanwhile:
//!
//! ```text
//! core 0            every core                       old owner                          new owner
//!   Hold ─────────▶ keeps back what is for the
//!                   partition, says so ── Held ────▶ heard all: nothing is on its way
//!                                                    here any more. Appends what waits for
//!                                                    room, releases ───── TakeOver ────▶ takes it over, a checkpoint
//!        ◀──────────────────────────────────────── Relocated ─────────────────────────── has it
//!   Publish ──────▶ new table: what was kept                            ◀── TakenOver ──
//!                   back goes to the new owner
//! ```
//!
//! Nothing can overtake: a core's requests for the partition lie either before its Held in the queue to the old owner, or are sent to the
//! new one after the Publish, in the order in which they came. Clients see a pause, and no error; what is kept back stands for
//! requests whose connections wait, and is bounded as they are.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use ringlog_engine::handover::Released;
use ringlog_engine::shard::Slot;

use super::Core;
use super::calls::CallId;
use super::mail::{AppendOrder, AskOrder, Mail, PartitionKey};
use super::queue::QueueInTransit;

/// Which partition goes from where to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Which.
    pub key: PartitionKey,
    /// Its topic's name.
    pub topic: Arc<str>,
    /// The core that owns it.
    pub from: usize,
    /// The core that shall own it.
    pub to: usize,
}

/// A partition between two cores.
#[derive(Debug)]
pub struct InTransit {
    relocation: Arc<Relocation>,
    released: Released,
    queue: QueueInTransit,
}

/// What a core keeps back for a partition on its way.
#[derive(Debug)]
struct Held {
    relocation: Arc<Relocation>,
    appends: VecDeque<AppendOrder>,
    fetches: BTreeSet<CallId>,
    questions: Vec<AskOrder>,
}

/// The old owner's part.
#[derive(Debug)]
enum Leaving {
    /// So many cores have not said that they keep back what is for the partition.
    Gathering(usize),
    /// What has come before is being dealt with.
    Emptying(Arc<Relocation>),
    /// The shard is letting go of it.
    Releasing(Arc<Relocation>),
}

/// One core's part in the move under way, if there is one.
#[derive(Debug, Default)]
pub(super) struct Relocating {
    held: Option<Held>,
    leaving: Option<Leaving>,
    /// A partition has left this core, and is not known to be in the other one's hands.
    in_transit: bool,
    /// The new owner's: what it takes over, and its slot.
    arriving: Option<(Arc<Relocation>, Slot)>,
}

impl Relocating {
    /// Whether requests for the partition are kept back.
    pub(super) fn holds(&self, key: &PartitionKey) -> bool {
        self.held.as_ref().is_some_and(|held| held.relocation.key == *key)
    }

    /// Whether one of the partitions' is.
    pub(super) fn holds_any<'a>(&self, mut keys: impl Iterator<Item = &'a PartitionKey>) -> bool {
        self.held.is_some() && keys.any(|key| self.holds(key))
    }

    /// Keeps back batches.
    pub(super) fn hold_append(&mut self, order: AppendOrder) {
        if let Some(held) = &mut self.held {
            held.appends.push_back(order);
        }
    }

    /// Keeps back a fetch.
    pub(super) fn hold_fetch(&mut self, call: CallId) {
        if let Some(held) = &mut self.held {
            held.fetches.insert(call);
        }
    }

    /// Keeps back questions.
    pub(super) fn hold_questions(&mut self, order: AskOrder) {
        if let Some(held) = &mut self.held {
            held.questions.push(order);
        }
    }

    /// Whether a partition has left this core, and is not known to be in the other one's hands.
    pub(super) fn has_one_in_transit(&self) -> bool {
        self.in_transit
    }
}

impl Core {
    /// Core 0: has a partition moved. Everybody keeps back what is for it.
    pub(super) fn begin_relocation(&mut self, relocation: Relocation) {
        let relocation = Arc::new(relocation);
        (0..self.cores).for_each(|core| self.post(core, Mail::Hold(relocation.clone())));
    }

    /// Every core: keeps back what is for the partition from now on, and tells its owner that no more will come.
    pub(super) fn hold(&mut self, relocation: Arc<Relocation>) {
        let from = relocation.from;
        self.relocating.held = Some(Held {
            relocation: relocation.clone(),
            appends: VecDeque::new(),
            fetches: BTreeSet::new(),
            questions: Vec::new(),
        });
        self.post(from, Mail::Held(relocation));
    }

    /// Old owner: one more core sends nothing more.
    pub(super) fn on_held(&mut self, relocation: Arc<Relocation>) {
        let left = match self.relocating.leaving.take() {
            Some(Leaving::Gathering(left)) => left - 1,
            _ => self.cores - 1,
        };
        self.relocating.leaving = Some(match left {
            0 => Leaving::Emptying(relocation),
            left => Leaving::Gathering(left),
        });
        self.go_on_leaving();
    }

    /// Old owner: lets go of the partition once nothing that came for it waits for room any more.
    pub(super) fn go_on_leaving(&mut self) {
        let Some(Leaving::Emptying(relocation)) = &self.relocating.leaving else {
            return;
        };
        let relocation = relocation.clone();
        let key = relocation.key;
        let slot = self.partitions.slot(&key);
        if self.appends.has_parked(&key)
            || self.checks.has_any_of(&key)
            || self.markers.has_parked(&key)
            || self.reads.has_stalled(&key)
            || slot.is_some_and(|slot| self.questions.has_stalled(slot))
        {
            return;
        }
        let released = match slot {
            None => Err("its folder could not be made yet".to_owned()),
            Some(slot) => {
                let released = self.shard.release(&*self.io, slot);
                released.map_err(|error| format!("{error:?}"))
            }
        };
        match released {
            Ok(()) => self.relocating.leaving = Some(Leaving::Releasing(relocation)),
            Err(why) => self.stay(why),
        }
    }

    fn stay(&mut self, why: String) {
        self.relocating.leaving = None;
        self.post(0, Mail::Relocated(Err(why)));
    }

    /// Old owner: the shard has let go of a partition.
    pub(super) fn on_released(&mut self, slot: Slot, released: Released) {
        let Some(Leaving::Releasing(relocation)) = self.relocating.leaving.take() else {
            return;
        };
        self.relocating.in_transit = true;
        let queue = self.release_queue(&relocation.key, slot);
        self.partitions.forget(&relocation.key);
        // Who watches it looks again, and finds it at the other core.
        let fired = self.watches.closed(slot);
        self.tell_moved(fired);
        let to = relocation.to;
        let transit = InTransit {
            relocation,
            released,
            queue,
        };
        self.post(to, Mail::TakeOver(Box::new(transit)));
    }

    /// Old owner: the shard keeps it.
    pub(super) fn on_kept(&mut self, why: String) {
        self.stay(why);
    }

    /// New owner: here it is.
    pub(super) fn take_over(&mut self, transit: InTransit) {
        let InTransit {
            relocation,
            released,
            queue,
        } = transit;
        let options = *released.options();
        let slot = self.shard.take_over(&*self.io, released);
        self.partitions
            .insert(relocation.key, relocation.topic.clone(), slot, &options);
        self.adopt_queue(&relocation.key, slot, queue);
        self.relocating.arriving = Some((relocation, slot));
    }

    /// New owner: it can be appended to.
    pub(super) fn on_adopted(&mut self, slot: Slot, is_durable: bool) {
        let Some((relocation, _)) = self.relocating.arriving.take_if(|arriving| arriving.1 == slot) else {
            return;
        };
        let from = relocation.from;
        self.post(from, Mail::TakenOver(relocation, is_durable));
        self.post(0, Mail::Relocated(Ok(())));
    }

    /// New owner: it could not be taken over, and goes back.
    pub(super) fn on_given_back(&mut self, slot: Slot, released: Released, why: String) {
        let Some((relocation, _)) = self.relocating.arriving.take_if(|arriving| arriving.1 == slot) else {
            return;
        };
        let queue = self.release_queue(&relocation.key, slot);
        self.partitions.forget(&relocation.key);
        let from = relocation.from;
        let transit = InTransit {
            relocation,
            released,
            queue,
        };
        self.post(from, Mail::TakeBack(Box::new(transit), why));
    }

    /// Old owner: it is here again.
    pub(super) fn take_back(&mut self, transit: InTransit, why: String) {
        let InTransit {
            relocation,
            released,
            queue,
        } = transit;
        let options = *released.options();
        let slot = self.shard.reinstate(&*self.io, released);
        self.partitions
            .insert(relocation.key, relocation.topic.clone(), slot, &options);
        self.adopt_queue(&relocation.key, slot, queue);
        self.relocating.in_transit = false;
        self.stay(why);
    }

    /// Old owner: it is the other core's now, in its checkpoint too unless that writes none any more.
    pub(super) fn on_taken_over(&mut self, relocation: &Relocation, is_durable: bool) {
        self.relocating.in_transit = false;
        if is_durable {
            let name = super::partitions::folder_name(&relocation.topic, relocation.key.index);
            self.shard.forget_released(relocation.key.topic_id.0, &name);
        }
    }

    /// Every core, with a new table in force: what was kept back goes where the partition is now.
    pub(super) fn let_go(&mut self) {
        let Some(held) = self.relocating.held.take() else {
            return;
        };
        let owner = self.placement.owner(&held.relocation.key);
        for order in held.appends {
            self.post(owner, Mail::Append(order));
        }
        for order in held.questions {
            self.post(owner, Mail::Ask(order));
        }
        for call in held.fetches {
            self.read_round(call);
        }
    }
}
