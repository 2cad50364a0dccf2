//! A folder's names: as the broker sees them, and as they are after a power cut.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::loss::Loss;

/// Names and the nodes they stand for.
pub(super) type Names = BTreeMap<OsString, u64>;

/// Live and durable names, and the changes between the two in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    live: Names,
    durable: Names,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Put(OsString, u64),
    Take(OsString),
    /// Both names change at once, or neither.
    Rename(OsString, OsString, u64),
}

impl Folder {
    pub(super) fn live(&self) -> &Names {
        &self.live
    }

    pub(super) fn put(&mut self, name: &OsStr, node: u64) {
        self.change(Change::Put(name.to_owned(), node));
    }

    pub(super) fn take(&mut self, name: &OsStr) {
        self.change(Change::Take(name.to_owned()));
    }

    pub(super) fn rename(&mut self, from: &OsStr, to: &OsStr, node: u64) {
        self.change(Change::Rename(from.to_owned(), to.to_owned(), node));
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.live, &change);
        self.pending.push(change);
    }

    /// fsync of the folder.
    pub(super) fn sync(&mut self) {
        self.durable = self.live.clone();
        self.pending.clear();
    }

    /// The power goes and comes back. Of names a filesystem's journal keeps the order, so that the first ones survive.
    pub(super) fn cut(&mut self, loss: &mut Loss) {
        let kept = loss.keeps_first(self.pending.len());
        for change in &self.pending[..kept] {
            apply(&mut self.durable, change);
        }
        self.pending.clear();
        self.live = self.durable.clone();
    }
}

fn apply(names: &mut Names, change: &Change) {
    match change {
        Change::Put(name, node) => {
            names.insert(name.clone(), *node);
        }
        Change::Take(name) => {
            names.remove(name);
        }
        Change::Rename(from, to, node) => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Folder) -> Vec<(&str, u64)> {
        folder
            .live()
            .iter()
            .map(|(name, node)| (name.to_str().expect("text"), *node))
            .collect()
    }

    #[test]
    fn names_are_durable_once_the_folder_is_synced() {
        let mut folder = Folder::default();
        folder.put("a".as_ref(), 2);
        folder.sync();
        folder.put("a.tmp".as_ref(), 3);
        folder.rename("a.tmp".as_ref(), "a".as_ref(), 3);
        assert_eq!(names(&folder), [("a", 3)]);
        folder.cut(&mut Loss::everything());
        assert_eq!(names(&folder), [("a", 2)]);
        folder.take("a".as_ref());
        folder.sync();
        folder.cut(&mut Loss::everything());
        assert!(names(&folder).is_empty());
    }

    #[test]
    fn the_first_changes_survive_a_partial_loss() {
        let mut found = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut folder = Folder::default();
            for node in 2..5 {
                folder.put(node.to_string().as_ref(), node);
            }
            folder.cut(&mut Loss::some(seed));
            let left: Vec<u64> = folder.live().values().copied().collect();
            assert_eq!(left, (2..2 + left.len() as u64).collect::<Vec<_>>());
            found.insert(left.len());
        }
        assert_eq!(found.len(), 4, "{found:?}");
    }
}
