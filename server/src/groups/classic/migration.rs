//! A generation of a classic group on its way to the new protocol, or from there (KIP-848).

use std::sync::Arc;

use crate::groups::consumer::migration::{ClassicGeneration, ClassicMember};
use crate::groups::rebalances::{Cause, Why};
use crate::groups::timers::Timer;
use crate::groups::work::Work;
use crate::wire::group_records::ClassicProtocol;
use crate::wire::join_group::JoinGroupRequestProtocol;

use super::members::{About, Member};
use super::{CONSUMER, ClassicGroup, State};

impl<T> ClassicGroup<T> {
    /// How many members it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Its members and what they have at this moment.
    pub fn generation(&self) -> ClassicGeneration {
        let (mut leader, others): (Vec<_>, Vec<_>) =
            self.members.iter().partition(|member| self.is_leader(&member.id));
        leader.extend(others);
        ClassicGeneration {
            generation: self.generation,
            protocol: self.protocol.clone().unwrap_or_default(),
            members: leader.into_iter().map(leaving).collect(),
        }
    }

    /// A stable group, as a consumer group left it.
    pub fn from_generation(id: Arc<str>, now_ms: i64, from: ClassicGeneration) -> Self {
        let mut group = ClassicGroup::new(id, now_ms);
        group.generation = from.generation;
        group.protocol_type = Some(CONSUMER.to_owned());
        group.protocol = Some(from.protocol);
        group.leader = from
            .members
            .first()
            .map(|leader| leader.member_id.as_str().into());
        for member in from.members {
            group.members.insert(coming(member));
        }
        group.state = State::Stable;
        group.subscribed_topics = group.find_subscribed_topics();
        group
    }

    /// Sessions begin in what was a consumer group. If a member left it, the others divide what that one had.
    pub fn took_over(&mut self, work: &mut Work<'_, '_, T>, rebalance: bool) {
        for id in self.members.ids() {
            self.renew_session(work, &id);
        }
        if rebalance {
            self.prepare_rebalance(work, Why::only(Cause::Downgraded));
        }
    }

    /// The group is one of the new protocol from now on, where members have the same sessions.
    pub fn cancel_rebalance(&self, work: &mut Work<'_, '_, T>) {
        work.timers.cancel(&Timer::Join(self.id.clone()));
        work.timers.cancel(&Timer::Sync(self.id.clone()));
        for id in &self.pending_join {
            work.timers.cancel(&self.session_of(id));
        }
    }
}

fn leaving<T>(member: &Member<T>) -> ClassicMember {
    let protocols = member.protocols().iter().map(|said| ClassicProtocol {
        name: said.name.clone(),
        metadata: said.metadata.clone(),
    });
    ClassicMember {
        member_id: member.id.to_string(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
        protocols: protocols.collect(),
        assignment: member.assignment.clone(),
    }
}

fn coming<T>(member: ClassicMember) -> Member<T> {
    let protocols: Vec<_> = member
        .protocols
        .into_iter()
        .map(|said| JoinGroupRequestProtocol {
            name: said.name,
            metadata: said.metadata,
        })
        .collect();
    let about = About {
        id: member.member_id.into(),
        instance_id: member.group_instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
    };
    Member::new(about, &protocols, &member.assignment)
}
