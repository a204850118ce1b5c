//! Sessions in the process: for one server alone. They end with it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{NewSession, Owner, SessionStore, StoredSession};
use crate::domain::{SessionId, StoreUnavailable};

/// Sessions kept at most, unless told otherwise: some 30 MB.
const CAPACITY: usize = 100_000;

/// Keeps sessions in a map; expired ones are not found, and cleared by [`SessionStore::prune`].
#[derive(Debug)]
pub struct MemorySessionStore {
    sessions: Mutex<HashMap<SessionId, Entry>>,
    capacity: usize,
}

impl Default for MemorySessionStore {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

#[derive(Debug)]
struct Entry {
    owner: Owner,
    record: String,
    ends: Instant,
    /// When it began, and so its age among its owner's sessions.
    began: DateTime<Utc>,
}

impl MemorySessionStore {
    /// Keeps so many sessions at most, and refuses more, so that memory has a bound.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { sessions: Mutex::default(), capacity }
    }

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
    let mut own: Vec<_> = own.map(|(&id, entry)| (entry.began, id)).collect();
    own.sort_by_key(|&(began, _)| began);
    own.truncate((own.len() + 1).saturating_sub(cap));
    own.into_iter().map(|(_, id)| id).collect()
}

#[async_trait]
impl SessionStore for MemorySessionStore {
    async fn create(&self, new: NewSession, cap: usize) -> Result<Vec<SessionId>, StoreUnavailable> {
        if self.lock().len() >= self.capacity {
            self.clear_expired();
        }
        let now = Instant::now();
        let mut sessions = self.lock();
        let ended = excess(&sessions, new.owner, cap, now);
        for id in &ended {
            sessions.remove(id);
        }
        if sessions.len() >= self.capacity {
            return Err(StoreUnavailable(format!("{} sessions live already", self.capacity)));
        }
        let NewSession { owner, id, record, idle, now: began, .. } = new;
        sessions.insert(id, Entry { owner, record, ends: now + idle, began });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{TenantId, UserId};

    const IDLE: Duration = Duration::from_secs(60);

    fn session() -> NewSession {
        let owner = Owner { tenant: TenantId::new(), user: UserId::new() };
        let now = Utc::now();
        NewSession { owner, id: SessionId::random(), record: "sealed".to_owned(), idle: IDLE, now, ends_at: now + IDLE }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_expired_is_cleared_and_what_lives_is_not() {
        let (store, [first, second]) = (MemorySessionStore::default(), [session(), session()]);
        store.create(first, 1).await.expect("opened");
        tokio::time::advance(IDLE / 2).await;
        store.create(second.clone(), 1).await.expect("opened");
        assert_eq!(store.prune(IDLE).await.expect("pruned"), 0);
        tokio::time::advance(IDLE / 2).await;
        assert_eq!(store.prune(IDLE).await.expect("pruned"), 1);
        assert_eq!(store.local_owners(), Some(vec![second.owner]));
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_it_holds_is_refused_until_something_expires() {
        let store = MemorySessionStore::with_capacity(2);
        for _ in 0..2 {
            store.create(session(), 1).await.expect("opened");
        }
        let refused = store.create(session(), 1).await.expect_err("there is no room");
        assert_eq!(refused.to_string(), StoreUnavailable("2 sessions live already".to_owned()).to_string());
        tokio::time::advance(IDLE).await;
        store.create(session(), 1).await.expect("what has expired makes room");
    }
}
