//! What a message may hold: numbers, text, bytes, arrays, and how each is read and written.
//!
//! Structs join in through the macro in [`super::schema`]. Nothing is reserved by a claimed count: the
//! decoder first compares it with the bytes that are left.

use bytes::Bytes;

use super::error::{Result, WireError};
use super::primitives::{Decoder, put_length, put_str};

/// Bytes reserved for an array before any of its elements has been read.
const RESERVE_BYTES: usize = 4096;

/// A version, and whether its encoding is the flexible one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The message's version.
    pub version: i16,
    /// Compact lengths and tagged fields.
    pub flexible: bool,
}

/// A type a message may hold.
pub trait Field: Sized {
    /// Bytes the smallest value takes, in any version and encoding.
    const MIN_BYTES: usize = 1;

    /// A number or an id: as large in memory as on the wire.
    const FIXED: bool = false;

    /// Reads one value.
    fn read(from: &mut Decoder<'_>, shape: Shape) -> Result<Self>;

    /// Appends one value. What the format cannot carry is left out: a string is cut to
    /// [`MAX_STRING_BYTES`](super::primitives::MAX_STRING_BYTES).
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
    use crate::wire::primitives::put_uvarint;

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
