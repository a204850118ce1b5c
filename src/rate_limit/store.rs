//! Where requests are counted.

use async_trait::async_trait;

use super::{Identifier, LoginSource, Quota, Taken};
use crate::domain::StoreUnavailable;

/// A limit that a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The policy's name, as clients see it.
    pub policy: &'static str,
    /// Who is counted.
    pub identifier: Identifier,
    /// How much is allowed.
    pub quota: Quota,
}

/// Counts requests by identifier, atomically.
#[async_trait]
pub trait RateLimitStore: Send + Sync + 'static {
    /// Takes `cost` from all `limits`, of which there is one at least; if one of them refuses, from none of the others.
    async fn take(&self, limits: &[Limit], cost: u64) -> Result<Taken, StoreUnavailable>;

    /// Remembers that an account was signed in from a network: for [`LOGIN_MEMORY`](super::LOGIN_MEMORY), attempts from there are counted
    /// by themselves. Of an account the last [`MAX_NETWORKS`](super::MAX_NETWORKS) are remembered.
    async fn remember_login(&self, source: LoginSource) -> Result<(), StoreUnavailable>;
}
