//! Length-prefixed frames over tokio-uring sockets, for both ends: the client and the sink.

use std::io;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

/// What a read asks for at least: small answers come several to a read.
const READ_BYTES: usize = 64 << 10;

/// The receiving half of a connection: whole frames, each without its four length bytes.
pub struct FrameReader {
    stream: Rc<TcpStream>,
    buffer: BytesMut,
    max_frame_bytes: usize,
}

impl FrameReader {
    /// Frames longer than `max_frame_bytes` are an error, so that a peer which is no Kafka cannot make us reserve gigabytes.
    pub fn new(stream: Rc<TcpStream>, max_frame_bytes: usize) -> FrameReader {
        FrameReader {
            stream,
            buffer: BytesMut::with_capacity(READ_BYTES),
            max_frame_bytes,
        }
    }

    /// The next frame; `None` when the peer closed between two frames.
    ///
    /// # Errors
    /// The socket's; `UnexpectedEof` for a frame cut short, `InvalidData` for a length that is negative or above the limit.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let prefix: [u8; 4] = self.buffer[..4].try_into().unwrap_or_default();
        let length = usize::try_from(i32::from_be_bytes(prefix))
            .ok()
            .filter(|length| *length <= self.max_frame_bytes)
            .ok_or_else(|| {
                let said = i32::from_be_bytes(prefix);
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the peer announced a frame of {said} bytes"),
                )
            })?;
        if !self.fill(4 + length).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut frame = self.buffer.split_to(4 + length);
        Ok(Some(frame.split_off(4).freeze()))
    }

    /// Reads until `bytes` are buffered; false when the peer closed with nothing buffered.
    async fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.buffer.len() < bytes {
            let held = self.buffer.len();
            self.buffer.reserve((bytes - held).max(READ_BYTES));
            let buffer = std::mem::take(&mut self.buffer);
            let (read, slice) = self.stream.read(buffer.slice(held..)).await;
            self.buffer = slice.into_inner();
            match read? {
                0 if held == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
        Ok(true)
    }
}
