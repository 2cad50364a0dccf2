//! Every change that blocking code makes to files and folders: one function or method for each, and nothing else in the engine
//! makes one. A test can watch them, thread by thread: see [`watch`].

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::OFlags;

/// A change, told just before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Change<'a> {
    /// A folder is made; told also when it exists already, and nothing happens.
    CreateDir(&'a Path),
    /// A name for a new, empty file; told also when the file exists already, and nothing happens.
    CreateFile(&'a Path),
    /// Bytes go into a file.
    Write {
        path: &'a Path,
        at: u64,
        bytes: &'a [u8],
    },
    /// A file gets this length.
    SetLen { path: &'a Path, bytes: u64 },
    /// What was done to a file becomes durable; not its name.
    SyncFile(&'a Path),
    /// The names in a folder become durable.
    SyncDir(&'a Path),
    /// Everything done on the filesystem that holds the path becomes durable.
    SyncFilesystem(&'a Path),
    /// A file or folder gets another name.
    Rename { from: &'a Path, to: &'a Path },
    /// A file's name goes; told also when there is none.
    RemoveFile(&'a Path),
    /// An empty folder goes; told also when there is none.
    RemoveDir(&'a Path),
}

/// Is told of changes, and may forbid one: its maker then gets the error, and nothing happens.
pub type Witness = Box<dyn FnMut(&Change<'_>) -> io::Result<()>>;

thread_local! {
    static WITNESS: RefCell<Option<Witness>> = const { RefCell::new(None) };
}

/// From now on `witness` is told of every change made by this thread, or nobody is: for a disk that is simulated. It must make no
/// change itself. Gives back the one before.
pub fn watch(witness: Option<Witness>) -> Option<Witness> {
    WITNESS.with(|w| w.replace(witness))
}

fn tell(change: Change<'_>) -> io::Result<()> {
    WITNESS.with(|w| match w.borrow_mut().as_mut() {
        Some(witness) => witness(&change),
        None => Ok(()),
    })
}

/// How a file is opened to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It must exist.
    Existing,
    /// Made when missing.
    Missing,
    /// It must not exist.
    New,
    /// Made when missing, emptied when not.
    Empty,
    /// Made when missing; written past the page cache where the filesystem lets us.
    Direct,
}

/// A file open to be changed.
#[derive(Debug)]
pub struct Changing {
    path: PathBuf,
    file: File,
}

impl Changing {
    /// Opens the file.
    pub fn open(path: &Path, how: How) -> io::Result<Changing> {
        if how != How::Existing {
            tell(Change::CreateFile(path))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = match how {
            How::Existing => options.open(path),
            How::New => options.create_new(true).open(path),
            How::Missing | How::Empty => options.create(true).truncate(false).open(path),
            How::Direct => open_direct(options.create(true).truncate(false), path),
        }?;
        let changing = Changing {
            path: path.to_path_buf(),
            file,
        };
        if how == How::Empty && changing.size_bytes()? > 0 {
            changing.set_len(0)?;
        }
        Ok(changing)
    }

    /// The file's length in bytes.
    pub fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Writes all bytes at a position.
    pub fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        tell(Change::Write {
            path: &self.path,
            at,
            bytes,
        })?;
        self.file.write_all_at(bytes, at)
    }

    /// Cuts the file, or extends it with a hole.
    pub fn set_len(&self, bytes: u64) -> io::Result<()> {
        tell(Change::SetLen {
            path: &self.path,
            bytes,
        })?;
        self.file.set_len(bytes)
    }

    /// Sets when its content was changed last. Nobody is told: no content and no name depends on it.
    pub fn set_modified(&self, at: SystemTime) -> io::Result<()> {
        self.file.set_modified(at)
    }

    /// Makes durable what was done to the file.
    pub fn sync(&self) -> io::Result<()> {
        tell(Change::SyncFile(&self.path))?;
        self.file.sync_all()
    }
}

fn open_direct(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let direct = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
    match options.clone().custom_flags(direct).open(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => options.open(path),
        file => file,
    }
}

/// Makes a folder.
pub fn create_dir(path: &Path) -> io::Result<()> {
    tell(Change::CreateDir(path))?;
    fs::create_dir(path)
}

/// Makes the names in a folder durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    let dir = File::open(path)?;
    tell(Change::SyncDir(path))?;
    dir.sync_all()
}

/// Makes everything on the path's filesystem durable.
pub fn sync_filesystem(path: &Path) -> io::Result<()> {
    let dir = File::open(path)?;
    tell(Change::SyncFilesystem(path))?;
    rustix::fs::syncfs(&dir).map_err(io::Error::from)
}

/// Renames, replacing a file of the new name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    tell(Change::Rename { from, to })?;
    fs::rename(from, to)
}

/// Removes a file.
pub fn remove_file(path: &Path) -> io::Result<()> {
    tell(Change::RemoveFile(path))?;
    fs::remove_file(path)
}

/// Removes a folder and all that is in it, in the order of names.
pub fn remove_dir_all(path: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_type()?.is_dir() {
            remove_dir_all(&entry.path())?;
        } else {
            remove_file(&entry.path())?;
        }
    }
    tell(Change::RemoveDir(path))?;
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_witness_sees_changes_in_order_and_can_forbid_them() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a");
        let seen = Rc::new(RefCell::new(Vec::new()));
        let noted = seen.clone();
        watch(Some(Box::new(move |change| {
            noted.borrow_mut().push(format!("{change:?}"));
            match change {
                Change::SetLen { .. } => Err(io::ErrorKind::StorageFull.into()),
                _ => Ok(()),
            }
        })));
        let file = Changing::open(&path, How::Missing).unwrap();
        file.write(b"abc", 2).unwrap();
        assert_eq!(file.set_len(1).unwrap_err().kind(), io::ErrorKind::StorageFull);
        watch(None);
        file.sync().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\0\0abc");
        let kinds: Vec<String> = seen.borrow().iter().map(|s| s[..6].to_owned()).collect();
        assert_eq!(kinds, ["Create", "Write ", "SetLen"]);
    }
}
