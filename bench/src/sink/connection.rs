//! One connection: frames in, answers out in the same order, several to a write where several requests have come.

use std::future::Future;
use std::io;
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    FetchRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, RequestHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio_uring::net::TcpStream;

use super::wire::{Cursor, malformed};
use super::{Shared, admin, fetch, offsets, produce};
use crate::net::FrameReader;

/// The longest request.
const MAX_FRAME_BYTES: usize = 128 << 20;
/// Answers are written when they have grown to this, even if more requests are at hand.
const WRITE_BYTES: usize = 1 << 20;
/// A buffer that grew beyond this is not kept.
const KEPT_BYTES: usize = 8 << 20;

/// What is spoken here.
pub(super) const VERSIONS: [(ApiKey, RangeInclusive<i16>); 10] = [
    (ApiKey::Produce, 3..=12),
    (ApiKey::Fetch, 4..=12),
    (ApiKey::ListOffsets, 1..=8),
    (ApiKey::Metadata, 1..=12),
    (ApiKey::ApiVersions, 0..=4),
    (ApiKey::CreateTopics, 2..=7),
    (ApiKey::DeleteTopics, 1..=6),
    (ApiKey::DeleteRecords, 0..=2),
    (ApiKey::InitProducerId, 0..=4),
    (ApiKey::DescribeConfigs, 1..=4),
];

/// What answering takes of a request's header.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) key: ApiKey,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
}

/// Serves a connection until its peer closes it or sends what we do not understand; then it is closed without a word, as
/// brokers do.
pub(super) async fn serve(shared: &Shared, stream: Rc<TcpStream>) {
    let mut reader = FrameReader::new(stream.clone(), MAX_FRAME_BYTES);
    let mut writer = Writer {
        shared,
        stream: stream.clone(),
        out: Vec::new(),
        whole_bytes: 0,
    };
    // Whatever the error, closing is the answer to it, and the peer knows more about it than we do.
    let _ = converse(shared, &mut reader, &mut writer).await;
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

async fn converse(shared: &Shared, reader: &mut FrameReader, writer: &mut Writer<'_>) -> io::Result<()> {
    loop {
        let mut next = pin!(reader.next());
        let frame = match at_hand(next.as_mut()).await {
            Some(frame) if writer.out.len() < WRITE_BYTES => frame,
            Some(frame) => {
                writer.flush().await?;
                frame
            }
            None => {
                writer.flush().await?;
                next.await
            }
        };
        let Some(frame) = frame? else {
            return writer.flush().await;
        };
        if let Err(error) = answer(shared, frame, writer).await {
            // What was answered before is owed all the same.
            writer.out.truncate(writer.whole_bytes);
            writer.flush().await?;
            return Err(error);
        }
        writer.whole_bytes = writer.out.len();
    }
}

/// The future's outcome if it need not be waited for.
async fn at_hand<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Answers that are not written yet.
struct Writer<'a> {
    shared: &'a Shared,
    stream: Rc<TcpStream>,
    out: Vec<u8>,
    /// How far `out` is whole answers.
    whole_bytes: usize,
}

impl Writer<'_> {
    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let Shared {
            config,
            clock,
            trouble,
            ..
        } = self.shared;
        if let Some(until) = trouble.stalled_until(config.fault) {
            clock.sleep_until(until).await;
        }
        let (written, out) = self.stream.write_all(std::mem::take(&mut self.out)).await;
        written?;
        self.whole_bytes = 0;
        if out.capacity() <= KEPT_BYTES {
            self.out = out;
            self.out.clear();
        }
        Ok(())
    }
}

async fn answer(shared: &Shared, frame: Bytes, writer: &mut Writer<'_>) -> io::Result<()> {
    let header = peek(&frame)?;
    let is_spoken = VERSIONS
        .iter()
        .any(|(key, versions)| *key == header.key && versions.contains(&header.version));
    match header.key {
        ApiKey::ApiVersions if !is_spoken => {
            let header = Header { version: 0, ..header };
            encode(header, &admin::api_versions(false), &mut writer.out)
        }
        _ if !is_spoken => Err(malformed("a request of a kind or version not spoken here")),
        ApiKey::Produce => {
            let body = produce_body(&frame, header.version)?;
            produce::answer(shared, header, body, &mut writer.out)
        }
        ApiKey::Fetch => {
            let request: FetchRequest = decode(header, frame)?;
            // This may wait, and nobody should wait for earlier answers because of it.
            writer.flush().await?;
            fetch::wait(shared, &request).await;
            fetch::answer(shared, header, &request, &mut writer.out)
        }
        _ => answer_seldom(shared, header, frame, &mut writer.out),
    }
}

fn answer_seldom(shared: &Shared, header: Header, frame: Bytes, out: &mut Vec<u8>) -> io::Result<()> {
    match header.key {
        ApiKey::ApiVersions => encode(header, &admin::api_versions(true), out),
        ApiKey::Metadata => {
            let request: MetadataRequest = decode(header, frame)?;
            encode(header, &admin::metadata(shared, &request), out)
        }
        ApiKey::CreateTopics => {
            let request: CreateTopicsRequest = decode(header, frame)?;
            encode(header, &admin::create_topics(shared, &request), out)
        }
        ApiKey::DeleteTopics => {
            let request: DeleteTopicsRequest = decode(header, frame)?;
            encode(header, &admin::delete_topics(shared, &request), out)
        }
        ApiKey::InitProducerId => {
            let request: InitProducerIdRequest = decode(header, frame)?;
            encode(header, &admin::init_producer_id(shared, &request), out)
        }
        ApiKey::DescribeConfigs => {
            let request: DescribeConfigsRequest = decode(header, frame)?;
            encode(header, &admin::describe_configs(shared, &request), out)
        }
        ApiKey::DeleteRecords => {
            let request: DeleteRecordsRequest = decode(header, frame)?;
            encode(header, &offsets::delete_records(shared, &request), out)
        }
        ApiKey::ListOffsets => {
            let request: ListOffsetsRequest = decode(header, frame)?;
            encode(header, &offsets::list(shared, &request), out)
        }
        _ => Err(malformed("a request of a kind not spoken here")),
    }
}

/// The eight bytes that all requests begin with.
fn peek(frame: &[u8]) -> io::Result<Header> {
    let mut cursor = Cursor::new(frame, false);
    let key = ApiKey::try_from(cursor.i16()?).map_err(|()| malformed("a request of an unknown kind"))?;
    Ok(Header {
        key,
        version: cursor.i16()?,
        correlation_id: cursor.i32()?,
    })
}

/// The frame from behind the header.
fn produce_body(frame: &[u8], version: i16) -> io::Result<&[u8]> {
    let mut cursor = Cursor::new(&frame[8..], version >= produce::FIRST_FLEXIBLE);
    cursor.skip_short_string()?; // client id
    cursor.skip_tags()?;
    Ok(cursor.rest())
}

fn decode<T: Decodable>(header: Header, mut frame: Bytes) -> io::Result<T> {
    let header_version = header.key.request_header_version(header.version);
    RequestHeader::decode(&mut frame, header_version)
        .and_then(|_| T::decode(&mut frame, header.version))
        .ok()
        .filter(|_| !frame.has_remaining())
        .ok_or_else(|| malformed("a request that cannot be decoded"))
}

fn encode<T: Encodable>(header: Header, response: &T, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&header.correlation_id.to_be_bytes());
    if header.key.response_header_version(header.version) >= 1 {
        out.push(0); // no tagged fields
    }
    response
        .encode(out, header.version)
        .map_err(|error| malformed(&error.to_string()))?;
    let bytes = i32::try_from(out.len() - start - 4).map_err(|_| malformed("an answer above 2 GiB"))?;
    out[start..start + 4].copy_from_slice(&bytes.to_be_bytes());
    Ok(())
}
