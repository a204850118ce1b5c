//! Rate limits.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Client, ServerBuilder, TestDatabase, TestRedis, eventually};

fn limited(database: &TestDatabase, per_minute: u32, burst: u32) -> ServerBuilder {
    ServerBuilder::new(database)
        .env("RATE_LIMIT_REQUESTS_PER_MINUTE", &per_minute.to_string())
        .env("RATE_LIMIT_BURST_SIZE", &burst.to_string())
}

fn remaining(answer: &Answer) -> &str {
    answer.header("x-ratelimit-remaining")
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_with_headers_that_say_when_to_come_back() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for builder in [limited(&database, 3, 2), limited(&database, 3, 2).redis(&redis)] {
        let server = builder.start().await;
        let client = server.operator().await;
        for left in ["4", "3", "2", "1", "0"] {
            let answer = client.get("/v1/auth/session").await;
            assert_eq!((answer.status.as_u16(), remaining(&answer)), (200, left));
        }
        let answer = client.get("/v1/auth/session").await;
        assert_eq!(answer.problem(429), "rate_limited");
        assert_eq!(answer.json()["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
        assert_eq!(answer.json()["violated-policies"], json!(["default"]));
        assert_eq!(answer.header("ratelimit-policy"), r#""default";q=5;w=60"#);
        let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert_eq!(answer.header("ratelimit"), format!(r#""default";r=0;t={seconds}"#));
        assert_eq!(answer.header("x-ratelimit-limit"), "5");
        assert_eq!((remaining(&answer), answer.header("x-ratelimit-reset")), ("0", seconds.to_string().as_str()));
        // Health checks are never limited.
        for path in ["/status", "/livez", "/readyz", "/metrics"] {
            for _ in 0..10 {
                assert_eq!(client.get(path).await.status, 200, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn parallel_requests_over_two_servers_never_exceed_the_limit() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    // A bucket regains one a minute: none while the test runs, unless it takes as long.
    for (algorithm, per_minute, burst) in [("fixed_window", 40, 10), ("sliding_window", 40, 10), ("token_bucket", 1, 50)] {
        let builder = limited(&database, per_minute, burst)
            .redis(&redis)
            .env("TOKEN_ENCRYPTION_KEY", &"d".repeat(64))
            .env("RATE_LIMIT_ALGORITHM", algorithm);
        let (one, two) = (builder.start().await, builder.sibling().start().await);
        let here = one.operator().await;
        let there = here.at(&two);
        assert_eq!(passed(&[&here, &there]).await, 50, "{algorithm}");
    }
}

#[tokio::test]
async fn parallel_requests_to_a_server_alone_never_exceed_the_limit() {
    let database = TestDatabase::create().await;
    for (algorithm, per_minute, burst) in [("fixed_window", 40, 10), ("sliding_window", 40, 10), ("token_bucket", 1, 50)] {
        let server = limited(&database, per_minute, burst).env("RATE_LIMIT_ALGORITHM", algorithm).start().await;
        assert_eq!(passed(&[&server.operator().await]).await, 50, "{algorithm}");
    }
}

/// How many of 200 requests at once pass; the others are refused.
async fn passed(clients: &[&Client]) -> usize {
    let answers = join_all((0..200).map(|turn| clients[turn % clients.len()].get("/v1/agents"))).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 200 - passed);
    passed
}

#[tokio::test]
async fn users_are_counted_apart_and_redis_shows_the_counters() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = limited(&database, 5, 0).redis(&redis);
    let server = builder.start().await;
    let admin = server.operator().await;
    builder.done(&["user", "create", "default", "bob@localhost"], "hunter2 hunter2\n").await;
    let bob = server.anonymous().log_in("default", "bob@localhost", "hunter2 hunter2").await;
    for _ in 0..6 {
        admin.get("/v1/agents").await;
    }
    assert_eq!(admin.get("/v1/agents").await.status, 429);
    assert_eq!(remaining(&bob.get("/v1/agents").await), "4");
    let mut connection = redis.connect().await;
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("ratelimit:*").query_async(&mut connection).await.expect("keys");
    keys.sort();
    let kinds: Vec<_> = keys.iter().map(|key| key.rsplit_once(':').expect("an identifier").0).collect();
    let [ip, login, login_ip, known, user] =
        ["ip", "login", "login_ip", "login_known", "user"].map(|kind| format!("ratelimit:{kind}"));
    assert_eq!(kinds, [&ip, &login, &login, &login_ip, &known, &known, &user, &user]);
    for key in keys.iter().filter(|key| !key.starts_with(&known)) {
        let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.expect("a TTL");
        assert!((1..=60_000).contains(&left), "{key} {left}");
    }
}

#[tokio::test]
async fn anonymous_callers_are_counted_by_address_which_only_a_trusted_proxy_may_name() {
    let database = TestDatabase::create().await;
    let login = |server: &crate::support::Server, forwarded: &'static str| {
        let client = server.anonymous();
        let request = client.request(Method::POST, "/v1/auth/login").header("x-forwarded-for", forwarded);
        let request = request.json(&json!({"tenant": "x", "email": "x@x", "password": "wrong password"}));
        async move { client.send(request).await.status.as_u16() }
    };
    let trusting = limited(&database, 2, 0).env("TRUSTED_PROXIES", "127.0.0.0/8").start().await;
    for (forwarded, status) in [("192.0.2.1", 401), ("192.0.2.1", 401), ("192.0.2.1", 429), ("192.0.2.2", 401)] {
        assert_eq!(login(&trusting, forwarded).await, status, "{forwarded}");
    }
    let wary = limited(&database, 2, 0).start().await;
    for (forwarded, status) in [("192.0.2.1", 401), ("192.0.2.2", 401), ("192.0.2.3", 429)] {
        assert_eq!(login(&wary, forwarded).await, status, "{forwarded}");
    }
}

#[tokio::test]
async fn invented_grant_is_limited_by_address() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = limited(&database, 3, 0).redis(&redis).start().await;
    let client = server.operator().await;
    let path = format!("/v1/agents/{}/status", uuid::Uuid::now_v7());
    let forged = || client.send(client.request(Method::GET, &path).header("x-agentapi-forwarded", "x"));
    // Logging in was the first.
    for left in ["1", "0"] {
        let answer = forged().await;
        assert_eq!((answer.problem(421).as_str(), remaining(&answer)), ("forwarding_refused", left));
    }
    assert_eq!(forged().await.problem(429), "rate_limited");
    assert_eq!(client.get("/v1/agents").await.status, 200, "the user was not charged");
}

#[tokio::test]
async fn grant_is_ignored_where_nothing_is_forwarded() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (alone, shared) = (limited(&database, 3, 0), limited(&database, 3, 0).redis(&redis));
    let agent = format!("/v1/agents/{}/status", uuid::Uuid::now_v7());
    // Where there can be no other servers, that is everywhere.
    for (builder, path, status) in [(&alone, agent.as_str(), 404), (&alone, "/v1/agents", 200), (&shared, "/v1/agents", 200)] {
        let server = builder.sibling().start().await;
        let client = server.operator().await;
        for left in ["2", "1", "0"] {
            let answer = client.send(client.request(Method::GET, path).header("x-agentapi-forwarded", "x")).await;
            assert_eq!((answer.status.as_u16(), remaining(&answer)), (status, left), "{path}: the user is charged");
        }
        assert_eq!(client.get(path).await.problem(429), "rate_limited", "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_wrong_methods_and_preflights_are_limited() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for builder in [limited(&database, 3, 0), limited(&database, 3, 0).redis(&redis)] {
        let builder = builder.env("TRUSTED_PROXIES", "127.0.0.0/8");
        let server = builder.start().await;
        let client = server.anonymous();
        let requests = [
            (Method::GET, "/v1/nothing", 404, "192.0.2.1"),
            (Method::POST, "/", 404, "192.0.2.2"),
            (Method::OPTIONS, "/v1/nothing", 200, "192.0.2.3"),
            (Method::OPTIONS, "/v1/agents", 200, "192.0.2.4"),
            (Method::PUT, "/v1/auth/login", 405, "192.0.2.5"),
            (Method::DELETE, "/docs/", 405, "192.0.2.6"),
            (Method::PATCH, "/v1/agents", 401, "192.0.2.7"),
        ];
        for (method, path, status, from) in requests {
            let ask = || {
                let request = client.request(method.clone(), path).header("x-forwarded-for", from);
                client.send(request.header("origin", "http://localhost:3000").header("access-control-request-method", "POST"))
            };
            for left in ["2", "1", "0"] {
                let answer = ask().await;
                assert_eq!((answer.status.as_u16(), remaining(&answer)), (status, left), "{method} {path}");
            }
            assert_eq!(ask().await.problem(429), "rate_limited", "{method} {path}");
        }
        // One address counts once for all of them.
        let answer = client.send(client.request(Method::GET, "/openapi.json").header("x-forwarded-for", "192.0.2.3")).await;
        assert_eq!(answer.problem(429), "rate_limited");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_read_what_is_left() {
    let server =
        ServerBuilder::new(&TestDatabase::create().await).env("AGENTAPI_ALLOWED_ORIGINS", "https://a.example").start().await;
    let client = server.anonymous();
    let answer = client.send(client.request(Method::GET, "/openapi.json").header("origin", "https://a.example")).await;
    let exposed: Vec<&str> = answer.header("access-control-expose-headers").split(',').collect();
    for (name, _) in answer.headers.iter().filter(|(name, _)| name.as_str().contains("ratelimit")) {
        assert!(exposed.contains(&name.as_str()), "{name}: {exposed:?}");
    }
    assert!(exposed.contains(&"x-ratelimit-remaining") && exposed.contains(&"retry-after"), "{exposed:?}");
}

#[tokio::test]
async fn limits_can_be_turned_off() {
    let database = TestDatabase::create().await;
    let server = limited(&database, 1, 0).env("RATE_LIMIT_ENABLED", "false").start().await;
    let client = server.operator().await;
    for _ in 0..5 {
        let answer = client.get("/v1/agents").await;
        assert_eq!((answer.status.as_u16(), remaining(&answer)), (200, ""));
    }
}

#[tokio::test]
async fn while_redis_is_away_the_server_counts_alone_by_the_same_algorithm() {
    let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
    for (algorithm, per_minute, burst) in [("fixed_window", 2, 1), ("sliding_window", 2, 1), ("token_bucket", 1, 3)] {
        let server = limited(&database, per_minute, burst).redis(&redis).env("RATE_LIMIT_ALGORITHM", algorithm).start().await;
        redis.kill();
        for left in ["2", "1", "0"] {
            let answer = server.anonymous().get("/openapi.json").await;
            assert_eq!((answer.status.as_u16(), remaining(&answer)), (200, left), "{algorithm}");
        }
        assert_eq!(server.anonymous().get("/openapi.json").await.problem(429), "rate_limited");
        let metrics = server.anonymous().get("/metrics").await.text;
        assert!(metrics.contains(r#"outcome="denied",source="local",policy="default"} 1"#), "{metrics}");
        // What was counted alone is no reason to refuse anything once Redis is back.
        redis.restart().await;
        eventually("Redis decides again", || async {
            (server.anonymous().get("/openapi.json").await.status == 200).then_some(())
        })
        .await;
    }
}
