//! Rate limits: how many requests a user, a tenant or an address may make, and how often somebody may try to log in.
//!
//! By default the specification's flow: a counter that begins with the first request and lives one minute. What is over the
//! limit is counted too, and refused. `docs/RATE_LIMITS.md` tells it from outside.

pub mod algorithm;
mod denials;
mod identifier;
mod known_networks;
mod limiter;
mod memory;
mod quota;
mod redis;
mod store;
mod tenant_limits;

pub use self::algorithm::Taken;
pub use self::identifier::{Identifier, LoginSource};
pub use self::known_networks::{LOGIN_MEMORY, MAX_NETWORKS};
pub use self::limiter::{RateLimiter, Source, Verdict};
pub use self::memory::MemoryRateLimitStore;
pub use self::quota::{Decision, Quota};
pub use self::redis::RedisRateLimitStore;
pub use self::store::{Limit, RateLimitStore};
pub use self::tenant_limits::{TenantLimitsCache, TenantLimitsSource};
