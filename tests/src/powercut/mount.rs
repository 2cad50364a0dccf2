//! Mounting: in a mount namespace that belongs to one thread, which brokers enter and which ends with this process whatever
//! becomes of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::thread::UnshareFlags;

use super::serve::Server;

/// One mount. Dropping it unmounts, also when somebody still has a file open there.
#[derive(Debug)]
pub(super) struct Mounted {
    namespace: PathBuf,
    end: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Mounted {
    /// Serves the filesystem at the folder.
    pub(super) fn new(server: Server, place: &Path) -> io::Result<Mounted> {
        let (ready, is_ready) = channel();
        let (end, ended) = channel();
        let place = place.to_path_buf();
        let keeper = std::thread::Builder::new()
            .name("mount".into())
            .spawn(move || keep(server, &place, &ready, &ended))?;
        let namespace = is_ready
            .recv()
            .map_err(|_| io::Error::other("the mounting thread ended"))??;
        Ok(Mounted {
            namespace,
            end: Some(end),
            keeper: Some(keeper),
        })
    }

    /// The namespace's file, for `nsenter --mount=`.
    pub(super) fn namespace(&self) -> &Path {
        &self.namespace
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// The thread whose namespace it is.
fn keep(server: Server, place: &Path, ready: &Sender<io::Result<PathBuf>>, ended: &Receiver<()>) {
    let mounted =
        enter_own_namespace().and_then(|()| fuser::spawn_mount(server, place, &fuser::Config::default()));
    let session = match mounted {
        Ok(session) => session,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let thread = rustix::thread::gettid().as_raw_nonzero();
    let process = std::process::id();
    let _ = ready.send(Ok(PathBuf::from(format!("/proc/{process}/task/{thread}/ns/mnt"))));
    let _ = ended.recv();
    let _ = unmount(place, UnmountFlags::DETACH);
    drop(session);
}

fn enter_own_namespace() -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "its safe form is unsound for file descriptor tables only, which stay shared here"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    Ok(())
}
