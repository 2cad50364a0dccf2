//! Sends whose bytes the network card reads from our memory: what is kept until it has, and who had better not use them.
//!
//! A zero-copy send completes twice: first as any send does, with the bytes the kernel took; later with a notification that it needs
//! the memory no more (io_uring_enter(2), IORING_OP_SENDMSG_ZC). The next send does not wait for the notification. Where the
//! kernel had to copy after all, which it does on loopback, the notification says so, and the connection goes back to plain
//! sends: a copy made late costs more than one made at once.

use std::cell::Cell;
use std::rc::Rc;

use super::queue::Completion;
use super::slab::Slab;
use crate::io::Piece;

/// Asks for [`COPIED`] in notifications (IORING_SEND_ZC_REPORT_USAGE).
pub(super) const REPORT_USAGE: u16 = 1 << 3;
/// In a notification's result: the bytes were copied after all (IORING_NOTIF_USAGE_ZC_COPIED).
const COPIED: u32 = 1 << 31;
/// Smaller sends are copied: pinning pages and being notified costs more than copying them.
pub(super) const LEAST_BYTES: usize = 16 << 10;

/// Whether a connection sends without a copy. Shared with its sends under way, which may outlive it.
#[derive(Clone, Default)]
pub(super) struct Usage {
    copied: Rc<Cell<bool>>,
}

impl Usage {
    /// Whether a send of so many bytes is to be tried without a copy.
    pub(super) fn suits(&self, bytes: usize) -> bool {
        bytes >= LEAST_BYTES && !self.copied.get()
    }
}

struct Held {
    conn: u32,
    usage: Usage,
    bytes: usize,
    /// The bytes the kernel may still read.
    _pieces: Vec<Piece>,
}

/// The zero-copy sends of one ring.
pub(super) struct ZeroCopy {
    held: Slab<Held>,
    held_bytes: usize,
    /// The most bytes of such sends that the network may keep at a time. Further ones are copied: what clients do not take must not keep
    /// the memory of everybody else.
    most_bytes: usize,
}

impl ZeroCopy {
    pub(super) fn new(most_bytes: usize) -> ZeroCopy {
        ZeroCopy {
            held: Slab::new(),
            held_bytes: 0,
            most_bytes,
        }
    }

    /// Whether a send of so many bytes may be kept too.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.held_bytes + bytes <= self.most_bytes
    }

    /// Keeps the bytes of a send until its notification. Gives the index for its completions.
    pub(super) fn hold(&mut self, conn: u32, usage: &Usage, pieces: Vec<Piece>) -> u32 {
        let usage = usage.clone();
        let bytes = pieces.iter().map(Piece::len).sum();
        self.held_bytes += bytes;
        self.held.insert(Held {
            conn,
            usage,
            bytes,
            _pieces: pieces,
        })
    }

    /// Takes a completion. Gives the connection whose send it is, or `None` for a notification.
    pub(super) fn completed(&mut self, done: &Completion) -> Option<u32> {
        let conn = self.held.get_mut(done.index).map(|held| held.conn);
        if done.more() {
            return conn;
        }
        let held = self.held.remove(done.index);
        self.held_bytes -= held.as_ref().map_or(0, |held| held.bytes);
        if !done.is_notification() {
            // It failed before the kernel looked at the bytes; no notification follows.
            return conn;
        }
        if let Some(held) = held
            && done.result as u32 & COPIED != 0
        {
            held.usage.copied.set(true);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut all = ZeroCopy::new(100);
        let pieces = |bytes: usize| vec![Piece::Bytes(Bytes::from(vec![0; bytes]))];
        let first = all.hold(1, &Usage::default(), pieces(60));
        assert!(all.has_room(40) && !all.has_room(41));
        let failed = Completion {
            kind: super::super::queue::Kind::SendZeroCopy,
            index: first,
            result: -libc::EPIPE,
            flags: 0,
        };
        assert_eq!(all.completed(&failed), Some(1));
        assert!(all.has_room(100));
    }
}
