//! Where the server listens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

/// Listens on `host`; unless one is named, on this machine's own addresses, for `localhost` may be either of them.
pub(super) async fn listen(host: Option<IpAddr>, port: u16) -> Result<Vec<TcpListener>, String> {
    let first = bind(SocketAddr::new(host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port)).await;
    let first = first.map_err(|(address, error)| failure(address, &error))?;
    if host.is_some() {
        return Ok(vec![first]);
    }
    let chosen = first.local_addr().map_or(port, |address| address.port());
    match bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), chosen)).await {
        Ok(second) => Ok(vec![first, second]),
        // Clients that try this address first would speak to whoever listens there.
        Err((address, error)) if port != 0 && error.kind() == io::ErrorKind::AddrInUse => Err(failure(address, &error)),
        Err((address, error)) => {
            tracing::debug!(%address, %error, "cannot listen on this address");
            Ok(vec![first])
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, (SocketAddr, io::Error)> {
    TcpListener::bind(address).await.map_err(|error| (address, error))
}

/// In the words of coder/agentapi, as far as there are any.
fn failure(address: SocketAddr, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        _ => error.to_string(),
    };
    format!("failed to start server: listen tcp {address}: bind: {why}")
}
