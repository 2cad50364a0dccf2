//! The addresses to listen on, settled before anything is written: a port that is taken is found out here.
//!
//! The cores share each address (SO_REUSEPORT), which would also let a second broker of the same user share it
//! unnoticed. So the address is first bound without sharing, then held by a socket that shares but does not listen, until all
//! cores do.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};

use super::StartError;
use crate::config::Listener;

/// How long an address in use is asked for again.
const PREDECESSOR_PATIENCE: Duration = Duration::from_millis(1000);
/// How long in between.
const PAUSE: Duration = Duration::from_millis(2);

/// An address that is ours.
#[derive(Debug)]
pub struct Reserved {
    /// The address; its port is never 0.
    pub address: SocketAddr,
    _socket: OwnedFd,
}

/// Reserves the address of each listener.
///
/// # Errors
/// A name that cannot be resolved, an address that is taken or not this machine's.
pub fn reserve(listeners: &[Listener]) -> Result<Vec<Reserved>, StartError> {
    listeners.iter().map(reserve_one).collect()
}

fn reserve_one(listener: &Listener) -> Result<Reserved, StartError> {
    let asked = resolve(listener)?;
    let failed = |error: rustix::io::Errno| {
        let what_to_do = remedy(error).unwrap_or_default();
        StartError(format!(
            "cannot listen on {asked}: {}{what_to_do}",
            std::io::Error::from(error)
        ))
    };
    drop(bound_alone(asked).map_err(failed)?);
    let socket = bound(asked, true).map_err(failed)?;
    let address = getsockname(&socket)
        .and_then(SocketAddr::try_from)
        .map_err(failed)?;
    Ok(Reserved {
        address,
        _socket: socket,
    })
}

/// What an operator can do about it.
fn remedy(error: rustix::io::Errno) -> Option<&'static str> {
    match error {
        rustix::io::Errno::ADDRINUSE => Some(
            "; another process listens there: stop it, or give this broker another address with --listen or listeners",
        ),
        rustix::io::Errno::ADDRNOTAVAIL => Some(
            "; this machine has no such address: name one of its own with --listen or listeners, or 0.0.0.0 for all of them",
        ),
        rustix::io::Errno::ACCESS => {
            Some("; ports below 1024 need a privilege: choose another with --listen or listeners")
        }
        _ => None,
    }
}

/// The address while nobody else has it. A killed predecessor's io_uring lets go of its listening socket some milliseconds
/// after its process is gone (5.6 to 7.8 were seen), so an address in use is asked for again for a while.
fn bound_alone(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let begun = Instant::now();
    loop {
        match bound(address, false) {
            Err(rustix::io::Errno::ADDRINUSE) if begun.elapsed() < PREDECESSOR_PATIENCE => {
                std::thread::sleep(PAUSE)
            }
            outcome => return outcome,
        }
    }
}

fn resolve(listener: &Listener) -> Result<SocketAddr, StartError> {
    let (host, port) = (listener.bind_host.as_str(), listener.bind_port);
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let mut found = (host, port).to_socket_addrs();
    let first = found.as_mut().ok().and_then(Iterator::next);
    first.ok_or_else(|| StartError(format!("cannot listen on {host}:{port}: the name has no address")))
}

fn bound(address: SocketAddr, shared: bool) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    bind(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(port: u16) -> Listener {
        let host = "127.0.0.1".to_owned();
        Listener {
            name: "PLAINTEXT".to_owned(),
            bind_host: host.clone(),
            bind_port: port,
            advertised_host: host,
            advertised_port: port,
        }
    }

    #[test]
    fn a_taken_port_is_refused_even_when_it_is_shared() {
        let reserved = reserve(&[listener(0)]).expect("free");
        let port = reserved[0].address.port();
        assert_ne!(port, 0);
        rustix::net::listen(&reserved[0]._socket, 1).expect("listening");
        let refused = reserve(&[listener(port)]).expect_err("taken");
        assert!(
            refused.to_string().contains("cannot listen on 127.0.0.1:"),
            "{refused}"
        );
        assert!(
            refused.to_string().contains("another address with --listen"),
            "{refused}"
        );
        let mut elsewhere = listener(port);
        elsewhere.bind_host = "192.0.2.1".to_owned();
        let refused = reserve(&[elsewhere]).expect_err("not of this machine");
        assert!(
            refused.to_string().contains("0.0.0.0 for all of them"),
            "{refused}"
        );
        drop(reserved);
        assert!(reserve(&[listener(port)]).is_ok());
    }
}
