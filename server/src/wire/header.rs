//! The headers before requests and responses.
//!
//! ```text
//! request   | key int16 | version int16 | correlation int32 | client id: v1+ | tagged fields: v2 |
//! response  | correlation int32 | tagged fields: v1 |
//! ```
//! The client id keeps the classic int16 length even in v2.

use super::api::{Api, ApiKey};
use super::error::{Result, WireError};
use super::field::{Field, Shape};
use super::primitives::{Decoder, put_uvarint};

/// What every request starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The request's number.
    pub api_key: ApiKey,
    /// The version of the request that follows.
    pub api_version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

const CLASSIC: Shape = Shape {
    version: 1,
    flexible: false,
};

impl RequestHeader {
    /// Reads the header before any served request; which of v1 and v2 it is follows from key and version.
    ///
    /// The version is not checked: an ApiVersions request from the future must be answered, so compare with
    /// [`Api::serves`] afterwards.
    ///
    /// # Errors
    /// [`WireError::UnknownType`] when the request is not served, else whatever is malformed.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Self> {
        let key = from.get_i16()?;
        let api_key = ApiKey::try_from(key)?;
        let api = Api::find(api_key).ok_or(WireError::UnknownType(i32::from(key)))?;
        let (api_version, correlation_id) = (from.get_i16()?, from.get_i32()?);
        let client_id = Option::<String>::read(from, CLASSIC)?;
        if api.request_header(api_version) == 2 {
            from.skip_tags()?;
        }
        Ok(Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
        })
    }

    /// Appends the header in the version that goes with key and version; v1 for a request not in the table.
    pub fn encode(&self, out: &mut Vec<u8>) {
        (self.api_key as i16).write(out, CLASSIC);
        self.api_version.write(out, CLASSIC);
        self.correlation_id.write(out, CLASSIC);
        self.client_id.write(out, CLASSIC);
        if Api::find(self.api_key).is_some_and(|api| api.request_header(self.api_version) == 2) {
            put_uvarint(out, 0);
        }
    }
}

/// What every response starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The request's.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads a header of version 0 or 1; [`Api::response_header`] knows which.
    ///
    /// # Errors
    /// Whatever is malformed.
    pub fn decode(from: &mut Decoder<'_>, header_version: i16) -> Result<Self> {
        let correlation_id = from.get_i32()?;
        if header_version >= 1 {
            from.skip_tags()?;
        }
        Ok(Self { correlation_id })
    }

    /// Appends a header of version 0 or 1.
    pub fn encode(&self, out: &mut Vec<u8>, header_version: i16) {
        self.correlation_id.write(out, CLASSIC);
        if header_version >= 1 {
            put_uvarint(out, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn both_request_headers_round_trip() {
        for (api_version, length) in [(8, 8 + 5), (9, 8 + 5 + 1)] {
            let header = RequestHeader {
                api_key: ApiKey::Metadata,
                api_version,
                correlation_id: 7,
                client_id: Some("abc".to_owned()),
            };
            let mut out = Vec::new();
            header.encode(&mut out);
            assert_eq!(out.len(), length);
            let frame = Bytes::from(out);
            let mut from = Decoder::new(&frame);
            assert_eq!(RequestHeader::decode(&mut from), Ok(header));
            assert_eq!(from.remaining(), 0);
        }
    }

    #[test]
    fn unknown_header_tags_are_passed_over() {
        let frame = Bytes::from_static(&[0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 1, 5, 2, 9, 9, 42]);
        let mut from = Decoder::new(&frame);
        let header = RequestHeader::decode(&mut from);
        assert_eq!(header.map(|header| header.client_id), Ok(None));
        assert_eq!(from.remaining(), 1);
    }

    #[test]
    fn requests_not_served_are_errors() {
        for key in [4i16, 52, 500, -1] {
            let mut out = key.to_be_bytes().to_vec();
            out.extend_from_slice(&[0; 10]);
            let frame = Bytes::from(out);
            assert_eq!(
                RequestHeader::decode(&mut Decoder::new(&frame)),
                Err(WireError::UnknownType(i32::from(key)))
            );
        }
    }
}
