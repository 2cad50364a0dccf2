//! Bytes to typed messages and back: Kafka's wire protocol, without I/O, state or panics.
//!
//! A frame is a length and its bytes ([`frame`]); the bytes are a header ([`header`]) and a message
//! ([`messages`], whose declarations the macro in [`schema`] turns into code). The records of the metadata
//! log and of control batches are declared alike. [`api`] is the table of what is served, [`code`] the
//! errors. Messages are named as Kafka names them, so its documentation is theirs too.
//!
//! ```
//! use ringlog::wire::Decoder;
//! use ringlog::wire::metadata::MetadataRequest;
//!
//! let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
//! let mut out = Vec::new();
//! request.encode(&mut out, 12);
//! let frame = out.into();
//! assert_eq!(MetadataRequest::decode(&mut Decoder::new(&frame), 12), Ok(request));
//! ```

pub mod api;
pub mod code;
pub mod consumer_protocol;
pub mod control_records;
pub mod error;
pub mod fetch_writer;
pub mod field;
pub mod frame;
pub mod group_records;
pub mod header;
pub mod messages;
pub mod metadata_records;
pub mod primitives;
pub mod schema;
pub mod transaction_records;
pub mod uuid;

pub use api::{Api, ApiKey, Request};
pub use code::ErrorCode;
pub use error::WireError;
pub use fetch_writer::{FetchResponseWriter, Part, Scattered};
pub use messages::*;
pub use primitives::Decoder;
pub use schema::Message;
pub use uuid::Uuid;

#[cfg(test)]
mod tests;
