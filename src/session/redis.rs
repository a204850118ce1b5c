//! Sessions in Redis, shared by all replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::{NewSession, Owner, SessionStore, StoredSession};
use crate::domain::{SessionId, StoreUnavailable};
use crate::redis::Redis;

/// Looks into the keys that one pruning takes at most, some 500 keys each: the next goes on from there.
const PRUNE_STEPS: usize = 200;

/// Indexes that are pruned by one pipeline.
const PRUNE_BATCH: usize = 50;

/// Keeps sessions under `session:{sid}`; Redis ends them by their TTL.
#[derive(Debug, Clone)]
pub struct RedisSessionStore {
    redis: Redis,
    /// Where the last pruning stopped.
    cursor: Arc<AtomicU64>,
}

impl RedisSessionStore {
    /// Keeps sessions in `redis`.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        Self { redis, cursor: Arc::default() }
    }

    /// Some of those who have sessions, and where to go on; from and to 0. Everybody who has a session all the while is among them,
    /// perhaps more than once.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn owners(&self, cursor: u64) -> Result<(u64, Vec<Owner>), StoreUnavailable> {
        let (next, owners) = self.redis.scan_session_indexes(cursor).await?;
        Ok((next, owners.into_iter().map(|(tenant, user)| Owner { tenant, user }).collect()))
    }
}

#[async_trait]
impl SessionStore for RedisSessionStore {
    async fn create(&self, new: NewSession, cap: usize) -> Result<Vec<SessionId>, StoreUnavailable> {
        let NewSession { owner, id, record, idle, now, ends_at } = new;
        let times = (now.timestamp_millis(), ends_at.timestamp_millis());
        self.redis.create_session((owner.tenant, owner.user, id), &record, idle, times, cap).await
    }

    async fn touch(&self, id: SessionId, idle: Duration) -> Result<Option<String>, StoreUnavailable> {
        self.redis.touch_session(id, idle).await
    }

    async fn replace(&self, id: SessionId, record: String) -> Result<(), StoreUnavailable> {
        self.redis.replace_session(id, &record).await
    }

    async fn end(&self, owner: Owner, ids: &[SessionId]) -> Result<u64, StoreUnavailable> {
        self.redis.end_sessions(owner.tenant, owner.user, ids).await
    }

    async fn list(&self, owner: Owner) -> Result<Vec<StoredSession>, StoreUnavailable> {
        let entries = self.redis.list_sessions(owner.tenant, owner.user).await?;
        Ok(entries
            .into_iter()
            .map(|entry| StoredSession { id: entry.id, record: entry.record, idle_left: entry.idle_left })
            .collect())
    }

    async fn prune(&self, interval: Duration) -> Result<u64, StoreUnavailable> {
        // A little less than the interval, so that a server alone does not meet its own turn of the last time.
        if !self.redis.take_turn_to_prune_sessions(interval * 9 / 10).await? {
            return Ok(0);
        }
        let mut cleared = 0;
        for _ in 0..PRUNE_STEPS {
            let (next, owners) = self.redis.scan_session_indexes(self.cursor.load(Ordering::Relaxed)).await?;
            for owners in owners.chunks(PRUNE_BATCH) {
                cleared += self.redis.prune_session_indexes(owners).await?;
            }
            self.cursor.store(next, Ordering::Relaxed);
            if next == 0 {
                break;
            }
        }
        Ok(cleared)
    }

    fn local_owners(&self) -> Option<Vec<Owner>> {
        None
    }
}
