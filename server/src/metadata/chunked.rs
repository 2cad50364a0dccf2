//! A sorted map whose copies share what they have in common: chunks of at most [`CHUNK`] entries behind `Arc`s.
//!
//! A metadata image is copied for every change and read by every core. A copy costs one pointer per chunk, and a
//! change to it copies one chunk. A map that nothing shares is changed in place, which is how replay stays cheap.

use std::borrow::Borrow;
use std::sync::Arc;

/// The most entries of a chunk. Full chunks are split in half.
pub const CHUNK: usize = 128;

/// The map. No chunk is empty, and all keys of a chunk are below those of the next.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkedMap<K, V> {
    chunks: Vec<Arc<Vec<(K, V)>>>,
    len: usize,
}

impl<K, V> Default for ChunkedMap<K, V> {
    fn default() -> Self {
        ChunkedMap {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<K: Ord + Clone, V: Clone> ChunkedMap<K, V> {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key)?)?;
        let index = chunk.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        chunk.get(index).map(|(_, value)| value)
    }

    /// Whether the key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The value of a key, to be changed; its chunk is copied if anything shares it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key)?;
        let index = self.chunks[at]
            .binary_search_by(|(k, _)| k.borrow().cmp(key))
            .ok()?;
        Arc::make_mut(&mut self.chunks[at])
            .get_mut(index)
            .map(|(_, value)| value)
    }

    /// Puts a value in, and gives back the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(at) = self.chunk_of(&key).or((!self.chunks.is_empty()).then_some(0)) else {
            self.chunks.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return None;
        };
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        match chunk.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(index) => Some(std::mem::replace(&mut chunk[index].1, value)),
            Err(index) => {
                chunk.insert(index, (key, value));
                self.len += 1;
                self.split_if_full(at, index);
                None
            }
        }
    }

    /// Takes a key out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key)?;
        let index = self.chunks[at]
            .binary_search_by(|(k, _)| k.borrow().cmp(key))
            .ok()?;
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        let (_, value) = chunk.remove(index);
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
        self.len -= 1;
        Some(value)
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .map(|(key, value)| (key, value))
    }

    /// The entries whose key is at least `key`, in order.
    pub fn iter_from<'a, Q: Ord + ?Sized>(
        &'a self,
        key: &Q,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, Q, K, V>
    where
        K: Borrow<Q>,
    {
        let at = self.chunk_of(key).unwrap_or(0);
        let start = self
            .chunks
            .get(at)
            .map_or(0, |chunk| chunk.partition_point(|(k, _)| k.borrow() < key));
        let entries = self.chunks[at.min(self.chunks.len())..]
            .iter()
            .flat_map(|chunk| chunk.iter());
        entries.skip(start).map(|(key, value)| (key, value))
    }

    /// The last chunk whose first key is not above `key`: the only one that can hold it.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        let above = self
            .chunks
            .partition_point(|chunk| chunk.first().is_some_and(|(k, _)| k.borrow() <= key));
        above.checked_sub(1)
    }

    fn split_if_full(&mut self, at: usize, inserted: usize) {
        let chunk = Arc::make_mut(&mut self.chunks[at]);
        if chunk.len() <= CHUNK {
            return;
        }
        // Keys that arrive in order fill chunks to the brim; others split them in half.
        let middle = if inserted + 1 == chunk.len() {
            CHUNK
        } else {
            CHUNK / 2
        };
        let upper = chunk.split_off(middle);
        self.chunks.insert(at + 1, Arc::new(upper));
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for ChunkedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = ChunkedMap::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_btree_map(steps in proptest::collection::vec((0u16..600, any::<bool>()), 0..2000)) {
            let mut map = ChunkedMap::default();
            let mut model = BTreeMap::new();
            let mut earlier = (map.clone(), model.clone());
            for (index, (key, put)) in steps.into_iter().enumerate() {
                if put {
                    prop_assert_eq!(map.insert(key, index), model.insert(key, index));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
                prop_assert_eq!(map.len(), model.len());
                if index == 700 {
                    earlier = (map.clone(), model.clone());
                }
            }
            for (map, model) in [(&map, &model), (&earlier.0, &earlier.1)] {
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert!(map.iter_from(&300).eq(model.range(300..)));
                prop_assert!((0..600).all(|key| map.get(&key) == model.get(&key)));
                prop_assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK));
            }
        }
    }

    #[test]
    fn a_copy_shares_all_but_the_changed_chunk() {
        let map: ChunkedMap<u32, u32> = (0..1000).map(|n| (n, n)).collect();
        let mut copy = map.clone();
        *copy.get_mut(&500).expect("there") = 7;
        let shared = map
            .chunks
            .iter()
            .zip(&copy.chunks)
            .filter(|(a, b)| Arc::ptr_eq(a, b))
            .count();
        assert_eq!((shared, map.get(&500)), (map.chunks.len() - 1, Some(&500)));
        assert_eq!(map.chunks.len(), 1000usize.div_ceil(CHUNK));
    }

    #[test]
    fn an_empty_map_answers() {
        let map: ChunkedMap<String, u8> = ChunkedMap::default();
        assert!(map.get("a").is_none() && map.is_empty() && map.iter_from("a").next().is_none());
    }
}
