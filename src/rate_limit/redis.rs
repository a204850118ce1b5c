//! Counting in Redis, for all replicas together.

use async_trait::async_trait;

use super::known_networks::{LOGIN_MEMORY, MAX_NETWORKS};
use super::{Decision, Identifier, Limit, LoginSource, RateLimitStore, Taken};
use crate::config::RateLimitAlgorithm;
use crate::domain::StoreUnavailable;
use crate::redis::{Key, KnownLogin, RateLimitScript, Redis};

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
        Identifier::LoginNetwork(network) => Key::rate_limit_login_network(network),
        Identifier::Login(source) => Key::rate_limit_login(source.account),
    }
}

#[async_trait]
impl RateLimitStore for RedisRateLimitStore {
    async fn take(&self, limits: &[Limit], cost: u64) -> Result<Taken, StoreUnavailable> {
        let asked = limits.iter().map(|limit| (key(limit.identifier), self.numbers(limit)));
        let known = limits.last().and_then(|limit| match limit.identifier {
            Identifier::Login(source) => Some(KnownLogin { account: source.account, network: source.network }),
            _ => None,
        });
        let said = self.redis.take(RateLimitScript::of(self.algorithm), asked, cost, known).await?;
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

    async fn remember_login(&self, source: LoginSource) -> Result<(), StoreUnavailable> {
        let known = KnownLogin { account: source.account, network: source.network };
        self.redis.remember_login(known, MAX_NETWORKS, LOGIN_MEMORY).await
    }
}
