//! Cached values in Redis, shared by all replicas.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::{CLOCK_TOLERANCE, CacheError, CacheStore, FILL, Value};
use crate::domain::{CacheKey, KeyRing, Purpose, Sealed};
use crate::redis::Redis;

/// Stands where a value was invalidated, for as long as the quarantine lasts. No sealed value looks like it.
const QUARANTINED: &str = "-";

/// The format of what is sealed; part of what the seal protects.
const VERSION: &str = "v2 ";

/// Keeps values under `cache:{tenant}:{kind}:{id}`, sealed and bound to their key: a dump of Redis tells nothing of them, and moved to
/// another key they do not open. As text (base64url), since the REST API carries no bytes.
///
/// When a value was read, and until when it may be used, is sealed with it: whoever writes an old value back gains nothing.
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

    /// Seals a value that was read at `read_at`, for use until `until`: `time ‖ time ‖ value`, times in milliseconds since 1970.
    fn seal(&self, key: &CacheKey, value: &[u8], read_at: DateTime<Utc>, until: DateTime<Utc>) -> String {
        let [read_at, until] = [read_at, until].map(|time| time.timestamp_millis().to_be_bytes());
        let plain = [&read_at[..], &until, value].concat();
        URL_SAFE_NO_PAD.encode(self.keys.seal(Purpose::CachedValue, &context(key), &plain).to_bytes())
    }

    fn open(&self, key: &CacheKey, text: &str, now: DateTime<Utc>) -> Result<Value, CacheError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CacheError::Unreadable)?;
        let sealed = Sealed::from_bytes(&bytes).map_err(|_| CacheError::Unreadable)?;
        let plain = self.keys.open(Purpose::CachedValue, &context(key), &sealed).map_err(|_| CacheError::Unreadable)?;
        let (read_at, rest) = plain.split_first_chunk().ok_or(CacheError::Unreadable)?;
        let (until, value) = rest.split_first_chunk().ok_or(CacheError::Unreadable)?;
        let [read_at, until] = [read_at, until].map(|millis| i64::from_be_bytes(*millis));
        // One from the future was sealed by a clock that is ahead: here it would be used for longer than it may.
        let is_current = read_at <= (now + CLOCK_TOLERANCE).timestamp_millis() && now.timestamp_millis() < until;
        if is_current { Ok(value.into()) } else { Err(CacheError::Expired) }
    }
}

fn context(key: &CacheKey) -> Vec<u8> {
    [VERSION.as_bytes(), key.as_str().as_bytes()].concat()
}

#[async_trait]
impl CacheStore for RedisCacheStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Value>, CacheError> {
        match self.redis.cached(key).await? {
            Some(text) if text != QUARANTINED => self.open(key, &text, Utc::now()).map(Some),
            _ => Ok(None),
        }
    }

    async fn add(&self, key: &CacheKey, value: &Value, read_at: DateTime<Utc>, life: Duration) -> Result<bool, CacheError> {
        let sealed = self.seal(key, value, read_at, read_at + FILL + life);
        Ok(self.redis.cache_new(key, &sealed, life).await?)
    }

    async fn invalidate(&self, key: &CacheKey, quarantine: Duration) -> Result<(), CacheError> {
        Ok(self.redis.cache_over(key, QUARANTINED, quarantine).await?)
    }
}
