//! The answers to a lane's requests: matched in order, counted, noted. All that one receive brings is taken in at once, with one
//! look at the clock, and wakes the lane once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::lane::{count, note};
use super::reply::{self, Told};
use super::settings::Rate;
use super::tally::{Stream, Tag};
use super::thread::Thread;
use super::times::Times;
use crate::client::connection::error_name;
use crate::ledger::{Entry, Outcome};
use crate::net::FrameReader;

/// A batch that was sent.
pub struct Batch {
    /// Partition it is for.
    pub partition: i32,
    /// Its place in the ledger.
    pub entry: Entry,
    /// When each of its records was due.
    pub times: Times,
    /// Its length on the wire.
    pub bytes: usize,
}

/// A request that was sent; its batches are the next so many of [`Answers::batches`].
struct Request {
    /// What its answer must carry.
    correlation_id: i32,
    /// When it was handed to the socket.
    sent_ns: u64,
    batches: usize,
}

/// The requests of one connection that wait for their answer.
pub struct Answers {
    thread: Rc<Thread>,
    version: i16,
    waiting: RefCell<VecDeque<Request>>,
    /// The batches of all that wait, in the order written.
    batches: RefCell<VecDeque<Batch>>,
    /// Requests at the end of `waiting` that are not handed to the socket yet.
    staged: Cell<usize>,
    told: RefCell<Vec<Told>>,
    orphans: RefCell<Vec<Times>>,
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
            batches: RefCell::default(),
            staged: Cell::new(0),
            told: RefCell::default(),
            orphans: RefCell::default(),
            changed: Notify::new(),
            lost: Cell::new(false),
            closing: Cell::new(false),
        });
        let reading = Rc::clone(&answers);
        tokio_uring::spawn(async move {
            while !reading.is_lost() {
                match reader.ready().await {
                    Ok(true) => reading.arrived(&mut reader),
                    Ok(false) => reading.lost("connection closed"),
                    Err(error) => reading.lost(&error.to_string()),
                }
            }
        });
        answers
    }

    /// A batch of the request that [`Answers::expect`] then tells of.
    pub fn expect_batch(&self, batch: Batch) {
        self.batches.borrow_mut().push_back(batch);
    }

    /// A request of so many batches is written and waits for [`Answers::handed_over`].
    pub fn expect(&self, correlation_id: i32, batches: usize) {
        self.waiting.borrow_mut().push_back(Request {
            correlation_id,
            sent_ns: 0,
            batches,
        });
        self.staged.set(self.staged.get() + 1);
    }

    /// All requests written so far are handed to the socket now.
    pub fn handed_over(&self, sent_ns: u64) {
        let staged = self.staged.replace(0);
        let mut batches = 0;
        for request in self.waiting.borrow_mut().iter_mut().rev().take(staged) {
            request.sent_ns = sent_ns;
            batches += request.batches;
        }
        for batch in self.batches.borrow_mut().iter_mut().rev().take(batches) {
            batch.times.sent_at(sent_ns);
        }
    }

    /// With acks=0: counts the requests just sent, which no answer follows.
    pub fn sent_without_answer(&self, now_ns: u64) {
        if self.thread.shared.settings.acks != 0 {
            return;
        }
        for _ in self.waiting.borrow_mut().drain(..) {
            self.thread.tally.borrow_mut().request(Stream::Produced, now_ns);
        }
        for batch in self.batches.borrow_mut().drain(..) {
            count(&self.thread, &batch, now_ns);
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
    pub fn close(&self) -> Vec<Times> {
        self.closing.set(true);
        self.give_up("no answer");
        std::mem::take(&mut self.orphans.borrow_mut())
    }

    fn give_up(&self, name: &str) {
        self.waiting.borrow_mut().clear();
        for batch in self.batches.borrow_mut().drain(..) {
            note(&self.thread, &batch, Outcome::Unknown);
            self.failed(name.to_owned(), &batch);
            self.orphans.borrow_mut().push(batch.times);
        }
    }

    fn failed(&self, name: String, batch: &Batch) {
        let records = batch.times.records() as u64;
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

    /// Takes in every answer that has come.
    fn arrived(&self, reader: &mut FrameReader) {
        let now_ns = self.thread.clock.now_ns();
        let read = reader.drain(|frame| {
            self.answered(frame, now_ns);
            !self.is_lost()
        });
        if let Err(error) = read {
            self.lost(&error.to_string());
        }
        self.changed.notify_one();
    }

    fn answered(&self, frame: &[u8], now_ns: u64) {
        let next = self
            .waiting
            .borrow()
            .front()
            .map(|request| request.correlation_id);
        let Some(correlation_id) = next else {
            return self.lost("an answer that nobody asked for");
        };
        let mut told = self.told.borrow_mut();
        if let Err(error) = reply::read(frame, self.version, correlation_id, &mut told) {
            return self.lost(&error.to_string());
        }
        // a statement of its own: what is settled may give up all that waits
        let request = self.waiting.borrow_mut().pop_front();
        if let Some(request) = request {
            self.settle(&request, &told, now_ns);
        }
    }

    fn settle(&self, request: &Request, told: &[Told], now_ns: u64) {
        let mut refused = false;
        for at in 0..request.batches {
            let Some(batch) = self.batches.borrow_mut().pop_front() else {
                break;
            };
            // brokers answer in the order asked; one that does not costs a search
            let of_batch = |told: &&Told| told.partition == batch.partition;
            let answer = told
                .get(at)
                .filter(of_batch)
                .or_else(|| told.iter().find(of_batch));
            match answer {
                Some(answer) if answer.error_code == 0 => {
                    note(&self.thread, &batch, Outcome::Acknowledged(answer.base_offset));
                    count(&self.thread, &batch, now_ns);
                    self.time(request.sent_ns, &batch, now_ns);
                }
                Some(answer) => {
                    refused = true;
                    note(&self.thread, &batch, Outcome::Refused);
                    self.failed(error_name(answer.error_code), &batch);
                }
                None => {
                    note(&self.thread, &batch, Outcome::Unknown);
                    self.failed("partition missing in the answer".into(), &batch);
                }
            }
        }
        if !refused {
            self.thread.tally.borrow_mut().request(Stream::Produced, now_ns);
        }
        if refused && self.thread.shared.settings.idempotent {
            // later sequences would be out of order: go on with a fresh connection and producer id
            self.lost.set(true);
            self.give_up("after a refused batch");
        }
    }

    /// Records how long a batch took: since it was due, and since it was sent where that is something else.
    fn time(&self, sent_ns: u64, batch: &Batch, now_ns: u64) {
        let mut tally = self.thread.tally.borrow_mut();
        tally.record_since(Tag::Ack, now_ns, &batch.times);
        if self.thread.shared.settings.rate != Rate::Max && tally.window().contains(sent_ns) {
            let records = batch.times.records() as u64;
            tally.record(Tag::AckService, now_ns, now_ns - sent_ns, records);
        }
    }
}
