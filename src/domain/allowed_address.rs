//! Where other servers of the deployment may be: networks, and names of hosts.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::Expected;

/// Longest name of a host (RFC 1035).
const MAX_HOST_CHARS: usize = 253;

/// One entry of a list of addresses that are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedAddress {
    /// Addresses of this network, whatever name leads to them.
    Network(IpNet),
    /// What this name leads to, whatever its addresses are; in lower case.
    Host(String),
    /// What names below this one lead to; in lower case, with a dot in front. Written `*.example.org`.
    HostsBelow(String),
}

impl AllowedAddress {
    /// Whether a host with this name is allowed, whatever its addresses are.
    #[must_use]
    pub fn allows_host(&self, host: &str) -> bool {
        match self {
            Self::Network(_) => false,
            Self::Host(name) => host.eq_ignore_ascii_case(name),
            Self::HostsBelow(suffix) => {
                let split = host.len().checked_sub(suffix.len()).filter(|split| *split > 0);
                split.and_then(|split| host.get(split..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
        }
    }

    /// Whether this address is allowed, whatever name leads to it.
    #[must_use]
    pub fn allows_address(&self, address: IpAddr) -> bool {
        // An IPv4 address within IPv6 is connected to as that IPv4 address.
        matches!(self, Self::Network(network) if network.contains(&address.to_canonical()))
    }
}

impl FromStr for AllowedAddress {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let network = text.parse::<IpNet>().map(|network| network.trunc());
        if let Ok(network) = network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            return Ok(Self::Network(network));
        }
        let (name, is_below) = text.strip_prefix("*.").map_or((text, false), |rest| (rest, true));
        let is_label = |label: &str| {
            let fits = (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
            fits && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        // A name of digits and dots alone would be an address that is none.
        let is_name =
            name.len() <= MAX_HOST_CHARS && name.split('.').all(is_label) && name.bytes().any(|b| b.is_ascii_alphabetic());
        if !is_name {
            return Err(Expected("networks such as 10.0.0.0/8, addresses, and names of hosts such as a.internal or *.internal"));
        }
        let name = name.to_ascii_lowercase();
        Ok(if is_below { Self::HostsBelow(format!(".{name}")) } else { Self::Host(name) })
    }
}

impl fmt::Display for AllowedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Host(name) => f.write_str(name),
            Self::HostsBelow(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl Serialize for AllowedAddress {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str) -> AllowedAddress {
        text.parse().expect(text)
    }

    #[test]
    fn entry_is_shown_as_it_was_written() {
        for text in ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32", "a.internal", "*.internal", "agentapi_1"] {
            assert_eq!(allowed(text).to_string(), text);
        }
        assert_eq!(allowed("10.0.0.5").to_string(), "10.0.0.5/32");
        assert_eq!(allowed("10.0.0.5/8").to_string(), "10.0.0.0/8");
        for wrong in ["", "*", "*.", "http://a", "a:80", "10.0.0.0/33", "1.2.3", "a..b", "-a", "a/b", "[::1]"] {
            assert!(wrong.parse::<AllowedAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn network_allows_its_addresses_and_no_name() {
        let network = allowed("10.0.0.0/8");
        assert!(network.allows_address("10.1.2.3".parse().expect("an address")));
        assert!(network.allows_address("::ffff:10.1.2.3".parse().expect("an address")));
        assert!(!network.allows_address("11.1.2.3".parse().expect("an address")));
        assert!(!network.allows_host("10.1.2.3"));
    }

    #[test]
    fn name_allows_itself_and_a_suffix_the_names_below() {
        let (host, below) = (allowed("A.internal"), allowed("*.Internal"));
        assert!(host.allows_host("a.INTERNAL") && !host.allows_host("b.internal") && !host.allows_host("x.a.internal"));
        assert!(below.allows_host("a.internal") && below.allows_host("x.A.internal"));
        for other in ["internal", ".internal", "ainternal", "a.internal.example", "é.internal2"] {
            assert!(!below.allows_host(other), "{other}");
        }
        assert!(!host.allows_address("10.0.0.1".parse().expect("an address")));
    }
}
