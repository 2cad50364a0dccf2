//! Frames: an int32 length, then that many bytes.
//!
//! [`Frames`] cuts what a socket delivers into frames; the functions below it put headers and messages
//! together for those who have a whole message in hand.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::api::{Api, Request};
use super::error::Result as WireResult;
use super::header::{RequestHeader, ResponseHeader};
use super::primitives::Decoder;
use super::schema::Message;

/// Bytes of the length before a frame.
pub const PREFIX_BYTES: usize = 4;

/// Bytes reserved as soon as a frame announces itself; beyond them the buffer grows as bytes arrive.
const RESERVE_BYTES: usize = 1 << 20;

/// Why a connection cannot go on: after a wrong length no later frame can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length is negative.
    Negative(i32),
    /// The frame is larger than `socket.request.max.bytes`.
    TooLarge {
        /// The length announced, in bytes.
        size_bytes: usize,
        /// The length allowed.
        max_bytes: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negative(length) => write!(f, "a request of {length} bytes"),
            Self::TooLarge {
                size_bytes,
                max_bytes,
            } => {
                write!(
                    f,
                    "a request of {size_bytes} bytes, socket.request.max.bytes is {max_bytes}"
                )
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// The length of a frame, the prefix not counted.
///
/// # Errors
/// [`FrameError`]: negative, or above `max_bytes`.
pub fn frame_bytes(prefix: [u8; PREFIX_BYTES], max_bytes: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    let size_bytes = usize::try_from(length).map_err(|_| FrameError::Negative(length))?;
    if size_bytes > max_bytes {
        Err(FrameError::TooLarge {
            size_bytes,
            max_bytes,
        })
    } else {
        Ok(size_bytes)
    }
}

/// Cuts a stream of bytes into frames.
///
/// Frames that arrive together share one allocation, which lives as long as the last of them.
#[derive(Debug)]
pub struct Frames {
    buffer: BytesMut,
    max_bytes: usize,
}

impl Frames {
    /// An empty stream whose frames are at most `max_bytes` long.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_bytes,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes taken but not given out.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The next frame, without its prefix, once all of it has arrived.
    ///
    /// # Errors
    /// [`FrameError`]; the connection must be closed.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk() else {
            return Ok(None);
        };
        let total_bytes = PREFIX_BYTES + frame_bytes(*prefix, self.max_bytes)?;
        if self.buffer.len() < total_bytes {
            let missing_bytes = total_bytes - self.buffer.len();
            self.buffer.reserve(missing_bytes.min(RESERVE_BYTES));
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(total_bytes).freeze();
        Ok(Some(frame.split_off(PREFIX_BYTES)))
    }
}

/// Starts a frame; [`close_frame`] fills in its length.
pub fn open_frame() -> Vec<u8> {
    vec![0; PREFIX_BYTES]
}

/// Writes the length of a frame whose last `outside_bytes` are sent from elsewhere.
pub fn close_frame(mut frame: Vec<u8>, outside_bytes: usize) -> Bytes {
    let length = (frame.len() - PREFIX_BYTES + outside_bytes) as u32;
    frame[..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    frame.into()
}

/// A whole request: length, header, message.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Bytes {
    let mut frame = open_frame();
    let client_id = client_id.map(str::to_owned);
    RequestHeader {
        api_key: R::KEY,
        api_version: version,
        correlation_id,
        client_id,
    }
    .encode(&mut frame);
    request.encode_as(&mut frame, version);
    close_frame(frame, 0)
}

/// A whole response: length, header, message.
pub fn encode_response<R: Request>(response: &R::Response, version: i16, correlation_id: i32) -> Bytes {
    let mut frame = open_frame();
    ResponseHeader { correlation_id }.encode(&mut frame, Api::of::<R>().response_header(version));
    response.encode_as(&mut frame, version);
    close_frame(frame, 0)
}

/// Reads a response frame, its prefix gone: the correlation id and the message.
///
/// # Errors
/// Whatever is malformed.
pub fn decode_response<R: Request>(frame: &Bytes, version: i16) -> WireResult<(i32, R::Response)> {
    let mut from = Decoder::new(frame);
    let header = ResponseHeader::decode(&mut from, Api::of::<R>().response_header(version))?;
    Ok((header.correlation_id, R::Response::decode_as(&mut from, version)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};

    #[test]
    fn frames_come_out_however_they_went_in() {
        let stream = [&[0, 0, 0, 3, 1, 2, 3][..], &[0, 0, 0, 0], &[0, 0, 0, 1, 9]].concat();
        for step in 1..=stream.len() {
            let mut frames = Frames::new(3);
            let mut out = Vec::new();
            for chunk in stream.chunks(step) {
                frames.push(chunk);
                while let Some(frame) = frames.next_frame().unwrap_or_default() {
                    out.push(frame.to_vec());
                }
            }
            assert_eq!(out, [vec![1, 2, 3], vec![], vec![9]], "in steps of {step}");
            assert_eq!(frames.buffered_bytes(), 0);
        }
    }

    #[test]
    fn wrong_lengths_end_the_stream() {
        let fails = |prefix: i32| {
            let mut frames = Frames::new(100);
            frames.push(&prefix.to_be_bytes());
            frames.next_frame().err()
        };
        assert_eq!(fails(-1), Some(FrameError::Negative(-1)));
        assert_eq!(
            fails(101),
            Some(FrameError::TooLarge {
                size_bytes: 101,
                max_bytes: 100
            })
        );
        assert_eq!(fails(100), None);
    }

    #[test]
    fn a_claimed_length_reserves_little() {
        let mut frames = Frames::new(i32::MAX as usize);
        frames.push(&i32::MAX.to_be_bytes());
        assert_eq!(frames.next_frame(), Ok(None));
        assert!(frames.buffer.capacity() <= 2 * RESERVE_BYTES);
    }

    #[test]
    fn whole_messages_round_trip() {
        let request = ApiVersionsRequest {
            client_software_name: "ringlog".to_owned(),
            ..Default::default()
        };
        let mut frames = Frames::new(1000);
        frames.push(&encode_request(&request, 3, 5, Some("me")));
        let frame = frames.next_frame().unwrap_or_default().unwrap_or_default();
        let mut from = Decoder::new(&frame);
        assert_eq!(
            RequestHeader::decode(&mut from).map(|header| header.correlation_id),
            Ok(5)
        );
        assert_eq!(ApiVersionsRequest::decode(&mut from, 3), Ok(request));

        let response = ApiVersionsResponse {
            throttle_time_ms: 4,
            ..Default::default()
        };
        let frame = encode_response::<ApiVersionsRequest>(&response, 3, 5).slice(PREFIX_BYTES..);
        assert_eq!(
            decode_response::<ApiVersionsRequest>(&frame, 3),
            Ok((5, response))
        );
    }
}
