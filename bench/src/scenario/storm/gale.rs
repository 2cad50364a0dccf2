//! A storm under way: all members on one thread with a ring of its own, each on a connection of its own, taking turns at a fixed rate.

use std::cell::RefCell;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::classic::ClassicMember;
use super::consumer::ConsumerMember;
use super::counts::{Counts, count};
use super::group::Group;
use super::plan::{Plan, Protocol};
use crate::client::groups::coordinator;
use crate::client::{Connection, Topic};
use crate::error::Error;
use crate::scenario::observer::Beside;

const RING_ENTRIES: u32 = 4096;
/// Turns are given in bunches so far apart: a timer for each would take more of the processor than the requests.
const TICK: Duration = Duration::from_millis(1);
/// How often the caller looks whether all groups are together, and for how long.
const LOOK: Duration = Duration::from_millis(20);
const BEGIN_LIMIT: Duration = Duration::from_secs(120);

/// The storm's thread. Dropping it ends it.
pub struct Gale {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// What the tasks of the thread share.
struct Air {
    /// Whose turn it is: first come, first served. Closed when the storm is over.
    turns: Semaphore,
    counts: Arc<Counts>,
    failed: RefCell<Option<Error>>,
}

/// A member of either kind.
enum Member {
    Classic(ClassicMember),
    Consumer(ConsumerMember),
}

impl Gale {
    /// Begins, and returns once every group has been together, or an error says why not. `is_over` may end the waiting.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses; groups that are not together after two minutes.
    pub fn begin(
        plan: Plan,
        bootstrap: SocketAddr,
        topic: &Topic,
        is_over: impl Fn() -> bool,
    ) -> Result<Gale, Error> {
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let groups = u64::from(plan.groups) + 1;
        let (stopped, counted, topic) = (Arc::clone(&stop), Arc::clone(&counts), topic.clone());
        let thread = std::thread::spawn(move || {
            crate::net::ring(RING_ENTRIES).start(blow(plan, bootstrap, topic, &stopped, counted))
        });
        let gale = Gale {
            stop,
            counts,
            thread: Some(thread),
        };
        let begun = Instant::now();
        loop {
            let together = gale.counts.begun_groups.load(Ordering::Relaxed);
            if together == groups {
                return Ok(gale);
            }
            if gale.thread.as_ref().is_none_or(JoinHandle::is_finished) || is_over() {
                gale.end()?;
                return Err(Error::failed("the storm was ended before it had begun"));
            }
            if begun.elapsed() > BEGIN_LIMIT {
                return Err(Error::failed(format!(
                    "of {groups} groups only {together} came together within two minutes"
                )));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What its members do.
    pub fn beside(&self) -> Arc<dyn Beside> {
        Arc::clone(&self.counts) as Arc<dyn Beside>
    }

    /// Ends it.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn end(mut self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        match joined {
            Some(Ok(outcome)) => outcome.map_err(|error| Error::failed(format!("the storm ended: {error}"))),
            Some(Err(_)) => Err(Error::failed("the storm's thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Gale {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn blow(
    plan: Plan,
    bootstrap: SocketAddr,
    topic: Topic,
    stop: &AtomicBool,
    counts: Arc<Counts>,
) -> Result<(), Error> {
    let members = connect(&plan, bootstrap, &topic, &counts, stop).await?;
    let streams: Vec<_> = members
        .iter()
        .map(|(_, connection)| Rc::clone(&connection.stream))
        .collect();
    let air = Rc::new(Air {
        turns: Semaphore::new(0),
        counts,
        failed: RefCell::default(),
    });
    let tasks: Vec<_> = members
        .into_iter()
        .map(|(member, connection)| tokio_uring::spawn(live(member, connection, Rc::clone(&air))))
        .collect();
    give_turns(&air, plan.requests_per_s, stop).await;
    air.turns.close();
    // whoever waits for an answer waits no longer
    for stream in streams {
        let _ = stream.shutdown(Shutdown::Both);
    }
    for task in tasks {
        task.await
            .map_err(|_| Error::failed("a member's task panicked"))?;
    }
    air.failed.take().map_or(Ok(()), Err)
}

/// Every member with a connection to its coordinator.
async fn connect(
    plan: &Plan,
    bootstrap: SocketAddr,
    topic: &Topic,
    counts: &Arc<Counts>,
    stop: &AtomicBool,
) -> Result<Vec<(Member, Connection)>, Error> {
    let mut first = Connection::open(bootstrap).await?;
    let partitions = topic.partitions.len() as i32;
    let mut members = Vec::new();
    for (at, size) in plan.sizes().enumerate() {
        let name = format!("{}-{at}", topic.name);
        let coordinator = coordinator(&mut first, &name).await?;
        let group = Group::new(
            (name, at == 0),
            plan.churn(size),
            (&topic.name, partitions),
            Arc::clone(counts),
        )?;
        let group = Rc::new(group);
        for number in 0..size {
            if stop.load(Ordering::Relaxed) {
                return Ok(Vec::new());
            }
            let (group, counts) = (Rc::clone(&group), Arc::clone(counts));
            let member = match plan.protocol {
                Protocol::Classic => Member::Classic(ClassicMember::new(group, counts, number)),
                Protocol::Consumer => Member::Consumer(ConsumerMember::new(group, counts, number)),
            };
            members.push((member, Connection::open(coordinator).await?));
        }
    }
    Ok(members)
}

/// Gives `per_second` turns a second until it is told to stop, or a member failed. A turn that nobody waits for is lost, for
/// otherwise a broker that held all of them up would get them at once.
async fn give_turns(air: &Air, per_second: f64, stop: &AtomicBool) {
    let begun = Instant::now();
    let mut given = 0;
    while !stop.load(Ordering::Relaxed) && air.failed.borrow().is_none() {
        tokio::time::sleep(TICK).await;
        let due = (begun.elapsed().as_secs_f64() * per_second) as u64;
        for _ in given..due {
            if air.turns.available_permits() == 0 {
                air.turns.add_permits(1);
            }
        }
        given = due;
    }
}

/// One member, until the storm is over.
async fn live(mut member: Member, mut connection: Connection, air: Rc<Air>) {
    while let Ok(turn) = air.turns.acquire().await {
        turn.forget();
        let done = match &mut member {
            Member::Classic(member) => member.turn(&mut connection).await,
            Member::Consumer(member) => member.turn(&mut connection).await,
        };
        match done {
            Ok(()) => count(&air.counts.requests),
            // what fails now was made to
            Err(_) if air.turns.is_closed() => return,
            Err(error) => {
                air.failed.borrow_mut().get_or_insert(error);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_at_the_rate_and_are_not_saved_up() {
        tokio_uring::start(async {
            let air = Rc::new(Air {
                turns: Semaphore::new(0),
                counts: Arc::default(),
                failed: RefCell::default(),
            });
            let stop = Rc::new(AtomicBool::new(false));
            let (giving, until) = (Rc::clone(&air), Rc::clone(&stop));
            let begun = Instant::now();
            let giver = tokio_uring::spawn(async move { give_turns(&giving, 1000.0, &until).await });
            // nobody waits: one turn is there, not all that were due
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(air.turns.available_permits(), 1);
            for _ in 0..30 {
                air.turns.acquire().await.expect("open").forget();
            }
            // the one that was there, and 29 that were due after it
            assert!(begun.elapsed() >= Duration::from_millis(50 + 27));
            stop.store(true, Ordering::Relaxed);
            giver.await.expect("no panic");
        });
    }
}
