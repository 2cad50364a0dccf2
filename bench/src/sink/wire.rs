//! The wire by hand, for the two requests that are hot: a cursor over what came, and frames under construction.

use std::io;

/// The peer sent what we do not understand, and loses its connection.
pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads a request front to back. Every method fails at the end of the bytes and never looks past it.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// Whether lengths are unsigned varints of one more, and tagged fields follow each structure.
    flexible: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(rest: &'a [u8], flexible: bool) -> Cursor<'a> {
        Cursor { rest, flexible }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, bytes: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(bytes)
            .ok_or_else(|| malformed("a request cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn i16(&mut self) -> io::Result<i16> {
        let bytes = self.take(2)?.try_into();
        Ok(i16::from_be_bytes(bytes.unwrap_or_default()))
    }

    pub(super) fn i32(&mut self) -> io::Result<i32> {
        let bytes = self.take(4)?.try_into();
        Ok(i32::from_be_bytes(bytes.unwrap_or_default()))
    }

    fn varint(&mut self) -> io::Result<u32> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| malformed("a length above 32 bits"));
            }
        }
        Err(malformed("a length without an end"))
    }

    /// A string with a length of two bytes in every version: the client id.
    pub(super) fn skip_short_string(&mut self) -> io::Result<()> {
        if let Ok(bytes) = usize::try_from(self.i16()?) {
            self.take(bytes)?;
        }
        Ok(())
    }

    /// A string, `None` for null.
    pub(super) fn string(&mut self) -> io::Result<Option<&'a str>> {
        let length = match self.flexible {
            true => i64::from(self.varint()?) - 1,
            false => i64::from(self.i16()?),
        };
        let Ok(bytes) = usize::try_from(length) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(self.take(bytes)?);
        text.map(Some)
            .map_err(|_| malformed("a string that is not UTF-8"))
    }

    /// Bytes, `None` for null.
    pub(super) fn bytes(&mut self) -> io::Result<Option<&'a [u8]>> {
        match self.length()? {
            Some(bytes) => self.take(bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Elements of an array; null counts as empty.
    pub(super) fn count(&mut self) -> io::Result<usize> {
        Ok(self.length()?.unwrap_or(0))
    }

    fn length(&mut self) -> io::Result<Option<usize>> {
        let length = match self.flexible {
            true => i64::from(self.varint()?) - 1,
            false => i64::from(self.i32()?),
        };
        Ok(usize::try_from(length).ok())
    }

    /// The tagged fields after a structure, which we know none of.
    pub(super) fn skip_tags(&mut self) -> io::Result<()> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let bytes = self.varint()?;
            self.take(bytes as usize)?;
        }
        Ok(())
    }
}

/// Appends an answer to a buffer that may hold others already.
pub(super) struct Frame<'a> {
    out: &'a mut Vec<u8>,
    flexible: bool,
    start: usize,
}

impl<'a> Frame<'a> {
    /// Begins an answer with room for its length. `flexible` is that of the body; an answer with such a body has tagged fields
    /// in its header too.
    pub(super) fn begin(out: &'a mut Vec<u8>, correlation_id: i32, flexible: bool) -> Frame<'a> {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&correlation_id.to_be_bytes());
        let mut frame = Frame { out, flexible, start };
        frame.tags();
        frame
    }

    /// Fills the length in. Without it the frame must not be sent.
    pub(super) fn end(self) -> io::Result<()> {
        let bytes = self.out.len() - self.start - 4;
        let bytes = i32::try_from(bytes).map_err(|_| malformed("an answer above 2 GiB"))?;
        self.out[self.start..self.start + 4].copy_from_slice(&bytes.to_be_bytes());
        Ok(())
    }

    /// Takes back all that was written since [`Frame::begin`].
    pub(super) fn abandon(self) {
        self.out.truncate(self.start);
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    /// The number of elements, or of bytes, that follow.
    pub(super) fn count(&mut self, count: usize) {
        match self.flexible {
            true => self.varint(count + 1),
            // A request of 128 MiB cannot hold more elements than this.
            false => self.i32(i32::try_from(count).unwrap_or(i32::MAX)),
        }
    }

    /// A string that came in a request, and so fits.
    pub(super) fn string(&mut self, text: &str) {
        match self.flexible {
            true => self.varint(text.len() + 1),
            false => self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX)),
        }
        self.raw(text.as_bytes());
    }

    pub(super) fn null_string(&mut self) {
        match self.flexible {
            true => self.varint(0),
            false => self.i16(-1),
        }
    }

    /// No tagged fields, where a version has room for them.
    pub(super) fn tags(&mut self) {
        if self.flexible {
            self.out.push(0);
        }
    }
}
