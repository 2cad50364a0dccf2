//! A file as the broker sees it, and as it is after a power cut.

use super::bytes::Bytes;
use super::loss::Loss;

/// The unit a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// Live and durable content, and the changes between the two in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    live: Bytes,
    durable: Bytes,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    /// `is_synced`: the write itself asked for stable storage (O_DSYNC, RWF_DSYNC), which says nothing of those before it.
    Write {
        at: u64,
        bytes: Vec<u8>,
        is_synced: bool,
    },
    Resize(u64),
}

impl File {
    pub(super) fn live(&self) -> &Bytes {
        &self.live
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8], is_synced: bool) {
        self.live.write(at, bytes);
        self.pending.push(Change::Write {
            at,
            bytes: bytes.to_vec(),
            is_synced,
        });
    }

    pub(super) fn resize(&mut self, len: u64) {
        self.live.resize(len);
        self.pending.push(Change::Resize(len));
    }

    /// fsync, and fdatasync: lengths are needed to read the data.
    pub(super) fn sync(&mut self) {
        self.durable = self.live.clone();
        self.pending.clear();
    }

    /// The power goes and comes back.
    pub(super) fn cut(&mut self, loss: &mut Loss) {
        let mut is_length_lost = false;
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write {
                    at,
                    bytes,
                    is_synced: true,
                } => self.durable.write(at, &bytes),
                Change::Write { at, bytes, .. } => keep_sectors(&mut self.durable, at, &bytes, loss),
                // Lengths are in the filesystem's journal, which keeps their order.
                Change::Resize(len) => {
                    is_length_lost |= !loss.keeps();
                    if !is_length_lost {
                        self.durable.resize(len);
                    }
                }
            }
        }
        self.live = self.durable.clone();
    }
}

/// All, nothing, or some sectors of a write that nobody had waited for.
fn keep_sectors(durable: &mut Bytes, at: u64, bytes: &[u8], loss: &mut Loss) {
    if !loss.keeps() {
        return;
    }
    let is_torn = loss.keeps();
    let mut from = 0;
    while from < bytes.len() {
        let position = at + from as u64;
        let left = SECTOR_BYTES - (position % SECTOR_BYTES as u64) as usize;
        let to = bytes.len().min(from + left);
        if !is_torn || loss.keeps() {
            durable.write(position, &bytes[from..to]);
        }
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(file: &File) -> Vec<u8> {
        file.live().read(0, 1 << 20)
    }

    #[test]
    fn only_what_was_synced_survives() {
        let mut file = File::default();
        file.write(0, b"old", false);
        file.sync();
        file.write(0, b"new and longer", false);
        file.resize(100);
        assert_eq!(file.live().len(), 100);
        file.cut(&mut Loss::everything());
        assert_eq!(content(&file), b"old");
    }

    #[test]
    fn a_synced_write_survives_alone() {
        let mut file = File::default();
        file.write(0, b"aaaa", false);
        file.write(1, b"bb", true);
        file.write(2, b"cc", false);
        file.cut(&mut Loss::everything());
        assert_eq!(content(&file), b"\0bb");
    }

    #[test]
    fn writes_are_torn_between_sectors_only() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut file = File::default();
            file.write(0, &[1; 2048], false);
            file.sync();
            file.write(100, &[2; 1500], false);
            file.cut(&mut Loss::some(seed));
            let after = content(&file);
            assert_eq!((after.len(), after[0], after[1600]), (2048, 1, 1));
            let sectors: Vec<u8> = [(100, 512), (512, 1024), (1024, 1536), (1536, 1600)]
                .iter()
                .map(|&(from, to)| {
                    assert!(after[from..to].iter().all(|byte| *byte == after[from]));
                    after[from]
                })
                .collect();
            outcomes.insert(sectors);
        }
        assert_eq!(outcomes.len(), 16, "every combination of four sectors");
    }
}
