//! The bytes beneath every message: numbers, strings, arrays, tagged fields, and the limits of what a peer
//! may claim.
//!
//! Two encodings exist side by side. Classic: a string's length is an int16, everything else's an int32, and
//! -1 means null. Flexible (KIP-482): a length is an unsigned varint of length + 1, 0 means null, and every
//! struct ends with tagged fields. [`Field`](super::field::Field) is what stands above: a type a message may
//! hold.
//!
//! Nothing here trusts a length. It is compared with the bytes that are left before it is used, and memory is
//! reserved by what has arrived, never by what was claimed.

use bytes::Bytes;

use super::error::{Result, WireError};

/// Elements one array may hold; Kafka 4.4 has the same limit.
///
/// It also bounds all arrays of a message together, fixed-size numbers excepted: a decoded string or struct
/// is many times larger than the one or two bytes it may cost on the wire.
pub const MAX_ELEMENTS: usize = 1_000_000;

/// Tagged fields one struct may carry; Kafka 4.4 has the same limit.
pub const MAX_TAGS: usize = 10_000;

/// Bytes of the longest string, in both encodings.
pub const MAX_STRING_BYTES: usize = i16::MAX as usize;

/// Reads a message from front to back. Bytes and records fields come out as slices of the frame.
#[derive(Debug)]
pub struct Decoder<'a> {
    frame: &'a Bytes,
    position: usize,
    elements_left: usize,
}

impl<'a> Decoder<'a> {
    /// At the first byte of `frame`.
    pub fn new(frame: &'a Bytes) -> Self {
        Self {
            frame,
            position: 0,
            elements_left: MAX_ELEMENTS,
        }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.position
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Checks that every byte has been read.
    ///
    /// # Errors
    /// [`WireError::BytesLeft`].
    pub fn finish(&self) -> Result<()> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(WireError::BytesLeft(left)),
        }
    }

    fn advance(&mut self, count: usize) -> Result<&'a [u8]> {
        let left = self.remaining();
        if count > left {
            return Err(WireError::Truncated { wanted: count, left });
        }
        let start = self.position;
        self.position += count;
        Ok(&self.frame[start..self.position])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.advance(N)?);
        Ok(bytes)
    }

    /// One byte.
    pub fn get_u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// An int8.
    pub fn get_i8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// An int16, most significant byte first, as all numbers.
    pub fn get_i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// An int32.
    pub fn get_i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// An int64.
    pub fn get_i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// An unsigned varint: seven bits a byte, the least significant first, at most five bytes.
    pub fn get_uvarint(&mut self) -> Result<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.get_u8()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::LongVarint)
    }

    /// The next `count` bytes, shared with the frame.
    pub fn get_slice(&mut self, count: usize) -> Result<Bytes> {
        let start = self.position;
        self.advance(count)?;
        Ok(self.frame.slice(start..self.position))
    }

    /// The next `count` bytes as text.
    pub(super) fn get_str(&mut self, count: usize) -> Result<&'a str> {
        if count > MAX_STRING_BYTES {
            return Err(WireError::LongString(count));
        }
        std::str::from_utf8(self.advance(count)?).map_err(|_| WireError::NotUtf8)
    }

    /// The length of a bytes field or the count of an array; `None` is null.
    pub fn get_length(&mut self, flexible: bool) -> Result<Option<usize>> {
        if flexible {
            return Ok((self.get_uvarint()? as usize).checked_sub(1));
        }
        length_of(self.get_i32()?)
    }

    /// The length of a string; `None` is null.
    pub(super) fn get_string_length(&mut self, flexible: bool) -> Result<Option<usize>> {
        if flexible {
            self.get_length(true)
        } else {
            length_of(i32::from(self.get_i16()?))
        }
    }

    /// Checks an array's count against the bytes left and the limits, before anything is reserved for it.
    pub(super) fn admit(&mut self, count: usize, min_bytes: usize, fixed: bool) -> Result<()> {
        if count > self.remaining() / min_bytes || count > MAX_ELEMENTS {
            return Err(WireError::TooManyElements(count));
        }
        if !fixed {
            self.elements_left = self
                .elements_left
                .checked_sub(count)
                .ok_or(WireError::TooManyElements(count))?;
        }
        Ok(())
    }

    /// How many tagged fields follow.
    pub fn get_tag_count(&mut self) -> Result<usize> {
        let count = self.get_uvarint()? as usize;
        if count > MAX_TAGS {
            Err(WireError::TooManyTags(count))
        } else {
            Ok(count)
        }
    }

    /// A tagged field's number, and the position where it ends.
    pub fn get_tag(&mut self) -> Result<(u32, usize)> {
        let tag = self.get_uvarint()?;
        let size = self.get_uvarint()? as usize;
        let left = self.remaining();
        if size > left {
            return Err(WireError::Truncated { wanted: size, left });
        }
        Ok((tag, self.position + size))
    }

    /// Checks that a known tagged field ended where it said it would.
    pub fn end_tag(&self, tag: u32, end: usize) -> Result<()> {
        if self.position == end {
            Ok(())
        } else {
            Err(WireError::TagSize(tag))
        }
    }

    /// Passes over an unknown tagged field; `end` comes from [`Decoder::get_tag`].
    pub fn skip_to(&mut self, end: usize) {
        self.position = end.clamp(self.position, self.frame.len());
    }

    /// Passes over a struct's tagged fields where none is known.
    pub fn skip_tags(&mut self) -> Result<()> {
        for _ in 0..self.get_tag_count()? {
            let (_, end) = self.get_tag()?;
            self.skip_to(end);
        }
        Ok(())
    }
}

/// Null is -1; anything below is nonsense.
fn length_of(length: i32) -> Result<Option<usize>> {
    match length {
        -1 => Ok(None),
        _ => usize::try_from(length)
            .map(Some)
            .map_err(|_| WireError::NegativeLength(length)),
    }
}

/// Appends an unsigned varint.
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the length of a bytes field or the count of an array; `None` is null.
pub fn put_length(out: &mut Vec<u8>, length: Option<usize>, flexible: bool) {
    if flexible {
        put_uvarint(out, length.map_or(0, |length| length as u32 + 1));
    } else {
        out.extend_from_slice(&length.map_or(-1, |length| length as i32).to_be_bytes());
    }
}

pub(super) fn put_str(out: &mut Vec<u8>, text: Option<&str>, flexible: bool) {
    let text = text.map(|text| &text[..text.floor_char_boundary(MAX_STRING_BYTES)]);
    if flexible {
        put_length(out, text.map(str::len), true);
    } else {
        out.extend_from_slice(&text.map_or(-1, |text| text.len() as i16).to_be_bytes());
    }
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

/// Appends a tagged field's number and says where its value starts; [`close_tag`] puts the size before it.
pub fn open_tag(out: &mut Vec<u8>, tag: u32) -> usize {
    put_uvarint(out, tag);
    out.len()
}

/// Inserts the size of the value that starts at `start`.
pub fn close_tag(out: &mut Vec<u8>, start: usize) {
    let mut size = Vec::with_capacity(5);
    put_uvarint(&mut size, (out.len() - start) as u32);
    out.splice(start..start, size);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_and_end() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX] {
            let mut out = Vec::new();
            put_uvarint(&mut out, value);
            assert_eq!(Decoder::new(&Bytes::from(out)).get_uvarint(), Ok(value));
        }
        let endless = Bytes::from_static(&[0xff; 6]);
        assert_eq!(Decoder::new(&endless).get_uvarint(), Err(WireError::LongVarint));
    }

    #[test]
    fn tags_are_bounded_and_fill_their_size() {
        let tags = |bytes: &'static [u8]| Decoder::new(&Bytes::from_static(bytes)).skip_tags();
        assert_eq!(tags(&[2, 0, 1, 9, 5, 0]), Ok(()));
        assert_eq!(
            tags(&[1, 0, 3, 9]),
            Err(WireError::Truncated { wanted: 3, left: 1 })
        );
        assert_eq!(tags(&[0x91, 0x4e]), Err(WireError::TooManyTags(10_001)));
        let bytes = Bytes::from_static(&[7, 2, 1, 1]);
        let mut from = Decoder::new(&bytes);
        let (tag, end) = from.get_tag().unwrap();
        assert_eq!(from.get_u8(), Ok(1));
        assert_eq!(from.end_tag(tag, end), Err(WireError::TagSize(7)));
    }
}
