//! Requests this core answers for and has not answered yet: what waits for other cores, the disk or a deadline.

use ringlog_engine::io::ConnId;

use super::ask::AskCall;
use super::describe::DescribeCall;
use super::fetch::FetchCall;
use super::groups::GroupCall;
use super::produce::ProduceCall;
use super::transactions::TxnCall;
use super::transactions::markers::MarkCall;
use crate::wire::find_coordinator::FindCoordinatorRequest;
use crate::wire::metadata::MetadataRequest;
use crate::wire::{Api, ApiKey, Message};

/// Where a response goes, and how it is encoded. Travels with a request through the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// The core that holds the connection.
    pub core: usize,
    /// The connection's socket.
    pub conn: ConnId,
    /// Tells the connection from earlier ones with the same socket id.
    pub serial: u64,
    /// Which of the connection's requests.
    pub number: u64,
    /// The request's kind.
    pub api_key: ApiKey,
    /// Version of the request and of its response.
    pub version: i16,
    /// Comes back to the client as it was.
    pub correlation_id: i32,
}

impl ReplyTo {
    /// Encodes a whole response frame: length, header and body.
    pub fn encode<M: Message>(&self, body: &M) -> Vec<u8> {
        let mut out = self.begin();
        body.encode_as(&mut out, self.version);
        finish(out)
    }

    /// A frame up to the end of its header. The first four bytes are the length, still to be filled in.
    pub fn begin(&self) -> Vec<u8> {
        let flexible = Api::find(self.api_key).is_some_and(|api| api.response_header(self.version) >= 1);
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.correlation_id.to_be_bytes());
        if flexible {
            out.push(0);
        }
        out
    }
}

/// Fills in the length of a frame that is whole.
pub fn finish(mut frame: Vec<u8>) -> Vec<u8> {
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Names a call of one core. An id is not used again: late mail for a finished call finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId {
    place: u32,
    generation: u32,
}

/// One request under way.
#[derive(Debug)]
pub struct Call {
    /// Where the response goes.
    pub reply: ReplyTo,
    /// What it waits for.
    pub kind: CallKind,
}

/// What a call waits for.
#[derive(Debug)]
pub enum CallKind {
    /// Appends on the owners of the partitions.
    Produce(ProduceCall),
    /// Reads, or more data to come.
    Fetch(Box<FetchCall>),
    /// Answers of the owners to one question per partition.
    Ask(Box<AskCall>),
    /// Every core's words about itself.
    Describe(Box<DescribeCall>),
    /// Topics that are being created for it.
    Metadata(Box<MetadataRequest>),
    /// The topic for groups, which is being created for it.
    Coordinator(Box<FindCoordinatorRequest>),
    /// Answers of the coordinators of groups.
    Groups(Box<GroupCall>),
    /// Answers of the coordinators of transactions.
    Transactions(Box<TxnCall>),
    /// Markers an administrator has written.
    Mark(Box<MarkCall>),
}

/// The calls of one core, by id.
#[derive(Debug, Default)]
pub struct Calls {
    places: Vec<(u32, Option<Call>)>,
    free: Vec<u32>,
}

impl Calls {
    /// Adds a call.
    pub fn insert(&mut self, call: Call) -> CallId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() as u32 - 1
        });
        let (generation, slot) = &mut self.places[place as usize];
        *slot = Some(call);
        CallId {
            place,
            generation: *generation,
        }
    }

    /// The call, unless it is finished.
    pub fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        match self.places.get_mut(id.place as usize) {
            Some((generation, call)) if *generation == id.generation => call.as_mut(),
            _ => None,
        }
    }

    /// Takes the call out, unless it is finished.
    pub fn remove(&mut self, id: CallId) -> Option<Call> {
        self.get_mut(id)?;
        let (generation, call) = &mut self.places[id.place as usize];
        *generation = generation.wrapping_add(1);
        self.free.push(id.place);
        call.take()
    }

    /// Number of calls under way.
    pub fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// All calls under way.
    pub fn iter(&self) -> impl Iterator<Item = (CallId, &Call)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(place, (generation, call))| {
                let id = CallId {
                    place: place as u32,
                    generation: *generation,
                };
                call.as_ref().map(|call| (id, call))
            })
    }
}

#[cfg(test)]
impl Calls {
    /// An id that no call has, for tests of what only carries ids.
    pub(crate) fn reserve_for_test(&mut self) -> CallId {
        let place = self.places.len() as u32;
        self.places.push((0, None));
        CallId { place, generation: 0 }
    }
}

#[cfg(test)]
mod tests {
    use ringlog_engine::io::ConnId;

    use super::*;

    fn call() -> Call {
        let (core, conn, serial, number) = (0, ConnId(1), 1, 0);
        let reply = ReplyTo {
            core,
            conn,
            serial,
            number,
            api_key: ApiKey::Metadata,
            version: 0,
            correlation_id: 1,
        };
        Call {
            reply,
            kind: CallKind::Metadata(Box::default()),
        }
    }

    #[test]
    fn late_mail_finds_nothing() {
        let mut calls = Calls::default();
        let first = calls.insert(call());
        assert!(calls.get_mut(first).is_some());
        assert!(calls.remove(first).is_some());
        let second = calls.insert(call());
        assert_eq!(first.place, second.place);
        assert!(calls.get_mut(first).is_none() && calls.remove(first).is_none());
        assert_eq!((calls.count(), calls.iter().count()), (1, 1));
    }
}
