//! Sessions in Redis, shared by all replicas.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Owner, SessionStore, StoredSession};
use crate::domain::{SessionId, StoreUnavailable};
use crate::redis::Redis;

/// Keeps sessions under `session:{sid}`; Redis ends them by their TTL.
#[derive(Debug, Clone)]
pub struct RedisSessionStore(Redis);

impl RedisSessionStore {
    /// Keeps sessions in `redis`.
    #[must_use]
    pub const fn new(redis: Redis) -> Self {
        Self(redis)
    }
}

#[async_trait]
impl SessionStore for RedisSessionStore {
    async fn create(
        &self,
        owner: Owner,
        id: SessionId,
        record: Vec<u8>,
        idle: Duration,
        now: DateTime<Utc>,
        ends_at: DateTime<Utc>,
    ) -> Result<(), StoreUnavailable> {
        let names = (owner.tenant, owner.user, id);
        self.0.create_session(names, &record, idle, now.timestamp_millis(), ends_at.timestamp_millis()).await
    }

    async fn touch(&self, id: SessionId, idle: Duration) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        self.0.touch_session(id, idle).await
    }

    async fn end(&self, owner: Owner, ids: &[SessionId]) -> Result<u64, StoreUnavailable> {
        self.0.end_sessions(owner.tenant, owner.user, ids).await
    }

    async fn list(&self, owner: Owner) -> Result<Vec<StoredSession>, StoreUnavailable> {
        let entries = self.0.list_sessions(owner.tenant, owner.user).await?;
        Ok(entries
            .into_iter()
            .map(|entry| StoredSession { id: entry.id, record: entry.record, idle_left: entry.idle_left })
            .collect())
    }

    fn prune(&self) {}
}
