//! The page cache, dropped, so that what is read comes from the disk.

use std::fs;

use crate::error::Error;

/// Writes everything out and forgets it. Only root may; the machine is slow for a moment after.
///
/// # Errors
/// The kernel does not let us.
pub fn drop_page_cache() -> Result<(), Error> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3")
        .map_err(|e| Error::failed(format!("the page cache cannot be dropped: {e} (root may)")))
}
