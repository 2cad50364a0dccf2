//! Filesystems of a test's own: mounted in a private mount namespace that only the broker sees and that ends with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::broker::{Broker, external};

/// What to mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4 in an image file of this many MiB: it has direct I/O, and it can be full.
    Ext4 {
        /// Size of the image.
        mib: u32,
    },
    /// Memory without direct I/O.
    Ramfs,
    /// Memory; opens files for direct I/O but has no device below.
    Tmpfs,
}

/// A place where a broker sees its own filesystem.
#[derive(Debug)]
pub struct Mount {
    folder: TempDir,
    script: String,
}

impl Mount {
    /// Prepares the filesystem; `None`, with a printed reason, where the test may not mount.
    pub fn new(kind: Kind) -> Option<Mount> {
        if external().is_some() {
            println!("skipped: needs a broker of its own");
            return None;
        }
        let folder = TempDir::new().expect("a temporary directory");
        let place = folder.path().join("mount");
        std::fs::create_dir(&place).expect("a folder");
        let image = folder.path().join("image");
        let mount = match kind {
            Kind::Ext4 { mib } => {
                let file = std::fs::File::create(&image).expect("an image");
                file.set_len(u64::from(mib) << 20).expect("its size");
                if !runs(
                    Command::new("mkfs.ext4")
                        .args(["-q", "-F", "-m", "0"])
                        .arg(&image),
                ) {
                    println!("skipped: no mkfs.ext4");
                    return None;
                }
                format!("mount -o loop '{}' '{}'", image.display(), place.display())
            }
            Kind::Ramfs => format!("mount -t ramfs none '{}'", place.display()),
            Kind::Tmpfs => format!("mount -t tmpfs -o size=512m none '{}'", place.display()),
        };
        let mut probe = Command::new("unshare");
        probe.args(["--mount", "--propagation", "private", "sh", "-c", &mount]);
        if !runs(&mut probe) {
            println!("skipped: cannot mount in a private namespace (needs root)");
            return None;
        }
        Some(Mount {
            folder,
            script: format!("{mount} && exec \"$@\""),
        })
    }

    /// Starts a broker on the filesystem. Each start mounts it afresh: only ext4 keeps what was written.
    pub fn start(&self, settings: &[(&str, &str)]) -> Broker {
        let words = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            &self.script,
            "sh",
        ];
        let mut builder = Broker::own().data(&self.data()).wrapper(&words);
        for (key, value) in settings {
            builder = builder.set(key, value);
        }
        builder.start().expect("no other broker is named")
    }

    /// The data directory, as the broker sees it.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("mount/data")
    }

    /// The same path as this process can reach it while the broker runs.
    pub fn outside(&self, broker: &Broker, path: &Path) -> PathBuf {
        let inside = path.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", broker.pid())).join(inside)
    }
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
