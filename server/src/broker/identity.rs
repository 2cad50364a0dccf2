//! Whose data directory this is: its lock, and `meta.properties` with the ids of cluster, node and directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use ringlog_engine::checkpoint::{LOCK_FILE, META_PROPERTIES_FILE, MetaProperties};
use ringlog_engine::io::files;
use rustix::fs::{FlockOperation, fcntl_lock};

use super::StartError;
use crate::handlers::context::fresh_id;
use crate::wire::Uuid;

/// The number of a broker that was given none and finds none.
const FIRST_NODE_ID: i32 = 1;

/// The directory's ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// This broker.
    pub node_id: i32,
    /// Its cluster.
    pub cluster_id: String,
    /// This directory.
    pub directory_id: Uuid,
}

/// Holds the directory for this process; released when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Takes the directory, or says who else has it.
///
/// # Errors
/// Another process, or another broker in this one, holds it; or the system refuses.
pub fn lock(data_dir: &Path) -> Result<DirectoryLock, StartError> {
    let path = data_dir.join(LOCK_FILE);
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = opened.map_err(|error| StartError::io("open", &path, &error))?;
    let taken = || {
        StartError(format!(
            "the data directory {} is in use by another broker: stop it, or give this one a --data-dir of its own",
            data_dir.display()
        ))
    };
    // Two kinds of lock: this one also keeps out a second broker of this process...
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => taken(),
        TryLockError::Error(error) => StartError::io("lock", &path, &error),
    })?;
    // ...and this one is the kind Apache Kafka takes.
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| taken())?;
    Ok(DirectoryLock { _file: file })
}

/// Reads the directory's ids, or gives it some.
///
/// # Errors
/// The file cannot be read or understood, or says another number than `wanted`.
pub fn identify(data_dir: &Path, wanted: Option<i32>) -> Result<Identity, StartError> {
    let path = data_dir.join(META_PROPERTIES_FILE);
    let text = files::read_small(&path).map_err(StartError::because)?;
    let found = match &text {
        Some(bytes) => Some(parse(&path, bytes)?),
        None => None,
    };
    let node_id = node_id(&path, wanted, found.as_ref().map(|found| found.node_id))?;
    let mut properties = match found {
        Some(found) => found,
        None => MetaProperties {
            cluster_id: new_id()?.to_string(),
            node_id,
            directory_id: None,
            other: Vec::new(),
        },
    };
    let directory_id = match properties.directory_id {
        Some(id) => Uuid(id),
        None => {
            let id = new_id()?;
            properties.directory_id = Some(id.0);
            files::replace(&path, properties.encode().as_bytes()).map_err(StartError::because)?;
            id
        }
    };
    Ok(Identity {
        node_id,
        cluster_id: properties.cluster_id,
        directory_id,
    })
}

fn parse(path: &Path, bytes: &[u8]) -> Result<MetaProperties, StartError> {
    let text = String::from_utf8_lossy(bytes);
    MetaProperties::parse(&text).map_err(|error| StartError(format!("{}: {error}", path.display())))
}

fn node_id(path: &Path, wanted: Option<i32>, found: Option<i32>) -> Result<i32, StartError> {
    match (wanted, found) {
        (Some(wanted), Some(found)) if wanted != found => Err(StartError(format!(
            "node.id={wanted}, but {} says that the directory belongs to node {found}",
            path.display()
        ))),
        (wanted, found) => Ok(found.or(wanted).unwrap_or(FIRST_NODE_ID)),
    }
}

/// A new random id.
///
/// # Errors
/// The system has no random numbers.
pub fn new_id() -> Result<Uuid, StartError> {
    fresh_id().map_err(|error| StartError(format!("no random numbers: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_ids() {
        let dir = tempfile::tempdir().expect("tempdir");
        let first = identify(dir.path(), None).expect("made");
        assert_eq!(first.node_id, FIRST_NODE_ID);
        assert_eq!(identify(dir.path(), Some(1)).expect("read"), first);
        let refused = identify(dir.path(), Some(2)).expect_err("another number");
        assert!(refused.to_string().contains("belongs to node 1"), "{refused}");
    }

    #[test]
    fn ids_and_keys_of_others_are_kept() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join(META_PROPERTIES_FILE);
        std::fs::write(&path, "version=1\ncluster.id=abc\nnode.id=7\nx.y=z\n").expect("written");
        let identity = identify(dir.path(), None).expect("read");
        assert_eq!((identity.node_id, identity.cluster_id.as_str()), (7, "abc"));
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.contains("x.y=z") && text.contains("directory.id="), "{text}");
    }

    #[test]
    fn a_directory_is_held_by_one() {
        let dir = tempfile::tempdir().expect("tempdir");
        let held = lock(dir.path()).expect("free");
        let refused = lock(dir.path()).expect_err("held");
        assert!(
            refused.to_string().contains("in use by another broker"),
            "{refused}"
        );
        drop(held);
        assert!(lock(dir.path()).is_ok());
    }
}
