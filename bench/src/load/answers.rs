//! The answers to a lane's requests: matched in order, counted, noted.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use tokio::sync::Notify;

use super::batch::Identity;
use super::lane::{count, note};
use super::tally::{Stream, Tag};
use super::thread::Thread;
use crate::client::connection::{decode, error_name};
use crate::ledger::Outcome;
use crate::net::FrameReader;

/// A batch that was sent.
pub struct Batch {
    /// Partition it is for.
    pub partition: i32,
    /// What it looks like.
    pub identity: Identity,
    /// When each of its records was due.
    pub times_ns: Box<[u64]>,
    /// Its length on the wire.
    pub bytes: usize,
}

/// A request that was sent.
pub struct Request {
    /// What its answer must carry.
    pub correlation_id: i32,
    /// When it was handed to the socket.
    pub sent_ns: u64,
    /// In the order written.
    pub batches: Vec<Batch>,
}

/// The requests of one connection that wait for their answer.
pub struct Answers {
    thread: Rc<Thread>,
    version: i16,
    waiting: RefCell<VecDeque<Request>>,
    orphans: RefCell<Vec<Box<[u64]>>>,
    changed: Notify,
    lost: Cell<bool>,
    closing: Cell<bool>,
}

impl Answers {
    /// Starts reading answers in Produce `version`.
    pub fn start(thread: Rc<Thread>, mut reader: FrameReader, version: i16) -> Rc<Answers> {
        let answers = Rc::new(Answers {
            thread,
            version,
            waiting: RefCell::default(),
            orphans: RefCell::default(),
            changed: Notify::new(),
            lost: Cell::new(false),
            closing: Cell::new(false),
        });
        let reading = Rc::clone(&answers);
        tokio_uring::spawn(async move {
            while !reading.is_lost() {
                match reader.next().await {
                    Ok(Some(frame)) => reading.arrived(frame),
                    Ok(None) => reading.lost("connection closed"),
                    Err(error) => reading.lost(&error.to_string()),
                }
            }
        });
        answers
    }

    /// A request is about to be sent.
    pub fn expect(&self, request: Request) {
        self.waiting.borrow_mut().push_back(request);
    }

    /// With acks=0: counts the request just sent, which no answer follows.
    pub fn sent_without_answer(&self) {
        if self.thread.shared.settings.acks != 0 {
            return;
        }
        let now_ns = self.thread.clock.now_ns();
        for request in self.waiting.borrow_mut().drain(..) {
            for batch in &request.batches {
                count(&self.thread, batch, now_ns);
            }
        }
    }

    /// Requests without an answer.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Whether the connection is gone.
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Completes when an answer arrived or the connection went.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The connection is gone: what waits is not known to be stored.
    pub fn lost(&self, why: &str) {
        if self.lost.replace(true) {
            return;
        }
        if !self.closing.get() {
            self.thread.lost(why);
        }
        self.give_up("connection lost");
        self.changed.notify_one();
    }

    /// Ends, after the socket was shut down; returns the due times of what was never answered.
    pub fn close(&self) -> Vec<Box<[u64]>> {
        self.closing.set(true);
        self.give_up("no answer");
        std::mem::take(&mut self.orphans.borrow_mut())
    }

    fn give_up(&self, name: &str) {
        for request in self.waiting.borrow_mut().drain(..) {
            for batch in request.batches {
                note(&self.thread, &batch, Outcome::Unknown);
                self.failed(name.to_owned(), &batch);
                self.orphans.borrow_mut().push(batch.times_ns);
            }
        }
    }

    fn failed(&self, name: String, batch: &Batch) {
        let records = batch.times_ns.len() as u64;
        self.thread
            .tally
            .borrow_mut()
            .error(Stream::Produced, name, records);
        self.thread
            .shared
            .live
            .failed
            .fetch_add(records, Ordering::Relaxed);
    }

    fn arrived(&self, frame: Bytes) {
        let now_ns = self.thread.clock.now_ns();
        let Some(request) = self.waiting.borrow_mut().pop_front() else {
            return self.lost("an answer that nobody asked for");
        };
        match decode::<ProduceRequest>(frame, self.version, request.correlation_id) {
            Ok(answer) => {
                let told = answer
                    .responses
                    .iter()
                    .flat_map(|topic| &topic.partition_responses);
                self.settle(request, &told.collect::<Vec<_>>(), now_ns);
            }
            Err(error) => {
                self.waiting.borrow_mut().push_front(request);
                self.lost(&error.to_string());
            }
        }
        self.changed.notify_one();
    }

    fn settle(&self, request: Request, told: &[&PartitionProduceResponse], now_ns: u64) {
        let mut refused = false;
        for (at, batch) in request.batches.iter().enumerate() {
            // brokers answer in the order asked; one that does not costs a search
            let of_batch = |answer: &&&PartitionProduceResponse| answer.index == batch.partition;
            let answer = told
                .get(at)
                .filter(of_batch)
                .or_else(|| told.iter().find(of_batch));
            match answer {
                Some(answer) if answer.error_code == 0 => {
                    note(&self.thread, batch, Outcome::Acknowledged(answer.base_offset));
                    count(&self.thread, batch, now_ns);
                    self.thread
                        .tally
                        .borrow_mut()
                        .record_since(Tag::Ack, now_ns, &batch.times_ns);
                    self.service_time(&request, batch, now_ns);
                }
                Some(answer) => {
                    refused = true;
                    note(&self.thread, batch, Outcome::Refused);
                    self.failed(error_name(answer.error_code), batch);
                }
                None => {
                    note(&self.thread, batch, Outcome::Unknown);
                    self.failed("partition missing in the answer".into(), batch);
                }
            }
        }
        if refused && self.thread.shared.settings.idempotent {
            // later sequences would be out of order: go on with a fresh connection and producer id
            self.lost.set(true);
            self.give_up("after a refused batch");
        }
    }

    fn service_time(&self, request: &Request, batch: &Batch, now_ns: u64) {
        let mut tally = self.thread.tally.borrow_mut();
        if tally.window().contains(request.sent_ns) {
            let records = batch.times_ns.len() as u64;
            tally.record(Tag::AckService, now_ns, now_ns - request.sent_ns, records);
        }
    }
}
