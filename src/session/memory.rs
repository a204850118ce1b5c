//! Sessions in the process: for one server alone. They end with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{Owner, SessionStore, StoredSession};
use crate::domain::{SessionId, StoreUnavailable};

/// Sessions kept at most: some 30 MB. More are refused, so that memory has a bound.
const CAPACITY: usize = 100_000;

/// Keeps sessions in a map; expired ones are not found, and cleared by [`SessionStore::prune`].
#[derive(Debug, Default)]
pub struct MemorySessionStore {
    sessions: Mutex<HashMap<SessionId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    owner: Owner,
    record: Vec<u8>,
    ends: Instant,
}

impl MemorySessionStore {
    /// The map. A panic while it was locked cannot have left an entry half-made: each change is one insert or removal.
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SessionStore for MemorySessionStore {
    async fn create(
        &self,
        owner: Owner,
        id: SessionId,
        record: Vec<u8>,
        idle: Duration,
        _now: DateTime<Utc>,
        _ends_at: DateTime<Utc>,
    ) -> Result<(), StoreUnavailable> {
        if self.lock().len() >= CAPACITY {
            self.prune();
        }
        let mut sessions = self.lock();
        if sessions.len() >= CAPACITY {
            return Err(StoreUnavailable(format!("{CAPACITY} sessions live already")));
        }
        sessions.insert(id, Entry { owner, record, ends: Instant::now() + idle });
        Ok(())
    }

    async fn touch(&self, id: SessionId, idle: Duration) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        let now = Instant::now();
        let mut sessions = self.lock();
        let Some(entry) = sessions.get_mut(&id).filter(|entry| now < entry.ends) else {
            return Ok(None);
        };
        entry.ends = now + idle;
        Ok(Some(entry.record.clone()))
    }

    async fn end(&self, owner: Owner, ids: &[SessionId]) -> Result<u64, StoreUnavailable> {
        let now = Instant::now();
        let mut sessions = self.lock();
        let mut ended = 0;
        for id in ids {
            if sessions.get(id).is_some_and(|entry| entry.owner == owner) {
                ended += u64::from(sessions.remove(id).is_some_and(|entry| now < entry.ends));
            }
        }
        Ok(ended)
    }

    async fn list(&self, owner: Owner) -> Result<Vec<StoredSession>, StoreUnavailable> {
        let now = Instant::now();
        let stored = |(&id, entry): (&SessionId, &Entry)| {
            let idle_left = entry.ends.checked_duration_since(now).filter(|left| !left.is_zero())?;
            (entry.owner == owner).then(|| StoredSession { id, record: entry.record.clone(), idle_left })
        };
        Ok(self.lock().iter().filter_map(stored).collect())
    }

    fn prune(&self) {
        let now = Instant::now();
        self.lock().retain(|_, entry| now < entry.ends);
    }
}
