//! The members of a classic group, what they can speak, and who of them waits for an answer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::join_group::JoinGroupRequestProtocol;

/// Who a member is, whatever it says.
#[derive(Debug)]
pub struct About {
    /// Its id.
    pub id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Its client's address.
    pub client_host: String,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
}

/// A member. `T` says where the answer goes that it waits for.
#[derive(Debug)]
pub struct Member<T> {
    /// Its id.
    pub id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Its client's address.
    pub client_host: String,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What the leader gave it.
    pub assignment: Bytes,
    /// Whether no generation has begun since it joined. Its JoinGroup does not wait for ever then: the client may be gone, and be another member by now.
    pub is_new: bool,
    protocols: Vec<JoinGroupRequestProtocol>,
    awaiting_join: Option<T>,
    awaiting_sync: Option<T>,
}

impl<T> Member<T> {
    /// A member that waits for nothing. What it says is copied: the bytes of a request are a piece of a larger frame.
    pub fn new(about: About, protocols: &[JoinGroupRequestProtocol], assignment: &Bytes) -> Self {
        Member {
            id: about.id,
            instance_id: about.instance_id,
            client_id: about.client_id,
            client_host: about.client_host,
            rebalance_timeout_ms: about.rebalance_timeout_ms,
            session_timeout_ms: about.session_timeout_ms,
            assignment: Bytes::copy_from_slice(assignment),
            is_new: false,
            protocols: owned(protocols),
            awaiting_join: None,
            awaiting_sync: None,
        }
    }

    /// The same member under another id.
    pub fn under(self, id: Arc<str>) -> Self {
        Member {
            id,
            is_new: false,
            ..self
        }
    }

    /// What it said for one protocol; empty if it does not speak it.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let said = self.protocols.iter().find(|said| said.name == protocol);
        said.map(|said| said.metadata.clone()).unwrap_or_default()
    }

    /// Whether it said the same, in the same order.
    pub fn says(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        self.protocols == protocols
    }

    /// Its protocols, the preferred first.
    pub fn protocols(&self) -> &[JoinGroupRequestProtocol] {
        &self.protocols
    }

    /// Whether its JoinGroup is not answered yet.
    pub fn awaits_join(&self) -> bool {
        self.awaiting_join.is_some()
    }

    /// Whether its SyncGroup is not answered yet.
    pub fn awaits_sync(&self) -> bool {
        self.awaiting_sync.is_some()
    }

    /// Whether it need not be heard of: it waits for the coordinator.
    pub fn is_excused(&self) -> bool {
        !self.is_new && (self.awaits_join() || self.awaits_sync())
    }
}

/// The members of a group.
#[derive(Debug)]
pub struct Members<T> {
    by_id: BTreeMap<Arc<str>, Member<T>>,
    by_instance: HashMap<String, Arc<str>>,
    /// Of how many members each protocol is one.
    speakers: HashMap<String, usize>,
    awaiting_join: usize,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Members {
            by_id: BTreeMap::new(),
            by_instance: HashMap::new(),
            speakers: HashMap::new(),
            awaiting_join: 0,
        }
    }
}

impl<T> Members<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many wait for the next generation.
    pub fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Member<T>> {
        self.by_id.values()
    }

    /// Their ids.
    pub fn ids(&self) -> Vec<Arc<str>> {
        self.by_id.keys().cloned().collect()
    }

    /// A member.
    pub fn get(&self, id: &str) -> Option<&Member<T>> {
        self.by_id.get(id)
    }

    /// A member, to be changed.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Member<T>> {
        self.by_id.get_mut(id)
    }

    /// Whether there is such a member.
    pub fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// The id of a static member.
    pub fn instance(&self, instance_id: &str) -> Option<&Arc<str>> {
        self.by_instance.get(instance_id)
    }

    /// The longest time one of them may take to join again.
    pub fn rebalance_timeout_ms(&self) -> i32 {
        self.iter()
            .map(|member| member.rebalance_timeout_ms)
            .fold(0, i32::max)
    }

    /// Adds one.
    pub fn insert(&mut self, member: Member<T>) {
        if let Some(instance_id) = &member.instance_id {
            self.by_instance.insert(instance_id.clone(), member.id.clone());
        }
        self.awaiting_join += usize::from(member.awaits_join());
        self.count(&member.protocols);
        self.by_id.insert(member.id.clone(), member);
    }

    /// Takes one out.
    pub fn remove(&mut self, id: &str) -> Option<Member<T>> {
        let member = self.by_id.remove(id)?;
        self.awaiting_join -= usize::from(member.awaits_join());
        self.discount(&member.protocols);
        if let Some(instance_id) = &member.instance_id
            && self.by_instance.get(instance_id) == Some(&member.id)
        {
            self.by_instance.remove(instance_id);
        }
        Some(member)
    }

    /// Takes up what a member says anew.
    pub fn set_protocols(&mut self, id: &str, protocols: &[JoinGroupRequestProtocol]) {
        if let Some(member) = self.by_id.get_mut(id) {
            let old = std::mem::replace(&mut member.protocols, owned(protocols));
            self.discount(&old);
            self.count(protocols);
        }
    }

    /// The member waits for the next generation. Gives back who waited for it before.
    pub fn await_join(&mut self, id: &str, to: T) -> Option<T> {
        let member = self.by_id.get_mut(id)?;
        let before = member.awaiting_join.replace(to);
        self.awaiting_join += usize::from(before.is_none());
        before
    }

    /// The member is about to be told of the next generation.
    pub fn take_join(&mut self, id: &str) -> Option<T> {
        let taken = self.by_id.get_mut(id)?.awaiting_join.take();
        self.awaiting_join -= usize::from(taken.is_some());
        taken
    }

    /// The member waits for its assignment. Gives back who waited for it before.
    pub fn await_sync(&mut self, id: &str, to: T) -> Option<T> {
        self.by_id.get_mut(id)?.awaiting_sync.replace(to)
    }

    /// The member is about to be given its assignment.
    pub fn take_sync(&mut self, id: &str) -> Option<T> {
        self.by_id.get_mut(id)?.awaiting_sync.take()
    }

    /// Whether all members speak one of these protocols.
    pub fn share(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        protocols.iter().any(|protocol| self.all_speak(&protocol.name))
    }

    /// The protocol that most members prefer among those that all of them speak; of equals the one first by name.
    pub fn elect_protocol(&self) -> Option<String> {
        let mut votes = BTreeMap::<&str, usize>::new();
        for member in self.iter() {
            let preferred = member.protocols.iter().find(|said| self.all_speak(&said.name));
            if let Some(preferred) = preferred {
                *votes.entry(&preferred.name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let (name, _) = votes.into_iter().find(|(_, count)| *count == most)?;
        Some(name.to_owned())
    }

    fn all_speak(&self, protocol: &str) -> bool {
        self.speakers.get(protocol).copied().unwrap_or(0) == self.by_id.len()
    }

    fn count(&mut self, protocols: &[JoinGroupRequestProtocol]) {
        for name in names(protocols) {
            *self.speakers.entry(name.to_owned()).or_default() += 1;
        }
    }

    fn discount(&mut self, protocols: &[JoinGroupRequestProtocol]) {
        for name in names(protocols) {
            if let Some(count) = self.speakers.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.speakers.remove(name);
                }
            }
        }
    }
}

/// Each name once, however often a member repeats it.
fn names(protocols: &[JoinGroupRequestProtocol]) -> HashSet<&str> {
    protocols.iter().map(|protocol| protocol.name.as_str()).collect()
}

/// With bytes of their own.
fn owned(protocols: &[JoinGroupRequestProtocol]) -> Vec<JoinGroupRequestProtocol> {
    let copy = |protocol: &JoinGroupRequestProtocol| JoinGroupRequestProtocol {
        name: protocol.name.clone(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    protocols.iter().map(copy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, names: &[&str]) -> Member<u32> {
        let protocol = |name: &&str| JoinGroupRequestProtocol {
            name: (*name).to_owned(),
            metadata: Bytes::new(),
        };
        let about = About {
            id: id.into(),
            instance_id: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: 0,
            session_timeout_ms: 0,
        };
        Member::new(
            about,
            &names.iter().map(protocol).collect::<Vec<_>>(),
            &Bytes::new(),
        )
    }

    #[test]
    fn the_vote_is_among_protocols_that_all_speak() {
        let mut members = Members::default();
        members.insert(member("a", &["sticky", "range", "roundrobin"]));
        members.insert(member("b", &["roundrobin", "range"]));
        members.insert(member("c", &["roundrobin", "range", "range"]));
        assert_eq!(members.elect_protocol(), Some("roundrobin".to_owned()));
        members.remove("c");
        assert_eq!(
            members.elect_protocol(),
            Some("range".to_owned()),
            "one vote each"
        );
        members.insert(member("d", &["sticky"]));
        assert_eq!(members.elect_protocol(), None);
    }

    #[test]
    fn those_that_wait_are_counted_once() {
        let mut members = Members::default();
        members.insert(member("a", &["range"]));
        assert_eq!(members.await_join("a", 1), None);
        assert_eq!(members.await_join("a", 2), Some(1));
        assert_eq!(members.awaiting_join(), 1);
        assert_eq!((members.take_join("a"), members.take_join("a")), (Some(2), None));
        assert_eq!(members.awaiting_join(), 0);
        members.await_join("a", 3);
        members.remove("a");
        assert_eq!(members.awaiting_join(), 0);
    }
}
