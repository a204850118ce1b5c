//! Request rate limits.

use serde::{Deserialize, Serialize};

use super::section::Section;
use super::value;

/// How many requests a user, or an address that is not signed in, may make.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct RateLimit {
    /// Whether requests are limited.
    #[serde(rename = "rate_limit_enabled", deserialize_with = "value::boolean")]
    pub enabled: bool,
    /// Requests a minute.
    #[serde(rename = "rate_limit_requests_per_minute", deserialize_with = "value::whole::<_, 1, 1_000_000, _>")]
    pub requests_per_minute: u32,
    /// Head-room above it, for bursts.
    #[serde(rename = "rate_limit_burst_size", deserialize_with = "value::whole::<_, 0, 1_000_000, _>")]
    pub burst_size: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { enabled: true, requests_per_minute: 60, burst_size: 10 }
    }
}

impl Section for RateLimit {}
