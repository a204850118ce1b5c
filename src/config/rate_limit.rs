//! Request rate limits.

use serde::{Deserialize, Serialize};

use super::section::Section;
use super::value;

/// How many requests may be made, and by whom.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct RateLimit {
    /// Whether anything is limited.
    #[serde(rename = "rate_limit_enabled", deserialize_with = "value::boolean")]
    pub enabled: bool,
    /// How requests are counted.
    #[serde(rename = "rate_limit_algorithm")]
    pub algorithm: RateLimitAlgorithm,
    /// Requests a minute of a user, or of an address that is not signed in.
    #[serde(rename = "rate_limit_requests_per_minute", deserialize_with = "value::whole::<_, 1, 1_000_000, _>")]
    pub requests_per_minute: u32,
    /// Head-room above it, for bursts; for a token bucket, its size.
    #[serde(rename = "rate_limit_burst_size", deserialize_with = "value::whole::<_, 0, 1_000_000, _>")]
    pub burst_size: u32,
    /// Requests a minute of all users of a tenant together; unset: no such limit.
    #[serde(rename = "rate_limit_tenant_requests_per_minute", deserialize_with = "value::optional_whole::<_, 1, 1_000_000, _>")]
    pub tenant_requests_per_minute: Option<u32>,
    /// Head-room above it; unset: as for a user.
    #[serde(rename = "rate_limit_tenant_burst_size", deserialize_with = "value::optional_whole::<_, 0, 1_000_000, _>")]
    pub tenant_burst_size: Option<u32>,
    /// Requests a minute of an address, signed in or not; unset: only who is not signed in is limited by address, as a user is.
    #[serde(rename = "rate_limit_ip_requests_per_minute", deserialize_with = "value::optional_whole::<_, 1, 1_000_000, _>")]
    pub ip_requests_per_minute: Option<u32>,
    /// Head-room above it; unset: as for a user.
    #[serde(rename = "rate_limit_ip_burst_size", deserialize_with = "value::optional_whole::<_, 0, 1_000_000, _>")]
    pub ip_burst_size: Option<u32>,
    /// Attempts to log in a minute, of an address and for an account.
    #[serde(rename = "rate_limit_login_attempts_per_minute", deserialize_with = "value::whole::<_, 1, 1_000_000, _>")]
    pub login_attempts_per_minute: u32,
}

/// How requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RateLimitAlgorithm {
    /// A counter that begins with the first request and lives one minute.
    FixedWindow,
    /// Two such counters, the older one weighted by how much of it still lies within the last minute.
    SlidingWindow,
    /// A bucket of tokens that fills up steadily.
    TokenBucket,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            enabled: true,
            algorithm: RateLimitAlgorithm::FixedWindow,
            requests_per_minute: 60,
            burst_size: 10,
            tenant_requests_per_minute: None,
            tenant_burst_size: None,
            ip_requests_per_minute: None,
            ip_burst_size: None,
            login_attempts_per_minute: 10,
        }
    }
}

impl Section for RateLimit {}
