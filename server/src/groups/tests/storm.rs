//! Everything at once: many members, and requests in any order. What must hold is what the bench asserts at the end of every test: whoever asks is
//! answered once, and the records are enough to know the groups by.

use super::commits::committing;
use super::txn_commits::in_transaction;
use super::*;
use crate::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};

/// Numbers that look random, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn pick<'a>(&mut self, from: &'a [String]) -> &'a str {
        &from[self.roll(from.len())]
    }
}

/// What clients know: groups, ids they were given, generations they may be in.
struct Clients {
    groups: Vec<String>,
    ids: Vec<String>,
    topics: Vec<Uuid>,
    dice: Dice,
}

impl Clients {
    fn generation(&mut self) -> i32 {
        self.dice.roll(5) as i32 - 1
    }

    fn instance(&mut self) -> Option<String> {
        let instances = ["i".to_owned(), "j".to_owned()];
        (self.dice.roll(4) == 0).then(|| self.dice.pick(&instances).to_owned())
    }

    fn request(&mut self) -> (i16, GroupRequest) {
        let group_id = self.dice.pick(&self.groups).to_owned();
        let member_id = self.dice.pick(&self.ids).to_owned();
        match self.dice.roll(16) {
            0..=3 => {
                let protocols = [
                    ["range", "roundrobin"],
                    ["roundrobin", "range"],
                    ["sticky", "range"],
                ];
                let names = protocols[self.dice.roll(3)];
                let mut request = joining(&member_id, self.instance().as_deref());
                request.group_id = group_id;
                request.protocols = names.map(|name| speaks(name, "t")).to_vec();
                request.rebalance_timeout_ms = self.dice.roll(40_000) as i32 - 1;
                (self.dice.roll(10) as i16, GroupRequest::Join(request))
            }
            4..=6 => {
                let request = SyncGroupRequest {
                    group_id,
                    generation_id: self.generation(),
                    member_id,
                    group_instance_id: self.instance(),
                    ..Default::default()
                };
                (SYNC, GroupRequest::Sync(request))
            }
            7 => {
                let request = HeartbeatRequest {
                    group_id,
                    generation_id: self.generation(),
                    member_id,
                    group_instance_id: self.instance(),
                };
                (HEARTBEAT, GroupRequest::Heartbeat(request))
            }
            8 => {
                let members = vec![MemberIdentity {
                    member_id: member_id.clone(),
                    group_instance_id: self.instance(),
                    reason: None,
                }];
                let request = LeaveGroupRequest {
                    group_id,
                    member_id,
                    members,
                };
                (self.dice.roll(6) as i16, GroupRequest::Leave(request))
            }
            9 => {
                let mut request = committing(&[("t", &[(0, 1), (1, 2)]), ("u", &[(0, 3)])]);
                request.group_id = group_id;
                request.member_id = member_id;
                request.generation_id_or_member_epoch = self.generation();
                (2 + self.dice.roll(8) as i16, GroupRequest::Commit(request))
            }
            10 => {
                let request = OffsetDeleteRequest {
                    group_id,
                    topics: vec![OffsetDeleteRequestTopic {
                        name: "u".to_owned(),
                        partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
                    }],
                };
                (0, GroupRequest::DeleteOffsets(request))
            }
            11 => (2, GroupRequest::Delete(group_id)),
            12..=13 => {
                let mut request = in_transaction(&[("t", &[(0, 4), (1, 5)]), ("u", &[(0, 6)])]);
                request.group_id = group_id;
                request.producer_id = self.dice.roll(3) as i64;
                if self.dice.roll(2) == 0 {
                    request.member_id = member_id;
                    request.generation_id = self.generation();
                }
                (self.dice.roll(6) as i16, GroupRequest::TxnCommit(request))
            }
            _ => {
                let epoch = self.generation();
                let request = ConsumerGroupHeartbeatRequest {
                    group_id,
                    member_id,
                    member_epoch: epoch,
                    instance_id: self.instance(),
                    rebalance_timeout_ms: if epoch == 0 { 5_000 } else { -1 },
                    subscribed_topic_names: (epoch == 0).then(|| vec!["t".to_owned(), "u".to_owned()]),
                    topic_partitions: (epoch == 0).then(Vec::new),
                    ..Default::default()
                };
                (1, GroupRequest::ConsumerHeartbeat(request))
            }
        }
    }

    /// Ids that were given are used later.
    fn learn(&mut self, bench: &Bench, number: u32) {
        if let Some(GroupResponse::Join(joined)) = bench.answer(number)
            && !joined.member_id.is_empty()
        {
            let place = 3 + self.dice.roll(9);
            match self.ids.get_mut(place) {
                Some(id) => id.clone_from(&joined.member_id),
                None => self.ids.push(joined.member_id.clone()),
            }
        }
    }

    fn act(&mut self, bench: &mut Bench) {
        match self.dice.roll(40) {
            0 => bench.restart(),
            1 => bench.pass_ms(self.dice.roll(700_000) as i64),
            2 => {
                let id = self.topics.remove(0);
                bench.delete_topic(id);
                let name = if id.0[0] == b't' { "t" } else { "u" };
                self.topics
                    .push(bench.create_topic(name, 2, id.0[15].wrapping_add(1)));
            }
            3..=4 => bench.end_transaction(self.dice.roll(3) as i64, self.dice.roll(2) == 0),
            5..=10 => bench.pass_ms(self.dice.roll(5_000) as i64),
            _ => {
                let (version, request) = self.request();
                let number = bench.ask(version, request);
                self.learn(bench, number);
            }
        }
    }
}

#[test]
fn whatever_clients_do_they_are_answered_and_nothing_recorded_is_lost() {
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 1..=60 {
        let mut bench = Bench::new();
        bench.settings.offsets_retention_ms = 3_600_000;
        bench.settings.max_size = 4;
        let topics = vec![bench.create_topic("t", 2, 1), bench.create_topic("u", 2, 1)];
        let mut clients = Clients {
            groups: names(&["g", "h"]),
            ids: names(&["", "m", "n"]),
            topics,
            dice: Dice(seed),
        };
        for _ in 0..250 {
            clients.act(&mut bench);
            let groups = bench.coordinator.list(&[], &[]).into_iter();
            seen.extend(groups.map(|group| (group.group_type, group.group_state)));
        }
    }
    let of = |kind: &str| seen.iter().filter(|(seen, _)| seen == kind).count();
    assert_eq!(
        (of("classic"), of("consumer") > 2),
        (4, true),
        "all states: {seen:?}"
    );
}

#[test]
fn a_thousand_members_agree_in_one_rebalance() {
    let mut bench = Bench::new();
    let joins: Vec<(u32, String)> = (0..1_000).map(|_| bench.join_with_new_id()).collect();
    bench.pass_ms(6_000);
    let leader = bench.joined(joins[0].0).leader;
    let members = joins
        .iter()
        .map(|(number, _)| bench.joined(*number).members.len());
    assert_eq!(members.sum::<usize>(), 1_000, "told to the leader alone");
    let ids: Vec<&str> = joins.iter().map(|(_, id)| id.as_str()).collect();
    let followers = ids.iter().filter(|id| **id != leader);
    let mut syncs: Vec<u32> = followers.map(|id| bench.sync(id, 1, &[])).collect();
    syncs.push(bench.sync(&leader, 1, &ids));
    for number in syncs {
        assert_eq!(bench.synced(number).error_code, 0);
    }
    assert_eq!((bench.state().as_str(), bench.log.len()), ("Stable", 2));
}
