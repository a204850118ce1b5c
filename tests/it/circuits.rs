//! Circuits as operators see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agentapi::circuit_breaker::{CircuitBreakers, Outcome, RedisCircuitStore, Refusal};
use agentapi::config::Config;
use agentapi::domain::{AgentId, KeyRing, Service};
use agentapi::redis::Redis;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::support::{ServerBuilder, TestDatabase, TestRedis, eventually};

const LONG: Duration = Duration::from_secs(60);

/// Breakers of another replica.
fn replica(redis: &TestRedis) -> CircuitBreakers {
    replica_open_for(redis, "30s")
}

/// The same, whose circuits are open for this time first.
fn replica_open_for(redis: &TestRedis, timeout: &str) -> CircuitBreakers {
    let variables = [("REDIS_URL", redis.url()), ("CIRCUIT_BREAKER_TIMEOUT", timeout.to_owned())];
    let variables: BTreeMap<String, String> = variables.map(|(name, value)| (name.to_owned(), value)).into();
    let settings = Config::from_variables(&variables).expect("valid");
    let store = Arc::new(RedisCircuitStore::new(Redis::new(&settings.redis).expect("an endpoint"), KeyRing::new(&[0x77; 32])));
    let peek = Some(Duration::from_millis(20));
    CircuitBreakers::new(store, &settings.circuit_breaker, peek, TaskTracker::new()).expect("they are on")
}

async fn open(breakers: &CircuitBreakers, service: Service) {
    eventually("it is open", || async {
        match breakers.admit(service, LONG).await {
            Ok(permit) => {
                permit.settle(Outcome::Failure).await;
                None
            }
            Err(_) => Some(()),
        }
    })
    .await;
}

fn services(page: &Value) -> Vec<String> {
    let text = |item: &Value| item["service"].as_str().expect("text").to_owned();
    page["items"].as_array().expect("items").iter().map(text).collect()
}

#[tokio::test]
async fn operators_see_the_circuits_of_all_replicas_and_close_them() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"7".repeat(64)).start().await;
    let operator = server.operator().await;
    let none = json!({"items": [], "next": null, "shared": true});
    assert_eq!(operator.get("/v1/circuits").await.ok(), none);

    let other = replica(&redis);
    let mut failing: Vec<Service> = (0..3).map(|_| Service::Agent(AgentId::new())).collect();
    failing.sort_unstable();
    for &service in &failing {
        open(&other, service).await;
    }
    let names: Vec<String> = failing.iter().map(ToString::to_string).collect();
    let listed = eventually("they are shared", || async {
        let page = operator.get("/v1/circuits").await.ok();
        (services(&page) == names).then_some(page)
    })
    .await;
    let first = &listed["items"][0];
    assert_eq!((&first["kind"], &first["state"], &first["opens"]), (&json!("agent"), &json!("open"), &json!(1)));
    assert!((1..=33).contains(&first["retry_after"].as_u64().expect("seconds")), "{first}");
    let page = operator.get("/v1/circuits?limit=2").await.ok();
    assert_eq!((services(&page), &page["next"]), (names[..2].to_vec(), &json!(names[1])));
    let second = operator.get(&format!("/v1/circuits?limit=2&after={}", names[1])).await.ok();
    assert_eq!((services(&second), &second["next"]), (names[2..].to_vec(), &Value::Null));

    let reset = operator.post_nothing(&format!("/v1/circuits/{}/reset", names[0])).await;
    assert_eq!(reset.status, 204);
    assert_eq!(services(&operator.get("/v1/circuits").await.ok()), names[1..]);
    let permit = eventually("its calls pass elsewhere too", || async { other.admit(failing[0], LONG).await.ok() }).await;
    permit.settle(Outcome::Success).await;
    assert!(matches!(other.admit(failing[1], LONG).await, Err(Refusal::Open(_))), "not the others'");

    for wrong in ["after=nonsense", "after=replica:*", "limit=x", "limit=0", "limit=101", "page=2"] {
        let answer = operator.get(&format!("/v1/circuits?{wrong}")).await;
        assert_eq!(answer.problem(422), "validation_failed", "{wrong}");
    }
    for wrong in ["nonsense", "agent:x", "ratelimit:user:1"] {
        let answer = operator.post_nothing(&format!("/v1/circuits/{wrong}/reset")).await;
        assert_eq!(answer.problem(404), "not_found", "{wrong}");
    }
}

#[tokio::test]
async fn nobody_else_does() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    let server = builder.start().await;
    let reset = format!("/v1/circuits/agent:{}/reset", AgentId::new());
    for role in ["admin", "member"] {
        let email = format!("{role}@acme.example");
        builder.done(&["user", "create", "default", &email, "--role", role], "hunter2 hunter2\n").await;
        let user = server.anonymous().log_in("default", &email, "hunter2 hunter2").await;
        assert_eq!(user.get("/v1/circuits").await.problem(403), "forbidden");
        assert_eq!(user.post_nothing(&reset).await.problem(403), "forbidden");
    }
    assert_eq!(server.anonymous().get("/v1/circuits").await.problem(401), "unauthenticated");
}

#[tokio::test]
async fn without_redis_it_is_said_whose_they_are() {
    let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
    // Sessions in the process, so that somebody may ask while Redis is away.
    let builder = ServerBuilder::new(&database).redis(&redis).env("SESSION_STORAGE", "memory");
    let server = builder.start().await;
    let operator = server.operator().await;
    redis.kill();
    assert_eq!(operator.get("/v1/circuits").await.ok(), json!({"items": [], "next": null, "shared": false}));
    let reset = operator.post_nothing(&format!("/v1/circuits/agent:{}/reset", AgentId::new())).await;
    assert_eq!(reset.problem(503), "store_unavailable");
    // Where they are off there are none.
    let off = builder.env("CIRCUIT_BREAKER_ENABLED", "false").env("REDIS_ENABLE", "false").sibling().start().await;
    assert_eq!(off.operator().await.get("/v1/circuits").await.ok(), json!({"items": [], "next": null, "shared": true}));
}

#[tokio::test]
async fn status_and_metrics_count_open_ones_without_a_name() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let status = server.anonymous().get("/status").await.ok();
    assert_eq!((&status["status"], &status["open_circuits"]), (&json!("ok"), &json!(0)));
    let metrics = server.anonymous().get("/metrics").await.text;
    for kind in ["agent", "replica", "upstream"] {
        assert!(metrics.contains(&format!("agentapi_circuits_open{{kind=\"{kind}\"}} 0")), "{metrics}");
    }
}

#[tokio::test]
async fn circuit_whose_time_is_over_is_shown_half_open() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"7".repeat(64)).start().await;
    let operator = server.operator().await;
    let other = replica_open_for(&redis, "100ms");
    let service = Service::Agent(AgentId::new());
    open(&other, service).await;
    // There are no calls, so Redis still has it as open.
    let circuit = eventually("it is shown half-open", || async {
        let page = operator.get("/v1/circuits").await.ok();
        (page["items"][0]["state"] == "half_open").then(|| page["items"][0].clone())
    })
    .await;
    assert_eq!((&circuit["service"], &circuit["retry_after"]), (&json!(service.to_string()), &json!(0)));
}
