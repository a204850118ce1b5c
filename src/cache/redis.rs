//! Cached values in Redis, shared by all replicas.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{CacheError, CacheStore, Value};
use crate::domain::{CacheKey, KeyRing, Purpose, Sealed};
use crate::redis::Redis;

/// Stands where a value was invalidated, for as long as the quarantine lasts. No sealed value looks like it.
const QUARANTINED: &str = "-";

/// Keeps values under `cache:{tenant}:{kind}:{id}`, sealed and bound to their key: a dump of Redis tells nothing of them, and moved to
/// another key they do not open. As text (base64url), since the REST API carries no bytes.
#[derive(Debug, Clone)]
pub struct RedisCacheStore {
    redis: Redis,
    keys: KeyRing,
}

impl RedisCacheStore {
    /// Keeps values in `redis`, sealed with `keys`.
    #[must_use]
    pub const fn new(redis: Redis, keys: KeyRing) -> Self {
        Self { redis, keys }
    }

    fn seal(&self, key: &CacheKey, value: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.keys.seal(Purpose::CachedValue, key.as_str().as_bytes(), value).to_bytes())
    }

    fn open(&self, key: &CacheKey, text: &str) -> Option<Value> {
        let sealed = Sealed::from_bytes(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        Some(self.keys.open(Purpose::CachedValue, key.as_str().as_bytes(), &sealed).ok()?.into())
    }
}

#[async_trait]
impl CacheStore for RedisCacheStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Value>, CacheError> {
        match self.redis.cached(key).await? {
            Some(text) if text != QUARANTINED => self.open(key, &text).map(Some).ok_or(CacheError::Unreadable),
            _ => Ok(None),
        }
    }

    async fn add(&self, key: &CacheKey, value: &Value, life: Duration) -> Result<bool, CacheError> {
        Ok(self.redis.cache_new(key, &self.seal(key, value), life).await?)
    }

    async fn invalidate(&self, key: &CacheKey, quarantine: Duration) -> Result<(), CacheError> {
        Ok(self.redis.cache_over(key, QUARANTINED, quarantine).await?)
    }
}
