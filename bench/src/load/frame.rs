//! Produce requests, written by hand: the one message that is hot on the way out. Versions 3 to 8 and, in the compact
//! encoding, 9 to 12 (KIP-482); all name topics.

use crate::client::connection::CLIENT_ID;

/// Versions of Produce that [`Frame`] writes.
pub const PRODUCE_VERSIONS: (i16, i16) = (3, 12);
/// First version in the compact encoding.
const FLEXIBLE: i16 = 9;
/// What the broker may take at most to answer; no replica set is slower than this and well.
const TIMEOUT_MS: i32 = 30_000;

/// One request under construction. Batches are appended by the caller between [`Frame::batch`] calls.
pub struct Frame<'a> {
    out: &'a mut Vec<u8>,
    from: usize,
    flexible: bool,
    batches: usize,
}

impl<'a> Frame<'a> {
    /// Begins a request for `batches` batches of one topic behind what is in `out`.
    pub fn begin(
        out: &'a mut Vec<u8>,
        version: i16,
        correlation_id: i32,
        acks: i16,
        topic: &str,
        batches: usize,
    ) -> Frame<'a> {
        Frame::begin_in(out, version, correlation_id, None, acks, topic, batches)
    }

    /// The same, in the transaction of `transactional_id` if there is one.
    pub fn begin_in(
        out: &'a mut Vec<u8>,
        version: i16,
        correlation_id: i32,
        transactional_id: Option<&str>,
        acks: i16,
        topic: &str,
        batches: usize,
    ) -> Frame<'a> {
        let from = out.len();
        let flexible = version >= FLEXIBLE;
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&0i16.to_be_bytes());
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(&correlation_id.to_be_bytes());
        out.extend_from_slice(&(CLIENT_ID.len() as i16).to_be_bytes());
        out.extend_from_slice(CLIENT_ID.as_bytes());
        let mut frame = Frame {
            out,
            from,
            flexible,
            batches,
        };
        if flexible {
            frame.out.push(0); // header's tagged fields
        }
        match transactional_id {
            Some(id) => frame.string(id),
            None if flexible => frame.out.push(0),
            None => frame.out.extend_from_slice(&(-1i16).to_be_bytes()),
        }
        frame.out.extend_from_slice(&acks.to_be_bytes());
        frame.out.extend_from_slice(&TIMEOUT_MS.to_be_bytes());
        frame.count(1);
        frame.string(topic);
        frame.count(batches);
        frame
    }

    /// Announces a batch of `bytes` for `partition`, which `write` then appends.
    pub fn batch<T>(&mut self, partition: i32, bytes: usize, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.out.extend_from_slice(&partition.to_be_bytes());
        if self.flexible {
            self.unsigned(bytes + 1);
        } else {
            self.out.extend_from_slice(&(bytes as i32).to_be_bytes());
        }
        let written = write(self.out);
        if self.flexible {
            self.out.push(0);
        }
        self.batches -= 1;
        written
    }

    /// Ends the request: its length comes first. All announced batches must have been written.
    pub fn finish(self) {
        debug_assert_eq!(self.batches, 0, "announced batches are missing");
        if self.flexible {
            self.out.extend_from_slice(&[0, 0]); // tagged fields of topic and request
        }
        let length = (self.out.len() - self.from - 4) as i32;
        self.out[self.from..self.from + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn count(&mut self, elements: usize) {
        if self.flexible {
            self.unsigned(elements + 1);
        } else {
            self.out.extend_from_slice(&(elements as i32).to_be_bytes());
        }
    }

    fn string(&mut self, text: &str) {
        if self.flexible {
            self.unsigned(text.len() + 1);
        } else {
            self.out.extend_from_slice(&(text.len() as i16).to_be_bytes());
        }
        self.out.extend_from_slice(text.as_bytes());
    }

    fn unsigned(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Buf, Bytes};
    use kafka_protocol::messages::ProduceRequest;
    use kafka_protocol::protocol::{Decodable, decode_request_header_from_buffer};

    #[test]
    fn the_library_of_another_project_reads_every_version() {
        for version in PRODUCE_VERSIONS.0..=PRODUCE_VERSIONS.1 {
            let mut out = vec![9; 3];
            let id = (version % 2 == 0).then_some("payments");
            let mut frame = Frame::begin_in(&mut out, version, 77, id, -1, "orders", 2);
            for (partition, bytes) in [(3, 200), (70_000, 1)] {
                frame.batch(partition, bytes, |out| out.extend(std::iter::repeat_n(5, bytes)));
            }
            frame.finish();
            assert_eq!(out[..3], [9; 3]);
            let mut bytes = Bytes::from(out.split_off(3));
            assert_eq!(bytes.get_i32() as usize, bytes.len());
            let header = decode_request_header_from_buffer(&mut bytes).expect("header");
            assert_eq!((header.correlation_id, header.request_api_version), (77, version));
            let request = ProduceRequest::decode(&mut bytes, version).expect("body");
            assert!(bytes.is_empty() && request.acks == -1);
            let told = request.transactional_id.map(|told| told.to_string());
            assert_eq!(told.as_deref(), id);
            assert_eq!(request.topic_data[0].name.to_string(), "orders");
            let found: Vec<_> = request.topic_data[0]
                .partition_data
                .iter()
                .map(|data| {
                    (
                        data.index,
                        data.records.as_ref().map_or(0, |records| records.len()),
                    )
                })
                .collect();
            assert_eq!(found, [(3, 200), (70_000, 1)]);
        }
    }
}
