//! One connection: connect, agree on versions, ask and wait for the answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio_uring::net::TcpStream;

use crate::error::Error;
use crate::net::FrameReader;

/// Name that requests carry, so that a broker's log and quotas know who asked.
pub const CLIENT_ID: &str = "ringlog-bench";
/// How long connecting, or one administrative answer, may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// No answer we ask for is larger.
const MAX_FRAME_BYTES: usize = 512 << 20;

/// What a broker serves: API key -> `[first, last]` version.
#[derive(Clone, Debug, Default)]
pub struct Versions(HashMap<i16, (i16, i16)>);

impl Versions {
    /// From the answer to ApiVersions version 0: correlation id, error, then `[key, first, last]` each in two bytes.
    fn decode(answer: &[u8], correlation_id: i32) -> Option<Versions> {
        let (head, rows) = answer.split_first_chunk::<10>()?;
        let (told, rest) = head.split_first_chunk::<4>()?;
        let (error, count) = rest.split_first_chunk::<2>()?;
        let count = usize::try_from(i32::from_be_bytes(count.try_into().ok()?)).ok()?;
        let fits = i32::from_be_bytes(*told) == correlation_id && *error == [0, 0] && rows.len() / 6 >= count;
        let short = |row: &[u8], at: usize| i16::from_be_bytes([row[at], row[at + 1]]);
        let rows = rows.chunks_exact(6).take(count);
        fits.then(|| {
            Versions(
                rows.map(|row| (short(row, 0), (short(row, 2), short(row, 4))))
                    .collect(),
            )
        })
    }

    /// Whether the broker serves the API `key` in any version.
    pub fn serves(&self, key: i16) -> bool {
        self.0.contains_key(&key)
    }

    /// The highest version of `key` that both sides know, ours being `[ours.0, ours.1]`.
    ///
    /// # Errors
    /// The broker does not serve the API, or in no version that we speak.
    pub fn choose(&self, key: i16, name: &str, ours: (i16, i16)) -> Result<i16, Error> {
        let (first, last) = *self
            .0
            .get(&key)
            .ok_or_else(|| Error::failed(format!("the broker does not serve {name}")))?;
        let version = last.min(ours.1);
        if version < first.max(ours.0) {
            return Err(Error::failed(format!(
                "the broker serves {name} in versions {first} to {last}, this tool speaks {} to {}",
                ours.0, ours.1
            )));
        }
        Ok(version)
    }
}

/// A connection on which one request waits for its answer before the next is sent.
pub struct Connection {
    /// The socket, shared with the reader.
    pub stream: Rc<TcpStream>,
    /// Whole answers, in order.
    pub reader: FrameReader,
    /// What the broker serves.
    pub versions: Rc<Versions>,
    peer: SocketAddr,
    correlation_id: i32,
}

impl Connection {
    /// Connects and asks for the broker's versions.
    ///
    /// # Errors
    /// Unreachable, refused, silent for a minute, or no Kafka broker: a sentence with the address.
    pub async fn open(peer: SocketAddr) -> Result<Connection, Error> {
        let stream = connect(peer).await?;
        let stream = Rc::new(stream);
        let mut connection = Connection {
            reader: FrameReader::new(Rc::clone(&stream), MAX_FRAME_BYTES),
            stream,
            versions: Rc::default(),
            peer,
            correlation_id: 0,
        };
        connection.versions = connection
            .ask_versions()
            .await
            .map_err(|e| Error::failed(format!("{peer} does not answer as a Kafka broker does: {e}")))?;
        Ok(connection)
    }

    /// Sends `request` in the highest version up to `newest` that the broker serves, and waits for its answer.
    ///
    /// # Errors
    /// The API is not served, the connection broke, or the answer does not decode.
    pub async fn call<R: Request>(&mut self, request: &R, newest: i16) -> Result<(R::Response, i16), Error> {
        let ours = (R::VERSIONS.min, R::VERSIONS.max.min(newest));
        let version = self.versions.choose(R::KEY, short_name::<R>(), ours)?;
        Ok((self.ask(request, version).await?, version))
    }

    /// Sends the request that `write` makes with the correlation id it is given; returns the frame that answers it, and that id.
    ///
    /// # Errors
    /// The connection broke, or was silent for a minute.
    pub async fn exchange_own(
        &mut self,
        name: &str,
        write: impl FnOnce(i32) -> Vec<u8>,
    ) -> Result<(Bytes, i32), Error> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = write(self.correlation_id);
        Ok((self.exchange(frame, name).await?, self.correlation_id))
    }

    /// The first question to a peer that may be anything: its answer is taken apart here, with every count checked against
    /// the bytes that are there. (The codec of the later ones trusts the counts of a broker that got this one right.)
    async fn ask_versions(&mut self) -> Result<Rc<Versions>, Error> {
        self.correlation_id += 1;
        let frame = encode(&ApiVersionsRequest::default(), 0, self.correlation_id)?;
        let answer = self.exchange(frame, "ApiVersions").await?;
        Versions::decode(&answer, self.correlation_id)
            .map(Rc::new)
            .ok_or_else(|| Error::failed("its answer to ApiVersions does not decode"))
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Error> {
        self.correlation_id += 1;
        let frame = encode(request, version, self.correlation_id)?;
        let frame = self.exchange(frame, short_name::<R>()).await?;
        decode::<R>(frame, version, self.correlation_id)
    }

    /// Sends a request and waits for the frame that answers it.
    async fn exchange(&mut self, frame: Vec<u8>, name: &str) -> Result<Bytes, Error> {
        let exchange = async {
            self.stream.write_all(frame).await.0?;
            self.reader.next().await
        };
        tokio::time::timeout(ANSWER_LIMIT, exchange)
            .await
            .map_err(|_| Error::failed(format!("{} did not answer {name} within a minute", self.peer)))?
            .map_err(|e| Error::failed(format!("{}: {name}: {e}", self.peer)))?
            .ok_or_else(|| Error::failed(format!("{} closed the connection on {name}", self.peer)))
    }
}

/// Connects a socket with `TCP_NODELAY`.
async fn connect(peer: SocketAddr) -> Result<TcpStream, Error> {
    let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(peer))
        .await
        .map_err(|_| Error::failed(format!("{peer} does not accept connections within 5 s")))?
        .map_err(|e| Error::failed(format!("{peer} cannot be reached: {e}")))?;
    stream
        .set_nodelay(true)
        .map_err(|e| Error::failed(format!("{peer}: {e}")))?;
    Ok(stream)
}

/// A whole request frame, its length first.
///
/// # Errors
/// A field that does not exist in `version` has a value.
pub fn encode<R: Request>(request: &R, version: i16, correlation_id: i32) -> Result<Vec<u8>, Error> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
    let mut body = BytesMut::new();
    body.put_i32(0);
    header
        .encode(&mut body, R::header_version(version))
        .and_then(|()| request.encode(&mut body, version))
        .map_err(|e| Error::failed(format!("{} version {version}: {e}", short_name::<R>())))?;
    let length = (body.len() - 4) as u32;
    body[..4].copy_from_slice(&length.to_be_bytes());
    Ok(body.into())
}

/// An answer's body, its header checked and removed.
///
/// # Errors
/// Another correlation id than expected, or bytes that do not decode.
pub fn decode<R: Request>(mut frame: Bytes, version: i16, expected: i32) -> Result<R::Response, Error> {
    let name = short_name::<R>();
    let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))
        .map_err(|e| Error::failed(format!("{name} answered with a header that does not decode: {e}")))?;
    if header.correlation_id != expected {
        return Err(Error::failed(format!(
            "{name} answered request {} where {expected} was next",
            header.correlation_id
        )));
    }
    R::Response::decode(&mut frame, version).map_err(|e| {
        Error::failed(format!(
            "the answer to {name} version {version} does not decode: {e}"
        ))
    })
}

/// `Ok` for code 0, otherwise Kafka's name for it, after `what` failed.
///
/// # Errors
/// For every code but 0.
pub fn check(what: &str, code: i16, message: Option<&StrBytes>) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    let said = message.map(|message| format!(": {message}")).unwrap_or_default();
    Err(Error::failed(format!("{what}: {}{said}", error_name(code))))
}

/// Kafka's name of an error code, as its documentation spells it.
pub fn error_name(code: i16) -> String {
    let Some(error) = ResponseError::try_from_code(code) else {
        return "NONE".into();
    };
    let mut name = String::new();
    for letter in format!("{error:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn short_name<R>() -> &'static str {
    let name = std::any::type_name::<R>();
    let name = name.rsplit("::").next().unwrap_or(name);
    name.strip_suffix("Request").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen_and_none_is_an_error() {
        let versions = Versions(HashMap::from([(0, (3, 11)), (1, (14, 18))]));
        assert_eq!(versions.choose(0, "Produce", (3, 12)), Ok(11));
        assert!(versions.choose(1, "Fetch", (4, 12)).is_err());
        let missing = versions.choose(22, "InitProducerId", (0, 4));
        assert_eq!(
            missing.unwrap_err().to_string(),
            "the broker does not serve InitProducerId"
        );
    }

    #[test]
    fn an_answer_with_more_versions_than_bytes_does_not_decode() {
        let good = [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 12];
        let versions = Versions::decode(&good, 1).expect("one row");
        assert_eq!(versions.choose(3, "Metadata", (0, 9)), Ok(9));
        assert!(Versions::decode(&good, 2).is_none());
        assert!(Versions::decode(&good[..15], 1).is_none());
        let mut hostile = good;
        hostile[6..10].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(Versions::decode(&hostile, 1).is_none());
    }

    #[test]
    fn error_codes_have_kafkas_names() {
        assert_eq!(error_name(3), "UNKNOWN_TOPIC_OR_PARTITION");
        assert_eq!(error_name(6), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(error_name(0), "NONE");
    }
}
