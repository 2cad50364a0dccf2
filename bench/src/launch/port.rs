//! A port for a broker.

use std::fs::read_to_string;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::error::Error;

/// Lowest port given out: those below belong to well-known services.
const LOWEST: u16 = 10_000;
/// What Linux uses for outgoing connections when it does not say.
const USUAL_OUTGOING: (u16, u16) = (32_768, 60_999);
const ATTEMPTS: u32 = 1000;

/// A free port of 127.0.0.1 whose next neighbour is free too (Kafka's controller listens there).
///
/// It lies outside the range that the kernel takes ports for outgoing connections from: else the client's own connections could
/// take the port of a broker that is down for a moment.
///
/// # Errors
/// A sentence when a thousand ports were all taken.
pub fn free_port() -> Result<u16, Error> {
    let range = read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let candidates = candidates(outgoing(&range).unwrap_or(USUAL_OUTGOING));
    for _ in 0..ATTEMPTS {
        let random = getrandom::u32().map_err(|error| Error::failed(format!("no random number: {error}")))?;
        let port = candidates.0 + (random % u32::from(candidates.1 - candidates.0)) as u16;
        if is_free(port) && is_free(port + 1) {
            return Ok(port);
        }
    }
    let (from, to) = candidates;
    Err(Error::failed(format!(
        "no two free ports beside each other were found on 127.0.0.1 between {from} and {to}"
    )))
}

/// First and last port for outgoing connections.
fn outgoing(text: &str) -> Option<(u16, u16)> {
    let mut ports = text.split_whitespace().map(str::parse);
    Some((ports.next()?.ok()?, ports.next()?.ok()?))
}

/// From (inclusive) and to (exclusive), so that the neighbour of each lies outside the outgoing ones too: below them when there
/// is room, above otherwise; all of them when the kernel leaves no room on either side.
fn candidates((first, last): (u16, u16)) -> (u16, u16) {
    const ROOM: u16 = 256;
    if first.saturating_sub(LOWEST) >= ROOM {
        (LOWEST, first - 1)
    } else if u16::MAX - last.max(LOWEST) >= ROOM {
        (last.max(LOWEST) + 1, u16::MAX)
    } else {
        (LOWEST, u16::MAX)
    }
}

/// Whether one could listen there. Nothing is made to listen: a socket that does would, in a process forked off meanwhile by another
/// thread, live on for a moment, and the port be taken when the broker comes.
fn is_free(port: u16) -> bool {
    let try_out = || -> io::Result<()> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        Ok(bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?)
    };
    try_out().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn stays_out_of_the_outgoing_ports() {
        for (outgoing, wanted) in [
            ((32_768, 60_999), (10_000, 32_767)),
            ((1024, 60_000), (60_001, 65_535)),
            ((1024, 65_535), (10_000, 65_535)),
            ((10_100, 10_200), (10_201, 65_535)),
            ((0, 0), (10_001, 65_535)),
            ((60_000, 5), (10_000, 59_999)),
        ] {
            assert_eq!(candidates(outgoing), wanted, "{outgoing:?}");
        }
        assert_eq!(outgoing("32768\t60999\n"), Some((32_768, 60_999)));
        for hostile in ["", "1", "x y", "70000 1", "-1 5"] {
            assert_eq!(outgoing(hostile), None, "{hostile}");
        }
    }

    #[test]
    fn the_port_and_its_neighbour_are_free() {
        let port = free_port().unwrap();
        assert!((LOWEST..u16::MAX).contains(&port));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(taken.local_addr().unwrap().port()));
    }
}
