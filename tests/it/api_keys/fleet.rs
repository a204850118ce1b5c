//! Keys at several servers.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Key, run, user};
use crate::support::{Client, EventStream, Server, ServerBuilder, TestDatabase, TestRedis, eventually};

/// Two servers that act as one.
async fn two(database: &TestDatabase, redis: &TestRedis) -> (ServerBuilder, [Server; 2]) {
    let builder = ServerBuilder::new(database).redis(redis).env("TOKEN_ENCRYPTION_KEY", &"7".repeat(64));
    let servers = [builder.start().await, builder.sibling().start().await];
    (builder, servers)
}

async fn refused(client: &Client) -> Duration {
    let start = Instant::now();
    eventually("it is refused", || async { (client.get("/v1/agents").await.status == 401).then_some(()) }).await;
    start.elapsed()
}

async fn ends(mut events: EventStream) {
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn a_key_works_at_every_server_and_is_over_at_all_of_them_when_one_revokes_it() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (_builder, [one, two]) = two(&database, &redis).await;
    let client = one.operator().await;
    let key = Key::make(&client).await;
    let (here, there) = (key.at(&one), key.at(&two));
    // The agent lives at the first: the second passes on.
    let agent = here.start_echo_agent().await;
    there.say(&agent, "hello").await;
    assert_eq!(there.get(&format!("{agent}/status")).await.ok()["status"], "stable");
    assert!(there.conversation(&agent).await.iter().any(|(_, text)| text.contains("you said hello")));
    assert_eq!(there.get("/v1/auth/session").await.problem(403), "session_required");
    let (at_one, at_two) = (here.events(&agent).await, there.events(&agent).await);
    let begun = Instant::now();
    client.delete(&key.path).await.ok();
    assert_eq!(here.get("/v1/agents").await.problem(401), "unauthenticated", "where it was revoked, at once");
    assert!(refused(&there).await < Duration::from_secs(5), "elsewhere, once that is heard of");
    ends(at_one).await;
    ends(at_two).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "sooner than by being verified again");
    assert_eq!(there.get(&format!("{agent}/status")).await.problem(401), "unauthenticated");
    assert_eq!(client.get(&agent).await.ok()["state"], "running", "what it started goes on");
}

#[tokio::test]
async fn streams_of_a_key_end_with_its_user_and_others_go_on() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (builder, [one, two]) = two(&database, &redis).await;
    let (ada, bob) = (user(&builder, &one, "ada", "member").await, user(&builder, &one, "bob", "member").await);
    let (adas, bobs) = (Key::make(&ada).await, Key::make(&bob).await);
    let agent = bobs.at(&one).start_echo_agent().await;
    let mut going_on = bobs.at(&two).events(&agent).await;
    let over = adas.at(&two).events(&agent).await;
    run(&builder, &["user", "disable", "default", "ada@localhost"]).await;
    let begun = Instant::now();
    ends(over).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "sooner than by being verified again");
    assert!(refused(&adas.at(&one)).await < Duration::from_secs(5));
    bobs.at(&one).post(&format!("{agent}/message"), json!({"type": "user", "content": "still there"})).await.ok();
    going_on
        .until("the answer", |event| event.data["message"].as_str().is_some_and(|text| text.contains("you said still there")))
        .await;
}

#[tokio::test]
async fn what_one_server_looked_up_another_need_not_ask_postgres_for() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (_builder, [one, two]) = two(&database, &redis).await;
    let key = Key::make(&one.operator().await).await;
    // For some seconds only: again, where the machine is busy.
    eventually("the second finds it in Redis", || async {
        key.at(&one).get("/v1/agents").await.ok();
        key.at(&two).get("/v1/agents").await.ok();
        let metrics = two.anonymous().get("/metrics").await.text;
        metrics.contains(r#"agentapi_cache_requests_total{kind="api_key",outcome="hit"}"#).then_some(())
    })
    .await;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("cache:*:api_key:*").query_async(&mut redis.connect().await).await.expect("keys");
    assert!(keys.iter().all(|at| at.ends_with(&key.path["/v1/api-keys/".len()..])), "{keys:?}");
}
