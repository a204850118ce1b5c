//! What every store of rate limits does, under every algorithm: in the process, and in a real Redis by both protocols.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use agentapi::config::{Config, RateLimitAlgorithm};
use agentapi::domain::{TenantId, UserId};
use agentapi::rate_limit::{
    Identifier, Limit, LoginSource, MAX_NETWORKS, MemoryRateLimitStore, Quota, RateLimitStore, RedisRateLimitStore,
};
use agentapi::redis::Redis;
use futures_util::future::join_all;

use crate::support::{TestRedis, Upstash};

const ALGORITHMS: [RateLimitAlgorithm; 3] =
    [RateLimitAlgorithm::FixedWindow, RateLimitAlgorithm::SlidingWindow, RateLimitAlgorithm::TokenBucket];

/// So slow that nothing is regained while the test runs.
fn quota(limit: u64) -> Quota {
    Quota { limit, per_window: 1, window: Duration::from_secs(60) }
}

fn limit(identifier: Identifier, limit: u64) -> Limit {
    Limit { policy: "default", identifier, quota: quota(limit) }
}

fn user(allowed: u64) -> Limit {
    limit(Identifier::User(UserId::new()), allowed)
}

/// Allowed, place of the tightest, what is left of it.
async fn take(store: &dyn RateLimitStore, limits: &[Limit], cost: u64) -> (bool, usize, u64) {
    let taken = store.take(limits, cost).await.expect("an answer");
    let decision = taken.decision;
    assert_eq!(decision.limit, limits[taken.tightest].quota.limit);
    assert_eq!(decision.allowed, decision.retry_after.is_zero());
    assert!(!decision.reset_after.is_zero() && decision.retry_after <= decision.reset_after, "{decision:?}");
    (decision.allowed, taken.tightest, decision.remaining)
}

/// Holds a store, and further handles on the same one, to the contract.
async fn conforms(stores: &[&dyn RateLimitStore]) {
    let store = stores[0];
    allows_the_limit_and_no_more(store).await;
    tells_identifiers_apart(store).await;
    charges_all_or_none(store).await;
    knows_costs(store).await;
    counts_known_networks_apart(store).await;
    remembers_the_last_networks(store).await;
    counts_parallel_requests(stores).await;
    lets_pass_who_waits_as_told(store).await;
}

async fn allows_the_limit_and_no_more(store: &dyn RateLimitStore) {
    let user = user(3);
    for expected in [(true, 0, 2), (true, 0, 1), (true, 0, 0), (false, 0, 0), (false, 0, 0)] {
        assert_eq!(take(store, &[user], 1).await, expected);
    }
}

async fn tells_identifiers_apart(store: &dyn RateLimitStore) {
    let id = UserId::new();
    let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::"].map(|text| text.parse().expect("an address"));
    let mut identifiers = vec![
        Identifier::User(id),
        Identifier::User(UserId::new()),
        Identifier::Tenant(TenantId::from_uuid(id.as_uuid())),
        Identifier::Login(source("ada@example.org", addresses[0])),
        Identifier::Login(source("bob@example.org", addresses[0])),
        Identifier::LoginNetwork("2001:db8::/56".parse().expect("a network")),
        Identifier::LoginNetwork("2001:db8::/48".parse().expect("a network")),
    ];
    identifiers.extend(addresses.map(Identifier::Ip));
    identifiers.extend(addresses.map(Identifier::LoginIp));
    for identifier in identifiers {
        assert_eq!(take(store, &[limit(identifier, 2)], 1).await, (true, 0, 1), "{identifier:?}");
    }
}

async fn charges_all_or_none(store: &dyn RateLimitStore) {
    let (wide, narrow, other) = (user(9), user(2), user(9));
    assert_eq!(take(store, &[wide, narrow, other], 1).await, (true, 1, 1));
    assert_eq!(take(store, &[wide, narrow, other], 1).await, (true, 1, 0));
    for _ in 0..5 {
        assert_eq!(take(store, &[wide, narrow, other], 1).await, (false, 1, 0));
    }
    assert_eq!(take(store, &[wide], 1).await, (true, 0, 6));
    assert_eq!(take(store, &[other], 1).await, (true, 0, 6));
    // One that was not counted before is not begun either.
    let fresh = user(9);
    assert_eq!(take(store, &[fresh, narrow], 1).await, (false, 1, 0));
    assert_eq!(take(store, &[fresh], 1).await, (true, 0, 8));
}

async fn knows_costs(store: &dyn RateLimitStore) {
    let user = user(7);
    assert_eq!(take(store, &[user], 5).await, (true, 0, 2));
    // A dear request that is refused leaves what is left to cheaper ones.
    assert_eq!(take(store, &[user], 5).await, (false, 0, 2));
    assert_eq!(take(store, &[user], 2).await, (true, 0, 0));
    // What costs more than the limit uses it up.
    let small = limit(Identifier::User(UserId::new()), 3);
    assert_eq!(take(store, &[small], 5).await, (true, 0, 0));
    assert_eq!(take(store, &[small], 5).await, (false, 0, 0));
}

fn source(email: &str, address: IpAddr) -> LoginSource {
    LoginSource::new("acme", email, address)
}

fn address(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).expect("small")))
}

async fn counts_known_networks_apart(store: &dyn RateLimitStore) {
    let network = limit(Identifier::LoginIp(address(1)), 9);
    let login = |number| [network, limit(Identifier::Login(source("eve@example.org", address(number))), 3)];
    assert_eq!(take(store, &login(1), 1).await, (true, 1, 2));
    assert_eq!(take(store, &login(2), 1).await, (true, 1, 1), "of all networks together");
    store.remember_login(source("eve@example.org", address(1))).await.expect("remembered");
    assert_eq!(take(store, &login(1), 1).await, (true, 1, 2), "a count of its own");
    assert_eq!(take(store, &login(2), 1).await, (true, 1, 0));
    assert_eq!(take(store, &login(3), 1).await, (false, 1, 0));
    for left in [1, 0] {
        assert_eq!(take(store, &login(1), 1).await, (true, 1, left));
    }
    assert_eq!(take(store, &login(1), 1).await, (false, 1, 0), "which is limited too");
    // Another account of the same network is not known.
    store.remember_login(source("eve@example.org", address(2))).await.expect("remembered");
    let other = |number| [limit(Identifier::Login(source("mallory@example.org", address(number))), 3)];
    assert_eq!(take(store, &other(1), 1).await, (true, 0, 2));
    assert_eq!(take(store, &other(2), 1).await, (true, 0, 1));
}

async fn remembers_the_last_networks(store: &dyn RateLimitStore) {
    let login = |number| [limit(Identifier::Login(source("ida@example.org", address(number))), 100)];
    for number in 0..=MAX_NETWORKS {
        store.remember_login(source("ida@example.org", address(number))).await.expect("remembered");
    }
    for number in [0, MAX_NETWORKS + 1] {
        take(store, &login(number), 1).await;
    }
    assert_eq!(take(store, &login(0), 1).await, (true, 0, 97), "the oldest is forgotten");
    assert_eq!(take(store, &login(1), 1).await, (true, 0, 99));
}

async fn counts_parallel_requests(stores: &[&dyn RateLimitStore]) {
    let limits = [user(50), user(40)];
    let takes = (0..200).map(|turn| take(stores[turn % stores.len()], &limits, 1));
    assert_eq!(join_all(takes).await.iter().filter(|(allowed, ..)| *allowed).count(), 40);
    assert_eq!(take(stores[0], &limits[..1], 1).await, (true, 0, 9));
}

/// Tries longer and longer windows, until one is so long that it is used up before it is over, however busy the machine is.
async fn lets_pass_who_waits_as_told(store: &dyn RateLimitStore) {
    for doublings in 0..6 {
        let quota = Quota { limit: 2, per_window: 2, window: Duration::from_millis(400 << doublings) };
        let limit = Limit { policy: "default", identifier: Identifier::User(UserId::new()), quota };
        for _ in 0..3 {
            let taken = store.take(&[limit], 1).await.expect("an answer");
            if !taken.decision.allowed {
                // Redis keeps a key through its last millisecond.
                tokio::time::sleep(taken.decision.retry_after + Duration::from_millis(1)).await;
                assert!(store.take(&[limit], 1).await.expect("an answer").decision.allowed);
                return;
            }
        }
    }
    panic!("three requests took more than 12 s");
}

#[tokio::test(start_paused = true)]
async fn in_process_stores_conform() {
    for algorithm in ALGORITHMS {
        conforms(&[&MemoryRateLimitStore::new(algorithm)]).await;
    }
}

#[tokio::test]
async fn redis_stores_conform() {
    let redis = TestRedis::start().await;
    redis_conforms(&redis, &[("REDIS_URL", redis.url())]).await;
}

#[tokio::test]
async fn redis_stores_over_rest_conform() {
    let redis = TestRedis::start().await;
    let upstash = Upstash::start(&redis).await;
    redis_conforms(&redis, &upstash.variables()).await;
    assert!(!upstash.take_seen().is_empty());
}

async fn redis_conforms(redis: &TestRedis, variables: &[(&str, String)]) {
    for algorithm in ALGORITHMS {
        // Two servers: what they know of Redis they know each by itself.
        let (one, two) = (store(variables, algorithm), store(variables, algorithm));
        conforms(&[&one, &two]).await;
        redis::cmd("FLUSHALL").query_async::<()>(&mut redis.connect().await).await.expect("flushed");
    }
}

/// The store of a server with these settings, which gives Redis time however busy the machine is.
fn store(variables: &[(&str, String)], algorithm: RateLimitAlgorithm) -> RedisRateLimitStore {
    let patience = ("REDIS_COMMAND_TIMEOUT", "10s".to_owned());
    let variables: BTreeMap<_, _> =
        variables.iter().chain([&patience]).map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let settings = Config::from_variables(&variables).expect("valid").redis;
    RedisRateLimitStore::new(Redis::new(&settings).expect("a handle"), algorithm)
}

#[tokio::test]
async fn the_default_algorithms_counter_is_plain_and_heals() {
    let redis = TestRedis::start().await;
    let store = store(&[("REDIS_URL", redis.url())], RateLimitAlgorithm::FixedWindow);
    let id = UserId::new();
    let limit = limit(Identifier::User(id), 3);
    for _ in 0..5 {
        store.take(&[limit], 1).await.expect("an answer");
    }
    let mut connection = redis.connect().await;
    let key = format!("ratelimit:user:{id}");
    let count: u64 = redis::cmd("GET").arg(&key).query_async(&mut connection).await.expect("a counter");
    assert_eq!(count, 5, "what is over the limit is counted too");
    redis::cmd("PERSIST").arg(&key).query_async::<()>(&mut connection).await.expect("persisted");
    assert!(!store.take(&[limit], 1).await.expect("an answer").decision.allowed);
    let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.expect("a TTL");
    assert!((1..=60_000).contains(&left), "{left}");
    // An hour more, as after the clock was set back by one: a key's end is a time of day.
    redis::cmd("PEXPIRE").arg(&key).arg(3_660_000).query_async::<()>(&mut connection).await.expect("put off");
    let decision = store.take(&[limit], 1).await.expect("an answer").decision;
    assert!(!decision.allowed && decision.retry_after <= quota(3).window, "{decision:?}");
    let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.expect("a TTL");
    assert!((1..=60_000).contains(&left), "{left}");
}
