//! What a disk holds at one moment: names and bytes. Folders and files are told apart by number, as a file may be written under one
//! name and found under another.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::disk::{Ino, Node, ROOT, Step};
use crate::random::Random;

/// What a disk writes whole.
pub const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: usize = 4096;

/// A file's bytes; pages of zeroes are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    bytes: u64,
    pages: BTreeMap<u64, Rc<[u8; PAGE_BYTES]>>,
}

impl Content {
    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.bytes = self.bytes.max(at + bytes.len() as u64);
        let mut done = 0;
        while done < bytes.len() {
            let position = at + done as u64;
            let (page, from) = (
                position / PAGE_BYTES as u64,
                (position % PAGE_BYTES as u64) as usize,
            );
            let count = (PAGE_BYTES - from).min(bytes.len() - done);
            let part = &bytes[done..done + count];
            if part.iter().any(|b| *b != 0) {
                let page = self.pages.entry(page).or_insert_with(|| Rc::new([0; PAGE_BYTES]));
                Rc::make_mut(page)[from..from + count].copy_from_slice(part);
            } else if count == PAGE_BYTES {
                self.pages.remove(&page);
            } else if let Some(page) = self.pages.get_mut(&page) {
                Rc::make_mut(page)[from..from + count].fill(0);
            }
            done += count;
        }
    }

    fn set_len(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.pages.split_off(&bytes.div_ceil(PAGE_BYTES as u64));
            let rest = (bytes % PAGE_BYTES as u64) as usize;
            if rest > 0
                && let Some(page) = self.pages.get_mut(&(bytes / PAGE_BYTES as u64))
            {
                Rc::make_mut(page)[rest..].fill(0);
            }
        }
        self.bytes = bytes;
    }
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct State {
    folders: BTreeMap<Ino, BTreeMap<String, Node>>,
    files: BTreeMap<Ino, Content>,
    next_ino: Ino,
}

impl State {
    /// A directory with these files.
    pub fn with_files(files: &[(String, Vec<u8>)]) -> State {
        let mut state = State::default();
        for (i, (name, bytes)) in files.iter().enumerate() {
            let node = Node {
                ino: ROOT + 1 + i,
                is_dir: false,
            };
            let (name, dir) = (name.clone(), ROOT);
            state.apply(&Step::Link { dir, name, node });
            state.file(node.ino).write(0, bytes);
        }
        state
    }

    /// Every name, by its folder.
    pub fn names(&self) -> impl Iterator<Item = ((Ino, String), Node)> {
        self.folders.iter().flat_map(|(dir, names)| {
            names
                .iter()
                .map(move |(name, node)| ((*dir, name.clone()), *node))
        })
    }

    /// A number that nothing has yet.
    pub fn next_ino(&self) -> Ino {
        self.next_ino.max(ROOT + 1)
    }

    /// Numbers below this one are not given again: bytes may be there of what has no name any more.
    pub fn reserve(&mut self, next_ino: Ino) {
        self.next_ino = next_ino;
    }

    /// Makes a change.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Link { dir, name, node } => {
                self.next_ino = self.next_ino.max(node.ino + 1);
                self.folder(*dir).insert(name.clone(), *node);
            }
            Step::Unlink { dir, name } => drop(self.folder(*dir).remove(name)),
            Step::Rename { dir, from, to, node } => {
                let names = self.folder(*dir);
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
            Step::Write { ino, at, bytes } => self.file(*ino).write(*at, bytes),
            Step::SetLen { ino, bytes } => self.file(*ino).set_len(*bytes),
            Step::Extend { ino, bytes } => {
                let file = self.file(*ino);
                file.bytes = file.bytes.max(*bytes);
            }
            Step::Durable(_) => {}
        }
    }

    /// Makes a write as far as a power cut lets it: sector by sector, in order or not, the new length known or not.
    pub fn apply_torn(&mut self, ino: Ino, at: u64, bytes: &[u8], random: &mut Random) {
        let file = self.file(ino);
        let in_order = random.percent(50);
        let kept = random.below(101);
        let stop = at + random.below(bytes.len() as u64 + 1);
        let mut from = 0;
        while from < bytes.len() {
            let position = at + from as u64;
            let room = SECTOR_BYTES - (position % SECTOR_BYTES as u64) as usize;
            let to = (from + room).min(bytes.len());
            let is_kept = match in_order {
                true => at + to as u64 <= stop,
                false => random.percent(kept),
            };
            if is_kept {
                file.write(position, &bytes[from..to]);
            }
            from = to;
        }
        if random.percent(50) {
            file.bytes = file.bytes.max(at + bytes.len() as u64);
        }
    }

    fn folder(&mut self, dir: Ino) -> &mut BTreeMap<String, Node> {
        self.folders.entry(dir).or_default()
    }

    fn file(&mut self, ino: Ino) -> &mut Content {
        self.files.entry(ino).or_default()
    }

    /// Writes all of it into an empty folder.
    pub fn write_to(&self, path: &Path) {
        self.write_folder(ROOT, path, &mut BTreeMap::new());
    }

    /// A file of two names is one file.
    fn write_folder(&self, dir: Ino, path: &Path, written: &mut BTreeMap<Ino, PathBuf>) {
        for (name, node) in self.folders.get(&dir).into_iter().flatten() {
            let path = path.join(name);
            if node.is_dir {
                std::fs::create_dir(&path).expect("a folder");
                self.write_folder(node.ino, &path, written);
            } else if let Some(other) = written.get(&node.ino) {
                std::fs::hard_link(other, &path).expect("a second name");
            } else {
                self.write_file(node.ino, &path);
                written.insert(node.ino, path);
            }
        }
    }

    fn write_file(&self, ino: Ino, path: &Path) {
        let file = File::create(path).expect("a file");
        let Some(content) = self.files.get(&ino) else {
            return;
        };
        file.set_len(content.bytes).expect("a length");
        for (page, bytes) in &content.pages {
            let at = page * PAGE_BYTES as u64;
            let count = (content.bytes.saturating_sub(at)).min(PAGE_BYTES as u64) as usize;
            file.write_all_at(&bytes[..count], at).expect("bytes");
        }
    }
}
