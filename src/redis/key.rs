//! The keys, all of them. Only checked ids and addresses go into a key, never a caller's text.

use std::net::IpAddr;

use redis::{RedisWrite, ToRedisArgs};

use crate::domain::{SessionId, TenantId, UserId};

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

    /// `ratelimit:user:{user}`: a user's requests in the current window.
    #[must_use]
    pub fn rate_limit_user(user: UserId) -> Self {
        Self(format!("ratelimit:user:{user}"))
    }

    /// `ratelimit:ip:{address}`: an address's requests in the current window.
    #[must_use]
    pub fn rate_limit_ip(address: IpAddr) -> Self {
        Self(format!("ratelimit:ip:{address}"))
    }
}

impl ToRedisArgs for Key {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        self.0.write_redis_args(out);
    }
}

impl redis::ToSingleRedisArg for Key {}
