//! From a frame to the request it holds, and to what deals with it.

use bytes::Bytes;
use ringlog_engine::io::ConnId;

use super::Core;
use super::ask::Form;
use super::calls::ReplyTo;
use crate::conn::Answer;
use crate::handlers::{describe_producers, log_dirs, offsets};
use crate::wire::header::RequestHeader;
use crate::wire::schema::Message;
use crate::wire::{Api, ApiKey, Decoder, WireError};

/// A request as far as it is decoded.
pub(super) struct Incoming<'a> {
    /// Where the response goes.
    pub reply: ReplyTo,
    /// What the client calls itself.
    pub client_id: Option<String>,
    /// The rest of the frame.
    pub body: Decoder<'a>,
}

impl Incoming<'_> {
    /// Decodes the body; bytes after its end are ignored, as in Kafka.
    pub fn decode<M: Message>(&mut self) -> Result<M, WireError> {
        M::decode_as(&mut self.body, self.reply.version)
    }
}

impl Core {
    /// Starts the request in a frame. What cannot be understood closes the connection, as in Kafka.
    pub(super) fn start_request(&mut self, conn: ConnId, serial: u64, number: u64, frame: Bytes) {
        let mut body = Decoder::new(&frame);
        let (core, closing) = (self.id, |reason: &dyn std::fmt::Display| {
            crate::warn!("closing connection {}: {reason}", conn.0);
        });
        let header = RequestHeader::decode(&mut body);
        let (api_key, version, correlation_id, client_id) = match header {
            Ok(RequestHeader {
                api_key,
                api_version,
                correlation_id,
                client_id,
            }) => (api_key, api_version, correlation_id, client_id),
            Err(error) => {
                closing(&format_args!("bad request header: {error}"));
                return self.close(conn);
            }
        };
        let reply = ReplyTo {
            core,
            conn,
            serial,
            number,
            api_key,
            version,
            correlation_id,
        };
        let served = Api::find(api_key).is_some_and(|api| api.serves(version));
        if !served && api_key == ApiKey::ApiVersions {
            return self.answer_unknown_api_versions(reply);
        }
        if !served {
            closing(&format_args!("{api_key} version {version} is not supported"));
            return self.deliver(reply, Answer::Close);
        }
        let timing = self.begin_timing(reply, client_id.as_deref());
        let started = self.start_decoded(Incoming {
            reply,
            client_id,
            body,
        });
        self.end_start_timing(timing);
        if let Err(error) = started {
            closing(&format_args!(
                "bad {api_key} request of version {version}: {error}"
            ));
            self.deliver(reply, Answer::Close);
        }
    }

    fn start_decoded(&mut self, mut incoming: Incoming<'_>) -> Result<(), WireError> {
        let reply = incoming.reply;
        match reply.api_key {
            ApiKey::Produce => {
                let request = incoming.decode()?;
                self.start_produce(reply, incoming.client_id.as_deref(), request);
            }
            ApiKey::Fetch => {
                let request = incoming.decode()?;
                self.start_fetch(reply, &request);
            }
            ApiKey::ListOffsets => {
                let asked = offsets::list(&incoming.decode()?, reply.version, &self.image);
                self.start_ask(reply, asked, Form::List);
            }
            ApiKey::OffsetForLeaderEpoch => {
                let asked = offsets::epochs(&incoming.decode()?, &self.image);
                self.start_ask(reply, asked, Form::Epochs);
            }
            ApiKey::DeleteRecords => {
                let request = incoming.decode()?;
                let (shared, image) = (self.shared.clone(), self.image.clone());
                let deletable =
                    |topic: &str| image.topic_settings(&shared.config, shared.node.id, topic).delete;
                self.start_ask(reply, offsets::delete(&request, &image, deletable), Form::Delete);
            }
            ApiKey::DescribeLogDirs => {
                let directory = self.shared.directory();
                let asked = log_dirs::describe(&incoming.decode()?, &self.image, directory);
                self.start_ask(reply, asked, Form::LogDirs);
            }
            ApiKey::DescribeProducers => {
                let asked = describe_producers::describe(&incoming.decode()?, &self.image);
                self.start_ask(reply, asked, Form::Producers);
            }
            ApiKey::RinglogDescribeCores => {
                let request = incoming.decode()?;
                self.start_describe_cores(reply, &request);
            }
            ApiKey::InitProducerId => {
                let request = incoming.decode()?;
                self.start_init_producer_id(reply, request);
            }
            ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::OffsetDelete
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::DeleteGroups
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::TxnOffsetCommit => self.start_groups(incoming)?,
            ApiKey::AddPartitionsToTxn
            | ApiKey::AddOffsetsToTxn
            | ApiKey::EndTxn
            | ApiKey::DescribeTransactions
            | ApiKey::ListTransactions => self.start_transactions(incoming)?,
            ApiKey::WriteTxnMarkers => {
                self.throttled.exempt();
                let request = incoming.decode()?;
                self.start_write_txn_markers(reply, &request);
            }
            _ => self.start_metadata(incoming)?,
        }
        Ok(())
    }
}
