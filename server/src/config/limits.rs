//! The table of broker settings that bound what clients can make the broker hold: connections, requests in flight, answers not taken,
//! fetches that wait. Kafka's names for what Kafka bounds too.
//!
//! ```text
//! a core's heap for clients <= requests in flight + answers not taken + fetches that wait + fetch sessions + connections
//! ```

use std::net::{IpAddr, ToSocketAddrs};

use super::broker::BrokerKey;
use super::coordinator::key;
use super::kind::{Kind, split_list};
use super::{ConfigError, Reader};

const POSITIVE_INT: Kind = Kind::Int(1, i32::MAX);
const MIB: u64 = 1 << 20;

/// `max.connections.per.ip.overrides`.
const PER_IP_OVERRIDES: &str = "max.connections.per.ip.overrides";
/// `queued.max.request.bytes`.
const QUEUED_MAX_REQUEST_BYTES: &str = "queued.max.request.bytes";
/// `ringlog.core.max.in.flight.bytes`.
const CORE_IN_FLIGHT_BYTES: &str = "ringlog.core.max.in.flight.bytes";
/// `ringlog.core.max.unsent.bytes`.
const CORE_UNSENT_BYTES: &str = "ringlog.core.max.unsent.bytes";

/// The share of a core's part of `ringlog.memory` that requests in flight may have where nothing else is said, and answers not taken again.
const CORE_SHARE: u64 = 4;

/// Partitions of a fetch that waits, or of a session, that count as one.
pub const PARTITIONS_AT_ONCE: usize = 16;

/// Every one of them, sorted by name.
pub static LIMIT_KEYS: &[BrokerKey] = &[
    key(
        "max.connections",
        Kind::Int(0, i32::MAX),
        "2147483647",
        "The most client connections open at a time.",
    ),
    key(
        "max.connections.per.ip",
        Kind::Int(0, i32::MAX),
        "2147483647",
        "The most connections open at a time from one address. One more is closed at once.",
    ),
    key(
        PER_IP_OVERRIDES,
        Kind::Text,
        "",
        "Other such limits for single addresses or host names, as host:count, separated by commas.",
    ),
    key(
        QUEUED_MAX_REQUEST_BYTES,
        Kind::Long(i64::MIN, i64::MAX),
        "-1",
        "The most bytes of requests held at a time, over all cores, if that is less than ringlog.core.max.in.flight.bytes says; \
         -1 for no limit but that.",
    ),
    key(
        "queued.max.requests",
        POSITIVE_INT,
        "500",
        "Requests that wait for an earlier one of their connection, over all connections, from which on no connection that has one is read from.",
    ),
    key(
        "ringlog.connection.max.in.flight.bytes",
        Kind::Bytes(64 << 10, 1 << 31),
        "8388608",
        "Bytes of requests received and not answered from which on a connection is not read from. One larger request is taken alone.",
    ),
    key(
        "ringlog.connection.max.in.flight.requests",
        Kind::Int(1, 1 << 20),
        "512",
        "Requests received and not answered from which on a connection is not read from.",
    ),
    BrokerKey {
        name: CORE_IN_FLIGHT_BYTES,
        kind: Kind::Bytes(MIB, 1 << 40),
        default: None,
        doc: "Bytes of requests received and not answered from which on a core reads from none of its connections; from half of it on, \
              not from those that hold more than their share. When absent, a quarter of the core's part of ringlog.memory.",
    },
    key(
        "ringlog.core.max.parked.fetches",
        Kind::Int(1, 1 << 24),
        "8192",
        "The most fetches that wait for data on one core; one of many partitions counts once for every 16 of them. For one more, the one \
         that has waited longest is answered.",
    ),
    key(
        "ringlog.core.max.session.partitions",
        Kind::Int(1, 1 << 24),
        "131072",
        "The most partitions that the fetch sessions of one core remember, all together. Beyond it clients name all their partitions each time.",
    ),
    BrokerKey {
        name: CORE_UNSENT_BYTES,
        kind: Kind::Bytes(MIB, 1 << 40),
        default: None,
        doc: "Bytes of answers that clients of one core have not taken: the nearer they come to it, the less is the most a fetch is answered with. \
              When those of them that are not in the engine's memory reach it, no further fetch is started. When absent, a quarter of the core's \
              part of ringlog.memory.",
    },
];

/// What the settings come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// `ringlog.connection.max.in.flight.bytes` and `.requests`.
    pub connection: ConnectionLimits,
    /// For each core: `ringlog.core.max.in.flight.bytes`, or its part of `queued.max.request.bytes` when that is less.
    pub core_in_flight_bytes: usize,
    /// `ringlog.core.max.unsent.bytes`.
    pub core_unsent_bytes: usize,
    /// `ringlog.core.max.parked.fetches`.
    pub core_parked_fetches: usize,
    /// `ringlog.core.max.session.partitions`.
    pub core_session_partitions: usize,
    /// `queued.max.requests`, each core's part.
    pub core_queued_requests: usize,
    /// `max.connections`.
    pub connections: usize,
    /// `max.connections.per.ip`; nothing when there is no such limit.
    pub connections_per_ip: Option<usize>,
    /// `max.connections.per.ip.overrides`.
    pub per_ip_overrides: Vec<(IpAddr, usize)>,
}

/// What one connection may have received and not answered before it is no longer read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// `socket.request.max.bytes`: the largest single request.
    pub frame_bytes: usize,
    /// Bytes of requests.
    pub bytes: usize,
    /// Requests.
    pub requests: usize,
}

/// Reads the limits for so many cores that have `memory_bytes` together.
pub(super) fn read(read: &Reader<'_>, cores: usize, memory_bytes: u64) -> Result<Limits, ConfigError> {
    let share = memory_bytes / cores as u64 / CORE_SHARE;
    let in_flight: u64 = read.set(CORE_IN_FLIGHT_BYTES).unwrap_or(share);
    let queued: i64 = read.number(QUEUED_MAX_REQUEST_BYTES);
    let queued = u64::try_from(queued).map_or(u64::MAX, |bytes| bytes / cores as u64);
    let per_ip: usize = read.number("max.connections.per.ip");
    let requests: usize = read.number("queued.max.requests");
    Ok(Limits {
        connection: ConnectionLimits {
            frame_bytes: read.number("socket.request.max.bytes"),
            bytes: read.number("ringlog.connection.max.in.flight.bytes"),
            requests: read.number("ringlog.connection.max.in.flight.requests"),
        },
        core_in_flight_bytes: usize::try_from(in_flight.min(queued)).unwrap_or(usize::MAX),
        core_unsent_bytes: read.set(CORE_UNSENT_BYTES).unwrap_or(share as usize),
        core_parked_fetches: read.number("ringlog.core.max.parked.fetches"),
        core_session_partitions: read.number("ringlog.core.max.session.partitions"),
        core_queued_requests: requests.div_ceil(cores),
        connections: read.number("max.connections"),
        connections_per_ip: (per_ip < i32::MAX as usize).then_some(per_ip),
        per_ip_overrides: overrides(read.text(PER_IP_OVERRIDES).unwrap_or_default())?,
    })
}

/// Kafka's `queued.max.request.bytes` is -1 or large enough for one request.
///
/// # Errors
/// Kafka's sentence.
pub(super) fn check(read: &Reader<'_>) -> Result<(), ConfigError> {
    let queued: i64 = read.number(QUEUED_MAX_REQUEST_BYTES);
    let largest: i64 = read.number("socket.request.max.bytes");
    match queued <= 0 || queued >= largest {
        true => Ok(()),
        false => Err(ConfigError(format!(
            "{QUEUED_MAX_REQUEST_BYTES} must be larger or equal to socket.request.max.bytes"
        ))),
    }
}

/// Addresses with limits of their own. A host name stands for all its addresses at start.
fn overrides(text: &str) -> Result<Vec<(IpAddr, usize)>, ConfigError> {
    let refuse = |one: &str| ConfigError(format!("{PER_IP_OVERRIDES}: expected host:count, found {one}"));
    let mut all = Vec::new();
    for one in split_list(text).into_iter().filter(|one| !one.is_empty()) {
        let (host, count) = one.rsplit_once(':').ok_or_else(|| refuse(one))?;
        let count: usize = count.trim().parse().map_err(|_| refuse(one))?;
        let host = host.trim().trim_start_matches('[').trim_end_matches(']');
        let found = (host, 0).to_socket_addrs();
        let found = found.map_err(|error| ConfigError(format!("{PER_IP_OVERRIDES}: {host}: {error}")))?;
        all.extend(found.map(|address| (address.ip().to_canonical(), count)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn limits(list: &[(&str, &str)]) -> Result<Limits, String> {
        let pairs = [("ringlog.memory", "64M"), ("ringlog.cores", "2")];
        let pairs = pairs
            .iter()
            .chain(list)
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::from_pairs(pairs.collect())
            .map(|config| config.limits)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_follows_from_the_memory() {
        let limits = limits(&[]).expect("valid");
        assert_eq!(
            (limits.core_in_flight_bytes, limits.core_unsent_bytes),
            (8 << 20, 8 << 20)
        );
        assert_eq!(
            (limits.connection.bytes, limits.connection.requests),
            (8 << 20, 512)
        );
        assert_eq!(
            (limits.core_queued_requests, limits.connections_per_ip),
            (250, None)
        );
    }

    #[test]
    fn the_smaller_limit_of_requests_holds() {
        let bytes = |list: &[(&str, &str)]| limits(list).map(|limits| limits.core_in_flight_bytes);
        let largest = ("socket.request.max.bytes", "1000000");
        assert_eq!(
            bytes(&[largest, ("queued.max.request.bytes", "4194304")]),
            Ok(2 << 20)
        );
        let own = ("ringlog.core.max.in.flight.bytes", "1M");
        assert_eq!(
            bytes(&[largest, own, ("queued.max.request.bytes", "4194304")]),
            Ok(1 << 20)
        );
        let said = bytes(&[("queued.max.request.bytes", "1000")]).expect_err("too small");
        assert!(
            said.contains("must be larger or equal to socket.request.max.bytes"),
            "{said}"
        );
    }

    #[test]
    fn addresses_have_limits_of_their_own() {
        let limits = limits(&[
            ("max.connections.per.ip", "7"),
            (PER_IP_OVERRIDES, "127.0.0.1:3, [::1]:4"),
        ]);
        let limits = limits.expect("valid");
        assert_eq!(limits.connections_per_ip, Some(7));
        let wanted = [("127.0.0.1", 3), ("::1", 4)].map(|(ip, count)| (ip.parse().expect("address"), count));
        assert_eq!(limits.per_ip_overrides, wanted);
        for wrong in ["127.0.0.1", "127.0.0.1:many", "127.0.0.1:-1"] {
            assert!(super::overrides(wrong).is_err(), "{wrong}");
        }
    }
}
