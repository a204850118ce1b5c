//! Names that users chose: looked up, and each address checked before any is connected to.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::{AddressPolicy, Resolve, ResolveError};

/// Resolves by another resolver, and refuses a name that stands for even one address that may not be connected to: such a name is no
/// mistake. What is connected to are the very addresses that were checked, so it does not matter what the name stands for a moment later.
#[derive(Debug, Clone)]
pub struct GuardedResolver<R> {
    names: R,
    policy: AddressPolicy,
}

impl<R: Resolve> GuardedResolver<R> {
    /// Checks what `names` says against `policy`.
    #[must_use]
    pub const fn new(names: R, policy: AddressPolicy) -> Self {
        Self { names, policy }
    }
}

#[async_trait]
impl<R: Resolve> Resolve for GuardedResolver<R> {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        let addresses = self.names.resolve(host, port).await?;
        for address in &addresses {
            self.policy.check(*address).map_err(|forbidden| ResolveError::Refused(forbidden.to_string()))?;
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Says the same of every name.
    struct Says(Vec<SocketAddr>);

    #[async_trait]
    impl Resolve for Says {
        async fn resolve(&self, _: &str, _: u16) -> Result<Vec<SocketAddr>, ResolveError> {
            if self.0.is_empty() { Err(io::Error::from(io::ErrorKind::NotFound).into()) } else { Ok(self.0.clone()) }
        }
    }

    async fn resolve(addresses: &[&str]) -> Result<Vec<SocketAddr>, ResolveError> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        GuardedResolver::new(Says(addresses), AddressPolicy::default()).resolve("agent.example", 443).await
    }

    #[tokio::test]
    async fn one_address_that_is_refused_is_enough() {
        let public = ["8.8.8.8:443", "[2606:4700::1111]:443"];
        assert_eq!(resolve(&public).await.unwrap(), public.map(|address| address.parse().unwrap()));
        for private in ["127.0.0.1:443", "[::1]:443", "[::ffff:10.0.0.1]:443", "169.254.169.254:443", "1.1.1.1:25"] {
            for mixed in [vec![private], vec!["8.8.8.8:443", private], vec![private, "8.8.8.8:443"]] {
                assert!(matches!(resolve(&mixed).await, Err(ResolveError::Refused(_))), "{mixed:?}");
            }
        }
        assert!(matches!(resolve(&[]).await, Err(ResolveError::Lookup(_))));
    }
}
