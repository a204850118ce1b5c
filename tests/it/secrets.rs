//! Secrets stay where they are: not in logs, answers, or the pages of the server itself.

use serde_json::json;

use crate::support::{PASSWORD, ServerBuilder, TestDatabase, TestRedis};

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
    server.anonymous().with_token("garbage-token").get("/v1/agents").await;
    let metrics = server.anonymous().get("/metrics").await.text;
    let token = client.token.clone().expect("a token");
    assert_eq!(server.terminate().await, Some(0));
    let log = std::fs::read_to_string(builder.log_file()).expect("a log");
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
