use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::domain::{StoreUnavailable, UserId};

const NUMBER: Kind<UserId, u32> =
    Kind::new(Policy { name: "number", near: Duration::from_secs(30), life: Duration::from_secs(600), max_bytes: 5 });

type Reading = std::pin::Pin<Box<dyn Future<Output = Result<Option<u32>, &'static str>> + Send>>;

/// What is read: a number, that may be changed, and how often it was read. A reading ends as soon as it is let go.
struct Source {
    number: AtomicU32,
    readings: AtomicU32,
    gate: Semaphore,
    fails: AtomicU32,
    panics: AtomicBool,
    hangs: AtomicBool,
}

impl Source {
    /// Readings wait to be let go.
    fn gated() -> Arc<Self> {
        Arc::new(Self {
            number: 1.into(),
            readings: 0.into(),
            gate: Semaphore::new(0),
            fails: 0.into(),
            panics: false.into(),
            hangs: false.into(),
        })
    }

    fn open() -> Arc<Self> {
        let source = Self::gated();
        source.let_go();
        source
    }

    fn let_go(&self) {
        self.gate.add_permits(1000);
    }

    fn readings(&self) -> u32 {
        self.readings.load(Ordering::SeqCst)
    }

    async fn begun(&self) {
        while self.readings() == 0 {
            tokio::task::yield_now().await;
        }
    }

    fn fill(self: &Arc<Self>) -> impl Fn() -> Reading + Sync + use<> {
        let source = self.clone();
        move || Box::pin(source.clone().read())
    }

    async fn read(self: Arc<Self>) -> Result<Option<u32>, &'static str> {
        let number = self.number.load(Ordering::SeqCst);
        self.readings.fetch_add(1, Ordering::SeqCst);
        let _passed = self.gate.acquire().await.expect("never closed");
        assert!(!self.panics.swap(false, Ordering::SeqCst), "on purpose");
        if self.hangs.swap(false, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let fails = self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { Err("on purpose") } else { Ok((number > 0).then_some(number)) }
    }
}

/// A store that answers as it is told.
#[derive(Default)]
struct Faulty {
    unreadable: bool,
    added: AtomicU32,
}

#[async_trait]
impl CacheStore for Faulty {
    async fn get(&self, _: &CacheKey) -> Result<Option<Value>, CacheError> {
        if self.unreadable { Err(CacheError::Unreadable) } else { Err(StoreUnavailable("on purpose".to_owned()).into()) }
    }

    async fn add(&self, _: &CacheKey, _: &Value, _: DateTime<Utc>, _: Duration) -> Result<bool, CacheError> {
        self.added.fetch_add(1, Ordering::SeqCst);
        Ok(true)
    }

    async fn invalidate(&self, _: &CacheKey, _: Duration) -> Result<(), CacheError> {
        Err(StoreUnavailable("on purpose".to_owned()).into())
    }
}

/// A store that is away at times.
struct Away {
    kept: MemoryCacheStore,
    is_away: AtomicBool,
}

impl Away {
    fn answers(&self) -> Result<&MemoryCacheStore, CacheError> {
        let is_away = self.is_away.load(Ordering::SeqCst);
        if is_away { Err(StoreUnavailable("on purpose".to_owned()).into()) } else { Ok(&self.kept) }
    }
}

#[async_trait]
impl CacheStore for Away {
    async fn get(&self, key: &CacheKey) -> Result<Option<Value>, CacheError> {
        self.answers()?.get(key).await
    }

    async fn add(&self, key: &CacheKey, value: &Value, read_at: DateTime<Utc>, life: Duration) -> Result<bool, CacheError> {
        self.answers()?.add(key, value, read_at, life).await
    }

    async fn invalidate(&self, key: &CacheKey, quarantine: Duration) -> Result<(), CacheError> {
        self.answers()?.invalidate(key, quarantine).await
    }
}

fn shared() -> Arc<MemoryCacheStore> {
    Arc::new(MemoryCacheStore::new(1_000_000))
}

fn cache_on(store: &Arc<MemoryCacheStore>) -> Cache {
    Cache::new(Some(store.clone()), TaskTracker::new(), CancellationToken::new())
}

/// A cache as it is without Redis, and one as it is with it.
fn caches() -> [Cache; 2] {
    [Cache::new(None, TaskTracker::new(), CancellationToken::new()), cache_on(&shared())]
}

/// Waits until nothing is under way any more.
async fn settled(cache: &Cache) {
    cache.0.tasks.close();
    cache.0.tasks.wait().await;
    cache.0.tasks.reopen();
}

#[tokio::test]
async fn many_at_once_read_once_and_later_ones_not_at_all() {
    for cache in caches() {
        let (source, tenant, id) = (Source::gated(), TenantId::new(), UserId::new());
        let all = join_all((0..200).map(|_| cache.get(&NUMBER, tenant, id, source.fill())));
        let (all, ()) = tokio::join!(all, async {
            source.begun().await;
            source.let_go();
        });
        assert_eq!(all, vec![Ok(Some(1)); 200]);
        assert_eq!(cache.get(&NUMBER, tenant, id, source.fill()).await, Ok(Some(1)));
        assert_eq!(source.readings(), 1);
    }
}

#[tokio::test]
async fn a_reading_that_fails_or_panics_concerns_only_who_began_it() {
    for cache in caches() {
        let (source, tenant) = (Source::gated(), TenantId::new());
        source.let_go();
        for (panics, expected) in [(false, Err("on purpose")), (true, Ok(Some(1)))] {
            let id = UserId::new();
            source.panics.store(panics, Ordering::SeqCst);
            source.fails.store(u32::from(!panics), Ordering::SeqCst);
            let all = join_all((0..50).map(|_| cache.get(&NUMBER, tenant, id, source.fill()))).await;
            assert_eq!(all[0], expected, "who began it is told, or tries again");
            assert_eq!(all[1..], vec![Ok(Some(1)); 49]);
            settled(&cache).await;
        }
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nothing_from_the_others() {
    for cache in caches() {
        let (source, tenant, id) = (Source::gated(), TenantId::new(), UserId::new());
        {
            let mut first = std::pin::pin!(cache.get(&NUMBER, tenant, id, source.fill()));
            assert!(futures_util::poll!(first.as_mut()).is_pending());
            source.begun().await;
        }
        let others = join_all((0..50).map(|_| cache.get(&NUMBER, tenant, id, source.fill())));
        let (others, ()) = tokio::join!(others, async { source.let_go() });
        assert_eq!((others, source.readings()), (vec![Ok(Some(1)); 50], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_hangs_wedges_nobody() {
    for cache in caches() {
        let (source, tenant, id) = (Source::open(), TenantId::new(), UserId::new());
        source.hangs.store(true, Ordering::SeqCst);
        let start = Instant::now();
        let all = join_all((0..50).map(|_| cache.get(&NUMBER, tenant, id, source.fill()))).await;
        assert_eq!((all, start.elapsed()), (vec![Ok(Some(1)); 50], FILL));
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_goes_by_what_it_knows_for_a_time_and_then_asks_the_others() {
    let store = shared();
    let (cache, source, tenant, id) = (cache_on(&store), Source::open(), TenantId::new(), UserId::new());
    let ask = || cache.get(&NUMBER, tenant, id, source.fill());
    assert_eq!(ask().await, Ok(Some(1)));
    settled(&cache).await;
    let key = NUMBER.key(tenant, &id);
    tokio::time::advance(NUMBER.policy().near * 89 / 100).await;
    assert!(cache.0.near.find(&key).is_some());
    tokio::time::advance(NUMBER.policy().near * 22 / 100).await;
    assert!(cache.0.near.find(&key).is_none());
    assert_eq!((ask().await, source.readings()), (Ok(Some(1)), 1));
    assert!(cache.0.near.find(&key).is_some(), "it knows again");
    tokio::time::advance(NUMBER.policy().life * 80 / 100).await;
    assert!(store.find(&key).is_some());
    tokio::time::advance(NUMBER.policy().life * 25 / 100).await;
    assert!(store.find(&key).is_none());
    assert_eq!((ask().await, source.readings()), (Ok(Some(1)), 2));
}

#[tokio::test]
async fn what_is_too_large_is_read_each_time_and_what_is_not_there_too() {
    for cache in caches() {
        let (source, tenant) = (Source::open(), TenantId::new());
        for (number, expected) in [(99_999, Some(99_999)), (100_000, Some(100_000)), (0, None)] {
            let id = UserId::new();
            source.number.store(number, Ordering::SeqCst);
            let before = source.readings();
            for _ in 0..3 {
                assert_eq!(cache.get(&NUMBER, tenant, id, source.fill()).await, Ok(expected));
                settled(&cache).await;
            }
            assert_eq!(source.readings() - before, if number == 99_999 { 1 } else { 3 }, "{number}");
        }
    }
}

#[tokio::test]
async fn tenants_share_nothing() {
    for cache in caches() {
        let (source, id) = (Source::open(), UserId::new());
        for number in 1..4 {
            source.number.store(number, Ordering::SeqCst);
            assert_eq!(cache.get(&NUMBER, TenantId::new(), id, source.fill()).await, Ok(Some(number)));
        }
    }
}

/// The number was read before it changed, by this process or by another one; then it is changed and forgotten, and then the reading ends.
async fn change_while_it_is_read(reader: &Cache, changer: &Cache, store: &MemoryCacheStore) {
    let (source, tenant, id) = (Source::gated(), TenantId::new(), UserId::new());
    let old = reader.get(&NUMBER, tenant, id, source.fill());
    let (old, ()) = tokio::join!(old, async {
        source.begun().await;
        source.number.store(2, Ordering::SeqCst);
        changer.invalidate(&NUMBER, tenant, id).await.expect("forgotten");
        source.let_go();
        // Who asks after the change does not wait for what was read before it.
        assert_eq!(changer.get(&NUMBER, tenant, id, source.fill()).await, Ok(Some(2)));
    });
    assert_eq!(old, Ok(Some(1)), "it was so when it was asked for");
    settled(reader).await;
    // That other processes hear of a change is not the cache's doing.
    reader.forget_near();
    for cache in [reader, changer] {
        assert_eq!(cache.get(&NUMBER, tenant, id, source.fill()).await, Ok(Some(2)));
    }
    assert_eq!(store.find(&NUMBER.key(tenant, &id)), None, "nothing is kept for a while");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_change_does_not_come_back_after_it() {
    let store = shared();
    let (one, two) = (cache_on(&store), cache_on(&store));
    change_while_it_is_read(&one, &one, &store).await;
    change_while_it_is_read(&one, &two, &store).await;
    let alone = Cache::new(None, TaskTracker::new(), CancellationToken::new());
    change_while_it_is_read(&alone, &alone, &shared()).await;
}

#[tokio::test(start_paused = true)]
async fn some_time_after_a_change_it_is_cached_again() {
    for cache in caches() {
        let (source, tenant, id) = (Source::open(), TenantId::new(), UserId::new());
        let ask = || cache.get(&NUMBER, tenant, id, source.fill());
        assert_eq!(ask().await, Ok(Some(1)));
        settled(&cache).await;
        source.number.store(2, Ordering::SeqCst);
        cache.invalidate(&NUMBER, tenant, id).await.expect("forgotten");
        assert_eq!(ask().await, Ok(Some(2)));
        settled(&cache).await;
        tokio::time::advance(QUARANTINE).await;
        assert_eq!((ask().await, source.readings()), (Ok(Some(2)), 3));
        settled(&cache).await;
        assert_eq!((ask().await, source.readings()), (Ok(Some(2)), 3));
    }
}

#[tokio::test]
async fn forgetting_all_holds_also_for_what_is_being_read() {
    let cache = Cache::new(None, TaskTracker::new(), CancellationToken::new());
    let (source, tenant, id) = (Source::gated(), TenantId::new(), UserId::new());
    let old = cache.get(&NUMBER, tenant, id, source.fill());
    let (old, ()) = tokio::join!(old, async {
        source.begun().await;
        source.number.store(2, Ordering::SeqCst);
        cache.forget_near();
        source.let_go();
    });
    assert_eq!(old, Ok(Some(1)));
    settled(&cache).await;
    for _ in 0..2 {
        assert_eq!(cache.get(&NUMBER, tenant, id, source.fill()).await, Ok(Some(2)));
        settled(&cache).await;
    }
    assert_eq!(source.readings(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_a_miss_and_its_process_remembers() {
    for unreadable in [false, true] {
        let store = Arc::new(Faulty { unreadable, ..Faulty::default() });
        let cache = Cache::new(Some(store.clone()), TaskTracker::new(), CancellationToken::new());
        let (source, tenant, id) = (Source::open(), TenantId::new(), UserId::new());
        for _ in 0..3 {
            assert_eq!(cache.get(&NUMBER, tenant, id, source.fill()).await, Ok(Some(1)));
            settled(&cache).await;
        }
        assert_eq!(source.readings(), 1);
        assert_eq!(store.added.load(Ordering::SeqCst), u32::from(unreadable), "who does not answer is not asked again");
        assert!(cache.invalidate(&NUMBER, tenant, id).await.is_err());
        assert_eq!((cache.get(&NUMBER, tenant, id, source.fill()).await, source.readings()), (Ok(Some(1)), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_away_is_told_of_a_change_once_it_is_back() {
    let store = Arc::new(Away { kept: MemoryCacheStore::new(1_000_000), is_away: false.into() });
    let cache = Cache::new(Some(store.clone()), TaskTracker::new(), CancellationToken::new());
    let (source, tenant, id) = (Source::open(), TenantId::new(), UserId::new());
    let ask = || cache.get(&NUMBER, tenant, id, source.fill());
    assert_eq!(ask().await, Ok(Some(1)));
    settled(&cache).await;
    store.is_away.store(true, Ordering::SeqCst);
    source.number.store(2, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(cache.invalidate(&NUMBER, tenant, id).await.is_err());
    }
    tokio::time::sleep(NUMBER.policy().life / 2).await;
    store.is_away.store(false, Ordering::SeqCst);
    assert!(store.kept.find(&NUMBER.key(tenant, &id)).is_some());
    assert_eq!(ask().await, Ok(Some(2)), "who knows of the change does not go by what is there");
    // It is told, and the task that told it has ended.
    settled(&cache).await;
    assert_eq!(store.kept.find(&NUMBER.key(tenant, &id)), None);
    assert_eq!(ask().await, Ok(Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_told_no_longer_than_old_values_live_or_the_server_runs() {
    for stops in [false, true] {
        let stopping = CancellationToken::new();
        let cache = Cache::new(Some(Arc::new(Faulty::default())), TaskTracker::new(), stopping.clone());
        assert!(cache.invalidate(&NUMBER, TenantId::new(), UserId::new()).await.is_err());
        if stops {
            stopping.cancel();
        }
        let start = Instant::now();
        settled(&cache).await;
        let longest = if stops { Duration::ZERO } else { NUMBER.policy().life * 11 / 10 + QUARANTINE + Duration::from_secs(10) };
        assert!(start.elapsed() <= longest && (stops || start.elapsed() >= NUMBER.policy().life), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn what_is_not_of_its_kind_is_a_miss() {
    let (store, tenant, id) = (shared(), TenantId::new(), UserId::new());
    assert!(store.keep(&NUMBER.key(tenant, &id), &b"\"text\"".as_slice().into(), Duration::from_secs(60)));
    let source = Source::open();
    assert_eq!(cache_on(&store).get(&NUMBER, tenant, id, source.fill()).await, Ok(Some(1)));
}

#[tokio::test]
async fn who_heard_of_a_change_is_not_told_the_old_value_by_a_store_that_did_not() {
    let (store, source, (tenant, id)) = (shared(), Source::open(), (TenantId::new(), UserId::new()));
    let (hears, fills) = (cache_on(&store), cache_on(&store));
    assert_eq!(fills.get(&NUMBER, tenant, id, source.fill()).await, Ok(Some(1)));
    while store.find(&NUMBER.key(tenant, &id)).is_none() {
        tokio::task::yield_now().await;
    }
    source.number.store(2, Ordering::SeqCst);
    hears.forget(&NUMBER, tenant, &id);
    assert_eq!(hears.get(&NUMBER, tenant, id, source.fill()).await, Ok(Some(2)));
    assert!(store.find(&NUMBER.key(tenant, &id)).is_some_and(|value| &*value == b"1"), "nobody has forgotten it there");
}
