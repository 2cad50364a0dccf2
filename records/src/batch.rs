//! Cutting bytes into batches, and one batch: its header, its checksum, the way to its records.

use crate::header::{BatchHeader, HEADER_BYTES, LOG_OVERHEAD, MAGIC};
use bytes::Bytes;

use super::RecordError;
use super::compress::{Codec, unpack};
use super::record::Records;

/// A whole batch, header included. Its checksum is checked only by [`Batch::check_crc`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The decoded header.
    pub header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Bytes, header included.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The codec of the attributes.
    pub fn codec(&self) -> Result<Codec, RecordError> {
        let bits = codec_bits(&self.header);
        Codec::from_bits(bits).ok_or(RecordError::UnknownCodec(bits))
    }

    /// Compares the stored CRC-32C with that of the bytes.
    pub fn check_crc(&self) -> Result<(), RecordError> {
        let computed = crc_fast::crc32_iscsi(&self.bytes[CRC_FROM..]);
        match computed == self.header.crc {
            true => Ok(()),
            false => Err(RecordError::Crc {
                stored: self.header.crc,
                computed,
            }),
        }
    }

    /// Unpacks the batch, to `max_unpacked_bytes` at most, and walks its records.
    pub fn records(&self, max_unpacked_bytes: u64) -> Result<Records, RecordError> {
        let packed = self.bytes.slice(HEADER_BYTES..);
        Records::new(self.header, unpack(self.codec()?, packed, max_unpacked_bytes)?)
    }
}

/// Cuts bytes into batches. A cut-off last batch, which a fetch may bring, ends the walk without an error; what
/// cannot be a batch is an error and ends it too.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// Walks these bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    /// The bytes after the last whole batch: a batch cut off, or nothing.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    fn cut(&mut self) -> Result<Option<Batch>, RecordError> {
        let Some(header) = BatchHeader::read(&self.rest) else {
            return Ok(None);
        };
        let size_bytes = whole_size_bytes(&header)?;
        match size_bytes <= self.rest.len() {
            true => Ok(Some(Batch {
                header,
                bytes: self.rest.split_to(size_bytes),
            })),
            false => Ok(None),
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let cut = self.cut();
        if cut.is_err() {
            self.rest = Bytes::new();
        }
        cut.transpose()
    }
}

/// Where the bytes covered by the CRC begin.
pub(crate) const CRC_FROM: usize = 21;

/// Bits 0 to 2 of the attributes: the codec's number.
fn codec_bits(header: &BatchHeader) -> u8 {
    (header.attributes & 0b111) as u8
}

/// Bytes of the whole batch, header included.
///
/// # Errors
/// A magic other than 2, or a length no batch can have.
pub fn whole_size_bytes(header: &BatchHeader) -> Result<usize, RecordError> {
    // Magic before length: old message sets have the same length field but may be shorter than our header.
    if header.magic != MAGIC {
        return Err(RecordError::Magic(header.magic));
    }
    match usize::try_from(header.batch_length) {
        Ok(length) if length + LOG_OVERHEAD >= HEADER_BYTES => Ok(length + LOG_OVERHEAD),
        _ => Err(RecordError::Length(header.batch_length)),
    }
}
