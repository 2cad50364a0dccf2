//! What cores say to each other. A closed enum: every way in which one core can touch another is listed here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringlog_engine::io::{ConnId, Slice};
use ringlog_engine::shard::{AbortedTxn, Isolation};

use super::ask::{Question, Told};
use super::calls::{CallId, ReplyTo};
use super::control::{ControlRequest, Update};
use super::groups::GroupOrder;
use super::moving::Moving;
use super::relocate::{InTransit, Relocation};
use super::transactions::TxnOrder;
use super::transactions::markers::{MarkOrder, MarkResult, MarkedBy};
use super::transactions::verify::Transaction;
use crate::conn::Answer;
use crate::handlers::groups::Told as GroupTold;
use crate::handlers::produce::AppendResult;
use crate::quotas::sliding::SlidingRate;
use crate::transactions::TxnResponse;
use crate::wire::Uuid;
use crate::wire::describe_cores::CoreDescription;

/// Names a partition everywhere: topics are known by id, never by a name that may be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey {
    /// The topic.
    pub topic_id: Uuid,
    /// Index of the partition.
    pub index: i32,
}

/// Where in a request a partition stands: index of the topic, index within it.
pub type Place = (u32, u32);

/// One message.
#[derive(Debug)]
pub enum Mail {
    /// To an owner: append these batches.
    Append(AppendOrder),
    /// To the connection's core: what became of them.
    Appended {
        /// The produce.
        call: CallId,
        /// One for each batch.
        results: Vec<(Place, AppendResult)>,
        /// Who appended, and when this was posted.
        posted: (usize, Instant),
    },
    /// To the connection's core: batches of a produce wait for room in their topic's queue.
    Waits {
        /// The produce.
        call: CallId,
        /// Where they wait.
        owner: usize,
    },
    /// To an owner: the batches of a produce that wait for room wait no longer.
    GiveUp {
        /// The connection's core.
        origin: usize,
        /// The produce.
        call: CallId,
    },
    /// To an owner: there may be room in the queue of this topic.
    QueueRoom(Uuid),
    /// To an owner: read these partitions.
    Read(ReadOrder),
    /// To the connection's core: what was there.
    ReadDone {
        /// The fetch.
        call: CallId,
        /// Which of its rounds.
        round: u32,
        /// One for each partition.
        parts: Vec<PartRead>,
    },
    /// To the connection's core: a watched partition has grown; the watch is over.
    Moved {
        /// The owner that held the watch.
        owner: usize,
        /// The fetch.
        call: CallId,
        /// Which of its rounds.
        round: u32,
    },
    /// To an owner: the fetch is over, forget its watch.
    Unwatch {
        /// The connection's core.
        origin: usize,
        /// The fetch.
        call: CallId,
    },
    /// To an owner: this connection of `from` writes partitions of yours only. Answered with [`Mail::MoveTo`].
    MayMove {
        /// The connection's core.
        from: usize,
        /// The connection's socket.
        conn: ConnId,
        /// Tells the connection from others with the same socket id.
        serial: u64,
    },
    /// To the connection's core: where it shall go, if the owner has time for it.
    MoveTo {
        /// The connection's socket.
        conn: ConnId,
        /// Tells the connection from others with the same socket id.
        serial: u64,
        /// The owner.
        to: Option<usize>,
    },
    /// To an owner: a connection that is yours from now on.
    Adopt(Box<Moving>),
    /// To an owner: questions about single partitions.
    Ask(AskOrder),
    /// To the connection's core: the answers.
    Told {
        /// The request.
        call: CallId,
        /// One for each question.
        answers: Vec<(Place, Told)>,
    },
    /// To an owner: a question to the coordinator of one of its partitions of the offsets topic.
    Group(Box<GroupOrder>),
    /// To the connection's core: answers of coordinators.
    Grouped {
        /// The request.
        call: CallId,
        /// Which of its questions, and what came of it.
        answers: Vec<(u32, GroupTold)>,
    },
    /// To an owner: a question to the coordinator of one of its partitions of the transactions' topic.
    Transaction(Box<TxnOrder>),
    /// To the connection's core: answers of coordinators of transactions.
    Transacted {
        /// The request.
        call: CallId,
        /// Which of its questions, and what came of it.
        answers: Vec<(u32, TxnResponse)>,
    },
    /// To the owner that asked: whether a partition takes part in a transaction.
    Checked {
        /// What waits for the answer.
        check: u64,
        /// The answer.
        answer: TxnResponse,
    },
    /// To the owner that asked: what kept the partition out of the transaction is over.
    CheckAgain {
        /// What waits for the answer.
        check: u64,
    },
    /// To an owner: write these ends of transactions.
    Mark(MarkOrder),
    /// To whoever asked for them: what became of them.
    Marked {
        /// Who asked.
        by: MarkedBy,
        /// One for each.
        results: Vec<(u32, MarkResult)>,
    },
    /// To every core: something has waited too long for memory that answers not taken may hold.
    Short,
    /// To the core itself: its coordinators have more to read.
    GoOnLoading,
    /// To every core: tell what you have done since you started.
    Describe {
        /// The connection's core.
        origin: usize,
        /// The request.
        call: CallId,
        /// How many partitions to name at most.
        max_partitions: usize,
        /// Of which topic; of all if none.
        topic: Option<Arc<str>>,
    },
    /// To the connection's core: that.
    Described {
        /// The request.
        call: CallId,
        /// What the core has done.
        description: Box<CoreDescription>,
    },
    /// To core 0: something only the controller can do.
    Control(Box<ControlOrder>),
    /// To the connection's core: the answer to a request another core has dealt with.
    Answer {
        /// The request.
        to: ReplyTo,
        /// Its answer.
        answer: Answer,
    },
    /// To every core: open and close partitions of the coming image. Answered with [`Mail::Ready`].
    Prepare(Arc<Update>),
    /// To every core: this is the image from now on. Answered with [`Mail::Ready`].
    Publish(Arc<Update>),
    /// To core 0: one core has done what the update asks.
    Ready,
    /// To core 0: a core had so much to do lately.
    Load {
        /// Which.
        core: usize,
        /// Bytes a second, and what costs as much.
        work: u64,
    },
    /// To every core: this partition moves, keep back what is for it. Answered with [`Mail::Held`] to its owner.
    Hold(Arc<Relocation>),
    /// To the old owner: from this core nothing comes for the partition behind this.
    Held(Arc<Relocation>),
    /// To the new owner: the partition.
    TakeOver(Box<InTransit>),
    /// To the old owner: the partition, which could not be taken over, and why.
    TakeBack(Box<InTransit>, String),
    /// To the old owner: the new one has the partition; in its checkpoint too, if so.
    TakenOver(Arc<Relocation>, bool),
    /// To core 0: the partition is at its new owner, or stays, and why.
    Relocated(Result<(), String>),
    /// To the core that asked: producer ids `[first, first + count)` are its own.
    ProducerIds {
        /// The first id, or nothing when the controller could not hand any out.
        first: Option<i64>,
        /// How many.
        count: i32,
    },
    /// To the core that asked: the topics its Metadata request wanted have been created, or could not be.
    TopicsReady {
        /// The Metadata request.
        call: CallId,
    },
    /// From the thread that starts the broker: accept connections on these addresses.
    Listen(Vec<SocketAddr>),
    /// From the thread that waits for signals: finish and stop.
    Stop,
    /// To core 0: this core has answered everything it is going to answer.
    Drained,
    /// To every core: all are drained, the shards may stop.
    StopShard,
}

/// Batches for partitions of one core, of one produce request.
#[derive(Debug)]
pub struct AppendOrder {
    /// The connection's core.
    pub origin: usize,
    /// The produce.
    pub call: CallId,
    /// Whether the result waits until the batches are as durable as promised; not with acks=0.
    pub wait: bool,
    /// When the client stops waiting.
    pub deadline: Instant,
    /// When it was posted; once its owner has it, when that took it up.
    pub since: Instant,
    /// Until when it may wait for room in its topic, once it had its turn among those that do: it goes before all others.
    pub turn: Option<Instant>,
    /// The transaction the request names.
    pub transaction: Option<Arc<Transaction>>,
    /// What the owner's time counts for.
    pub meter: Option<Arc<SlidingRate>>,
    /// What to append, in order.
    pub items: Vec<AppendItem>,
}

impl AppendOrder {
    /// The same order for one of its batches.
    pub fn with_item(&self, item: AppendItem) -> AppendOrder {
        AppendOrder {
            origin: self.origin,
            call: self.call,
            wait: self.wait,
            deadline: self.deadline,
            since: self.since,
            turn: self.turn,
            transaction: self.transaction.clone(),
            meter: self.meter.clone(),
            items: vec![item],
        }
    }
}

/// One batch.
#[derive(Debug)]
pub struct AppendItem {
    /// Where in the request.
    pub place: Place,
    /// Where to.
    pub key: PartitionKey,
    /// Exactly one batch, checked for that only.
    pub records: Bytes,
}

/// Reads of partitions of one core, of one fetch request.
#[derive(Debug)]
pub struct ReadOrder {
    /// The connection's core.
    pub origin: usize,
    /// The fetch.
    pub call: CallId,
    /// Which of its rounds.
    pub round: u32,
    /// The most bytes altogether, unless the first batch alone is larger.
    pub max_bytes: usize,
    /// When fewer bytes than this are there, tell when this owner's share of what is missing has come. 0: do not watch.
    pub watch_bytes: usize,
    /// Number of owners that read for the fetch.
    pub owners: usize,
    /// Whether only what is committed is wanted.
    pub isolation: Isolation,
    /// What the owner's time counts for.
    pub meter: Option<Arc<SlidingRate>>,
    /// What to read, in order.
    pub items: Vec<ReadItem>,
}

/// One partition to read.
#[derive(Clone, Debug)]
pub struct ReadItem {
    /// Index among the partitions of the fetch.
    pub at: u32,
    /// Which partition.
    pub key: PartitionKey,
    /// From where.
    pub fetch_offset: i64,
    /// The epoch of the client's last record, -1 when it does not say.
    pub last_fetched_epoch: i32,
    /// The most bytes of this partition.
    pub max_bytes: usize,
}

/// What was read of one partition.
#[derive(Debug)]
pub struct PartRead {
    /// Index among the partitions of the fetch.
    pub at: u32,
    /// Why nothing was read.
    pub error: Option<ReadFailure>,
    /// One past the last offset consumers see.
    pub high_watermark: i64,
    /// One past the last offset before which every transaction has ended.
    pub last_stable: i64,
    /// The first offset.
    pub log_start: i64,
    /// The batches.
    pub slices: Vec<Slice>,
    /// Their bytes.
    pub bytes: usize,
    /// Aborted transactions among them, when only what is committed was wanted.
    pub aborted: Vec<AbortedTxn>,
    /// Where the client's log and this one part, as epoch and its end offset.
    pub diverging: Option<(i32, i64)>,
}

impl PartRead {
    /// A partition of which nothing is known but why.
    pub fn failed(at: u32, error: ReadFailure) -> PartRead {
        PartRead {
            at,
            error: Some(error),
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            slices: Vec::new(),
            bytes: 0,
            aborted: Vec::new(),
            diverging: None,
        }
    }
}

/// Why a partition could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFailure {
    /// The offset is before the log's start or after its end.
    OutOfRange,
    /// The partition is not open on the core that should own it.
    NoSuchPartition,
    /// The bytes on disk are not those that were written.
    Corrupt,
    /// The disk failed.
    Storage,
}

/// Questions about partitions of one core, of one request.
#[derive(Debug)]
pub struct AskOrder {
    /// The connection's core.
    pub origin: usize,
    /// The request.
    pub call: CallId,
    /// The questions.
    pub items: Vec<(Place, PartitionKey, Question)>,
}

/// A request for the controller.
#[derive(Debug)]
pub struct ControlOrder {
    /// The core that asks.
    pub core: usize,
    /// What is asked.
    pub request: ControlRequest,
}
