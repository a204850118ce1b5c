//! Rate limits: how many requests a user, or an address that is not signed in, may make.
//!
//! The specification's flow: a counter that begins with the first request and lives one minute. What is over the limit is
//! counted too, and refused.

mod fixed_window;
mod identifier;
mod limiter;
mod memory;
mod quota;
mod redis;
mod store;

pub use self::identifier::Identifier;
pub use self::limiter::{RateLimiter, Source};
pub use self::memory::MemoryRateLimitStore;
pub use self::quota::{Decision, Quota};
pub use self::redis::RedisRateLimitStore;
pub use self::store::RateLimitStore;
