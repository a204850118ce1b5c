//! Keys that were shown here before, and were good: whose they are is known without asking anybody.
//!
//! That decides whose limits a request meets, and never whether it gets in: that is looked up each time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::ShownKey;
use crate::domain::{ApiKeyId, SecretDigest, TenantId, UserId};

/// Keys known at most: some 2 MB. Where there is no room for one more, all are got to know again.
const CAPACITY: usize = 10_000;

/// The keys that are known. Only good keys come to be, so nobody fills it with invented ones.
#[derive(Debug, Default)]
pub(super) struct Acquaintances(Mutex<HashMap<ApiKeyId, Acquaintance>>);

#[derive(Debug, Clone, Copy)]
struct Acquaintance {
    tenant: TenantId,
    secret: SecretDigest,
    user: UserId,
    expires_at: Option<DateTime<Utc>>,
    /// When its use was last written down by this process.
    noted: Option<Instant>,
}

impl Acquaintance {
    /// Whether `shown` is this very key.
    fn is(&self, shown: &ShownKey) -> bool {
        self.tenant == shown.tenant && self.secret == shown.secret
    }
}

impl Acquaintances {
    /// Whose key this is, if it was good when it was last shown here, and has not expired since.
    pub(super) fn user(&self, shown: &ShownKey, now: DateTime<Utc>) -> Option<UserId> {
        let known = self.lock().get(&shown.id).copied()?;
        let is_over = known.expires_at.is_some_and(|end| end <= now);
        (known.is(shown) && !is_over).then_some(known.user)
    }

    /// Gets to know a key that is good.
    pub(super) fn meet(&self, shown: &ShownKey, user: UserId, expires_at: Option<DateTime<Utc>>) {
        let mut known = self.lock();
        if known.get(&shown.id).is_some_and(|known| known.is(shown)) {
            return;
        }
        if known.len() >= CAPACITY {
            known.clear();
        }
        let (tenant, secret) = (shown.tenant, shown.secret);
        known.insert(shown.id, Acquaintance { tenant, secret, user, expires_at, noted: None });
    }

    /// Whether the use of a known key was not written down within `interval`; from now on it counts as if it were.
    pub(super) fn is_note_due(&self, shown: &ShownKey, interval: Duration) -> bool {
        let now = Instant::now();
        let mut known = self.lock();
        let Some(known) = known.get_mut(&shown.id).filter(|known| known.is(shown)) else { return false };
        let is_due = known.noted.is_none_or(|noted| now.duration_since(noted) >= interval);
        if is_due {
            known.noted = Some(now);
        }
        is_due
    }

    /// Forgets a key that is good no more; not one of the same id that has another secret.
    pub(super) fn forget(&self, shown: &ShownKey) {
        let mut known = self.lock();
        if known.get(&shown.id).is_some_and(|known| known.is(shown)) {
            known.remove(&shown.id);
        }
    }

    /// Forgets the key with this id.
    pub(super) fn forget_id(&self, id: ApiKeyId) {
        self.lock().remove(&id);
    }

    /// The map. Nothing in it can panic half-way.
    fn lock(&self) -> MutexGuard<'_, HashMap<ApiKeyId, Acquaintance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(id: ApiKeyId, secret: &[u8]) -> ShownKey {
        ShownKey { tenant: TenantId::from_uuid(uuid::Uuid::nil()), id, secret: SecretDigest::of(secret) }
    }

    #[test]
    fn only_the_very_key_is_known_until_it_ends_or_is_forgotten() {
        let (known, user, now, id) = (Acquaintances::default(), UserId::new(), Utc::now(), ApiKeyId::new());
        let (right, wrong) = (shown(id, b"right"), shown(id, b"wrong"));
        let elsewhere = ShownKey { tenant: TenantId::new(), ..right };
        assert_eq!(known.user(&right, now), None);
        known.meet(&right, user, Some(now + chrono::TimeDelta::seconds(1)));
        assert_eq!(known.user(&right, now), Some(user));
        assert_eq!((known.user(&wrong, now), known.user(&elsewhere, now)), (None, None));
        assert_eq!(known.user(&right, now + chrono::TimeDelta::seconds(1)), None, "it has expired");
        known.forget(&wrong);
        known.forget(&elsewhere);
        assert_eq!(known.user(&right, now), Some(user), "a wrong secret makes nobody forget the right one");
        known.forget(&right);
        assert_eq!(known.user(&right, now), None);
        known.meet(&right, user, None);
        known.forget_id(id);
        assert_eq!(known.user(&right, now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_use_is_written_down_once_an_interval() {
        let (known, interval) = (Acquaintances::default(), Duration::from_secs(300));
        let key = shown(ApiKeyId::new(), b"secret");
        assert!(!known.is_note_due(&key, interval), "nobody knows it");
        known.meet(&key, UserId::new(), None);
        assert!(known.is_note_due(&key, interval));
        known.meet(&key, UserId::new(), None);
        assert!(!known.is_note_due(&key, interval));
        tokio::time::advance(interval).await;
        assert!(!known.is_note_due(&shown(key.id, b"another"), interval));
        assert!(known.is_note_due(&key, interval) && !known.is_note_due(&key, interval));
    }

    #[test]
    fn so_many_are_known_and_no_more() {
        let known = Acquaintances::default();
        for _ in 0..=CAPACITY {
            known.meet(&shown(ApiKeyId::new(), b"secret"), UserId::new(), None);
        }
        assert_eq!(known.lock().len(), 1);
    }
}
