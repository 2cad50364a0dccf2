//! Frames: an int32 length, then that many bytes. Cutting a socket's bytes into frames is `conn`'s.

use bytes::Bytes;

#[cfg(test)]
use super::{
    api::{Api, Request},
    header::ResponseHeader,
    schema::Message,
};

/// Bytes of the length before a frame.
pub const PREFIX_BYTES: usize = 4;

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

/// A whole response: length, header, message.
#[cfg(test)]
pub(super) fn encode_response<R: Request>(
    response: &R::Response,
    version: i16,
    correlation_id: i32,
) -> Bytes {
    let mut frame = open_frame();
    ResponseHeader { correlation_id }.encode(&mut frame, Api::of::<R>().response_header(version));
    response.encode_as(&mut frame, version);
    close_frame(frame, 0)
}
