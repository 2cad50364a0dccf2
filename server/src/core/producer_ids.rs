//! Producer ids: each core hands out those of a block that core 0 gave it, and forgets producers that have been idle in its partitions.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Core;
use super::calls::ReplyTo;
use super::control::ControlRequest;
use super::transactions::{Transactions, TxnOrder};
use crate::conn::Answer;
use crate::handlers::{init_producer_id, transactions};
use crate::wire::ErrorCode;
use crate::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

/// Questions of coordinators that wait for a block of ids, at most.
const MOST_WAITING: usize = 4096;

/// The ids this core may hand out.
#[derive(Debug, Default)]
pub struct ProducerIds {
    /// `[next, end)`.
    next: i64,
    end: i64,
    /// Whether a block is on its way.
    is_asked: bool,
    /// Somebody found none.
    is_wanted: bool,
    /// Who waits for the next block.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
enum Waiting {
    /// A client without a transactional id.
    Client(ReplyTo),
    /// A coordinator's question.
    Coordinator(Box<TxnOrder>),
}

/// Partitions whose producers are looked at in one turn.
const PARTITIONS_AT_ONCE: usize = 64;
/// How long after one turn's partitions the next are looked at.
const NEXT_PARTITIONS_AFTER: Duration = Duration::from_millis(5);

/// When idle producers are looked for next, and where.
#[derive(Debug)]
pub struct IdleProducers {
    at: Instant,
    from: u32,
}

impl IdleProducers {
    /// The first look is at this time.
    pub fn new(at: Instant) -> IdleProducers {
        IdleProducers { at, from: 0 }
    }

    /// When the next look is.
    pub fn deadline(&self) -> Instant {
        self.at
    }
}

impl ProducerIds {
    /// Whether there is one.
    pub fn has_one(&self) -> bool {
        self.next < self.end
    }

    /// The next one.
    pub fn take(&mut self) -> Option<i64> {
        self.is_wanted |= !self.has_one();
        let id = self.has_one().then_some(self.next)?;
        self.next += 1;
        Some(id)
    }
}

impl Core {
    pub(super) fn start_init_producer_id(&mut self, reply: ReplyTo, request: InitProducerIdRequest) {
        match init_producer_id::handle(&request) {
            init_producer_id::Answer::Now(response) => self.answer_producer_id(reply, &response),
            init_producer_id::Answer::Coordinate => self.ask_transactions(reply, transactions::init(request)),
            init_producer_id::Answer::Allocate => {
                self.producer_ids.waiting.push_back(Waiting::Client(reply));
                self.hand_out_ids();
            }
        }
    }

    /// Owner: the question waits until there is a producer id, unless too many do: then its client is to come again.
    pub(super) fn wait_for_producer_id(&mut self, order: TxnOrder) {
        if self.producer_ids.waiting.len() >= MOST_WAITING {
            return self.take_order::<Transactions>(order.partition, order);
        }
        self.producer_ids
            .waiting
            .push_back(Waiting::Coordinator(Box::new(order)));
        self.hand_out_ids();
    }

    /// A block has come, or none could be given.
    pub(super) fn on_producer_ids(&mut self, first: Option<i64>, count: i32) {
        self.producer_ids.is_asked = false;
        self.producer_ids.is_wanted = false;
        match first {
            Some(first) => {
                self.producer_ids.next = first;
                self.producer_ids.end = first + i64::from(count);
                self.hand_out_ids();
            }
            None => {
                for waiting in std::mem::take(&mut self.producer_ids.waiting) {
                    match waiting {
                        Waiting::Client(reply) => {
                            let refused = init_producer_id::refused(ErrorCode::CoordinatorNotAvailable);
                            self.answer_producer_id(reply, &refused);
                        }
                        // It finds none, and says so.
                        Waiting::Coordinator(order) => {
                            self.take_order::<Transactions>(order.partition, *order)
                        }
                    }
                }
            }
        }
    }

    fn hand_out_ids(&mut self) {
        while self.producer_ids.has_one() {
            match self.producer_ids.waiting.pop_front() {
                None => return,
                Some(Waiting::Coordinator(order)) => self.take_order::<Transactions>(order.partition, *order),
                Some(Waiting::Client(reply)) => {
                    if let Some(id) = self.producer_ids.take() {
                        self.answer_producer_id(reply, &init_producer_id::granted(id));
                    }
                }
            }
        }
        self.producer_ids.is_wanted |= !self.producer_ids.waiting.is_empty();
        self.refill_producer_ids();
    }

    /// Asks for a block when somebody found no id.
    pub(super) fn refill_producer_ids(&mut self) {
        let ids = &mut self.producer_ids;
        if ids.is_wanted && !ids.is_asked && !ids.has_one() {
            ids.is_asked = true;
            self.ask_controller(ControlRequest::ProducerIds);
        }
    }

    /// Owner: forgets producers that have been idle for long, of some partitions.
    pub(super) fn expire_producers(&mut self, now: Instant) {
        if self.idle_producers.at > now {
            return;
        }
        let config = &self.shared.config;
        let from = self.idle_producers.from;
        let next = self.shard.expire_producers(
            &*self.io,
            config.producer_id_expiration_ms,
            from,
            PARTITIONS_AT_ONCE,
        );
        let pause = match next {
            Some(_) => NEXT_PARTITIONS_AFTER,
            None => Duration::from_millis(config.producer_id_check_interval_ms.max(1) as u64),
        };
        self.idle_producers = IdleProducers {
            at: now + pause,
            from: next.unwrap_or(0),
        };
    }

    fn answer_producer_id(&mut self, reply: ReplyTo, response: &InitProducerIdResponse) {
        self.deliver(reply, Answer::Bytes(reply.encode(response)));
    }
}
