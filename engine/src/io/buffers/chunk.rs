//! What sockets bring: buffers that the kernel picks from a shared ring and the loop gives back.
//!
//! The kernel takes buffers from the ring's head in order, so every buffer in it gets touched in turn. The ring
//! starts with a few and grows when the kernel runs dry, which keeps a quiet broker small.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::pool::Mapping;

/// Bytes received from a socket. Belongs to the core's thread; its memory is received into again once it is dropped.
pub struct Chunk {
    source: Source,
}

enum Source {
    /// A buffer of the kernel's ring.
    Ring {
        pool: Rc<ChunkPool>,
        buffer: u16,
        len: u32,
    },
    /// Plain memory, from a network that is simulated.
    Own(Box<[u8]>),
}

impl Chunk {
    /// A chunk of its own memory: for a network that is simulated, and for tests.
    pub fn copied(bytes: &[u8]) -> Chunk {
        Chunk {
            source: Source::Own(bytes.into()),
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.source {
            // SAFETY: the kernel has filled the first `len` bytes and handed the buffer over with the completion;
            // it gets it back only in `drop`.
            Source::Ring { pool, buffer, len } => unsafe {
                std::slice::from_raw_parts(pool.buffer(*buffer), *len as usize)
            },
            Source::Own(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Source::Ring { pool, buffer, .. } = &self.source {
            pool.give(*buffer);
        }
    }
}

/// The provided-buffer ring of one io_uring and the buffers in it.
pub(in crate::io) struct ChunkPool {
    /// `entries` ring entries of 16 bytes; the kernel reads them.
    ring: Mapping,
    /// `entries` buffers; pages become resident when first received into.
    buffers: Mapping,
    entries: u16,
    buffer_bytes: u32,
    /// What we have told the kernel is the ring's tail.
    tail: Cell<u16>,
    /// Buffers ever put in use: `[0, grown)`.
    grown: Cell<u16>,
    /// Buffers in the ring, as far as the completions seen so far tell.
    offered: Cell<u16>,
}

impl ChunkPool {
    /// Memory for a ring of `entries` (a power of two) buffers of `buffer_bytes`. Nothing is offered yet: the ring
    /// must first be registered.
    pub(in crate::io) fn new(entries: u16, buffer_bytes: u32) -> Option<ChunkPool> {
        assert!(entries.is_power_of_two() && entries <= 1 << 15);
        let ring = Mapping::new(usize::from(entries) * size_of::<BufRingEntry>())?;
        let buffers = Mapping::new(usize::from(entries) * buffer_bytes as usize)?;
        let (tail, grown, offered) = (Cell::new(0), Cell::new(0), Cell::new(0));
        Some(ChunkPool {
            ring,
            buffers,
            entries,
            buffer_bytes,
            tail,
            grown,
            offered,
        })
    }

    /// Address of the ring's entries, for registering it.
    pub(in crate::io) fn ring_address(&self) -> u64 {
        self.ring.start.as_ptr() as u64
    }

    /// Number of entries, for registering the ring.
    pub(in crate::io) fn entries(&self) -> u16 {
        self.entries
    }

    /// Buffers that the kernel can still take.
    pub(in crate::io) fn offered(&self) -> u16 {
        self.offered.get()
    }

    /// Offers up to `count` buffers never used before. Returns how many.
    pub(in crate::io) fn grow(&self, count: u16) -> u16 {
        let count = count.min(self.entries - self.grown.get());
        for _ in 0..count {
            let buffer = self.grown.get();
            self.grown.set(buffer + 1);
            self.give(buffer);
        }
        count
    }

    /// Buffers in use so far, offered or held.
    pub(in crate::io) fn grown(&self) -> u16 {
        self.grown.get()
    }

    /// The chunk for a completion that names `buffer` with `len` bytes in it.
    pub(in crate::io) fn take(self: &Rc<ChunkPool>, buffer: u16, len: u32) -> Chunk {
        assert!(
            buffer < self.grown.get() && len <= self.buffer_bytes,
            "the kernel named a buffer it was not given"
        );
        self.offered.set(self.offered.get() - 1);
        Chunk {
            source: Source::Ring {
                pool: self.clone(),
                buffer,
                len,
            },
        }
    }

    fn buffer(&self, buffer: u16) -> *mut u8 {
        // SAFETY: `buffer < entries`, so the pointer is inside the mapping.
        unsafe {
            self.buffers
                .start
                .as_ptr()
                .add(usize::from(buffer) * self.buffer_bytes as usize)
        }
    }

    /// Puts a buffer at the ring's tail.
    fn give(&self, buffer: u16) {
        let tail = self.tail.get();
        let entries: NonNull<BufRingEntry> = self.ring.start.cast();
        // SAFETY: the index is below `entries`; the mapping is page-aligned and as long as `entries` entries, which
        // are plain numbers, valid as zeroes. The kernel reads entries below the tail only, and this one is at the tail:
        // a ring of `entries` holds each buffer at most once, so it is not still unread.
        let entry = unsafe { entries.add(usize::from(tail & (self.entries - 1))).as_mut() };
        entry.set_addr(self.buffer(buffer) as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer);
        self.tail.set(tail.wrapping_add(1));
        self.offered.set(self.offered.get() + 1);
        // SAFETY: the first entry's spare field is the tail shared with the kernel, aligned to two bytes; it is only
        // ever accessed atomically. Release makes the entry visible before the tail that covers it.
        unsafe {
            let shared = AtomicU16::from_ptr(BufRingEntry::tail(entries.as_ptr()).cast_mut());
            shared.store(self.tail.get(), Ordering::Release);
        }
    }
}
