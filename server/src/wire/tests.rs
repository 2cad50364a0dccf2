//! What holds for every message: no bytes make the decoder panic, and what it accepts it can write and read
//! again.

use bytes::Bytes;
use proptest::prelude::*;

use super::api::{self, Request, Visitor};
use super::control_records::ControlRecord;
use super::header::{RequestHeader, ResponseHeader};
use super::metadata_records::MetadataRecord;
use super::primitives::Decoder;
use super::schema::{Message, versions};

/// Decodes anything without a panic; what decodes is written and read again unchanged.
fn survive<M: Message>(bytes: &Bytes) {
    for version in versions::<M>() {
        let Ok(message) = M::decode_as(&mut Decoder::new(bytes), version) else {
            continue;
        };
        let mut out = Vec::new();
        message.encode_as(&mut out, version);
        let out = Bytes::from(out);
        let mut from = Decoder::new(&out);
        let again = M::decode_as(&mut from, version);
        // A float may be no number, which equals nothing: what is written is compared instead.
        let mut twice = Vec::new();
        again.unwrap_or_default().encode_as(&mut twice, version);
        assert_eq!(
            (out.as_ref(), from.remaining()),
            (twice.as_ref(), 0),
            "{} v{version}",
            M::NAME
        );
    }
}

/// Small numbers are frequent in real messages: lengths, counts, tags. Random bytes alone rarely get far.
fn bytes() -> impl Strategy<Value = Bytes> {
    let byte = prop_oneof![4 => Just(0u8), 4 => 1u8..4, 1 => Just(0xff), 2 => any::<u8>()];
    proptest::collection::vec(byte, 0..400).prop_map(Bytes::from)
}

struct Survive<'a>(&'a Bytes);

impl Visitor for Survive<'_> {
    fn request<R: Request>(&mut self) {
        survive::<R>(self.0);
        survive::<R::Response>(self.0);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in bytes()) {
        api::visit(&mut Survive(&bytes));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_header_a_record_or_an_error(bytes in bytes(), key in any::<[u8; 4]>()) {
        let _ = RequestHeader::decode(&mut Decoder::new(&bytes));
        let _ = ResponseHeader::decode(&mut Decoder::new(&bytes), 1);
        for number in 0..=7 {
            let key = Bytes::copy_from_slice(&[key[0], key[1], 0, number]);
            let _ = ControlRecord::decode(&key, &bytes);
        }
        for number in 0..30 {
            let value = [&[1, number, bytes.first().copied().unwrap_or(0) % 6][..], &bytes].concat();
            let _ = MetadataRecord::decode(&value.into());
        }
    }
}
