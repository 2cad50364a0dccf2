//! The five codecs of record batches, both ways. Unpacking reads no further than a limit, so that a few bytes
//! cannot ask for all memory.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io::{Read, Write};

use bytes::{Buf, Bytes};

use super::RecordError;

/// Starts the framing in which the Java client writes snappy: magic, version 1, compatible with 1. Blocks follow,
/// each a big-endian length and raw snappy. librdkafka writes one raw block without any framing.
const XERIAL_MAGIC: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Unpacked bytes of one xerial block, as the Java client makes them.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// No snappy element makes more bytes of one than this (64 of 3): a larger claim is false, and not allocated for.
const SNAPPY_MAX_RATIO: usize = 22;

/// How a batch's records are packed; the number is in the batch's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say all
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// All, by their number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of this number.
    pub fn from_bits(bits: u8) -> Option<Self> {
        Self::ALL.get(usize::from(bits)).copied()
    }

    /// Its number.
    pub fn bits(self) -> u8 {
        self as u8
    }

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        ["none", "gzip", "snappy", "lz4", "zstd"][self as usize]
    }
}

impl Display for Codec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Unpacks `packed`. Without compression this is the identity and copies nothing.
///
/// # Errors
/// Corrupt input, or more than `limit_bytes` of output.
pub fn unpack(codec: Codec, packed: Bytes, limit_bytes: u64) -> Result<Bytes, RecordError> {
    match codec {
        Codec::None => Ok(packed),
        _ => unpack_slice(codec, &packed, limit_bytes).map(|out| Bytes::from(out.into_owned())),
    }
}

/// [`unpack`] of bytes that are borrowed.
///
/// # Errors
/// The same.
pub fn unpack_slice(codec: Codec, packed: &[u8], limit_bytes: u64) -> Result<Cow<'_, [u8]>, RecordError> {
    let out = match codec {
        Codec::None => return Ok(Cow::Borrowed(packed)),
        Codec::Gzip => read_bounded(codec, flate2::read::MultiGzDecoder::new(packed), limit_bytes),
        Codec::Snappy => unpack_snappy(packed, limit_bytes),
        Codec::Lz4 => read_bounded(codec, lz4_flex::frame::FrameDecoder::new(packed), limit_bytes),
        Codec::Zstd => match zstd::stream::read::Decoder::with_buffer(packed) {
            Ok(decoder) => read_bounded(codec, decoder, limit_bytes),
            Err(error) => Err(failed(codec, &error)),
        },
    };
    out.map(Cow::Owned)
}

/// Packs `plain` and appends it to `out`.
pub fn compress(codec: Codec, plain: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    let done = match codec {
        Codec::None => out.write_all(plain),
        Codec::Gzip => compress_gzip(plain, out),
        Codec::Snappy => return compress_snappy(plain, out),
        Codec::Lz4 => compress_lz4(plain, out),
        Codec::Zstd => zstd::stream::copy_encode(plain, out, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    done.map_err(|error| failed(codec, &error))
}

fn failed(codec: Codec, reason: &dyn Display) -> RecordError {
    RecordError::Unpack {
        codec,
        reason: reason.to_string(),
    }
}

fn read_bounded(codec: Codec, mut reader: impl Read, limit_bytes: u64) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    // One byte more than allowed tells "just fits" from "too large".
    let read = reader
        .by_ref()
        .take(limit_bytes.saturating_add(1))
        .read_to_end(&mut out);
    read.map_err(|error| failed(codec, &error))?;
    match out.len() as u64 > limit_bytes {
        true => Err(RecordError::TooLarge { codec, limit_bytes }),
        false => Ok(out),
    }
}

fn compress_gzip(plain: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    encoder.write_all(plain)?;
    encoder.finish().map(|_| ())
}

/// Independent 64 KiB blocks without checksums, as the Java client writes them.
fn compress_lz4(plain: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(plain)?;
    encoder.finish().map(|_| ()).map_err(std::io::Error::from)
}

fn compress_snappy(plain: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    let mut encoder = snap::raw::Encoder::new();
    out.extend_from_slice(&XERIAL_MAGIC);
    for block in plain.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder
            .compress_vec(block)
            .map_err(|error| failed(Codec::Snappy, &error))?;
        out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(())
}

fn unpack_snappy(mut packed: &[u8], limit_bytes: u64) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::new();
    if !packed.starts_with(&XERIAL_MAGIC[..8]) {
        unpack_snappy_block(packed, &mut out, limit_bytes)?;
        return Ok(out);
    }
    if packed.len() < XERIAL_MAGIC.len() {
        return Err(failed(Codec::Snappy, &"its framing is cut short"));
    }
    packed.advance(XERIAL_MAGIC.len());
    while packed.has_remaining() {
        let length = packed
            .try_get_u32()
            .map_err(|_| failed(Codec::Snappy, &"a block's length is cut short"))?;
        let Some((block, rest)) = packed.split_at_checked(length as usize) else {
            return Err(failed(Codec::Snappy, &"a block ends after the batch"));
        };
        packed = rest;
        unpack_snappy_block(block, &mut out, limit_bytes)?;
    }
    Ok(out)
}

fn unpack_snappy_block(packed: &[u8], out: &mut Vec<u8>, limit_bytes: u64) -> Result<(), RecordError> {
    let claimed = snap::raw::decompress_len(packed).map_err(|error| failed(Codec::Snappy, &error))?;
    if claimed > packed.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(failed(
            Codec::Snappy,
            &"a block claims more bytes than it can hold",
        ));
    }
    let start = out.len();
    if (start + claimed) as u64 > limit_bytes {
        return Err(RecordError::TooLarge {
            codec: Codec::Snappy,
            limit_bytes,
        });
    }
    out.resize(start + claimed, 0);
    let unpacked = snap::raw::Decoder::new().decompress(packed, &mut out[start..]);
    unpacked
        .map(|_| ())
        .map_err(|error| failed(Codec::Snappy, &error))
}
