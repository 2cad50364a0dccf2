//! Which local process listens on an address.
//!
//! The kernel's socket tables give the listening socket's number, the descriptors in `/proc` the process that holds it. A
//! process of another user, of another network namespace (a container), or that holds the socket only in an io_uring is not found.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state `LISTEN` in the socket tables.
const LISTEN: &str = "0A";

/// The process that listens on `address`, or on its port for all addresses. Of several that share the socket, the one with the
/// smallest number, which is the parent.
pub fn listener_pid(address: SocketAddr) -> Option<u32> {
    let sockets = listening_sockets(address);
    if sockets.is_empty() {
        return None;
    }
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter().find(|pid| holds_one(*pid, &sockets))
}

/// Whether anything listens on `address`, or on its port for all addresses, in this network namespace.
pub fn is_listening(address: SocketAddr) -> bool {
    !listening_sockets(address).is_empty()
}

fn listening_sockets(address: SocketAddr) -> BTreeSet<u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| listeners_in(&fs::read_to_string(table).unwrap_or_default(), address))
        .collect()
}

fn holds_one(pid: u32, sockets: &BTreeSet<u64>) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        let target = fs::read_link(descriptor.path()).unwrap_or_default();
        socket_number(&target.to_string_lossy()).is_some_and(|number| sockets.contains(&number))
    })
}

/// The number in `socket:[number]`.
fn socket_number(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The numbers of the sockets in a table of the form of `/proc/net/tcp` that accept connections to `address`.
fn listeners_in(table: &str, address: SocketAddr) -> Vec<u64> {
    let accepts = |local: SocketAddr| {
        local.port() == address.port()
            && (local.ip().is_unspecified() || local.ip() == address.ip().to_canonical())
    };
    let listener = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (parse_address(fields.next()?)?, fields.nth(1)?);
        let socket = fields.nth(5)?.parse().ok()?;
        (state == LISTEN && accepts(local)).then_some(socket)
    };
    table.lines().filter_map(listener).collect()
}

/// `0100007F:2384`: words of four bytes, each as this machine holds them, then the port. Mapped IPv4 addresses become IPv4.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    if !ip.is_ascii() {
        return None;
    }
    let words: Vec<[u8; 4]> = (0..ip.len())
        .step_by(8)
        .map(|at| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    let ip = match *words.as_slice() {
        [v4] => IpAddr::from(Ipv4Addr::from(v4)),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[cfg(target_endian = "little")]
    const TABLE: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 x
   1: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 x
   2: 0200007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 x
   3: 0100007F:2384 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 14 1 x
   4: 0100007F:2385 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 15 1 x
   5: 0000000000000000FFFF00000100007F:2384 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 16 1 x
   6: 00000000000000000000000001000000:2384 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 17 1 x
   7: 00000000000000000000000000000000:2384 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 18 1 x
";

    #[test]
    #[cfg(target_endian = "little")]
    fn finds_who_accepts_connections_to_an_address() {
        let of = |address: &str| listeners_in(TABLE, address.parse().unwrap());
        assert_eq!(of("127.0.0.1:9092"), [11, 12, 16, 18]);
        assert_eq!(of("127.0.0.2:9092"), [11, 13, 18]);
        assert_eq!(of("[::1]:9092"), [11, 17, 18]);
        assert_eq!(of("[::ffff:127.0.0.1]:9093"), [15]);
        assert_eq!(of("127.0.0.1:39321"), [0u64; 0]);
    }

    #[test]
    fn hostile_tables_have_no_listeners() {
        let address: SocketAddr = "127.0.0.1:9092".parse().unwrap();
        for line in [
            "",
            "0:",
            "0: 0100007F 0 0A 0 0 0 0 0 12",
            "0: :2384 0:0 0A 0:0 0:0 0 0 0 12 1",
            "0: 0100007F:FFFFF 0:0 0A 0:0 0:0 0 0 0 12 1",
            "0: 0100007:2384 0:0 0A 0:0 0:0 0 0 0 12 1",
            "0: 0100007F0100007F:2384 0:0 0A 0:0 0:0 0 0 0 12 1",
            "0: é100007F:2384 0:0 0A 0:0 0:0 0 0 0 12 1",
            "0: 0100007F:2384 0:0 0A 0:0 0:0 0 0 0 -12 1",
            "0: 0100007F:2384 0:0 0A 0:0 0:0 0 0 0",
        ] {
            assert_eq!(listeners_in(line, address), [0u64; 0], "{line}");
        }
        assert_eq!(socket_number("socket:[12]"), Some(12));
        for link in ["socket:[", "socket:[x]", "pipe:[12]", "/socket:[12]"] {
            assert_eq!(socket_number(link), None, "{link}");
        }
    }

    #[test]
    fn finds_this_process() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            let loopback = SocketAddr::from(([127, 0, 0, 1], port));
            assert_eq!(listener_pid(loopback), Some(std::process::id()));
            assert!(is_listening(loopback));
        }
    }
}
