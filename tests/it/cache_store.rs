//! What every [`CacheStore`] does, whichever it is: one suite, run over each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agentapi::cache::{CacheError, CacheStore, MemoryCacheStore, RedisCacheStore, Value};
use agentapi::config::Config;
use agentapi::domain::{CacheKey, KeyRing, TenantId, UserId};
use agentapi::redis::Redis;
use chrono::{TimeDelta, Utc};

use crate::support::{TestRedis, Upstash, eventually};

const LIFE: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(1);

#[tokio::test]
async fn the_in_process_store_conforms() {
    conforms(&MemoryCacheStore::new(1_000_000)).await;
}

#[tokio::test]
async fn redis_conforms() {
    let redis = TestRedis::start().await;
    conforms(&store(&[("REDIS_URL", &redis.url()), ("REDIS_COMMAND_TIMEOUT", "20s")], &ring())).await;
}

#[tokio::test]
async fn upstash_conforms() {
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    let variables = [
        ("REDIS_PROTOCOL", "rest"),
        ("UPSTASH_REDIS_REST_URL", &upstash.url()),
        ("UPSTASH_REDIS_REST_TOKEN", Upstash::TOKEN),
        ("REDIS_COMMAND_TIMEOUT", "20s"),
    ];
    conforms(&store(&variables, &ring())).await;
}

fn ring() -> KeyRing {
    KeyRing::new(&[7; 32])
}

fn store(variables: &[(&str, &str)], keys: &KeyRing) -> RedisCacheStore {
    let variables: BTreeMap<_, _> = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let redis = Redis::new(&Config::from_variables(&variables).expect("valid").redis).expect("an endpoint");
    RedisCacheStore::new(redis, keys.clone())
}

fn key() -> CacheKey {
    CacheKey::new(TenantId::new(), "user", &UserId::new())
}

fn value(text: &str) -> Value {
    text.as_bytes().into()
}

async fn conforms(store: &dyn CacheStore) {
    any_bytes_are_kept_under_their_key(store).await;
    the_first_value_stays_until_its_life_ends(store).await;
    what_is_invalidated_is_gone_and_not_taken_for_a_while(store).await;
}

async fn get(store: &dyn CacheStore, key: &CacheKey) -> Option<Value> {
    store.get(key).await.expect("asked")
}

async fn any_bytes_are_kept_under_their_key(store: &dyn CacheStore) {
    let all: Value = (0..=255).collect();
    let large: Value = vec![b'x'; 100_000].into();
    let values = [all, large, value(""), value("-"), value("OK")];
    let keys: Vec<CacheKey> = values.iter().map(|_| key()).collect();
    for (key, value) in keys.iter().zip(&values) {
        assert_eq!(get(store, key).await, None);
        assert!(store.add(key, value, Utc::now(), LIFE).await.expect("added"));
    }
    for (key, value) in keys.iter().zip(&values) {
        assert_eq!(get(store, key).await.as_ref(), Some(value));
    }
    let (tenant, id) = (TenantId::new(), UserId::new());
    assert!(store.add(&CacheKey::new(tenant, "user", &id), &value("ours"), Utc::now(), LIFE).await.expect("added"));
    for other in [CacheKey::new(TenantId::new(), "user", &id), CacheKey::new(tenant, "tenant", &id)] {
        assert_eq!(get(store, &other).await, None);
    }
}

async fn the_first_value_stays_until_its_life_ends(store: &dyn CacheStore) {
    let (long, short) = (key(), key());
    assert!(store.add(&long, &value("one"), Utc::now(), LIFE).await.expect("added"));
    assert!(!store.add(&long, &value("two"), Utc::now(), LIFE).await.expect("asked"));
    assert_eq!(get(store, &long).await, Some(value("one")));
    assert!(store.add(&short, &value("one"), Utc::now(), SHORT).await.expect("added"));
    eventually("it expires", || async { get(store, &short).await.is_none().then_some(()) }).await;
    assert!(store.add(&short, &value("two"), Utc::now(), LIFE).await.expect("added"));
    assert_eq!(get(store, &short).await, Some(value("two")));
}

async fn what_is_invalidated_is_gone_and_not_taken_for_a_while(store: &dyn CacheStore) {
    let (there, absent, other) = (key(), key(), key());
    for key in [&there, &other] {
        assert!(store.add(key, &value("old"), Utc::now(), LIFE).await.expect("added"));
    }
    for key in [&there, &absent] {
        store.invalidate(key, LIFE).await.expect("invalidated");
        assert_eq!(get(store, key).await, None);
        assert!(!store.add(key, &value("old"), Utc::now(), LIFE).await.expect("asked"));
        assert_eq!(get(store, key).await, None);
        store.invalidate(key, SHORT).await.expect("invalidated again");
        eventually("it is taken again", || async {
            store.add(key, &value("new"), Utc::now(), LIFE).await.expect("asked").then_some(())
        })
        .await;
        assert_eq!(get(store, key).await, Some(value("new")));
    }
    assert_eq!(get(store, &other).await, Some(value("old")));
}

#[tokio::test]
async fn in_redis_a_value_opens_under_its_own_key_by_a_key_of_the_ring_and_not_otherwise() {
    let redis = TestRedis::start().await;
    let url = redis.url();
    let on = |keys: &KeyRing| store(&[("REDIS_URL", &url), ("REDIS_COMMAND_TIMEOUT", "20s")], keys);
    let (ours, rotated, foreign) =
        (on(&ring()), on(&KeyRing::with_others(&[8; 32], [&[7; 32]]).expect("two keys")), on(&KeyRing::new(&[9; 32])));
    let (one, two) = (key(), key());
    assert!(ours.add(&one, &value("ada@example.org"), Utc::now(), LIFE).await.expect("added"));
    assert_eq!(get(&rotated, &one).await, Some(value("ada@example.org")));
    let unreadable = async |store: &RedisCacheStore, key: &CacheKey| {
        let answer = store.get(key).await;
        assert!(matches!(answer, Err(CacheError::Unreadable)), "{answer:?}");
    };
    unreadable(&foreign, &one).await;
    let mut connection = redis.connect().await;
    let text: String = redis::cmd("GET").arg(one.as_str()).query_async(&mut connection).await.expect("a value");
    let mut put = async |text: &str| {
        redis::cmd("SET").arg(two.as_str()).arg(text).query_async::<()>(&mut connection).await.expect("set");
    };
    for text in [&text, "", "not sealed", &text[..20], &format!("{text}A")] {
        put(text).await;
        unreadable(&ours, &two).await;
    }
    redis::cmd("DEL").arg(two.as_str()).query_async::<()>(&mut connection).await.expect("deleted");
    redis::cmd("LPUSH").arg(two.as_str()).arg(1).query_async::<()>(&mut connection).await.expect("a list");
    assert!(matches!(ours.get(&two).await, Err(CacheError::Unavailable(_))));
}

#[tokio::test]
async fn value_in_redis_is_refused_when_older_than_its_life() {
    let redis = TestRedis::start().await;
    let store = store(&[("REDIS_URL", &redis.url()), ("REDIS_COMMAND_TIMEOUT", "20s")], &ring());
    let life = Duration::from_secs(10);
    // Reading may take 5 seconds, and a clock may be 2 seconds ahead.
    for (age, is_current) in [(0, true), (13, true), (16, false), (3600, false), (-1, true), (-60, false)] {
        let key = key();
        assert!(store.add(&key, &value("one"), Utc::now() - TimeDelta::seconds(age), life).await.expect("added"));
        let found = store.get(&key).await;
        if is_current {
            assert_eq!(found.expect("current"), Some(value("one")), "{age} s old");
        } else {
            assert!(matches!(found, Err(CacheError::Expired)), "{age} s old: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_hung_redis_is_waited_for_no_longer_than_it_may_take() {
    let redis = TestRedis::start().await;
    let store = store(&[("REDIS_URL", &redis.url()), ("REDIS_COMMAND_TIMEOUT", "200ms")], &ring());
    let key = key();
    assert_eq!(get(&store, &key).await, None);
    redis.hang();
    let start = Instant::now();
    assert!(matches!(store.get(&key).await, Err(CacheError::Unavailable(_))));
    assert!(matches!(store.add(&key, &value("one"), Utc::now(), LIFE).await, Err(CacheError::Unavailable(_))));
    assert!(matches!(store.invalidate(&key, LIFE).await, Err(CacheError::Unavailable(_))));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    redis.resume();
}
