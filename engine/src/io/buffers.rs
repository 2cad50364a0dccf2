//! The memory that crosses the seam: blocks for disk and answers, chunks for what sockets bring.
//!
//! A [`Block`] has one writer, who only appends; a [`Slice`] is a shared view of bytes already appended. The
//! writer never touches a byte that a slice can show, so no lock is needed between the thread that fills a
//! block and the threads that send from it. Memory comes from a [`Pool`] of 1 MiB arenas, one pool per core,
//! and finds its way back from any thread when the last holder is gone.

use std::cell::Cell;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::ALIGN;

mod chunk;
mod pool;

pub use chunk::Chunk;
pub(super) use chunk::ChunkPool;
use pool::Memory;
pub use pool::Pool;
pub(super) use pool::Registrar;

/// Sizes a block comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// 16 KiB.
    Small,
    /// 64 KiB.
    Medium,
    /// 256 KiB.
    Large,
    /// 1 MiB.
    Huge,
}

impl Class {
    /// All classes, smallest first.
    pub const ALL: [Class; 4] = [Class::Small, Class::Medium, Class::Large, Class::Huge];

    /// Capacity of a block of this class in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Class::Small => 16 << 10,
            Class::Medium => 64 << 10,
            Class::Large => 256 << 10,
            Class::Huge => 1 << 20,
        }
    }

    /// The smallest class that holds `bytes`, or `None` when even the largest is too small.
    pub fn fitting(bytes: usize) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.bytes() >= bytes)
    }
}

/// A buffer with one writer, who appends. Page-aligned, so it can be written to disk directly.
///
/// Dropping the block does not take the bytes from its slices: the memory returns to its pool with the last of them.
#[derive(Debug)]
pub struct Block {
    memory: Arc<Memory>,
    /// Only the writer needs it: slices carry their own end.
    len: usize,
    /// End of what slices can show. Bytes from here to `len` are the writer's alone.
    shown: Cell<usize>,
}

impl Block {
    fn new(memory: Arc<Memory>) -> Block {
        Block {
            memory,
            len: 0,
            shown: Cell::new(0),
        }
    }

    /// Bytes the block can hold.
    pub fn capacity(&self) -> usize {
        self.memory.capacity
    }

    /// Bytes appended so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that can still be appended.
    pub fn remaining(&self) -> usize {
        self.capacity() - self.len
    }

    /// Appends as much of `bytes` as fits and returns how many bytes that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.remaining());
        // SAFETY: `[len, len + count)` is inside the mapping. No slice shows bytes at or above `shown <= len`, and
        // `&mut self` means that no borrow of `bytes()` lives, so nobody else reads or writes this range in the
        // program; `bytes` cannot overlap it for the same reason. (The device may read it as padding of a write under
        // way, which the caller overwrites by a later write.)
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.memory.start.as_ptr().add(self.len), count);
        }
        self.len += count;
        count
    }

    /// Overwrites bytes already appended, at `[position, position + bytes.len())`: a length or checksum known only
    /// after what follows it.
    ///
    /// # Panics
    /// When a slice can show any of the range, or the range reaches beyond `len()`.
    pub fn patch(&mut self, position: usize, bytes: &[u8]) {
        assert!(
            position >= self.shown.get(),
            "patching bytes that a slice can show"
        );
        assert!(
            bytes.len() <= self.len && position <= self.len - bytes.len(),
            "patching beyond the end"
        );
        // SAFETY: inside the mapping and, as asserted, shown by no slice; `&mut self` excludes borrows of `bytes()`.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.memory.start.as_ptr().add(position),
                bytes.len(),
            );
        }
    }

    /// The bytes appended so far.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `[0, len)` is initialised (the mapping starts as zeroes) and is changed only through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr(), self.len) }
    }

    /// A shared view of `range`, which stays valid and unchanged whatever happens to the block.
    ///
    /// # Panics
    /// When the range is not inside `[0, len())`.
    pub fn slice(&self, range: Range<usize>) -> Slice {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "slice {range:?} of {} bytes",
            self.len
        );
        self.shown.set(self.shown.get().max(range.end));
        Slice {
            memory: self.memory.clone(),
            start: range.start,
            end: range.end,
            padded_end: range.end,
        }
    }

    /// Writes zeroes from `len()` to the next multiple of [`ALIGN`], and returns that multiple. `len()` stays as
    /// it is: what is appended later overwrites the padding.
    pub fn pad_to_align(&mut self) -> usize {
        let end = self.len.next_multiple_of(ALIGN).min(self.capacity());
        // SAFETY: `[len, end)` is inside the mapping and, as for `append`, nobody else's.
        unsafe { std::ptr::write_bytes(self.memory.start.as_ptr().add(self.len), 0, end - self.len) };
        end
    }

    /// A view of `range` for a direct write: it may reach into the padding made by [`Block::pad_to_align`]. The
    /// slice shows only the bytes appended (`len()` and `Deref` end there); [`Slice::padded_len`] is what a write
    /// puts on the disk.
    ///
    /// # Panics
    /// When the range starts beyond `len()` or ends beyond `len()` rounded up to [`ALIGN`].
    pub fn slice_padded(&self, range: Range<usize>) -> Slice {
        let padded = self.len.next_multiple_of(ALIGN).min(self.capacity());
        assert!(
            range.start <= self.len && range.start <= range.end && range.end <= padded,
            "slice {range:?} of {padded}"
        );
        let end = range.end.min(self.len);
        self.shown.set(self.shown.get().max(end));
        Slice {
            memory: self.memory.clone(),
            start: range.start,
            end,
            padded_end: range.end,
        }
    }

    /// Whether a slice of the block is left somewhere: then dropping it gives no memory back.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.memory) > 1
    }

    /// Empties the block for new use when no slice of it is left, and says whether it did.
    pub fn reset(&mut self) -> bool {
        let alone = Arc::get_mut(&mut self.memory).is_some();
        if alone {
            self.len = 0;
            self.shown.set(0);
        }
        alone
    }

    /// Where the device puts bytes, from `len()` on.
    pub(super) fn fill_pointer(&mut self) -> *mut u8 {
        // SAFETY: `len <= capacity`, so the pointer is inside the mapping or one past its end.
        unsafe { self.memory.start.as_ptr().add(self.len) }
    }

    /// Counts `count` bytes that the device has put at [`Block::fill_pointer`].
    pub(super) fn filled(&mut self, count: usize) {
        assert!(
            count <= self.remaining(),
            "the device filled more than it was given"
        );
        self.len += count;
    }

    /// Index of the registered buffer this memory lies in.
    pub(super) fn registered(&self) -> Option<u16> {
        self.memory.registered
    }
}

/// A shared, unchanging view of bytes of a [`Block`].
#[derive(Clone, Debug)]
pub struct Slice {
    memory: Arc<Memory>,
    start: usize,
    end: usize,
    /// End of what a direct write of this slice puts on the disk, at or above `end`.
    padded_end: usize,
}

impl Slice {
    /// The part `range` of this slice, counted from its start.
    ///
    /// # Panics
    /// When the range is not inside `[0, len())`.
    pub fn sub(&self, range: Range<usize>) -> Slice {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "part {range:?} of {} bytes",
            self.len()
        );
        let (start, end) = (self.start + range.start, self.start + range.end);
        Slice {
            memory: self.memory.clone(),
            start,
            end,
            padded_end: end,
        }
    }

    /// Bytes that a write of this slice puts on the disk: `len()` and the zeroes up to the next multiple of
    /// [`ALIGN`] for a slice from [`Block::slice_padded`], `len()` for any other.
    pub fn padded_len(&self) -> usize {
        self.padded_end - self.start
    }

    /// Where the slice starts in its block.
    pub fn position(&self) -> usize {
        self.start
    }

    /// What a write of this slice puts on the disk, as bytes: for a disk that is simulated.
    pub fn to_padded_vec(&self) -> Vec<u8> {
        let mut bytes = self.to_vec();
        bytes.resize(self.padded_len(), 0);
        bytes
    }

    /// Where the device finds the bytes.
    pub(super) fn pointer(&self) -> *const u8 {
        // SAFETY: `start` is inside the mapping.
        unsafe { self.memory.start.as_ptr().add(self.start) }
    }

    /// Index of the registered buffer this memory lies in.
    pub(super) fn registered(&self) -> Option<u16> {
        self.memory.registered
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `[start, end)` was appended before this slice was made, and the block's writer changes nothing below
        // `shown >= end` while any slice lives. The bytes came to this thread together with the slice, by whatever
        // synchronised handing it over.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.end - self.start) }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests;
