//! Batches to the leaders of their partitions, again until acknowledged or hopeless.
//!
//! With acks=all the producer is idempotent (KIP-98): every batch carries a producer id and a sequence number, so
//! that a broker recognises a batch sent again and writes it once. One request at a time is under way, so order
//! needs nothing more.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use ringlog_records::{BatchBuilder, Codec, Producer};

use crate::cli::args::ProduceArgs;
use crate::cli::client::{Backoff, CallError, Client, describe, is_retriable, unknown_topic};
use crate::cli::error::{CliError, CliResult};
use crate::wire::code::ErrorCode;
use crate::wire::init_producer_id::InitProducerIdRequest;
use crate::wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};

/// The last version of Produce that names topics by name: any broker understands it, and no id can be stale.
const NEWEST_BY_NAME: i16 = 12;

/// A batch that the broker has, or with acks=0 was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) partition: i32,
    pub(super) records: i32,
    /// The first record's offset; `None` when the broker did not say.
    pub(super) base_offset: Option<i64>,
}

/// Sends to one topic.
pub(super) struct Sender {
    client: Client,
    topic: String,
    acks: i16,
    codec: Codec,
    producer: Option<(i64, i16)>,
    next_sequence: BTreeMap<i32, i32>,
}

/// A batch on its way.
#[derive(Debug)]
struct Waiting {
    batch: Bytes,
    records: i32,
}

impl Sender {
    /// Gets a producer id where acks asks for one.
    pub(super) fn new(mut client: Client, args: &ProduceArgs) -> CliResult<Self> {
        let producer = if args.acks == -1 {
            init_producer(&mut client)?
        } else {
            None
        };
        Ok(Self {
            client,
            topic: args.topic.clone(),
            acks: args.acks,
            codec: args.compression.into(),
            producer,
            next_sequence: BTreeMap::new(),
        })
    }

    /// Whether a batch sent twice is written once.
    pub(super) fn is_idempotent(&self) -> bool {
        self.producer.is_some()
    }

    /// Sends a batch to each of these partitions, and returns when all are acknowledged or one cannot be.
    pub(super) fn send(
        &mut self,
        batches: BTreeMap<i32, BatchBuilder>,
        done: &mut dyn FnMut(Acknowledged),
    ) -> CliResult<()> {
        let mut waiting = BTreeMap::new();
        for (partition, builder) in batches {
            waiting.insert(partition, self.pack(partition, builder)?);
        }
        let mut backoff = Backoff::new(self.client.timeout());
        let mut obstacle = "its partitions have no leader".to_owned();
        loop {
            self.round(&mut waiting, &mut obstacle, backoff.deadline(), done)?;
            if waiting.is_empty() {
                return Ok(());
            }
            if !backoff.pause() {
                return Err(CliError::Unreachable(format!(
                    "not acknowledged in time: {obstacle}"
                )));
            }
            self.client.load_topic(&self.topic)?;
        }
    }

    fn pack(&mut self, partition: i32, builder: BatchBuilder) -> CliResult<Waiting> {
        let records = builder.count();
        let producer = self.producer.map_or(Producer::NONE, |(id, epoch)| {
            let sequence = self.next_sequence.entry(partition).or_default();
            let base_sequence = *sequence;
            *sequence = ringlog_engine::batch::advance_sequence(base_sequence, records);
            Producer {
                id,
                epoch,
                base_sequence,
            }
        });
        let batch = builder.finish(self.codec, producer).map_err(CliError::refused)?;
        Ok(Waiting {
            batch: Bytes::from(batch),
            records,
        })
    }

    /// Every leader once.
    fn round(
        &mut self,
        waiting: &mut BTreeMap<i32, Waiting>,
        obstacle: &mut String,
        deadline: Instant,
        done: &mut dyn FnMut(Acknowledged),
    ) -> CliResult<()> {
        for (leader, partitions) in self.client.by_leader(&self.topic, waiting.keys().copied()) {
            let request = self.request(waiting, &partitions, deadline);
            match self.call(leader, &request, deadline) {
                Ok(None) => partitions.iter().for_each(|partition| {
                    acknowledge(waiting, *partition, None, done);
                }),
                Ok(Some(response)) => self.take(&response, waiting, obstacle, done)?,
                Err(error) if error.is_retriable() => *obstacle = error.to_string(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// `None` with acks=0, to which brokers do not answer.
    fn call(
        &mut self,
        leader: i32,
        request: &ProduceRequest,
        deadline: Instant,
    ) -> Result<Option<ProduceResponse>, CallError> {
        self.client.with_broker(leader, deadline, |connection| {
            let pending = connection.send(request, NEWEST_BY_NAME, deadline)?;
            if request.acks == 0 {
                Ok(None)
            } else {
                connection.receive(&pending, deadline).map(Some)
            }
        })
    }

    fn request(
        &self,
        waiting: &BTreeMap<i32, Waiting>,
        partitions: &[i32],
        deadline: Instant,
    ) -> ProduceRequest {
        let data = |partition: &i32| PartitionProduceData {
            index: *partition,
            records: waiting.get(partition).map(|waiting| waiting.batch.clone()),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        ProduceRequest {
            transactional_id: None,
            acks: self.acks,
            timeout_ms: i32::try_from(left.as_millis()).unwrap_or(i32::MAX),
            topic_data: vec![TopicProduceData {
                name: self.topic.clone(),
                partition_data: partitions.iter().map(data).collect(),
                ..Default::default()
            }],
        }
    }

    fn take(
        &self,
        response: &ProduceResponse,
        waiting: &mut BTreeMap<i32, Waiting>,
        obstacle: &mut String,
        done: &mut dyn FnMut(Acknowledged),
    ) -> CliResult<()> {
        let mut refused = Ok(());
        for answer in response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
        {
            match ErrorCode::from_code(answer.error_code) {
                ErrorCode::None => acknowledge(waiting, answer.index, Some(answer.base_offset), done),
                // Sent before and written then; where, the broker no longer knows.
                ErrorCode::DuplicateSequenceNumber => acknowledge(waiting, answer.index, None, done),
                _ if is_retriable(answer.error_code) => *obstacle = self.refusal(answer, waiting),
                _ => refused = Err(CliError::Refused(self.refusal(answer, waiting))),
            }
        }
        refused
    }

    fn refusal(&self, answer: &PartitionProduceResponse, waiting: &BTreeMap<i32, Waiting>) -> String {
        let reason = describe(answer.error_code, answer.error_message.as_deref());
        let size = waiting
            .get(&answer.index)
            .map_or(0, |waiting| waiting.batch.len());
        let advice = match ErrorCode::from_code(answer.error_code) {
            ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => format!(
                " The batch has {size} bytes: lower --batch-bytes, compress, or raise max.message.bytes of the topic."
            ),
            ErrorCode::UnknownTopicOrPartition => return unknown_topic(&self.topic).to_string(),
            ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId => {
                " An earlier batch is missing at the broker: its data may have been lost.".to_owned()
            }
            _ => String::new(),
        };
        format!(
            "partition {} of {:?} refused a batch: {reason}.{advice}",
            answer.index, self.topic
        )
    }
}

fn acknowledge(
    waiting: &mut BTreeMap<i32, Waiting>,
    partition: i32,
    base_offset: Option<i64>,
    done: &mut dyn FnMut(Acknowledged),
) {
    if let Some(sent) = waiting.remove(&partition) {
        let base_offset = base_offset.filter(|offset| *offset >= 0);
        done(Acknowledged {
            partition,
            records: sent.records,
            base_offset,
        });
    }
}

/// A producer id and epoch; `None` from a broker that has no such thing.
fn init_producer(client: &mut Client) -> CliResult<Option<(i64, i16)>> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    let mut backoff = Backoff::new(client.timeout());
    loop {
        let response = match client.call(&request) {
            Ok(response) => response,
            // A broker without InitProducerId: said by the totals, which will not claim idempotence.
            Err(CliError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        match response.error_code {
            0 => return Ok(Some((response.producer_id, response.producer_epoch))),
            code if is_retriable(code) && backoff.pause() => {}
            code => {
                return Err(CliError::refused(format!(
                    "no producer id: {}",
                    describe(code, None)
                )));
            }
        }
    }
}
