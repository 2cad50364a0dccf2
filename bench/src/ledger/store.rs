//! A list and an index that grow to millions of batches without a moment in which all of it is moved: what stalls the client's
//! thread would be taken for the broker's.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::load::batch::Identity;

/// Elements of a chunk of a [`List`]; only the first one grows.
const CHUNK: usize = 4096;
/// Entries of an [`Index`] from which on it has many parts.
const SPLIT_AT: usize = 16 << 10;
/// Parts of a large [`Index`]: of ten million entries each has ten thousand to move when it grows.
const PARTS: usize = 1024;

/// Hashes numbers that are random already, or dense: one multiplication.
#[derive(Default)]
pub struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// A map by [`Fold`].
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fold>>;

/// Appended to, never shortened.
pub struct List<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List { chunks: Vec::new() }
    }
}

impl<T> List<T> {
    /// Appends; returns the place.
    pub fn push(&mut self, element: T) -> u32 {
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            let room = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(room));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let Some(last) = self.chunks.last_mut() else {
            return 0;
        };
        last.push(element);
        (before + last.len() - 1) as u32
    }

    /// The element at a place.
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.chunks
            .get_mut(at as usize / CHUNK)?
            .get_mut(at as usize % CHUNK)
    }

    /// The element at a place.
    pub fn get(&self, at: u32) -> Option<&T> {
        self.chunks.get(at as usize / CHUNK)?.get(at as usize % CHUNK)
    }

    /// All, in the order appended.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

/// Where the batch of an identity is in a [`List`].
#[derive(Default)]
pub struct Index {
    /// None, one, or [`PARTS`] of them.
    parts: Vec<Map<Identity, u32>>,
}

impl Index {
    /// The place of a batch.
    pub fn get(&self, identity: Identity) -> Option<u32> {
        let part = self.parts.get(self.part(identity))?;
        part.get(&identity).copied()
    }

    /// Notes a place, of an identity that is not there yet.
    pub fn insert(&mut self, identity: Identity, at: u32) {
        match self.parts.len() {
            0 => self.parts.push(Map::default()),
            1 if self.parts[0].len() >= SPLIT_AT => self.split(),
            _ => {}
        }
        let part = self.part(identity);
        self.parts[part].insert(identity, at);
    }

    fn split(&mut self) {
        let all = std::mem::take(&mut self.parts).into_iter().flatten();
        self.parts.resize_with(PARTS, Map::default);
        for (identity, at) in all {
            let part = self.part(identity);
            self.parts[part].insert(identity, at);
        }
    }

    /// By bits of the checksum, which the maps' own hash mixes anew.
    fn part(&self, identity: Identity) -> usize {
        (identity.0 >> 32) as usize % self.parts.len().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_as_the_list_and_its_index_grow() {
        let (mut list, mut index) = (List::default(), Index::default());
        let identity = |n: u64| Identity(n.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let many = 3 * SPLIT_AT as u64;
        for n in 0..many {
            assert_eq!(index.get(identity(n)), None);
            let at = list.push(n);
            index.insert(identity(n), at);
        }
        assert_eq!(index.parts.len(), PARTS);
        for n in 0..many {
            let at = index.get(identity(n)).expect("a place");
            assert_eq!(list.get(at), Some(&n));
            assert_eq!(list.get_mut(at).copied(), Some(n));
        }
        assert!(list.iter().copied().eq(0..many));
        assert_eq!(list.get(many as u32), None);
    }
}
