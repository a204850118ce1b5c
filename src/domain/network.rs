//! Networks that an address belongs to.

use std::net::IpAddr;

use ipnet::IpNet;

/// Prefix of the network that one customer of a provider has at least. All its addresses count as one.
const CUSTOMER_V6: u8 = 64;

/// Prefixes of what providers give to one customer beside that (RFC 6177): to a home, to a site.
const WIDER_V6: [u8; 2] = [56, 48];

/// Prefix of the IPv4 network that is most often announced, and so given out, as one.
const SITE_V4: u8 = 24;

/// Returns the networks whose owner may be one person, the narrowest first: the address itself for IPv4; for IPv6 its /64, /56 and /48.
/// An IPv4 address that is mapped into IPv6 is an IPv4 address.
pub fn networks_of(address: IpAddr) -> impl Iterator<Item = IpNet> {
    let wider: &[u8] = if address.to_canonical().is_ipv4() { &[] } else { &WIDER_V6 };
    std::iter::once(own_network(address)).chain(wider.iter().map(move |&prefix| truncated(address, prefix)))
}

/// Returns the widest network whose owner may be one person: the /24 of an IPv4 address, the /48 of an IPv6 one.
#[must_use]
pub fn site_of(address: IpAddr) -> IpNet {
    let [_, site] = WIDER_V6;
    truncated(address, if address.to_canonical().is_ipv4() { SITE_V4 } else { site })
}

/// Returns an address as it is counted: an IPv6 one stands for its /64 network.
#[must_use]
pub fn counted_address(address: IpAddr) -> IpAddr {
    own_network(address).network()
}

fn own_network(address: IpAddr) -> IpNet {
    truncated(address, if address.to_canonical().is_ipv4() { 32 } else { CUSTOMER_V6 })
}

fn truncated(address: IpAddr, prefix: u8) -> IpNet {
    // The constants above are prefixes of their kind of address.
    IpNet::new_assert(address.to_canonical(), prefix).trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_of_one_customer_are_one() {
        let counted = |text: &str| counted_address(address(text));
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), counted("2001:db8:1:2:ffff::"));
        assert_ne!(counted("2001:db8:1:2::"), counted("2001:db8:1:3::"));
        assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
        assert_ne!(counted("192.0.2.1"), counted("192.0.2.2"));
    }

    #[test]
    fn networks_widen_from_the_counted_address() {
        let networks = |text: &str| networks_of(address(text)).map(|network| network.to_string()).collect::<Vec<_>>();
        assert_eq!(networks("2001:db8:1:2f3:4::5"), ["2001:db8:1:2f3::/64", "2001:db8:1:200::/56", "2001:db8:1::/48"]);
        for text in ["192.0.2.77", "::ffff:192.0.2.77"] {
            assert_eq!(networks(text), ["192.0.2.77/32"]);
            assert_eq!(site_of(address(text)).to_string(), "192.0.2.0/24");
        }
        assert_eq!(site_of(address("2001:db8:1:2f3::1")).to_string(), "2001:db8:1::/48");
    }
}
