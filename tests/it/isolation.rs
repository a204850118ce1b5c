//! Nobody gets in, and no tenant reaches another's: a sweep over every operation of the API document.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, ServerBuilder, TestDatabase, TestRedis};

/// Operations that are open to all. This list may only shrink.
const OPEN: [(&str, &str); 5] =
    [("get", "/status"), ("get", "/livez"), ("get", "/readyz"), ("get", "/metrics"), ("post", "/v1/auth/login")];

/// Method and path of every operation.
fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let methods = |path: &Value| path.as_object().expect("operations").keys().cloned().collect::<Vec<_>>();
    paths.iter().flat_map(|(path, item)| methods(item).into_iter().map(|method| (method, path.clone()))).collect()
}

async fn call(client: &Client, method: &str, path: &str, body: &Value) -> crate::support::Answer {
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
    let request = client.request(method.clone(), path);
    client.send(if method == Method::POST { request.json(body) } else { request }).await
}

/// Keys that are good no more, one revoked and one expired, and one of another tenant's.
async fn keys(owner: &Client, rival: &Client, database: &TestDatabase) -> [String; 3] {
    let mut made = Vec::new();
    for client in [owner, owner, rival] {
        let body = client.post("/v1/api-keys", json!({"name": "x", "expires_in_days": 1})).await.ok();
        let text = |name: &str| body[name].as_str().expect("text").to_owned();
        made.push((text("id"), text("key")));
    }
    owner.delete(&format!("/v1/api-keys/{}", made[0].0)).await.ok();
    let expire = sqlx::query("UPDATE api_keys SET expires_at = now() WHERE id = $1::uuid").bind(made[1].0.clone());
    sqlx::Executor::execute(&mut database.connect().await, expire).await.expect("expired");
    made.into_iter().map(|(_, key)| key).collect::<Vec<_>>().try_into().expect("three")
}

#[tokio::test]
async fn every_operation_refuses_strangers_and_hides_other_tenants_agents() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis);
    let server = builder.start().await;
    let owner = server.operator().await;
    for args in [&["tenant", "create", "rival"][..], &["user", "create", "rival", "eve@rival.example", "--role", "admin"]] {
        builder.done(args, "password of eve, a rival\n").await;
    }
    let rival = server.anonymous().log_in("rival", "eve@rival.example", "password of eve, a rival").await;
    let ended = server.operator().await;
    ended.post_nothing("/v1/auth/logout").await.ok();
    let [revoked, expired, foreign] = keys(&owner, &rival, &database).await;
    let agent = owner.start_echo_agent().await;
    let id = agent.rsplit('/').next().expect("an id");
    let body = json!({"type": "raw", "content": "x"});

    let document = server.anonymous().get("/openapi.json").await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    assert!(operations.len() >= 20, "{operations:?}");
    for (method, template) in &operations {
        if OPEN.contains(&(method, template)) {
            continue;
        }
        let path = template.replace("{id}", id);
        let machines = [&revoked, &expired].map(|key| server.anonymous().with_token(key));
        let people = [server.anonymous(), server.anonymous().with_token("garbage"), ended.clone()];
        for stranger in people.iter().chain(&machines) {
            let answer = call(stranger, method, &path, &body).await;
            assert_eq!(answer.problem(401), "unauthenticated", "{method} {path}");
        }
        if template.contains("{id}") {
            let answer = call(&rival, method, &path, &body).await;
            assert_eq!(answer.problem(404), "not_found", "{method} {path}");
            let answer = call(&server.anonymous().with_token(&foreign), method, &path, &body).await;
            if ["/v1/auth/", "/v1/api-keys"].iter().any(|by_session| path.starts_with(by_session)) {
                assert_eq!(answer.problem(403), "session_required", "{method} {path}");
            } else {
                assert_eq!(answer.problem(404), "not_found", "{method} {path}");
            }
        }
    }
    assert_eq!(rival.get("/v1/agents").await.ok()["items"], json!([]));
    assert_eq!(owner.get(&agent).await.ok()["state"], "running", "the rival's calls changed nothing");
    for (method, path) in OPEN {
        assert!(
            operations.iter().any(|operation| operation == &(method.to_owned(), path.to_owned())),
            "{method} {path} is documented"
        );
    }
}
