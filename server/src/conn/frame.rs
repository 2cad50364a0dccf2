//! Bytes from a socket to frames: a four-byte length, then that many bytes.
//!
//! ```text
//! | length i32 | request bytes ...          | length i32 | ...
//! ```
//!
//! Memory grows with the bytes that have arrived, never with the length a client claims: the buffer of an
//! unfinished frame at most doubles with what it holds. Frames that arrive whole are copied once, together with their
//! neighbours; a frame that arrives in pieces becomes a `Bytes` without a further copy.

use bytes::{Bytes, BytesMut};

/// Bytes of the length before each frame.
const LENGTH_BYTES: usize = 4;

/// The first buffer of an unfinished frame.
const FIRST_BUFFER_BYTES: usize = 1024;

/// A length no Kafka request has. The connection must be closed: where the next frame would start is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length is negative.
    Negative(i32),
    /// The length is above `socket.request.max.bytes`.
    TooLarge {
        /// What the client announced.
        length: i32,
        /// The limit.
        max_bytes: usize,
    },
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::Negative(length) => write!(f, "invalid request size {length}"),
            FrameError::TooLarge { length, max_bytes } => {
                write!(
                    f,
                    "request of {length} bytes is larger than socket.request.max.bytes ({max_bytes})"
                )
            }
        }
    }
}

/// Cuts what one socket sends into frames.
#[derive(Debug)]
pub struct Framer {
    max_frame_bytes: usize,
    /// The unfinished frame with its length before it; empty between frames.
    partial: BytesMut,
}

impl Framer {
    /// `max_frame_bytes` is `socket.request.max.bytes`.
    pub fn new(max_frame_bytes: usize) -> Framer {
        Framer {
            max_frame_bytes,
            partial: BytesMut::new(),
        }
    }

    /// Bytes of an unfinished frame that are here.
    pub fn partial_bytes(&self) -> usize {
        self.partial.len()
    }

    /// Bytes held for an unfinished frame: its buffer may be larger than what is in it.
    pub fn partial_buffer_bytes(&self) -> usize {
        if self.partial.is_empty() {
            0
        } else {
            self.partial.capacity()
        }
    }

    /// Bytes of an unfinished frame that are still to come, as far as its length is known.
    pub fn missing_bytes(&self) -> usize {
        let claimed = self.claimed().ok().flatten().unwrap_or(LENGTH_BYTES);
        claimed.saturating_sub(self.partial.len())
    }

    /// Takes bytes in, and hands each frame they complete to `frame`, without its length. After an error nothing more may be fed.
    pub fn feed(&mut self, mut data: &[u8], mut frame: impl FnMut(Bytes)) -> Result<(), FrameError> {
        while !self.partial.is_empty() && !data.is_empty() {
            data = self.continue_partial(data, &mut frame)?;
        }
        let whole = self.whole_frames(data)?;
        if whole > 0 {
            emit_all(Bytes::copy_from_slice(&data[..whole]), &mut frame);
        }
        if whole < data.len() {
            self.extend(&data[whole..]);
        }
        Ok(())
    }

    /// Moves bytes into the unfinished frame, up to its end. Returns what follows it.
    fn continue_partial<'a>(
        &mut self,
        data: &'a [u8],
        frame: &mut impl FnMut(Bytes),
    ) -> Result<&'a [u8], FrameError> {
        let missing = match self.claimed()? {
            None => LENGTH_BYTES - self.partial.len(),
            Some(total) => total - self.partial.len(),
        };
        let (now, rest) = data.split_at(missing.min(data.len()));
        self.extend(now);
        if self.claimed()? == Some(self.partial.len()) {
            let whole = std::mem::take(&mut self.partial).freeze();
            frame(whole.slice(LENGTH_BYTES..));
        }
        Ok(rest)
    }

    /// Total bytes of the unfinished frame with its length, once the length is known.
    fn claimed(&self) -> Result<Option<usize>, FrameError> {
        self.frame_length(&self.partial)
    }

    fn frame_length(&self, data: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(length) = data.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*length);
        let bytes = usize::try_from(length).map_err(|_| FrameError::Negative(length))?;
        if bytes > self.max_frame_bytes {
            return Err(FrameError::TooLarge {
                length,
                max_bytes: self.max_frame_bytes,
            });
        }
        Ok(Some(LENGTH_BYTES + bytes))
    }

    /// Number of leading bytes that are whole frames.
    fn whole_frames(&self, data: &[u8]) -> Result<usize, FrameError> {
        let mut end = 0;
        while let Some(total) = self.frame_length(&data[end..])? {
            if data.len() - end < total {
                break;
            }
            end += total;
        }
        Ok(end)
    }

    /// Appends to the unfinished frame; capacity doubles, and never passes the frame's end.
    fn extend(&mut self, data: &[u8]) {
        let needed = self.partial.len() + data.len();
        if needed > self.partial.capacity() {
            let claimed = self.claimed().ok().flatten().unwrap_or(usize::MAX);
            let roomy = (needed * 2).max(FIRST_BUFFER_BYTES).min(claimed).max(needed);
            self.partial.reserve(roomy - self.partial.len());
        }
        self.partial.extend_from_slice(data);
    }
}

/// Hands out the frames of a buffer that holds only whole ones.
fn emit_all(mut whole: Bytes, frame: &mut impl FnMut(Bytes)) {
    while let Some(length) = whole.first_chunk::<LENGTH_BYTES>() {
        let length = i32::from_be_bytes(*length) as usize;
        let mut one = whole.split_to(LENGTH_BYTES + length);
        frame(one.split_off(LENGTH_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as i32).to_be_bytes().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    fn cut(framer: &mut Framer, data: &[u8]) -> Result<Vec<Bytes>, FrameError> {
        let mut frames = Vec::new();
        framer.feed(data, |frame| frames.push(frame)).map(|()| frames)
    }

    #[test]
    fn claims_cost_nothing_until_bytes_arrive() {
        let mut framer = Framer::new(100 << 20);
        let mut data = (99i32 << 20).to_be_bytes().to_vec();
        data.resize(1024, 7);
        assert_eq!(cut(&mut framer, &data), Ok(vec![]));
        assert_eq!(framer.partial_bytes(), 1024);
        assert_eq!(framer.missing_bytes(), (99 << 20) + 4 - 1024);
        assert_eq!(framer.partial_buffer_bytes(), framer.partial.capacity());
        assert!(framer.partial.capacity() <= 2048, "{}", framer.partial.capacity());
    }

    #[test]
    fn bad_lengths_are_refused_as_soon_as_they_are_known() {
        let mut framer = Framer::new(100);
        assert_eq!(cut(&mut framer, &[0xff, 0xff]), Ok(vec![]));
        assert_eq!(cut(&mut framer, &[0xff, 0xff]), Err(FrameError::Negative(-1)));
        let error = FrameError::TooLarge {
            length: 101,
            max_bytes: 100,
        };
        assert_eq!(cut(&mut Framer::new(100), &101i32.to_be_bytes()), Err(error));
        assert_eq!(
            cut(&mut Framer::new(100), &framed(&[1; 100])).map(|f| f.len()),
            Ok(1)
        );
    }

    #[test]
    fn an_empty_frame_is_a_frame() {
        assert_eq!(
            cut(&mut Framer::new(100), &[0; 8]),
            Ok(vec![Bytes::new(), Bytes::new()])
        );
        let mut framer = Framer::new(100);
        let frames: usize = (0..8)
            .map(|_| cut(&mut framer, &[0]).map_or(0, |f| f.len()))
            .sum();
        assert_eq!(frames, 2);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_frames(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..8),
            steps in proptest::collection::vec(1usize..2000, 1..20),
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|p| framed(p)).collect();
            let mut framer = Framer::new(1 << 20);
            let (mut frames, mut rest) = (Vec::new(), &stream[..]);
            for step in steps.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*step).min(rest.len()));
                framer.feed(now, |frame| frames.push(frame.to_vec())).map_err(|e| TestCaseError::fail(e.to_string()))?;
                rest = later;
            }
            prop_assert_eq!(frames, payloads);
            prop_assert_eq!(framer.partial_bytes(), 0);
        }
    }
}
