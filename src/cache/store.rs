//! Where values are cached.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{CacheKey, StoreUnavailable};

/// A cached value, as bytes.
pub type Value = Arc<[u8]>;

/// Why a store gives no value. Whoever asks takes it for a miss.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CacheError {
    /// The store does not answer, or not in time.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
    /// What is there was not put there by this server, or by one with other keys.
    #[error("what is cached cannot be read")]
    Unreadable,
    /// What is there was read too long ago: somebody wrote it back, or servers' clocks differ.
    #[error("what is cached is older than its life")]
    Expired,
}

/// Keeps bytes by key, each for a time; any of them may be gone earlier.
#[async_trait]
pub trait CacheStore: Send + Sync + 'static {
    /// What is kept under `key`.
    async fn get(&self, key: &CacheKey) -> Result<Option<Value>, CacheError>;

    /// Keeps `value`, which was read from its source at `read_at`, for `life`, unless there is a value already, or the key is in
    /// quarantine. Returns whether it is kept.
    async fn add(&self, key: &CacheKey, value: &Value, read_at: DateTime<Utc>, life: Duration) -> Result<bool, CacheError>;

    /// Forgets what is kept under `key`, and takes nothing for it during `quarantine`: so that what somebody read before the change
    /// does not come back after it.
    async fn invalidate(&self, key: &CacheKey, quarantine: Duration) -> Result<(), CacheError>;
}
