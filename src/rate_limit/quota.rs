//! How much is allowed, and what that means for one request.

use std::time::Duration;

use crate::config::RateLimitAlgorithm;

/// Length of a window, by the specification.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Allowed at once: in a window, or by a full bucket. At least 1.
    pub limit: u64,
    /// What a token bucket regains in a window. At least 1.
    pub per_window: u64,
    /// Length of a window.
    pub window: Duration,
}

impl Quota {
    /// So many requests a minute and head-room above them, as `algorithm` understands it: windows allow both together, a bucket
    /// is as large as the head-room, and holds one request at least.
    #[must_use]
    pub fn new(algorithm: RateLimitAlgorithm, requests_per_minute: u32, burst_size: u32) -> Self {
        let (rate, burst) = (u64::from(requests_per_minute), u64::from(burst_size));
        let limit = match algorithm {
            RateLimitAlgorithm::FixedWindow | RateLimitAlgorithm::SlidingWindow => rate + burst,
            RateLimitAlgorithm::TokenBucket => burst.max(1),
        };
        Self { limit, per_window: rate, window: WINDOW }
    }

    /// So many attempts a minute, all of which may come at once.
    #[must_use]
    pub fn of_attempts(per_minute: u32) -> Self {
        Self { limit: u64::from(per_minute), per_window: u64::from(per_minute), window: WINDOW }
    }

    /// Time in which a limit that is used up is whole again.
    #[must_use]
    pub fn period(&self, algorithm: RateLimitAlgorithm) -> Duration {
        match algorithm {
            RateLimitAlgorithm::FixedWindow | RateLimitAlgorithm::SlidingWindow => self.window,
            RateLimitAlgorithm::TokenBucket => Duration::from_micros(self.limit.saturating_mul(self.interval_micros())),
        }
    }

    /// Length of a window, in microseconds.
    #[must_use]
    pub fn window_micros(&self) -> u64 {
        u64::try_from(self.window.as_micros()).unwrap_or(u64::MAX)
    }

    /// Time in which a bucket regains a token, in microseconds, rounded up: the rate is never above the limit.
    #[must_use]
    pub fn interval_micros(&self) -> u64 {
        self.window_micros().div_ceil(self.per_window)
    }
}

/// Whether a request may pass, and how much is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may pass.
    pub allowed: bool,
    /// Allowed at once.
    pub limit: u64,
    /// What is left of it.
    pub remaining: u64,
    /// Time until the limit is whole again if nothing more is asked for.
    pub reset_after: Duration,
    /// Time until such a request may pass; zero if this one may.
    pub retry_after: Duration,
}
