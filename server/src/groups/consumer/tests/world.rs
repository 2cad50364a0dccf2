//! A group and all that it depends on.

use crate::groups::consumer::ConsumerGroup;
use crate::groups::timers::{Timer, Timers};
use crate::groups::{Ctx, GroupSettings};
use crate::metadata::{MetadataImage, Record, Replay, ResourceType};
use crate::wire::code::ErrorCode;
use crate::wire::consumer_group_describe::DescribedGroup;
use crate::wire::consumer_group_heartbeat::*;
use crate::wire::group_records::GroupRecord;
use crate::wire::metadata_records::{ConfigRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord};
use crate::wire::uuid::Uuid;

pub(super) struct World {
    pub settings: GroupSettings,
    pub timers: Timers,
    pub now_ms: i64,
    pub group: ConsumerGroup,
    /// All records since the beginning.
    pub log: Vec<GroupRecord>,
    replay: Replay,
    records: i64,
    ids: u8,
}

/// The id of a topic, made of its name.
pub(super) fn id_of(topic: &str) -> Uuid {
    let mut id = [7; 16];
    id.iter_mut().zip(topic.bytes()).for_each(|(to, from)| *to = from);
    Uuid(id)
}

impl World {
    /// With topics of so many partitions.
    pub(super) fn new(topics: &[(&str, i32)]) -> World {
        let mut world = World {
            settings: GroupSettings::default(),
            timers: Timers::default(),
            now_ms: 1_000_000,
            group: ConsumerGroup::new("g".into()),
            log: Vec::new(),
            replay: Replay::default(),
            records: 0,
            ids: 0,
        };
        for (topic, partitions) in topics {
            world.add_topic(topic);
            world.add_partitions(topic, 0..*partitions);
        }
        world
    }

    pub(super) fn image(&self) -> &MetadataImage {
        self.replay.image()
    }

    fn change(&mut self, record: impl Into<Record>) {
        self.replay
            .apply_all(&[record.into()], self.records, 1)
            .expect("valid metadata");
        self.records += 1;
    }

    pub(super) fn add_topic(&mut self, topic: &str) {
        self.change(TopicRecord {
            name: topic.to_owned(),
            topic_id: id_of(topic),
        });
    }

    pub(super) fn add_partitions(&mut self, topic: &str, partitions: std::ops::Range<i32>) {
        for partition_id in partitions {
            self.change(PartitionRecord {
                partition_id,
                topic_id: id_of(topic),
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                ..Default::default()
            });
        }
    }

    pub(super) fn add_broker(&mut self, rack: &str) {
        self.change(RegisterBrokerRecord {
            broker_id: 1,
            rack: Some(rack.to_owned()),
            ..Default::default()
        });
    }

    pub(super) fn set_of_group(&mut self, name: &str, value: &str) {
        self.change(ConfigRecord {
            resource_type: ResourceType::Group as i8,
            resource_name: "g".to_owned(),
            name: name.to_owned(),
            value: Some(value.to_owned()),
        });
    }

    /// Does something with the group and all it needs.
    pub(super) fn with<R>(
        &mut self,
        act: impl FnOnce(&mut ConsumerGroup, &mut Ctx<'_>, &mut Timers) -> R,
    ) -> R {
        let ids = &mut self.ids;
        let mut new_id = || {
            *ids += 1;
            Uuid([*ids; 16])
        };
        let mut ctx = Ctx {
            now_ms: self.now_ms,
            wall_ms: self.now_ms,
            settings: &self.settings,
            image: self.replay.image(),
            new_id: &mut new_id,
        };
        act(&mut self.group, &mut ctx, &mut self.timers)
    }

    /// The same, for steps that write.
    pub(super) fn step<R>(
        &mut self,
        act: impl FnOnce(&mut ConsumerGroup, &mut Ctx<'_>, &mut Timers) -> (Vec<GroupRecord>, R),
    ) -> (Vec<GroupRecord>, R) {
        let (records, result) = self.with(act);
        self.log.extend(records.iter().cloned());
        (records, result)
    }

    pub(super) fn send(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> (Vec<GroupRecord>, ConsumerGroupHeartbeatResponse) {
        self.step(|group, ctx, timers| group.heartbeat(ctx, timers, "client", "/127.0.0.1", 1, request))
    }

    /// A heartbeat that must succeed.
    pub(super) fn beat(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let (_, response) = self.send(request);
        assert_eq!(response.error_code, 0, "{response:?}");
        response
    }

    /// A heartbeat that must fail, and change nothing: its error and what it says.
    pub(super) fn fail(&mut self, request: &ConsumerGroupHeartbeatRequest) -> (ErrorCode, String) {
        let before = self.describe();
        let (records, response) = self.send(request);
        assert_eq!((records, self.describe()), (Vec::new(), before));
        let message = response.error_message.expect("an explanation");
        (ErrorCode::from_code(response.error_code), message)
    }

    pub(super) fn describe(&mut self) -> DescribedGroup {
        self.with(|group, ctx, _| group.describe(ctx))
    }

    pub(super) fn tell_of_topics(&mut self) {
        self.with(|group, ctx, _| group.on_topics_changed(ctx));
    }

    /// Lets time pass, and what is due happen.
    pub(super) fn pass(&mut self, ms: i64) -> Vec<GroupRecord> {
        self.now_ms += ms;
        let mut records = Vec::new();
        while let Some(timer) = self.timers.pop(self.now_ms) {
            records.extend(
                self.step(|group, ctx, timers| (group.on_timer(ctx, timers, &timer), ()))
                    .0,
            );
        }
        records
    }

    pub(super) fn is_set(
        &self,
        timer: fn(std::sync::Arc<str>, std::sync::Arc<str>) -> Timer,
        member_id: &str,
    ) -> bool {
        self.timers.is_set(&timer("g".into(), member_id.into()))
    }

    /// The group as it is after all its records.
    pub(super) fn replayed(&self) -> ConsumerGroup {
        let mut group = ConsumerGroup::new("g".into());
        // Through their bytes, as they go to the disk and back.
        for record in &self.log {
            let (key, value) = record.encode();
            let record =
                GroupRecord::decode(&key.into(), value.map(Into::into).as_ref()).expect("our own bytes");
            group.replay(&record);
        }
        group
    }

    /// The broker starts anew.
    pub(super) fn restart(&mut self) {
        let described = self.describe();
        self.group = self.replayed();
        self.timers = Timers::default();
        self.with(|group, ctx, timers| group.loaded(ctx, timers));
        assert_eq!(self.describe(), described);
    }
}

/// A request that joins.
pub(super) fn join(member_id: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// A request that says nothing new.
pub(super) fn at(member_id: &str, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".to_owned(),
        member_id: member_id.to_owned(),
        member_epoch,
        ..Default::default()
    }
}

/// A request that says what the member has.
pub(super) fn having(
    member_id: &str,
    member_epoch: i32,
    has: &[(&str, &[i32])],
) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(partitions(has)),
        ..at(member_id, member_epoch)
    }
}

pub(super) fn partitions(of: &[(&str, &[i32])]) -> Vec<TopicPartitions> {
    let of = of.iter().map(|(topic, partitions)| TopicPartitions {
        topic_id: id_of(topic),
        partitions: partitions.to_vec(),
    });
    of.collect()
}

/// The kinds of records, for tests of what is written in which order.
pub(super) fn kinds(records: &[GroupRecord]) -> Vec<&'static str> {
    use GroupRecord as R;
    let kind = |record: &GroupRecord| match record {
        R::GroupMetadata(_, Some(_)) => "classic",
        R::GroupMetadata(_, None) => "-classic",
        R::ConsumerGroupMetadata(_, Some(_)) => "epoch",
        R::ConsumerGroupMetadata(_, None) => "-epoch",
        R::ConsumerGroupPartitionMetadata(_, None) => "-topics",
        R::ConsumerGroupMemberMetadata(_, Some(_)) => "member",
        R::ConsumerGroupMemberMetadata(_, None) => "-member",
        R::ConsumerGroupTargetAssignmentMetadata(_, Some(_)) => "target epoch",
        R::ConsumerGroupTargetAssignmentMetadata(_, None) => "-target epoch",
        R::ConsumerGroupTargetAssignmentMember(_, Some(_)) => "target",
        R::ConsumerGroupTargetAssignmentMember(_, None) => "-target",
        R::ConsumerGroupCurrentMemberAssignment(_, Some(_)) => "current",
        R::ConsumerGroupCurrentMemberAssignment(_, None) => "-current",
        R::ConsumerGroupRegularExpression(_, Some(_)) => "regex",
        R::ConsumerGroupRegularExpression(_, None) => "-regex",
        other => panic!("{other:?}"),
    };
    records.iter().map(kind).collect()
}
