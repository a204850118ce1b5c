//! The limiter that requests meet.

use std::sync::Arc;

use super::{Decision, Identifier, MemoryRateLimitStore, Quota, RateLimitStore};
use crate::config;

/// Limits requests by a shared store, and by the process alone while that one is away.
#[derive(Clone)]
pub struct RateLimiter {
    shared: Arc<dyn RateLimitStore>,
    local: Arc<MemoryRateLimitStore>,
    quota: Quota,
}

/// Who made a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The store.
    Shared,
    /// This process, because the store was away.
    Local,
}

impl Source {
    /// The source's name, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Local => "local",
        }
    }
}

impl RateLimiter {
    /// Limits by `shared` as `settings` say; nothing if they say not to.
    #[must_use]
    pub fn new(shared: Arc<dyn RateLimitStore>, settings: &config::RateLimit) -> Option<Self> {
        settings.enabled.then(|| Self { shared, local: Arc::default(), quota: Quota::of(settings) })
    }

    /// The quota that holds for everybody.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Counts a request of `identifier` and decides on it. Never fails: while the store is away, this process counts alone.
    pub async fn take(&self, identifier: Identifier) -> (Decision, Source) {
        match self.shared.take(identifier, self.quota).await {
            Ok(decision) => (decision, Source::Shared),
            Err(error) => {
                tracing::debug!(%error, "counting a request in this process alone");
                (self.local.count(identifier, self.quota), Source::Local)
            }
        }
    }
}
