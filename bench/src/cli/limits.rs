//! Limits of this process that thousands of connections run into.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of open descriptors to what the kernel allows this process. Where that is too few, connecting says so.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}
