//! Kafka's 128-bit ids: topics, directories, incarnations.
//!
//! Written as 22 characters of URL-safe base64 without padding, as Kafka's tools and `meta.properties` do.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::Result;
use super::field::{Field, Shape};
use super::primitives::Decoder;

/// A 128-bit id; all zeros means "none".
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// No id: what a field holds that does not apply.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UuidError;

impl fmt::Display for UuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id: 22 characters of URL-safe base64 are")
    }
}

impl std::error::Error for UuidError {}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> std::result::Result<Self, UuidError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|_| UuidError)?;
        bytes.try_into().map(Self).map_err(|_| UuidError)
    }
}

impl Field for Uuid {
    const MIN_BYTES: usize = 16;
    const FIXED: bool = true;

    fn read(from: &mut Decoder<'_>, shape: Shape) -> Result<Self> {
        let high = i64::read(from, shape)?.to_be_bytes();
        let low = i64::read(from, shape)?.to_be_bytes();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&high);
        id[8..].copy_from_slice(&low);
        Ok(Self(id))
    }

    fn write(&self, out: &mut Vec<u8>, _: Shape) {
        out.extend_from_slice(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kafkas() {
        let one = Uuid(u128::to_be_bytes(1));
        assert_eq!(one.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(one));
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ==".parse(), Ok(one));
        for text in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAA+/", "AAAAAAAAAAAAAAAAAAAAAQAAAA"] {
            assert_eq!(text.parse::<Uuid>(), Err(UuidError), "{text}");
        }
    }
}
