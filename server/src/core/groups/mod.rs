//! Groups across cores: the connection's core takes a request apart and gathers the answers; the core that owns a partition of
//! `__consumer_offsets` runs its coordinator.
//!
//! ```text
//! connection's core              owner
//!   apart ------ Group ------▶   coordinator: records and replies
//!   together <-- Grouped -----   once they are durable (see `coordinators`)
//! ```

mod lines;
mod machine;

pub use lines::RebalanceLog;
pub use machine::Groups;

use super::Core;
use super::calls::{Call, CallId, CallKind, ReplyTo, finish};
use super::control::ControlRequest;
use super::dispatch::Incoming;
use super::gather::Gathering;
use super::mail::{Mail, PartitionKey};
use crate::conn::Answer;
use crate::groups::{Caller, GroupRequest};
use crate::handlers::find_coordinator;
use crate::handlers::groups::{self, Form, Told};
use crate::wire::find_coordinator::FindCoordinatorRequest;
use crate::wire::{ErrorCode, WireError};

/// Where an answer belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The connection's core.
    pub origin: usize,
    /// The request.
    pub call: CallId,
    /// Which of its questions.
    pub place: u32,
}

/// A question to the coordinator of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct GroupOrder {
    /// The partition's index.
    pub partition: i32,
    /// Who asks.
    pub caller: Caller<Asker>,
    /// What.
    pub request: GroupRequest,
}

/// A request about groups whose coordinators have not all answered.
pub type GroupCall = Gathering<Form, Told>;

impl Core {
    /// Connection's core: takes a request about groups apart and asks the coordinators.
    pub(super) fn start_groups(&mut self, mut incoming: Incoming<'_>) -> Result<(), WireError> {
        let reply = incoming.reply;
        let image = self.image.clone();
        let topic = groups::offsets_topic(&image);
        let partitions = topic.map_or(0, |topic| topic.partitions.len());
        let apart = groups::apart(reply.api_key, reply.version, &mut incoming.body, partitions)?;
        let is_list = matches!(apart.questions.first(), Some(GroupRequest::List { .. }));
        let call = GroupCall::new(apart.form, apart.questions.len());
        if apart.questions.is_empty() {
            self.answer_groups(reply, call);
            return Ok(());
        }
        let id = self.calls.insert(Call {
            reply,
            kind: CallKind::Groups(Box::new(call)),
        });
        // Those who ask about groups in a row are not members: nobody keeps who they are.
        let (client_id, client_host) = match apart.questions.len() {
            1 => (incoming.client_id.unwrap_or_default(), self.host_of(reply)),
            _ => Default::default(),
        };
        let mut lost = Vec::new();
        for (place, request) in (0u32..).zip(apart.questions) {
            let partition = match request.group_id() {
                Some(group_id) => groups::partition_of(group_id, partitions),
                None => place as i32,
            };
            let Some(topic) = topic.filter(|topic| topic.partitions.contains_key(&partition)) else {
                // As from a broker that coordinates none of the groups: the client looks for the coordinator, and the topic is made.
                lost.push((place, told(&request, ErrorCode::NotCoordinator)));
                continue;
            };
            debug_assert_eq!(is_list, request.group_id().is_none());
            let key = PartitionKey {
                topic_id: topic.id,
                index: partition,
            };
            let order = GroupOrder {
                partition,
                caller: Caller {
                    to: Asker {
                        origin: self.id,
                        call: id,
                        place,
                    },
                    version: reply.version,
                    client_id: client_id.clone(),
                    client_host: client_host.clone(),
                },
                request,
            };
            self.post(self.placement.owner(&key), Mail::Group(Box::new(order)));
        }
        if !lost.is_empty() {
            self.on_grouped(id, lost);
        }
        Ok(())
    }

    fn host_of(&mut self, reply: ReplyTo) -> String {
        let peer = self.conns.current(reply).and_then(|open| open.conn.peer);
        // As Java prints an address without a name.
        peer.map_or(String::new(), |address| {
            format!("/{}", address.ip().to_canonical())
        })
    }

    /// Connection's core: a coordinator has answered.
    pub(super) fn on_grouped(&mut self, id: CallId, answers: Vec<(u32, Told)>) {
        let Some(Call {
            kind: CallKind::Groups(call),
            ..
        }) = self.calls.get_mut(id)
        else {
            return;
        };
        if !call.settle(answers) {
            return;
        }
        if let Some(Call {
            reply,
            kind: CallKind::Groups(call),
        }) = self.calls.remove(id)
        {
            self.answer_groups(reply, *call);
        }
    }

    fn answer_groups(&mut self, reply: ReplyTo, call: GroupCall) {
        let mut out = reply.begin();
        let (form, told) = call.into_parts();
        groups::together(reply.api_key, reply.version, &form, told, &mut out);
        self.deliver(reply, Answer::Bytes(finish(out)));
    }

    /// Connection's core: says who coordinates a group or a transaction. The topic for them is made when the first one is looked for.
    pub(super) fn start_find_coordinator(
        &mut self,
        reply: ReplyTo,
        request: FindCoordinatorRequest,
        may_create: bool,
    ) {
        let topic = find_coordinator::topic_needed(&request, reply.version);
        if let Some(topic) = topic.filter(|topic| may_create && self.image.topic(topic).is_none()) {
            let call = self.calls.insert(Call {
                reply,
                kind: CallKind::Coordinator(Box::new(request)),
            });
            return self.ask_controller(ControlRequest::AutoCreate {
                call,
                names: vec![topic.to_owned()],
                client_id: None,
            });
        }
        let (shared, image) = (self.shared.clone(), self.image.clone());
        let response = find_coordinator::handle(&shared.context(&image), &request, reply.version);
        self.deliver(reply, Answer::Bytes(reply.encode(&response)));
    }
}

fn told(request: &GroupRequest, code: ErrorCode) -> Told {
    match request {
        // A broker lists what it coordinates, which is nothing of this partition.
        GroupRequest::List { .. } if code != ErrorCode::NotCoordinator => Told::ListFailed(code),
        request => Told::Answer(request.refuse(code)),
    }
}
