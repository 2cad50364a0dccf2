//! The bytes beneath every message: numbers, strings, arrays, tagged fields, and the limits of what a peer may claim.
//!
//! Two encodings exist side by side. Classic: a string's length is an int16, everything else's an int32, and -1
//! means null. Flexible (KIP-482): a length is an unsigned varint of length + 1, 0 means null, and every struct
//! ends with tagged fields. [`Shape`] says which one applies, and [`Field`] is implemented by every type a message
//! may hold.
//!
//! Nothing here trusts a length. It is compared with the bytes that are left before it is used, and memory is
//! reserved by what has arrived, never by what was claimed.

use std::fmt;

use bytes::Bytes;

/// Elements one array may hold; Kafka 4.4 has the same limit.
///
/// It also bounds all arrays of a message together, fixed-size numbers excepted: a decoded string or struct is
/// many times larger than the one or two bytes it may cost on the wire.
pub const MAX_ELEMENTS: usize = 1_000_000;

/// Tagged fields one struct may carry; Kafka 4.4 has the same limit.
pub const MAX_TAGS: usize = 10_000;

/// Bytes of the longest string, in both encodings.
pub const MAX_STRING_BYTES: usize = i16::MAX as usize;

/// Bytes reserved for an array before any of its elements has been read.
const RESERVE_BYTES: usize = 4096;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The message ends before the field does.
    Truncated {
        /// Bytes the field needs.
        wanted: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A length below -1, or below 0 where null is not allowed.
    NegativeLength(i32),
    /// A field is null in a version that does not allow it.
    Null,
    /// A string is longer than [`MAX_STRING_BYTES`].
    LongString(usize),
    /// A string is not UTF-8.
    NotUtf8,
    /// A varint that goes on after its last possible byte.
    LongVarint,
    /// More elements than a message may hold, or than its bytes can.
    TooManyElements(usize),
    /// More than [`MAX_TAGS`] tagged fields in one struct.
    TooManyTags(usize),
    /// Bytes follow where the message should end.
    BytesLeft(usize),
    /// A known tagged field does not fill the size it was announced with.
    TagSize(u32),
    /// This message has no such version.
    UnsupportedVersion {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// No message has this number.
    UnknownType(i32),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { wanted, left } => write!(f, "a field of {wanted} bytes where {left} are left"),
            Self::NegativeLength(length) => write!(f, "a length of {length}"),
            Self::Null => f.write_str("null where a value is required"),
            Self::LongString(length) => write!(f, "a string of {length} bytes, at most {MAX_STRING_BYTES}"),
            Self::NotUtf8 => f.write_str("a string that is not UTF-8"),
            Self::LongVarint => f.write_str("a varint without end"),
            Self::TooManyElements(count) => write!(f, "an array of {count} elements, more than can be there"),
            Self::TooManyTags(count) => write!(f, "{count} tagged fields, at most {MAX_TAGS}"),
            Self::BytesLeft(left) => write!(f, "{left} bytes after the end of the message"),
            Self::TagSize(tag) => write!(f, "tagged field {tag} does not fill its size"),
            Self::UnsupportedVersion { message, version } => write!(f, "{message} has no version {version}"),
            Self::UnknownType(number) => write!(f, "no message has the number {number}"),
        }
    }
}

impl std::error::Error for WireError {}

/// What decoding gives.
pub type Result<T> = std::result::Result<T, WireError>;

/// A version, and whether its encoding is the flexible one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The message's version.
    pub version: i16,
    /// Compact lengths and tagged fields.
    pub flexible: bool,
}

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

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
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
    fn get_str(&mut self, count: usize) -> Result<&'a str> {
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
    fn get_string_length(&mut self, flexible: bool) -> Result<Option<usize>> {
        if flexible {
            self.get_length(true)
        } else {
            length_of(i32::from(self.get_i16()?))
        }
    }

    /// Checks an array's count against the bytes left and the limits, before anything is reserved for it.
    fn admit(&mut self, count: usize, min_bytes: usize, fixed: bool) -> Result<()> {
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

fn put_str(out: &mut Vec<u8>, text: Option<&str>, flexible: bool) {
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

/// A type a message may hold.
pub trait Field: Sized {
    /// Bytes the smallest value takes, in any version and encoding.
    const MIN_BYTES: usize = 1;

    /// A number or an id: as large in memory as on the wire.
    const FIXED: bool = false;

    /// Reads one value.
    fn read(from: &mut Decoder<'_>, shape: Shape) -> Result<Self>;

    /// Appends one value. What the format cannot carry is left out: a string is cut to [`MAX_STRING_BYTES`].
    fn write(&self, out: &mut Vec<u8>, shape: Shape);
}

macro_rules! numbers {
    ($($number:ty)*) => { $(
        impl Field for $number {
            const MIN_BYTES: usize = size_of::<$number>();
            const FIXED: bool = true;

            fn read(from: &mut Decoder<'_>, _: Shape) -> Result<Self> {
                Ok(<$number>::from_be_bytes(from.array()?))
            }

            fn write(&self, out: &mut Vec<u8>, _: Shape) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )* };
}

numbers! { i8 i16 u16 i32 u32 i64 f64 }

impl Field for bool {
    const FIXED: bool = true;

    fn read(from: &mut Decoder<'_>, _: Shape) -> Result<Self> {
        Ok(from.get_u8()? != 0)
    }

    fn write(&self, out: &mut Vec<u8>, _: Shape) {
        out.push(u8::from(*self));
    }
}

impl Field for String {
    fn read(from: &mut Decoder<'_>, shape: Shape) -> Result<Self> {
        let length = from.get_string_length(shape.flexible)?.ok_or(WireError::Null)?;
        Ok(from.get_str(length)?.to_owned())
    }

    fn write(&self, out: &mut Vec<u8>, shape: Shape) {
        put_str(out, Some(self), shape.flexible);
    }
}

impl Field for Option<String> {
    fn read(from: &mut Decoder<'_>, shape: Shape) -> Result<Self> {
        let Some(length) = from.get_string_length(shape.flexible)? else {
            return Ok(None);
        };
        Ok(Some(from.get_str(length)?.to_owned()))
    }

    fn write(&self, out: &mut Vec<u8>, shape: Shape) {
        put_str(out, self.as_deref(), shape.flexible);
    }
}

impl Field for Bytes {
    fn read(from: &mut Decoder<'_>, shape: Shape) -> Result<Self> {
        Option::<Bytes>::read(from, shape)?.ok_or(WireError::Null)
    }

    fn write(&self, out: &mut Vec<u8>, shape: Shape) {
        put_length(out, Some(self.len()), shape.flexible);
        out.extend_from_slice(self);
    }
}

impl Field for Option<Bytes> {
    fn read(from: &mut Decoder<'_>, shape: Shape) -> Result<Self> {
        from.get_length(shape.flexible)?
            .map(|length| from.get_slice(length))
            .transpose()
    }

    fn write(&self, out: &mut Vec<u8>, shape: Shape) {
        match self {
            Some(bytes) => bytes.write(out, shape),
            None => put_length(out, None, shape.flexible),
        }
    }
}

impl<T: Field> Field for Option<Vec<T>> {
    fn read(from: &mut Decoder<'_>, shape: Shape) -> Result<Self> {
        let Some(count) = from.get_length(shape.flexible)? else {
            return Ok(None);
        };
        from.admit(count, T::MIN_BYTES, T::FIXED)?;
        let mut elements = Vec::with_capacity(count.min(RESERVE_BYTES / size_of::<T>().max(1)));
        for _ in 0..count {
            elements.push(T::read(from, shape)?);
        }
        Ok(Some(elements))
    }

    fn write(&self, out: &mut Vec<u8>, shape: Shape) {
        match self {
            Some(elements) => elements.write(out, shape),
            None => put_length(out, None, shape.flexible),
        }
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(from: &mut Decoder<'_>, shape: Shape) -> Result<Self> {
        Option::<Vec<T>>::read(from, shape)?.ok_or(WireError::Null)
    }

    fn write(&self, out: &mut Vec<u8>, shape: Shape) {
        put_length(out, Some(self.len()), shape.flexible);
        for element in self {
            element.write(out, shape);
        }
    }
}

/// Reads a field that may be null in some versions only.
pub fn read_nullable<T>(from: &mut Decoder<'_>, shape: Shape, nullable: bool) -> Result<Option<T>>
where
    Option<T>: Field,
{
    let value = Option::<T>::read(from, shape)?;
    if value.is_none() && !nullable {
        Err(WireError::Null)
    } else {
        Ok(value)
    }
}

/// Writes a field that may be null in some versions only; in the others null becomes empty.
pub fn write_nullable<T: Field + Default>(value: &Option<T>, out: &mut Vec<u8>, shape: Shape, nullable: bool)
where
    Option<T>: Field,
{
    if value.is_none() && !nullable {
        T::default().write(out, shape);
    } else {
        value.write(out, shape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSIC: Shape = Shape {
        version: 0,
        flexible: false,
    };
    const FLEXIBLE: Shape = Shape {
        version: 9,
        flexible: true,
    };

    fn read<T: Field>(bytes: &[u8], shape: Shape) -> Result<T> {
        T::read(&mut Decoder::new(&Bytes::copy_from_slice(bytes)), shape)
    }

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
    fn claimed_counts_reserve_nothing() {
        let claim = i32::MAX.to_be_bytes();
        assert_eq!(
            read::<Vec<String>>(&claim, CLASSIC),
            Err(WireError::TooManyElements(i32::MAX as usize))
        );
        assert_eq!(
            read::<Vec<i64>>(&[3, 0, 0, 0], FLEXIBLE),
            Err(WireError::TooManyElements(2))
        );
        assert_eq!(
            read::<Bytes>(&claim, CLASSIC),
            Err(WireError::Truncated {
                wanted: i32::MAX as usize,
                left: 0
            })
        );
    }

    #[test]
    fn all_arrays_of_a_message_share_one_limit() {
        let mut bytes = Vec::new();
        for _ in 0..2 {
            put_uvarint(&mut bytes, 600_001);
            bytes.resize(bytes.len() + 600_000, 1);
        }
        let bytes = Bytes::from(bytes);
        let mut from = Decoder::new(&bytes);
        assert_eq!(
            Vec::<String>::read(&mut from, FLEXIBLE).map(|names| names.len()),
            Ok(600_000)
        );
        assert_eq!(
            Vec::<String>::read(&mut from, FLEXIBLE),
            Err(WireError::TooManyElements(600_000))
        );
    }

    #[test]
    fn negative_lengths_are_null_or_nonsense() {
        assert_eq!(read::<Option<String>>(&(-1i16).to_be_bytes(), CLASSIC), Ok(None));
        assert_eq!(
            read::<String>(&(-1i16).to_be_bytes(), CLASSIC),
            Err(WireError::Null)
        );
        assert_eq!(
            read::<Option<String>>(&(-2i16).to_be_bytes(), CLASSIC),
            Err(WireError::NegativeLength(-2))
        );
        assert_eq!(
            read::<Option<Vec<i8>>>(&(-7i32).to_be_bytes(), CLASSIC),
            Err(WireError::NegativeLength(-7))
        );
        assert_eq!(read::<Option<Bytes>>(&[0], FLEXIBLE), Ok(None));
    }

    #[test]
    fn strings_are_utf8_and_bounded() {
        assert_eq!(
            read::<String>(&[3, 0xc3, 0x28], FLEXIBLE),
            Err(WireError::NotUtf8)
        );
        let mut out = Vec::new();
        "é".repeat(20_000).write(&mut out, CLASSIC);
        assert_eq!(
            out.len(),
            2 + 32_766,
            "cut before the character that would be split"
        );
        let mut long = Vec::new();
        put_uvarint(&mut long, 40_001);
        long.resize(40_010, b'a');
        assert_eq!(
            read::<String>(&long, FLEXIBLE),
            Err(WireError::LongString(40_000))
        );
    }

    #[test]
    fn byte_fields_are_slices_of_the_frame() {
        let frame = Bytes::from_static(&[4, 7, 8, 9]);
        let field = Bytes::read(&mut Decoder::new(&frame), FLEXIBLE).unwrap_or_default();
        assert_eq!(field.as_ptr(), frame[1..].as_ptr());
    }

    #[test]
    fn null_becomes_empty_where_it_is_not_allowed() {
        let mut out = Vec::new();
        write_nullable(&None::<Vec<i32>>, &mut out, CLASSIC, false);
        assert_eq!(out, [0, 0, 0, 0]);
        let frame = Bytes::from_static(&[0]);
        assert_eq!(
            read_nullable::<Bytes>(&mut Decoder::new(&frame), FLEXIBLE, false),
            Err(WireError::Null)
        );
    }
}
