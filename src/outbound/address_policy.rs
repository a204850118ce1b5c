//! Which addresses may be connected to where a user chose the name.
//!
//! Refused is what is not the public internet: by the special-purpose registries of IANA (RFC 6890 and its updates), by addresses
//! within which another is written, and what is known to give clouds' credentials to whoever asks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Says which addresses may be connected to: public ones, and those of networks that the operator named.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
}

/// Why an address may not be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It is not on the public internet, and in no network that was named.
    #[error("the address is {0}")]
    Address(&'static str),
    /// The port belongs to a service that is not HTTP.
    #[error("the port is below 1024, and neither 80 nor 443")]
    Port,
}

/// Ports below this are given out by IANA for well-known services; of which two are HTTP's.
const FIRST_FREE_PORT: u16 = 1024;

/// See [`FIRST_FREE_PORT`].
const HTTP_PORTS: [u16; 2] = [80, 443];

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// Addresses at which clouds give credentials. A network that holds one does not allow it: it must be named by itself.
const METADATA: [IpAddr; 9] = [
    // AWS, Google Cloud, Azure and most others.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // AWS: ECS and EKS.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure; the one that is a public address.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Oracle Cloud.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // AWS over IPv6: EC2 and EKS.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Google Cloud over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// What is not public of IPv4.
const RESERVED_V4: [(Ipv4Net, &str); 15] = [
    (v4(0, 0, 0, 0, 8), "unspecified"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "private"),
    (v4(127, 0, 0, 0, 8), "a loopback"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "reserved"),
    (v4(192, 0, 2, 0, 24), "for documentation"),
    // Relays of 6to4, which are gone.
    (v4(192, 88, 99, 0, 24), "reserved"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "for benchmarks"),
    (v4(198, 51, 100, 0, 24), "for documentation"),
    (v4(203, 0, 113, 0, 24), "for documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    // With the broadcast address.
    (v4(240, 0, 0, 0, 4), "reserved"),
];

/// What is not public of IPv6, of what is left within [`PUBLIC_V6`] or has a name of its own.
const RESERVED_V6: [(Ipv6Net, &str); 10] = [
    // Local NAT64.
    (v6(0x64, 0xff9b, 1, 48), "private"),
    (v6(0x100, 0, 0, 64), "reserved"),
    // Protocol assignments: Teredo, ORCHID and others.
    (v6(0x2001, 0, 0, 23), "reserved"),
    (v6(0x2001, 0xdb8, 0, 32), "for documentation"),
    (v6(0x3fff, 0, 0, 20), "for documentation"),
    (v6(0x5f00, 0, 0, 16), "reserved"),
    (v6(0xfc00, 0, 0, 7), "private"),
    (v6(0xfe80, 0, 0, 10), "link-local"),
    // Site-local, of old.
    (v6(0xfec0, 0, 0, 10), "private"),
    (v6(0xff00, 0, 0, 8), "multicast"),
];

/// The part of IPv6 that is given out for the public internet.
const PUBLIC_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Addresses of the well-known NAT64 prefix end with the IPv4 address that is reached.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Addresses of 6to4 have the IPv4 address of their router behind this prefix.
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);

impl AddressPolicy {
    /// Allows public addresses, and those of `allowed`.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether an address may be connected to.
    ///
    /// # Errors
    /// [`Forbidden`], with what is to be told of it.
    pub fn check(&self, address: SocketAddr) -> Result<(), Forbidden> {
        if address.port() < FIRST_FREE_PORT && !HTTP_PORTS.contains(&address.port()) {
            return Err(Forbidden::Port);
        }
        // An IPv4 address within IPv6 is connected to as that IPv4 address.
        let ip = address.ip().to_canonical();
        match reserved(ip) {
            Some(what) if !self.names(ip) => Err(Forbidden::Address(what)),
            _ => Ok(()),
        }
    }

    fn names(&self, ip: IpAddr) -> bool {
        let mut networks = self.allowed.iter();
        if METADATA.contains(&ip) {
            networks.any(|network| *network == IpNet::from(ip))
        } else {
            networks.any(|network| network.contains(&ip))
        }
    }
}

/// What an address is, if it is not a public one.
fn reserved(ip: IpAddr) -> Option<&'static str> {
    if METADATA.contains(&ip) {
        return Some("a cloud's metadata service");
    }
    match ip {
        IpAddr::V4(ip) => RESERVED_V4.iter().find(|(network, _)| network.contains(&ip)).map(|(_, what)| *what),
        IpAddr::V6(ip) => reserved_v6(ip),
    }
}

fn reserved_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let [.., a, b, c, d] = ip.octets();
    if NAT64.contains(&ip) {
        return reserved(Ipv4Addr::new(a, b, c, d).into());
    }
    if SIX_TO_FOUR.contains(&ip) {
        let [_, _, a, b, c, d, ..] = ip.octets();
        return reserved(Ipv4Addr::new(a, b, c, d).into());
    }
    match RESERVED_V6.iter().find(|(network, _)| network.contains(&ip)) {
        Some((_, what)) => Some(what),
        None if PUBLIC_V6.contains(&ip) => None,
        None if ip.is_loopback() => Some("a loopback"),
        None if ip.is_unspecified() => Some("unspecified"),
        None => Some("reserved"),
    }
}

#[cfg(test)]
mod tests;
