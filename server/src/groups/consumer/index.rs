//! What a group knows of its members taken together, kept up to date one member at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::member::Member;
use super::partitions::Owned;
use crate::wire::uuid::Uuid;

/// How often a topic is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// By how many members by its name.
    pub by_name: usize,
    /// By how many regular expressions.
    pub by_regex: usize,
}

/// The topics that a regular expression matched, when last looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Resolved {
    pub topics: BTreeSet<String>,
    /// The offset of the metadata that was looked at.
    pub version: i64,
    /// When, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// Counts over the members, and the owner's epoch of each partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    pub topics: BTreeMap<String, Wanted>,
    /// How many members have each regular expression.
    pub regexes: BTreeMap<String, usize>,
    pub resolved: BTreeMap<String, Resolved>,
    pub static_members: HashMap<String, Arc<str>>,
    pub assignors: BTreeMap<String, usize>,
    pub classic_members: usize,
    /// How many classic members support each of their protocols.
    pub classic_protocols: BTreeMap<String, usize>,
    owner_epochs: HashMap<Uuid, HashMap<i32, i32>>,
}

impl Index {
    /// Counts a member in.
    pub(super) fn add(&mut self, member: &Member) {
        for topic in &member.topic_names {
            self.topics.entry(topic.clone()).or_default().by_name += 1;
        }
        if let Some(regex) = member.regex() {
            increment(&mut self.regexes, regex);
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        if let Some(assignor) = &member.server_assignor {
            increment(&mut self.assignors, assignor);
        }
        if let Some(classic) = &member.classic {
            self.classic_members += 1;
            for protocol in &classic.supported_protocols {
                increment(&mut self.classic_protocols, &protocol.name);
            }
        }
        self.add_owned(&member.assigned, member.epoch);
        self.add_owned(&member.pending_revocation, member.epoch);
    }

    /// Takes a member out, as it was counted in.
    pub(super) fn remove(&mut self, member: &Member) {
        for topic in &member.topic_names {
            self.unwant(topic, |wanted| &mut wanted.by_name);
        }
        if let Some(regex) = member.regex() {
            decrement(&mut self.regexes, regex);
        }
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id) == Some(&member.id)
        {
            self.static_members.remove(instance_id);
        }
        if let Some(assignor) = &member.server_assignor {
            decrement(&mut self.assignors, assignor);
        }
        if let Some(classic) = &member.classic {
            self.classic_members -= 1;
            for protocol in &classic.supported_protocols {
                decrement(&mut self.classic_protocols, &protocol.name);
            }
        }
        self.remove_owned(&member.assigned, member.epoch);
        self.remove_owned(&member.pending_revocation, member.epoch);
    }

    /// Puts down what a regular expression matches now, or that nobody needs to know any more.
    pub(super) fn resolve(&mut self, regex: &str, resolved: Option<Resolved>) {
        if let Some(before) = self.resolved.remove(regex) {
            for topic in &before.topics {
                self.unwant(topic, |wanted| &mut wanted.by_regex);
            }
        }
        if let Some(resolved) = resolved {
            for topic in &resolved.topics {
                self.topics.entry(topic.clone()).or_default().by_regex += 1;
            }
            self.resolved.insert(regex.to_owned(), resolved);
        }
    }

    /// Whether somebody has the partition.
    pub(super) fn is_owned(&self, topic: Uuid, partition: i32) -> bool {
        self.owner_epochs
            .get(&topic)
            .is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// Whether all of `members` members want the same topics. Different regular expressions may match the same topics: that is not looked at.
    pub(super) fn is_homogeneous(&self, members: usize) -> bool {
        match self.regexes.values().next() {
            None => self.topics.values().all(|wanted| wanted.by_name == members),
            Some(count) => {
                *count == members
                    && self
                        .topics
                        .values()
                        .all(|wanted| wanted.by_regex == 1 && wanted.by_name == 0)
            }
        }
    }

    fn unwant(&mut self, topic: &str, count: impl Fn(&mut Wanted) -> &mut usize) {
        if let Some(wanted) = self.topics.get_mut(topic) {
            *count(wanted) = count(wanted).saturating_sub(1);
            if *wanted == Wanted::default() {
                self.topics.remove(topic);
            }
        }
    }

    fn add_owned(&mut self, owned: &Owned, epoch: i32) {
        for (topic, partitions) in owned {
            let epochs = self.owner_epochs.entry(*topic).or_default();
            epochs.extend(partitions.keys().map(|partition| (*partition, epoch)));
        }
    }

    /// A partition that was given to somebody else with a newer epoch stays with them: records of a member that is gone may come after those of
    /// its heir.
    fn remove_owned(&mut self, owned: &Owned, epoch: i32) {
        for (topic, partitions) in owned {
            let Some(epochs) = self.owner_epochs.get_mut(topic) else {
                continue;
            };
            for partition in partitions.keys() {
                if epochs.get(partition) == Some(&epoch) {
                    epochs.remove(partition);
                }
            }
            if epochs.is_empty() {
                self.owner_epochs.remove(topic);
            }
        }
    }
}

fn increment(counts: &mut BTreeMap<String, usize>, key: &str) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => {
            counts.insert(key.to_owned(), 1);
        }
    }
}

fn decrement(counts: &mut BTreeMap<String, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
