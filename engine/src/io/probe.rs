//! The boot check: can this machine run the ring, and if not, why, in one sentence.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::buffers::ChunkPool;

/// The oldest kernel the ring runs on: the first with DEFER_TASKRUN, and with multishot receive, which is younger
/// than provided-buffer rings.
const KERNEL_FLOOR: (u32, u32) = (6, 1);
/// Open files assumed when the limit is infinite.
const OPEN_FILES_CEILING: u64 = 1 << 20;

/// What the check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Version of the running kernel: major and minor number.
    pub kernel: (u32, u32),
    /// Bytes of memory the process may lock (the soft limit); `None` when unlimited or privileged (CAP_IPC_LOCK).
    pub locked_memory_bytes: Option<u64>,
    /// Soft limit on open files.
    pub open_files: u32,
}

/// Why the ring cannot run here. Displayed as one sentence with the cause and what to change.
#[derive(Debug)]
pub enum ProbeError {
    /// The kernel is older than the floor.
    KernelTooOld {
        /// Version of the running kernel.
        found: (u32, u32),
    },
    /// The kernel has no io_uring at all, or a filter says so.
    Missing,
    /// A filter or a sysctl forbids io_uring.
    Forbidden {
        /// Content of `kernel.io_uring_disabled`, when it can be read.
        sysctl: Option<i32>,
    },
    /// The limit on locked memory is too low even for an empty ring.
    LockedMemory {
        /// The soft limit in bytes.
        limit_bytes: Option<u64>,
    },
    /// Too many open files.
    OpenFiles,
    /// The kernel's io_uring lacks an operation.
    Operation {
        /// Its name in the kernel.
        name: &'static str,
    },
    /// Provided-buffer rings do not work.
    BufferRing(io::Error),
    /// Anything else.
    Other(io::Error),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = KERNEL_FLOOR;
        match self {
            ProbeError::KernelTooOld { found } => {
                write!(
                    f,
                    "Linux {}.{} is too old: Ringlog needs kernel {major}.{minor} or newer.",
                    found.0, found.1
                )
            }
            ProbeError::Missing => write!(
                f,
                "io_uring is missing (ENOSYS): the kernel is built without CONFIG_IO_URING, or a sandbox such as gVisor or a \
                 seccomp profile hides it; allow io_uring_setup, io_uring_enter and io_uring_register there."
            ),
            ProbeError::Forbidden {
                sysctl: Some(level @ 1..),
            } => write!(
                f,
                "io_uring is switched off by sysctl kernel.io_uring_disabled={level}: set it to 0 (sysctl -w \
                 kernel.io_uring_disabled=0), or to 1 with this user in the group kernel.io_uring_group."
            ),
            ProbeError::Forbidden { .. } => write!(
                f,
                "io_uring is forbidden (EPERM), most likely by a container's seccomp profile: run with one that allows \
                 io_uring_setup, io_uring_enter and io_uring_register (docker run --security-opt seccomp=unconfined, for one)."
            ),
            ProbeError::LockedMemory { limit_bytes } => write!(
                f,
                "The limit on locked memory ({}) is too low for io_uring (ENOMEM): raise it with ulimit -l, or \
                 LimitMEMLOCK=infinity in the systemd unit.",
                Limit(*limit_bytes)
            ),
            ProbeError::OpenFiles => {
                write!(
                    f,
                    "No more files can be opened (EMFILE): raise the limit with ulimit -n, or LimitNOFILE= in the systemd unit."
                )
            }
            ProbeError::Operation { name } => write!(
                f,
                "The kernel's io_uring lacks the operation {name}: use an unmodified kernel {major}.{minor} or newer."
            ),
            ProbeError::BufferRing(error) => write!(
                f,
                "The kernel refuses a ring of provided buffers ({error}): use an unmodified kernel {major}.{minor} or newer, \
                 and check that no seccomp profile filters io_uring_register."
            ),
            ProbeError::Other(error) => {
                write!(
                    f,
                    "io_uring cannot be set up ({error}): check the kernel's log and the limits of this process."
                )
            }
        }
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ProbeError::BufferRing(error) | ProbeError::Other(error) => Some(error),
            _ => None,
        }
    }
}

struct Limit(Option<u64>);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{} KiB", bytes / 1024),
            None => write!(f, "unlimited"),
        }
    }
}

/// Looks whether a ring can be made and used here.
///
/// # Errors
/// The first thing that stands against it.
pub fn check() -> Result<Report, ProbeError> {
    let kernel = kernel_version();
    if kernel < KERNEL_FLOOR {
        return Err(ProbeError::KernelTooOld { found: kernel });
    }
    let uring = small_ring().map_err(explain)?;
    check_operations(&uring)?;
    check_buffer_ring(&uring)?;
    Ok(Report {
        kernel,
        locked_memory_bytes: getrlimit(Resource::Memlock).current,
        open_files: open_files_limit(),
    })
}

/// Says what an error from [`super::ring::Ring::new`] or from setting up io_uring means.
pub fn explain(error: io::Error) -> ProbeError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => ProbeError::Missing,
        Some(libc::EPERM | libc::EACCES) => ProbeError::Forbidden {
            sysctl: disabled_level(),
        },
        Some(libc::ENOMEM) => ProbeError::LockedMemory {
            limit_bytes: getrlimit(Resource::Memlock).current,
        },
        Some(libc::EMFILE | libc::ENFILE) => ProbeError::OpenFiles,
        _ => ProbeError::Other(error),
    }
}

/// Raises the soft limits of open files and of locked memory to the hard ones, for this process. A refusal leaves
/// them as they were; [`check`] reports what is in force.
pub fn raise_limits() {
    for resource in [Resource::Nofile, Resource::Memlock] {
        let mut limit = getrlimit(resource);
        limit.current = limit.maximum;
        let _ = setrlimit(resource, limit);
    }
}

/// Bytes of memory this process may lock; `None` for as much as it likes.
pub(super) fn locked_memory_limit() -> Option<u64> {
    if may_lock_any_memory() {
        None
    } else {
        getrlimit(Resource::Memlock).current
    }
}

/// Whether this process has CAP_IPC_LOCK (bit 14).
fn may_lock_any_memory() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_some_and(|bits| bits & 1 << 14 != 0)
}

/// Soft limit of open files.
pub(super) fn open_files_limit() -> u32 {
    getrlimit(Resource::Nofile)
        .current
        .unwrap_or(OPEN_FILES_CEILING)
        .min(OPEN_FILES_CEILING) as u32
}

/// Major and minor number of the running kernel; zeroes when it has an unknown form.
pub(super) fn kernel_version() -> (u32, u32) {
    let name = rustix::system::uname();
    parse_version(name.release().to_str().unwrap_or_default())
}

fn parse_version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn small_ring() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .build(8)
}

fn check_operations(uring: &IoUring) -> Result<(), ProbeError> {
    let needed = [
        (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
        (opcode::RecvMulti::CODE, "IORING_OP_RECV"),
        (opcode::SendMsg::CODE, "IORING_OP_SENDMSG"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
        (opcode::Close::CODE, "IORING_OP_CLOSE"),
        (opcode::OpenAt::CODE, "IORING_OP_OPENAT"),
        (opcode::Read::CODE, "IORING_OP_READ"),
        (opcode::Write::CODE, "IORING_OP_WRITE"),
        (opcode::ReadFixed::CODE, "IORING_OP_READ_FIXED"),
        (opcode::WriteFixed::CODE, "IORING_OP_WRITE_FIXED"),
        (opcode::Fsync::CODE, "IORING_OP_FSYNC"),
        (opcode::Fallocate::CODE, "IORING_OP_FALLOCATE"),
        (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
        (opcode::MsgRingData::CODE, "IORING_OP_MSG_RING"),
    ];
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe).map_err(explain)?;
    match needed.into_iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => Err(ProbeError::Operation { name }),
        None => Ok(()),
    }
}

fn check_buffer_ring(uring: &IoUring) -> Result<(), ProbeError> {
    let chunks = ChunkPool::new(8, 4096).ok_or_else(|| explain(io::ErrorKind::OutOfMemory.into()))?;
    // SAFETY: the mapping lives until the end of this function, and the registration is taken back before.
    unsafe {
        uring
            .submitter()
            .register_buf_ring_with_flags(chunks.ring_address(), chunks.entries(), 0, 0)
    }
    .and_then(|()| uring.submitter().unregister_buf_ring(0))
    .map_err(ProbeError::BufferRing)
}

/// 0: allowed, 1: only for a group, 2: for nobody. `None` on kernels without the switch (before 6.6).
fn disabled_level() -> Option<i32> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kernel_versions() {
        for (release, version) in [
            ("6.1.0-13-amd64", (6, 1)),
            ("6.18.44-fc", (6, 18)),
            ("5.10", (5, 10)),
            ("?", (0, 0)),
        ] {
            assert_eq!(parse_version(release), version, "{release}");
        }
    }

    #[test]
    fn every_error_is_one_sentence() {
        let os = io::Error::from_raw_os_error;
        let errors = [
            ProbeError::KernelTooOld { found: (5, 4) },
            explain(os(libc::ENOSYS)),
            ProbeError::Forbidden { sysctl: Some(2) },
            ProbeError::Forbidden { sysctl: None },
            explain(os(libc::ENOMEM)),
            explain(os(libc::EMFILE)),
            ProbeError::Operation {
                name: "IORING_OP_RECV",
            },
            ProbeError::BufferRing(os(libc::EINVAL)),
            explain(os(libc::EIO)),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(
                text.ends_with('.') && !text.contains('\n') && !text.contains(". "),
                "{text}"
            );
        }
    }

    #[test]
    fn this_machine_passes() {
        let report = check().unwrap_or_else(|error| panic!("{error}"));
        assert!(report.kernel >= KERNEL_FLOOR && report.open_files > 0);
    }
}
