//! Making, listing and revoking keys.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;

use super::{Key, run, user};
use crate::support::{ServerBuilder, TestDatabase, eventually};

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().map(|key| key["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn a_key_is_made_used_listed_and_revoked() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    let server = builder.start().await;
    let owner = user(&builder, &server, "ada", "member").await;
    let me = owner.get("/v1/auth/session").await.ok()["user"].clone();
    let answer = owner.post("/v1/api-keys", json!({"name": " nightly build ", "expires_in_days": 30})).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (201, "no-store"));
    let (path, body) = (answer.header("location").to_owned(), answer.ok());
    assert_eq!(path, format!("/v1/api-keys/{}", body["id"].as_str().expect("an id")));
    let text = body["key"].as_str().expect("a key");
    assert!(text.starts_with("agk_") && text.len() == 90, "{text}");
    assert_eq!((&body["name"], &body["last_used_at"]), (&json!("nightly build"), &Value::Null));
    assert_eq!(body["user"], json!({"id": me["id"], "email": "ada@localhost"}));

    let machine = server.anonymous().with_token(text);
    let agent = machine.start_echo_agent().await;
    assert_eq!(machine.get(&agent).await.ok()["created_by"], me["id"]);
    assert_eq!(owner.get(&agent).await.ok()["state"], "running");
    let listed = eventually("its use is written down", || async {
        let listed = owner.get("/v1/api-keys").await.ok();
        listed["items"][0]["last_used_at"].is_string().then_some(listed)
    })
    .await;
    assert_eq!((ids(&listed), &listed["next"]), (vec![body["id"].as_str().expect("an id")], &Value::Null));
    assert!(!listed.to_string().contains("agk_"), "it is shown once: {listed}");

    owner.delete(&path).await.ok();
    assert_eq!(machine.get("/v1/agents").await.problem(401), "unauthenticated");
    assert_eq!(owner.delete(&path).await.problem(404), "not_found");
    assert_eq!(owner.get("/v1/api-keys").await.ok()["items"], json!([]));
    let audit = sqlx::query("SELECT action, subject, actor::text FROM audit_entries WHERE action LIKE 'api_key.%' ORDER BY id")
        .fetch_all(&mut database.connect().await)
        .await
        .expect("rows");
    let audit: Vec<(String, String, String)> = audit.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let entry = |action: &str| (action.to_owned(), path.replace("/v1/api-keys/", ""), me["id"].as_str().expect("id").to_owned());
    assert_eq!(audit, [entry("api_key.create"), entry("api_key.revoke")]);
}

#[tokio::test]
async fn users_see_their_own_keys_and_administrators_those_of_their_tenant() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    let server = builder.start().await;
    let (admin, ada) = (user(&builder, &server, "boss", "admin").await, user(&builder, &server, "ada", "member").await);
    let bob = user(&builder, &server, "bob", "member").await;
    run(&builder, &["tenant", "create", "rival"]).await;
    run(&builder, &["user", "create", "rival", "eve@rival.example", "--role", "admin"]).await;
    let eve = server.anonymous().log_in("rival", "eve@rival.example", super::PASSWORD).await;
    let mut keys = Vec::new();
    for client in [&ada, &bob, &admin] {
        keys.push(Key::make(client).await);
    }
    let seen = async |client: &crate::support::Client| ids(&client.get("/v1/api-keys").await.ok()).len();
    assert_eq!((seen(&ada).await, seen(&bob).await, seen(&admin).await, seen(&eve).await), (1, 1, 3, 0));
    for client in [&bob, &eve] {
        assert_eq!(client.delete(&keys[0].path).await.problem(404), "not_found");
    }
    assert_eq!(bob.delete(&keys[2].path).await.problem(404), "not_found");
    keys[0].at(&server).get("/v1/agents").await.ok();
    // By pages, newest first, with whose they are.
    let page = admin.get("/v1/api-keys?limit=2").await.ok();
    let next = page["next"].as_str().expect("there is more").to_owned();
    let rest = admin.get(&format!("/v1/api-keys?limit=2&after={next}")).await.ok();
    let whose: Vec<&Value> = [&page, &rest].iter().flat_map(|page| page["items"].as_array().expect("items")).collect();
    let whose: Vec<&Value> = whose.iter().map(|key| &key["user"]["email"]).collect();
    assert_eq!((json!(whose), &rest["next"]), (json!(["boss@localhost", "bob@localhost", "ada@localhost"]), &Value::Null));
    assert_eq!(admin.get("/v1/api-keys?limit=0").await.problem(422), "validation_failed");
    admin.delete(&keys[0].path).await.ok();
    assert_eq!(keys[0].at(&server).get("/v1/agents").await.problem(401), "unauthenticated");
    assert_eq!(seen(&admin).await, 2);
}

#[tokio::test]
async fn a_user_has_fifty_keys_at_most_however_many_it_asks_for_at_once() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).start().await;
    let client = server.operator().await;
    let asked = join_all((0..60).map(|_| client.post("/v1/api-keys", json!({"name": "x"})))).await;
    let refused: Vec<_> = asked.iter().filter(|answer| answer.status == 409).collect();
    assert_eq!((asked.iter().filter(|answer| answer.status == 201).count(), refused.len()), (50, 10));
    assert_eq!(refused[0].problem(409), "api_key_limit_reached");
    // One that is revoked makes room, and so does one that expires.
    let made: Vec<String> = asked.iter().map(|answer| answer.header("location").to_owned()).filter(|at| !at.is_empty()).collect();
    client.delete(&made[0]).await.ok();
    Key::make(&client).await;
    assert_eq!(client.post("/v1/api-keys", json!({"name": "x"})).await.problem(409), "api_key_limit_reached");
    let expire =
        sqlx::query("UPDATE api_keys SET expires_at = now() WHERE id = $1::uuid").bind(&made[1]["/v1/api-keys/".len()..]);
    sqlx::Executor::execute(&mut database.connect().await, expire).await.expect("expired");
    Key::make(&client).await;
}

#[tokio::test]
async fn what_is_asked_for_is_looked_at_and_a_key_may_neither_make_keys_nor_touch_sessions() {
    let server = ServerBuilder::new(&TestDatabase::create().await).start().await;
    let client = server.operator().await;
    for (body, location) in [
        (json!({"name": ""}), "body.name"),
        (json!({"name": "a\nb"}), "body.name"),
        (json!({"name": "x".repeat(101)}), "body.name"),
        (json!({"name": "x", "expires_in_days": 0}), "body.expires_in_days"),
        (json!({"name": "x", "expires_in_days": 3651}), "body.expires_in_days"),
        (json!({"name": "x", "role": "operator"}), "body.role"),
    ] {
        let answer = client.post("/v1/api-keys", body.clone()).await;
        assert_eq!(answer.problem(422), "validation_failed", "{body}");
        assert_eq!(answer.json()["errors"][0]["location"], location, "{body}");
    }
    let key = Key::make(&client).await;
    let machine = key.at(&server);
    for (method, path) in [
        (Method::POST, "/v1/api-keys"),
        (Method::GET, "/v1/api-keys"),
        (Method::DELETE, key.path.as_str()),
        (Method::POST, "/v1/auth/logout"),
        (Method::GET, "/v1/auth/session"),
        (Method::GET, "/v1/auth/sessions"),
        (Method::DELETE, "/v1/auth/sessions"),
        (Method::DELETE, "/v1/auth/sessions/0123456789abcdef0123456789abcdef"),
    ] {
        let answer = machine.send(machine.request(method.clone(), path)).await;
        assert_eq!(answer.problem(403), "session_required", "{method} {path}");
        assert_eq!(answer.json()["detail"], "an API key may not do this: log in");
    }
    // What its user's role allows, it may.
    assert_eq!(machine.get("/v1/circuits").await.ok()["items"], json!([]));
    client.get("/v1/auth/session").await.ok();
}
