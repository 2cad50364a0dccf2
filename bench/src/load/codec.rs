//! The compression codecs of record batches, as Kafka's own clients frame them.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// Codec of a batch; the number is the one in its attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Codec {
    /// Records as they are.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy in snappy-java's framing.
    Snappy = 2,
    /// The LZ4 frame format, independent blocks of 64 KiB.
    Lz4 = 3,
    /// Zstandard, level 3.
    Zstd = 4,
}

/// Head of snappy-java's stream: magic, version 1, compatible with 1.
const XERIAL_HEAD: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];
/// What snappy-java compresses at a time.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

impl Codec {
    /// `records` compressed.
    ///
    /// # Errors
    /// None for memory that suffices; the libraries' signatures have them.
    pub fn compress(self, records: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Codec::None => Ok(records.to_vec()),
            Codec::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(records)?;
                encoder.finish()
            }
            Codec::Snappy => xerial(records),
            Codec::Lz4 => {
                let info = FrameInfo::new()
                    .block_size(BlockSize::Max64KB)
                    .block_mode(BlockMode::Independent);
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(records)?;
                encoder.finish().map_err(std::io::Error::other)
            }
            Codec::Zstd => zstd::bulk::compress(records, 3),
        }
    }

    /// The records of a compressed section, at most `limit_bytes` of them.
    ///
    /// # Errors
    /// Bytes that are no such stream, or more than `limit_bytes`.
    pub fn decompress(self, section: &[u8], limit_bytes: usize) -> std::io::Result<Vec<u8>> {
        let reader: Box<dyn Read> = match self {
            Codec::None => Box::new(section),
            Codec::Gzip => Box::new(GzDecoder::new(section)),
            Codec::Lz4 => Box::new(FrameDecoder::new(section)),
            Codec::Zstd => Box::new(zstd::stream::read::Decoder::new(section)?),
            Codec::Snappy => return unxerial(section, limit_bytes),
        };
        let mut records = Vec::new();
        reader.take(limit_bytes as u64 + 1).read_to_end(&mut records)?;
        if records.len() > limit_bytes {
            return Err(std::io::Error::other("more records than a batch may hold"));
        }
        Ok(records)
    }
}

fn xerial(records: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = XERIAL_HEAD.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in records.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block).map_err(std::io::Error::other)?;
        out.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}

fn unxerial(section: &[u8], limit_bytes: usize) -> std::io::Result<Vec<u8>> {
    let bad = || std::io::Error::other("no snappy stream");
    let mut rest = section.strip_prefix(&XERIAL_HEAD).ok_or_else(bad)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (length, body) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
        let length = u32::from_be_bytes(*length) as usize;
        let block = body.get(..length).ok_or_else(bad)?;
        if snap::raw::decompress_len(block).map_err(std::io::Error::other)? > limit_bytes - records.len() {
            return Err(std::io::Error::other("more records than a batch may hold"));
        }
        let block = snap::raw::Decoder::new()
            .decompress_vec(block)
            .map_err(std::io::Error::other)?;
        records.extend_from_slice(&block);
        rest = &body[length..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_gives_back_what_it_took_and_respects_the_limit() {
        let records: Vec<u8> = (0..100_000u32).flat_map(|i| (i / 7).to_be_bytes()).collect();
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let section = codec.compress(&records).expect("compress");
            assert_eq!(
                codec.decompress(&section, records.len()).expect("same"),
                records,
                "{codec:?}"
            );
            assert!(
                codec.decompress(&section, records.len() - 1).is_err(),
                "{codec:?}"
            );
        }
    }
}
