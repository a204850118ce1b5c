use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn policy(allowed: &[&str]) -> AddressPolicy {
    AddressPolicy::new(allowed.iter().map(|network| network.parse().unwrap()).collect())
}

fn check(policy: &AddressPolicy, ip: &str) -> Result<(), Forbidden> {
    policy.check(SocketAddr::new(ip.parse().unwrap(), 443))
}

const REFUSED: &[&str] = &[
    // This host and this network.
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.255",
    "::",
    "::1",
    // Private.
    "10.0.0.0",
    "10.255.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.168.0.0",
    "192.168.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "fc00::",
    "fdff:ffff::1",
    "fec0::1",
    // Link-local.
    "169.254.0.1",
    "169.254.255.255",
    "fe80::1",
    "febf::1",
    // Metadata.
    "169.254.169.254",
    "169.254.170.2",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    // Multicast, broadcast, reserved, documentation, benchmarks.
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "ff02::1",
    "192.0.0.1",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "198.18.0.1",
    "198.19.255.255",
    "192.88.99.1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "4000::1",
    "5f00::1",
    // Others within: mapped, compatible, NAT64, 6to4, Teredo.
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "::10.0.0.1",
    "::8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101::1",
    "2001:0:7f00:1::",
    "2001::8.8.8.8",
];

#[test]
fn what_is_not_public_is_refused() {
    for ip in REFUSED {
        assert!(matches!(check(&policy(&[]), ip), Err(Forbidden::Address(_))), "{ip}");
        // Whatever network of others is named.
        assert!(matches!(check(&policy(&["192.0.2.77/32", "fd77::/16"]), ip), Err(Forbidden::Address(_))), "{ip}");
    }
}

#[test]
fn what_is_public_is_allowed_up_to_the_edges() {
    for ip in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:200::1",
        "2a00:1450:4001::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ] {
        assert_eq!(check(&policy(&[]), ip), Ok(()), "{ip}");
    }
}

#[test]
fn named_networks_are_allowed_but_metadata_only_by_itself() {
    let private = policy(&["10.1.0.0/16", "127.0.0.0/8", "fd00::/8"]);
    for ip in ["10.1.2.3", "127.0.0.1", "fd00::1", "::ffff:10.1.2.3"] {
        assert_eq!(check(&private, ip), Ok(()), "{ip}");
    }
    for ip in ["10.2.0.1", "::1", "169.254.169.254", "fd00:ec2::254", "::10.1.2.3", "64:ff9b::10.1.2.3"] {
        assert!(check(&private, ip).is_err(), "{ip}");
    }
    let everything = policy(&["0.0.0.0/0", "::/0"]);
    assert_eq!(check(&everything, "169.254.1.1"), Ok(()));
    for ip in METADATA {
        assert!(check(&everything, &ip.to_string()).is_err(), "{ip}");
    }
    assert_eq!(check(&policy(&["169.254.169.254/32"]), "::ffff:169.254.169.254"), Ok(()));
}

#[test]
fn ports_of_well_known_services_are_refused_everywhere() {
    let policy = policy(&["127.0.0.0/8"]);
    for ip in ["127.0.0.1", "8.8.8.8"] {
        let check = |port| policy.check(SocketAddr::new(ip.parse().unwrap(), port));
        for port in [0, 22, 25, 79, 81, 444, 587, 1023] {
            assert_eq!(check(port), Err(Forbidden::Port), "{port}");
        }
        for port in [80, 443, 1024, 3284, 8080, 65535] {
            assert_eq!(check(port), Ok(()), "{port}");
        }
    }
}

/// Addresses of all kinds, those at the edges of networks among them.
fn addresses() -> impl Iterator<Item = IpAddr> {
    let mut rng = StdRng::seed_from_u64(7);
    (0..200_000).map(move |_| match rng.random_range(0..4) {
        0 => IpAddr::V4(Ipv4Addr::from_bits(rng.random())),
        1 => IpAddr::V6(Ipv6Addr::from_bits(rng.random())),
        2 => {
            let (network, _) = RESERVED_V4[rng.random_range(0..RESERVED_V4.len())];
            let base = if rng.random() { network.network().to_bits() } else { network.broadcast().to_bits() };
            IpAddr::V4(Ipv4Addr::from_bits(base.wrapping_add(rng.random_range(0..4)).wrapping_sub(2)))
        }
        _ => {
            let v4 = Ipv4Addr::from_bits(rng.random());
            IpAddr::V6(Ipv6Addr::from_bits((rng.random::<u128>() << 32 >> rng.random_range(0..96)) | u128::from(v4.to_bits())))
        }
    })
}

#[test]
fn whatever_the_standard_library_knows_to_be_private_is_refused_in_every_guise() {
    let policy = policy(&[]);
    let refused = |ip: IpAddr| policy.check(SocketAddr::new(ip, 443)).is_err();
    for ip in addresses() {
        match ip {
            IpAddr::V4(ip) => {
                let known = ip.is_loopback()
                    || ip.is_private()
                    || ip.is_link_local()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_broadcast()
                    || ip.is_documentation();
                let plain = refused(ip.into());
                assert!(plain || !known, "{ip}");
                let [a, b, c, d] = ip.octets().map(u16::from);
                let (high, low) = (a << 8 | b, c << 8 | d);
                for guise in [
                    ip.to_ipv6_mapped(),
                    Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                    Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                ] {
                    assert_eq!(refused(guise.into()), plain, "{guise} is {ip}");
                }
                assert!(refused(ip.to_ipv6_compatible().into()), "{ip}");
            }
            IpAddr::V6(ip) => {
                let known = ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_unique_local()
                    || ip.is_unicast_link_local();
                assert!(refused(ip.into()) || !known, "{ip}");
            }
        }
    }
}
