//! Cached values: text that any call may find gone.

use std::time::Duration;

use super::operations::millis;
use super::{Key, Redis};
use crate::domain::{CacheKey, StoreUnavailable};

impl Redis {
    /// What is cached under `key`, if anything is.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn cached(&self, key: &CacheKey) -> Result<Option<String>, StoreUnavailable> {
        let mut get = redis::cmd("GET");
        get.arg(Key::cache(key));
        self.run(async |link| get.query_async(link).await).await
    }

    /// Caches `text` for `life`, unless something is there. Returns whether it is cached now.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; it may or may not be cached.
    pub async fn cache_new(&self, key: &CacheKey, text: &str, life: Duration) -> Result<bool, StoreUnavailable> {
        let mut set = redis::cmd("SET");
        set.arg(Key::cache(key)).arg(text).arg("NX").arg("PX").arg(millis(life));
        let set: Option<String> = self.run(async |link| set.query_async(link).await).await?;
        Ok(set.is_some())
    }

    /// Caches `text` for `life`, in place of whatever is there.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; it may or may not be cached.
    pub async fn cache_over(&self, key: &CacheKey, text: &str, life: Duration) -> Result<(), StoreUnavailable> {
        let mut set = redis::cmd("SET");
        set.arg(Key::cache(key)).arg(text).arg("PX").arg(millis(life));
        self.run(async |link| set.query_async(link).await).await
    }
}
