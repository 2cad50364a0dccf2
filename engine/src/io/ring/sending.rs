//! One send under way: its pieces, kept alive and in place until the kernel has taken them.

use std::io;

use bytes::Bytes;

use crate::io::Piece;

/// Most pieces the kernel takes in one message (IOV_MAX).
const PIECES_AT_ONCE: usize = 1024;
/// Most bytes handed over at once. The kernel copies them while the core waits, about a millisecond for 4 MiB, and meanwhile nobody else
/// on this core is served.
const BYTES_AT_ONCE: usize = 256 << 10;

/// The state of one connection's send, used again for the next. Lives in a box: the kernel has its address.
pub(super) struct Sending {
    pieces: Vec<Piece>,
    /// First piece not wholly sent.
    piece: usize,
    /// Bytes of that piece already sent.
    offset: usize,
    left_bytes: usize,
    vector: Vec<libc::iovec>,
    message: libc::msghdr,
}

/// What to do after a completion.
pub(super) enum Progress {
    Continue,
    Done(io::Result<()>),
}

impl Default for Sending {
    fn default() -> Sending {
        // SAFETY: a msghdr of zeroes is valid: no name, no vector, no control bytes.
        let message = unsafe { std::mem::zeroed() };
        Sending {
            pieces: Vec::new(),
            piece: 0,
            offset: 0,
            left_bytes: 0,
            vector: Vec::new(),
            message,
        }
    }
}

impl Sending {
    /// Whether nothing is left to send.
    pub(super) fn is_idle(&self) -> bool {
        self.left_bytes == 0
    }

    /// Takes the pieces of a new send.
    pub(super) fn begin(&mut self, pieces: Vec<Piece>) {
        self.left_bytes = pieces.iter().map(Piece::len).sum();
        (self.pieces, self.piece, self.offset) = (pieces, 0, 0);
    }

    /// Lets go of the pieces. Nothing is under way in the kernel.
    pub(super) fn abandon(&mut self) {
        (self.pieces, self.left_bytes) = (Vec::new(), 0);
    }

    /// The message for what is left, or the first part of it. It and what it points to stay as they are until
    /// the next call of a method of this send.
    pub(super) fn message(&mut self) -> *const libc::msghdr {
        self.vector.clear();
        let (mut offset, mut room) = (self.offset, BYTES_AT_ONCE);
        for piece in self.pieces[self.piece..]
            .iter()
            .filter(|piece| !piece.is_empty())
            .take(PIECES_AT_ONCE)
        {
            let bytes = &bytes_of(piece)[offset..];
            let bytes = &bytes[..bytes.len().min(room)];
            room -= bytes.len();
            self.vector.push(libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            });
            offset = 0;
            if room == 0 {
                break;
            }
        }
        self.message.msg_iov = self.vector.as_mut_ptr();
        self.message.msg_iovlen = self.vector.len();
        &self.message
    }

    /// Bytes of the last [`Sending::message`].
    pub(super) fn at_once_bytes(&self) -> usize {
        self.vector.iter().map(|part| part.iov_len).sum()
    }

    /// What the last [`Sending::message`] points into, to be kept for longer than this send.
    pub(super) fn pieces_at_once(&self) -> Vec<Piece> {
        let pieces = self.pieces[self.piece..].iter();
        pieces
            .filter(|piece| !piece.is_empty())
            .take(self.vector.len())
            .cloned()
            .collect()
    }

    /// Takes in how many bytes the kernel took.
    pub(super) fn advance(&mut self, outcome: io::Result<u32>) -> Progress {
        let result = match outcome {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                self.skip(count as usize);
                if self.left_bytes > 0 {
                    return Progress::Continue;
                }
                Ok(())
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {
                return Progress::Continue;
            }
            Err(error) => Err(error),
        };
        self.abandon();
        Progress::Done(result)
    }

    /// Moves on by `count` bytes, letting go of pieces on the way. Afterwards a piece with bytes left is first, so
    /// that `offset` belongs to the first piece `message` takes.
    fn skip(&mut self, mut count: usize) {
        self.left_bytes -= count;
        while self.left_bytes > 0 {
            let rest = self.pieces[self.piece].len() - self.offset;
            if count < rest {
                self.offset += count;
                return;
            }
            count -= rest;
            self.pieces[self.piece] = Piece::Bytes(Bytes::new());
            (self.piece, self.offset) = (self.piece + 1, 0);
        }
    }
}

fn bytes_of(piece: &Piece) -> &[u8] {
    match piece {
        Piece::Bytes(bytes) => bytes,
        Piece::Slice(slice) => slice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sending(parts: &[&'static [u8]]) -> Sending {
        let mut sending = Sending::default();
        sending.begin(
            parts
                .iter()
                .map(|part| Piece::Bytes(Bytes::from_static(part)))
                .collect(),
        );
        sending
    }

    /// What the kernel would see.
    fn seen(sending: &mut Sending) -> Vec<u8> {
        sending.message();
        let piece = |v: &libc::iovec| {
            // SAFETY: the vector points into the pieces of `sending`, which is borrowed.
            unsafe { std::slice::from_raw_parts(v.iov_base.cast::<u8>(), v.iov_len) }.to_vec()
        };
        sending.vector.iter().flat_map(piece).collect()
    }

    #[test]
    fn every_split_continues_at_the_right_byte() {
        let parts: [&'static [u8]; 6] = [b"", b"ab", b"", b"", b"cdef", b"g"];
        for first in 1..=7u32 {
            let mut sending = sending(&parts);
            assert_eq!(seen(&mut sending), b"abcdefg");
            let done = matches!(sending.advance(Ok(first)), Progress::Done(Ok(())));
            assert_eq!(done, first == 7);
            if !done {
                assert_eq!(seen(&mut sending), &b"abcdefg"[first as usize..]);
            }
        }
    }

    #[test]
    fn many_pieces_go_in_parts() {
        let mut sending = Sending::default();
        sending.begin(
            (0..3000)
                .map(|_| Piece::Bytes(Bytes::from_static(b"x")))
                .collect(),
        );
        assert_eq!(seen(&mut sending).len(), PIECES_AT_ONCE);
        assert!(matches!(sending.advance(Ok(1024)), Progress::Continue));
        assert!(matches!(sending.advance(Ok(1024)), Progress::Continue));
        assert_eq!(seen(&mut sending).len(), 3000 - 2048);
    }

    #[test]
    fn much_goes_in_parts_and_arrives_whole() {
        let bytes: &'static [u8] = vec![7; BYTES_AT_ONCE + 100].leak();
        let mut sending = sending(&[b"ab", bytes, b"cd"]);
        assert_eq!(seen(&mut sending).len(), BYTES_AT_ONCE);
        assert!(matches!(
            sending.advance(Ok(BYTES_AT_ONCE as u32)),
            Progress::Continue
        ));
        let rest = seen(&mut sending);
        assert_eq!((rest.len(), &rest[rest.len() - 2..]), (104, &b"cd"[..]));
        assert!(matches!(sending.advance(Ok(104)), Progress::Done(Ok(()))));
    }

    #[test]
    fn nothing_to_send_is_idle_at_once() {
        assert!(sending(&[b"", b""]).is_idle());
    }
}
