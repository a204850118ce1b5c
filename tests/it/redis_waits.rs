//! How long one request waits for Redis, whatever it asks.

use std::time::{Duration, Instant};

use crate::redis_faults::{behind, in_time, on, refuses, serves_again};
use crate::support::{
    Fault, Network, Proxy, Server, ServerBuilder, TestDatabase, TestRedis, Upstash, eventually, operators_login,
};

async fn is_well(server: &Server) {
    eventually("/status is well", || async { (server.anonymous().get("/status").await.status == 200).then_some(()) }).await;
}

/// Nobody was told yet that Redis is silent: a log-in asks it several things, one after the other.
async fn log_in_is_refused_in_time(server: &Server) {
    let answer = in_time("a log-in", server.anonymous().post("/v1/auth/login", operators_login())).await;
    assert_eq!(answer.problem(503), "store_unavailable");
}

#[tokio::test]
async fn whoever_logs_in_first_on_a_hung_redis_is_told_in_time() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = on(&database, &redis).start().await;
    is_well(&server).await;
    redis.hang();
    log_in_is_refused_in_time(&server).await;
    redis.resume();
}

#[tokio::test]
async fn whoever_logs_in_first_on_a_hung_upstash_is_told_in_time() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let upstash = Upstash::start(&redis).await;
    let server = ServerBuilder::new(&database).upstash(&upstash).start().await;
    is_well(&server).await;
    upstash.fault(Fault::Late(Duration::from_secs(5)));
    log_in_is_refused_in_time(&server).await;
}

#[tokio::test]
async fn a_slow_redis_is_not_waited_for_again_and_again_by_one_request_nor_taken_for_dead() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (proxy, builder) = behind(&database, &redis);
    let server = builder.start().await;
    let client = server.operator().await;
    // Each answer comes in time; those to the three questions of a list do not together.
    proxy.set(Network::Slow(Duration::from_millis(170)));
    for _ in 0..4 {
        let answer = in_time("a list", client.get("/v1/auth/sessions")).await;
        assert_eq!(answer.problem(503), "store_unavailable");
        in_time("a session", client.get("/v1/auth/session")).await.ok();
    }
    assert_eq!(builder.logged().matches("connected to Redis").count(), 1, "a connection that was only slow is kept");
    proxy.set(Network::Slow(Duration::from_millis(60)));
    in_time("a list", client.get("/v1/auth/sessions")).await.ok();
}

#[tokio::test]
async fn two_connections_are_enough_to_come_out_of_a_swallowing_network() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (proxy, builder) = behind(&database, &redis);
    let builder = builder.env("REDIS_MAX_POOL_SIZE", "2");
    let server = builder.start().await;
    let client = server.operator().await;
    // Attempts to connect that began before the end of it fill the pool, if each is waited for.
    for seconds in [1, 3] {
        proxy.set(Network::BlackHole);
        let silent = Instant::now();
        while silent.elapsed() < Duration::from_secs(seconds) {
            refuses(&server, &client).await;
        }
        proxy.set(Network::Well);
        serves_again(&server, &client).await;
    }
}

#[tokio::test]
async fn connecting_takes_no_longer_than_it_may() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    crate::tls::certificates(folder.path());
    let upstash = Upstash::start_with(&redis, Some(crate::tls::acceptor(folder.path()))).await;
    let place = upstash.url().split_once("://").expect("a URL").1.to_owned();
    let (native, rest) = (Proxy::before(&redis.address()), Proxy::before(&place));
    native.set(Network::BlackHole);
    rest.set(Network::BlackHole);
    let authority = folder.path().join("ca.pem").display().to_string();
    let by_rest = ServerBuilder::new(&database).upstash(&upstash).env("SSL_CERT_FILE", &authority);
    for (builder, said) in [
        (ServerBuilder::new(&database).env("REDIS_URL", &format!("redis://{}", native.address())), "no connection to Redis"),
        (by_rest.env("UPSTASH_REDIS_REST_URL", &format!("https://{}", rest.address())), "not within 700 ms"),
    ] {
        // Longer than a command may take.
        let builder = builder.env("REDIS_CONNECTION_TIMEOUT", "700ms");
        let server = builder.start().await;
        let start = Instant::now();
        eventually(said, || async { builder.logged().contains(said).then_some(()) }).await;
        // The default is 5 s.
        assert!(start.elapsed() < Duration::from_secs(3), "{said} after {:?}", start.elapsed());
        drop(server);
    }
}
