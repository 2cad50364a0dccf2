//! A producer's connection to one broker: it sends what is due, keeps `--in-flight` requests unanswered at most, and comes
//! back when the connection breaks. What is due meanwhile waits, and its waiting counts.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::answers::{Answers, Batch};
use super::batch::Stamp;
use super::frame::{Frame, PRODUCE_VERSIONS};
use super::source::{Portion, Source};
use super::tally::{Stream, Tag};
use super::thread::{LOOK_NS, Thread};
use super::times::Times;
use crate::client::{Connection, admin};
use crate::error::Error;
use crate::ledger::Outcome;

/// Behind schedule by more than this is late.
const LATE_NS: u64 = 1_000_000;
/// Between two attempts to connect again.
const RECONNECT_NS: u64 = 50_000_000;
/// Small requests that are ready together leave in one write, until it is this large.
const WRITE_BYTES: usize = 64 << 10;

/// What makes one lane.
#[derive(Clone, Debug)]
pub struct LaneSpec {
    /// Number of the lane, unique in the run.
    pub id: u32,
    /// The broker.
    pub leader: SocketAddr,
    /// Its partitions that the lane writes to.
    pub partitions: Vec<i32>,
}

/// A connection ready to produce on.
pub struct Session {
    connection: Connection,
    version: i16,
    producer_id: i64,
    producer_epoch: i16,
}

impl Session {
    /// Connects, and gets a producer id if the load is idempotent.
    ///
    /// # Errors
    /// The broker's or the socket's.
    pub async fn open(leader: SocketAddr, idempotent: bool) -> Result<Session, Error> {
        let mut connection = Connection::open(leader).await?;
        let version = connection.versions.choose(0, "Produce", PRODUCE_VERSIONS)?;
        let (producer_id, producer_epoch) = if idempotent {
            admin::producer_id(&mut connection).await?
        } else {
            (-1, -1)
        };
        Ok(Session {
            connection,
            version,
            producer_id,
            producer_epoch,
        })
    }
}

/// A lane at work.
struct Lane {
    thread: Rc<Thread>,
    spec: LaneSpec,
    source: Source,
    batches: u64,
    /// What is written next, kept for its memory.
    out: Vec<u8>,
    /// What a request takes, kept for its memory.
    portions: Vec<Portion>,
    correlation_id: i32,
    /// When the broker last kept the lane from sending.
    blocked_until_ns: u64,
    /// Whether the broker was what kept the lane from sending when it ended.
    kept_by_broker: bool,
    /// Due times of what was sent and never answered.
    unanswered: Vec<Times>,
}

/// What the requests of one connection have in common.
struct Form {
    version: i16,
    producer_id: i64,
    producer_epoch: i16,
    /// Sequence of the next batch of each of the lane's partitions.
    sequences: Vec<i32>,
}

enum End {
    /// Nothing is left to send, and nothing to wait for.
    Done,
    /// The connection is gone.
    Lost,
}

/// Sends all of `source`, first over `session`.
pub async fn run(thread: Rc<Thread>, spec: LaneSpec, source: Source, session: Session) {
    let mut lane = Lane {
        thread,
        spec,
        source,
        batches: 0,
        out: Vec::new(),
        portions: Vec::new(),
        correlation_id: 0,
        blocked_until_ns: 0,
        kept_by_broker: false,
        unanswered: Vec::new(),
    };
    let mut session = Some(session);
    while let Some(open) = session.take() {
        if let End::Done = lane.send_all(open).await {
            break;
        }
        session = lane.reconnect().await;
        if session.is_some() {
            lane.count_unanswered();
        }
    }
    lane.conclude();
}

impl Lane {
    async fn send_all(&mut self, session: Session) -> End {
        let Session {
            connection,
            version,
            producer_id,
            producer_epoch,
        } = session;
        let Connection { stream, reader, .. } = connection;
        let answers = Answers::start(Rc::clone(&self.thread), reader, version);
        let mut form = Form {
            version,
            producer_id,
            producer_epoch,
            sequences: vec![0; self.spec.partitions.len()],
        };
        let end = loop {
            let begun_ns = self.thread.clock.now_ns();
            let Some(ready_ns) = self.source.ready_at(begun_ns) else {
                break self.drain(&answers).await;
            };
            if ready_ns > begun_ns {
                self.thread.sleep_until(ready_ns).await;
            }
            if self.thread.was_cut() {
                break self.drain(&answers).await;
            }
            if !self.wait_for_room(&answers).await {
                self.kept_by_broker = true;
                break match answers.is_lost() {
                    true => End::Lost,
                    false => self.drain(&answers).await,
                };
            }
            let now_ns = self.thread.clock.now_ns();
            if now_ns > self.thread.last_send_ns() {
                self.kept_by_broker = self.blocked_until_ns >= ready_ns;
                break self.drain(&answers).await;
            }
            self.gather(&answers, &mut form, ready_ns, now_ns);
            answers.handed_over(self.thread.clock.now_ns());
            let out = std::mem::take(&mut self.out);
            let write = tokio::time::timeout(self.time_left(), stream.write_all(out));
            match write.await {
                Ok((Ok(()), out)) => self.out = out,
                Ok((Err(error), _)) => {
                    answers.lost(&error.to_string());
                    self.kept_by_broker = true;
                    break End::Lost;
                }
                Err(_) => {
                    self.kept_by_broker = true;
                    break End::Done;
                }
            }
            let after_ns = self.thread.clock.now_ns();
            answers.sent_without_answer(after_ns);
            if after_ns - now_ns > LATE_NS {
                self.blocked_until_ns = after_ns;
            }
        };
        let _ = stream.shutdown(std::net::Shutdown::Both);
        self.unanswered.extend(answers.close());
        end
    }

    /// Waits until a request may be sent; false when the connection is gone or all waiting is over.
    async fn wait_for_room(&mut self, answers: &Rc<Answers>) -> bool {
        let limit = self.thread.shared.settings.in_flight;
        while answers.waiting() >= limit && !answers.is_lost() {
            let look = self.time_left().min(Duration::from_nanos(LOOK_NS));
            if tokio::time::timeout(look, answers.changed()).await.is_err() {
                if self.time_left().is_zero() || self.thread.was_cut() {
                    return false;
                }
                continue;
            }
            self.blocked_until_ns = self.thread.clock.now_ns();
        }
        !answers.is_lost()
    }

    /// Waits for all answers that are still to come.
    async fn drain(&mut self, answers: &Rc<Answers>) -> End {
        while answers.waiting() > 0 && !answers.is_lost() {
            if tokio::time::timeout(self.time_left(), answers.changed())
                .await
                .is_err()
            {
                break;
            }
        }
        End::Done
    }

    fn time_left(&self) -> Duration {
        Duration::from_nanos(
            self.thread
                .give_up_ns()
                .saturating_sub(self.thread.clock.now_ns()),
        )
    }

    /// Connects anew until it succeeds or the run's end makes it pointless.
    async fn reconnect(&mut self) -> Option<Session> {
        let end_ns = self.thread.tally.borrow().window().end_ns;
        let idempotent = self.thread.shared.settings.idempotent;
        while self.thread.clock.now_ns() < end_ns && !self.thread.shared.live.stopped() {
            let now_ns = self.thread.clock.now_ns();
            self.thread.clock.sleep_until(now_ns + RECONNECT_NS).await;
            if let Ok(session) = Session::open(self.spec.leader, idempotent).await {
                self.thread.regained();
                self.blocked_until_ns = self.thread.clock.now_ns();
                self.kept_by_broker = false;
                return Some(session);
            }
        }
        None
    }

    /// Writes the request that has been ready since `ready_ns`, and those behind it that may go along in the same write.
    fn gather(&mut self, answers: &Answers, form: &mut Form, mut ready_ns: u64, now_ns: u64) {
        let limit = self.thread.shared.settings.in_flight;
        let mut portions = std::mem::take(&mut self.portions);
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        loop {
            self.source.take(now_ns, &mut portions);
            self.note_lateness(&portions, ready_ns, now_ns);
            self.build(&mut out, answers, form, &mut portions, now_ns);
            if answers.waiting() >= limit || out.len() >= WRITE_BYTES {
                break;
            }
            match self.source.ready_at(now_ns).filter(|next_ns| *next_ns <= now_ns) {
                Some(next_ns) => ready_ns = next_ns,
                None => break,
            }
        }
        (self.out, self.portions) = (out, portions);
    }

    /// Appends the request for `portions` to `out` and notes its batches in the ledger.
    fn build(
        &mut self,
        out: &mut Vec<u8>,
        answers: &Answers,
        form: &mut Form,
        portions: &mut Vec<Portion>,
        now_ns: u64,
    ) {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let thread = Rc::clone(&self.thread);
        let shared = &thread.shared;
        let batches = portions.len();
        let mut frame = Frame::begin(
            out,
            form.version,
            self.correlation_id,
            shared.settings.acks,
            &shared.topic,
            batches,
        );
        for Portion { slot, times } in portions.drain(..) {
            let partition = self.spec.partitions[slot as usize];
            let mut stamp = Stamp {
                producer_id: form.producer_id,
                producer_epoch: form.producer_epoch,
                base_sequence: -1,
                transactional: false,
                timestamp_ms: thread.clock.epoch().unix_ms(times.first().unwrap_or(now_ns)),
                lane: self.spec.id,
                batch: 0,
            };
            if stamp.producer_id >= 0 {
                let sequence = &mut form.sequences[slot as usize];
                stamp.base_sequence = *sequence;
                *sequence = next_sequence(*sequence, times.records());
            }
            let bytes = thread.template(partition, |template| template.batch_bytes(times.records()));
            let batches = &mut self.batches;
            let entry = frame.batch(partition, bytes, |out| {
                thread.write_batch(out, partition, stamp, batches, &times)
            });
            answers.expect_batch(Batch {
                partition,
                entry,
                times,
                bytes,
            });
        }
        frame.finish();
        answers.expect(self.correlation_id, batches);
    }

    fn note_lateness(&mut self, portions: &[Portion], ready_ns: u64, now_ns: u64) {
        if !self.source.is_open() {
            return;
        }
        let mut tally = self.thread.tally.borrow_mut();
        let window = tally.window();
        let records: u64 = portions
            .iter()
            .map(|portion| portion.times.measured(window))
            .sum();
        tally.schedule.intended += records;
        if now_ns.saturating_sub(ready_ns) > LATE_NS {
            match self.blocked_until_ns >= ready_ns {
                true => tally.schedule.late_by_broker += records,
                false => tally.schedule.late_by_client += records,
            }
        }
    }

    /// Counts what was sent and never answered, with the time it has waited: until now nobody could have sent it again.
    fn count_unanswered(&mut self) {
        let now_ns = self.thread.clock.now_ns();
        let mut tally = self.thread.tally.borrow_mut();
        let window = tally.window();
        for times in self.unanswered.drain(..) {
            tally.schedule.unanswered += times.measured(window);
            tally.record_since(Tag::Ack, now_ns, &times);
        }
    }

    /// Counts what was never sent or answered, with the time it had waited at the end.
    fn conclude(mut self) {
        self.thread.was_cut();
        self.count_unanswered();
        let now_ns = self.thread.clock.now_ns();
        let mut tally = self.thread.tally.borrow_mut();
        let window = tally.window();
        let rest = match self.source.is_open() {
            true => self.source.rest(window.end_ns),
            false => Vec::new(),
        };
        for (due_ns, records) in rest.into_iter().filter(|(due_ns, _)| window.contains(*due_ns)) {
            tally.schedule.intended += records;
            tally.schedule.unsent += records;
            match self.kept_by_broker {
                true => tally.schedule.late_by_broker += records,
                false => tally.schedule.late_by_client += records,
            }
            let waited_ns = now_ns.saturating_sub(due_ns);
            tally.record(Tag::Ack, now_ns, waited_ns, records);
            if self.thread.shared.end_to_end {
                tally.record(Tag::EndToEnd, now_ns, waited_ns, records);
            }
        }
        self.thread.shared.live.busy_lanes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sequences wrap at 2^31 to 0 (KIP-98).
pub fn next_sequence(sequence: i32, records: usize) -> i32 {
    ((i64::from(sequence) + records as i64) % (i64::from(i32::MAX) + 1)) as i32
}

/// Notes an outcome in the ledger, if there is one.
pub fn note(thread: &Thread, batch: &Batch, outcome: Outcome) {
    if let Some(ledger) = &thread.shared.ledger {
        ledger.outcome(batch.partition, batch.entry, outcome);
    }
}

/// Counts a batch's records as produced.
pub fn count(thread: &Thread, batch: &Batch, at_ns: u64) {
    let records = batch.times.records() as u64;
    let bytes = records * thread.shared.settings.record_bytes as u64;
    let mut tally = thread.tally.borrow_mut();
    tally.flow(Stream::Produced, at_ns, records, bytes, batch.bytes as u64);
    thread.shared.live.produced.fetch_add(records, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::next_sequence;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(next_sequence(i32::MAX - 1, 2), 0);
        assert_eq!(next_sequence(i32::MAX, 1), 0);
        assert_eq!(next_sequence(5, 10), 15);
    }
}
