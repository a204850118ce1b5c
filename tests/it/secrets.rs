//! Secrets stay where they are: not in logs, answers, or the pages of the server itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::{PASSWORD, ServerBuilder, TestDatabase, TestRedis, eventually};

#[tokio::test]
async fn nothing_secret_is_logged_even_when_everything_is() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start_with(&["--requirepass", "r3dis-s3cret"]).await);
    let key = "5ec4e7".repeat(11)[..64].to_owned();
    let builder = ServerBuilder::new(&database)
        .redis(&redis)
        .env("REDIS_PASSWORD", "r3dis-s3cret")
        .env("TOKEN_ENCRYPTION_KEY", &key)
        .env("LOG_LEVEL", "trace")
        .env("LOG_FORMAT", "json");
    let server = builder.start().await;
    let client = server.operator().await;
    let command = json!(["bash", "-c", "while read -rp '> ' line; do echo \"you said $line\"; done"]);
    let body = json!({"type": "custom", "command": command, "env": {"API_KEY": "agents-own-s3cret"}});
    let agent = client.post("/v1/agents", body).await.header("location").to_owned();
    client.stable(&agent).await;
    client.say(&agent, "between us").await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/acp-agent.sh");
    let body =
        json!({"type": "custom", "transport": "acp", "command": ["bash", script], "env": {"API_KEY": "agents-own-s3cret"}});
    let agent = client.post("/v1/agents", body).await.header("location").to_owned();
    client.stable(&agent).await;
    client.say(&agent, "say between us;think between us;murmur between us;read between us;nonsense between us").await;
    server.anonymous().with_token("garbage-token").get("/v1/agents").await;
    let metrics = server.anonymous().get("/metrics").await.text;
    let token = client.token.clone().expect("a token");
    assert_eq!(server.terminate().await, Some(0));
    let log = builder.logged();
    for line in log.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["timestamp"].is_string() && entry["level"].is_string(), "{line}");
    }
    assert!(log.contains("\"http.route\":\"/v1/agents\"") || log.contains("/v1/agents"), "requests are logged");
    for secret in [PASSWORD, "r3dis-s3cret", "agents-own-s3cret", "between us", "garbage-token", &key, &token[..60]] {
        if let Some(line) = log.lines().find(|line| line.contains(secret)) {
            panic!("{secret} is logged: {line}");
        }
        assert!(!metrics.contains(secret), "{secret} is in the metrics");
    }
}

/// Every key in Redis, and every text that is kept under it.
async fn everything_in(redis: &TestRedis) -> Vec<(String, Vec<String>)> {
    let mut connection = redis.connect().await;
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("keys");
    keys.sort();
    let mut all = Vec::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.expect("a type");
        let texts = match kind.as_str() {
            "string" => vec![redis::cmd("GET").arg(&key).query_async(&mut connection).await.expect("text")],
            "zset" => redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).query_async(&mut connection).await.expect("texts"),
            other => panic!("{key} is a {other}"),
        };
        all.push((key, texts));
    }
    all
}

#[tokio::test]
async fn a_dump_of_redis_reveals_nobody_and_nothing_that_was_said() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start().await);
    let builder = ServerBuilder::new(&database).redis(&redis);
    let server = builder.start().await;
    let (code, ..) = builder.run(&["tenant", "create", "acme", "--name", "Acme Anvils"], "").await;
    assert_eq!(code, Some(0));
    let (code, ..) = builder.run(&["user", "create", "acme", "ada@acme.example"], "hunter2 hunter2\n").await;
    assert_eq!(code, Some(0));
    let client = server.anonymous().log_in("acme", "ada@acme.example", "hunter2 hunter2").await;
    let session = client.get("/v1/auth/session").await.ok();
    assert_eq!((&session["tenant"]["name"], &session["user"]["email"]), (&"Acme Anvils".into(), &"ada@acme.example".into()));
    let agent = client.start_echo_agent().await;
    client.say(&agent, "between us").await;
    client.delete(&agent).await.ok();
    assert!(client.conversation(&agent).await.iter().any(|(_, text)| text.contains("you said between us")));
    let token = client.token.clone().expect("a token");
    let dump = eventually("all of it is in Redis", || async {
        let dump = everything_in(&redis).await;
        let is_there = |prefix: &str, kind: &str| dump.iter().any(|(key, _)| key.starts_with(prefix) && key.contains(kind));
        let all = [("session:", ""), ("cache:", ":user:"), ("cache:", ":tenant:"), ("cache:", ":conversation:")];
        all.iter().all(|(prefix, kind)| is_there(prefix, kind)).then_some(dump)
    })
    .await;
    let told = ["ada@", "acme", "anvils", "between us", "you said", "member", "hunter2", "content", &token[..60]];
    for (key, texts) in dump {
        for text in texts.iter().chain([&key]) {
            let plain = text.to_lowercase();
            assert_eq!(told.iter().find(|secret| plain.contains(&secret.to_lowercase())), None, "{key}: {text}");
            // Nor in what the text stands for.
            let decoded = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
            let decoded = String::from_utf8_lossy(&decoded).to_lowercase();
            assert_eq!(told.iter().find(|secret| decoded.contains(&secret.to_lowercase())), None, "{key}: {decoded}");
        }
    }
}
