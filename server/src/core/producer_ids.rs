//! InitProducerId without a transactional id: each core hands out ids of a block that core 0 gave it.

use std::collections::VecDeque;

use super::Core;
use super::calls::ReplyTo;
use super::control::ControlRequest;
use crate::conn::Answer;
use crate::handlers::init_producer_id;
use crate::wire::ErrorCode;
use crate::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

/// The ids this core may hand out.
#[derive(Debug, Default)]
pub struct ProducerIds {
    /// `[next, end)`.
    next: i64,
    end: i64,
    /// Who waits for the next block.
    waiting: VecDeque<ReplyTo>,
}

impl Core {
    pub(super) fn start_init_producer_id(&mut self, reply: ReplyTo, request: &InitProducerIdRequest) {
        if let init_producer_id::Answer::Now(response) = init_producer_id::handle(request) {
            return self.answer_producer_id(reply, &response);
        }
        self.producer_ids.waiting.push_back(reply);
        match self.producer_ids.waiting.len() {
            _ if self.producer_ids.next < self.producer_ids.end => self.hand_out_ids(),
            1 => self.ask_controller(ControlRequest::ProducerIds),
            _ => {}
        }
    }

    /// A block has come, or none could be given.
    pub(super) fn on_producer_ids(&mut self, first: Option<i64>, count: i32) {
        match first {
            Some(first) => {
                self.producer_ids.next = first;
                self.producer_ids.end = first + i64::from(count);
                self.hand_out_ids();
            }
            None => {
                for reply in std::mem::take(&mut self.producer_ids.waiting) {
                    self.answer_producer_id(
                        reply,
                        &init_producer_id::refused(ErrorCode::CoordinatorNotAvailable),
                    );
                }
            }
        }
    }

    fn hand_out_ids(&mut self) {
        while self.producer_ids.next < self.producer_ids.end {
            let Some(reply) = self.producer_ids.waiting.pop_front() else {
                return;
            };
            let id = self.producer_ids.next;
            self.producer_ids.next += 1;
            self.answer_producer_id(reply, &init_producer_id::granted(id));
        }
        if !self.producer_ids.waiting.is_empty() {
            self.ask_controller(ControlRequest::ProducerIds);
        }
    }

    fn answer_producer_id(&mut self, reply: ReplyTo, response: &InitProducerIdResponse) {
        self.deliver(reply, Answer::Bytes(reply.encode(response)));
    }
}
