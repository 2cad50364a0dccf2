//! One record, and the walk over a batch's records. Nothing is copied: keys, values and headers are slices of
//! the unpacked batch, and headers stay packed until asked for, so memory is that of the bytes themselves.

use crate::header::{BatchHeader, TimestampType};
use bytes::{Buf, Bytes};

use super::{RecordError, varint};

/// A record with its absolute offset and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record's place in its partition.
    pub offset: i64,
    /// ms since 1970: the producer's time, or the broker's where the topic says LogAppendTime. -1 when absent.
    pub timestamp_ms: i64,
    /// The key; `None` is null, which is not empty.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Headers,
}

/// A record's headers: checked when the record was read, decoded when walked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    count: usize,
    packed: Bytes,
}

impl Headers {
    /// How many headers.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Key and value of each header, in order; a key may repeat.
    pub fn iter(&self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
        let mut packed = self.packed.clone();
        (0..self.count).map_while(move |_| read_header(&mut packed).ok())
    }

    fn read(buf: &mut Bytes) -> Result<Self, &'static str> {
        let count = varint::read_i32(buf).ok_or("header count")?;
        let count = usize::try_from(count).map_err(|_| "negative header count")?;
        let packed = buf.clone();
        for _ in 0..count {
            read_header(buf)?;
        }
        Ok(Self {
            count,
            packed: packed.slice(..packed.len() - buf.len()),
        })
    }
}

/// What a control record says (the first two fields of its key are a version and this).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// The producer's transaction was aborted.
    Abort,
    /// The producer's transaction was committed.
    Commit,
    /// Another kind: the metadata log's leader changes and snapshot marks.
    Other(i16),
}

impl Record {
    /// The kind of a record of a control batch; `None` when the key is too short to say.
    pub fn control_kind(&self) -> Option<ControlKind> {
        let mut key = self.key.as_deref()?;
        let _version = key.try_get_i16().ok()?;
        Some(match key.try_get_i16().ok()? {
            0 => ControlKind::Abort,
            1 => ControlKind::Commit,
            other => ControlKind::Other(other),
        })
    }
}

/// Walks the records of one unpacked batch. After an error it yields nothing more.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    packed: Bytes,
    index: usize,
    count: usize,
}

impl Records {
    /// Walks `packed`, the uncompressed bytes after the header.
    pub(super) fn new(header: BatchHeader, packed: Bytes) -> Result<Self, RecordError> {
        let count = usize::try_from(header.record_count).map_err(|_| RecordError::Malformed {
            index: 0,
            what: "negative record count",
        })?;
        Ok(Self {
            header,
            packed,
            index: 0,
            count,
        })
    }

    fn read(&mut self) -> Result<Record, &'static str> {
        let length = varint::read_i32(&mut self.packed).ok_or("length")?;
        let length = usize::try_from(length).map_err(|_| "negative length")?;
        if length > self.packed.len() {
            return Err("it ends after the batch");
        }
        let mut body = self.packed.split_to(length);
        let record = self.read_body(&mut body)?;
        if body.is_empty() {
            Ok(record)
        } else {
            Err("its fields end before it does")
        }
    }

    fn read_body(&self, body: &mut Bytes) -> Result<Record, &'static str> {
        let _attributes = body.try_get_i8().map_err(|_| "attributes")?;
        let timestamp_delta = varint::read_i64(body).ok_or("timestamp")?;
        let offset_delta = varint::read_i32(body).ok_or("offset")?;
        let offset = self
            .header
            .base_offset
            .checked_add(i64::from(offset_delta))
            .ok_or("offset beyond 64 bits")?;
        Ok(Record {
            offset,
            timestamp_ms: self.timestamp_ms(timestamp_delta),
            key: read_nullable(body).map_err(|()| "key")?,
            value: read_nullable(body).map_err(|()| "value")?,
            headers: Headers::read(body)?,
        })
    }

    fn timestamp_ms(&self, delta_ms: i64) -> i64 {
        match self.header.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp_ms,
            TimestampType::CreateTime => self.header.base_timestamp_ms.wrapping_add(delta_ms),
        }
    }

    fn end(&mut self) -> Option<Result<Record, RecordError>> {
        let left = std::mem::take(&mut self.packed).len();
        (left > 0).then_some(Err(RecordError::TrailingBytes(left)))
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            return self.end();
        }
        let index = self.index;
        self.index += 1;
        let read = self.read().map_err(|what| RecordError::Malformed { index, what });
        if read.is_err() {
            self.index = self.count;
            self.packed = Bytes::new();
        }
        Some(read)
    }
}

/// A length and as many bytes; -1 is null, other negative lengths are errors.
fn read_nullable(buf: &mut Bytes) -> Result<Option<Bytes>, ()> {
    match varint::read_i32(buf).ok_or(())? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| ())?;
            if length > buf.len() {
                Err(())
            } else {
                Ok(Some(buf.split_to(length)))
            }
        }
    }
}

fn read_header(buf: &mut Bytes) -> Result<(Bytes, Option<Bytes>), &'static str> {
    let key = read_nullable(buf)
        .map_err(|()| "header key")?
        .ok_or("null header key")?;
    let value = read_nullable(buf).map_err(|()| "header value")?;
    Ok((key, value))
}
