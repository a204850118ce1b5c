//! Floods of attempts to log in, and what they may not do to others.

use reqwest::Method;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::support::{Answer, Client, PASSWORD, PATIENCE, ServerBuilder, TestDatabase, TestRedis, Upstash};

const PROXY: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.0/8");

async fn attempt(client: &Client, from: &str, email: &str, password: &str) -> Answer {
    let request = client.request(Method::POST, "/v1/auth/login").header("x-forwarded-for", from);
    client.send(request.json(&json!({"tenant": "default", "email": email, "password": password}))).await
}

fn limited(database: &TestDatabase, attempts: &str) -> ServerBuilder {
    ServerBuilder::new(database).env(PROXY.0, PROXY.1).env("RATE_LIMIT_LOGIN_ATTEMPTS_PER_MINUTE", attempts)
}

#[tokio::test]
async fn login_attempts_are_limited_by_wider_ipv6_networks() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for builder in [limited(&database, "1"), limited(&database, "1").redis(&redis)] {
        let server = builder.start().await;
        let client = server.anonymous();
        let mut number = 0;
        let mut next = async |network: &str| {
            number += 1;
            attempt(&client, &format!("{network}::1"), &format!("user{number}@x"), "wrong password").await
        };
        // Four networks of customers in one /56, and one more.
        for subnet in 0..4 {
            assert_eq!(next(&format!("2001:db8:1:{subnet:x}")).await.status, 401, "{subnet}");
        }
        let refused = next("2001:db8:1:4").await;
        assert_eq!(
            (refused.problem(429).as_str(), &refused.json()["violated-policies"]),
            ("rate_limited", &json!(["login-ip-56"]))
        );
        let policies = r#""login-ip";q=1;w=60, "login-ip-56";q=4;w=60, "login-ip-48";q=16;w=60, "login-account";q=1;w=60"#;
        assert_eq!(refused.header("ratelimit-policy"), policies);
        // Twelve more /56 of the same /48, and one more.
        for subnet in 1..=12 {
            assert_eq!(next(&format!("2001:db8:1:{subnet:x}00")).await.status, 401, "{subnet}");
        }
        let refused = next("2001:db8:1:d00").await;
        assert_eq!(
            (refused.problem(429).as_str(), &refused.json()["violated-policies"]),
            ("rate_limited", &json!(["login-ip-48"]))
        );
        assert_eq!(next("2001:db8:2:0").await.status, 401, "another network");
    }
}

#[tokio::test]
async fn login_flood_of_one_network_is_refused_and_another_is_served() {
    let database = TestDatabase::create().await;
    let server = limited(&database, "100000").start().await;
    let (flood, tasks, (sender, mut answers)) = (server.anonymous(), TaskTracker::new(), mpsc::unbounded_channel());
    for number in 0..400 {
        let (flood, sender) = (flood.clone(), sender.clone());
        tasks.spawn(async move {
            let from = format!("2001:db8:1:{number:x}::1");
            let _enough = sender.send(attempt(&flood, &from, &format!("user{number}@x"), "wrong password").await);
        });
    }
    let mut refused = 0;
    while refused < 100 {
        let answer = tokio::time::timeout(PATIENCE, answers.recv()).await.expect("answered in time").expect("more of them");
        if answer.status != 401 {
            assert_eq!((answer.problem(503).as_str(), answer.header("retry-after")), ("service_unavailable", "1"));
            refused += 1;
        }
    }
    let answer = attempt(&server.anonymous(), "192.0.2.1", "admin@localhost", PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let metrics = server.anonymous().get("/metrics").await.text;
    let counted = metrics.lines().find_map(|line| line.strip_prefix("agentapi_login_queue_refused_total "));
    assert!(counted.is_some_and(|count| count.parse::<u32>().expect("a number") >= refused), "{metrics}");
}

/// Uses up the attempts of an account from other addresses.
async fn lock_out(client: &Client, email: &str) {
    for number in 1..=10 {
        attempt(client, &format!("203.0.113.{number}"), email, "wrong password").await;
    }
    assert_eq!(attempt(client, "203.0.113.99", email, PASSWORD).await.problem(429), "rate_limited");
}

async fn locks_no_user_out(builder: ServerBuilder) {
    let server = builder.start().await;
    let client = server.anonymous();
    assert_eq!(attempt(&client, "192.0.2.1", "admin@localhost", PASSWORD).await.status, 200);
    lock_out(&client, "Admin@LOCALHOST").await;
    // Whoever signed in from there before is not kept out, by whatever name; one attempt is used by the first log-in.
    assert_eq!(attempt(&client, "192.0.2.1", "ADMIN@localhost", PASSWORD).await.status, 200);
    // From there, too, guesses are limited.
    assert_eq!(attempt(&client, "192.0.2.1", "admin@localhost", "wrong password").await.status, 401);
    let refused = attempt(&client, "192.0.2.1", "admin@localhost", PASSWORD).await;
    assert_eq!((refused.problem(429).as_str(), &refused.json()["violated-policies"][0]), ("rate_limited", &json!("login-ip")));
    // It says nothing of other accounts, existing or not.
    lock_out(&client, "nobody@localhost").await;
    let one = attempt(&client, "203.0.113.99", "admin@localhost", "wrong password").await;
    let other = attempt(&client, "203.0.113.99", "nobody@localhost", "wrong password").await;
    for (name, value) in &one.headers {
        let differs = ["x-request-id", "date", "retry-after", "ratelimit", "x-ratelimit-reset"].contains(&name.as_str());
        assert!(differs || other.headers.get(name) == Some(value), "{name}: {value:?}");
    }
}

#[tokio::test]
async fn user_of_a_known_network_is_not_locked_out() {
    let database = TestDatabase::create().await;
    locks_no_user_out(limited(&database, "3")).await;
}

#[tokio::test]
async fn user_of_a_known_network_is_not_locked_out_with_redis() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for algorithm in ["fixed_window", "sliding_window"] {
        locks_no_user_out(limited(&database, "3").redis(&redis).env("RATE_LIMIT_ALGORITHM", algorithm)).await;
    }
    let mut connection = redis.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("ratelimit:*").query_async(&mut connection).await.expect("keys");
    assert!(keys.iter().all(|key| !key.contains('@') && !key.contains("admin")), "{keys:?}");
    let known: Vec<&String> = keys.iter().filter(|key| key.starts_with("ratelimit:login_known:")).collect();
    assert_eq!(known.len(), 1, "{keys:?}");
    let value: String = redis::cmd("GET").arg(known[0]).query_async(&mut connection).await.expect("a value");
    assert_eq!(value.len(), 16, "one network, as a digest: {value}");
}

#[tokio::test]
async fn user_of_a_known_network_is_not_locked_out_over_rest() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let upstash = Upstash::start(&redis).await;
    locks_no_user_out(limited(&database, "3").upstash(&upstash)).await;
}
