//! Redis killed, hung, emptied, full, read-only, and back.

use std::time::{Duration, Instant};

use crate::support::{
    Answer, Client, Network, Proxy, Server, ServerBuilder, TestDatabase, TestRedis, eventually, operators_login,
};

/// Longest that a request may take while Redis is away.
pub(crate) const BOUND: Duration = Duration::from_secs(1);

/// A server with the default deadlines, on a Redis that will fail it.
pub(crate) fn on(database: &TestDatabase, redis: &TestRedis) -> ServerBuilder {
    ServerBuilder::new(database).env("REDIS_URL", &redis.url())
}

pub(crate) async fn in_time(what: &str, answer: impl Future<Output = Answer>) -> Answer {
    let start = Instant::now();
    let answer = answer.await;
    let elapsed = start.elapsed();
    assert!(elapsed < BOUND, "{what} took {elapsed:?}");
    answer
}

pub(crate) async fn refuses(server: &Server, client: &Client) {
    for _ in 0..5 {
        let answer = in_time("a request", client.get("/v1/auth/session")).await;
        assert_eq!((answer.problem(503).as_str(), answer.header("retry-after")), ("store_unavailable", "1"));
    }
    let many = (0..64).map(|_| in_time("one of 64 requests", client.get("/v1/agents")));
    for answer in futures_util::future::join_all(many).await {
        assert_eq!(answer.problem(503), "store_unavailable");
    }
    // All who ask within a second get the same answer.
    let status = eventually("/status tells of it", || async {
        let status = in_time("/status", server.anonymous().get("/status")).await;
        (status.status == 503).then_some(status)
    })
    .await;
    assert_eq!(status.json()["status"], "unavailable");
    assert_eq!(status.json()["checks"]["redis"]["status"], "down");
    assert_eq!(server.anonymous().post("/v1/auth/login", operators_login()).await.problem(503), "store_unavailable");
    assert_eq!(server.anonymous().get("/livez").await.status, 200);
}

pub(crate) async fn serves_again(server: &Server, client: &Client) {
    let back = Instant::now();
    eventually("service is back", || async { (client.get("/v1/auth/session").await.status == 200).then_some(()) }).await;
    assert!(back.elapsed() < Duration::from_secs(1), "back after {:?}", back.elapsed());
    eventually("/status is well", || async { (server.anonymous().get("/status").await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn a_killed_redis_costs_nobody_its_session() {
    let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = on(&database, &redis).start().await;
    let clients = [server.operator().await, server.operator().await, server.operator().await];
    redis.kill();
    refuses(&server, &clients[0]).await;
    redis.restart().await;
    for client in &clients {
        serves_again(&server, client).await;
    }
}

#[tokio::test]
async fn a_hung_redis_hangs_nobody() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = on(&database, &redis).start().await;
    let client = server.operator().await;
    redis.hang();
    refuses(&server, &client).await;
    redis.resume();
    serves_again(&server, &client).await;
}

/// A server with the default deadlines, on a Redis behind a network.
pub(crate) fn behind(database: &TestDatabase, redis: &TestRedis) -> (Proxy, ServerBuilder) {
    let proxy = Proxy::before(&redis.address());
    let builder = ServerBuilder::new(database).env("REDIS_URL", &format!("redis://{}", proxy.address()));
    (proxy, builder)
}

#[tokio::test]
async fn a_network_that_swallows_everything_hangs_nobody() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (proxy, builder) = behind(&database, &redis);
    let server = builder.start().await;
    let client = server.operator().await;
    // The connection that is there falls silent; then, with many waiting, so does every new one.
    for _ in 0..3 {
        proxy.set(Network::BlackHole);
        refuses(&server, &client).await;
        proxy.set(Network::Well);
        serves_again(&server, &client).await;
    }
}

#[tokio::test]
async fn many_who_find_no_connection_are_not_behind_each_other_once_there_is_one() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (proxy, builder) = behind(&database, &redis);
    let builder = builder.env("TOKEN_ENCRYPTION_KEY", &"d".repeat(64));
    let first = builder.start().await;
    let token = first.operator().await.token.expect("a token");
    // It never had a connection, and nobody told it yet that there is none to be had: all of 64 requests want one.
    proxy.set(Network::BlackHole);
    let second = builder.sibling().start().await;
    let client = second.anonymous().with_token(&token);
    let many = (0..64).map(|_| in_time("one of 64 requests", client.get("/v1/agents")));
    for answer in futures_util::future::join_all(many).await {
        assert_eq!(answer.problem(503), "store_unavailable");
    }
    refuses(&second, &client).await;
    proxy.set(Network::Well);
    serves_again(&second, &client).await;
    let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut redis.connect().await).await.expect("a list");
    let (count, most) = (clients.lines().count(), 6);
    assert!(count <= most, "{count} connections:\n{clients}");
}

#[tokio::test]
async fn a_network_that_cuts_connections_costs_nobody_its_session() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (proxy, builder) = behind(&database, &redis);
    let server = builder.start().await;
    let client = server.operator().await;
    proxy.set(Network::Cut);
    refuses(&server, &client).await;
    proxy.set(Network::Well);
    serves_again(&server, &client).await;
}

#[tokio::test]
async fn over_a_swallowing_network_limits_are_counted_here() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (proxy, builder) = behind(&database, &redis);
    let builder = builder.env("RATE_LIMIT_REQUESTS_PER_MINUTE", "20").env("RATE_LIMIT_BURST_SIZE", "0");
    let server = builder.start().await;
    let client = server.operator().await;
    proxy.set(Network::BlackHole);
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(in_time("a request", client.get("/v1/auth/session")).await.status.as_u16());
    }
    let count = |status: u16| statuses.iter().filter(|&&answered| answered == status).count();
    assert_eq!((count(503), count(429)), (20, 10), "{statuses:?}");
    let metrics = server.anonymous().get("/metrics").await.text;
    assert!(metrics.contains(r#"outcome="denied",source="local",policy="default"} 10"#), "{metrics}");
}

/// One way to a store that is far.
pub(crate) const DISTANCE: Duration = Duration::from_millis(20);

/// A signed-in request waits for the store, [`DISTANCE`] away, once.
pub(crate) async fn takes_one_round_trip(what: &str, client: &Client) {
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        client.get("/v1/agents").await.ok();
        fastest = fastest.min(start.elapsed());
    }
    // A busy machine makes some of them slower, but not all of them as slow as a second round trip would.
    assert!(fastest >= DISTANCE * 2 && fastest < DISTANCE * 4, "{what}: {fastest:?}");
}

#[tokio::test]
async fn a_far_redis_costs_a_request_one_round_trip() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for algorithm in ["fixed_window", "sliding_window", "token_bucket"] {
        let (proxy, builder) = behind(&database, &redis);
        proxy.set(Network::Slow(DISTANCE));
        let builder = builder.env("RATE_LIMIT_ALGORITHM", algorithm).env("RATE_LIMIT_BURST_SIZE", "100000");
        let server = builder.env("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", "100000").start().await;
        let client = server.operator().await;
        takes_one_round_trip(algorithm, &client).await;
        let many = (0..64).map(|_| in_time("one of 64 requests", client.get("/v1/agents")));
        assert!(futures_util::future::join_all(many).await.iter().all(|answer| answer.status == 200));
        let metrics = server.anonymous().get("/metrics").await.text;
        assert!(!metrics.contains(r#"source="local""#), "{metrics}");
    }
}

#[tokio::test]
async fn the_server_starts_without_redis_and_serves_once_it_is_there() {
    let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
    redis.kill();
    let server = on(&database, &redis).start().await;
    assert_eq!(server.anonymous().get("/status").await.status, 503);
    redis.restart().await;
    serves_again(&server, &eventually_operator(&server).await).await;
}

async fn eventually_operator(server: &Server) -> Client {
    eventually("/status is well", || async { (server.anonymous().get("/status").await.status == 200).then_some(()) }).await;
    server.operator().await
}

#[tokio::test]
async fn a_forgotten_script_is_sent_again() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = on(&database, &redis).start().await;
    let client = server.operator().await;
    redis::cmd("SCRIPT").arg("FLUSH").query_async::<()>(&mut redis.connect().await).await.expect("flushed");
    let answer = client.get("/v1/auth/session").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-ratelimit-limit")), (200, "100010"));
    server.operator().await;
}

#[tokio::test]
async fn a_password_is_used_and_a_wrong_one_is_said_without_being_shown() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start_with(&["--requirepass", "s3cret"]).await);
    let builder = on(&database, &redis);
    let server = builder.sibling().env("REDIS_PASSWORD", "s3cret").start().await;
    server.operator().await.get("/v1/auth/session").await.ok();
    let url = redis.url().replace("redis://", "redis://:s3cret@");
    let server = builder.sibling().env("REDIS_URL", &url).start().await;
    server.operator().await.get("/v1/auth/session").await.ok();
    let server = builder.env("REDIS_PASSWORD", "wr0ng").start().await;
    let status = server.anonymous().get("/status").await;
    assert_eq!((status.status.as_u16(), status.json()["checks"]["redis"]["status"].as_str()), (503, Some("down")));
    assert!(!status.text.contains("wr0ng"), "{}", status.text);
}

#[tokio::test]
async fn once_redis_is_known_to_be_silent_nobody_waits_for_it() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    // So long a deadline that whoever waits it out is told from who does not.
    let server = on(&database, &redis).env("REDIS_COMMAND_TIMEOUT", "3s").start().await;
    let client = server.operator().await;
    redis.hang();
    let waiting = (0..8).map(|_| client.get("/v1/agents"));
    for answer in futures_util::future::join_all(waiting).await {
        assert_eq!(answer.problem(503), "store_unavailable");
    }
    // All but the one at a time that tries whether Redis is back.
    let mut times = futures_util::future::join_all((0..64).map(|_| async {
        let start = Instant::now();
        assert_eq!(client.get("/v1/agents").await.problem(503), "store_unavailable");
        start.elapsed()
    }))
    .await;
    times.sort();
    let at_once = times.iter().filter(|time| **time < Duration::from_secs(2)).count();
    assert!(at_once >= 60, "{at_once} of 64 were told at once: {times:?}");
    redis.resume();
    serves_again(&server, &client).await;
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_ends_sessions_and_nothing_else() {
    let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = on(&database, &redis).start().await;
    let client = server.operator().await;
    redis.kill();
    redis.forget();
    redis.restart().await;
    eventually("the session is known to be gone", || async {
        let answer = client.get("/v1/auth/session").await;
        (answer.status == 401).then_some(())
    })
    .await;
    server.operator().await.get("/v1/auth/session").await.ok();
}

/// While Redis is full, sessions are verified and nobody can log in; limits are counted here.
pub(crate) async fn gets_by_with_a_full(redis: &TestRedis, server: &Server, client: &Client) {
    let mut connection = redis.connect().await;
    let configure = async |connection: &mut _, memory: &str| {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("maxmemory").arg(memory).query_async::<()>(connection).await.expect("set");
    };
    configure(&mut connection, "1").await;
    let answer = in_time("a request", client.get("/v1/auth/session")).await;
    assert_eq!(answer.status, 200, "a session is verified without new memory: {}", answer.text);
    let metrics = server.anonymous().get("/metrics").await.text;
    assert!(metrics.contains(r#"outcome="allowed",source="local",policy="default"} 1"#), "{metrics}");
    assert_eq!(server.anonymous().post("/v1/auth/login", operators_login()).await.problem(503), "store_unavailable");
    configure(&mut connection, "0").await;
    server.operator().await.get("/v1/auth/session").await.ok();
    client.get("/v1/auth/session").await.ok();
}

#[tokio::test]
async fn a_full_redis_lets_nobody_log_in_and_nobody_out() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = on(&database, &redis).start().await;
    let client = server.operator().await;
    gets_by_with_a_full(&redis, &server, &client).await;
}

/// A Redis that only reads is no store, until it writes again.
pub(crate) async fn refuses_a_read_only(redis: &TestRedis, server: &Server, client: &Client) {
    let replicate = async |of: [&str; 2]| {
        let mut command = redis::cmd("REPLICAOF");
        command.arg(&of).query_async::<()>(&mut redis.connect().await).await.expect("set");
    };
    // Of a primary that is not there: it keeps what it has, and takes no writes.
    replicate(["127.0.0.1", "1"]).await;
    for _ in 0..20 {
        let answer = in_time("a request", client.get("/v1/auth/session")).await;
        assert_eq!(answer.problem(503), "store_unavailable");
    }
    replicate(["NO", "ONE"]).await;
    serves_again(server, client).await;
}

#[tokio::test]
async fn a_read_only_replica_is_no_store() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = on(&database, &redis).start().await;
    let client = server.operator().await;
    refuses_a_read_only(&redis, &server, &client).await;
}

#[tokio::test]
async fn a_redis_that_may_evict_sessions_is_warned_of() {
    for (policy, warned) in [("allkeys-lru", true), ("volatile-lru", true), ("noeviction", false)] {
        let redis = TestRedis::start_with(&["--maxmemory-policy", policy]).await;
        let builder = on(&TestDatabase::create().await, &redis);
        let server = builder.start().await;
        assert_eq!(server.terminate().await, Some(0));
        let log = builder.logged();
        assert_eq!(log.contains("may evict sessions"), warned, "{policy}: {log}");
    }
}
