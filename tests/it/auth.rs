//! Signing in and out.

use serde_json::json;

use crate::support::{Client, PASSWORD, Server, ServerBuilder, TestDatabase, TestRedis, eventually};

#[tokio::test]
async fn a_user_logs_in_is_known_and_logs_out() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).start().await;
    let login = json!({"tenant": "default", "email": "Admin@localhost", "password": PASSWORD});
    let answer = server.anonymous().post("/v1/auth/login", login).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.ok();
    assert_eq!((&body["tenant"]["slug"], &body["user"]["role"]), (&json!("default"), &json!("operator")));
    let client = server.anonymous().with_token(body["token"].as_str().expect("a token"));
    let known = client.get("/v1/auth/session").await.ok();
    assert_eq!((&known["user"], &known["tenant"]), (&body["user"], &body["tenant"]));
    assert_eq!(known["session"]["id"], body["session"]["id"]);
    assert_eq!(client.post_nothing("/v1/auth/logout").await.status, 204);
    assert_eq!(client.get("/v1/auth/session").await.problem(401), "unauthenticated");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_the_answer_is_the_same_401() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let key = |digit: &str| ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &digit.repeat(64));
    let (server, foreign) = (key("a").start().await, key("b").start().await);
    let (ended, expired) = (server.operator().await, server.operator().await);
    ended.post_nothing("/v1/auth/logout").await.ok();
    expire_all_sessions(&redis).await;
    let living = server.operator().await.token.expect("a token");
    let with = |token: &str| server.anonymous().with_token(token);
    let mut answers = Vec::new();
    for client in [
        server.anonymous(),
        with(""),
        with("garbage"),
        with(&living[..living.len() - 1]),
        with(&format!("{living}A")),
        with(&"v1.".repeat(10_000)),
        with(foreign.operator().await.token.as_deref().expect("a token")),
        ended,
        expired,
    ] {
        let answer = client.get("/v1/auth/session").await;
        assert_eq!((answer.problem(401).as_str(), answer.header("www-authenticate")), ("unauthenticated", "Bearer"));
        let mut body = answer.json();
        body["request_id"].take();
        answers.push(body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    with(&living).get("/v1/auth/session").await.ok();
}

/// Lets every session there is run out, and waits until Redis says so.
async fn expire_all_sessions(redis: &TestRedis) {
    let mut connection = redis.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("session:*").query_async(&mut connection).await.expect("keys");
    assert!(!keys.is_empty());
    for key in &keys {
        let _: i64 = redis::cmd("PEXPIRE").arg(key).arg(1).query_async(&mut connection).await.expect("shortened");
    }
    eventually("sessions expired", || {
        let (mut connection, keys) = (connection.clone(), keys.clone());
        async move {
            let left: i64 = redis::cmd("EXISTS").arg(keys).query_async(&mut connection).await.expect("a count");
            (left == 0).then_some(())
        }
    })
    .await;
}

#[tokio::test]
async fn wrong_credentials_get_one_answer_after_the_same_work() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).start().await;
    let mut answers = Vec::new();
    for (tenant, email) in [
        ("default", "admin@localhost"),
        ("default", "nobody@localhost"),
        ("nowhere", "admin@localhost"),
        ("NO SLUG", "no address"),
    ] {
        let before = verifications(&server).await;
        let body = json!({"tenant": tenant, "email": email, "password": "wrong password"});
        let answer = server.anonymous().post("/v1/auth/login", body).await;
        assert_eq!(answer.problem(401), "invalid_credentials");
        // The password's hash is what takes the time: without it, unknown users would be told apart by a tenth of the time.
        assert_eq!(verifications(&server).await, before + 1, "{tenant} {email}");
        let mut answer = answer.json();
        answer["request_id"].take();
        answers.push(answer);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

/// Passwords that the server has verified so far.
async fn verifications(server: &Server) -> u64 {
    let metrics = server.anonymous().get("/metrics").await.text;
    let count = metrics.lines().find_map(|line| line.strip_prefix("agentapi_password_verifications_total "));
    count.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn a_user_lists_and_ends_its_sessions() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    for builder in [ServerBuilder::new(&database), ServerBuilder::new(&database).redis(&redis)] {
        let server = builder.start().await;
        let (one, two, three) = (server.operator().await, server.operator().await, server.operator().await);
        let sessions = one.get("/v1/auth/sessions").await.ok();
        let items = sessions["items"].as_array().expect("items");
        assert_eq!(items.iter().map(|item| item["current"] == true).collect::<Vec<_>>(), [true, false, false]);
        let second = items[1]["id"].as_str().expect("an id");
        assert_eq!(one.delete(&format!("/v1/auth/sessions/{second}")).await.status, 204);
        assert_eq!(one.delete(&format!("/v1/auth/sessions/{second}")).await.problem(404), "not_found");
        assert_eq!(one.delete("/v1/auth/sessions/nonsense").await.problem(404), "not_found");
        assert_eq!(two.get("/v1/auth/session").await.status, 401);
        assert_eq!(one.delete("/v1/auth/sessions").await.status, 204);
        assert_eq!(three.get("/v1/auth/session").await.status, 401);
        assert_eq!(one.get("/v1/auth/sessions").await.ok()["items"].as_array().expect("items").len(), 1);
    }
}

#[tokio::test]
async fn redis_holds_a_sealed_session_whose_life_each_use_renews() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let server = ServerBuilder::new(&database).redis(&redis).env("SESSION_TTL", "3600s").start().await;
    let client = server.operator().await;
    let id = client.get("/v1/auth/session").await.ok()["session"]["id"].as_str().expect("an id").to_owned();
    let (mut connection, key) = (redis.connect().await, format!("session:{id}"));
    let record: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut connection).await.expect("a record");
    let readable = String::from_utf8_lossy(&record).into_owned();
    assert!(!readable.contains("operator") && !readable.contains("role"), "{readable}");
    let shortened: i64 = redis::cmd("EXPIRE").arg(&key).arg(100).query_async(&mut connection).await.expect("shortened");
    assert_eq!(shortened, 1);
    client.get("/v1/auth/session").await.ok();
    let left: i64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.expect("a TTL");
    assert!((3590..=3600).contains(&left), "{left}");
    client.post_nothing("/v1/auth/logout").await.ok();
    let keys: Vec<String> = redis::cmd("KEYS").arg("session:*").query_async(&mut connection).await.expect("keys");
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn sessions_are_shared_by_servers_of_one_key_and_survive_a_restart() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("TOKEN_ENCRYPTION_KEY", &"c".repeat(64));
    let (one, two) = (builder.start().await, builder.sibling().start().await);
    let token = one.operator().await.token.expect("a token");
    two.anonymous().with_token(&token).get("/v1/auth/session").await.ok();
    one.kill().await;
    let again = builder.start().await;
    again.anonymous().with_token(&token).get("/v1/auth/session").await.ok();
}

#[tokio::test]
async fn a_generated_key_is_kept_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis);
    let server = builder.start().await;
    let token = server.operator().await.token.expect("a token");
    let mode = |name: &str| std::fs::metadata(builder.data_dir().join(name)).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode("token-encryption-key"), 0o600);
    assert_eq!(server.terminate().await, Some(0));
    let server = builder.start().await;
    let client: Client = server.anonymous().with_token(&token);
    client.get("/v1/auth/session").await.ok();
}
