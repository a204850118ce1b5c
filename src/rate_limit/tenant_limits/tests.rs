use std::sync::atomic::AtomicU32;

use futures_util::future::join_all;

use super::*;
use crate::domain::LimitOverride;

/// Says how often it was asked, as the tenant's requests a minute, unless it is to fail or to hang.
#[derive(Default)]
struct Fake {
    readings: AtomicU32,
    fails: AtomicBool,
    hangs: AtomicBool,
}

#[async_trait]
impl TenantLimitsSource for Fake {
    async fn read(&self, _: TenantId) -> Result<TenantLimits, DatabaseError> {
        let readings = self.readings.fetch_add(1, Ordering::Relaxed) + 1;
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.fails.load(Ordering::Relaxed) {
            return Err(DatabaseError::Corrupt("nothing"));
        }
        Ok(limits(readings))
    }
}

fn limits(requests_per_minute: u32) -> TenantLimits {
    let tenant = LimitOverride { requests_per_minute: Some(requests_per_minute), burst_size: None };
    TenantLimits { tenant, ..TenantLimits::default() }
}

fn cache() -> (Arc<Fake>, TenantLimitsCache, TenantId) {
    let fake = Arc::new(Fake::default());
    (fake.clone(), TenantLimitsCache::new(fake, TaskTracker::new()), TenantId::new())
}

#[tokio::test(start_paused = true)]
async fn many_at_once_read_once_and_again_after_some_seconds() {
    let (fake, cache, tenant) = cache();
    let all = join_all((0..64).map(|_| cache.get(tenant))).await;
    assert_eq!(all, vec![limits(1); 64]);
    let nearly = Duration::from_millis(4_999);
    tokio::time::advance(nearly).await;
    assert_eq!(cache.get(tenant).await, limits(1));
    assert_eq!(fake.readings.load(Ordering::Relaxed), 1);
    tokio::time::advance(FRESH.saturating_sub(nearly)).await;
    // Nobody waits: what is known holds until what is read is there.
    assert_eq!(join_all((0..64).map(|_| cache.get(tenant))).await, vec![limits(1); 64]);
    cache.tasks.close();
    cache.tasks.wait().await;
    assert_eq!((cache.get(tenant).await, fake.readings.load(Ordering::Relaxed)), (limits(2), 2));
}

#[tokio::test(start_paused = true)]
async fn after_a_long_time_the_old_limits_are_not_used_without_asking() {
    let (_, cache, tenant) = cache();
    assert_eq!(cache.get(tenant).await, limits(1));
    tokio::time::advance(STALE).await;
    assert_eq!(cache.get(tenant).await, limits(2));
}

#[tokio::test(start_paused = true)]
async fn the_last_known_limits_hold_while_the_source_fails_or_hangs() {
    let (fake, cache, tenant) = cache();
    assert_eq!(cache.get(tenant).await, limits(1));
    for fault in [&fake.fails, &fake.hangs] {
        fault.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            tokio::time::advance(STALE).await;
            let start = Instant::now();
            assert_eq!(cache.get(tenant).await, limits(1));
            assert!(start.elapsed() <= PATIENCE);
        }
        let start = Instant::now();
        assert_eq!(cache.get(TenantId::new()).await, TenantLimits::default());
        assert!(start.elapsed() <= PATIENCE);
    }
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded() {
    let (_, cache, _) = cache();
    for _ in 0..CAPACITY + 10 {
        cache.get(TenantId::new()).await;
    }
    assert!(cache.slots.lock().expect("not poisoned").len() <= CAPACITY);
}
