//! What was read from disk and stays in memory: aligned chunks of log files, shared by all readers of the same bytes. No I/O here.
//!
//! ```text
//!   segment file   | chunk 0 | chunk 1 | chunk 2 | chunk 3 |  …
//!                    here      here      loading   missing
//!                     │         │          └ who waits for it is woken when it is here
//!                     └─────────┴ answers are slices of these blocks: nothing is copied, and what an answer still uses stays
//! ```
//!
//! The cache takes at most [half](MEMORY_SHARE) of the core's memory, what answers hold of it included, so that readers of old data
//! never leave an append without memory.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::ReadId;
use crate::io::Block;
use crate::shard::Slot;
use crate::tail::Place;

mod policy;

pub(super) use policy::Look;
use policy::Policy;

/// The part of a core's memory that reads from disk may take.
pub const MEMORY_SHARE: usize = 2;
/// Bytes of a chunk. One of 1 MiB takes a fifth less CPU, and holds up the journal's writes on the same disk several times as long.
const CHUNK_BYTES: usize = 256 << 10;
/// Most reads that wait for one chunk.
const MAX_WAITERS: usize = 1024;

/// A chunk of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The partition.
    pub slot: Slot,
    /// Base offset of the segment.
    pub segment_base: i64,
    /// Number of the chunk in the segment, from 0.
    pub number: u32,
}

/// What reads found and did, since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounters {
    /// Chunks that a read found in memory.
    pub hits: u64,
    /// Chunks that a read had to wait for.
    pub misses: u64,
    /// Of those, chunks that were being read for somebody else already.
    pub joined: u64,
    /// Chunks read from disk, ahead of a reader or for one that waited.
    pub loads: u64,
    /// Reads from disk past the cache: of readers that jump about, and of batches too large for it.
    pub alone: u64,
    /// Chunks that gave up their memory.
    pub evictions: u64,
    /// Chunks read ahead that a reader came to.
    pub ahead_used: u64,
    /// Chunks read ahead that went before any reader came to them.
    pub ahead_wasted: u64,
}

/// A chunk in memory.
pub(super) struct Chunk {
    pub block: Block,
    /// Bytes of it that are log. What lies behind was not written yet when it was read.
    pub valid: usize,
    /// The file ended before that.
    pub is_short: bool,
    /// The part that belongs to batches found good.
    pub verified: Range<usize>,
    /// Read ahead, and no reader has come to it.
    unread: bool,
}

struct Loading {
    waiters: Vec<ReadId>,
    ahead: bool,
    /// It is being read, no longer waiting for its turn.
    begun: bool,
}

enum Entry {
    Loading(Loading),
    Here(Chunk),
}

/// What became of a wish for a chunk.
pub(super) enum Wish {
    /// To be loaded: it is in nobody's queue.
    New,
    /// It is in the queue of what is read ahead, where it is too late for somebody who waits.
    Queued,
    /// It is being loaded, or about to.
    Joined,
    /// Too many wait for it.
    Refused,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Cache {
    most_bytes: usize,
    entries: HashMap<Key, Entry>,
    policy: Policy<Key>,
    /// Memory of reads past the cache that answers may still use.
    loans: VecDeque<Block>,
    /// Memory of all chunks and loans, those being read included.
    bytes: usize,
    /// Chunks read ahead, or about to be, that no reader came to.
    unread: usize,
    pub counters: ReadCounters,
}

impl Cache {
    /// Fits the cache into a core's memory.
    pub fn set_budget(&mut self, budget_bytes: usize) {
        self.most_bytes = budget_bytes / MEMORY_SHARE;
    }

    /// Bytes of a whole chunk.
    pub fn chunk_bytes(&self) -> usize {
        CHUNK_BYTES
    }

    /// Most bytes the cache may take.
    pub fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// Bytes of memory taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The chunk that holds a place.
    pub fn key(&self, slot: Slot, place: Place) -> Key {
        Key {
            slot,
            segment_base: place.segment_base,
            number: (place.position / CHUNK_BYTES as u64) as u32,
        }
    }

    /// Where the chunk starts in its segment.
    pub fn start_of(&self, key: &Key) -> u64 {
        u64::from(key.number) * CHUNK_BYTES as u64
    }

    /// The chunk, if it is in memory.
    pub fn get(&self, key: &Key) -> Option<&Chunk> {
        match self.entries.get(key)? {
            Entry::Here(chunk) => Some(chunk),
            Entry::Loading(_) => None,
        }
    }

    /// Whether the chunk is in memory or on its way there.
    pub fn knows(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether more may be read ahead.
    pub fn may_read_ahead(&self) -> bool {
        (self.unread + 1) * CHUNK_BYTES <= self.most_bytes / 2
    }

    /// Somebody waits for the chunk, or (without an id) it is to be read ahead. One that is here goes: it is too old.
    pub fn wish(&mut self, key: Key, reader: Option<ReadId>) -> Wish {
        self.counters.misses += u64::from(reader.is_some());
        if let Some(Entry::Here(_)) = self.entries.get(&key) {
            self.remove(&key);
        }
        match self.entries.get_mut(&key) {
            Some(Entry::Loading(loading)) => {
                let Some(reader) = reader else { return Wish::Joined };
                if loading.waiters.len() >= MAX_WAITERS {
                    return Wish::Refused;
                }
                loading.waiters.push(reader);
                self.counters.joined += 1;
                if std::mem::take(&mut loading.ahead) {
                    self.unread -= 1;
                    self.counters.ahead_used += 1;
                    if !loading.begun {
                        return Wish::Queued;
                    }
                }
                Wish::Joined
            }
            _ => {
                let ahead = reader.is_none();
                self.unread += usize::from(ahead);
                let loading = Loading {
                    waiters: reader.into_iter().collect(),
                    ahead,
                    begun: false,
                };
                self.entries.insert(key, Entry::Loading(loading));
                Wish::New
            }
        }
    }

    /// Whether the chunk still waits for its turn to be read.
    pub fn is_queued(&self, key: &Key) -> bool {
        matches!(self.entries.get(key), Some(Entry::Loading(l)) if !l.begun)
    }

    /// The chunk is being read.
    pub fn begin(&mut self, key: &Key) {
        if let Some(Entry::Loading(loading)) = self.entries.get_mut(key) {
            loading.begun = true;
            self.counters.loads += 1;
        }
    }

    /// The chunk was read; gives who waits for it. `None` when nobody wants it any more.
    pub fn loaded(&mut self, key: Key, block: Block, valid: usize) -> Option<Vec<ReadId>> {
        let loading = match self.entries.remove(&key) {
            Some(Entry::Loading(loading)) if loading.begun => loading,
            other => {
                // Forgotten meanwhile, and perhaps wanted anew.
                if let Some(entry) = other {
                    self.entries.insert(key, entry);
                }
                self.bytes -= block.capacity();
                return None;
            }
        };
        let have = block.len().min(valid);
        let chunk = Chunk {
            is_short: have < valid,
            valid: have,
            verified: 0..0,
            unread: loading.ahead,
            block,
        };
        self.entries.insert(key, Entry::Here(chunk));
        self.policy.insert(key);
        Some(loading.waiters)
    }

    /// Whether a chunk that `is_meant` names is being read.
    pub fn is_reading(&self, is_meant: impl Fn(&Key) -> bool) -> bool {
        let is_reading = |entry: &Entry| matches!(entry, Entry::Loading(loading) if loading.begun);
        let mut entries = self.entries.iter();
        entries.any(|(key, entry)| is_reading(entry) && is_meant(key))
    }

    /// The chunks that `is_meant` names are not read ahead, as far as that has not begun and nobody waits for them.
    pub fn give_up_unbegun(&mut self, is_meant: impl Fn(&Key) -> bool) {
        let unread = &mut self.unread;
        self.entries.retain(|key, entry| match entry {
            Entry::Loading(loading) if !loading.begun && loading.waiters.is_empty() && is_meant(key) => {
                *unread -= usize::from(loading.ahead);
                false
            }
            _ => true,
        });
    }

    /// The chunk could not be read, or is not going to be; gives who waits for it.
    pub fn abandon(&mut self, key: &Key) -> Vec<ReadId> {
        match self.entries.remove(key) {
            Some(Entry::Loading(loading)) => {
                self.unread -= usize::from(loading.ahead);
                loading.waiters
            }
            Some(here) => {
                self.entries.insert(*key, here);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// A reader has read the chunk, up to `end`; what it read there from `from` on is good.
    pub fn note_read(&mut self, key: &Key, from: usize, end: usize) {
        let Some(Entry::Here(chunk)) = self.entries.get_mut(key) else {
            return;
        };
        self.counters.hits += 1;
        if std::mem::take(&mut chunk.unread) {
            self.unread -= 1;
            self.counters.ahead_used += 1;
        }
        let known = &mut chunk.verified;
        let adjoins = from <= known.end && known.start <= end;
        *known = match adjoins && known.end > 0 {
            true => known.start.min(from)..known.end.max(end),
            false => from..end,
        };
        if end >= chunk.valid {
            self.policy.pass(*key);
        }
    }

    /// Memory was taken for a chunk or a read of its own.
    pub fn took(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Memory that was taken is not needed.
    pub fn gave_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }

    /// A read of its own is over; its memory counts until the answer is gone.
    pub fn lend(&mut self, block: Block) {
        self.counters.alone += 1;
        self.loans.push_back(block);
        self.sweep();
    }

    /// Gives back the memory of answers that are gone; true if some went.
    pub fn sweep(&mut self) -> bool {
        let before = self.bytes;
        let bytes = &mut self.bytes;
        self.loans.retain(|block| {
            let stays = block.is_shared();
            *bytes -= if stays { 0 } else { block.capacity() };
            stays
        });
        self.bytes < before
    }

    /// Gives up one chunk; with `idle_only` one that nobody is coming to. True if one went.
    pub fn evict(&mut self, idle_only: bool, is_wanted: impl Fn(&Key, u64) -> bool) -> bool {
        let entries = &self.entries;
        let look = |key: &Key| match entries.get(key) {
            Some(Entry::Here(chunk)) => {
                let end = u64::from(key.number) * CHUNK_BYTES as u64 + chunk.valid as u64;
                Look {
                    held: chunk.block.is_shared(),
                    wanted: is_wanted(key, end),
                }
            }
            _ => Look::default(),
        };
        let victim = match idle_only {
            true => self.policy.idle(look),
            false => self.policy.victim(look),
        };
        let Some(key) = victim else { return false };
        self.counters.evictions += 1;
        self.drop_entry(&key);
        true
    }

    /// The chunk is not to be used again.
    pub fn remove(&mut self, key: &Key) {
        self.policy.forget(|k| k == key);
        self.drop_entry(key);
    }

    fn drop_entry(&mut self, key: &Key) {
        if let Some(Entry::Here(chunk)) = self.entries.remove(key) {
            self.counters.ahead_wasted += u64::from(chunk.unread);
            self.unread -= usize::from(chunk.unread);
            // What an answer still uses is counted until it is gone.
            match chunk.block.is_shared() {
                true => self.loans.push_back(chunk.block),
                false => self.bytes -= chunk.block.capacity(),
            }
        }
    }

    /// The chunks that `is_gone` names are not to be used again; gives who waits for one of them.
    pub fn forget(&mut self, is_gone: impl Fn(&Key) -> bool) -> Vec<ReadId> {
        let keys: Vec<Key> = self.entries.keys().filter(|k| is_gone(k)).copied().collect();
        self.policy.forget(|k| is_gone(k));
        let mut waiters = Vec::new();
        for key in keys {
            waiters.append(&mut self.abandon(&key));
            self.drop_entry(&key);
        }
        waiters
    }
}
