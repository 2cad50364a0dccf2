//! One TCP connection to one broker: versions agreed on, then requests out and responses in, each by a deadline.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::error::CallError;
use crate::wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::header::{RequestHeader, ResponseHeader};
use crate::wire::{Api, Decoder, Message, Request};

/// Bytes of the longest response read. A fetch asks for less, but one batch may be larger than asked for.
const MAX_RESPONSE_BYTES: usize = 1 << 30;
/// How long one address may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The version in which ApiVersions is asked first; a broker that is older answers in version 0 (KIP-511).
const FIRST_API_VERSIONS: i16 = 3;
const UNSUPPORTED_VERSION: i16 = 35;

/// A connection whose broker has said which versions it speaks.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: TcpStream,
    versions: HashMap<i16, (i16, i16)>,
    correlation_id: i32,
}

/// A request on its way: what is needed to read its response.
#[derive(Debug)]
pub struct Pending<R> {
    correlation_id: i32,
    version: i16,
    request: PhantomData<R>,
}

impl Connection {
    /// Connects and agrees on versions.
    pub fn open(address: &str, deadline: Instant) -> Result<Self, CallError> {
        let stream = connect(address, deadline)?;
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            versions: HashMap::new(),
            correlation_id: 0,
        };
        connection.agree(deadline)?;
        Ok(connection)
    }

    /// Sends a request and waits for its response.
    pub fn call<R: Request>(&mut self, request: &R, deadline: Instant) -> Result<R::Response, CallError> {
        let pending = self.send(request, R::MAX_VERSION, deadline)?;
        self.receive(&pending, deadline)
    }

    /// Sends a request in the newest version both sides know, and no newer than `newest`.
    pub fn send<R: Request>(
        &mut self,
        request: &R,
        newest: i16,
        deadline: Instant,
    ) -> Result<Pending<R>, CallError> {
        let version = self.version_of::<R>(newest)?;
        self.send_as(request, version, deadline)
    }

    /// Reads the response to a request; responses come in the order of their requests.
    pub fn receive<R: Request>(
        &mut self,
        pending: &Pending<R>,
        deadline: Instant,
    ) -> Result<R::Response, CallError> {
        let frame = self.read_response(pending, deadline)?;
        R::Response::decode_as(&mut Decoder::new(&frame), pending.version)
            .map_err(|error| self.nonsense(&format!("its answer to {} has {error}", R::NAME)))
    }

    /// The version to speak: the newest that both sides know.
    pub fn version_of<R: Request>(&self, newest: i16) -> Result<i16, CallError> {
        let lacks = |why: String| CallError::Version {
            address: self.address.clone(),
            api: R::KEY.name(),
            why,
        };
        // Our own are not advertised: whoever does not know them closes the connection.
        if R::KEY.is_private() {
            return Ok(newest.min(R::MAX_VERSION));
        }
        let Some(&(oldest_there, newest_there)) = self.versions.get(&(R::KEY as i16)) else {
            return Err(lacks("does not serve it".to_owned()));
        };
        let version = newest.min(R::MAX_VERSION).min(newest_there);
        match version >= R::MIN_VERSION.max(oldest_there) {
            true => Ok(version),
            false => Err(lacks(format!(
                "speaks its versions {oldest_there} to {newest_there}, this program {} to {}",
                R::MIN_VERSION,
                newest.min(R::MAX_VERSION)
            ))),
        }
    }

    /// The version to speak, where one before `oldest` cannot say what is meant.
    pub fn version_from<R: Request>(&self, oldest: i16) -> Result<i16, CallError> {
        match self.version_of::<R>(R::MAX_VERSION)? {
            version if version >= oldest => Ok(version),
            version => Err(CallError::Version {
                address: self.address.clone(),
                api: R::KEY.name(),
                why: format!("speaks its versions up to {version}, and this needs version {oldest}"),
            }),
        }
    }

    fn agree(&mut self, deadline: Instant) -> Result<(), CallError> {
        let mut version = FIRST_API_VERSIONS;
        loop {
            let response = self.ask_versions(version, deadline)?;
            match response.error_code {
                0 => {
                    let ranges = response.api_keys.iter();
                    self.versions = ranges
                        .map(|api| (api.api_key, (api.min_version, api.max_version)))
                        .collect();
                    return Ok(());
                }
                UNSUPPORTED_VERSION if version > 0 => version = older_version(&response, version),
                code => return Err(self.nonsense(&format!("it refused ApiVersions with error {code}"))),
            }
        }
    }

    fn ask_versions(&mut self, version: i16, deadline: Instant) -> Result<ApiVersionsResponse, CallError> {
        let request = ApiVersionsRequest {
            client_software_name: "ringlog".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let pending = self.send_as(&request, version, deadline)?;
        let frame = self.read_response(&pending, deadline)?;
        // The refusal of a version is always in version 0, whatever was asked.
        let refused = frame.starts_with(&UNSUPPORTED_VERSION.to_be_bytes());
        ApiVersionsResponse::decode_as(&mut Decoder::new(&frame), if refused { 0 } else { version })
            .map_err(|error| self.nonsense(&format!("its answer to ApiVersions has {error}")))
    }

    fn send_as<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        deadline: Instant,
    ) -> Result<Pending<R>, CallError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some("ringlog".to_owned()),
        };
        let mut frame = vec![0; 4];
        header.encode(&mut frame);
        request.encode_as(&mut frame, version);
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.write(&frame, deadline)?;
        Ok(Pending {
            correlation_id: self.correlation_id,
            version,
            request: PhantomData,
        })
    }

    fn write(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), CallError> {
        while !bytes.is_empty() {
            let left = self.time_left(deadline)?;
            let written = self
                .stream
                .set_write_timeout(Some(left))
                .and_then(|()| self.stream.write(bytes));
            match written {
                Ok(count) => bytes = &bytes[count..],
                Err(error) => self.tolerate(&error)?,
            }
        }
        Ok(())
    }

    /// The response's bytes after its header.
    fn read_response<R: Request>(
        &mut self,
        pending: &Pending<R>,
        deadline: Instant,
    ) -> Result<Bytes, CallError> {
        let mut length = Vec::new();
        self.read_exact(&mut length, 4, deadline)?;
        let length = length
            .iter()
            .fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        if !(4..=MAX_RESPONSE_BYTES).contains(&length) {
            return Err(self.nonsense(&format!(
                "an answer of {length} bytes; is this a port for TLS or HTTP?"
            )));
        }
        let mut frame = Vec::new();
        self.read_exact(&mut frame, length, deadline)?;
        let frame = Bytes::from(frame);
        let header_version = Api::find(R::KEY).map_or(0, |api| api.response_header(pending.version));
        let mut decoder = Decoder::new(&frame);
        let header = ResponseHeader::decode(&mut decoder, header_version)
            .map_err(|error| self.nonsense(&format!("an answer's header has {error}")))?;
        match header.correlation_id == pending.correlation_id {
            true => Ok(frame.slice(decoder.position()..)),
            false => Err(self.nonsense("it answered another request than the one sent")),
        }
    }

    /// Appends `count` bytes. Memory grows with what arrives, not with what was announced.
    fn read_exact(&mut self, into: &mut Vec<u8>, count: usize, deadline: Instant) -> Result<(), CallError> {
        let mut chunk = [0; 1 << 16];
        while into.len() < count {
            let left = self.time_left(deadline)?;
            let wanted = chunk.len().min(count - into.len());
            let read = self.stream.set_read_timeout(Some(left));
            match read.and_then(|()| self.stream.read(&mut chunk[..wanted])) {
                Ok(0) => return Err(self.lost("it closed the connection")),
                Ok(read) => into.extend_from_slice(&chunk[..read]),
                Err(error) => self.tolerate(&error)?,
            }
        }
        Ok(())
    }

    /// A deadline that has passed shows at the next turn; an interrupted call is repeated.
    fn tolerate(&self, error: &std::io::Error) -> Result<(), CallError> {
        match error.kind() {
            ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(()),
            _ => Err(self.lost(&error.to_string())),
        }
    }

    fn time_left(&self, deadline: Instant) -> Result<Duration, CallError> {
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(CallError::Timeout {
                address: self.address.clone(),
            }),
            left => Ok(left),
        }
    }

    fn lost(&self, why: &str) -> CallError {
        CallError::Lost {
            address: self.address.clone(),
            why: why.to_owned(),
        }
    }

    fn nonsense(&self, why: &str) -> CallError {
        CallError::Protocol {
            address: self.address.clone(),
            why: why.to_owned(),
        }
    }
}

/// The version of ApiVersions to ask next: the newest the refusal names, else 0.
fn older_version(refusal: &ApiVersionsResponse, refused: i16) -> i16 {
    let key = ApiVersionsRequest::KEY as i16;
    let named = refusal
        .api_keys
        .iter()
        .find(|api| api.api_key == key)
        .map_or(0, |api| api.max_version);
    named.clamp(0, refused - 1)
}

fn connect(address: &str, deadline: Instant) -> Result<TcpStream, CallError> {
    let failed = |why: String| CallError::Connect {
        address: address.to_owned(),
        why,
    };
    let resolved: Vec<SocketAddr> = address
        .to_socket_addrs()
        .map_err(|error| failed(error.to_string()))?
        .collect();
    let mut last = failed("the name has no address".to_owned());
    for socket_address in resolved {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .min(CONNECT_TIMEOUT);
        if left.is_zero() {
            return Err(CallError::Timeout {
                address: address.to_owned(),
            });
        }
        match TcpStream::connect_timeout(&socket_address, left) {
            Ok(stream) => {
                // Without it a small request waits for the acknowledgement of the one before.
                stream
                    .set_nodelay(true)
                    .map_err(|error| failed(error.to_string()))?;
                return Ok(stream);
            }
            Err(error) => last = failed(error.to_string()),
        }
    }
    Err(last)
}
