//! Counting in Redis, for all replicas together.

use async_trait::async_trait;

use super::{Decision, Identifier, Limit, RateLimitStore, Taken};
use crate::config::RateLimitAlgorithm;
use crate::domain::StoreUnavailable;
use crate::redis::{Key, RateLimitScript, Redis};

/// Counts under `ratelimit:{identifier}`.
#[derive(Debug, Clone)]
pub struct RedisRateLimitStore {
    redis: Redis,
    algorithm: RateLimitAlgorithm,
}

impl RedisRateLimitStore {
    /// Counts in `redis`.
    #[must_use]
    pub const fn new(redis: Redis, algorithm: RateLimitAlgorithm) -> Self {
        Self { redis, algorithm }
    }

    /// The two numbers that the algorithm's script asks for.
    fn numbers(&self, limit: &Limit) -> [u64; 2] {
        let quota = limit.quota;
        match self.algorithm {
            RateLimitAlgorithm::FixedWindow | RateLimitAlgorithm::SlidingWindow => [quota.limit, quota.window_micros() / 1000],
            RateLimitAlgorithm::TokenBucket => [quota.limit, quota.interval_micros()],
        }
    }
}

fn key(identifier: Identifier) -> Key {
    match identifier {
        Identifier::User(user) => Key::rate_limit_user(user),
        Identifier::Tenant(tenant) => Key::rate_limit_tenant(tenant),
        Identifier::Ip(address) => Key::rate_limit_ip(address),
        Identifier::LoginIp(address) => Key::rate_limit_login_ip(address),
        Identifier::Login(account) => Key::rate_limit_login(account),
    }
}

#[async_trait]
impl RateLimitStore for RedisRateLimitStore {
    async fn take(&self, limits: &[Limit], cost: u64) -> Result<Taken, StoreUnavailable> {
        let asked = limits.iter().map(|limit| (key(limit.identifier), self.numbers(limit)));
        let said = self.redis.take(RateLimitScript::of(self.algorithm), asked, cost).await?;
        let limit = limits.get(said.tightest).ok_or_else(|| StoreUnavailable("an answer that makes no sense".to_owned()))?;
        let decision = Decision {
            allowed: said.allowed,
            limit: limit.quota.limit,
            remaining: said.remaining,
            reset_after: said.reset_after,
            retry_after: said.retry_after,
        };
        Ok(Taken { tightest: said.tightest, decision })
    }
}
