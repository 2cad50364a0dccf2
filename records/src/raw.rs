//! Records where they lie: a walk over unpacked bytes that copies nothing and counts no references.

use super::{RecordError, varint};
use crate::header::{BatchHeader, TimestampType};

/// A record as slices of its batch's unpacked bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// All of it, its length field included.
    pub bytes: &'a [u8],
    /// Its time, in ms after the batch's base timestamp; without a meaning where the batch has the time of its append.
    pub timestamp_delta_ms: i64,
    /// Its offset, counted from the batch's base offset.
    pub offset_delta: i32,
    /// The key; `None` is null, which is not empty.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// From the length of the key to the end of the headers: what is the same in every batch.
    content: &'a [u8],
}

impl RawRecord<'_> {
    /// Its time in ms since 1970, as Kafka reads it; -1 when it has none.
    pub fn timestamp_ms(&self, header: &BatchHeader) -> i64 {
        match header.timestamp_type() {
            TimestampType::LogAppendTime => header.max_timestamp_ms,
            TimestampType::CreateTime => header.base_timestamp_ms.wrapping_add(self.timestamp_delta_ms),
        }
    }

    /// Its absolute offset. Wraps rather than fails on a hostile header.
    pub fn offset(&self, header: &BatchHeader) -> i64 {
        header.base_offset.wrapping_add(i64::from(self.offset_delta))
    }

    /// Appends it with another time.
    pub fn write_at(&self, timestamp_delta_ms: i64, out: &mut Vec<u8>) {
        let offset_delta = i64::from(self.offset_delta);
        let times = varint::size(timestamp_delta_ms) + varint::size(offset_delta);
        varint::write(out, (1 + times + self.content.len()) as i64);
        out.push(0); // attributes: none are defined
        varint::write(out, timestamp_delta_ms);
        varint::write(out, offset_delta);
        out.extend_from_slice(self.content);
    }
}

/// Walks the records of one batch. After an error it yields nothing more.
#[derive(Clone, Debug)]
pub struct RawRecords<'a> {
    rest: &'a [u8],
    index: usize,
    count: usize,
}

impl<'a> RawRecords<'a> {
    /// Walks `unpacked`, the uncompressed bytes behind the header.
    ///
    /// # Errors
    /// A negative count of records in the header.
    pub fn new(header: &BatchHeader, unpacked: &'a [u8]) -> Result<Self, RecordError> {
        let count = usize::try_from(header.record_count).map_err(|_| RecordError::Malformed {
            index: 0,
            what: "negative record count",
        })?;
        Ok(Self {
            rest: unpacked,
            index: 0,
            count,
        })
    }

    fn read(&mut self) -> Result<RawRecord<'a>, &'static str> {
        let whole = self.rest;
        let length = varint::read_i32(&mut self.rest).ok_or("length")?;
        let length = usize::try_from(length).map_err(|_| "negative length")?;
        let (mut body, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or("it ends after the batch")?;
        self.rest = rest;
        let (_attributes, fields) = body.split_first().ok_or("attributes")?;
        body = fields;
        let timestamp_delta_ms = varint::read_i64(&mut body).ok_or("timestamp")?;
        let offset_delta = varint::read_i32(&mut body).ok_or("offset")?;
        let content = body;
        let key = read_nullable(&mut body).ok_or("key")?;
        let value = read_nullable(&mut body).ok_or("value")?;
        skip_headers(&mut body)?;
        match body.is_empty() {
            true => Ok(RawRecord {
                bytes: &whole[..whole.len() - self.rest.len()],
                timestamp_delta_ms,
                offset_delta,
                key,
                value,
                content,
            }),
            false => Err("its fields end before it does"),
        }
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        if index == self.count {
            let left = std::mem::take(&mut self.rest).len();
            return (left > 0).then_some(Err(RecordError::TrailingBytes(left)));
        }
        self.index += 1;
        let read = self.read().map_err(|what| RecordError::Malformed { index, what });
        if read.is_err() {
            (self.index, self.rest) = (self.count, &[]);
        }
        Some(read)
    }
}

fn skip_headers(body: &mut &[u8]) -> Result<(), &'static str> {
    let count = varint::read_i32(body).ok_or("header count")?;
    if count < 0 {
        return Err("negative header count");
    }
    for _ in 0..count {
        read_nullable(body)
            .ok_or("header key")?
            .ok_or("null header key")?;
        read_nullable(body).ok_or("header value")?;
    }
    Ok(())
}

/// A length and as many bytes; -1 is null, other negative lengths are errors.
fn read_nullable<'a>(from: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match varint::read_i32(from)? {
        -1 => Some(None),
        length => {
            let (bytes, rest) = from.split_at_checked(usize::try_from(length).ok()?)?;
            *from = rest;
            Some(Some(bytes))
        }
    }
}
