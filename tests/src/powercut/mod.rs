//! A disk that can lose its power, below a real broker: a FUSE filesystem in memory that keeps what the broker sees and what is
//! durable apart.
//!
//! Data is durable by fsync or fdatasync of its file, or when the write itself asked for it (O_DSYNC, O_SYNC, RWF_DSYNC). The kernel
//! shows the latter in the write's flags and sends an fsync behind it; that one makes nothing durable but the write, as a
//! device does that has forced unit access. A name is durable by fsync of its folder, and by nothing
//! else: stricter than ext4. The kernel keeps nothing back: no write-back cache, and every cut is followed by a new mount.
//! syncfs never reaches a FUSE filesystem, so whoever relies on it alone loses everything.
//!
//! * [`loss`] says what a cut takes; `file` and `folder` what is left of each; `bytes` is content;
//! * `tree` is the filesystem, `serve` answers the kernel from it, `mount` mounts it where only brokers see it.

mod bytes;
mod file;
mod folder;
pub mod loss;
mod mount;
mod serve;
mod tree;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tempfile::TempDir;

use crate::broker::{Broker, Builder, external};
use mount::Mounted;
use serve::Server;
use tree::Tree;

pub use loss::Loss;
pub use tree::Seen;

/// When set, a machine where the filesystem cannot be mounted fails the tests instead of skipping them.
const REQUIRED_VARIABLE: &str = "RINGLOG_REQUIRE_FUSE";

/// The disk, and the folder where it is mounted.
#[derive(Debug)]
pub struct Disk {
    tree: Arc<Mutex<Tree>>,
    mounted: Option<Mounted>,
    folder: TempDir,
}

impl Disk {
    /// An empty disk with power; `None`, with a line on the terminal that says why, where this process may not mount it.
    ///
    /// # Panics
    /// Instead of giving `None`, with `RINGLOG_REQUIRE_FUSE` set.
    pub fn new() -> Option<Disk> {
        if external().is_some() {
            println!("skipped: needs a broker of its own");
            return None;
        }
        let folder = TempDir::new().expect("a temporary directory");
        std::fs::create_dir(folder.path().join("disk")).expect("a folder");
        let mut disk = Disk {
            tree: Arc::new(Mutex::new(Tree::new())),
            mounted: None,
            folder,
        };
        match disk.mount() {
            Ok(()) => Some(disk),
            Err(error) => {
                let why =
                    format!("the FUSE filesystem cannot be mounted (needs root and /dev/fuse): {error}");
                assert!(std::env::var_os(REQUIRED_VARIABLE).is_none(), "{why}");
                let test = std::thread::current().name().unwrap_or("?").to_owned();
                // Past the test runner, which keeps what `println` says to itself when a test passes.
                let _ = writeln!(std::io::stderr(), "SKIPPED, NOT TESTED: {test}: {why}");
                None
            }
        }
    }

    /// A new mount: for the kernel a disk that it never saw before.
    fn mount(&mut self) -> std::io::Result<()> {
        self.mounted = None;
        let session = self.tree().session;
        let server = Server::new(Arc::clone(&self.tree), session);
        let mounted = Mounted::new(server, &self.place())?;
        // A link, so that a broker's way in is the same after each mount.
        let link = self.folder.path().join("namespace");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(mounted.namespace(), &link)?;
        self.mounted = Some(mounted);
        Ok(())
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().expect("no panic while held")
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// How to start a broker whose data is on the disk; each of its starts finds the mount of that moment.
    pub fn broker(&self) -> Builder {
        let namespace = self.folder.path().join("namespace");
        let words = ["nsenter", &format!("--mount={}", namespace.display()), "--"];
        Broker::own().data(&self.place().join("data")).wrapper(&words)
    }

    /// A path of the disk as this process can reach it.
    ///
    /// # Panics
    /// When it is not mounted.
    pub fn outside(&self, path: &str) -> PathBuf {
        let namespace = self.mounted.as_ref().expect("mounted").namespace();
        let thread = namespace.ancestors().nth(2).expect("ns/mnt of a thread");
        let place = self.place();
        let inside = place.strip_prefix("/").unwrap_or(Path::new(""));
        thread.join("root").join(inside).join(path)
    }

    /// From now on nothing becomes durable and every operation fails, until [`Disk::cut`].
    pub fn power_off(&self) {
        self.tree().power_off();
    }

    /// The power goes by itself with this many further changes and syncs; the last of them is on its way and not answered.
    pub fn power_off_after(&self, changes: u64) {
        self.tree().power_off_after(changes);
    }

    /// Whether the power is on.
    pub fn is_on(&self) -> bool {
        self.tree().is_on()
    }

    /// Whether it answers syncs without doing them.
    pub fn lie(&self, is_lying: bool) {
        self.tree().is_lying = is_lying;
    }

    /// Whether syncs, and writes that are to be durable, fail with EIO from now on. Everything else goes on.
    pub fn fail_syncs(&self, fails: bool) {
        self.tree().fails_syncs = fails;
    }

    /// Makes everything durable that is there now.
    pub fn sync_all(&self) {
        self.tree().sync_all();
    }

    /// The power goes, if it had not, and comes back: what was not synced is lost as `loss` says. Whoever has files open
    /// gets errors for ever after; brokers are to be killed before or right after.
    ///
    /// # Panics
    /// When it cannot be mounted again.
    pub fn cut(&mut self, mut loss: Loss) {
        self.tree().cut(&mut loss);
        self.mount().expect("what could be mounted can be mounted again");
    }

    /// What was asked of it so far.
    pub fn seen(&self) -> Seen {
        self.tree().seen
    }
}
