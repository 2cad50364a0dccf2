//! Old records are deleted while a load goes on, so that the log keeps its size: DeleteRecords (KIP-107) once a second, from a
//! thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::stage::talk;
use crate::client::{Connection, Topic, admin};
use crate::error::Error;

/// Kafka's number for DeleteRecords.
pub const DELETE_RECORDS: i16 = 21;
/// Between two deletions.
const EVERY: Duration = Duration::from_secs(1);
/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// What was deleted.
#[derive(Clone, Debug, Default)]
pub struct Trimmed {
    /// Records, over all partitions.
    pub records: u64,
    /// The longest that the broker took for a deletion.
    pub longest: Duration,
    /// What the broker said when it refused one, the first time.
    pub refused: Option<String>,
}

/// The thread. Dropping it ends it.
pub struct Trim {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Trimmed>>,
}

impl Trim {
    /// Keeps the last `keep_records` of each partition of `topic`.
    pub fn start(topic: &Topic, keep_records: i64) -> Trim {
        let stop = Arc::new(AtomicBool::new(false));
        let (topic, stopped) = (topic.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut trimmed = Trimmed::default();
            let mut deleted = vec![0; topic.partitions.len()];
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                if let Err(error) = talk(trim(&topic, keep_records, &mut deleted, &mut trimmed)) {
                    trimmed.refused.get_or_insert_with(|| error.to_string());
                }
                while begun.elapsed() < EVERY && !stopped.load(Ordering::Relaxed) {
                    std::thread::sleep(LOOK);
                }
            }
            trimmed
        });
        Trim {
            stop,
            thread: Some(thread),
        }
    }

    /// Ends it; what it has done.
    pub fn finish(mut self) -> Trimmed {
        self.end()
    }

    fn end(&mut self) -> Trimmed {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().and_then(|thread| thread.join().ok());
        joined.unwrap_or_default()
    }
}

impl Drop for Trim {
    fn drop(&mut self) {
        self.end();
    }
}

/// Deletes once, partition by partition up to `keep_records` before its end. `deleted` are the offsets it got to before.
async fn trim(
    topic: &Topic,
    keep_records: i64,
    deleted: &mut [i64],
    trimmed: &mut Trimmed,
) -> Result<(), Error> {
    for (leader, partitions) in topic.by_leader() {
        let mut connection = Connection::open(leader).await?;
        let ends = admin::offsets(&mut connection, &topic.name, &partitions, admin::LATEST).await?;
        let below = partitions
            .iter()
            .zip(ends)
            .map(|(partition, end)| (*partition, end - keep_records));
        let below: Vec<(i32, i64)> = below
            .filter(|(partition, offset)| *offset > deleted[*partition as usize])
            .collect();
        if below.is_empty() {
            continue;
        }
        let begun = Instant::now();
        let moved = admin::delete_records(&mut connection, &topic.name, &below).await?;
        trimmed.longest = trimmed.longest.max(begun.elapsed());
        if moved < below.len() {
            return Err(Error::failed(
                "the broker said that records were deleted, and kept some of them",
            ));
        }
        for (partition, offset) in below {
            let before = std::mem::replace(&mut deleted[partition as usize], offset);
            trimmed.records += (offset - before) as u64;
        }
    }
    Ok(())
}
