//! Transactions across cores: the connection's core takes a request apart and gathers the answers; the core that owns a partition of
//! `__transaction_state` runs its coordinator.
//!
//! ```text
//! connection's core                 coordinator's core                       owners of partitions
//!   apart ------- Transaction --▶   coordinator: records, replies, endings
//!   together <-- Transacted -----   once they are durable
//!                                   ending: to every partition ---- Mark --▶ the marker, once it is durable
//!                                   all have it: completed      ◀-- Marked --
//!   produce ----------------------------------------------------- Append --▶ the first batch of a transaction waits
//!                                   adds the partition          ◀-- Transaction (verify)
//!                                   once that is durable ----- Transacted ─▶ is appended
//! ```

mod machine;
pub mod markers;
pub mod verify;

use super::Core;
use super::calls::{Call, CallId, CallKind, ReplyTo, finish};
use super::dispatch::Incoming;
use super::gather::Gathering;
use super::mail::{Mail, PartitionKey};
use crate::conn::Answer;
use crate::handlers::groups;
use crate::handlers::transactions::{self, Apart, Form, Question};
use crate::transactions::{Caller, TxnRequest, TxnResponse};
use crate::wire::add_partitions_to_txn::AddPartitionsToTxnTransaction;
use crate::wire::{ErrorCode, WireError};
pub use machine::Transactions;

/// Where an answer belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client's request.
    Client {
        /// The connection's core.
        origin: usize,
        /// The request.
        call: CallId,
        /// Which of its questions.
        place: u32,
    },
    /// What a partition's owner has to know before it appends.
    Owner {
        /// The owner.
        core: usize,
        /// What waits there.
        check: u64,
    },
}

/// A question to the coordinator of one partition of `__transaction_state`.
#[derive(Debug)]
pub struct TxnOrder {
    /// The partition's index.
    pub partition: i32,
    /// Who asks.
    pub caller: Caller<Asker>,
    /// What.
    pub request: TxnRequest,
}

/// A request about transactions whose coordinators have not all answered.
pub type TxnCall = Gathering<Form, TxnResponse>;

impl Core {
    /// Connection's core: takes a request about transactions apart and asks the coordinators.
    pub(super) fn start_transactions(&mut self, mut incoming: Incoming<'_>) -> Result<(), WireError> {
        let reply = incoming.reply;
        let image = self.image.clone();
        let topic = transactions::transactions_topic(&image);
        let coordinators = topic.map_or(0, |topic| topic.partitions.len());
        let apart = transactions::apart(
            reply.api_key,
            reply.version,
            &mut incoming.body,
            &image,
            coordinators,
            self.offsets_partitions(),
        )?;
        self.ask_transactions(reply, apart);
        Ok(())
    }

    /// The partitions of the topic for groups, as it is or would be made.
    fn offsets_partitions(&self) -> usize {
        let made = groups::offsets_topic(&self.image).map(|topic| topic.partitions.len());
        let layers = self.image.layers(&self.shared.config, self.shared.node.id);
        made.unwrap_or_else(|| layers.broker_number("offsets.topic.num.partitions").max(1) as usize)
    }

    /// Connection's core: asks the coordinators.
    pub(super) fn ask_transactions(&mut self, reply: ReplyTo, apart: Apart) {
        let call = TxnCall::new(apart.form, apart.questions.len());
        if apart.questions.is_empty() {
            return self.answer_transactions(reply, call);
        }
        let call = self.calls.insert(Call {
            reply,
            kind: CallKind::Transactions(Box::new(call)),
        });
        let mut settled = Vec::new();
        for (place, question) in (0u32..).zip(apart.questions) {
            let to = Asker::Client {
                origin: self.id,
                call,
                place,
            };
            let (partition, request) = match question {
                Question::Settled(told) => {
                    settled.push((place, told));
                    continue;
                }
                Question::Ask(request) => (None, request),
                Question::AskAt(partition, request) => (Some(partition), request),
            };
            let version = transactions::coordinators_version(reply.api_key, reply.version);
            if let Err(request) = self.ask_coordinator(Caller { to, version }, partition, request) {
                // As from a broker that coordinates none of the ids: the client looks for the coordinator, and the topic is made.
                settled.push((place, request.refuse(ErrorCode::NotCoordinator)));
            }
        }
        if !settled.is_empty() {
            self.on_transacted(call, settled);
        }
    }

    /// Sends a question to its coordinator's core, or gives it back when there is none.
    fn ask_coordinator(
        &mut self,
        caller: Caller<Asker>,
        partition: Option<i32>,
        request: TxnRequest,
    ) -> Result<(), Box<TxnRequest>> {
        let image = self.image.clone();
        let Some(topic) = transactions::transactions_topic(&image) else {
            return Err(Box::new(request));
        };
        let id = request.transactional_id().unwrap_or_default();
        let index = partition.unwrap_or_else(|| transactions::partition_of(id, topic.partitions.len()));
        if !topic.partitions.contains_key(&index) {
            return Err(Box::new(request));
        }
        let key = PartitionKey {
            topic_id: topic.id,
            index,
        };
        let order = TxnOrder {
            partition: index,
            caller,
            request,
        };
        self.post(self.placement.owner(&key), Mail::Transaction(Box::new(order)));
        Ok(())
    }

    /// Connection's core: coordinators have answered.
    pub(super) fn on_transacted(&mut self, id: CallId, answers: Vec<(u32, TxnResponse)>) {
        let Some(Call {
            kind: CallKind::Transactions(call),
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
            kind: CallKind::Transactions(call),
        }) = self.calls.remove(id)
        {
            self.answer_transactions(reply, *call);
        }
    }

    fn answer_transactions(&mut self, reply: ReplyTo, call: TxnCall) {
        let mut out = reply.begin();
        let (form, told) = call.into_parts();
        transactions::together(reply.api_key, reply.version, &form, told, &mut out);
        self.deliver(reply, Answer::Bytes(finish(out)));
    }

    /// Owner: a question for one of its coordinators. A new id needs a producer id, for which it may have to wait.
    pub(super) fn take_transaction(&mut self, order: TxnOrder) {
        if let TxnRequest::AddPartitions(transaction) = &order.request
            && !self.knows_topics(transaction)
        {
            // The connection's core has heard of a topic before this one has: to this one it would be as good as deleted when the markers are
            // sent.
            let code = ErrorCode::CoordinatorLoadInProgress;
            return self.refuse_order::<Transactions>(order.partition, &order, code);
        }
        if let (Asker::Owner { core, check }, Some(id)) = (order.caller.to, order.request.transactional_id())
        {
            self.note_waiting(id, (core, check));
        }
        match self.needs_producer_id(&order) && !self.producer_ids.has_one() {
            true => self.wait_for_producer_id(order),
            false => self.take_order::<Transactions>(order.partition, order),
        }
    }

    fn knows_topics(&self, transaction: &AddPartitionsToTxnTransaction) -> bool {
        let mut topics = transaction.topics.iter();
        // That for groups may still have to be made.
        topics.all(|topic| topic.name == groups::OFFSETS_TOPIC || self.image.topic(&topic.name).is_some())
    }

    fn needs_producer_id(&self, order: &TxnOrder) -> bool {
        let TxnRequest::InitProducerId(request) = &order.request else {
            return false;
        };
        let id = request.transactional_id.as_deref().unwrap_or_default();
        let coordinator = self
            .transactions
            .by_partition
            .get(&order.partition)
            .and_then(|host| host.machine());
        coordinator.is_some_and(|coordinator| coordinator.needs_producer_id(id))
    }
}
