//! The bytes of a journal file: its header page and its frames. Pure.
//!
//! ```text
//! file    | header page 4096 | frame | frame | … | unused, holds zeroes or frames of an earlier round |
//!
//! header  | "RLJOURNL" 8 | version u16 | reserved u16 | crc32 u32 | journal id u64 | zeroes to 4096 |
//!
//! frame   | "RLJF" 4 | crc32 u32 | journal id u64 | sequence u64 | frame bytes u32 | payload bytes u32 | entries u32 |
//!         | zeroes to 64 | entry | entry | … | zeroes to a multiple of 4096 |
//!
//! entry   | kind u8 | name bytes u8 | reserved u16 | data bytes u32 | topic id 16 | segment base i64 | position u32 |
//!         | base offset i64 | name | data |
//! ```
//!
//! All numbers are little-endian: these files are ours. A frame's crc32 (IEEE, crate `crc32fast`) covers the frame
//! from byte 8 to the end of its payload. Frames are written one at a time and their sequence numbers have no gap,
//! so the frames that count are a chain: each lies right behind the one before or, where that one was the last to fit,
//! at the start of the frame area. The chain ends at the first place that does not hold the next sequence number intact:
//! a torn frame was never acknowledged.
//!
//! The journal id is random and new at each start, so neither a frame of an earlier life nor record bytes that imitate a
//! frame are ever taken for one.

use crate::io::ALIGN;

/// Version of the journal format this program writes, and the newest it reads.
pub const VERSION: u16 = 1;
/// Where the first frame may lie, in bytes from the start of the file.
pub const FRAMES_START: u64 = ALIGN as u64;
/// Bytes of a frame before its first entry.
pub const FRAME_HEADER_BYTES: usize = 64;
/// Bytes of an entry before its name and data.
pub const ENTRY_HEADER_BYTES: usize = 44;

const FILE_MAGIC: [u8; 8] = *b"RLJOURNL";
const FRAME_MAGIC: [u8; 4] = *b"RLJF";

/// What an entry says about its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Data is a record batch, stamped, as it lies in the segment.
    Batch,
    /// The log now starts at `base_offset`; no data.
    LogStart,
}

/// One journaled change of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What the entry says.
    pub kind: EntryKind,
    /// The partition's directory name, `<topic>-<index>`; at most 255 bytes.
    pub name: &'a str,
    /// The topic's id: a topic that was deleted and made anew under its name has another.
    pub topic_id: [u8; 16],
    /// Base offset of the segment that gets the batch.
    pub segment_base: i64,
    /// Where in the segment's file the batch starts, in bytes.
    pub position: u32,
    /// Offset of the batch's first record, or the new log start.
    pub base_offset: i64,
    /// The batch.
    pub data: &'a [u8],
}

impl Entry<'_> {
    /// Bytes the entry takes in a frame.
    pub fn size_bytes(name_bytes: usize, data_bytes: usize) -> usize {
        ENTRY_HEADER_BYTES + name_bytes + data_bytes
    }

    /// The entry's bytes before its data.
    pub fn write_head(&self, out: &mut Vec<u8>) {
        out.push(match self.kind {
            EntryKind::Batch => 0,
            EntryKind::LogStart => 1,
        });
        out.push(self.name.len() as u8);
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&(self.data.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.topic_id);
        out.extend_from_slice(&self.segment_base.to_le_bytes());
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.base_offset.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
    }
}

/// A frame's header, read or about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The file's random id.
    pub journal_id: u64,
    /// One more than the frame before it.
    pub sequence: u64,
    /// Bytes from the frame's first to the next frame's first; a multiple of 4096.
    pub frame_bytes: u32,
    /// Bytes of all entries.
    pub payload_bytes: u32,
    /// Number of entries.
    pub entries: u32,
}

impl FrameHeader {
    /// The first 64 bytes of a frame whose payload follows them.
    pub fn encode(&self, payload: &[u8]) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[8..16].copy_from_slice(&self.journal_id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.frame_bytes.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.entries.to_le_bytes());
        let crc = frame_crc(&bytes, payload);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a frame header, or `None` where there is none that could be true.
    pub fn decode(bytes: &[u8]) -> Option<FrameHeader> {
        if bytes.len() < FRAME_HEADER_BYTES || bytes[..4] != FRAME_MAGIC {
            return None;
        }
        let header = FrameHeader {
            journal_id: u64_at(bytes, 8),
            sequence: u64_at(bytes, 16),
            frame_bytes: u32_at(bytes, 24),
            payload_bytes: u32_at(bytes, 28),
            entries: u32_at(bytes, 32),
        };
        let needed = FRAME_HEADER_BYTES as u64 + u64::from(header.payload_bytes);
        let whole = u64::from(header.frame_bytes);
        (needed <= whole && whole % ALIGN as u64 == 0).then_some(header)
    }

    /// Whether `frame` (at least header and payload long) is intact.
    pub fn is_intact(&self, frame: &[u8]) -> bool {
        let end = FRAME_HEADER_BYTES + self.payload_bytes as usize;
        frame.len() >= end
            && u32_at(frame, 4) == frame_crc(&frame[..FRAME_HEADER_BYTES], &frame[FRAME_HEADER_BYTES..end])
    }
}

/// Bytes of a frame with this much payload.
pub fn frame_bytes(payload_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + payload_bytes).next_multiple_of(ALIGN)
}

fn frame_crc(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[8..FRAME_HEADER_BYTES]);
    hasher.update(payload);
    hasher.finalize()
}

/// The entries of an intact frame's payload, in order. Stops early, with an error, where the bytes cannot be entries.
pub fn entries(payload: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, &'static str>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match split_entry(rest) {
            Ok((entry, tail)) => {
                rest = tail;
                Some(Ok(entry))
            }
            Err(e) => {
                rest = &[];
                Some(Err(e))
            }
        }
    })
}

fn split_entry(bytes: &[u8]) -> Result<(Entry<'_>, &[u8]), &'static str> {
    let head = bytes.get(..ENTRY_HEADER_BYTES).ok_or("an entry is cut short")?;
    let kind = match head[0] {
        0 => EntryKind::Batch,
        1 => EntryKind::LogStart,
        _ => return Err("an entry is of an unknown kind"),
    };
    let name_end = ENTRY_HEADER_BYTES + head[1] as usize;
    let data_end = name_end + u32_at(head, 4) as usize;
    let name = bytes
        .get(ENTRY_HEADER_BYTES..name_end)
        .ok_or("an entry's name is cut short")?;
    let data = bytes
        .get(name_end..data_end)
        .ok_or("an entry's data is cut short")?;
    let mut topic_id = [0; 16];
    topic_id.copy_from_slice(&head[8..24]);
    let entry = Entry {
        kind,
        name: std::str::from_utf8(name).map_err(|_| "an entry's name is not UTF-8")?,
        topic_id,
        segment_base: u64_at(head, 24) as i64,
        position: u32_at(head, 32),
        base_offset: u64_at(head, 36) as i64,
        data,
    };
    Ok((entry, &bytes[data_end..]))
}

/// The header page of a new journal.
pub fn file_header(journal_id: u64) -> [u8; ALIGN] {
    let mut page = [0; ALIGN];
    page[..8].copy_from_slice(&FILE_MAGIC);
    page[8..10].copy_from_slice(&VERSION.to_le_bytes());
    page[16..24].copy_from_slice(&journal_id.to_le_bytes());
    let crc = crc32fast::hash(&page[16..24]);
    page[12..16].copy_from_slice(&crc.to_le_bytes());
    page
}

/// What a journal's first page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileHeader {
    /// A journal of this version with its id.
    Journal(u64),
    /// A journal of a newer version: not to be touched.
    Newer(u16),
    /// No journal: empty, or its first page was never completely written.
    Unwritten,
}

/// Reads a journal's first page.
pub fn read_file_header(page: &[u8]) -> FileHeader {
    if page.len() < 24 || page[..8] != FILE_MAGIC {
        return FileHeader::Unwritten;
    }
    let version = u16::from_le_bytes([page[8], page[9]]);
    if version > VERSION {
        return FileHeader::Newer(version);
    }
    if u32_at(page, 12) != crc32fast::hash(&page[16..24]) {
        return FileHeader::Unwritten;
    }
    FileHeader::Journal(u64_at(page, 16))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(name: &'a str, data: &'a [u8]) -> Entry<'a> {
        Entry {
            kind: EntryKind::Batch,
            name,
            topic_id: [7; 16],
            segment_base: 100,
            position: 4242,
            base_offset: 123,
            data,
        }
    }

    fn frame(sequence: u64, list: &[Entry<'_>]) -> Vec<u8> {
        let mut payload = Vec::new();
        for e in list {
            e.write_head(&mut payload);
            payload.extend_from_slice(e.data);
        }
        let header = FrameHeader {
            journal_id: 9,
            sequence,
            frame_bytes: frame_bytes(payload.len()) as u32,
            payload_bytes: payload.len() as u32,
            entries: list.len() as u32,
        };
        let mut bytes = header.encode(&payload).to_vec();
        bytes.extend_from_slice(&payload);
        bytes.resize(header.frame_bytes as usize, 0);
        bytes
    }

    #[test]
    fn a_frame_gives_back_its_entries() {
        let list = [
            entry("a-0", b"one"),
            entry("topic-17", &[5; 5000]),
            entry("a-0", b""),
        ];
        let bytes = frame(3, &list);
        let header = FrameHeader::decode(&bytes).unwrap();
        assert!(header.is_intact(&bytes));
        let payload = &bytes[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.payload_bytes as usize];
        let read: Vec<_> = entries(payload).map(Result::unwrap).collect();
        assert_eq!(read, list);
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_frame_is_seen() {
        let good = frame(3, &[entry("a-0", b"one")]);
        let used = FRAME_HEADER_BYTES + Entry::size_bytes(3, 3);
        for at in 0..used * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            let seen = match FrameHeader::decode(&bad) {
                None => true,
                Some(h) => !h.is_intact(&bad),
            };
            assert!(seen, "bit {at}");
        }
    }

    #[test]
    fn a_newer_journal_is_told_apart_from_damage() {
        let mut page = file_header(77);
        assert_eq!(read_file_header(&page), FileHeader::Journal(77));
        page[8] = 2;
        assert_eq!(read_file_header(&page), FileHeader::Newer(2));
        assert_eq!(read_file_header(&[0; 4096]), FileHeader::Unwritten);
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let bytes = frame(1, &[entry("t-0", b"xyz")]);
        assert_eq!(&bytes[..4], b"RLJF");
        assert_eq!(
            &bytes[4..8],
            &[0xdb, 0xc2, 0x97, 0x5f][..],
            "crc {:02x?}",
            &bytes[4..8]
        );
        assert_eq!(
            &bytes[8..36],
            &[
                9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 50, 0, 0, 0, 1, 0, 0, 0
            ]
        );
        assert_eq!(&bytes[64..68], &[0, 3, 0, 0]);
        assert_eq!(bytes.len(), 4096);
    }
}
