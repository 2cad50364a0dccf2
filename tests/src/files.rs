//! Looking into a data directory: Kafka's text checkpoints, segment names, Ringlog's own files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names in a folder, sorted.
///
/// # Panics
/// When it cannot be read.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// Files of a folder whose names end so, sorted.
pub fn with_suffix(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    names(folder)
        .into_iter()
        .filter(|name| name.ends_with(suffix))
        .map(|name| folder.join(name))
        .collect()
}

/// Files of a folder whose names begin so, sorted.
pub fn with_prefix(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    names(folder)
        .into_iter()
        .filter(|name| name.starts_with(prefix))
        .map(|name| folder.join(name))
        .collect()
}

/// Base offset in the name of a segment's file.
///
/// # Panics
/// When the name does not begin with one.
pub fn base_offset(path: &Path) -> i64 {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .expect("a file name");
    assert_eq!(stem.len(), 20, "{stem}");
    stem.parse().expect("a base offset of 20 digits")
}

/// A text checkpoint of `topic partition offset` lines.
///
/// # Panics
/// When its header and its lines do not agree.
pub fn checkpoint(path: &Path) -> BTreeMap<(String, i32), i64> {
    let text = std::fs::read_to_string(path).expect("a checkpoint");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("0"), "version of {path:?}");
    let count: usize = lines
        .next()
        .and_then(|line| line.parse().ok())
        .expect("the count");
    let entries: BTreeMap<(String, i32), i64> = lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [topic, partition, offset] = words[..] else {
                panic!("{line:?} in {path:?}")
            };
            (
                (topic.to_owned(), partition.parse().expect("a partition")),
                offset.parse().expect("an offset"),
            )
        })
        .collect();
    assert_eq!(entries.len(), count, "count of {path:?}");
    entries
}

/// Bytes the batches of a segment add up to, by their length fields, and the offset after the last.
///
/// # Panics
/// When bytes are left that are no whole batch.
pub fn walk_log(path: &Path) -> (u64, i64) {
    let bytes = std::fs::read(path).expect("a segment");
    let mut at = 0;
    let mut next = base_offset(path);
    while at < bytes.len() {
        assert!(
            bytes.len() - at >= 61,
            "{path:?}: {} bytes after the last batch",
            bytes.len() - at
        );
        let word =
            |from: usize| i32::from_be_bytes(bytes[at + from..at + from + 4].try_into().expect("four bytes"));
        let base = i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let length = word(8) as usize + 12;
        assert!(
            length >= 61 && at + length <= bytes.len(),
            "{path:?}: length {length} at {at}"
        );
        assert_eq!(bytes[at + 16], 2, "{path:?}: magic at {at}");
        assert_eq!(base, next, "{path:?}: base offset at {at}");
        let crc = u32::from_be_bytes(bytes[at + 17..at + 21].try_into().expect("four bytes"));
        assert_eq!(
            crate::raw::crc32c(&bytes[at + 21..at + length]),
            crc,
            "{path:?}: checksum at {at}"
        );
        next = base + i64::from(word(23)) + 1;
        at += length;
    }
    (bytes.len() as u64, next)
}

/// Entries of an offset index: offset less base, file position.
pub fn offset_index(path: &Path) -> Vec<(i32, i32)> {
    let bytes = std::fs::read(path).expect("an index");
    assert_eq!(bytes.len() % 8, 0, "{path:?}");
    let word = |entry: &[u8]| i32::from_be_bytes(entry.try_into().expect("four bytes"));
    bytes
        .chunks_exact(8)
        .map(|entry| (word(&entry[..4]), word(&entry[4..])))
        .collect()
}

/// Entries of a time index: timestamp, offset less base.
pub fn time_index(path: &Path) -> Vec<(i64, i32)> {
    let bytes = std::fs::read(path).expect("an index");
    assert_eq!(bytes.len() % 12, 0, "{path:?}");
    let entry = |entry: &[u8]| {
        let timestamp = i64::from_be_bytes(entry[..8].try_into().expect("eight bytes"));
        (
            timestamp,
            i32::from_be_bytes(entry[8..].try_into().expect("four bytes")),
        )
    };
    bytes.chunks_exact(12).map(entry).collect()
}

/// Flips one bit of a file.
///
/// # Panics
/// When the file has no such byte.
pub fn flip_bit(path: &Path, position: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).expect("a byte there");
    byte[0] ^= 0x10;
    file.write_all_at(&byte, position).expect("written");
    file.sync_all().expect("synced");
}
