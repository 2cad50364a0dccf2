//! A member of the classic protocol as clients are members: eager ones give everything up before they join, cooperative ones what they are told to.

use std::collections::BTreeMap;

use super::client::Owned;
use super::world::{World, id_of};
use crate::wire::code::ErrorCode;
use crate::wire::consumer_protocol::{self, ConsumerProtocolSubscription, TopicPartition, encode};
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::wire::sync_group::SyncGroupRequest;

/// What it has to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    Join,
    Sync,
    Beat,
}

pub(super) struct ClassicClient {
    pub id: String,
    pub topics: Vec<String>,
    pub owned: Owned,
    pub last_act_ms: i64,
    eager: bool,
    generation: i32,
    next: Next,
}

impl ClassicClient {
    pub(super) fn new(topics: Vec<String>, eager: bool) -> ClassicClient {
        ClassicClient {
            id: String::new(),
            topics,
            owned: Owned::new(),
            last_act_ms: 0,
            eager,
            generation: -1,
            next: Next::Join,
        }
    }

    /// Sends what is to be sent next, and follows the answer.
    pub(super) fn act(&mut self, world: &mut World) {
        self.last_act_ms = world.now_ms;
        let error = match self.next {
            Next::Join => self.join(world),
            Next::Sync => self.sync(world),
            Next::Beat => self.beat(world),
        };
        match error {
            ErrorCode::None | ErrorCode::MemberIdRequired => {}
            ErrorCode::RebalanceInProgress => self.next = Next::Join,
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                self.owned.clear();
                (self.generation, self.next) = (-1, Next::Join);
            }
            error => panic!("{}: {error}", self.id),
        }
    }

    fn join(&mut self, world: &mut World) -> ErrorCode {
        if self.eager {
            self.owned.clear();
        }
        let subscription = ConsumerProtocolSubscription {
            topics: self.topics.clone(),
            owned_partitions: named(&self.owned),
            ..Default::default()
        };
        let request = JoinGroupRequest {
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 60_000,
            member_id: self.id.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".to_owned(),
                metadata: encode(&subscription, 1),
            }],
            ..Default::default()
        };
        let (_, response) =
            world.step(|group, ctx, timers| group.classic_join(ctx, timers, "c", "/h", 9, &request));
        self.id = response.member_id;
        let error = ErrorCode::from_code(response.error_code);
        if error.is_none() {
            (self.generation, self.next) = (response.generation_id, Next::Sync);
        }
        error
    }

    fn sync(&mut self, world: &mut World) -> ErrorCode {
        let request = SyncGroupRequest {
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..Default::default()
        };
        let response = world.with(|group, ctx, timers| group.classic_sync(ctx, timers, &request));
        if response.error_code == 0 {
            let assignment = consumer_protocol::assignment(&response.assignment).expect("readable");
            let told: Owned = assignment
                .assigned_partitions
                .iter()
                .flat_map(|topic| {
                    topic
                        .partitions
                        .iter()
                        .map(|partition| (id_of(&topic.topic), *partition))
                })
                .collect();
            let revoked = !self.owned.is_subset(&told);
            self.owned = told;
            self.next = if revoked { Next::Join } else { Next::Beat };
        }
        ErrorCode::from_code(response.error_code)
    }

    fn beat(&mut self, world: &mut World) -> ErrorCode {
        let request = HeartbeatRequest {
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..Default::default()
        };
        world.with(|group, ctx, timers| group.classic_heartbeat(ctx, timers, &request))
    }
}

fn named(owned: &Owned) -> Vec<TopicPartition> {
    let mut named: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in owned {
        let name = super::simulation::TOPICS
            .iter()
            .find(|name| id_of(name) == *topic);
        named
            .entry(name.expect("a topic of the simulation"))
            .or_default()
            .push(*partition);
    }
    let named = named.into_iter().map(|(topic, partitions)| TopicPartition {
        topic: topic.to_owned(),
        partitions,
    });
    named.collect()
}
