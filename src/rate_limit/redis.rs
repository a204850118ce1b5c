//! Counting in Redis, for all replicas together.

use async_trait::async_trait;

use super::{Decision, Identifier, Quota, RateLimitStore};
use crate::domain::StoreUnavailable;
use crate::redis::{Key, Redis};

/// Counts under `ratelimit:{identifier}`.
#[derive(Debug, Clone)]
pub struct RedisRateLimitStore(Redis);

impl RedisRateLimitStore {
    /// Counts in `redis`.
    #[must_use]
    pub const fn new(redis: Redis) -> Self {
        Self(redis)
    }
}

#[async_trait]
impl RateLimitStore for RedisRateLimitStore {
    async fn take(&self, identifier: Identifier, quota: Quota) -> Result<Decision, StoreUnavailable> {
        let key = match identifier {
            Identifier::User(user) => Key::rate_limit_user(user),
            Identifier::Ip(address) => Key::rate_limit_ip(address),
        };
        let count = self.0.count(&key, quota.window).await?;
        Ok(Decision::of(quota, count.requests, count.reset_after))
    }
}
