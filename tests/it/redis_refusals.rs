//! A Redis that is there and says no: to those who connect, or to those who write.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use crate::redis_faults::{behind, in_time, on, serves_again};
use crate::support::{Client, ServerBuilder, TestDatabase, TestRedis, eventually};

/// How often a Redis that refuses is tried again, at most.
const TRIES_PER_SECOND: f64 = 5.0;

async fn configure(connection: &mut MultiplexedConnection, name: &str, value: &str) {
    redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query_async::<()>(connection).await.expect("set");
}

/// Ends all connections but this one.
async fn end_others(connection: &mut MultiplexedConnection) {
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes").query_async::<i64>(connection).await.expect("ended");
}

/// Connections that Redis took or turned away since it began.
async fn connections(connection: &mut MultiplexedConnection) -> f64 {
    let info: String = redis::cmd("INFO").arg("stats").query_async(connection).await.expect("statistics");
    ["total_connections_received:", "rejected_connections:"]
        .iter()
        .filter_map(|name| info.lines().find_map(|line| line.strip_prefix(name)))
        .map(|count| count.parse::<f64>().expect("a number"))
        .sum()
}

/// Each of 200 requests is refused in time. Returns how many seconds all took.
async fn refused_in_time(client: &Client) -> f64 {
    let start = Instant::now();
    for _ in 0..200 {
        assert_eq!(in_time("a request", client.get("/v1/auth/session")).await.problem(503), "store_unavailable");
    }
    start.elapsed().as_secs_f64()
}

#[tokio::test]
async fn a_redis_that_lets_nobody_in_is_not_asked_again_by_every_request() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start_with(&["--requirepass", "s3cret"]).await);
    let builder = on(&database, &redis).env("REDIS_PASSWORD", "s3cret");
    let server = builder.start().await;
    let client = server.operator().await;
    let owner = redis::Client::open(redis.url().replace("://", "://:s3cret@")).expect("a URL of ours");
    let mut owner = owner.get_multiplexed_async_connection().await.expect("Redis answers");
    for (turn, (name, wrong, right)) in [("requirepass", "0ther", "s3cret"), ("maxclients", "1", "1000")].into_iter().enumerate()
    {
        configure(&mut owner, name, wrong).await;
        end_others(&mut owner).await;
        let before = connections(&mut owner).await;
        let seconds = refused_in_time(&client).await;
        let tried = connections(&mut owner).await - before;
        // The first few make it known.
        assert!(tried <= 6.0 + TRIES_PER_SECOND * seconds * 2.0, "{name}: {tried} connections in {seconds} s");
        let log = builder.logged();
        // A connection that is hung up on fails in more than one way; a password in one.
        let said = log.matches("no connection to Redis").count();
        assert!(said > turn && (name != "requirepass" || said == 1), "{name}: {log}");
        configure(&mut owner, name, right).await;
        serves_again(&server, &client).await;
    }
    assert!(!builder.logged().contains("s3cret"));
}

#[tokio::test]
async fn after_a_failover_the_new_primary_is_asked() {
    let (database, old, new) = (TestDatabase::create().await, TestRedis::start().await, TestRedis::start().await);
    let (proxy, builder) = behind(&database, &old);
    let server = builder.start().await;
    let client = server.operator().await;
    proxy.lead_to(&new.address());
    client.get("/v1/auth/session").await.ok();
    let (host, port) = new.address().split_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).expect("a port");
    let mut demote = redis::cmd("REPLICAOF");
    demote.arg(host).arg(port).query_async::<()>(&mut old.connect().await).await.expect("demoted");
    let demoted = Instant::now();
    // It was a session of the old one's: the new one answers, and knows nothing of it.
    eventually("another answers", || async { (client.get("/v1/auth/session").await.status == 401).then_some(()) }).await;
    assert!(demoted.elapsed() < Duration::from_secs(1), "after {:?}", demoted.elapsed());
    server.operator().await.get("/v1/auth/session").await.ok();
}

#[tokio::test]
async fn a_start_that_fails_for_its_redis_makes_no_operator_whose_password_nobody_knows() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).env("AGENTAPI_ADMIN_PASSWORD", "");
    // Which only the client finds out: a password that is no text.
    let failing = builder.sibling().env("REDIS_URL", "redis://:%ff@127.0.0.1:1");
    let (code, said, log) = failing.run(&["serve"], "").await;
    assert_eq!((code, said.as_str()), (Some(1), ""), "{log}");
    let mut server = builder.sibling().env("REDIS_URL", &redis.url()).start().await;
    let said = server.says("    -d ").await;
    let password = said.lines().find_map(|line| line.strip_prefix("Its password, shown this once: ")).expect("a password");
    server.anonymous().log_in("default", "admin@localhost", password).await;
}

#[tokio::test]
async fn a_rest_pair_that_is_passed_over_is_told_of() {
    let redis = TestRedis::start().await;
    let rest = [("UPSTASH_REDIS_REST_URL", "https://x.example"), ("UPSTASH_REDIS_REST_TOKEN", "t0ken")];
    let builder = on(&TestDatabase::create().await, &redis);
    let builder = rest.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
    for (builder, told) in [(builder.sibling(), 1), (builder.sibling().env("UPSTASH_REDIS_URL", &redis.url()), 0)] {
        assert_eq!(builder.start().await.terminate().await, Some(0));
        let log = builder.logged();
        assert_eq!(log.matches("UPSTASH_REDIS_REST_URL with its token is not").count(), told, "{log}");
        assert!(!log.contains("t0ken"));
    }
}
