//! The kernel's table of registered block memory.
//!
//! Registered pages count against the limit on locked memory, which all rings of the process share, and which the
//! rings themselves need a little of. So arenas take at most half of it: a core that starts later still gets its
//! ring. Memory that cannot be registered is used without; that costs some CPU per read and write.

use std::sync::atomic::{AtomicU64, Ordering};

use super::RingConfig;
use super::queue::Queue;
use crate::io::buffers::Registrar;
use crate::io::probe;

/// Most buffers a ring can have registered (IORING_MAX_REG_BUFFERS).
const MAX_BUFFERS: u32 = 1 << 14;

/// Bytes registered by all rings of this process.
static REGISTERED_BYTES: AtomicU64 = AtomicU64::new(0);

/// Which arenas the kernel knows. Gives up at the first refusal.
pub(super) struct BufferTable {
    slots: u32,
    refused: bool,
    /// Most bytes all rings may have registered together.
    limit_bytes: u64,
    /// Part of [`REGISTERED_BYTES`] that is this ring's.
    own_bytes: u64,
    /// Calls into the kernel since start.
    pub(super) calls: u64,
}

impl BufferTable {
    /// An empty table, as large as the memory budget can need.
    pub(super) fn new(queue: &Queue, config: &RingConfig) -> BufferTable {
        let wanted = u32::try_from(config.memory_bytes >> 20)
            .unwrap_or(u32::MAX)
            .clamp(1, MAX_BUFFERS);
        let made = config.register_memory && queue.uring.submitter().register_buffers_sparse(wanted).is_ok();
        let limit_bytes = probe::locked_memory_limit().map_or(u64::MAX, |bytes| bytes / 2);
        BufferTable {
            slots: if made { wanted } else { 0 },
            refused: !made,
            limit_bytes,
            own_bytes: 0,
            calls: 0,
        }
    }

    /// Whether nothing was refused so far.
    pub(super) fn is_on(&self) -> bool {
        !self.refused
    }

    /// The table together with the ring it is in.
    pub(super) fn with<'a>(&'a mut self, queue: &'a Queue) -> impl Registrar + 'a {
        InRing { table: self, queue }
    }

    /// Counts `bytes` more, if the limit lets it.
    fn reserve(&mut self, bytes: u64) -> bool {
        let reserved = REGISTERED_BYTES.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit_bytes;
        self.own_bytes += bytes;
        if !reserved {
            self.release(bytes);
        }
        reserved
    }

    fn release(&mut self, bytes: u64) {
        REGISTERED_BYTES.fetch_sub(bytes, Ordering::Relaxed);
        self.own_bytes -= bytes;
    }
}

impl Drop for BufferTable {
    fn drop(&mut self) {
        self.release(self.own_bytes);
    }
}

struct InRing<'a> {
    table: &'a mut BufferTable,
    queue: &'a Queue,
}

impl InRing<'_> {
    fn update(&mut self, slot: u32, start: *mut u8, bytes: usize) -> bool {
        self.table.calls += 1;
        let buffer = libc::iovec {
            iov_base: start.cast(),
            iov_len: bytes,
        };
        // SAFETY: the memory is an arena's mapping, which stays until the pool has unregistered it or the ring is gone:
        // the pool unmaps only when dropped, after the ring, and the kernel pins the pages in any case.
        unsafe {
            self.queue
                .uring
                .submitter()
                .register_buffers_update(slot, &[buffer], None)
        }
        .is_ok()
    }
}

impl Registrar for InRing<'_> {
    fn register(&mut self, slot: u32, start: *mut u8, bytes: usize) -> bool {
        if slot >= self.table.slots {
            return false;
        }
        let reserved = self.table.reserve(bytes as u64);
        if reserved && self.update(slot, start, bytes) {
            return true;
        }
        if reserved {
            self.table.release(bytes as u64);
        }
        // Arenas below keep their slots, also when they are given back and used anew.
        (self.table.slots, self.table.refused) = (slot, true);
        false
    }

    fn unregister(&mut self, slot: u32, bytes: usize) -> bool {
        let done = self.update(slot, std::ptr::null_mut(), 0);
        if done {
            self.table.release(bytes as u64);
        }
        done
    }
}
