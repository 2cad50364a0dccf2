//! Questions to the owners of single partitions: offsets, epochs, deletion by offset, sizes. The connection's core
//! asks all owners at once and answers when the last has.

use std::collections::VecDeque;

use ringlog_engine::batch::BatchHeader;
use ringlog_engine::shard::{AppendError, Isolation, ReadError, Slot, Ticket, TimeHit, TimeOutcome};

use super::Core;
use super::calls::{Call, CallId, CallKind, ReplyTo};
use super::mail::{AskOrder, Mail, Place};
use crate::conn::Answer;
pub use crate::handlers::offsets::{Asked, Question, Told};
use crate::handlers::{describe_producers, log_dirs, offsets, times};
use crate::wire::code::ErrorCode;
use crate::wire::delete_records::DeleteRecordsResponse;
use crate::wire::describe_log_dirs::DescribeLogDirsResponse;
use crate::wire::describe_producers::DescribeProducersResponse;
use crate::wire::list_offsets::ListOffsetsResponse;
use crate::wire::offset_for_leader_epoch::OffsetForLeaderEpochResponse;

/// The response under construction.
#[derive(Debug)]
pub enum Form {
    /// ListOffsets.
    List(ListOffsetsResponse),
    /// OffsetForLeaderEpoch.
    Epochs(OffsetForLeaderEpochResponse),
    /// DeleteRecords.
    Delete(DeleteRecordsResponse),
    /// DescribeLogDirs.
    LogDirs(DescribeLogDirsResponse),
    /// DescribeProducers.
    Producers(DescribeProducersResponse),
}

/// A request whose owners have not all answered.
#[derive(Debug)]
pub struct AskCall {
    form: Form,
    remaining: usize,
}

/// What an owner holds of questions.
#[derive(Debug, Default)]
pub struct Questions {
    /// Deletions that are not durable yet. Tickets ascend.
    deleting: VecDeque<(Ticket, Asker, Told)>,
    /// Searches by time that read from disk.
    searching: Vec<(u64, Asker, Slot, Search)>,
    /// Questions that wait for memory or journal room.
    stalled: VecDeque<(Asker, Slot, Question)>,
    next_token: u64,
}

impl Questions {
    /// Whether one about the partition waits for room.
    pub fn has_stalled(&self, slot: Slot) -> bool {
        self.stalled.iter().any(|stalled| stalled.1 == slot)
    }
}

/// Who asked, and about which place in the request.
#[derive(Clone, Copy, Debug)]
struct Asker {
    origin: usize,
    call: CallId,
    place: Place,
}

/// Most batches that are opened for one question: a producer can send as many as it likes whose headers promise what no record of theirs keeps.
const MOST_OPENED: u32 = 8;

/// A search by time.
#[derive(Clone, Copy, Debug)]
struct Search {
    question: Question,
    /// Batches that end before it were looked into.
    from_offset: i64,
    opened: u32,
}

impl Search {
    fn new(question: Question) -> Search {
        Search {
            question,
            from_offset: 0,
            opened: 0,
        }
    }

    /// Whether the next batch may be opened after one that had no record to find.
    fn goes_on(&mut self) -> bool {
        self.opened += 1;
        self.opened < MOST_OPENED && matches!(self.question, Question::Time(..))
    }
}

impl Form {
    fn settle(&mut self, place: Place, told: Told) {
        match self {
            Form::List(response) => offsets::settle_list(response, place, told),
            Form::Epochs(response) => offsets::settle_epochs(response, place, told),
            Form::Delete(response) => offsets::settle_delete(response, place, told),
            Form::LogDirs(response) => log_dirs::settle(response, place, told),
            Form::Producers(response) => describe_producers::settle(response, place, told),
        }
    }

    fn encode(&self, reply: &ReplyTo) -> Vec<u8> {
        match self {
            Form::List(response) => reply.encode(response),
            Form::Epochs(response) => reply.encode(response),
            Form::Delete(response) => reply.encode(response),
            Form::LogDirs(response) => reply.encode(response),
            Form::Producers(response) => reply.encode(response),
        }
    }
}

impl Core {
    /// Asks the owners, or answers at once when there is nothing to ask.
    pub(super) fn start_ask<R>(&mut self, reply: ReplyTo, asked: Asked<R>, form: impl FnOnce(R) -> Form) {
        let form = form(asked.response);
        let remaining = asked.questions.len();
        if remaining == 0 {
            return self.deliver(reply, Answer::Bytes(form.encode(&reply)));
        }
        let call = self.calls.insert(Call {
            reply,
            kind: CallKind::Ask(Box::new(AskCall { form, remaining })),
        });
        // The last ones are about a partition that is on its way to another core.
        let mut orders: Vec<Vec<_>> = vec![Vec::new(); self.cores + 1];
        for question in asked.questions {
            let lane = match self.relocating.holds(&question.1) {
                true => self.cores,
                false => self.placement.owner(&question.1),
            };
            orders[lane].push(question);
        }
        let (origin, held) = (self.id, orders.pop().unwrap_or_default());
        if !held.is_empty() {
            let items = held;
            self.relocating.hold_questions(AskOrder { origin, call, items });
        }
        for (owner, items) in orders
            .into_iter()
            .enumerate()
            .filter(|(_, items)| !items.is_empty())
        {
            self.post(owner, Mail::Ask(AskOrder { origin, call, items }));
        }
    }

    /// Connection's core: an owner has answered.
    pub(super) fn on_told(&mut self, id: CallId, answers: Vec<(Place, Told)>) {
        let Some(Call {
            kind: CallKind::Ask(call),
            ..
        }) = self.calls.get_mut(id)
        else {
            return;
        };
        call.remaining = call.remaining.saturating_sub(answers.len());
        answers
            .into_iter()
            .for_each(|(place, told)| call.form.settle(place, told));
        if call.remaining > 0 {
            return;
        }
        if let Some(Call {
            reply,
            kind: CallKind::Ask(call),
        }) = self.calls.remove(id)
        {
            self.deliver(reply, Answer::Bytes(call.form.encode(&reply)));
        }
    }

    /// Owner: answers what it can at once.
    pub(super) fn take_ask(&mut self, order: AskOrder) {
        let AskOrder { origin, call, items } = order;
        let mut answers = Vec::with_capacity(items.len());
        let mut room = describe_producers::MAX_TOLD;
        for (place, key, question) in items {
            let told = match self.partitions.slot(&key) {
                Some(slot) => self.ask_one(Asker { origin, call, place }, slot, question, &mut room),
                None => Some(Told::Failed(ErrorCode::NotLeaderOrFollower)),
            };
            answers.extend(told.map(|told| (place, told)));
        }
        if !answers.is_empty() {
            self.post(origin, Mail::Told { call, answers });
        }
    }

    /// The answer, or nothing when it comes later. `room` is for the producers that all answers together may tell.
    fn ask_one(&mut self, asker: Asker, slot: Slot, question: Question, room: &mut usize) -> Option<Told> {
        let Some(offsets) = self.shard.offsets(slot) else {
            return Some(Told::Failed(ErrorCode::NotLeaderOrFollower));
        };
        let leader_epoch = offsets.leader_epoch;
        Some(match question {
            Question::Latest(isolation) => Told::Offset {
                timestamp_ms: -1,
                offset: offsets.visible_end(isolation),
                leader_epoch,
            },
            Question::Earliest => Told::Offset {
                timestamp_ms: -1,
                offset: offsets.log_start,
                leader_epoch: self.shard.earliest_epoch(slot),
            },
            Question::EpochEnd(epoch) => {
                let (epoch, end_offset) = self.shard.epoch_end_offset(slot, epoch);
                Told::Epoch(epoch, end_offset)
            }
            Question::Size => Told::Size(self.shard.size_bytes(slot)),
            Question::Producers => describe_producers::tell(self.shard.producers(slot), room),
            Question::DeleteBefore(offset) => {
                return self.delete_before(asker, slot, offset, offsets.high_watermark);
            }
            Question::Time(..) | Question::LargestTime(_) => {
                return self.search_time(asker, slot, Search::new(question));
            }
        })
    }

    fn delete_before(&mut self, asker: Asker, slot: Slot, offset: i64, high_watermark: i64) -> Option<Told> {
        let before = if offset == -1 { high_watermark } else { offset };
        if !(0..=high_watermark).contains(&before) {
            return Some(Told::Failed(ErrorCode::OffsetOutOfRange));
        }
        match self.shard.delete_records(&mut *self.io, slot, before) {
            Ok((log_start, ticket)) if self.is_committed(ticket) => Some(Told::LogStart(log_start)),
            Ok((log_start, ticket)) => {
                self.questions
                    .deleting
                    .push_back((ticket, asker, Told::LogStart(log_start)));
                None
            }
            Err(AppendError::Busy) => {
                self.questions
                    .stalled
                    .push_back((asker, slot, Question::DeleteBefore(offset)));
                None
            }
            Err(AppendError::NoSuchPartition) => Some(Told::Failed(ErrorCode::NotLeaderOrFollower)),
            Err(_) => Some(Told::Failed(ErrorCode::KafkaStorageError)),
        }
    }

    /// Searches on until there is an answer; none when it comes later.
    fn search_time(&mut self, asker: Asker, slot: Slot, mut search: Search) -> Option<Told> {
        loop {
            self.questions.next_token += 1;
            let token = self.questions.next_token;
            let outcome = match search.question {
                Question::Time(timestamp_ms, _) => {
                    let log_start = self.shard.offsets(slot).map_or(0, |offsets| offsets.log_start);
                    let from = search.from_offset.max(log_start);
                    self.shard
                        .offset_for_timestamp(&mut *self.io, slot, timestamp_ms, from, token)
                }
                _ => self
                    .shard
                    .offset_for_largest_timestamp(&mut *self.io, slot, token),
            };
            match outcome {
                TimeOutcome::Now(hit) => match self.time_told(slot, &mut search, hit) {
                    Some(told) => return Some(told),
                    None => continue,
                },
                TimeOutcome::Later => self.questions.searching.push((token, asker, slot, search)),
                TimeOutcome::Error(ReadError::Busy) => {
                    self.questions.stalled.push_back((asker, slot, search.question));
                }
                TimeOutcome::Error(error) => return Some(Told::Failed(time_code(&error))),
            }
            return None;
        }
    }

    /// Looks inside the batch for the record: the one place where the broker opens a batch while a client waits. Nothing when the search is to go
    /// on behind it: those of its records that are as late lie before the log start, or its header promised too much.
    fn time_told(&self, slot: Slot, search: &mut Search, hit: Option<TimeHit>) -> Option<Told> {
        let none = Told::Offset {
            timestamp_ms: -1,
            offset: -1,
            leader_epoch: -1,
        };
        let Some(hit) = hit else { return Some(none) };
        let isolation = match search.question {
            Question::Time(_, isolation) | Question::LargestTime(isolation) => isolation,
            _ => Isolation::Uncommitted,
        };
        let offsets = self.shard.offsets(slot);
        let end = offsets.map_or(i64::MAX, |offsets| offsets.visible_end(isolation));
        let log_start = offsets.map_or(0, |offsets| offsets.log_start);
        let found = match search.question {
            Question::Time(timestamp_ms, _) => times::first_at_or_after(&hit.batch, timestamp_ms, log_start),
            _ => times::largest(&hit.batch),
        };
        Some(match found {
            // Not for those who read what is committed only.
            Ok(Some((_, offset, _))) if offset >= end => none,
            Ok(Some((timestamp_ms, offset, leader_epoch))) => Told::Offset {
                timestamp_ms,
                offset,
                leader_epoch,
            },
            Ok(None) => {
                let header = BatchHeader::read(&hit.batch).filter(|_| search.goes_on());
                let Some(header) = header else { return Some(none) };
                search.from_offset = header.last_offset() + 1;
                return None;
            }
            Err(reason) => {
                // Its first record is never behind the one that is looked for.
                crate::debug!("a batch is not searched by time, its first offset is the answer: {reason}");
                let header = BatchHeader::read(&hit.batch);
                header.map_or(none, |header| Told::Offset {
                    timestamp_ms: header.max_timestamp_ms,
                    offset: header.base_offset,
                    leader_epoch: header.partition_leader_epoch,
                })
            }
        })
    }

    /// Owner: a search that read from disk is finished.
    pub(super) fn on_time_done(&mut self, token: u64, result: Result<Option<TimeHit>, ReadError>) {
        let Some(at) = self
            .questions
            .searching
            .iter()
            .position(|search| search.0 == token)
        else {
            return;
        };
        let (_, asker, slot, mut search) = self.questions.searching.swap_remove(at);
        let told = match result {
            Ok(hit) => match self.time_told(slot, &mut search, hit) {
                Some(told) => Some(told),
                None => self.search_time(asker, slot, search),
            },
            Err(error) => Some(Told::Failed(time_code(&error))),
        };
        if let Some(told) = told {
            self.tell(asker, told);
        }
    }

    fn tell(&mut self, asker: Asker, told: Told) {
        self.post(
            asker.origin,
            Mail::Told {
                call: asker.call,
                answers: vec![(asker.place, told)],
            },
        );
    }

    /// Owner: everything up to the ticket is durable.
    pub(super) fn on_deletions_committed(&mut self, ticket: Ticket) {
        while self
            .questions
            .deleting
            .front()
            .is_some_and(|first| first.0 <= ticket)
        {
            let Some((_, asker, told)) = self.questions.deleting.pop_front() else {
                break;
            };
            self.tell(asker, told);
        }
    }

    /// Owner: the shard can commit nothing any more. What was to be deleted may come back at the next start.
    pub(super) fn fail_deletions(&mut self) {
        for (_, asker, _) in std::mem::take(&mut self.questions.deleting) {
            self.tell(asker, Told::Failed(ErrorCode::KafkaStorageError));
        }
    }

    /// Owner: the engine has room again.
    pub(super) fn retry_questions(&mut self) {
        let mut room = describe_producers::MAX_TOLD;
        for (asker, slot, question) in std::mem::take(&mut self.questions.stalled) {
            if let Some(told) = self.ask_one(asker, slot, question, &mut room) {
                self.tell(asker, told);
            }
        }
    }
}

fn time_code(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::NoSuchPartition => ErrorCode::NotLeaderOrFollower,
        ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
        _ => ErrorCode::KafkaStorageError,
    }
}
