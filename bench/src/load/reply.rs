//! Produce answers, read by hand: the one message that is hot on the way in, and may come by the hundred thousand a second.
//! Versions 3 to 8 and, in the compact encoding, 9 to 12 (KIP-482).

use crate::error::Error;

/// First version in the compact encoding.
const FLEXIBLE: i16 = 9;

/// What an answer says of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its partition.
    pub partition: i32,
    /// Kafka's number; 0 when it is stored.
    pub error_code: i16,
    /// Offset of its first record, if it is.
    pub base_offset: i64,
}

/// Reads an answer in Produce `version`, without its length, and puts what it says in `told`, which is emptied first.
///
/// # Errors
/// Another correlation id than `expected`, or bytes that do not decode.
pub fn read(frame: &[u8], version: i16, expected: i32, told: &mut Vec<Told>) -> Result<(), Error> {
    told.clear();
    let mut cursor = Cursor {
        rest: frame,
        flexible: version >= FLEXIBLE,
    };
    let found = cursor.i32().ok_or_else(|| undecodable(version))?;
    if found != expected {
        return Err(Error::failed(format!(
            "Produce answered request {found} where {expected} was next"
        )));
    }
    body(&mut cursor, version, told).ok_or_else(|| undecodable(version))
}

fn undecodable(version: i16) -> Error {
    Error::failed(format!("the answer to Produce version {version} does not decode"))
}

fn body(cursor: &mut Cursor<'_>, version: i16, told: &mut Vec<Told>) -> Option<()> {
    cursor.tags()?;
    for _ in 0..cursor.count()? {
        cursor.string()?;
        for _ in 0..cursor.count()? {
            told.push(partition(cursor, version)?);
        }
        cursor.tags()?;
    }
    cursor.i32()?; // throttle time
    cursor.tags()
}

fn partition(cursor: &mut Cursor<'_>, version: i16) -> Option<Told> {
    let told = Told {
        partition: cursor.i32()?,
        error_code: cursor.i16()?,
        base_offset: cursor.i64()?,
    };
    cursor.i64()?; // log append time
    if version >= 5 {
        cursor.i64()?; // log start
    }
    if version >= 8 {
        for _ in 0..cursor.count()? {
            cursor.i32()?;
            cursor.string()?;
            cursor.tags()?;
        }
        cursor.string()?;
    }
    cursor.tags()?;
    Some(told)
}

/// Reads front to back; `None` at the end of the bytes. No count makes it allocate: every element takes bytes that are there.
struct Cursor<'a> {
    rest: &'a [u8],
    flexible: bool,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn unsigned(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Elements that follow; null has none.
    fn count(&mut self) -> Option<usize> {
        match self.flexible {
            true => Some(self.unsigned()?.saturating_sub(1)),
            false => Some(usize::try_from(self.i32()?).unwrap_or(0)),
        }
    }

    /// Skips a string, which may be null.
    fn string(&mut self) -> Option<()> {
        let bytes = match self.flexible {
            true => self.unsigned()?.saturating_sub(1),
            false => usize::try_from(self.i16()?).unwrap_or(0),
        };
        self.take(bytes).map(|_| ())
    }

    /// Skips tagged fields where the version has them.
    fn tags(&mut self) -> Option<()> {
        if self.flexible {
            for _ in 0..self.unsigned()? {
                self.unsigned()?;
                let bytes = self.unsigned()?;
                self.take(bytes)?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::frame::PRODUCE_VERSIONS;
    use bytes::BytesMut;
    use kafka_protocol::messages::produce_response::{
        BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{ProduceResponse, ResponseHeader, TopicName};
    use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};

    /// An answer as the library of another project writes it.
    fn answer(version: i16) -> Vec<u8> {
        let partition = |index, error_code, base_offset| {
            let mut partition = PartitionProduceResponse::default()
                .with_index(index)
                .with_error_code(error_code)
                .with_base_offset(base_offset)
                .with_log_append_time_ms(-1);
            if version >= 8 && error_code != 0 {
                partition.error_message = Some(StrBytes::from_static_str("no"));
                partition.record_errors = vec![BatchIndexAndErrorMessage::default().with_batch_index(3)];
            }
            partition
        };
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(StrBytes::from_static_str("orders")))
            .with_partition_responses(vec![partition(7, 0, 1 << 40), partition(70_000, 87, -1)]);
        let response = ProduceResponse::default().with_responses(vec![topic]);
        let mut out = BytesMut::new();
        ResponseHeader::default()
            .with_correlation_id(77)
            .encode(&mut out, ProduceResponse::header_version(version))
            .and_then(|()| response.encode(&mut out, version))
            .expect("encoded");
        out.to_vec()
    }

    #[test]
    fn every_version_says_what_the_library_wrote_and_no_part_of_it_says_anything() {
        let mut told = Vec::new();
        for version in PRODUCE_VERSIONS.0..=PRODUCE_VERSIONS.1 {
            let whole = answer(version);
            read(&whole, version, 77, &mut told).expect("read");
            let said: Vec<_> = told
                .iter()
                .map(|one| (one.partition, one.error_code, one.base_offset))
                .collect();
            assert_eq!(said, [(7, 0, 1 << 40), (70_000, 87, -1)], "version {version}");
            for end in 0..whole.len() {
                assert!(
                    read(&whole[..end], version, 77, &mut told).is_err(),
                    "version {version}, {end}"
                );
            }
        }
    }

    #[test]
    fn another_requests_answer_and_hostile_counts_are_errors() {
        let mut told = Vec::new();
        let error = read(&answer(8), 8, 78, &mut told).expect_err("another one's");
        assert!(error.to_string().contains("request 77 where 78"), "{error}");
        let mut hostile = vec![0, 0, 0, 77];
        hostile.extend_from_slice(&i32::MAX.to_be_bytes());
        assert!(read(&hostile, 8, 77, &mut told).is_err() && told.is_empty());
        hostile.truncate(4);
        hostile.extend_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]);
        assert!(read(&hostile, 9, 77, &mut told).is_err());
    }
}
