//! The keys, all of them. Only checked ids and addresses go into a key, never a caller's text.

use std::net::IpAddr;

use ipnet::IpNet;
use redis::{RedisWrite, ToRedisArgs};

use crate::domain::{CacheKey, ReplicaId, Service, SessionId, TenantId, UserId};

/// A key in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// `session:{sid}`: a session's sealed record.
    #[must_use]
    pub fn session(id: SessionId) -> Self {
        Self(format!("session:{id}"))
    }

    /// `user_sessions:{tenant}:{user}`: index of a user's sessions.
    #[must_use]
    pub fn user_sessions(tenant: TenantId, user: UserId) -> Self {
        Self(format!("user_sessions:{tenant}:{user}"))
    }

    /// Matches the index of every user.
    pub(super) const EVERY_USER_SESSIONS: &str = "user_sessions:*";

    /// Whose index of sessions a key is.
    pub(super) fn owner_of_user_sessions(key: &str) -> Option<(TenantId, UserId)> {
        let (tenant, user) = key.strip_prefix("user_sessions:")?.split_once(':')?;
        Some((tenant.parse().ok()?, user.parse().ok()?))
    }

    /// `session_pruning`: there while one server has its turn to prune the indexes.
    pub(super) fn session_pruning() -> Self {
        Self("session_pruning".to_owned())
    }

    /// `ratelimit:user:{user}`: a user's requests.
    #[must_use]
    pub fn rate_limit_user(user: UserId) -> Self {
        Self(format!("ratelimit:user:{user}"))
    }

    /// `ratelimit:tenant:{tenant}`: requests of a tenant's users.
    #[must_use]
    pub fn rate_limit_tenant(tenant: TenantId) -> Self {
        Self(format!("ratelimit:tenant:{tenant}"))
    }

    /// `ratelimit:ip:{address}`: an address's requests.
    #[must_use]
    pub fn rate_limit_ip(address: IpAddr) -> Self {
        Self(format!("ratelimit:ip:{address}"))
    }

    /// `ratelimit:login_ip:{address}`: an address's attempts to log in.
    #[must_use]
    pub fn rate_limit_login_ip(address: IpAddr) -> Self {
        Self(format!("ratelimit:login_ip:{address}"))
    }

    /// `ratelimit:login_ip:{network}`: attempts to log in from a network, which has a prefix.
    #[must_use]
    pub fn rate_limit_login_network(network: IpNet) -> Self {
        Self(format!("ratelimit:login_ip:{network}"))
    }

    /// `ratelimit:login:{digest}`: attempts to log in to the account of this digest.
    #[must_use]
    pub fn rate_limit_login(account: [u8; 16]) -> Self {
        Self(format!("ratelimit:login:{}", hex::encode(account)))
    }

    /// `ratelimit:login:{account}:{network}`: the same from one network that the account was signed in from before.
    pub(super) fn rate_limit_login_from(account: [u8; 16], network: [u8; 8]) -> Self {
        Self(format!("ratelimit:login:{}:{}", hex::encode(account), hex::encode(network)))
    }

    /// `ratelimit:login_known:{account}`: the networks that an account was signed in from.
    pub(super) fn rate_limit_login_known(account: [u8; 16]) -> Self {
        Self(format!("ratelimit:login_known:{}", hex::encode(account)))
    }

    /// `cache:{tenant}:{kind}:{id}`: a cached value.
    #[must_use]
    pub fn cache(key: &CacheKey) -> Self {
        Self(key.to_string())
    }

    /// `replica:{replica}`: there while a server lives.
    #[must_use]
    pub fn replica(id: ReplicaId) -> Self {
        Self(format!("replica:{id}"))
    }

    /// `circuit:{service}`: the circuit of a service.
    #[must_use]
    pub fn circuit(service: Service) -> Self {
        Self(format!("circuit:{service}"))
    }

    /// `circuits`: the services whose circuit is not closed.
    pub(super) fn circuits() -> Self {
        Self("circuits".to_owned())
    }

    /// The same with a suffix: another kind of value under another key.
    #[must_use]
    pub(super) fn with_suffix(mut self, suffix: &'static str) -> Self {
        self.0.push_str(suffix);
        self
    }
}

impl ToRedisArgs for Key {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        self.0.write_redis_args(out);
    }
}

impl redis::ToSingleRedisArg for Key {}
