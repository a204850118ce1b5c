//! From names to addresses, and which of those may be connected to.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;

/// Why there is no address to connect to.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Whatever the name means may not be connected to.
    #[error("{0}")]
    Refused(String),
    /// The name could not be looked up, or means nothing.
    #[error("{0}")]
    Lookup(#[from] io::Error),
}

/// Says which addresses a host stands for. Only these are connected to, so what must not be reached is refused here: after the name
/// was looked up, and for addresses that are written as such too.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, a name or an address (IPv6 without brackets), in the order in which to try them.
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError>;
}

/// The system's resolver; refuses nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}
