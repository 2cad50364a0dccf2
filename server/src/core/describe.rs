//! RinglogDescribeCores across cores: the connection's core asks all, each tells what it has done, and the last one's words
//! complete the answer.

use std::sync::Arc;

use ringlog_engine::shard::Slot;
use ringlog_engine::stats::Load;

use super::Core;
use super::calls::{Call, CallId, CallKind, ReplyTo};
use super::load::processor_time;
use super::mail::{Mail, PartitionKey};
use crate::conn::Answer;
use crate::handlers::describe_cores;
use crate::wire::describe_cores::{
    CoreDescription, PartitionLoad, RinglogDescribeCoresRequest, RinglogDescribeCoresResponse,
};

/// A request that not all cores have answered.
#[derive(Debug)]
pub struct DescribeCall {
    response: RinglogDescribeCoresResponse,
    remaining: usize,
}

impl Core {
    /// Asks every core, or says what is wrong with the request.
    pub(super) fn start_describe_cores(&mut self, reply: ReplyTo, request: &RinglogDescribeCoresRequest) {
        let max_partitions = match describe_cores::check(request) {
            Ok(most) => most,
            Err(refusal) => return self.deliver(reply, Answer::Bytes(reply.encode(&refusal))),
        };
        let call = DescribeCall {
            response: describe_cores::begin(self.cores),
            remaining: self.cores,
        };
        let call = self.calls.insert(Call {
            reply,
            kind: CallKind::Describe(Box::new(call)),
        });
        let topic: Option<Arc<str>> = request.topic.as_deref().map(Into::into);
        for core in 0..self.cores {
            let origin = self.id;
            let topic = topic.clone();
            self.post(
                core,
                Mail::Describe {
                    origin,
                    call,
                    max_partitions,
                    topic,
                },
            );
        }
    }

    /// Every core: tells what it has done.
    pub(super) fn take_describe(
        &mut self,
        origin: usize,
        call: CallId,
        max_partitions: usize,
        topic: Option<&str>,
    ) {
        let description = Box::new(self.description(max_partitions, topic));
        self.post(origin, Mail::Described { call, description });
    }

    fn description(&self, max_partitions: usize, topic: Option<&str>) -> CoreDescription {
        CoreDescription {
            core: self.id as i32,
            uptime_ns: self.stages.uptime(self.io.clock()).as_nanos() as i64,
            cpu_ns: processor_time().as_nanos() as i64,
            connections: self.conns.count() as i32,
            partitions: self.partitions.all().count() as i32,
            counters: describe_cores::counters(
                self.stages.requests(),
                &self.io.counters(),
                &self.shard.counters(),
            ),
            stages: describe_cores::stages(&self.stages),
            busiest: self.busiest(max_partitions, topic),
        }
    }

    /// The partitions, or those of one topic, with the largest load.
    fn busiest(&self, most: usize, topic: Option<&str>) -> Vec<PartitionLoad> {
        if most == 0 {
            return Vec::new();
        }
        let loads: Vec<(Load, (&PartitionKey, &str, Slot))> = self
            .partitions
            .all()
            .filter(|(_, of, _)| topic.is_none_or(|topic| topic == *of))
            .map(|open| (self.shard.load(open.2), open))
            .collect();
        let busiest = describe_cores::busiest(loads, most);
        let line = |(load, (key, topic, slot)): &(Load, (&PartitionKey, &str, Slot))| {
            let log_end = self.shard.offsets(*slot).map_or(-1, |offsets| offsets.log_end);
            describe_cores::partition(topic, key.index, log_end, self.shard.size_bytes(*slot), load)
        };
        busiest.iter().map(line).collect()
    }

    /// Connection's core: one core has told.
    pub(super) fn on_described(&mut self, id: CallId, description: CoreDescription) {
        let Some(Call {
            kind: CallKind::Describe(call),
            ..
        }) = self.calls.get_mut(id)
        else {
            return;
        };
        describe_cores::settle(&mut call.response, description);
        call.remaining -= 1;
        if call.remaining > 0 {
            return;
        }
        if let Some(Call {
            reply,
            kind: CallKind::Describe(call),
        }) = self.calls.remove(id)
        {
            self.deliver(reply, Answer::Bytes(reply.encode(&call.response)));
        }
    }
}
