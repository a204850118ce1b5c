//! Upstash over REST: the same flows as over the native protocol, what they cost, and the look-alike's faults.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use crate::redis_faults::{DISTANCE, gets_by_with_a_full, refuses, refuses_a_read_only, serves_again, takes_one_round_trip};
use crate::support::{Fault, Network, PASSWORD, Proxy, ServerBuilder, TestDatabase, TestRedis, Upstash, eventually};

/// A database, a Redis, and the look-alike before it.
async fn places() -> (TestDatabase, TestRedis, Upstash) {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let upstash = Upstash::start(&redis).await;
    (database, redis, upstash)
}

#[tokio::test]
async fn a_session_is_opened_renewed_listed_and_ended() {
    let (database, redis, upstash) = places().await;
    let server = ServerBuilder::new(&database).upstash(&upstash).env("SESSION_TTL", "3600s").start().await;
    let (one, two, three) = (server.operator().await, server.operator().await, server.operator().await);
    let id = one.get("/v1/auth/session").await.ok()["session"]["id"].as_str().expect("an id").to_owned();
    let (mut connection, key) = (redis.connect().await, format!("session:{id}"));
    let record: String = redis::cmd("GET").arg(&key).query_async(&mut connection).await.expect("a record of text");
    assert!(!record.contains("operator") && !record.contains("role"), "{record}");
    let _: i64 = redis::cmd("EXPIRE").arg(&key).arg(100).query_async(&mut connection).await.expect("shortened");
    one.get("/v1/auth/session").await.ok();
    let left: i64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.expect("a TTL");
    assert!((3590..=3600).contains(&left), "{left}");

    let sessions = one.get("/v1/auth/sessions").await.ok();
    let items = sessions["items"].as_array().expect("items");
    assert_eq!(items.iter().map(|item| item["current"] == true).collect::<Vec<_>>(), [true, false, false]);
    let second = items[1]["id"].as_str().expect("an id");
    assert_eq!(one.delete(&format!("/v1/auth/sessions/{second}")).await.status, 204);
    assert_eq!(one.delete(&format!("/v1/auth/sessions/{second}")).await.problem(404), "not_found");
    assert_eq!(two.get("/v1/auth/session").await.problem(401), "unauthenticated");
    assert_eq!(one.delete("/v1/auth/sessions").await.status, 204);
    assert_eq!(three.get("/v1/auth/session").await.problem(401), "unauthenticated");
    assert_eq!(one.post_nothing("/v1/auth/logout").await.status, 204);
    assert_eq!(one.get("/v1/auth/session").await.problem(401), "unauthenticated");
    let keys: Vec<String> = redis::cmd("KEYS").arg("session:*").query_async(&mut connection).await.expect("keys");
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn status_and_log_say_by_which_protocol_and_where_but_no_secret() {
    let (database, _redis, upstash) = places().await;
    let builder = ServerBuilder::new(&database).upstash(&upstash);
    let server = builder.start().await;
    let status = server.anonymous().get("/status").await.ok();
    assert_eq!((&status["checks"]["redis"]["mode"], &status["checks"]["redis"]["status"]), (&"rest".into(), &"up".into()));
    let log = builder.logged();
    let line = log.lines().find(|line| line.contains("Redis is on")).expect("a line");
    assert!(line.contains("rest") && line.contains("127.0.0.1") && !line.contains(Upstash::TOKEN), "{line}");
}

#[tokio::test]
async fn parallel_requests_over_two_servers_never_exceed_the_limit() {
    let (database, _redis, upstash) = places().await;
    let builder = ServerBuilder::new(&database)
        .upstash(&upstash)
        // However slow the machine: a server whose store is late counts by itself.
        .env("REDIS_COMMAND_TIMEOUT", "30s")
        .env("RATE_LIMIT_REQUESTS_PER_MINUTE", "40")
        .env("RATE_LIMIT_BURST_SIZE", "10")
        .env("TOKEN_ENCRYPTION_KEY", &"d".repeat(64));
    let (one, two) = (builder.start().await, builder.sibling().start().await);
    let here = one.operator().await;
    let there = here.at(&two);
    let answers =
        join_all((0..200).map(|turn| if turn % 2 == 0 { here.get("/v1/agents") } else { there.get("/v1/agents") })).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 50);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 150);
}

#[tokio::test]
async fn a_request_is_one_round_trip_of_at_most_four_commands() {
    let (database, redis, upstash) = places().await;
    let native = ServerBuilder::new(&database).redis(&redis).start().await;
    let (native, _native) = (native.operator().await, native);
    let rest = ServerBuilder::new(&database).upstash(&upstash).start().await;
    let (rest, _rest) = (rest.operator().await, rest);
    // Those within scripts included.
    let expected: BTreeMap<String, u64> = ["evalsha", "getex", "incrby", "pttl"].map(|name| (name.to_owned(), 1)).into();
    for client in [&native, &rest] {
        // The first one of a window gives the counter its end, and may have to send the script.
        client.get("/v1/agents").await.ok();
        for _ in 0..20 {
            let (answer, commands) = redis.commands_of(client.get("/v1/agents")).await;
            answer.ok();
            assert_eq!(commands, expected);
        }
    }
    for _ in 0..20 {
        upstash.take_seen();
        rest.get("/v1/agents").await.ok();
        let seen = upstash.take_seen();
        let [request] = seen.as_slice() else { panic!("one HTTP request, not {seen:?}") };
        let names: Vec<&str> = request.commands.iter().map(|command| command[0].as_str()).collect();
        assert_eq!((request.path.as_str(), names.len()), ("/pipeline", 2));
        assert!(names.contains(&"EVALSHA") && names.contains(&"GETEX"), "{names:?}");
        assert!(request.headers["user-agent"].to_str().expect("text").starts_with("agentapi/"));
        assert!(request.headers["upstash-sync-token"].to_str().expect("text").starts_with("primary-"));
        assert!(request.headers.keys().all(|name| !name.as_str().contains("telemetry")), "{:?}", request.headers);
    }
}

#[tokio::test]
async fn a_forgotten_script_is_sent_again() {
    let (database, redis, upstash) = places().await;
    let server = ServerBuilder::new(&database).upstash(&upstash).start().await;
    let client = server.operator().await;
    client.get("/v1/agents").await.ok();
    redis::cmd("SCRIPT").arg("FLUSH").query_async::<()>(&mut redis.connect().await).await.expect("flushed");
    upstash.take_seen();
    let answer = client.get("/v1/agents").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-ratelimit-limit")), (200, "100010"));
    let commands: Vec<String> = upstash.take_seen().iter().flat_map(|seen| &seen.commands).map(|c| c[0].clone()).collect();
    let count = |name: &str| commands.iter().filter(|command| *command == name).count();
    assert_eq!((count("EVALSHA"), count("EVAL"), count("GETEX"), commands.len()), (1, 1, 1, 3), "{commands:?}");
    server.operator().await;
}

#[tokio::test]
async fn whatever_is_wrong_with_upstash_is_told_at_once_and_is_over_when_it_is_over() {
    let (database, _redis, upstash) = places().await;
    let builder = ServerBuilder::new(&database).upstash(&upstash);
    let server = builder.start().await;
    let client = server.operator().await;
    for (fault, said) in [
        (Fault::Status(500), "HTTP 500"),
        (Fault::Status(503), "HTTP 503"),
        (Fault::Status(429), "too many requests"),
        (Fault::NotJson, "the body is not JSON"),
        (Fault::CutJson, "the body is not JSON"),
        (Fault::CutBody, "in the middle of an answer"),
        (Fault::Closed, "the connection broke"),
        (Fault::Late(Duration::from_secs(5)), "no answer in time"),
    ] {
        upstash.fault(fault);
        refuses(&server, &client).await;
        upstash.fault(Fault::None);
        serves_again(&server, &client).await;
        let log = builder.logged();
        assert!(log.contains(said), "{fault:?} is not in the log as {said:?}");
    }
}

#[tokio::test]
async fn an_upstash_that_refuses_connections_costs_nobody_its_session() {
    let (database, _redis, mut upstash) = places().await;
    let server = ServerBuilder::new(&database).upstash(&upstash).start().await;
    let client = server.operator().await;
    upstash.stop().await;
    refuses(&server, &client).await;
    upstash.restart().await;
    serves_again(&server, &client).await;
}

#[tokio::test]
async fn a_full_or_read_only_upstash_is_to_its_users_what_such_a_redis_is() {
    let (database, redis, upstash) = places().await;
    let server = ServerBuilder::new(&database).upstash(&upstash).start().await;
    let client = server.operator().await;
    gets_by_with_a_full(&redis, &server, &client).await;
    refuses_a_read_only(&redis, &server, &client).await;
}

/// A server on the look-alike behind a network.
fn behind(database: &TestDatabase, upstash: &Upstash) -> (Proxy, ServerBuilder) {
    let (scheme, place) = upstash.url().split_once("://").map(|(s, p)| (s.to_owned(), p.to_owned())).expect("a URL");
    let proxy = Proxy::before(&place);
    let port = proxy.address().rsplit_once(':').expect("a port").1.to_owned();
    let host = place.rsplit_once(':').expect("a port").0;
    let url = format!("{scheme}://{host}:{port}");
    let builder = ServerBuilder::new(database).upstash(upstash).env("UPSTASH_REDIS_REST_URL", &url);
    (proxy, builder.env("TOKEN_ENCRYPTION_KEY", &"d".repeat(64)))
}

#[tokio::test]
async fn a_network_that_swallows_everything_hangs_nobody() {
    let (database, _redis, upstash) = places().await;
    let (proxy, builder) = behind(&database, &upstash);
    let server = builder.start().await;
    let client = server.operator().await;
    for _ in 0..2 {
        // Many connections, all of which fall silent while nothing is asked on them.
        proxy.set(Network::Slow(Duration::from_millis(50)));
        let client = &client;
        let staggered = (0..16).map(|turn| async move {
            tokio::time::sleep(Duration::from_millis(5 * turn)).await;
            client.get("/v1/agents").await
        });
        assert!(join_all(staggered).await.iter().all(|answer| answer.status == 200));
        proxy.set(Network::BlackHole);
        refuses(&server, client).await;
        proxy.set(Network::Well);
        serves_again(&server, client).await;
    }
}

#[tokio::test]
async fn nor_does_one_that_swallows_the_beginnings_of_connections() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    crate::tls::certificates(folder.path());
    let upstash = Upstash::start_with(&redis, Some(crate::tls::acceptor(folder.path()))).await;
    let (proxy, builder) = behind(&database, &upstash);
    // Few connections, so that none is left if each is waited for.
    let builder = builder.env("REDIS_MAX_POOL_SIZE", "2");
    let builder = builder.env("SSL_CERT_FILE", &folder.path().join("ca.pem").display().to_string());
    let first = builder.start().await;
    let token = first.operator().await.token.expect("a token");
    // It has no connection yet, and TLS begins with waiting for an answer.
    proxy.set(Network::BlackHole);
    let second = builder.sibling().start().await;
    let client = second.anonymous().with_token(&token);
    for answer in join_all((0..64).map(|_| client.get("/v1/agents"))).await {
        assert_eq!(answer.problem(503), "store_unavailable");
    }
    refuses(&second, &client).await;
    proxy.set(Network::Well);
    serves_again(&second, &client).await;
}

#[tokio::test]
async fn a_far_upstash_costs_a_request_one_round_trip() {
    let (database, _redis, upstash) = places().await;
    for algorithm in ["fixed_window", "sliding_window", "token_bucket"] {
        let (proxy, builder) = behind(&database, &upstash);
        proxy.set(Network::Slow(DISTANCE));
        let builder = builder.env("RATE_LIMIT_ALGORITHM", algorithm).env("RATE_LIMIT_BURST_SIZE", "100000");
        let server = builder.env("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", "100000").start().await;
        takes_one_round_trip(algorithm, &server.operator().await).await;
    }
}

#[tokio::test]
async fn a_refused_token_is_said_without_being_shown() {
    let (database, _redis, upstash) = places().await;
    let builder = ServerBuilder::new(&database).upstash(&upstash);
    let server = builder.start().await;
    let client = server.operator().await;
    upstash.change_token("an0ther");
    refuses(&server, &client).await;
    let status = server.anonymous().get("/status").await;
    assert_eq!((&status.json()["checks"]["redis"]["mode"], status.status.as_u16()), (&"rest".into(), 503));
    let log = builder.logged();
    let line = log.lines().find(|line| line.contains("the token is refused")).expect("a line");
    assert!(line.contains("UPSTASH_REDIS_REST_TOKEN") && line.contains("401"), "{line}");
    assert!(!log.contains(Upstash::TOKEN) && !status.text.contains(Upstash::TOKEN));
    upstash.change_token(Upstash::TOKEN);
    serves_again(&server, &client).await;
    eventually("that it is over is said", || async { builder.logged().contains("Upstash answers again").then_some(()) }).await;
}

#[tokio::test]
async fn nothing_secret_is_logged_even_when_everything_is() {
    let (database, redis, upstash) = places().await;
    let builder = ServerBuilder::new(&database).upstash(&upstash).env("LOG_LEVEL", "trace");
    let server = builder.start().await;
    let client = server.operator().await;
    client.get("/v1/auth/session").await.ok();
    for fault in [Fault::Status(500), Fault::NotJson, Fault::CutJson, Fault::CutBody, Fault::Closed] {
        upstash.fault(fault);
        client.get("/v1/auth/session").await.problem(503);
    }
    let mut connection = redis.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("session:*").query_async(&mut connection).await.expect("keys");
    let record: String = redis::cmd("GET").arg(&keys[0]).query_async(&mut connection).await.expect("a record");
    let token = client.token.clone().expect("a token");
    assert_eq!(server.terminate().await, Some(0));
    let log = builder.logged();
    for secret in [Upstash::TOKEN, PASSWORD, &record[..40], &token[..60]] {
        if let Some(line) = log.lines().find(|line| line.contains(secret)) {
            panic!("{secret} is logged: {line}");
        }
    }
}
