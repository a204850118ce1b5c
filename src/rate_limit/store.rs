//! Where requests are counted.

use async_trait::async_trait;

use super::{Decision, Identifier, Quota};
use crate::domain::StoreUnavailable;

/// Counts requests by identifier, atomically.
#[async_trait]
pub trait RateLimitStore: Send + Sync + 'static {
    /// Counts one request and decides on it.
    async fn take(&self, identifier: Identifier, quota: Quota) -> Result<Decision, StoreUnavailable>;
}
