//! Names of other servers of the deployment: looked up, and each address checked before any is connected to.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::{Resolve, ResolveError};
use crate::domain::AllowedAddress;

/// Resolves by another resolver, and refuses what the operator does not allow. Which server is where stands in Postgres: whoever changes
/// it there is not to lead requests out of the deployment.
#[derive(Debug, Clone)]
pub struct ReplicaResolver<R> {
    names: R,
    allowed: Vec<AllowedAddress>,
}

impl<R: Resolve> ReplicaResolver<R> {
    /// Checks what `names` says against `allowed`.
    #[must_use]
    pub const fn new(names: R, allowed: Vec<AllowedAddress>) -> Self {
        Self { names, allowed }
    }
}

#[async_trait]
impl<R: Resolve> Resolve for ReplicaResolver<R> {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        let addresses = self.names.resolve(host, port).await?;
        if self.allowed.iter().any(|allowed| allowed.allows_host(host)) {
            return Ok(addresses);
        }
        let is_allowed = |address: &SocketAddr| self.allowed.iter().any(|allowed| allowed.allows_address(address.ip()));
        match addresses.iter().find(|address| !is_allowed(address)) {
            Some(address) => {
                Err(ResolveError::Refused(format!("{} ({host}) is not in AGENTAPI_REPLICA_ALLOWED_ADDRESSES", address.ip())))
            }
            None => Ok(addresses),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the same of every name.
    struct Says(Vec<SocketAddr>);

    #[async_trait]
    impl Resolve for Says {
        async fn resolve(&self, _: &str, _: u16) -> Result<Vec<SocketAddr>, ResolveError> {
            Ok(self.0.clone())
        }
    }

    async fn resolve(host: &str, addresses: &[&str], allowed: &[&str]) -> Result<Vec<SocketAddr>, ResolveError> {
        let says = Says(addresses.iter().map(|address| address.parse().expect("an address")).collect());
        let allowed = allowed.iter().map(|allowed| allowed.parse().expect("allowed")).collect();
        ReplicaResolver::new(says, allowed).resolve(host, 80).await
    }

    #[tokio::test]
    async fn all_addresses_of_a_name_must_be_allowed() {
        let network = ["10.0.0.0/8"];
        assert_eq!(resolve("a", &["10.0.0.1:80", "10.0.0.2:80"], &network).await.expect("allowed").len(), 2);
        for mixed in [["10.0.0.1:80", "8.8.8.8:80"], ["8.8.8.8:80", "10.0.0.1:80"]] {
            let refused = resolve("a", &mixed, &network).await.expect_err("one is not allowed");
            assert!(refused.to_string().contains("AGENTAPI_REPLICA_ALLOWED_ADDRESSES"), "{refused}");
        }
        assert!(resolve("a", &["10.0.0.1:80"], &[]).await.is_err(), "nothing is allowed");
    }

    #[tokio::test]
    async fn allowed_name_may_lead_anywhere() {
        assert!(resolve("a.example.org", &["8.8.8.8:80"], &["*.example.org"]).await.is_ok());
        assert!(resolve("example.com", &["8.8.8.8:80"], &["*.example.org"]).await.is_err());
    }
}
