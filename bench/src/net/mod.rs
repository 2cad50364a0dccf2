//! Length-prefixed frames over tokio-uring sockets, for both ends: the client and the sink; and the rings they are on.

use std::io;
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

/// What the first read asks for: small answers come several to a read.
const READ_BYTES: usize = 64 << 10;
/// What a read asks for at most, after reads that brought all they asked for.
const MAX_READ_BYTES: usize = 1 << 20;
/// Bytes of a frame's length.
const PREFIX_BYTES: usize = 4;

/// What a ring is made with. A peer's send must not interrupt a thread that runs: it finds what has come when it next enters
/// the kernel. Kernels before 5.19 know no such ring and get a plain one.
pub fn ring(entries: u32) -> tokio_uring::Builder {
    let mut cooperative = tokio_uring::uring_builder();
    cooperative.setup_coop_taskrun();
    let mut builder = tokio_uring::builder();
    if cooperative.build(8).is_ok() {
        builder.uring_builder(&cooperative);
    }
    builder.entries(entries);
    builder
}

/// The receiving half of a connection: whole frames, each without its four length bytes.
pub struct FrameReader {
    stream: Rc<TcpStream>,
    buffer: BytesMut,
    read_bytes: usize,
    max_frame_bytes: usize,
}

impl FrameReader {
    /// Frames longer than `max_frame_bytes` are an error, so that a peer which is no Kafka cannot make us reserve gigabytes.
    pub fn new(stream: Rc<TcpStream>, max_frame_bytes: usize) -> FrameReader {
        FrameReader {
            stream,
            buffer: BytesMut::with_capacity(READ_BYTES),
            read_bytes: READ_BYTES,
            max_frame_bytes,
        }
    }

    /// The next frame; `None` when the peer closed between two frames.
    ///
    /// # Errors
    /// The socket's; `UnexpectedEof` for a frame cut short, `InvalidData` for a length that is negative or above the limit.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if !self.ready().await? {
            return Ok(None);
        }
        let bytes = self.held()?.unwrap_or(self.buffer.len());
        let mut frame = self.buffer.split_to(bytes);
        Ok(Some(frame.split_off(PREFIX_BYTES).freeze()))
    }

    /// Waits until a whole frame is held; false when the peer closed between two frames.
    ///
    /// # Errors
    /// As [`FrameReader::next`].
    pub async fn ready(&mut self) -> io::Result<bool> {
        if !self.fill(PREFIX_BYTES).await? {
            return Ok(false);
        }
        let bytes = PREFIX_BYTES + self.length()?;
        self.fill(bytes).await?;
        Ok(true)
    }

    /// Hands the frames that are held to `each`, without waiting and without a copy, until it returns false.
    ///
    /// # Errors
    /// `InvalidData` as [`FrameReader::next`].
    pub fn drain(&mut self, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        while let Some(bytes) = self.held()? {
            let go_on = each(&self.buffer[PREFIX_BYTES..bytes]);
            self.buffer.advance(bytes);
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    /// The length of the first frame with its prefix, if it is there as a whole.
    fn held(&self) -> io::Result<Option<usize>> {
        if self.buffer.len() < PREFIX_BYTES {
            return Ok(None);
        }
        let bytes = PREFIX_BYTES + self.length()?;
        Ok((self.buffer.len() >= bytes).then_some(bytes))
    }

    /// What the first four bytes say, which must be there.
    fn length(&self) -> io::Result<usize> {
        let prefix: [u8; PREFIX_BYTES] = self.buffer[..PREFIX_BYTES].try_into().unwrap_or_default();
        let said = i32::from_be_bytes(prefix);
        usize::try_from(said)
            .ok()
            .filter(|length| *length <= self.max_frame_bytes)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the peer announced a frame of {said} bytes"),
                )
            })
    }

    /// Reads until `bytes` are buffered; false when the peer closed with nothing buffered.
    async fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.buffer.len() < bytes {
            let held = self.buffer.len();
            self.buffer.reserve((bytes - held).max(self.read_bytes));
            let asked = self.buffer.capacity() - held;
            let buffer = std::mem::take(&mut self.buffer);
            let (read, slice) = self.stream.read(buffer.slice(held..)).await;
            self.buffer = slice.into_inner();
            match read? {
                0 if held == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read if read == asked => self.read_bytes = (asked * 2).min(MAX_READ_BYTES),
                _ => {}
            }
        }
        Ok(true)
    }
}
