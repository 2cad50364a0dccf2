//! Where the next frame may lie in the journal's ring of bytes. Pure.
//!
//! ```text
//!   FRAMES_START                                   capacity
//!   | free | start ▓▓▓▓ live ▓▓▓▓▓▓ head |   free   |        not wrapped
//!   | ▓▓▓ head |   free   | start ▓▓▓ live ▓▓▓| gap |        wrapped: a frame never straddles the end
//! ```
//!
//! `start` moves only when a checkpoint that does without the frames before it is on stable storage.

use std::collections::VecDeque;

use super::format::FRAMES_START;

/// See the module's text. Positions and lengths are bytes in the journal file, multiples of 4096.
pub struct Space {
    capacity: u64,
    head: u64,
    /// Live frames, oldest first: sequence number, position, length.
    frames: VecDeque<(u64, u64, u64)>,
    used_bytes: u64,
}

impl Space {
    /// An empty journal of this capacity.
    pub fn new(capacity: u64) -> Space {
        Space {
            capacity,
            head: FRAMES_START,
            frames: VecDeque::new(),
            used_bytes: 0,
        }
    }

    /// The file's usable size in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The file has grown.
    pub fn set_capacity(&mut self, capacity: u64) {
        debug_assert!(capacity >= self.capacity);
        self.capacity = capacity;
    }

    /// Bytes of live frames.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Where the next frame would be looked for first by a replay.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Reserves `bytes` for frame `sequence`, or `None` while there is no room.
    pub fn reserve(&mut self, sequence: u64, bytes: u64) -> Option<u64> {
        let position = self.fit(bytes)?;
        self.frames.push_back((sequence, position, bytes));
        self.head = position + bytes;
        self.used_bytes += bytes;
        Some(position)
    }

    fn fit(&self, bytes: u64) -> Option<u64> {
        let fits_behind = self.head + bytes <= self.capacity;
        let Some(&(_, start, _)) = self.frames.front() else {
            return if fits_behind {
                Some(self.head)
            } else {
                (FRAMES_START + bytes <= self.capacity).then_some(FRAMES_START)
            };
        };
        if self.head > start {
            if fits_behind {
                return Some(self.head);
            }
            return (FRAMES_START + bytes <= start).then_some(FRAMES_START);
        }
        (self.head + bytes <= start).then_some(self.head)
    }

    /// Where a replay that starts with frame `sequence` begins: its position, or the head while it is not written.
    pub fn position_of(&self, sequence: u64) -> u64 {
        self.frames
            .iter()
            .find(|f| f.0 >= sequence)
            .map_or(self.head, |f| f.1)
    }

    /// Frees all frames before `sequence`: the checkpoint that does without them is durable.
    pub fn release_before(&mut self, sequence: u64) {
        while let Some(&(s, _, bytes)) = self.frames.front()
            && s < sequence
        {
            self.frames.pop_front();
            self.used_bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 4096;

    #[test]
    fn frames_follow_each_other_and_wrap_when_the_start_is_free() {
        let mut s = Space::new(5 * K);
        assert_eq!(s.reserve(1, 2 * K), Some(K));
        assert_eq!(s.reserve(2, K), Some(3 * K));
        assert_eq!(s.reserve(3, 2 * K), None, "no room behind, and the start is live");
        s.release_before(2);
        assert_eq!(s.reserve(3, 2 * K), Some(K), "wrapped into the freed start");
        assert_eq!(
            s.reserve(4, K),
            None,
            "a wrapped head never passes the oldest frame"
        );
        assert_eq!(s.position_of(2), 3 * K);
        s.release_before(4);
        assert_eq!((s.used_bytes(), s.position_of(4)), (0, 3 * K));
        assert_eq!(s.reserve(4, 2 * K), Some(3 * K));
    }

    #[test]
    fn a_full_ring_is_not_taken_for_an_empty_one() {
        let mut s = Space::new(3 * K);
        assert_eq!(s.reserve(1, K), Some(K));
        assert_eq!(s.reserve(2, K), Some(2 * K));
        s.release_before(2);
        assert_eq!(s.reserve(3, K), Some(K));
        assert_eq!(s.reserve(4, K), None);
    }

    #[test]
    fn growing_gives_room_behind_the_head() {
        let mut s = Space::new(3 * K);
        assert_eq!(s.reserve(1, 2 * K), Some(K));
        assert_eq!(s.reserve(2, K), None);
        s.set_capacity(9 * K);
        assert_eq!(s.reserve(2, K), Some(3 * K));
    }
}
