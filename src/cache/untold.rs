//! Changes that the shared store could not be told of. It is told again until it hears of them, or what it keeps has ended by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{CacheStore, QUARANTINE};
use crate::domain::CacheKey;

/// Waits before telling it again: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Changes that are kept at most: some 2 MB. What is cached of those beyond it is shown for as long as it lives.
const CAPACITY: usize = 10_000;

/// Changes to be told. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Untold(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// Until when something old may be kept under each key.
    keys: HashMap<CacheKey, Instant>,
    /// Whether a task tells them.
    telling: bool,
}

/// What came of keeping a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The caller is to see to it that [`Untold::tell`] runs.
    First,
    /// It runs already.
    Further,
    /// There are too many.
    No,
}

impl Untold {
    /// Keeps that `key` is to be forgotten, if what is kept under it may live until `until`.
    pub(super) fn keep(&self, key: &CacheKey, until: Instant) -> Kept {
        let mut table = self.lock();
        if table.keys.len() >= CAPACITY && !table.keys.contains_key(key) {
            return Kept::No;
        }
        table.keys.insert(key.clone(), until);
        if std::mem::replace(&mut table.telling, true) { Kept::Further } else { Kept::First }
    }

    /// Whether what the store has under `key` may be older than a change.
    pub(super) fn contains(&self, key: &CacheKey) -> bool {
        self.lock().keys.contains_key(key)
    }

    /// Tells `store` of all changes, again and again until it has heard of them, or the server stops.
    pub(super) async fn tell(self, store: Arc<dyn CacheStore>, stopping: CancellationToken) {
        let (mut wait, longest) = BACK_OFF;
        while timeout(wait, stopping.cancelled()).await.is_err() {
            while let Some((key, until)) = self.next(Instant::now()) {
                match store.invalidate(&key, QUARANTINE).await {
                    Ok(()) => self.told(&key, until),
                    Err(_) => break,
                }
            }
            if self.is_done() {
                tracing::info!("Redis has heard of all changes of what it caches");
                return;
            }
            wait = (wait * 2).min(longest);
        }
    }

    /// A change to be told, if there is one.
    fn next(&self, now: Instant) -> Option<(CacheKey, Instant)> {
        let mut table = self.lock();
        loop {
            let (key, until) = table.keys.iter().next().map(|(key, &until)| (key.clone(), until))?;
            if now < until {
                return Some((key, until));
            }
            table.keys.remove(&key);
        }
    }

    /// Strikes a change off, unless there was another one of the same thing meanwhile.
    fn told(&self, key: &CacheKey, until: Instant) {
        let mut table = self.lock();
        if table.keys.get(key) == Some(&until) {
            table.keys.remove(key);
        }
    }

    /// Whether nothing is left to be told. Whoever keeps another change then begins anew.
    fn is_done(&self) -> bool {
        let mut table = self.lock();
        table.telling = !table.keys.is_empty();
        !table.telling
    }

    /// The table. Each change is one insert or removal.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{TenantId, UserId};

    fn key() -> CacheKey {
        CacheKey::new(TenantId::new(), "user", &UserId::new())
    }

    #[test]
    fn so_many_are_kept_and_one_task_is_begun() {
        let (untold, until, first) = (Untold::default(), Instant::now(), key());
        assert_eq!(untold.keep(&first, until), Kept::First);
        for _ in 1..CAPACITY {
            assert_eq!(untold.keep(&key(), until), Kept::Further);
        }
        assert_eq!((untold.keep(&key(), until), untold.keep(&first, until)), (Kept::No, Kept::Further));
        // All have ended by themselves.
        assert_eq!(untold.next(until), None);
        assert!(untold.is_done());
        assert_eq!(untold.keep(&key(), until), Kept::First);
    }

    #[test]
    fn a_change_that_was_made_while_another_was_told_is_told_too() {
        let (untold, now, key) = (Untold::default(), Instant::now(), key());
        let [early, late] = [1, 2].map(|seconds| now + Duration::from_secs(seconds));
        untold.keep(&key, early);
        assert_eq!(untold.next(now), Some((key.clone(), early)));
        untold.keep(&key, late);
        untold.told(&key, early);
        assert!(untold.contains(&key) && !untold.is_done());
        untold.told(&key, late);
        assert!(!untold.contains(&key) && untold.is_done());
    }
}
