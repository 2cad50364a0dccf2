//! How many connections are open, over all cores and from each address. Only opening and closing one touches it, and the lock only where addresses
//! have limits.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::config::limits::Limits;

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `max.connections` are open.
    Broker(usize),
    /// As many as its address may have are.
    Address(IpAddr, usize),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Broker(most) => write!(f, "{most} are open, which is max.connections"),
            Refusal::Address(address, most) => {
                write!(
                    f,
                    "{most} from {address} are open, which is max.connections.per.ip"
                )
            }
        }
    }
}

/// The connections that are open.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    open: AtomicUsize,
    per_address: Option<PerAddress>,
}

#[derive(Debug)]
struct PerAddress {
    most: usize,
    overrides: HashMap<IpAddr, usize>,
    /// Addresses with connections: never more than there are connections.
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Connections {
    /// None is open.
    pub fn new(limits: &Limits) -> Connections {
        let is_limited = limits.connections_per_ip.is_some() || !limits.per_ip_overrides.is_empty();
        let per_address = is_limited.then(|| PerAddress {
            most: limits.connections_per_ip.unwrap_or(usize::MAX),
            overrides: limits.per_ip_overrides.iter().copied().collect(),
            open: Mutex::default(),
        });
        Connections {
            most: limits.connections,
            open: AtomicUsize::new(0),
            per_address,
        }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// It is one too many, and is not counted.
    pub fn admit(&self, peer: Option<SocketAddr>) -> Result<(), Refusal> {
        let most = self.most;
        let more = |open: usize| (open < most).then_some(open + 1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| Refusal::Broker(most))?;
        let limited = self.per_address.as_ref().zip(peer);
        limited.map_or(Ok(()), |(all, peer)| {
            all.admit(peer.ip().to_canonical()).inspect_err(|_| {
                self.open.fetch_sub(1, Ordering::Relaxed);
            })
        })
    }

    /// One that was admitted is closed.
    pub fn release(&self, peer: Option<SocketAddr>) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some((all, peer)) = self.per_address.as_ref().zip(peer) {
            all.release(peer.ip().to_canonical());
        }
    }
}

impl PerAddress {
    fn admit(&self, address: IpAddr) -> Result<(), Refusal> {
        let most = self.overrides.get(&address).copied().unwrap_or(self.most);
        // Nothing in here panics half-way; what another thread left behind is whole.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&address).copied().unwrap_or(0);
        if count >= most {
            return Err(Refusal::Address(address, most));
        }
        open.insert(address, count + 1);
        Ok(())
    }

    fn release(&self, address: IpAddr) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn connections(list: &[(&str, &str)]) -> Connections {
        let pairs = list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Connections::new(&Config::from_pairs(pairs.collect()).expect("valid").limits)
    }

    fn peer(address: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(address.parse().expect("an address"), 5000))
    }

    #[test]
    fn one_too_many_is_refused_until_another_is_closed() {
        let all = connections(&[("max.connections", "2")]);
        assert_eq!((all.admit(None), all.admit(peer("10.0.0.1"))), (Ok(()), Ok(())));
        assert_eq!(all.admit(None), Err(Refusal::Broker(2)));
        all.release(None);
        assert_eq!(all.admit(None), Ok(()));
    }

    #[test]
    fn each_address_has_a_limit_and_some_their_own() {
        let all = connections(&[
            ("max.connections", "4"),
            ("max.connections.per.ip", "1"),
            ("max.connections.per.ip.overrides", "10.0.0.2:2"),
        ]);
        let (a, b) = (peer("10.0.0.1"), peer("10.0.0.2"));
        assert_eq!(all.admit(a), Ok(()));
        // The same address, written for a socket of the newer protocol.
        let said = all.admit(peer("::ffff:10.0.0.1"));
        assert_eq!(
            said,
            Err(Refusal::Address("10.0.0.1".parse().expect("an address"), 1))
        );
        assert_eq!((all.admit(b), all.admit(b)), (Ok(()), Ok(())));
        assert!(all.admit(b).is_err());
        all.release(a);
        // Who was refused counted for nobody.
        assert_eq!(all.admit(a), Ok(()));
        assert_eq!(all.admit(peer("10.0.0.3")), Ok(()));
        assert_eq!(all.admit(peer("10.0.0.4")), Err(Refusal::Broker(4)));
        [a, b, b].into_iter().for_each(|peer| all.release(peer));
        let open = all
            .per_address
            .map(|all| all.open.into_inner().map(|open| open.len()));
        assert!(matches!(open, Some(Ok(1))), "{open:?}");
    }
}
