//! Attacks by somebody who can write to Redis: what was removed is written back, and what was never there is made up.

use std::collections::BTreeMap;
use std::time::Duration;

use agentapi::cache::{CacheStore, RedisCacheStore};
use agentapi::config::Config;
use agentapi::domain::{ApiKeyId, CacheId, CacheKey, KeyRing, SecretDigest, TenantId, UserId};
use agentapi::redis::Redis;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{TimeDelta, Utc};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use crate::support::{Client, Server, ServerBuilder, TestDatabase, TestRedis, eventually};

async fn session_id(client: &Client) -> String {
    client.get("/v1/auth/session").await.ok()["session"]["id"].as_str().expect("an id").to_owned()
}

async fn read(redis: &mut MultiplexedConnection, key: &str) -> String {
    redis::cmd("GET").arg(key).query_async(redis).await.expect("a value")
}

async fn write(redis: &mut MultiplexedConnection, key: &str, value: &str) {
    redis::cmd("SET").arg(key).arg(value).arg("EX").arg(3600).query_async::<()>(redis).await.expect("written");
}

#[tokio::test]
async fn ended_session_written_back_is_refused_everywhere() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder =
        ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"7".repeat(64)).env("SESSION_MAX_PER_USER", "3");
    let (one, two) = (builder.start().await, builder.sibling().start().await);
    let mut connection = redis.connect().await;
    for way in ["log-out", "ended by its id", "ended with all others", "too many sessions"] {
        let (client, other) = (one.operator().await, one.operator().await);
        let id = session_id(&client).await;
        let key = format!("session:{id}");
        let record = read(&mut connection, &key).await;
        match way {
            "log-out" => client.post_nothing("/v1/auth/logout").await.ok(),
            "ended by its id" => other.delete(&format!("/v1/auth/sessions/{id}")).await.ok(),
            "ended with all others" => other.delete("/v1/auth/sessions").await.ok(),
            _ => {
                for _ in 0..3 {
                    one.operator().await;
                }
                Value::Null
            }
        };
        for server in [&two, &one] {
            write(&mut connection, &key, &record).await;
            client.at(server).session_ends().await;
        }
        // A server that starts later, and so heard of nothing.
        let three = builder.sibling().start().await;
        write(&mut connection, &key, &record).await;
        assert_eq!(client.at(&three).session_status().await, 401, "{way}");
    }
}

/// The store of cached values that servers with this key share.
fn cache(redis: &TestRedis) -> RedisCacheStore {
    let variables =
        BTreeMap::from([("REDIS_URL".to_owned(), redis.url()), ("REDIS_COMMAND_TIMEOUT".to_owned(), "20s".to_owned())]);
    let settings = Config::from_variables(&variables).expect("valid");
    RedisCacheStore::new(Redis::new(&settings.redis).expect("an endpoint"), KeyRing::new(&[0x77; 32]))
}

/// What a server would have cached of a user at this time.
async fn cache_at<I: CacheId>(store: &RedisCacheStore, (tenant, kind, id): (TenantId, &'static str, I), value: &Value, age: i64) {
    let read_at = Utc::now() - TimeDelta::seconds(age);
    let (key, value) = (CacheKey::new(tenant, kind, &id), serde_json::to_vec(value).expect("JSON").into());
    assert!(store.add(&key, &value, read_at, Duration::from_secs(10)).await.expect("added"), "nothing else is cached there");
}

#[tokio::test]
async fn revoked_api_key_written_back_is_refused_everywhere() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"7".repeat(64));
    let one = builder.start().await;
    let client = one.operator().await;
    let session = client.get("/v1/auth/session").await.ok();
    let id = |of: &str| session[of]["id"].as_str().expect("an id").to_owned();
    let (tenant, user): (TenantId, UserId) = (id("tenant").parse().expect("a UUID"), id("user").parse().expect("a UUID"));
    let made = client.post("/v1/api-keys", json!({"name": "x"})).await.ok();
    let (key, text) = (made["id"].as_str().expect("an id").to_owned(), made["key"].as_str().expect("a key").to_owned());
    let (key, secret): (ApiKeyId, _) = (key.parse().expect("a UUID"), URL_SAFE_NO_PAD.decode(&text[4..]).expect("base64url"));
    client.delete(&format!("/v1/api-keys/{key}")).await.ok();
    let stored = json!({"user": user, "secret": SecretDigest::of(&secret[32..]), "expires_at": null});
    let store = cache(&redis);
    for (age, status) in [(60, 401), (0, 200)] {
        // A server that heard of nothing, and whose own memory is empty.
        let two = builder.sibling().start().await;
        redis::cmd("FLUSHALL").query_async::<()>(&mut redis.connect().await).await.expect("flushed");
        cache_at(&store, (tenant, "api_key", key), &stored, age).await;
        let answer = one.anonymous().with_token(&text).at(&two).get("/v1/agents").await;
        // The second is what the first would be without the time in it: what is cached decides.
        assert_eq!(answer.status, status, "{age} s after it was read");
    }
}

#[tokio::test]
async fn disabled_user_written_back_is_refused_everywhere() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"7".repeat(64));
    let one = builder.start().await;
    builder.done(&["user", "create", "default", "ada@localhost"], "a password of ada\n").await;
    let client = one.anonymous().log_in("default", "ada@localhost", "a password of ada").await;
    let session = client.get("/v1/auth/session").await.ok();
    let id = |of: &str| session[of]["id"].as_str().expect("an id").to_owned();
    let (tenant, user): (TenantId, UserId) = (id("tenant").parse().expect("a UUID"), id("user").parse().expect("a UUID"));
    let made = client.post("/v1/api-keys", json!({"name": "x"})).await.ok();
    let key = one.anonymous().with_token(made["key"].as_str().expect("a key"));
    builder.done(&["user", "disable", "default", "ada@localhost"], "").await;
    builder.done(&["tenant", "suspend", "default"], "").await;
    let store = cache(&redis);
    for (age, status) in [(60, 401), (0, 200)] {
        let two = builder.sibling().start().await;
        redis::cmd("FLUSHALL").query_async::<()>(&mut redis.connect().await).await.expect("flushed");
        cache_at(&store, (tenant, "user_access", user), &json!({"role": "member", "is_disabled": false}), age).await;
        cache_at(&store, (tenant, "tenant_access", tenant), &json!({"is_suspended": false}), age).await;
        assert_eq!(key.at(&two).get("/v1/agents").await.status, status, "{age} s after it was read");
    }
}

/// How many circuits in Redis a server has refused.
async fn refused_circuits(server: &Server) -> u64 {
    let metrics = server.anonymous().get("/metrics").await.text;
    let name = r#"agentapi_circuit_values_refused_total{reason="unauthenticated"} "#;
    metrics.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn forged_circuit_cuts_nobody_off() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"7".repeat(64));
    let (one, second) = (builder.start().await, builder.sibling());
    let client = one.operator().await;
    let agent = client.start_echo_agent().await;
    let owner: uuid::Uuid =
        sqlx::query_scalar("SELECT replica_id FROM agents").fetch_one(&mut database.connect().await).await.expect("an agent");
    let mut connection = redis.connect().await;
    let service = format!("replica:{owner}");
    write(&mut connection, &format!("circuit:{service}"), "open:5:0:0:1:3600000:3600000:").await;
    redis::cmd("ZADD").arg("circuits").arg(0).arg(&service).query_async::<()>(&mut connection).await.expect("listed");
    let two = second.start().await;
    let (client, status) = (client.at(&two), format!("{agent}/status"));
    eventually("the value is looked at, and refused", || async {
        assert_eq!(client.get(&status).await.status, 200);
        (refused_circuits(&two).await > 0).then_some(())
    })
    .await;
    assert_eq!(client.get(&status).await.status, 200);
    assert_eq!(client.get("/v1/circuits").await.ok()["items"], json!([]), "it is not shown either");
    eventually("it is looked at again", || async {
        client.get(&status).await.ok();
        (refused_circuits(&two).await > 1).then_some(())
    })
    .await;
    assert_eq!(second.logged().matches("it is ignored").count(), 1, "it is logged once");
}
