//! A power cut after any step: what is durable then, what may be, and one state for each fate of the rest.

use std::collections::HashSet;

use crate::disk::{Disk, Step, StepId};
use crate::random::Random;
use crate::state::State;

/// What becomes of changes that were not durable.
#[derive(Clone, Debug)]
pub enum Fate {
    /// None is there.
    Nothing,
    /// All are there.
    Everything,
    /// Some are there, in no order, and some writes in part.
    Random(Random),
}

/// Goes through the steps of a disk; before the first one it stands at what was there at the start.
pub struct Cursor<'a> {
    disk: &'a Disk,
    at: usize,
    /// Every durable step that no pending one comes before at the same object.
    base: State,
    /// The others, in order.
    window: Vec<StepId>,
    durable: HashSet<StepId>,
    changes: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(disk: &'a Disk) -> Cursor<'a> {
        Cursor {
            disk,
            at: 0,
            base: disk.start.clone(),
            window: Vec::new(),
            durable: HashSet::new(),
            changes: 0,
        }
    }

    /// How many steps were made.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many of them are durable: while this stays, so does the state with nothing else.
    pub fn durable_count(&self) -> usize {
        self.durable.len()
    }

    /// How many of them are changes: while this stays, so does the state with everything.
    pub fn change_count(&self) -> usize {
        self.changes
    }

    /// Whether nothing waits to be durable: all fates are the same.
    pub fn is_certain(&self) -> bool {
        self.durable.len() == self.changes
    }

    /// Makes the next step. False at the end.
    pub fn advance(&mut self) -> bool {
        let Some(step) = self.disk.steps.get(self.at) else {
            return false;
        };
        match step {
            Step::Durable(steps) => {
                self.durable.extend(steps);
                self.absorb();
            }
            _ => {
                self.window.push(self.at);
                self.changes += 1;
            }
        }
        self.at += 1;
        true
    }

    fn absorb(&mut self) {
        let mut blocked = HashSet::new();
        for id in std::mem::take(&mut self.window) {
            let step = &self.disk.steps[id];
            if self.durable.contains(&id) && !blocked.contains(&step.object()) {
                self.base.apply(step);
            } else {
                blocked.insert(step.object());
                self.window.push(id);
            }
        }
    }

    /// What the disk holds after a power cut here.
    pub fn state(&self, fate: Fate) -> State {
        let mut state = self.base.clone();
        state.reserve(self.disk.next_ino);
        let (mut random, everything) = match fate {
            Fate::Nothing => (None, false),
            Fate::Everything => (None, true),
            Fate::Random(random) => (Some(random), false),
        };
        let kept = random.as_mut().map_or(0, |r| r.pick(&[10, 50, 90]));
        for id in &self.window {
            let step = &self.disk.steps[*id];
            let Some(random) = random.as_mut().filter(|_| !self.durable.contains(id)) else {
                if everything || self.durable.contains(id) {
                    state.apply(step);
                }
                continue;
            };
            let (whole, torn) = (random.percent(kept), random.percent(50));
            match step {
                _ if whole => state.apply(step),
                Step::Write { ino, at, bytes } if torn => state.apply_torn(*ino, *at, bytes, random),
                _ => {}
            }
        }
        state
    }
}

impl Cursor<'_> {
    /// Whether the last step, or the one before it, gave a cleaned segment's file another name, or took one away that it replaces.
    pub fn is_swap(&self) -> bool {
        let is_of_swap = |name: &str| [".swap", ".deleted"].iter().any(|end| name.ends_with(end));
        let last = &self.disk.steps[self.at.saturating_sub(2)..self.at];
        last.iter().any(|step| match step {
            Step::Rename { from, to, .. } => is_of_swap(from) || is_of_swap(to),
            Step::Unlink { name, .. } => is_of_swap(name),
            _ => false,
        })
    }

    /// The last step, for a message.
    pub fn last_step(&self) -> String {
        let last = self.at.checked_sub(1).map(|i| &self.disk.steps[i]);
        match last {
            None => "nothing".into(),
            Some(Step::Write { ino, at, bytes }) => {
                format!("write file {ino} at {at}, {} bytes", bytes.len())
            }
            Some(step) => format!("{step:?}"),
        }
    }
}
