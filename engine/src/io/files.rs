//! Blocking jobs on files and folders, for a background thread: none of this runs on a core's loop.
//!
//! Each returns once its effect is on stable storage, names included, unless it says otherwise.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::changes::{Changing, How};
use super::ALIGN;
use crate::error::Error;

pub mod changes;
pub mod stream;

/// What [`remove_large_file`] cuts off at a time. Freeing gigabytes at once stalls commits on filesystems mounted
/// with `discard`.
const SHRINK_STEP_BYTES: u64 = 16 << 20;
/// What it rests in between.
const SHRINK_PAUSE: Duration = Duration::from_millis(20);
/// Zeroes written at a time by [`prewrite`].
const PREWRITE_BYTES: usize = 256 << 10;
/// What the kernel calls FUSE filesystems in `statfs` (`FUSE_SUPER_MAGIC`).
const FUSE_MAGIC: u64 = 0x6573_5546;
/// Most bytes [`read_small`] reads.
const SMALL_FILE_BYTES: u64 = 64 << 20;

const _: () = assert!(PREWRITE_BYTES.is_multiple_of(ALIGN));

/// Outcome of a job.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds the path and the verb to a system's error.
trait At<T> {
    fn at(self, path: &Path, operation: &'static str) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path, operation: &'static str) -> Result<T> {
        self.map_err(Error::io(operation, path))
    }
}

/// Creates a folder; its parent must exist. One that exists already is fine.
///
/// # Errors
/// Also when the path exists and is no folder.
pub fn create_dir(path: &Path) -> Result<()> {
    create_dir_with(path, Sync::Now)
}

/// The same, durable when asked for.
///
/// # Errors
/// As [`create_dir`].
pub fn create_dir_with(path: &Path, sync: Sync) -> Result<()> {
    match changes::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        outcome => outcome.at(path, "create")?,
    }
    match sync {
        Sync::Now => sync_dir(path).and_then(|()| sync_parent(path)),
        Sync::Later => Ok(()),
    }
}

/// Creates an empty file that must not exist yet.
///
/// # Errors
/// `AlreadyExists` among others.
pub fn create_file(path: &Path) -> Result<()> {
    let file = Changing::open(path, How::New).at(path, "create")?;
    file.sync().at(path, "sync")?;
    sync_parent(path)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The system's.
pub fn sync_dir(path: &Path) -> Result<()> {
    changes::sync_dir(path).at(path, "sync")
}

/// When a change of files is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// When the job is done.
    Now,
    /// With the next [`sync_filesystem`]: where thousands of files change, one sync for all of them takes the time of a few.
    Later,
}

impl Sync {
    fn file(self, file: &Changing, path: &Path) -> Result<()> {
        match self {
            Sync::Now => file.sync().at(path, "sync"),
            Sync::Later => Ok(()),
        }
    }
}

/// Makes everything durable that was changed in a folder and below, by one sync of its filesystem (syncfs) where that does it.
///
/// # Errors
/// The system's, also for a failed write of any file there since the last call.
pub fn sync_filesystem(path: &Path) -> Result<()> {
    changes::sync_filesystem(path).at(path, "sync the filesystem of")?;
    let filesystem = rustix::fs::statfs(path)
        .map_err(io::Error::from)
        .at(path, "look at the filesystem of")?;
    // The kernel answers for FUSE without asking the filesystem.
    if u64::try_from(filesystem.f_type) == Ok(FUSE_MAGIC) {
        sync_below(path)?;
    }
    Ok(())
}

/// Syncs every file and folder below, and the folder. What vanishes meanwhile needs no sync.
fn sync_below(path: &Path) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.at(path, "list")?,
    };
    for entry in entries {
        let entry = entry.at(path, "list")?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => sync_below(&entry.path())?,
            Ok(kind) if kind.is_file() => sync_one(&entry.path())?,
            _ => {}
        }
    }
    sync_one(path)
}

fn sync_one(path: &Path) -> Result<()> {
    gone_is_fine(fs::File::open(path).and_then(|file| file.sync_all())).at(path, "sync")
}

/// Cuts the file, or extends it with a hole, to exactly `bytes`.
///
/// # Errors
/// The system's.
pub fn truncate(path: &Path, bytes: u64, sync: Sync) -> Result<()> {
    let file = Changing::open(path, How::Existing).at(path, "open")?;
    file.set_len(bytes).at(path, "truncate")?;
    sync.file(&file, path)
}

/// Replaces, or creates, a small file as a whole: whoever reads it, also after a power cut, finds the old content or
/// the new one. Uses `<path>.tmp` on the way.
///
/// # Errors
/// The system's. The old content is then untouched, or (when syncing the folder failed) already replaced.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    replace_with(path, content, Sync::Now)
}

/// The same, durable when asked for. With [`Sync::Later`] a power cut before it may leave the new name on an empty file.
///
/// # Errors
/// As [`replace`].
pub fn replace_with(path: &Path, content: &[u8], sync: Sync) -> Result<()> {
    let beside = beside(path);
    let file = Changing::open(&beside, How::Empty).at(&beside, "create")?;
    file.write(content, 0).at(&beside, "write")?;
    sync.file(&file, &beside)?;
    changes::rename(&beside, path).at(path, "replace")?;
    match sync {
        Sync::Now => sync_parent(path),
        Sync::Later => Ok(()),
    }
}

/// Cuts the file to `bytes`, large ends in steps, so that freeing their space never stalls the disk for others. One that is
/// shorter stays as it is.
///
/// # Errors
/// The system's.
pub fn cut(path: &Path, bytes: u64, sync: Sync) -> Result<()> {
    let file = Changing::open(path, How::Existing).at(path, "open")?;
    let mut left = file.size_bytes().at(path, "stat")?;
    while left > bytes.saturating_add(SHRINK_STEP_BYTES) {
        left -= SHRINK_STEP_BYTES;
        file.set_len(left).at(path, "shrink")?;
        std::thread::sleep(SHRINK_PAUSE);
    }
    if left > bytes {
        file.set_len(bytes).at(path, "truncate")?;
    }
    sync.file(&file, path)
}

/// How many bytes from the file's start were written without a hole: space that was only allocated counts as one. The whole file where
/// the filesystem does not tell.
///
/// # Errors
/// The system's.
pub fn written_bytes(path: &Path) -> Result<u64> {
    let file = fs::File::open(path).at(path, "open")?;
    let bytes = file.metadata().at(path, "stat")?.len();
    match rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)) {
        Ok(hole) => Ok(hole.min(bytes)),
        Err(_) => Ok(bytes),
    }
}

/// Bytes of the filesystem that holds the path.
///
/// # Errors
/// The system's.
pub fn filesystem_bytes(path: &Path) -> Result<u64> {
    let filesystem = rustix::fs::statvfs(path)
        .map_err(io::Error::from)
        .at(path, "look at the filesystem of")?;
    Ok(filesystem.f_blocks.saturating_mul(filesystem.f_frsize))
}

/// The room of a filesystem, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub total_bytes: u64,
    /// What this process may still take.
    pub free_bytes: u64,
}

/// How much room the filesystem of a path has.
///
/// # Errors
/// The system's.
pub fn filesystem_room(path: &Path) -> Result<Room> {
    let filesystem = rustix::fs::statvfs(path)
        .map_err(io::Error::from)
        .at(path, "look at the filesystem of")?;
    let bytes = |blocks: u64| blocks.saturating_mul(filesystem.f_frsize);
    Ok(Room {
        total_bytes: bytes(filesystem.f_blocks),
        free_bytes: bytes(filesystem.f_bavail),
    })
}

/// Waits until the direct writes of a predecessor that was killed are done, so that none of them lands on what is written next:
/// its io_uring ends some milliseconds after its process. Changing a file's length waits for them (`inode_dio_wait` in
/// ext4 and xfs); afterwards the length is what it was. A missing file is fine.
///
/// # Errors
/// The system's.
pub fn settle(path: &Path) -> Result<()> {
    let file = match Changing::open(path, How::Existing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome.at(path, "open")?,
    };
    let bytes = file.size_bytes().at(path, "stat")?;
    file.set_len(bytes + 1).at(path, "extend")?;
    file.set_len(bytes).at(path, "truncate")
}

/// Makes `bytes` the end of the file from byte `at` on, whatever was there; the file is made when missing.
///
/// # Errors
/// The system's.
pub fn write_tail(path: &Path, at: u64, bytes: &[u8], sync: Sync) -> Result<()> {
    let file = Changing::open(path, How::Missing).at(path, "open")?;
    file.write(bytes, at).at(path, "write")?;
    file.set_len(at + bytes.len() as u64).at(path, "truncate")?;
    sync.file(&file, path)
}

/// Renames a file or folder, replacing a file of the new name.
///
/// # Errors
/// The system's.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    changes::rename(from, to).at(from, "rename")?;
    sync_parent(to)?;
    if from.parent() == to.parent() {
        Ok(())
    } else {
        sync_parent(from)
    }
}

/// Renames a file within its folder, durable with the folder's next sync.
///
/// # Errors
/// The system's.
pub fn rename_later(from: &Path, to: &Path) -> Result<()> {
    changes::rename(from, to).at(from, "rename")
}

/// Removes a file. One that is gone already is fine, also with its folder.
///
/// # Errors
/// The system's.
pub fn remove_file(path: &Path) -> Result<()> {
    gone_is_fine(changes::remove_file(path)).at(path, "remove")?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            gone_is_fine(changes::sync_dir(parent)).at(parent, "sync")
        }
        _ => sync_parent(path),
    }
}

/// Removes a file in steps, so that freeing its space never stalls the disk for others. One that is gone already is
/// fine. Blocks for about a second per 800 MiB.
///
/// # Errors
/// The system's. The file may then be shorter than before: call it on files that nobody reads any more.
pub fn remove_large_file(path: &Path) -> Result<()> {
    shrink(path)?;
    remove_file(path)
}

/// Removes a folder and all that is in it, large files in steps. One that is gone already is fine.
///
/// # Errors
/// The system's. Part of the content may then be gone.
pub fn remove_dir(path: &Path) -> Result<()> {
    remove_below(path, &mut 0)?;
    gone_is_fine(changes::remove_dir_all(path)).at(path, "remove")?;
    sync_parent(path)
}

/// Writes zeroes over `[from, to)`, past the page cache where the filesystem lets us, creating the file when missing.
/// Later writes in that range then change no metadata. Both ends are multiples of [`ALIGN`].
///
/// # Errors
/// The system's; "no space left" among them. Zeroes already written stay.
///
/// # Panics
/// When an end is not aligned.
pub fn prewrite(path: &Path, from: u64, to: u64) -> Result<()> {
    assert!(
        from.is_multiple_of(ALIGN as u64) && to.is_multiple_of(ALIGN as u64),
        "prewrite of [{from}, {to})"
    );
    let file = Changing::open(path, How::Direct).at(path, "open")?;
    let zeroes = Zeroes::new();
    let mut position = from;
    while position < to {
        let count = (to - position).min(PREWRITE_BYTES as u64) as usize;
        file.write(&zeroes.bytes()[..count], position).at(path, "write")?;
        position += count as u64;
    }
    file.sync().at(path, "sync")?;
    sync_parent(path)
}

/// The first bytes of a file, at most so many, or `None` when there is no such file.
///
/// # Errors
/// The system's.
pub fn read_front(path: &Path, most_bytes: usize) -> Result<Option<Vec<u8>>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.at(path, "open")?,
    };
    let mut bytes = Vec::new();
    io::Read::take(file, most_bytes as u64)
        .read_to_end(&mut bytes)
        .at(path, "read")?;
    Ok(Some(bytes))
}

/// The content of a small file, or `None` when there is no such file.
///
/// # Errors
/// The system's; `FileTooLarge` for more than 64 MiB.
pub fn read_small(path: &Path) -> Result<Option<Vec<u8>>> {
    let bytes = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.at(path, "look at")?.len(),
    };
    if bytes > SMALL_FILE_BYTES {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge)).at(path, "read");
    }
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        content => content.at(path, "read").map(Some),
    }
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Name without the folder. Names that are not UTF-8 are not ours and are left out of listings.
    pub name: String,
    /// Whether it is a folder itself.
    pub is_dir: bool,
    /// Length in bytes; of no meaning for a folder.
    pub bytes: u64,
}

/// What is in a folder, sorted by name.
///
/// # Errors
/// The system's. An entry that vanishes meanwhile is left out.
pub fn list(path: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).at(path, "list")? {
        let entry = entry.at(path, "list")?;
        let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else {
            continue;
        };
        entries.push(Entry {
            name,
            is_dir: metadata.is_dir(),
            bytes: metadata.len(),
        });
    }
    entries.sort();
    Ok(entries)
}

fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

fn gone_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Cuts a large file down to one step.
fn shrink(path: &Path) -> Result<()> {
    let bytes = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => return Ok(()),
    };
    if bytes <= SHRINK_STEP_BYTES {
        return Ok(());
    }
    let file = Changing::open(path, How::Existing).at(path, "open")?;
    let mut left = bytes;
    while left > SHRINK_STEP_BYTES {
        left -= SHRINK_STEP_BYTES;
        file.set_len(left).at(path, "shrink")?;
        std::thread::sleep(SHRINK_PAUSE);
    }
    Ok(())
}

/// Removes the files in a folder and below. Also many small ones rest after each step's worth of bytes: `freed` are those since the last rest.
fn remove_below(path: &Path, freed: &mut u64) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.at(path, "list")?,
    };
    let entries = entries.collect::<io::Result<Vec<_>>>();
    let mut entries = entries.at(path, "list")?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => remove_below(&path, freed)?,
            _ => {
                shrink(&path)?;
                *freed += entry.metadata().map_or(0, |found| found.len());
                gone_is_fine(changes::remove_file(&path)).at(&path, "remove")?;
            }
        }
        if *freed >= SHRINK_STEP_BYTES {
            *freed = 0;
            std::thread::sleep(SHRINK_PAUSE);
        }
    }
    Ok(())
}

/// Aligned zeroes to write directly.
struct Zeroes {
    start: *mut u8,
}

impl Zeroes {
    const LAYOUT: Layout = match Layout::from_size_align(PREWRITE_BYTES, ALIGN) {
        Ok(layout) => layout,
        Err(_) => panic!("the alignment is a power of two"),
    };

    fn new() -> Zeroes {
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(Zeroes::LAYOUT) };
        if start.is_null() {
            std::alloc::handle_alloc_error(Zeroes::LAYOUT);
        }
        Zeroes { start }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: allocated with this length, zeroed, and never written.
        unsafe { std::slice::from_raw_parts(self.start, PREWRITE_BYTES) }
    }
}

impl Drop for Zeroes {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout.
        unsafe { dealloc(self.start, Zeroes::LAYOUT) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn creates_and_lists() {
        let dir = folder();
        let sub = dir.path().join("b-0");
        create_dir(&sub).unwrap();
        create_dir(&sub).unwrap();
        create_file(&dir.path().join("a")).unwrap();
        truncate(&dir.path().join("a"), 123, Sync::Now).unwrap();
        let entry = |name: &str, is_dir, bytes| Entry {
            name: name.into(),
            is_dir,
            bytes,
        };
        let listed = list(dir.path()).unwrap();
        assert_eq!(listed[0], entry("a", false, 123));
        assert_eq!(
            (listed[1].name.as_str(), listed[1].is_dir, listed.len()),
            ("b-0", true, 2)
        );
        let error = create_file(&dir.path().join("a")).unwrap_err();
        assert!(
            matches!(&error, Error::Io { operation: "create", source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
        );
        assert!(error.to_string().starts_with("cannot create "), "{error}");
    }

    #[test]
    fn replaces_as_a_whole() {
        let dir = folder();
        let path = dir.path().join("checkpoint");
        assert_eq!(read_small(&path).unwrap(), None);
        for content in [&b"first"[..], b"", b"a longer second"] {
            replace(&path, content).unwrap();
            assert_eq!(read_small(&path).unwrap().unwrap(), content);
        }
        assert_eq!(list(dir.path()).unwrap().len(), 1, "nothing is left beside it");
    }

    #[test]
    fn renames_and_removes() {
        let dir = folder();
        let (from, to) = (dir.path().join("t-0"), dir.path().join("t-0.deleted"));
        create_dir(&from).unwrap();
        fs::write(from.join("x"), vec![1; 40 << 20]).unwrap();
        create_dir(&from.join("sub")).unwrap();
        rename(&from, &to).unwrap();
        remove_dir(&to).unwrap();
        remove_dir(&to).unwrap();
        assert!(list(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn large_files_go_in_steps() {
        let dir = folder();
        let path = dir.path().join("x.log");
        create_file(&path).unwrap();
        truncate(&path, 3 * SHRINK_STEP_BYTES + 5, Sync::Now).unwrap();
        remove_large_file(&path).unwrap();
        remove_large_file(&path).unwrap();
        assert!(!path.exists());
        remove_large_file(&dir.path().join("gone").join("x.log")).unwrap();
    }

    #[test]
    fn prewrites_a_range_and_leaves_the_rest() {
        let dir = folder();
        let path = dir.path().join("journal");
        fs::write(&path, vec![7; 2 * ALIGN]).unwrap();
        prewrite(&path, ALIGN as u64, (1 << 20) + ALIGN as u64).unwrap();
        let content = fs::read(&path).unwrap();
        assert_eq!(content.len(), (1 << 20) + ALIGN);
        assert!(content[..ALIGN].iter().all(|&b| b == 7) && content[ALIGN..].iter().all(|&b| b == 0));
    }
}
