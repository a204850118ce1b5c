//! How often somebody may try to log in.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, PASSWORD, Server, ServerBuilder, TestDatabase, TestRedis};

async fn attempt(server: &Server, from: &str, email: &str, password: &str) -> Answer {
    let client = server.anonymous();
    let request = client.request(Method::POST, "/v1/auth/login").header("x-forwarded-for", from);
    client.send(request.json(&json!({"tenant": "default", "email": email, "password": password}))).await
}

fn builder(database: &TestDatabase, attempts: &str) -> ServerBuilder {
    ServerBuilder::new(database).env("TRUSTED_PROXIES", "127.0.0.0/8").env("RATE_LIMIT_LOGIN_ATTEMPTS_PER_MINUTE", attempts)
}

#[tokio::test]
async fn guesses_are_limited_by_address_and_by_account() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for builder in [builder(&database, "2"), builder(&database, "2").redis(&redis)] {
        let server = builder.start().await;
        // Many accounts from one address.
        for (email, status) in [("a@x", 401), ("b@x", 401), ("c@x", 429), ("c@x", 429)] {
            assert_eq!(attempt(&server, "192.0.2.1", email, "wrong password").await.status.as_u16(), status, "{email}");
        }
        let refused = attempt(&server, "192.0.2.1", "c@x", "wrong password").await;
        assert_eq!(refused.problem(429), "rate_limited");
        assert_eq!(refused.json()["violated-policies"], json!(["login-ip"]));
        let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert_eq!(refused.header("ratelimit"), format!(r#""login-ip";r=0;t={seconds}"#));
        assert_eq!(refused.header("ratelimit-policy"), r#""login-ip";q=2;w=60, "login-account";q=2;w=60"#);
        // One account from many addresses; then the right password is not tried either. Its case makes no other account of it.
        for from in ["192.0.2.2", "192.0.2.3"] {
            assert_eq!(attempt(&server, from, "admin@localhost", "wrong password").await.status, 401);
        }
        let refused = attempt(&server, "192.0.2.4", "Admin@LOCALHOST", PASSWORD).await;
        assert_eq!(refused.problem(429), "rate_limited");
        assert_eq!(refused.json()["violated-policies"], json!(["login-account"]));
        // Refused for the account, the address was not charged.
        for email in ["d@x", "e@x"] {
            assert_eq!(attempt(&server, "192.0.2.4", email, "wrong password").await.status, 401, "{email}");
        }
    }
    let mut connection = redis.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("ratelimit:login*").query_async(&mut connection).await.expect("keys");
    assert!(keys.len() > 4 && keys.iter().all(|key| !key.contains('@') && !key.contains("admin")), "{keys:?}");
}

#[tokio::test]
async fn for_a_refused_attempt_no_password_is_hashed() {
    let database = TestDatabase::create().await;
    let server = builder(&database, "1").start().await;
    assert_eq!(attempt(&server, "192.0.2.1", "a@x", "wrong password").await.status, 401);
    let refused = join_all((0..100).map(|_| attempt(&server, "192.0.2.1", "a@x", "wrong password"))).await;
    assert!(refused.iter().all(|answer| answer.status == 429));
    let metrics = server.anonymous().get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == "agentapi_password_verifications_total 1"), "{metrics}");
}

#[tokio::test]
async fn while_redis_is_away_nobody_logs_in() {
    let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = builder(&database, "3").redis(&redis).env("SESSION_STORAGE", "memory").start().await;
    assert_eq!(attempt(&server, "192.0.2.1", "admin@localhost", PASSWORD).await.status, 200);
    redis.kill();
    let refused = attempt(&server, "192.0.2.1", "admin@localhost", PASSWORD).await;
    assert_eq!((refused.problem(503).as_str(), refused.header("retry-after")), ("store_unavailable", "1"));
}
