//! Cached values in the process: in front of Redis for some seconds, and in its place where it is off.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{CacheError, CacheStore, Value};
use crate::domain::CacheKey;

/// What an entry takes beside its value: the key, and its places in two maps.
const ENTRY_BYTES: usize = 400;

/// Keeps values in a map of bounded size: where there is no room for one more, the oldest go.
#[derive(Debug)]
pub struct MemoryCacheStore {
    capacity: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<CacheKey, Entry>,
    /// The keys in the order in which they came.
    by_age: BTreeMap<u64, CacheKey>,
    /// How many came so far.
    came: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// Nothing during a quarantine.
    value: Option<Value>,
    ends: Instant,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.value.as_ref().map_or(0, |value| value.len())
    }
}

impl Table {
    fn remove(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_age.remove(&entry.number);
            self.bytes -= entry.bytes();
        }
    }

    fn put(&mut self, key: &CacheKey, value: Option<Value>, ends: Instant, capacity: usize) {
        self.remove(key);
        self.came += 1;
        let entry = Entry { number: self.came, value, ends };
        self.bytes += entry.bytes();
        self.by_age.insert(entry.number, key.clone());
        self.entries.insert(key.clone(), entry);
        while self.bytes > capacity
            && let Some((_, oldest)) = self.by_age.first_key_value()
        {
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
    }
}

impl MemoryCacheStore {
    /// Keeps at most `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, table: Mutex::default() }
    }

    /// As [`CacheStore::get`].
    #[must_use]
    pub fn find(&self, key: &CacheKey) -> Option<Value> {
        let now = Instant::now();
        self.lock().entries.get(key).filter(|entry| now < entry.ends)?.value.clone()
    }

    /// Whether nothing is kept under `key` since it was invalidated.
    #[must_use]
    pub fn is_quarantined(&self, key: &CacheKey) -> bool {
        let now = Instant::now();
        self.lock().entries.get(key).is_some_and(|entry| now < entry.ends && entry.value.is_none())
    }

    /// As [`CacheStore::add`].
    pub fn keep(&self, key: &CacheKey, value: &Value, life: Duration) -> bool {
        let now = Instant::now();
        let mut table = self.lock();
        let is_taken = table.entries.get(key).is_some_and(|entry| now < entry.ends);
        if !is_taken {
            table.put(key, Some(value.clone()), now + life, self.capacity);
        }
        !is_taken
    }

    /// As [`CacheStore::invalidate`].
    pub fn quarantine(&self, key: &CacheKey, time: Duration) {
        let ends = Instant::now() + time;
        self.lock().put(key, None, ends, self.capacity);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        *self.lock() = Table::default();
    }

    /// The table. Nothing in it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CacheStore for MemoryCacheStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Value>, CacheError> {
        Ok(self.find(key))
    }

    async fn add(&self, key: &CacheKey, value: &Value, _: DateTime<Utc>, life: Duration) -> Result<bool, CacheError> {
        Ok(self.keep(key, value, life))
    }

    async fn invalidate(&self, key: &CacheKey, quarantine: Duration) -> Result<(), CacheError> {
        self.quarantine(key, quarantine);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{TenantId, UserId};

    const LIFE: Duration = Duration::from_secs(60);

    fn key() -> CacheKey {
        CacheKey::new(TenantId::new(), "user", &UserId::new())
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_go_where_there_is_no_room_and_nothing_is_forgotten_to_be_counted() {
        let store = MemoryCacheStore::new(10 * (ENTRY_BYTES + 100));
        let value: Value = vec![0; 100].into();
        let keys: Vec<CacheKey> = std::iter::repeat_with(key).take(25).collect();
        for key in &keys {
            assert!(store.keep(key, &value, LIFE));
            store.quarantine(key, LIFE);
            tokio::time::advance(LIFE).await;
            assert!(store.keep(key, &value, LIFE * 1000));
            let table = store.lock();
            assert_eq!((table.entries.len(), table.bytes), (table.by_age.len(), table.entries.len() * (ENTRY_BYTES + 100)));
            assert!(table.bytes <= store.capacity);
        }
        let kept: Vec<bool> = keys.iter().map(|key| store.find(key).is_some()).collect();
        assert_eq!(kept, [vec![false; 15], vec![true; 10]].concat());
        store.clear();
        assert_eq!((store.find(&keys[24]), store.lock().bytes), (None, 0));
    }

    #[test]
    fn what_is_larger_than_the_store_is_not_kept() {
        let (store, key) = (MemoryCacheStore::new(1000), key());
        store.keep(&key, &vec![0; 1000].into(), LIFE);
        assert_eq!((store.find(&key), store.lock().bytes), (None, 0));
    }
}
