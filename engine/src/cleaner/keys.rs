//! The last offset of each key, in a table whose size is given: 24 bytes an entry, whatever the keys' lengths.
//!
//! A key is known by 128 bits of hash, as in Kafka, so two keys may be taken for one with a probability nobody will live to see. Whoever could make
//! two such keys on purpose may write to the topic, and so may overwrite either of them anyway.

use twox_hash::XxHash3_128;

/// Bytes of an entry: the hash in two halves, and the offset plus 1; 0 there is an empty place.
pub const ENTRY_BYTES: usize = 24;

/// See the module's text.
#[derive(Debug)]
pub struct KeyMap {
    places: Vec<[u64; 3]>,
    keys: usize,
    most_keys: usize,
}

impl KeyMap {
    /// A map in at most `most_bytes`, of which at most `load_factor` may be used. It takes no more than `expected_keys` need.
    pub fn new(most_bytes: u64, load_factor: f64, expected_keys: u64) -> KeyMap {
        let load_factor = match load_factor > 0.0 && load_factor <= 1.0 {
            true => load_factor,
            false => 0.9,
        };
        let affordable = usize::try_from(most_bytes / ENTRY_BYTES as u64).unwrap_or(usize::MAX);
        let wanted = (expected_keys as f64 / load_factor) as usize;
        // Two places hold one key: a pass always gets on, and a search always ends at an empty place.
        let places = affordable.min(wanted.saturating_add(2)).max(2);
        let most_keys = ((places as f64 * load_factor) as usize).clamp(1, places - 1);
        KeyMap {
            places: vec![[0; 3]; places],
            keys: 0,
            most_keys,
        }
    }

    /// Notes that a key was written at an offset, which is not negative. False when the map is full: then nothing is noted, as in Kafka also for a
    /// key that has a place.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        if self.keys >= self.most_keys {
            return false;
        }
        let (place, [high, low]) = self.find(key);
        let place = &mut self.places[place];
        if place[2] == 0 {
            self.keys += 1;
        }
        *place = [high, low, (offset as u64).wrapping_add(1)];
        true
    }

    /// The last offset that was noted of a key.
    pub fn last_offset(&self, key: &[u8]) -> Option<i64> {
        let (place, _) = self.find(key);
        match self.places[place] {
            [_, _, 0] => None,
            [_, _, next] => Some((next - 1) as i64),
        }
    }

    /// How many keys have a place.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// The place of a key, or the empty one where it belongs; and its hash.
    fn find(&self, key: &[u8]) -> (usize, [u64; 2]) {
        let hash = XxHash3_128::oneshot(key);
        let (high, low) = ((hash >> 64) as u64, hash as u64);
        let count = self.places.len();
        let mut place = ((u128::from(high) * count as u128) >> 64) as usize;
        loop {
            match self.places[place] {
                [_, _, 0] => break,
                [h, l, _] if (h, l) == (high, low) => break,
                _ => place = if place + 1 == count { 0 } else { place + 1 },
            }
        }
        (place, [high, low])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_map_takes_no_more_memory_than_it_is_given() {
        let map = KeyMap::new(1 << 20, 0.9, u64::MAX);
        assert!(map.places.len() * ENTRY_BYTES <= 1 << 20);
        let small = KeyMap::new(1 << 40, 0.9, 100);
        assert!(small.places.len() < 200, "nor more than the keys it can get");
    }

    #[test]
    fn a_full_map_takes_nothing_not_even_a_key_it_has() {
        let mut map = KeyMap::new(10 * 24, 0.5, u64::MAX);
        let taken = (0..10u8).filter(|key| map.put(&[*key], 1)).count();
        assert_eq!((taken, map.keys()), (5, 5));
        assert!(!map.put(&[0], 2));
        assert_eq!(map.last_offset(&[0]), Some(1));
        assert_eq!(map.last_offset(&[9]), None);
    }

    #[test]
    fn the_smallest_map_holds_one_key() {
        for (bytes, factor) in [(0, 0.9), (24, 1.0), (48, 0.0), (100, f64::NAN), (48, -3.0)] {
            let mut map = KeyMap::new(bytes, factor, u64::MAX);
            assert!(map.put(b"key", 0));
            assert_eq!(map.last_offset(b"key"), Some(0));
            assert_eq!(map.last_offset(b"other"), None);
        }
    }

    proptest! {
        #[test]
        fn the_last_offset_of_each_key_is_found(keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3), 0..500)) {
            let mut map = KeyMap::new(u64::MAX, 1.0, keys.len() as u64);
            let mut model = HashMap::new();
            for (offset, key) in keys.iter().enumerate() {
                prop_assert!(map.put(key, offset as i64));
                model.insert(key.clone(), offset as i64);
            }
            prop_assert_eq!(map.keys(), model.len());
            for (key, offset) in &model {
                prop_assert_eq!(map.last_offset(key), Some(*offset));
            }
            prop_assert_eq!(map.last_offset(b"never written"), None);
        }
    }
}
