//! A coordinator at work, with a clock that stands still until it is moved.
//!
//! At the end of every test a second coordinator replays the bytes of all records: it must describe the same groups and offsets. And the first
//! resigns: by then every request must have been answered once.

mod commits;
mod expiry;
mod joining;
mod leaving;
mod listing;
mod offsets;
mod protocols;
mod racing;
mod reasons;
mod replay;
mod statics;
mod storm;
mod syncing;
mod txn_commits;
mod txn_members;
mod txn_model;
mod txn_removal;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::metadata::{MetadataImage, Record, Replay};
use crate::wire::consumer_protocol::{
    self, ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use crate::wire::group_records::GroupRecord;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use crate::wire::metadata_records::{PartitionRecord, RemoveTopicRecord, TopicRecord};
use crate::wire::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchResponseTopics};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use crate::wire::{ErrorCode, Uuid};

use replay::{Transactions, describe, replayed};

use super::{Caller, Coordinator, Ctx, GroupRequest, GroupResponse, GroupSettings, Rebalance, Step};

/// When tests begin.
const START_MS: i64 = 1_700_000_000_000;
/// The session of members.
const SESSION_MS: i32 = 10_000;
/// How long members may take to join again.
const REBALANCE_MS: i32 = 60_000;
/// The newest versions of the requests.
const JOIN: i16 = 9;
const SYNC: i16 = 5;
const HEARTBEAT: i16 = 4;
const LEAVE: i16 = 5;

/// A coordinator, its log, and who was answered what.
pub struct Bench {
    pub coordinator: Coordinator<u32>,
    pub log: Vec<GroupRecord>,
    transactions: Transactions,
    pub settings: GroupSettings,
    pub now_ms: i64,
    /// What was told of rebalances.
    pub rebalances: Vec<Rebalance>,
    metadata: Replay,
    answers: BTreeMap<u32, GroupResponse>,
    asked: u32,
    ids: u128,
}

impl Bench {
    /// An empty coordinator.
    pub fn new() -> Bench {
        let mut bench = Bench {
            coordinator: Coordinator::new(),
            log: Vec::new(),
            transactions: Transactions::default(),
            settings: GroupSettings::default(),
            now_ms: START_MS,
            rebalances: Vec::new(),
            metadata: Replay::default(),
            answers: BTreeMap::new(),
            asked: 0,
            ids: 0,
        };
        bench.load();
        bench
    }

    /// What follows from something.
    fn step(&mut self, act: impl FnOnce(&mut Coordinator<u32>, &mut Ctx<'_>) -> Step<u32>) {
        let ids = &mut self.ids;
        let mut new_id = || {
            *ids += 1;
            Uuid(ids.to_be_bytes())
        };
        let mut ctx = Ctx {
            now_ms: self.now_ms,
            wall_ms: self.now_ms,
            settings: &self.settings,
            image: self.metadata.image(),
            new_id: &mut new_id,
        };
        let step = act(&mut self.coordinator, &mut ctx);
        self.take(step);
    }

    fn take(&mut self, step: Step<u32>) {
        self.transactions.note(self.log.len(), &step);
        self.log.extend(step.records);
        self.rebalances.extend(step.rebalances);
        for (to, response) in step.replies {
            let earlier = self.answers.insert(to, response);
            assert_eq!(earlier, None, "request {to} was answered twice");
        }
    }

    fn load(&mut self) {
        self.step(|coordinator, ctx| coordinator.loaded(ctx));
    }

    /// The broker starts anew: what waits is lost, and the records are replayed.
    pub fn restart(&mut self) {
        let step = self.coordinator.resign();
        self.take(step);
        self.coordinator = replayed(&self.log, &self.transactions);
        self.load();
    }

    /// Asks, and says under which number the answer comes.
    pub fn ask(&mut self, version: i16, request: GroupRequest) -> u32 {
        self.asked += 1;
        let caller = Caller {
            to: self.asked,
            version,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
        };
        self.step(|coordinator, ctx| coordinator.handle(ctx, caller, request));
        self.asked
    }

    /// The answer to what was asked, if it has come.
    pub fn answer(&self, number: u32) -> Option<&GroupResponse> {
        self.answers.get(&number)
    }

    /// Asks, and has the answer at once.
    pub fn get(&mut self, version: i16, request: GroupRequest) -> GroupResponse {
        let number = self.ask(version, request);
        self.answer(number).cloned().expect("answered at once")
    }

    /// Lets time pass; what becomes due is done at its time.
    pub fn pass_ms(&mut self, ms: i64) {
        let until_ms = self.now_ms + ms;
        while let Some(due_ms) = self.coordinator.deadline().filter(|due_ms| *due_ms <= until_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            self.step(|coordinator, ctx| coordinator.expire(ctx, 1));
        }
        self.now_ms = until_ms;
    }

    /// A topic is created; its id follows from its name and `life`.
    pub fn create_topic(&mut self, name: &str, partitions: i32, life: u8) -> Uuid {
        let mut id = [life; 16];
        id[..name.len()].copy_from_slice(name.as_bytes());
        let topic_id = Uuid(id);
        let mut records: Vec<Record> = vec![
            TopicRecord {
                name: name.to_owned(),
                topic_id,
            }
            .into(),
        ];
        records.extend((0..partitions).map(|partition_id| {
            let record = PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                leader_epoch: 0,
                partition_epoch: 0,
                ..Default::default()
            };
            record.into()
        }));
        self.change_topics(&records);
        topic_id
    }

    pub fn delete_topic(&mut self, topic_id: Uuid) {
        self.change_topics(&[RemoveTopicRecord { topic_id }.into()]);
    }

    fn change_topics(&mut self, records: &[Record]) {
        self.metadata.apply_all(records, 0, 0).expect("valid records");
        self.step(|coordinator, ctx| coordinator.on_topics_changed(ctx));
    }

    /// JoinGroup of a consumer, which may be static.
    pub fn join(&mut self, version: i16, member_id: &str, instance_id: Option<&str>) -> u32 {
        self.ask(version, GroupRequest::Join(joining(member_id, instance_id)))
    }

    /// What a JoinGroup was answered.
    pub fn joined(&self, number: u32) -> JoinGroupResponse {
        match self.answer(number) {
            Some(GroupResponse::Join(response)) => response.clone(),
            other => panic!("not joined: {other:?}"),
        }
    }

    /// A member gets an id and begins to join with it.
    pub fn join_with_new_id(&mut self) -> (u32, String) {
        let first = self.join(JOIN, "", None);
        let id = self.joined(first).member_id;
        (self.join(JOIN, &id, None), id)
    }

    /// SyncGroup of a member that is not the leader, or of a leader that assigns to each member its own id.
    pub fn sync(&mut self, member_id: &str, generation_id: i32, members: &[&str]) -> u32 {
        let assignments = members.iter().map(|id| SyncGroupRequestAssignment {
            member_id: (*id).to_owned(),
            assignment: Bytes::copy_from_slice(id.as_bytes()),
        });
        let request = SyncGroupRequest {
            group_id: "g".to_owned(),
            generation_id,
            member_id: member_id.to_owned(),
            assignments: assignments.collect(),
            ..Default::default()
        };
        self.ask(SYNC, GroupRequest::Sync(request))
    }

    pub fn synced(&self, number: u32) -> SyncGroupResponse {
        match self.answer(number) {
            Some(GroupResponse::Sync(response)) => response.clone(),
            other => panic!("not synced: {other:?}"),
        }
    }

    /// A stable group of so many dynamic members, the first of them its leader; of generation 1.
    pub fn stable(&mut self, members: usize) -> Vec<String> {
        let joins: Vec<_> = (0..members).map(|_| self.join_with_new_id()).collect();
        self.pass_ms(6_000);
        let ids: Vec<String> = joins.iter().map(|(_, id)| id.clone()).collect();
        let leader = self.joined(joins[0].0).leader;
        assert_eq!(leader, ids[0]);
        let names: Vec<&str> = ids.iter().map(String::as_str).collect();
        for id in names.iter().skip(1) {
            self.sync(id, 1, &[]);
        }
        let last = self.sync(names[0], 1, &names);
        assert_eq!(self.synced(last).error_code, 0);
        ids
    }

    /// A stable group of one member that has these partitions.
    pub fn stable_with_assignment(&mut self, partitions: &[(&str, &[i32])]) -> Vec<String> {
        let (joins, id) = self.join_with_new_id();
        self.pass_ms(3_000);
        assert_eq!(self.joined(joins).leader, id);
        let assigned = partitions.iter().map(|(topic, indexes)| TopicPartition {
            topic: (*topic).to_owned(),
            partitions: indexes.to_vec(),
        });
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: assigned.collect(),
            user_data: None,
        };
        let request = SyncGroupRequest {
            group_id: "g".to_owned(),
            generation_id: 1,
            member_id: id.clone(),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: id.clone(),
                assignment: consumer_protocol::encode(&assignment, 1),
            }],
            ..Default::default()
        };
        let number = self.ask(SYNC, GroupRequest::Sync(request));
        assert_eq!(self.synced(number).error_code, 0);
        vec![id]
    }

    /// The heartbeat's error.
    pub fn heartbeat(&mut self, member_id: &str, generation_id: i32) -> ErrorCode {
        let request = crate::wire::heartbeat::HeartbeatRequest {
            group_id: "g".to_owned(),
            generation_id,
            member_id: member_id.to_owned(),
            group_instance_id: None,
        };
        match self.get(HEARTBEAT, GroupRequest::Heartbeat(request)) {
            GroupResponse::Heartbeat(response) => ErrorCode::from_code(response.error_code),
            other => panic!("no heartbeat: {other:?}"),
        }
    }

    /// The state of group `g`.
    pub fn state(&mut self) -> String {
        match self.get(6, GroupRequest::Describe("g".to_owned())) {
            GroupResponse::Describe(group) => group.group_state,
            other => panic!("not described: {other:?}"),
        }
    }

    /// All offsets of a group.
    pub fn offsets(&mut self, group_id: &str) -> Vec<OffsetFetchResponseTopics> {
        let group = OffsetFetchRequestGroup {
            group_id: group_id.to_owned(),
            ..Default::default()
        };
        let request = GroupRequest::Fetch {
            group,
            require_stable: false,
        };
        match self.get(9, request) {
            GroupResponse::Fetch(group) => group.topics,
            other => panic!("not fetched: {other:?}"),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let image = MetadataImage::default();
        let lived = describe(&self.coordinator, &image, &self.settings);
        let replayed = describe(&replayed(&self.log, &self.transactions), &image, &self.settings);
        for (id, (state, group)) in &lived {
            let (_, again) = replayed.get(id).expect("a group is in no record");
            // A group between two generations is what it was at its last one.
            if matches!(state.as_str(), "Stable" | "Empty") {
                assert_eq!(group, again);
            }
        }
        assert_eq!(lived.len(), replayed.len());
        let step = self.coordinator.resign();
        self.take(step);
        let unanswered: Vec<u32> = (1..=self.asked)
            .filter(|number| !self.answers.contains_key(number))
            .collect();
        assert_eq!(unanswered, [0; 0], "requests without an answer");
    }
}

/// A consumer that speaks `range` and then `roundrobin`.
fn joining(member_id: &str, instance_id: Option<&str>) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        member_id: member_id.to_owned(),
        group_instance_id: instance_id.map(str::to_owned),
        protocol_type: "consumer".to_owned(),
        protocols: vec![speaks("range", "t"), speaks("roundrobin", "t")],
        reason: None,
    }
}

/// A protocol for one topic.
fn speaks(name: &str, topic: &str) -> JoinGroupRequestProtocol {
    let subscription = ConsumerProtocolSubscription {
        topics: vec![topic.to_owned()],
        ..Default::default()
    };
    JoinGroupRequestProtocol {
        name: name.to_owned(),
        metadata: consumer_protocol::encode(&subscription, 1),
    }
}
