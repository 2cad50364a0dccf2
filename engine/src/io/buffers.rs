//! The memory that crosses the seam: blocks for disk and answers, chunks for what sockets bring.
//!
//! A [`Block`] has one writer, who only appends; a [`Slice`] is a shared view of bytes already appended. The
//! writer never touches a byte that a slice can show, so no lock is needed between the thread that fills a
//! block and the threads that send from it. Memory comes from a [`Pool`] of 1 MiB arenas, one pool per core,
//! and finds its way back from any thread when the last holder is gone.
//!
//! ```text
//!   arena (1 MiB)  | Small 16K | Small | Small | Small |  Medium 64K  |      Large 256K      |  ...  |
//!   free units       0           0       1       1        0 0 0 0        0 x 16                        one bit per 16 KiB
//! ```

use std::cell::Cell;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::SegQueue;

use super::ALIGN;

mod chunk;

pub use chunk::Chunk;
pub(super) use chunk::ChunkPool;

/// Bytes mapped, registered and given back together.
const ARENA_BYTES: usize = 1 << 20;
/// The smallest piece of an arena; one bit in its map of free units.
const UNIT_BYTES: usize = 16 << 10;
const UNITS: u32 = (ARENA_BYTES / UNIT_BYTES) as u32;
/// Wholly free arenas kept warm whatever the load, against giving back what is needed again at once.
const WARM_ARENAS: usize = 4;

const _: () = assert!(UNITS == u64::BITS, "the map of free units is one u64");
const _: () = assert!(UNIT_BYTES.is_multiple_of(ALIGN));

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

    const fn units(self) -> u32 {
        (self.bytes() / UNIT_BYTES) as u32
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

/// The memory of one block, given back to its pool when dropped.
#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    capacity: usize,
    home: Home,
    registered: Option<u16>,
    returns: Arc<Returns>,
}

/// What the memory is a part of. Holding the mapping keeps it alive after its pool is gone.
#[derive(Debug)]
enum Home {
    Arena {
        _mapping: Arc<Mapping>,
        arena: u32,
        unit: u8,
        units: u8,
    },
    Own {
        _mapping: Mapping,
    },
}

// SAFETY: the pointer is to a mapping that `Home` keeps alive; who may touch which bytes is decided by `Block`
// (unique, appends) and `Slice` (reads below its end), see there. The return queue is made for many threads.
unsafe impl Send for Memory {}
// SAFETY: as above; `Memory` itself has no interior mutability outside the queue.
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        self.returns
            .used_bytes
            .fetch_sub(self.capacity, Ordering::Relaxed);
        match self.home {
            Home::Arena {
                arena, unit, units, ..
            } => self.returns.queue.push(Returned { arena, unit, units }),
            Home::Own { .. } => {
                self.returns.own_bytes.fetch_sub(self.capacity, Ordering::Relaxed);
            }
        }
    }
}

/// What other threads tell the pool.
#[derive(Debug, Default)]
struct Returns {
    queue: SegQueue<Returned>,
    used_bytes: AtomicUsize,
    /// Part of `used_bytes` that lies outside arenas.
    own_bytes: AtomicUsize,
}

#[derive(Debug)]
struct Returned {
    arena: u32,
    unit: u8,
    units: u8,
}

/// Lets the kernel know memory it will be asked to read and write again and again.
pub(super) trait Registrar {
    /// Registers arena `slot`; `false` when the kernel refuses, and the arena is used without.
    fn register(&mut self, slot: u32, start: *mut u8, bytes: usize) -> bool;
    /// Takes the registration back. No operation on the arena is under way. `false` when the kernel keeps it.
    fn unregister(&mut self, slot: u32, bytes: usize) -> bool;
}

/// No kernel to tell.
struct Unregistered;

impl Registrar for Unregistered {
    fn register(&mut self, _: u32, _: *mut u8, _: usize) -> bool {
        false
    }
    fn unregister(&mut self, _: u32, _: usize) -> bool {
        true
    }
}

/// One core's buffer memory. Belongs to one thread; what it handed out comes back from any.
#[derive(Debug)]
pub struct Pool {
    arenas: Vec<Arena>,
    /// For each class, no arena below this index has room.
    first_maybe: [usize; Class::ALL.len()],
    returns: Arc<Returns>,
    budget_bytes: usize,
    /// Arenas that hold memory, in use or warm.
    resident: usize,
    /// Resident arenas with every unit free.
    idle: usize,
}

#[derive(Debug)]
struct Arena {
    mapping: Arc<Mapping>,
    /// A bit is set for each unit that is free.
    free: u64,
    resident: bool,
    registered: bool,
}

impl Pool {
    /// A pool that never holds more than `budget_bytes` (rounded down to whole arenas, at least one).
    pub fn new(budget_bytes: usize) -> Pool {
        Pool {
            arenas: Vec::new(),
            first_maybe: [0; Class::ALL.len()],
            returns: Arc::default(),
            budget_bytes: budget_bytes.max(ARENA_BYTES),
            resident: 0,
            idle: 0,
        }
    }

    /// An empty block of the class, or `None` when the budget leaves no room for it. Memory that is scattered
    /// counts in full: a large class can be out of room while a small one is not.
    pub fn block(&mut self, class: Class) -> Option<Block> {
        self.block_from(class, &mut Unregistered)
    }

    /// An empty block of at least `bytes`, mapped for itself, or `None` when the budget leaves no room for it.
    pub fn large_block(&mut self, bytes: usize) -> Option<Block> {
        self.large_block_from(bytes, &mut Unregistered)
    }

    /// Bytes of the blocks handed out and not yet returned, and the budget in bytes.
    pub fn memory(&self) -> (usize, usize) {
        (self.returns.used_bytes.load(Ordering::Relaxed), self.budget_bytes)
    }

    /// Bytes held from the system by this pool, whether handed out or warm.
    pub fn resident_bytes(&self) -> usize {
        self.resident * ARENA_BYTES + self.returns.own_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn block_from(&mut self, class: Class, registrar: &mut dyn Registrar) -> Option<Block> {
        self.collect(registrar);
        let (index, unit) = self
            .find(class)
            .or_else(|| self.grow(registrar).map(|index| (index, 0)))?;
        let arena = &mut self.arenas[index];
        if arena.free == u64::MAX {
            self.idle -= 1;
        }
        arena.free &= !units_mask(unit, class.units());
        // SAFETY: the unit lies inside the arena's mapping.
        let start = unsafe { arena.mapping.start.add(unit as usize * UNIT_BYTES) };
        let home = Home::Arena {
            _mapping: arena.mapping.clone(),
            arena: index as u32,
            unit: unit as u8,
            units: class.units() as u8,
        };
        let registered = if arena.registered {
            u16::try_from(index).ok()
        } else {
            None
        };
        Some(self.hand_out(start, class.bytes(), home, registered))
    }

    pub(super) fn large_block_from(&mut self, bytes: usize, registrar: &mut dyn Registrar) -> Option<Block> {
        self.collect(registrar);
        let bytes = bytes.max(1).checked_next_multiple_of(ALIGN)?;
        while self.resident_bytes().checked_add(bytes)? > self.budget_bytes && self.give_back_one(registrar) {
        }
        if self.resident_bytes() + bytes > self.budget_bytes {
            return None;
        }
        let mapping = Mapping::new(bytes)?;
        self.returns.own_bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(self.hand_out(mapping.start, bytes, Home::Own { _mapping: mapping }, None))
    }

    /// Takes in what other threads have let go, and gives arenas far over need back to the system.
    pub(super) fn collect(&mut self, registrar: &mut dyn Registrar) {
        while let Some(returned) = self.returns.queue.pop() {
            self.take_in(&returned);
        }
        let needed = self.resident - self.idle;
        while self.idle > WARM_ARENAS + needed / 2 && self.give_back_one(registrar) {}
    }

    fn take_in(&mut self, returned: &Returned) {
        let index = returned.arena as usize;
        let arena = &mut self.arenas[index];
        arena.free |= units_mask(returned.unit.into(), returned.units.into());
        if arena.free == u64::MAX {
            self.idle += 1;
        }
        for first in &mut self.first_maybe {
            *first = (*first).min(index);
        }
    }

    /// The lowest arena with room, so that high ones drain and can be given back.
    fn find(&mut self, class: Class) -> Option<(usize, u32)> {
        let from = self.first_maybe[class as usize];
        let found = self
            .arenas
            .iter()
            .enumerate()
            .skip(from)
            .find_map(|(index, arena)| {
                if !arena.resident {
                    return None;
                }
                first_run(arena.free, class.units()).map(|unit| (index, unit))
            });
        self.first_maybe[class as usize] = found.map_or(self.arenas.len(), |(index, _)| index);
        found
    }

    /// Makes one more arena resident: one given back before, or a new one.
    fn grow(&mut self, registrar: &mut dyn Registrar) -> Option<usize> {
        if self.resident_bytes() + ARENA_BYTES > self.budget_bytes {
            return None;
        }
        let index = match self.arenas.iter().position(|arena| !arena.resident) {
            Some(index) => index,
            None => {
                let mapping = Arc::new(Mapping::new(ARENA_BYTES)?);
                self.arenas.push(Arena {
                    mapping,
                    free: u64::MAX,
                    resident: false,
                    registered: false,
                });
                self.arenas.len() - 1
            }
        };
        let arena = &mut self.arenas[index];
        arena.resident = true;
        let fits_slot = u16::try_from(index).is_ok();
        arena.registered =
            fits_slot && registrar.register(index as u32, arena.mapping.start.as_ptr(), ARENA_BYTES);
        self.resident += 1;
        self.idle += 1;
        for first in &mut self.first_maybe {
            *first = (*first).min(index);
        }
        Some(index)
    }

    /// Gives the highest idle arena back to the system. `false` when there is none.
    fn give_back_one(&mut self, registrar: &mut dyn Registrar) -> bool {
        let idle = |arena: &Arena| arena.resident && arena.free == u64::MAX;
        let Some(index) = self.arenas.iter().rposition(idle) else {
            return false;
        };
        let arena = &mut self.arenas[index];
        // Registered pages stay pinned: dropping them from the mapping alone would leave the kernel with other pages
        // than ours.
        if arena.registered && !registrar.unregister(index as u32, ARENA_BYTES) {
            return false;
        }
        arena.registered = false;
        arena.resident = false;
        arena.mapping.drop_pages();
        self.resident -= 1;
        self.idle -= 1;
        true
    }

    fn hand_out(&self, start: NonNull<u8>, capacity: usize, home: Home, registered: Option<u16>) -> Block {
        self.returns.used_bytes.fetch_add(capacity, Ordering::Relaxed);
        let memory = Memory {
            start,
            capacity,
            home,
            registered,
            returns: self.returns.clone(),
        };
        Block {
            memory: Arc::new(memory),
            len: 0,
            shown: Cell::new(0),
        }
    }
}

/// `count` bits from `unit` on.
fn units_mask(unit: u32, count: u32) -> u64 {
    (u64::MAX >> (UNITS - count)) << unit
}

/// The first run of `count` set bits at a multiple of `count`. `count` divides 64.
fn first_run(free: u64, count: u32) -> Option<u32> {
    (0..UNITS).step_by(count as usize).find(|&unit| {
        let mask = units_mask(unit, count);
        free & mask == mask
    })
}

/// Anonymous memory from the system, page-aligned, zeroed, unmapped when dropped.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; this type only maps, advises and unmaps.
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` reads two plain fields; `drop_pages` is called by the pool only, when nobody holds a block.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(bytes: usize) -> Option<Mapping> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        Some(Mapping {
            start: NonNull::new(start.cast())?,
            bytes,
        })
    }

    /// Gives the pages back; the next touch finds zeroes.
    fn drop_pages(&self) {
        // SAFETY: the range is exactly this mapping, which is anonymous and private; the pool holds all its units, so
        // nobody expects its content. A failure leaves the pages where they are, which is harmless.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.bytes, libc::MADV_DONTNEED) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length and not unmapped since; the last holder is gone.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests;
