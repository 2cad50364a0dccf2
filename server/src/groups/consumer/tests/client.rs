//! A member as clients are members: it revokes before it takes, says what it has when that has changed, and drops everything when it is fenced.

use std::collections::BTreeSet;

use super::world::{World, at, join};
use crate::wire::code::ErrorCode;
use crate::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use crate::wire::uuid::Uuid;

/// Partitions, one by one.
pub(super) type Owned = BTreeSet<(Uuid, i32)>;

pub(super) struct Client {
    pub id: String,
    pub topics: Vec<String>,
    pub regex: Option<String>,
    pub epoch: i32,
    /// What it works on.
    pub owned: Owned,
    /// What it was told to work on.
    told: Owned,
    /// Whether it has not looked yet at what it was told.
    is_told_anew: bool,
    /// Whether the broker knows what it has and wants.
    has_said: bool,
    /// Whether an answer was lost, so that everything is said again.
    in_doubt: bool,
    pub last_beat_ms: i64,
    pub last_reconciled_ms: i64,
}

impl Client {
    pub(super) fn new(id: String, topics: Vec<String>, regex: Option<String>) -> Client {
        Client {
            id,
            topics,
            regex,
            epoch: 0,
            owned: Owned::new(),
            told: Owned::new(),
            is_told_anew: false,
            has_said: false,
            in_doubt: false,
            last_beat_ms: 0,
            last_reconciled_ms: 0,
        }
    }

    /// Wants other topics.
    pub(super) fn subscribe(&mut self, topics: Vec<String>) {
        self.topics = topics;
        self.in_doubt = true;
    }

    /// Revokes what it shall not have any more, then takes what it shall have. While an answer is missing it takes nothing: it may have told
    /// the broker that it has not taken it yet, and somebody else have got it since.
    ///
    /// After each change of what it was told it says what it has, even if that is what it had: the broker waits until it hears so when it
    /// takes back something that the member never began to work on.
    pub(super) fn reconcile(&mut self, now_ms: i64) {
        self.last_reconciled_ms = now_ms;
        let next = match self.in_doubt {
            true => self.owned.intersection(&self.told).copied().collect(),
            false => self.told.clone(),
        };
        let is_told_anew = std::mem::take(&mut self.is_told_anew);
        if is_told_anew || self.owned != next {
            self.owned = next;
            self.has_said = false;
        }
    }

    /// Sends a heartbeat. With `lost`, the answer does not arrive.
    pub(super) fn beat(&mut self, world: &mut World, lost: bool) {
        self.last_beat_ms = world.now_ms;
        let request = self.request();
        let (_, response) = world.send(&request);
        match ErrorCode::from_code(response.error_code) {
            _ if lost => self.in_doubt = true,
            ErrorCode::None => self.follow(&request, response),
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound => {
                self.start_over()
            }
            error => panic!("{}: {error}", self.id),
        }
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let mut request = at(&self.id, self.epoch);
        if self.epoch == 0 || self.in_doubt {
            request = join(&self.id, &topics);
            request.subscribed_topic_regex.clone_from(&self.regex);
            request.member_epoch = self.epoch;
        }
        if !self.has_said || self.in_doubt {
            request.topic_partitions = Some(listed(&self.owned));
        }
        request
    }

    fn follow(&mut self, request: &ConsumerGroupHeartbeatRequest, response: ConsumerGroupHeartbeatResponse) {
        assert!(
            response.member_epoch >= self.epoch,
            "{}: {} after {}",
            self.id,
            response.member_epoch,
            self.epoch
        );
        self.epoch = response.member_epoch;
        self.in_doubt = false;
        self.has_said |= request.topic_partitions.is_some();
        if let Some(assignment) = response.assignment {
            let told = flat(&assignment.topic_partitions);
            self.is_told_anew |= self.told != told;
            self.told = told;
        }
    }

    /// It was fenced: it has nothing, and joins again.
    fn start_over(&mut self) {
        self.epoch = 0;
        self.owned.clear();
        self.told.clear();
        self.is_told_anew = false;
        self.in_doubt = false;
        self.has_said = false;
    }
}

fn listed(owned: &Owned) -> Vec<TopicPartitions> {
    let mut listed: Vec<TopicPartitions> = Vec::new();
    for (topic_id, partition) in owned {
        match listed.last_mut().filter(|topic| topic.topic_id == *topic_id) {
            Some(topic) => topic.partitions.push(*partition),
            None => listed.push(TopicPartitions {
                topic_id: *topic_id,
                partitions: vec![*partition],
            }),
        }
    }
    listed
}

fn flat(listed: &[TopicPartitions]) -> Owned {
    listed
        .iter()
        .flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|partition| (topic.topic_id, *partition))
        })
        .collect()
}
