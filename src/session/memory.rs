//! Sessions in the process: for one server alone. They end with it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{NewSession, Owner, SessionStore, StoredSession};
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
    record: String,
    ends: Instant,
    /// When it ends at the latest, and so its age among its owner's sessions.
    ends_at: DateTime<Utc>,
}

impl MemorySessionStore {
    /// The map. A panic while it was locked cannot have left an entry half-made: each change is one insert or removal.
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear_expired(&self) -> u64 {
        let now = Instant::now();
        let mut sessions = self.lock();
        let before = sessions.len();
        sessions.retain(|_, entry| now < entry.ends);
        (before - sessions.len()) as u64
    }
}

/// The oldest living sessions of `owner`, without which it has room for one more below `cap`.
fn excess(sessions: &HashMap<SessionId, Entry>, owner: Owner, cap: usize, now: Instant) -> Vec<SessionId> {
    let own = sessions.iter().filter(|(_, entry)| entry.owner == owner && now < entry.ends);
    let mut own: Vec<_> = own.map(|(&id, entry)| (entry.ends_at, id)).collect();
    own.sort_by_key(|&(ends_at, _)| ends_at);
    own.truncate((own.len() + 1).saturating_sub(cap));
    own.into_iter().map(|(_, id)| id).collect()
}

#[async_trait]
impl SessionStore for MemorySessionStore {
    async fn create(&self, new: NewSession, cap: usize) -> Result<Vec<SessionId>, StoreUnavailable> {
        if self.lock().len() >= CAPACITY {
            self.clear_expired();
        }
        let now = Instant::now();
        let mut sessions = self.lock();
        let ended = excess(&sessions, new.owner, cap, now);
        for id in &ended {
            sessions.remove(id);
        }
        if sessions.len() >= CAPACITY {
            return Err(StoreUnavailable(format!("{CAPACITY} sessions live already")));
        }
        let NewSession { owner, id, record, idle, ends_at, .. } = new;
        sessions.insert(id, Entry { owner, record, ends: now + idle, ends_at });
        Ok(ended)
    }

    async fn touch(&self, id: SessionId, idle: Duration) -> Result<Option<String>, StoreUnavailable> {
        let now = Instant::now();
        let mut sessions = self.lock();
        let Some(entry) = sessions.get_mut(&id).filter(|entry| now < entry.ends) else {
            return Ok(None);
        };
        entry.ends = now + idle;
        Ok(Some(entry.record.clone()))
    }

    async fn replace(&self, id: SessionId, record: String) -> Result<(), StoreUnavailable> {
        let now = Instant::now();
        if let Some(entry) = self.lock().get_mut(&id).filter(|entry| now < entry.ends) {
            entry.record = record;
        }
        Ok(())
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

    async fn prune(&self, _: Duration) -> Result<u64, StoreUnavailable> {
        Ok(self.clear_expired())
    }

    fn local_owners(&self) -> Option<Vec<Owner>> {
        let owners: HashSet<Owner> = self.lock().values().map(|entry| entry.owner).collect();
        Some(owners.into_iter().collect())
    }
}
