//! How much is allowed, and what that means for one request.

use std::time::Duration;

use crate::config;

/// How many requests are allowed in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests allowed in a window.
    pub limit: u64,
    /// Length of a window.
    pub window: Duration,
}

impl Quota {
    /// Length of a window, by the specification.
    const WINDOW: Duration = Duration::from_secs(60);

    /// The quota of the settings: requests a minute, and head-room above them.
    #[must_use]
    pub fn of(settings: &config::RateLimit) -> Self {
        Self { limit: u64::from(settings.requests_per_minute) + u64::from(settings.burst_size), window: Self::WINDOW }
    }
}

/// Whether a request may pass, and how much is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may pass.
    pub allowed: bool,
    /// Requests allowed in the window.
    pub limit: u64,
    /// Requests left in the window.
    pub remaining: u64,
    /// Time until the window ends.
    pub reset_after: Duration,
}

impl Decision {
    /// The decision on the request that made the window's count `count`.
    #[must_use]
    pub fn of(quota: Quota, count: u64, reset_after: Duration) -> Self {
        Self { allowed: count <= quota.limit, limit: quota.limit, remaining: quota.limit.saturating_sub(count), reset_after }
    }
}
