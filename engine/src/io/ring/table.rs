//! The kernel's table of registered block memory.

use super::RingConfig;
use super::queue::Queue;
use crate::io::buffers::Registrar;

/// Most buffers a ring can have registered (IORING_MAX_REG_BUFFERS).
const MAX_BUFFERS: u32 = 1 << 14;

/// Which arenas the kernel knows. Gives up at the first refusal: the limit on locked memory does not grow.
pub(super) struct BufferTable {
    slots: u32,
}

impl BufferTable {
    /// An empty table, as large as the memory budget can need.
    pub(super) fn new(queue: &Queue, config: &RingConfig) -> BufferTable {
        let wanted = u32::try_from(config.memory_bytes >> 20)
            .unwrap_or(u32::MAX)
            .clamp(1, MAX_BUFFERS);
        let made = config.register_memory && queue.uring.submitter().register_buffers_sparse(wanted).is_ok();
        BufferTable {
            slots: if made { wanted } else { 0 },
        }
    }

    /// Whether new memory is still registered.
    pub(super) fn is_on(&self) -> bool {
        self.slots > 0
    }

    /// The table together with the ring it is in.
    pub(super) fn with<'a>(&'a mut self, queue: &'a Queue) -> impl Registrar + 'a {
        InRing { table: self, queue }
    }
}

struct InRing<'a> {
    table: &'a mut BufferTable,
    queue: &'a Queue,
}

impl InRing<'_> {
    fn update(&self, slot: u32, start: *mut u8, bytes: usize) -> bool {
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
        let registered = slot < self.table.slots && self.update(slot, start, bytes);
        if !registered {
            self.table.slots = self.table.slots.min(slot);
        }
        registered
    }

    fn unregister(&mut self, slot: u32) -> bool {
        self.update(slot, std::ptr::null_mut(), 0)
    }
}
