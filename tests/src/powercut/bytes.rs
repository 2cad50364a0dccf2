//! The content of a file: blocks that are shared between copies until one of them is written, holes that read as zeroes.

use std::collections::BTreeMap;
use std::sync::Arc;

const BLOCK_BYTES: u64 = 4096;

type Block = Arc<[u8; BLOCK_BYTES as usize]>;

/// A sparse content. A copy costs its map, not its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes {
    blocks: BTreeMap<u64, Block>,
    len: u64,
}

impl Bytes {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that take space, in whole blocks.
    pub(super) fn allocated(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK_BYTES
    }

    /// At most `count` bytes from `at` on; fewer at the end.
    pub(super) fn read(&self, at: u64, count: usize) -> Vec<u8> {
        let count = self.len.saturating_sub(at).min(count as u64) as usize;
        let mut out = vec![0; count];
        for (block, within, range) in pieces(at, count) {
            if let Some(bytes) = self.blocks.get(&block) {
                out[range.clone()].copy_from_slice(&bytes[within..within + range.len()]);
            }
        }
        out
    }

    /// Writes, past the end too; what lies between is a hole.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        for (block, within, range) in pieces(at, bytes.len()) {
            let target = self
                .blocks
                .entry(block)
                .or_insert_with(|| Arc::new([0; BLOCK_BYTES as usize]));
            Arc::make_mut(target)[within..within + range.len()].copy_from_slice(&bytes[range]);
        }
        self.len = self.len.max(at + bytes.len() as u64);
    }

    /// Cuts, or extends with a hole.
    pub(super) fn resize(&mut self, len: u64) {
        if len < self.len {
            self.blocks.split_off(&len.div_ceil(BLOCK_BYTES));
            let within = (len % BLOCK_BYTES) as usize;
            if let Some(last) = self.blocks.get_mut(&(len / BLOCK_BYTES)) {
                Arc::make_mut(last)[within..].fill(0);
            }
        }
        self.len = len;
    }
}

/// The blocks that `count` bytes at `at` touch: number, start within it, and which of the bytes.
fn pieces(at: u64, count: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let position = at + done as u64;
        let within = (position % BLOCK_BYTES) as usize;
        let piece = (BLOCK_BYTES as usize - within).min(count - done);
        let range = done..done + piece;
        done += piece;
        (piece > 0).then_some((position / BLOCK_BYTES, within, range))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written_and_zeroes_elsewhere() {
        let mut bytes = Bytes::default();
        bytes.write(4090, b"0123456789");
        assert_eq!(bytes.len(), 4100);
        assert_eq!(bytes.read(4088, 100), b"\0\x000123456789");
        assert_eq!(bytes.read(4100, 1), b"");
        let copy = bytes.clone();
        bytes.write(4090, b"x");
        assert_eq!(
            (copy.read(4090, 1), bytes.read(4090, 1)),
            (b"0".to_vec(), b"x".to_vec())
        );
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let mut bytes = Bytes::default();
        bytes.write(0, &[7; 10_000]);
        bytes.resize(5000);
        bytes.resize(10_000);
        assert_eq!(bytes.read(4999, 3), [7, 0, 0]);
        assert_eq!(bytes.read(8192, 1), [0]);
        bytes.resize(4096);
        assert_eq!(bytes.allocated(), 4096);
    }
}
