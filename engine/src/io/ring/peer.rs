//! Where the kernel puts the address of a client that connects.

use std::net::SocketAddr;

/// One address under way. It stays where it is while an accept points to it.
pub(super) struct Peer {
    address: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl Peer {
    /// Room for any address.
    pub fn new() -> Box<Peer> {
        Box::new(Peer {
            // SAFETY: the type is plain numbers, for which zeroes are a value.
            address: unsafe { std::mem::zeroed() },
            length: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        })
    }

    /// What an accept is told: where to write the address, and where its length.
    pub fn pointers(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        self.length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        ((&raw mut self.address).cast(), &raw mut self.length)
    }

    /// The address, if it is one of the internet.
    pub fn get(&self) -> Option<SocketAddr> {
        let at = (&raw const self.address).cast::<u8>();
        // SAFETY: the storage is as large as any address, and all of it is initialized.
        let bytes = unsafe { std::slice::from_raw_parts(at, size_of::<libc::sockaddr_storage>()) };
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        match i32::from(self.address.ss_family) {
            libc::AF_INET => {
                let ip: [u8; 4] = bytes[4..8].try_into().ok()?;
                Some(SocketAddr::from((ip, port)))
            }
            libc::AF_INET6 => {
                let ip: [u8; 16] = bytes[8..24].try_into().ok()?;
                Some(SocketAddr::from((ip, port)))
            }
            _ => None,
        }
    }
}
