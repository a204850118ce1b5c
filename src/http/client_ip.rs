//! Where a request comes from: its connection's peer, or, behind reverse proxies, what they say in `X-Forwarded-For`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderMap;
use ipnet::IpNet;

use super::App;
use super::serve::Connection;

/// The address of the client, as an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientIp(pub(super) IpAddr);

/// Finds the client's address.
pub(super) fn find_client_ip(app: &App, mut request: Request) -> Request {
    let peer = request.extensions().get::<Arc<Connection>>().map(|connection| connection.peer());
    // Without a peer nobody is told apart: all such requests are counted as one.
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let client = client_ip(peer, request.headers(), &app.settings.trusted_proxies);
    request.extensions_mut().insert(ClientIp(client));
    request
}

/// Goes from the peer back along the addresses the proxies noted, newest (rightmost) first, as long as each is a trusted proxy:
/// the first that is not is the client. What is left of it may be made up, and so may what is left of anything that is no address.
fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let mut client = peer.to_canonical();
    for noted in lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b',')) {
        if !is_trusted(client) {
            break;
        }
        match noted_address(noted) {
            Some(address) => client = address.to_canonical(),
            None => break,
        }
    }
    client
}

/// An address as a proxy notes it: alone, or with its port, `[v6]:port`.
fn noted_address(noted: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(noted).ok()?.trim();
    text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded: &[&'static str]) -> String {
        let trusted = ["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")];
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        client_ip(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["198.51.100.7, garbage"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("fd00::1", &["2001:db8::7"]), "2001:db8::7");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk() {
        // A proxy that adds a line of its own, after one that its client made up.
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "gärtner", "10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "gärtner"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, gärtner, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", ""]), "10.0.0.1");
    }

    #[test]
    fn a_port_is_no_part_of_an_address() {
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 198.51.100.7:52311, 10.0.0.2:443"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["[2001:db8::7]:52311"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &["[::ffff:198.51.100.7]:1"]), "198.51.100.7");
        for wrong in ["198.51.100.7:", "198.51.100.7:99999", "[2001:db8::7]", "example.org:80"] {
            assert_eq!(client("10.0.0.1", &[wrong]), "10.0.0.1", "{wrong}");
        }
    }
}
