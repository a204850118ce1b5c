//! Keys: what they refuse, and that they can be changed without anybody noticing.

use std::process::Stdio;

use agentapi::domain::{KeyRing, Purpose};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection, Row};
use uuid::Uuid;

use crate::support::{Answer, Client, Server, ServerBuilder, TestDatabase, TestRedis, eventually};

fn key(digit: &str) -> String {
    digit.repeat(64)
}

/// The ring of `key` alone.
fn ring(key: &str) -> KeyRing {
    let mut bytes = [0; 32];
    hex::decode_to_slice(key, &mut bytes).expect("a key");
    KeyRing::new(&bytes)
}

fn with_keys(builder: &ServerBuilder, current: &str, previous: &str) -> ServerBuilder {
    builder.clone().env("TOKEN_ENCRYPTION_KEY", current).env("TOKEN_ENCRYPTION_KEYS_PREVIOUS", previous)
}

async fn session(client: &Client) -> Answer {
    client.get("/v1/auth/session").await
}

/// The same session with the token that the server wants to be shown from now on.
async fn refreshed(client: &Client) -> Client {
    let answer = session(client).await;
    let token = answer.header("x-session-token").to_owned();
    assert!(token.starts_with("v1."), "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    client.with_token(&token)
}

fn key_id(client: &Client) -> String {
    client.token.as_deref().and_then(|token| token.split('.').nth(1)).expect("a token").to_owned()
}

async fn rotate(builder: &ServerBuilder) -> String {
    builder.done(&["keys", "rotate"], "").await
}

#[tokio::test]
async fn whatever_is_not_our_token_is_refused_without_asking_redis() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("RATE_LIMIT_ENABLED", "false");
    let builder = with_keys(&builder, &key("a"), &key("b"));
    let server = builder.start().await;
    let client = server.operator().await;
    let mut stats = redis.connect().await;
    let token = client.token.clone().expect("a token");
    let (head, body) = token.rsplit_once('.').expect("three parts");
    let (version, id) = head.split_once('.').expect("three parts");
    let body_bytes = URL_SAFE_NO_PAD.decode(body).expect("base64");
    let id_bytes = hex::decode(id).expect("hex");
    let flipped = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    let mut forged: Vec<String> = (0..body_bytes.len() * 8)
        .map(|bit| format!("{head}.{}", URL_SAFE_NO_PAD.encode(flipped(&body_bytes, bit))))
        .chain((0..id_bytes.len() * 8).map(|bit| format!("{version}.{}.{body}", hex::encode(flipped(&id_bytes, bit)))))
        .chain((0..token.len()).map(|length| token[..length].to_owned()))
        .collect();
    let others = ring(&key("b")).current();
    forged.push(format!("{version}.{others}.{body}"));
    let foreign = ring(&key("f")).seal(Purpose::SessionToken, b"v1", &[7; 56]);
    forged.push(format!("v1.{}.{}", foreign.key_id, URL_SAFE_NO_PAD.encode(foreign.body)));
    let record = ring(&key("a")).seal(Purpose::SessionRecord, b"v1", &[7; 56]);
    forged.push(format!("v1.{}.{}", record.key_id, URL_SAFE_NO_PAD.encode(record.body)));
    let before = commands(&mut stats).await;
    for token in &forged {
        let answer = session(&client.with_token(token)).await;
        assert_eq!(answer.problem(401), "unauthenticated", "{token}");
    }
    assert!(forged.len() > 800);
    assert_eq!(commands(&mut stats).await, before, "Redis was asked");
    client.get("/v1/agents").await.ok();
    assert_eq!(commands(&mut stats).await, before + 1, "a true token is asked about, by one command");
}

/// Commands that Redis has run, but for asking how many.
async fn commands(connection: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await.expect("told");
    let calls = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
    info.lines().filter(|line| line.starts_with("cmdstat_") && !line.starts_with("cmdstat_info")).filter_map(calls).sum()
}

#[tokio::test]
async fn a_key_is_changed_in_two_deploys_and_nobody_is_logged_out() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let (old, new) = (key("a"), key("b"));
    let one = ServerBuilder::new(&database).redis(&redis);
    let two = one.sibling();
    let (server_one, server_two) = (with_keys(&one, &old, "").start().await, with_keys(&two, &old, "").start().await);
    let (client, idle) = (server_one.operator().await, server_two.operator().await);
    let before = session(&client).await;
    assert_eq!(before.header("x-session-token"), "", "a token of the current key stays");

    // The first deploy: the new key opens everywhere.
    let (server_one, server_two) =
        (restart(server_one, &with_keys(&one, &old, &new)).await, restart(server_two, &with_keys(&two, &old, &new)).await);
    assert_eq!(session(&client.at(&server_one)).await.header("x-session-token"), "");
    // The second: it seals, on one server earlier than on the other.
    let server_one = restart(server_one, &with_keys(&one, &new, &old)).await;
    let fresh = refreshed(&client.at(&server_one)).await;
    assert_eq!((key_id(&client), key_id(&fresh)), (ring(&old).current().to_string(), ring(&new).current().to_string()));
    let after = session(&fresh).await;
    assert_eq!(after.header("x-session-token"), "");
    let known = |answer: &Answer| (answer.json()["session"]["id"].clone(), answer.json()["session"]["created_at"].clone());
    assert_eq!(known(&before), known(&after), "it is the same session, and as old");
    let newcomer = server_one.operator().await;
    for client in [&client, &fresh, &newcomer, &idle] {
        assert_eq!(session(&client.at(&server_two)).await.status, 200);
    }
    let server_two = restart(server_two, &with_keys(&two, &new, &old)).await;

    // What lies idle is sealed again; then the old key can go.
    let out = rotate(&with_keys(&one, &new, &old)).await;
    assert!(out.contains("environments of 0 agents"), "{out}");
    assert_eq!(sealing_keys(&redis).await, vec![ring(&new).current().as_bytes().to_vec(); 3]);
    let idle = refreshed(&idle.at(&server_two)).await;
    let (server_one, _two) =
        (restart(server_one, &with_keys(&one, &new, "")).await, restart(server_two, &with_keys(&two, &new, "")).await);
    for living in [&fresh, &newcomer, &idle] {
        assert_eq!(session(&living.at(&server_one)).await.status, 200);
    }
    assert_eq!(session(&client.at(&server_one)).await.problem(401), "unauthenticated", "a token of a dropped key");
}

async fn restart(server: Server, builder: &ServerBuilder) -> Server {
    assert_eq!(server.terminate().await, Some(0));
    builder.start().await
}

/// Ids of the keys that sealed the session records in Redis.
async fn sealing_keys(redis: &TestRedis) -> Vec<Vec<u8>> {
    let mut connection = redis.connect().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("session:*").query_async(&mut connection).await.expect("keys");
    let records: Vec<String> = redis::cmd("MGET").arg(keys).query_async(&mut connection).await.expect("records");
    records.iter().map(|record| URL_SAFE_NO_PAD.decode(record).expect("base64")[..4].to_vec()).collect()
}

#[tokio::test]
async fn a_record_of_an_old_key_is_sealed_again_when_it_is_used_and_only_then() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis).env("RATE_LIMIT_ENABLED", "false");
    let server = with_keys(&builder, &key("a"), "").start().await;
    let client = server.operator().await;
    let server = restart(server, &with_keys(&builder, &key("b"), &key("a"))).await;
    let client = client.at(&server);
    let mut stats = redis.connect().await;
    assert_eq!(sealing_keys(&redis).await, [ring(&key("a")).current().as_bytes()]);
    client.get("/v1/agents").await.ok();
    assert_eq!(sealing_keys(&redis).await, [ring(&key("b")).current().as_bytes()]);
    let before = commands(&mut stats).await;
    client.get("/v1/agents").await.ok();
    assert_eq!(commands(&mut stats).await, before + 1, "one command again from then on");
}

#[tokio::test]
async fn browsers_may_read_the_fresh_token() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).env("AGENTAPI_ALLOWED_ORIGINS", "https://app.example").start().await;
    let client = server.anonymous();
    let answer = client.send(client.request(reqwest::Method::GET, "/v1/agents").header("origin", "https://app.example")).await;
    assert!(answer.header("access-control-expose-headers").split(',').any(|name| name == "x-session-token"), "{answer:?}");
}

/// Puts `count` stopped agents into the first tenant, whose environments `key` sealed.
async fn insert_agents(connection: &mut PgConnection, key: &str, count: usize) -> Vec<Uuid> {
    let row = connection.fetch_one("SELECT tenant_id, id FROM users").await.expect("the operator");
    let (tenant, user): (Uuid, Uuid) = (row.get(0), row.get(1));
    let ring = ring(key);
    let mut ids = Vec::new();
    for _ in 0..count {
        let id = Uuid::now_v7();
        let context = [*tenant.as_bytes(), *id.as_bytes()].concat();
        let sealed = ring.seal(Purpose::AgentEnv, &context, b"{\"API_KEY\":\"s3cret\"}").to_bytes();
        sqlx::query(
            "INSERT INTO agents (tenant_id, id, agent_type, transport, command, sealed_env, terminal_width, terminal_height, state,
                                 replica_id, created_by)
             VALUES ($1, $2, 'custom', 'pty', '{bash,-c,sleep 60}', $3, 80, 24, 'stopped', $1, $4)",
        )
        .bind(tenant)
        .bind(id)
        .bind(sealed)
        .bind(user)
        .execute(&mut *connection)
        .await
        .expect("inserted");
        ids.push(id);
    }
    ids
}

async fn count_sealed(database: &TestDatabase, key: &str) -> i64 {
    let id = ring(key).current();
    sqlx::query_scalar("SELECT count(*) FROM agents WHERE substring(sealed_env FROM 1 FOR 4) = $1")
        .bind(id.as_bytes().as_slice())
        .fetch_one(&mut database.connect().await)
        .await
        .expect("counted")
}

#[tokio::test]
async fn a_rotation_killed_in_the_middle_goes_on_where_it_was() {
    let database = TestDatabase::create().await;
    let (old, new) = (key("a"), key("b"));
    let builder = ServerBuilder::new(&database);
    drop(with_keys(&builder, &old, "").start().await);
    let mut connection = database.connect().await;
    let agents = insert_agents(&mut connection, &old, 120).await;
    // Somebody holds an agent of the second batch: there the rotation waits, and is killed.
    let mut transaction = connection.begin().await.expect("begins");
    sqlx::query("SELECT FROM agents WHERE id = $1 FOR UPDATE").bind(agents[70]).execute(&mut *transaction).await.expect("locked");
    let builder = with_keys(&builder, &new, &old);
    let mut rotation = builder.command(&["keys", "rotate"]).stdout(Stdio::null()).spawn().expect("the program starts");
    eventually("the first batch is done", || async { (count_sealed(&database, &new).await == 50).then_some(()) }).await;
    rotation.kill().await.expect("it waits");
    transaction.rollback().await.expect("given back");
    assert_eq!((count_sealed(&database, &new).await, count_sealed(&database, &old).await), (50, 70));

    let out = rotate(&builder).await;
    assert!(out.contains("environments of 70 agents"), "{out}");
    assert_eq!((count_sealed(&database, &new).await, count_sealed(&database, &old).await), (120, 0));
    assert!(rotate(&builder).await.contains("environments of 0 agents"), "there is nothing left to do");
    // With the new key alone, agents start again.
    let server = with_keys(&builder, &new, "").start().await;
    let client = server.operator().await;
    client.post_nothing(&format!("/v1/agents/{}/restart", agents[119])).await.ok();
}

#[tokio::test]
async fn a_rotation_says_what_no_key_opens_and_leaves_it() {
    let database = TestDatabase::create().await;
    let builder = ServerBuilder::new(&database);
    drop(with_keys(&builder, &key("a"), "").start().await);
    let mut connection = database.connect().await;
    insert_agents(&mut connection, &key("a"), 2).await;
    insert_agents(&mut connection, &key("c"), 3).await;
    let (code, out, error) = with_keys(&builder, &key("b"), &key("a")).run(&["keys", "rotate"], "").await;
    assert_eq!((code, out.contains("environments of 2 agents")), (Some(1), true), "{out}{error}");
    assert!(error.contains("3 environments and 0 session records"), "{error}");
    assert_eq!(count_sealed(&database, &key("c")).await, 3);
}

#[tokio::test]
async fn a_generated_key_can_be_changed_too() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis);
    let (code, _, error) = builder.run(&["keys", "rotate"], "").await;
    assert_eq!((code, error.contains("no server made a key")), (Some(1), true), "{error}");
    let server = builder.start().await;
    let client = server.operator().await;
    let body =
        json!({"type": "custom", "command": ["bash", "-c", "echo \"key is $API_KEY\"; cat"], "env": {"API_KEY": "agents-own"}});
    let agent = client.post("/v1/agents", body).await.header("location").to_owned();
    assert_eq!(server.terminate().await, Some(0));

    let file = builder.data_dir().join("token-encryption-key");
    let old = std::fs::read_to_string(&file).expect("the key").trim().to_owned();
    let (code, generated, _) = ServerBuilder::embedded().env("SESSION_TTL", "nonsense").run(&["keys", "generate"], "").await;
    assert_eq!((code, generated.trim().len()), (Some(0), 64));
    std::fs::write(&file, &generated).expect("written");
    let between = builder.clone().env("TOKEN_ENCRYPTION_KEYS_PREVIOUS", &old);
    let server = between.start().await;
    let client = refreshed(&client.at(&server)).await;
    assert!(rotate(&between).await.contains("environments of 1 agents"));
    let server = restart(server, &builder).await;
    let client = client.at(&server);
    client.post_nothing(&format!("{agent}/restart")).await.ok();
    let mut events = client.events(&agent).await;
    events.until("the agent has its variables", |event| event.data.to_string().contains("key is agents-own")).await;
    // The key in use must not be among the previous.
    assert_eq!(server.terminate().await, Some(0));
    let twice = builder.clone().env("TOKEN_ENCRYPTION_KEYS_PREVIOUS", generated.trim());
    let (code, _, error) = twice.run(&["serve"], "").await;
    assert_eq!((code, error.contains("TOKEN_ENCRYPTION_KEYS_PREVIOUS")), (Some(1), true), "{error}");
    assert!(!error.contains(generated.trim()), "{error}");
}

#[tokio::test]
async fn what_a_key_sealed_is_counted() {
    let database = TestDatabase::create().await;
    let server = with_keys(&ServerBuilder::new(&database), &key("a"), "").start().await;
    let seals = |metrics: &str| {
        let name = format!("agentapi_seals_total{{key_id=\"{}\"}} ", ring(&key("a")).current());
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
    };
    assert_eq!(seals(&server.anonymous().get("/metrics").await.text), Some(0));
    server.operator().await;
    assert_eq!(seals(&server.anonymous().get("/metrics").await.text), Some(2), "a token and a record");
}
