//! Where blocks come from: arenas mapped as they are needed, cut into blocks, collected from all threads.
//!
//! ```text
//!   arena (1 MiB)  | Small 16K | Small | Small | Small |  Medium 64K  |      Large 256K      |  ...  |
//!   free units       0           0       1       1        0 0 0 0        0 x 16                        one bit per 16 KiB
//! ```

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::SegQueue;

use super::{Block, Class};
use crate::io::ALIGN;

/// Bytes mapped, registered and given back together.
pub(super) const ARENA_BYTES: usize = 1 << 20;
/// The smallest piece of an arena; one bit in its map of free units.
const UNIT_BYTES: usize = 16 << 10;
const UNITS: u32 = (ARENA_BYTES / UNIT_BYTES) as u32;
/// Wholly free arenas kept warm whatever the load, against giving back what is needed again at once.
pub(super) const WARM_ARENAS: usize = 4;

const _: () = assert!(UNITS == u64::BITS, "the map of free units is one u64");
const _: () = assert!(UNIT_BYTES.is_multiple_of(ALIGN));

/// The memory of one block, given back to its pool when dropped.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) start: NonNull<u8>,
    pub(super) capacity: usize,
    home: Home,
    /// Index of the registered buffer it lies in.
    pub(super) registered: Option<u16>,
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
pub(in crate::io) trait Registrar {
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

    pub(in crate::io) fn block_from(&mut self, class: Class, registrar: &mut dyn Registrar) -> Option<Block> {
        self.collect(registrar);
        let (index, unit) = self
            .find(class)
            .or_else(|| self.grow(registrar).map(|index| (index, 0)))?;
        let arena = &mut self.arenas[index];
        if arena.free == u64::MAX {
            self.idle -= 1;
        }
        arena.free &= !units_mask(unit, units_of(class));
        // SAFETY: the unit lies inside the arena's mapping.
        let start = unsafe { arena.mapping.start.add(unit as usize * UNIT_BYTES) };
        let home = Home::Arena {
            _mapping: arena.mapping.clone(),
            arena: index as u32,
            unit: unit as u8,
            units: units_of(class) as u8,
        };
        let registered = if arena.registered {
            u16::try_from(index).ok()
        } else {
            None
        };
        Some(self.hand_out(start, class.bytes(), home, registered))
    }

    pub(in crate::io) fn large_block_from(
        &mut self,
        bytes: usize,
        registrar: &mut dyn Registrar,
    ) -> Option<Block> {
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
    pub(in crate::io) fn collect(&mut self, registrar: &mut dyn Registrar) {
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
        for class in Class::ALL {
            let first = &mut self.first_maybe[class as usize];
            if index < *first && first_run(arena.free, units_of(class)).is_some() {
                *first = index;
            }
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
                first_run(arena.free, units_of(class)).map(|unit| (index, unit))
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
        Block::new(Arc::new(memory))
    }
}

/// Units a block of the class takes.
const fn units_of(class: Class) -> u32 {
    (class.bytes() / UNIT_BYTES) as u32
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
pub(super) struct Mapping {
    pub(super) start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; this type only maps, advises and unmaps.
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` reads two plain fields; `drop_pages` is called by the pool only, when nobody holds a block.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn new(bytes: usize) -> Option<Mapping> {
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
