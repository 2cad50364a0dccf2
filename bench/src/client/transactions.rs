//! A transactional producer's requests: who coordinates its id, its producer id, its partitions, its records, its ends.
//!
//! What a broker refuses comes back as Kafka's number of the error, so that the caller may ask again.

use std::net::SocketAddr;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProducerId,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::admin::{resolve, topic_name};
use super::connection::Connection;
use crate::error::Error;
use crate::load::frame::Frame;
use crate::load::reply::{self, Told};

/// Keys of the two requests whose versions decide what is spoken.
const PRODUCE: i16 = 0;
const END_TXN: i16 = 26;
/// The newest FindCoordinator that asks for one key, and the kind of key that a transactional id is.
const FIND_VERSION: i16 = 3;
const TRANSACTION: i8 = 1;
/// The newest InitProducerId without two-phase commit.
const INIT_VERSION: i16 = 5;
/// The newest AddPartitionsToTxn that clients send.
const ADD_VERSION: i16 = 3;
/// A transaction that takes longer is the broker's to abort.
const TIMEOUT_MS: i32 = 60_000;
/// All of a transaction's records are acknowledged by all.
const ACKS: i16 = -1;

/// Kafka's versions of the protocol (`transaction.version`); 0 and 1 are alike to a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TransactionVersion {
    /// Partitions are added to a transaction before they are written to.
    #[value(name = "1")]
    One,
    /// What is written to is in the transaction, and each end brings a new epoch (KIP-890).
    #[default]
    #[value(name = "2")]
    Two,
}

impl TransactionVersion {
    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            TransactionVersion::One => 1,
            TransactionVersion::Two => 2,
        }
    }

    /// Versions of Produce, of which those from 12 on say that the client speaks version 2, and of EndTxn, likewise from 5 on.
    fn requests(self) -> ((i16, i16), (i16, i16)) {
        match self {
            TransactionVersion::One => ((3, 11), (0, 3)),
            TransactionVersion::Two => ((12, 12), (5, 5)),
        }
    }
}

/// A producer with its transactional id and its connections, one a broker.
pub struct TransactionalProducer {
    id: StrBytes,
    version: TransactionVersion,
    bootstrap: SocketAddr,
    coordinator: SocketAddr,
    connections: Vec<(SocketAddr, Connection)>,
    produce_version: i16,
    /// Its producer id and epoch now; -1 before [`TransactionalProducer::init`].
    pub identity: (i64, i16),
}

impl TransactionalProducer {
    /// One that has not asked for anything but what the broker serves.
    ///
    /// # Errors
    /// Unreachable, or a broker that does not speak `version`.
    pub async fn open(
        bootstrap: SocketAddr,
        id: &str,
        version: TransactionVersion,
    ) -> Result<TransactionalProducer, Error> {
        let connection = Connection::open(bootstrap).await?;
        let (produce, end) = version.requests();
        let produce_version = connection.versions.choose(PRODUCE, "Produce", produce)?;
        connection.versions.choose(END_TXN, "EndTxn", end)?;
        Ok(TransactionalProducer {
            id: StrBytes::from_string(id.to_owned()),
            version,
            bootstrap,
            coordinator: bootstrap,
            connections: vec![(bootstrap, connection)],
            produce_version,
            identity: (-1, -1),
        })
    }

    /// The protocol it speaks.
    pub fn version(&self) -> TransactionVersion {
        self.version
    }

    /// Finds its coordinator. The error, 0 for none.
    ///
    /// # Errors
    /// The connection's; a coordinator whose address does not resolve.
    pub async fn find_coordinator(&mut self) -> Result<i16, Error> {
        let request = FindCoordinatorRequest::default()
            .with_key(self.id.clone())
            .with_key_type(TRANSACTION);
        let connection = self.connection(self.bootstrap).await?;
        let (found, _) = connection.call(&request, FIND_VERSION).await?;
        if found.error_code == 0 {
            self.coordinator = resolve(&format!("{}:{}", found.host, found.port))?;
        }
        Ok(found.error_code)
    }

    /// Gets a producer id and an epoch that fences whoever had this transactional id before. The error, 0 for none.
    ///
    /// # Errors
    /// The connection's.
    pub async fn init(&mut self) -> Result<i16, Error> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(self.id.clone())))
            .with_transaction_timeout_ms(TIMEOUT_MS)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let connection = self.connection(self.coordinator).await?;
        let (answer, _) = connection.call(&request, INIT_VERSION).await?;
        if answer.error_code == 0 {
            self.identity = (answer.producer_id.0, answer.producer_epoch);
        }
        Ok(answer.error_code)
    }

    /// Adds partitions to the transaction, as version 1 needs it. The first error, 0 for none.
    ///
    /// # Errors
    /// The connection's.
    pub async fn add_partitions(&mut self, topic: &str, partitions: Vec<i32>) -> Result<i16, Error> {
        let added = AddPartitionsToTxnTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(partitions);
        let (producer_id, epoch) = self.identity;
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(self.id.clone()))
            .with_v3_and_below_producer_id(ProducerId(producer_id))
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(vec![added]);
        let connection = self.connection(self.coordinator).await?;
        let (answer, _) = connection.call(&request, ADD_VERSION).await?;
        let told = answer
            .results_by_topic_v3_and_below
            .iter()
            .flat_map(|topic| &topic.results_by_partition);
        let mut codes = told.map(|partition| partition.partition_error_code);
        Ok(codes.find(|code| *code != 0).unwrap_or(0))
    }

    /// Writes batches, each with its partition, to their leader; what it says of each goes to `told`.
    ///
    /// # Errors
    /// The connection's, or an answer that does not decode.
    pub async fn produce(
        &mut self,
        leader: SocketAddr,
        topic: &str,
        batches: &[(i32, &[u8])],
        told: &mut Vec<Told>,
    ) -> Result<(), Error> {
        let (version, id) = (self.produce_version, self.id.clone());
        let connection = self.connection(leader).await?;
        let write = |correlation_id| {
            let mut out = Vec::new();
            let mut frame = Frame::begin_in(
                &mut out,
                version,
                correlation_id,
                Some(&id),
                ACKS,
                topic,
                batches.len(),
            );
            for (partition, batch) in batches {
                frame.batch(*partition, batch.len(), |out| out.extend_from_slice(batch));
            }
            frame.finish();
            out
        };
        let (answer, correlation_id) = connection.exchange_own("Produce", write).await?;
        reply::read(&answer, version, correlation_id, told)
    }

    /// Commits or aborts. The error, 0 for none; the identity is the next transaction's then.
    ///
    /// # Errors
    /// The connection's.
    pub async fn end(&mut self, commit: bool) -> Result<i16, Error> {
        let (producer_id, epoch) = self.identity;
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(self.id.clone()))
            .with_producer_id(ProducerId(producer_id))
            .with_producer_epoch(epoch)
            .with_committed(commit);
        let (_, (_, newest)) = self.version.requests();
        let connection = self.connection(self.coordinator).await?;
        let (answer, _) = connection.call(&request, newest).await?;
        if answer.error_code == 0 && self.version == TransactionVersion::Two {
            self.identity = (answer.producer_id.0, answer.producer_epoch);
        }
        Ok(answer.error_code)
    }

    async fn connection(&mut self, address: SocketAddr) -> Result<&mut Connection, Error> {
        let known = self.connections.iter().position(|(known, _)| *known == address);
        let at = match known {
            Some(at) => at,
            None => {
                self.connections.push((address, Connection::open(address).await?));
                self.connections.len() - 1
            }
        };
        Ok(&mut self.connections[at].1)
    }
}
