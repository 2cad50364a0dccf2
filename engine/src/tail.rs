//! A partition's newest bytes in memory, laid out as they lie in the segment files.
//!
//! ```text
//!              file position:  65536        81920         98304
//!   segment 0  … on disk …  | block  ████ | block ████  |
//!   segment 900                                          | 0: block ██░░ |   <- the last block is being filled
//!                             written ▲ up to here
//! ```
//!
//! Blocks start at multiples of [`ALIGN`] and follow each other without a gap, across segments too: a new segment
//! starts a new block at position 0. Bytes that are in a segment file already stay until memory is wanted for
//! something newer, because most readers read here. When a partition falls idle its blocks are given back and only the
//! remainder, the bytes since the last aligned position, is kept: without it the next aligned write could not be made.

use std::collections::VecDeque;

use crate::io::{ALIGN, Block, Class, Slice};

/// A place in a partition's files: a segment's base offset and a byte position in its file. Ordered as the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Base offset of the segment.
    pub segment_base: i64,
    /// Bytes from the start of the segment's file.
    pub position: u64,
}

/// The memory budget is spent: nothing was changed.
#[derive(Debug, PartialEq, Eq)]
pub struct NoMemory;

struct TailBlock {
    /// Where the block's first byte lies; a multiple of [`ALIGN`] in its segment.
    start: Place,
    block: Block,
}

impl TailBlock {
    fn end(&self) -> Place {
        Place {
            position: self.start.position + self.block.len() as u64,
            ..self.start
        }
    }

    fn holds(&self, place: Place) -> bool {
        self.start <= place && place < self.end()
    }
}

/// The bytes between the last aligned position and the end of a segment, kept while no block is held.
struct Remainder {
    start: Place,
    bytes: Box<[u8]>,
}

/// See the module's text.
#[derive(Default)]
pub struct Tail {
    blocks: VecDeque<TailBlock>,
    remainder: Option<Remainder>,
}

impl Tail {
    /// Whether appending at `end` needs bytes of the file that are not in memory, and where they start: after a restart
    /// the unaligned end of the active segment has to be read once.
    pub fn missing_prefix(&self, end: Place) -> Option<Place> {
        let aligned = align_down(end);
        let at_hand = aligned == end
            || self.blocks.back().is_some_and(|b| b.end() == end)
            || self.remainder.as_ref().is_some_and(|r| r.start == aligned);
        (!at_hand).then_some(aligned)
    }

    /// Hands over what [`Tail::missing_prefix`] asked for: the bytes from an aligned place to the segment's end.
    pub fn set_remainder(&mut self, start: Place, bytes: &[u8]) {
        debug_assert_eq!(start.position % ALIGN as u64, 0);
        self.remainder = Some(Remainder {
            start,
            bytes: bytes.into(),
        });
    }

    /// Copies `parts`, one after the other, to `end`: the log's end, or position 0 of a new segment. All or nothing.
    pub fn append(
        &mut self,
        end: Place,
        parts: &[&[u8]],
        take: &mut dyn FnMut(Class) -> Option<Block>,
    ) -> Result<(), NoMemory> {
        let bytes: usize = parts.iter().map(|p| p.len()).sum();
        let mut at = self.make_room(end, bytes, take)?;
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let copied = self.blocks[at].block.append(rest);
                rest = &rest[copied..];
                if copied == 0 {
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// Appends empty blocks until `bytes` fit behind `end`; gives the index of the block that ends there.
    fn make_room(
        &mut self,
        end: Place,
        bytes: usize,
        take: &mut dyn FnMut(Class) -> Option<Block>,
    ) -> Result<usize, NoMemory> {
        let open = self.blocks.back().filter(|b| b.end() == end);
        let (mut room, mut class, mut next) = match open {
            Some(b) => (
                b.block.capacity() - b.block.len(),
                step_up(b.block.capacity()),
                block_end(b),
            ),
            None => (0, Class::Small, align_down(end)),
        };
        let mut taken = Vec::new();
        let mut prefix = if open.is_some() {
            0
        } else {
            (end.position - next.position) as usize
        };
        while room < bytes {
            class = class.max(fitting(bytes + prefix - room));
            let mut block = take(class).ok_or(NoMemory)?;
            if prefix > 0 {
                self.copy_prefix(next, prefix, &mut block);
            }
            room += block.capacity() - prefix;
            prefix = 0;
            let start = next;
            next.position += block.capacity() as u64;
            class = step_up(block.capacity());
            taken.push(TailBlock { start, block });
        }
        if !taken.is_empty() {
            self.remainder = None;
        }
        let first = self.blocks.len() - usize::from(open.is_some());
        self.blocks.extend(taken);
        Ok(first)
    }

    fn copy_prefix(&self, start: Place, bytes: usize, block: &mut Block) {
        if let Some(r) = self
            .remainder
            .as_ref()
            .filter(|r| r.start == start && r.bytes.len() == bytes)
        {
            block.append(&r.bytes);
        } else {
            unreachable!("missing_prefix is asked before every append");
        }
    }

    /// The first place in memory, or `None` when nothing is.
    pub fn start(&self) -> Option<Place> {
        self.blocks.front().map(|b| b.start)
    }

    /// Whether the byte at `place` is in memory.
    pub fn holds(&self, place: Place) -> bool {
        self.find(place).is_some()
    }

    fn find(&self, place: Place) -> Option<usize> {
        let i = self.blocks.partition_point(|b| b.start <= place).checked_sub(1)?;
        self.blocks[i].holds(place).then_some(i)
    }

    /// Copies `out.len()` bytes from `place`, all in one segment; false when they are not all in memory.
    pub fn copy(&self, place: Place, out: &mut [u8]) -> bool {
        let mut done = 0;
        let mut at = place;
        while done < out.len() {
            let Some(i) = self.find(at) else { return false };
            let b = &self.blocks[i];
            let from = (at.position - b.start.position) as usize;
            let n = (b.block.len() - from).min(out.len() - done);
            out[done..done + n].copy_from_slice(&b.block.bytes()[from..from + n]);
            done += n;
            at.position += n as u64;
        }
        true
    }

    /// The bytes `[from, to)` of one segment, as far as they are in memory from `from` on.
    pub fn slices(&self, from: Place, to: u64) -> Vec<Slice> {
        let Some(first) = self.find(from) else {
            return Vec::new();
        };
        let mut slices = Vec::new();
        let mut position = from.position;
        for b in self
            .blocks
            .range(first..)
            .take_while(|b| b.start.segment_base == from.segment_base)
        {
            let end = b.end().position.min(to);
            if position >= end {
                break;
            }
            let start = b.start.position;
            slices.push(b.block.slice((position - start) as usize..(end - start) as usize));
            position = end;
        }
        slices
    }

    /// What to write next behind `written`: at most `most_bytes` of one block, starting at an aligned place.
    /// Whole aligned pages only, unless `partial`: then the last page goes too, filled up with zeroes.
    /// Gives the slice, where it goes, and how far the log is in the file once it is written.
    pub fn next_write(
        &mut self,
        written: Place,
        most_bytes: usize,
        partial: bool,
    ) -> Option<(Slice, Place, Place)> {
        let from = align_down(written);
        let i = self.blocks.partition_point(|b| b.start <= from).checked_sub(1)?;
        // A block that ends exactly at `from` gives way to the one behind it.
        let i = if from >= self.blocks[i].end() { i + 1 } else { i };
        let b = self.blocks.get_mut(i)?;
        let from = from.max(b.start);
        let offset = (from.position - b.start.position) as usize;
        let len = b.block.len();
        let aligned = len / ALIGN * ALIGN;
        let end = (offset + most_bytes / ALIGN * ALIGN).min(if partial { len } else { aligned });
        if end <= offset
            || b.start.position + end as u64 <= written.position
                && b.start.segment_base == written.segment_base
        {
            return None;
        }
        let slice = if end % ALIGN == 0 {
            b.block.slice(offset..end)
        } else {
            b.block.pad_to_align();
            b.block.slice_padded(offset..end.next_multiple_of(ALIGN))
        };
        let reached = Place {
            position: b.start.position + end as u64,
            ..b.start
        };
        Some((slice, from, reached))
    }

    /// Gives back the oldest block if all of it lies before `written` and it is not the last. True when one went.
    pub fn drop_oldest(&mut self, written: Place) -> bool {
        let can =
            self.blocks.len() > 1 && self.blocks[0].end() <= written && block_end(&self.blocks[0]) <= written;
        if can {
            self.blocks.pop_front();
        }
        can
    }

    /// Gives back all blocks before this place, the start of a segment: those before it are in their files, or have become others.
    pub fn forget_before(&mut self, place: Place) {
        while self.blocks.pop_front_if(|block| block.start < place).is_some() {}
        self.remainder = self.remainder.take().filter(|rest| rest.start >= place);
    }

    /// Gives back all blocks of an idle partition whose every byte before `end` is written, keeping the remainder.
    pub fn park(&mut self, end: Place, written: Place) -> bool {
        if self.blocks.is_empty() || written < end {
            return false;
        }
        let start = align_down(end);
        let mut rest = vec![0; (end.position - start.position) as usize];
        if !self.copy(start, &mut rest) {
            return false;
        }
        self.blocks.clear();
        self.remainder = (!rest.is_empty()).then(|| Remainder {
            start,
            bytes: rest.into(),
        });
        true
    }

    /// The bytes since the last aligned position before `end`, the log's end, and where they start; `None` where there are none or
    /// they are not in memory.
    pub fn into_remainder(mut self, end: Place) -> Option<(Place, Box<[u8]>)> {
        if !self.park(end, end) && !self.blocks.is_empty() {
            return None;
        }
        self.remainder.map(|r| (r.start, r.bytes))
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.iter().map(|b| b.block.capacity()).sum::<usize>()
            + self.remainder.as_ref().map_or(0, |r| r.bytes.len())
    }
}

fn block_end(b: &TailBlock) -> Place {
    Place {
        position: b.start.position + b.block.capacity() as u64,
        ..b.start
    }
}

fn align_down(place: Place) -> Place {
    Place {
        position: place.position / ALIGN as u64 * ALIGN as u64,
        ..place
    }
}

/// A partition that fills its blocks gets larger ones, one size at a time.
fn step_up(capacity: usize) -> Class {
    match capacity {
        c if c < Class::Medium.bytes() => Class::Medium,
        _ => Class::Large,
    }
}

/// The smallest class that takes this much, or the largest a tail uses.
fn fitting(bytes: usize) -> Class {
    [Class::Small, Class::Medium]
        .into_iter()
        .find(|c| c.bytes() >= bytes)
        .unwrap_or(Class::Large)
}
