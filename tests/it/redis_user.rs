//! The Redis user that `docs/REDIS_CONFIGURATION.md` describes: what it may do is enough for all that servers do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use agentapi::circuit_breaker::{CircuitBreakers, Outcome, RedisCircuitStore};
use agentapi::config::Config;
use agentapi::domain::{AgentId, KeyRing, Service};
use agentapi::redis::Redis;
use redis::Value;
use tokio_util::task::TaskTracker;

use crate::documentation::{file, sources};
use crate::support::{Client, ServerBuilder, TestDatabase, TestRedis, eventually};

/// What the page's user is refused: `CONFIG GET`, of which the page tells.
const REFUSED: [&str; 1] = ["config|get"];

/// The words of the page's line `user agentapi ...`, as a configuration of Redis has it, after the name.
fn rules() -> Vec<String> {
    let page = file("docs/REDIS_CONFIGURATION.md");
    let line = page.lines().find_map(|line| line.strip_prefix("user agentapi ")).expect("the page has such a line");
    line.split_whitespace().map(str::to_owned).collect()
}

async fn limited_redis() -> (TestRedis, String) {
    let (redis, rules) = (TestRedis::start().await, rules());
    let password = rules.iter().find_map(|rule| rule.strip_prefix('>')).expect("a password").to_owned();
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("agentapi").arg(rules);
    command.query_async::<()>(&mut redis.connect().await).await.expect("Redis understands the page");
    let url = format!("redis://agentapi:{password}@{}", redis.address());
    (redis, url)
}

/// Sessions are opened beyond the cap, listed, ended; agents start; then the limit refuses.
async fn a_users_day(client: &Client, others: [Client; 2]) {
    assert_eq!(client.get("/v1/auth/sessions").await.ok()["items"].as_array().expect("items").len(), 2, "the cap");
    let [first, second] = others;
    assert_eq!(first.get("/v1/auth/session").await.problem(401), "unauthenticated");
    assert_eq!(second.post_nothing("/v1/auth/logout").await.status, 204);
    client.start_agent(&["cat"]).await;
    client.delete("/v1/auth/sessions").await.ok();
    eventually("the limit is reached", || async {
        let answer = client.get("/v1/agents").await;
        (answer.status == 429).then(|| assert_eq!(answer.problem(429), "rate_limited"))
    })
    .await;
}

async fn a_circuit_opens(url: &str) -> Service {
    let variables = BTreeMap::from([("REDIS_URL".to_owned(), url.to_owned())]);
    let settings = Config::from_variables(&variables).expect("valid");
    let store = Arc::new(RedisCircuitStore::new(Redis::new(&settings.redis).expect("an endpoint"), KeyRing::new(&[0x77; 32])));
    let breakers = CircuitBreakers::new(store, &settings.circuit_breaker, None, TaskTracker::new()).expect("they are on");
    let service = Service::Agent(AgentId::new());
    while let Ok(permit) = breakers.admit(service, Duration::from_secs(60)).await {
        permit.settle(Outcome::Failure).await;
    }
    service
}

#[tokio::test]
async fn a_user_of_redis_with_the_rights_of_the_page_is_enough() {
    let (redis, url) = limited_redis().await;
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database)
        .env("REDIS_URL", &url)
        .env("REDIS_COMMAND_TIMEOUT", "20s")
        .env("TOKEN_ENCRYPTION_KEY", &"7".repeat(64))
        .env("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", "25")
        .env("RATE_LIMIT_TENANT_BURST_SIZE", "15")
        .env("RATE_LIMIT_IP_REQUESTS_PER_MINUTE", "100000")
        .env("SESSION_MAX_PER_USER", "2")
        .env("SESSION_CLEANUP_INTERVAL", "1s")
        .env("AGENTAPI_HEARTBEAT_INTERVAL", "100ms");
    // Another replica, for the leases.
    let other = builder.sibling().start().await;
    for algorithm in ["fixed_window", "sliding_window", "token_bucket"] {
        let server = builder.clone().env("RATE_LIMIT_ALGORITHM", algorithm).start().await;
        let others = [server.operator().await, server.operator().await];
        a_users_day(&server.operator().await, others).await;
        assert_eq!(server.terminate().await, Some(0));
    }
    let service = a_circuit_opens(&url).await;
    let server = builder.clone().env("RATE_LIMIT_ENABLED", "false").start().await;
    let operator = server.operator().await;
    let circuits = operator.get("/v1/circuits").await.ok();
    assert_eq!((&circuits["items"][0]["service"], &circuits["shared"]), (&service.to_string().into(), &true.into()));
    assert_eq!(operator.post_nothing(&format!("/v1/circuits/{service}/reset")).await.status, 204);
    for command in [&["keys", "rotate"][..], &["user", "passwd", "default", "admin@localhost"]] {
        builder.done(command, "another password").await;
    }
    assert_eq!(operator.get("/v1/auth/session").await.problem(401), "unauthenticated");
    let mut connection = redis.connect().await;
    eventually("a server has its turn to clear the indexes", || {
        let mut connection = connection.clone();
        async move { redis::cmd("GET").arg("session_pruning").query_async::<Option<String>>(&mut connection).await.ok()? }
    })
    .await;
    assert_eq!((server.terminate().await, other.terminate().await), (Some(0), Some(0)));

    let refused: Vec<HashMap<String, Value>> =
        redis::cmd("ACL").arg("LOG").query_async(&mut connection).await.expect("what was refused");
    let refused: BTreeSet<String> =
        refused.into_iter().map(|entry| redis::from_redis_value(entry["object"].clone()).expect("text")).collect();
    assert_eq!(refused, REFUSED.map(str::to_owned).into());
}

/// What a run of the servers may not come by.
#[test]
fn the_page_has_every_command_of_the_code() {
    let allowed: BTreeSet<String> = rules().iter().filter_map(|rule| rule.strip_prefix('+')).map(str::to_uppercase).collect();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redis");
    for path in sources(&folder).into_iter().filter(|path| !path.ends_with("tests.rs")) {
        let source = std::fs::read_to_string(&path).expect("text");
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        let natively = code.split("cmd(\"").skip(1).filter_map(|rest| rest.split_once('"'));
        let in_scripts = code.split("redis.call('").skip(1).filter_map(|rest| rest.split_once('\''));
        for (command, _) in natively.chain(in_scripts).filter(|(command, _)| *command != "CONFIG") {
            assert!(allowed.contains(command), "{command} of {} is not in docs/REDIS_CONFIGURATION.md", path.display());
        }
    }
}
