//! What one core's machine has done since start: how many system calls and operations its work took.

/// Counters of one [`Io`](super::Io) since it was made. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounters {
    /// System calls that hand operations over, fetch completions or sleep (`io_uring_enter`).
    pub enters: u64,
    /// Other system calls of the data path: buffer memory registered with the kernel, or given back.
    pub registrations: u64,
    /// Operations handed to the kernel.
    pub submissions: u64,
    /// Completions taken. Operations that go on, as accepting and receiving do, have many.
    pub completions: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Completions that brought bytes, or the end, of a connection.
    pub receives: u64,
    /// Sends handed to the kernel; what did not fit the socket at once is handed over again, and counted again.
    pub sends: u64,
    /// Reads of files.
    pub reads: u64,
    /// Writes of files.
    pub writes: u64,
    /// Syncs of files. A write that carries its own sync is only a write.
    pub syncs: u64,
    /// Other cores woken.
    pub wakes_sent: u64,
    /// Wakes received, from other cores and threads.
    pub wakes_received: u64,
    /// Nanoseconds in calls that were allowed to sleep. What such a call does before it sleeps is in it.
    pub asleep_ns: u64,
}
