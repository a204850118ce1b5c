//! Who gets in by a key, and for how long.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{Key, look_ups, run, user};
use crate::support::{Client, ServerBuilder, TestDatabase, TestRedis, eventually};

async fn execute(connection: &mut PgConnection, statement: &str) {
    connection.execute(AssertSqlSafe(statement.to_owned())).await.expect("done");
}

/// Waits until a change is heard of, and so seen: far sooner than what is cached would have ended by itself.
async fn soon(client: &Client, path: &str, status: u16) {
    let seen = eventually("the change is seen", || async { (client.get(path).await.status == status).then_some(()) });
    tokio::time::timeout(Duration::from_secs(8), seen).await.expect("sooner than by itself");
}

#[tokio::test]
async fn a_key_is_worth_what_its_user_and_tenant_are_at_the_moment() {
    for shared in [false, true] {
        let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
        let mut connection = database.connect().await;
        let builder = if shared { ServerBuilder::new(&database).redis(&redis) } else { ServerBuilder::new(&database) };
        let server = builder.start().await;
        let machine = Key::make(&user(&builder, &server, "ada", "operator").await).await.at(&server);
        machine.get("/v1/circuits").await.ok();
        for (out, back) in [(["user", "disable"], ["user", "enable"]), (["tenant", "suspend"], ["tenant", "resume"])] {
            let whom: &[&str] = if out[0] == "user" { &["default", "ada@localhost"] } else { &["default"] };
            run(&builder, &[&out[..], whom].concat()).await;
            soon(&machine, "/v1/circuits", 401).await;
            run(&builder, &[&back[..], whom].concat()).await;
            soon(&machine, "/v1/circuits", 200).await;
        }
        execute(
            &mut connection,
            "UPDATE users SET role = 'member' WHERE email = 'ada@localhost';
             SELECT pg_notify('agentapi_changes', tenant_id || '/' || id) FROM users WHERE email = 'ada@localhost'",
        )
        .await;
        soon(&machine, "/v1/circuits", 403).await;
        machine.get("/v1/agents").await.ok();
    }
}

#[tokio::test]
async fn a_key_ends_when_it_is_to_also_where_it_is_known() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).start().await;
    let client = server.operator().await;
    let key = Key::make_as(&client, serde_json::json!({"name": "x", "expires_in_days": 1})).await;
    // Before anybody has looked it up.
    execute(&mut database.connect().await, "UPDATE api_keys SET expires_at = now() + interval '4 seconds'").await;
    let machine = key.at(&server);
    machine.get("/v1/agents").await.ok();
    soon(&machine, "/v1/agents", 401).await;
    assert_eq!(machine.get("/v1/agents").await.problem(401), "unauthenticated");
    assert_eq!(client.get("/v1/api-keys").await.ok()["items"][0]["name"], "x", "it can still be seen");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_key_the_answer_is_the_same() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis);
    let server = builder.start().await;
    let client = server.operator().await;
    run(&builder, &["tenant", "create", "rival"]).await;
    run(&builder, &["user", "create", "rival", "eve@rival.example"]).await;
    let eve = server.anonymous().log_in("rival", "eve@rival.example", super::PASSWORD).await;
    let (key, foreign, gone) = (Key::make(&client).await, Key::make(&eve).await, Key::make(&client).await);
    client.delete(&gone.path).await.ok();
    key.at(&server).get("/v1/agents").await.ok();
    let wrong = [
        // A secret, an id and a tenant that are not this key's; another tenant's key that says it is of this one.
        key.forged(63..64),
        key.forged(31..32),
        key.forged(15..16),
        foreign.as_of(&key),
        gone.text.clone(),
    ];
    let asked = look_ups(&server).await;
    // Of another form: nobody is asked about it.
    for text in [&key.text[..89], &format!("{}A", key.text), &key.text.replace("agk_", "agk-"), "agk_"] {
        assert_eq!(server.anonymous().with_token(text).get("/v1/agents").await.problem(401), "unauthenticated", "{text}");
    }
    assert_eq!(look_ups(&server).await, asked);
    let mut answers = Vec::new();
    for text in wrong {
        let answer = server.anonymous().with_token(&text).get("/v1/agents").await;
        assert_eq!(answer.problem(401), "unauthenticated", "{text}");
        let mut body = answer.json();
        body["request_id"].take();
        answers.push((body, answer.header("www-authenticate").to_owned()));
    }
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    key.at(&server).get("/v1/agents").await.ok();
    // Each sees its own tenant.
    let agent = key.at(&server).start_echo_agent().await;
    assert_eq!(foreign.at(&server).get(&agent).await.problem(404), "not_found");
}

#[tokio::test]
async fn while_redis_is_away_keys_go_on_and_while_postgres_is_nobody_is_told_to_throw_one_away() {
    let (database, mut redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).env("REDIS_URL", &redis.url());
    let server = builder.start().await;
    let client = server.operator().await;
    let (known, unknown) = (Key::make(&client).await, Key::make(&client).await);
    known.at(&server).get("/v1/agents").await.ok();
    redis.kill();
    assert_eq!(client.get("/v1/agents").await.problem(503), "store_unavailable");
    for key in [&known, &unknown] {
        key.at(&server).get("/v1/agents").await.ok();
    }
    let another = known.forged(31..32);
    let mut connection = database.connect().await;
    let mut transaction = connection.begin().await.expect("begins");
    transaction.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let answer = server.anonymous().with_token(&another).get("/v1/agents").await;
    assert_eq!(answer.problem(503), "database_unavailable");
    assert!(!answer.header("retry-after").is_empty());
    drop(transaction);
    connection.close().await.expect("closed");
    assert_eq!(server.anonymous().with_token(&another).get("/v1/agents").await.problem(401), "unauthenticated");
}
