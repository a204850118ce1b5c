//! What a server does unasked, and what it says of itself when it starts.

use crate::support::{ServerBuilder, TestDatabase, TestRedis, eventually};

#[tokio::test]
async fn indexes_are_cleared_of_sessions_that_are_gone() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = ServerBuilder::new(&database).redis(&redis).env("SESSION_CLEANUP_INTERVAL", "1s").start().await;
    let client = server.operator().await;
    let mut connection = redis.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("session:*").query_async(&mut connection).await.expect("keys");
    // A second one, so that the index stays.
    let other = server.operator().await;
    redis::cmd("DEL").arg(&keys).query_async::<()>(&mut connection).await.expect("deleted");
    let indexes: Vec<String> = redis::cmd("KEYS").arg("user_sessions:*").query_async(&mut connection).await.expect("keys");
    eventually("the index names one session", || {
        let (mut connection, index) = (connection.clone(), indexes[0].clone());
        async move {
            let named: u64 = redis::cmd("ZCARD").arg(index).query_async(&mut connection).await.expect("a count");
            (named == 1).then_some(())
        }
    })
    .await;
    assert_eq!((client.get("/v1/agents").await.status.as_u16(), other.get("/v1/agents").await.status.as_u16()), (401, 200));
}

#[tokio::test]
async fn what_expired_in_the_process_is_cleared() {
    let builder = ServerBuilder::new(&TestDatabase::create().await)
        .env("SESSION_TTL", "1s")
        .env("SESSION_CLEANUP_INTERVAL", "1s")
        .env("LOG_LEVEL", "agentapi=debug");
    let server = builder.start().await;
    server.operator().await;
    eventually("it is cleared", || async { builder.logged().contains("cleared sessions that had ended").then_some(()) }).await;
}

#[tokio::test]
async fn a_redis_that_comes_later_is_warned_of_too() {
    let (database, mut redis) =
        (TestDatabase::create().await, TestRedis::start_with(&["--maxmemory-policy", "allkeys-lru"]).await);
    redis.kill();
    let builder = ServerBuilder::new(&database).env("REDIS_URL", &redis.url());
    let server = builder.start().await;
    assert!(!builder.logged().contains("may evict sessions"));
    redis.restart().await;
    eventually("it is warned of", || async { builder.logged().contains("may evict sessions").then_some(()) }).await;
    assert_eq!(server.terminate().await, Some(0));
    assert_eq!(builder.logged().matches("may evict sessions").count(), 1, "once");
}

#[tokio::test]
async fn what_a_server_without_redis_does_not_give_it_says_at_the_start() {
    let builder = ServerBuilder::new(&TestDatabase::create().await).env("REDIS_ENABLE", "false");
    drop(builder.start().await);
    let log = builder.logged();
    let said = log.lines().find(|line| line.contains("Redis is off")).expect("it says so");
    for lost in ["sessions and rate limits end with this process", "circuits and what is cached are its own", "no other server"] {
        assert!(said.contains(lost), "{said}");
    }
}

#[tokio::test]
async fn a_server_with_redis_does_not_say_so() {
    let redis = TestRedis::start().await;
    let builder = ServerBuilder::new(&TestDatabase::create().await).redis(&redis);
    drop(builder.start().await);
    assert!(!builder.logged().contains("Redis is off"));
}
